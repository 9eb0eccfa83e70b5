//! What `self` must be.
//! Cure: take `&mut self` in an update and `&self` in a query.
#![allow(unused_variables, dead_code)]

use vsync::replicated;

#[replicated]
struct Board {
    seen: u64,
}

#[replicated]
impl Board {
    #[update(order = "fifo")]
    fn shared(&self) {}

    #[update(order = "fifo")]
    fn by_value(self) {}

    #[update(order = "fifo")]
    fn no_receiver(count: u64) {}

    #[query]
    fn changes(&mut self) -> u64 {
        self.seen
    }

    #[query]
    fn constant() -> u64 {
        7
    }
}

fn main() {}
