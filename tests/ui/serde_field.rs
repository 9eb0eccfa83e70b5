//! Rules of serde that mean nothing for a checkpoint are refused.
//! Cure: mark the field `#[local]`, if it is no part of the state; write `flatten`ed fields out.
#![allow(unused_variables, dead_code)]

use serde::{Deserialize, Serialize};
use vsync::replicated;

#[replicated]
#[derive(Serialize, Deserialize)]
struct Board {
    #[serde(skip)]
    skipped: u64,
    #[serde(flatten)]
    inner: Inner,
    #[serde(rename = "other", default)]
    fine: u64,
}

#[derive(Serialize, Deserialize)]
struct Inner {
    value: u64,
}

#[replicated]
impl Board {}

fn main() {}
