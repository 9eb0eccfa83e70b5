//! Arguments, results and fields that are not `Serialize`, `Deserialize` or `Send`.
//! Cure: derive `Serialize` and `Deserialize` (serde's) for what travels; a field that cannot have
//! them is `#[local]`.
#![allow(unused_variables, dead_code)]

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use vsync::replicated;

struct Plain;

#[derive(Serialize)]
struct OneWay;

#[derive(Serialize, Deserialize)]
struct Good;

#[replicated]
struct Board {
    seen: BTreeMap<u64, Plain>,
}

#[replicated]
impl Board {
    #[update(order = "fifo")]
    fn argument(&mut self, good: Good, plain: Plain) {}

    #[update(order = "fifo")]
    fn one_way(&mut self, list: Vec<OneWay>) {}

    #[update(order = "fifo")]
    fn refuses(&mut self) -> Result<Good, Plain> {
        Ok(Good)
    }

    #[query]
    fn result(&self) -> Option<OneWay> {
        None
    }
}

fn main() {}
