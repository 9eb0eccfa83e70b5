//! What gathers is a function of the answers.
//! Cure: give the name of a `fn(Vec<R>) -> R` for the query's result `R`; the answers come in rank
//! order, and those that are missing are left out.

use vsync::{QueryCtx, replicated};

#[replicated]
pub struct Board {
    seen: u64,
}

fn merge(one: u64, other: u64) -> u64 {
    one + other
}

#[replicated]
impl Board {
    #[query(scatter, gather = merge)]
    pub fn search(&self, ctx: &QueryCtx) -> u64 {
        self.seen + ctx.share_index() as u64
    }
}

fn main() {}
