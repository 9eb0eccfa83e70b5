//! Private types everywhere, and one named as generated items could be.

use isis::{Replicated, replicated};
use serde::{Deserialize, Serialize};

#[derive(Debug, Default, Serialize, Deserialize)]
struct Inner(u8);

#[derive(Debug, Serialize, Deserialize)]
enum Error {
    Zero,
}

#[replicated(crate = "isis")]
#[derive(Debug, Default)]
struct Update {
    inner: Inner,
}

#[replicated(crate = "isis")]
impl Update {
    #[update(order = "total")]
    fn query(&mut self, inner: Inner) -> Result<Inner, Error> {
        match inner.0 {
            0 => Err(Error::Zero),
            _ => Ok(std::mem::replace(&mut self.inner, inner)),
        }
    }

    #[query]
    fn apply(&self) -> u8 {
        self.inner.0
    }

    #[query]
    fn save(&self, out: u8, update: u8, ctx: u8) -> u8 {
        self.inner.0 + out + update + ctx
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct Query;

/// Shadows what generated code must not take from here.
#[allow(dead_code)]
struct Vec;

#[allow(dead_code)]
struct String;
#[replicated(crate = "isis")]
#[derive(Debug)]
pub(crate) struct Tuple(Inner, #[local] pub(crate) u8);

#[replicated(crate = "isis")]
impl Tuple {
    #[update(order = "fifo")]
    fn set(&mut self, query: Query, value: Inner) -> Query {
        self.0 = value;
        query
    }

    #[query]
    fn see(&self) -> u8 {
        self.0.0 + self.1
    }
}

#[replicated(crate = "isis")]
#[derive(Debug)]
struct Empty;

#[replicated(crate = "isis")]
impl Empty {}

/// In the body of a function.
pub(crate) fn local() -> usize {
    #[replicated(crate = "isis")]
    #[derive(Debug)]
    struct Local(u8);

    #[replicated(crate = "isis")]
    impl Local {
        #[update(order = "causal")]
        fn up(&mut self) {
            self.0 += 1;
        }
    }

    Local::UPDATES.len() + Empty::UPDATES.len() + Tuple::QUERIES.len() + Update::QUERIES.len()
}
