//! Hashed collections iterate in another order at every replica.
//! Cure: use `BTreeMap` and `BTreeSet`. Only a hashed collection that no update depends on, such as a
//! cache of this process, may be `#[local]`.
#![allow(unused_variables, dead_code)]

use std::collections::{HashMap, HashSet};

use vsync::replicated;

#[replicated]
struct Board {
    by_name: HashMap<String, u64>,
    seen: Option<std::collections::HashSet<u64>>,
    #[local]
    cache: HashMap<String, u64>,
    #[local(always)]
    other: HashSet<u64>,
}

#[replicated]
impl Board {}

fn main() {}
