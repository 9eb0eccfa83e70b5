//! The form of an `#[on_view]` method.
//! Cure: write one method `#[on_view] fn view(&mut self, ctx: &Ctx<Self>, view: &View)`, without
//! options and without a result.
#![allow(unused_variables, dead_code)]

use vsync::{Ctx, View, replicated};

#[replicated]
struct Board {
    seen: u64,
}

#[replicated]
impl Board {
    #[on_view]
    fn first(&mut self, view: &View, ctx: &Ctx<Self>) {}

    #[on_view(always)]
    fn second(&self) -> u64 {
        self.seen
    }
}

fn main() {}
