//! A second `impl` block, which is not annotated, with annotated methods.
//! Cure: a type has one `#[replicated] impl` block: move the annotated methods of all others into
//! it. Other `impl` blocks, without `#[replicated]`, hold plain methods, as many as you like.
#![allow(unused_variables, dead_code)]

use vsync::replicated;

#[replicated]
struct Board {
    seen: u64,
}

#[replicated]
impl Board {
    #[update(order = "fifo")]
    fn one(&mut self) {}
}

impl Board {
    fn plain(&self) {}

    #[update(order = "fifo")]
    fn two(&mut self) {}

    #[query]
    fn three(&self) -> u64 {
        self.seen
    }
}

fn main() {}
