//! What a later version will bring is refused, never ignored.
//! Cure: leave it out: it is not there yet. The chapter "Not yet" says what is to come.
#![allow(unused_variables, dead_code)]

use vsync::replicated;

#[replicated(version = 2)]
struct Board {
    seen: u64,
}

#[replicated]
impl Board {
    #[update(order = "fifo", role = "writer")]
    fn written(&mut self) {}

    #[merge]
    fn merge(&mut self, other: Self) {}
}

fn main() {}
