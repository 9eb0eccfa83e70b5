//! What a macro makes inside the block would not be seen.
//! Cure: write the methods out, or let the macro make the whole item: `#[replicated] impl Board { …
//! }`. Helpers that a macro makes go into an `impl` block of their own.
#![allow(unused_variables, dead_code)]

use vsync::replicated;

macro_rules! more {
    () => {
        fn hidden(&self) {}
    };
}

#[replicated]
struct Board {
    seen: u64,
}

#[replicated]
impl Board {
    #[update(order = "fifo")]
    fn count(&mut self) {
        self.seen += 1;
    }

    more!();
}

fn main() {}
