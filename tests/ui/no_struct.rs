//! An `impl` block whose struct is not annotated.
//! Cure: put `#[replicated]` on the struct, too; if it is in another module, import it with its
//! handles: `use board::{Board, BoardClient, BoardHandle};`.
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
