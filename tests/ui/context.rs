//! Where a context goes, and where there is none.
//! Cure: put `ctx: &Ctx<Self>` behind `&mut self`, before the arguments, and nothing in between. A
//! query takes `ctx: &QueryCtx`; what it needs of an update's context the update puts into the state.
#![allow(unused_variables, dead_code)]

use vsync::{Ctx, replicated};

#[replicated]
struct Board {
    seen: u64,
}

#[replicated]
impl Board {
    #[update(order = "fifo")]
    fn last(&mut self, value: u64, ctx: &Ctx<Self>) {}

    #[update(order = "fifo")]
    fn changes(&mut self, ctx: &mut Ctx<Self>) {}

    #[update(order = "fifo")]
    fn by_value(&mut self, ctx: Ctx<Self>) {}

    #[query]
    fn reads(&self, ctx: &Ctx<Self>) -> u64 {
        self.seen
    }
}

fn main() {}
