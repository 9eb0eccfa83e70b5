//! What a macro makes inside the block would not be seen.
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
