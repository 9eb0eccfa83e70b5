//! A state moves between threads, with all its fields.
//! Cure: take types that may move between threads: `Arc` for `Rc`, atomics or a `Mutex` for cells.
#![allow(unused_variables, dead_code)]

use std::rc::Rc;

use vsync::replicated;

#[replicated]
struct Board {
    #[local]
    cache: Rc<u64>,
}

#[replicated]
impl Board {}

fn main() {}
