//! A query whose work the members divide, and the context of queries.
//! Cure: write `#[query(scatter, gather = merge)]` on a method that takes `&self` and then
//! `ctx: &QueryCtx`, and answers for `ctx.share(…)`. An update takes `&Ctx<Self>` instead.
#![allow(unused_variables, dead_code)]

use vsync::{QueryCtx, replicated};

#[replicated]
struct Board {
    seen: u64,
}

fn merge(shares: Vec<u64>) -> u64 {
    shares.into_iter().sum()
}

#[replicated]
impl Board {
    #[query(scatter)]
    fn ungathered(&self, ctx: &QueryCtx) -> u64 {
        self.seen
    }

    #[query(gather = merge)]
    fn undivided(&self, ctx: &QueryCtx) -> u64 {
        self.seen
    }

    #[query(scatter = 3, gather = "merge")]
    fn values(&self, ctx: &QueryCtx) -> u64 {
        self.seen
    }

    #[query(scatter, gather = merge)]
    fn shareless(&self, from: u64) -> u64 {
        self.seen
    }

    #[query(scatter, gather = merge)]
    fn last(&self, from: u64, ctx: &QueryCtx) -> u64 {
        self.seen
    }

    #[query(scatter, gather = merge)]
    fn changes(&mut self, ctx: &mut QueryCtx) -> u64 {
        self.seen
    }

    #[update(order = "total")]
    fn differs(&mut self, ctx: &QueryCtx) {}
}

fn main() {}
