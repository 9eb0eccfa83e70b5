//! Methods whose `impl` block is not annotated.
#![allow(unused_variables, dead_code)]

struct Board {
    seen: u64,
}

impl Board {
    #[update(order = "fifo")]
    fn count(&mut self) {}
}

fn main() {}
