//! A struct whose `impl` block is not annotated.
//! Cure: put `#[replicated]` on the `impl` block with the methods; where there are none yet, on an
//! empty one: `#[replicated] impl Board {}`.
#![allow(unused_variables, dead_code)]

use vsync::replicated;

#[replicated]
struct Board {
    seen: u64,
}

impl Board {}

fn main() {}
