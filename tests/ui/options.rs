//! Options that cannot be read: what may be among them is not said to be missing.
//! Cure: write options as `name = value`, with commas, each once; strings in quotes, numbers
//! without.
#![allow(unused_variables, dead_code)]

use vsync::replicated;

#[replicated(name = "one", name = "two")]
struct Board {
    #[local]
    #[local]
    cache: u64,
    #[derived]
    sum: u64,
}

#[replicated]
impl Board {
    #[update(order = "fifo" id = 7)]
    fn no_comma(&mut self) {}

    #[update = "fifo"]
    fn no_parentheses(&mut self) {}

    #[update(order = "fifo", id = -7)]
    fn negative(&mut self) {}

    #[query(id = 4294967296)]
    fn too_large(&self) {}

    #[query(order = "fifo")]
    fn no_order(&self) {}

    #[query(snapshot = true)]
    fn no_value(&self) {}

    #[update(order = "fifo")]
    const LIMIT: u64 = 7;
}

fn main() {}
