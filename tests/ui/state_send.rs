//! A state moves between threads, with all its fields.
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
