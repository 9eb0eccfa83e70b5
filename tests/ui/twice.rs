//! One annotated `impl` block per type; generated names are taken.
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

#[replicated]
impl Board {
    #[update(order = "fifo")]
    fn two(&mut self) {}
}

fn main() {}
