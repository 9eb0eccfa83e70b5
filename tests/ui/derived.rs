//! Fields that are derived from others must say how, and may be nothing else.
//! Cure: write `#[derived(with = Self::function)]`, with `fn function(&self) -> FieldType`, once and
//! without `#[local]`. A `BTreeMap` stands for a `HashMap` here, too: updates may go through it.

use std::collections::{BTreeMap, HashMap};

use vsync::replicated;

#[replicated]
struct Book {
    plans: BTreeMap<u64, String>,
    #[derived]
    nothing_said: usize,
    #[derived(with)]
    no_function: usize,
    #[derived(by = Self::count)]
    other_option: usize,
    #[derived = "Self::count"]
    other_form: usize,
    #[derived(with = Self::count)]
    #[derived(with = Self::count)]
    twice: usize,
    #[local]
    #[derived(with = Self::count)]
    local_too: usize,
    #[derived(with = Self::names)]
    unordered: HashMap<String, u64>,
}

#[replicated]
impl Book {}

fn main() {}
