//! What a later version will bring is refused, never ignored.
#![allow(unused_variables, dead_code)]

use vsync::replicated;

#[replicated(version = 2)]
struct Board {
    seen: u64,
}

#[replicated]
impl Board {
    #[update(order = "fifo", role = "writer")]
    fn written(&mut self) {}

    #[query(scatter, gather = merge)]
    fn search(&self, ctx: &QueryCtx) -> u64 {
        self.seen
    }

    #[merge]
    fn merge(&mut self, other: Self) {}
}

fn main() {}
