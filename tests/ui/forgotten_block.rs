//! The `impl` block is replicated, too: outside of `#[replicated]` its attributes mean nothing.
//! Cure: write `#[replicated]` on the `impl` block as on the struct.
#![allow(dead_code)]

use vsync::replicated;

#[replicated]
struct Board {
    seen: u64,
}

impl Board {
    #[update(order = "total")]
    fn see(&mut self) {
        self.seen += 1;
    }

    #[query]
    fn seen(&self) -> u64 {
        self.seen
    }
}

fn main() {}
