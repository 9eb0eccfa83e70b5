//! What travels borrows nothing, and is a value.
//! Cure: take `String`, `Vec<T>` or another type that owns what it has, and give such a value back;
//! `BTreeMap` for `HashMap`. What only this process needs is no argument.
#![allow(unused_variables, dead_code)]

use std::borrow::Cow;
use std::collections::HashMap;

use vsync::replicated;

#[replicated]
struct Board {
    seen: u64,
}

#[replicated]
impl Board {
    #[update(order = "fifo")]
    fn elided(&mut self, text: Cow<'_, str>) {}

    #[update(order = "fifo")]
    fn fine(&mut self, text: Cow<'static, str>) {}

    #[query]
    fn named<'a>(&'a self, text: Cow<'a, str>) -> Cow<'a, str> {
        text
    }

    #[update(order = "fifo")]
    fn never(self: &mut Self) -> ! {
        loop {}
    }

    #[update(order = "total")]
    fn hashed(&mut self, counts: Vec<HashMap<u64, u64>>) {}

    #[query]
    fn may_be_hashed(&self, counts: HashMap<u64, u64>) -> HashMap<u64, u64> {
        counts
    }

    #[update(order = "total")]
    fn twice(&mut self, value: u64, value: u64) {}
}

fn main() {}
