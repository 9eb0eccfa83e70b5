//! One name, one id and one variant for each method.
//! Cure: rename one of the two, or give it another `id = …`. Names that the handles have for
//! themselves (`group`, `clone`) are taken.
#![allow(unused_variables, dead_code)]

use vsync::replicated;

#[replicated]
struct Board {
    seen: u64,
}

#[replicated]
impl Board {
    #[update(order = "fifo", id = 7)]
    fn first(&mut self) {}

    #[update(order = "fifo", id = 7)]
    fn second(&mut self) {}

    #[query(id = 7)]
    fn third(&self) -> u64 {
        self.seen
    }

    #[update(order = "fifo", id = 8)]
    fn first(&mut self) {}

    #[update(order = "fifo")]
    fn file_plan(&mut self) {}

    #[update(order = "fifo")]
    fn file__plan(&mut self) {}

    #[query]
    fn group(&self) -> u64 {
        self.seen
    }

    #[query]
    fn clone(&self) -> u64 {
        self.seen
    }
}

fn main() {}
