//! A struct whose `impl` block is not annotated.
#![allow(unused_variables, dead_code)]

use vsync::replicated;

#[replicated]
struct Board {
    seen: u64,
}

impl Board {}

fn main() {}
