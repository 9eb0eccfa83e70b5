//! One annotated `impl` block per type; generated names are taken.
//! Cure: a type has one `#[replicated] impl` block: put all annotated methods into it. Plain
//! methods may stand in others.
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
