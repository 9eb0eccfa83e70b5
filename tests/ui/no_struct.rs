//! An `impl` block whose struct is not annotated.
#![allow(unused_variables, dead_code)]

use vsync::replicated;

struct Board {
    seen: u64,
}

#[replicated]
impl Board {
    #[query]
    fn count(&self) -> u64 {
        self.seen
    }
}

fn main() {}
