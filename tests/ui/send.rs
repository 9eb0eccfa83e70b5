//! Arguments and results that are not `Send`.
//! Cure: take types that may move between threads: `Arc` for `Rc`, a number or a key for a pointer.
#![allow(unused_variables, dead_code)]

use std::marker::PhantomData;

use serde::{Deserialize, Serialize};
use vsync::replicated;

#[derive(Serialize, Deserialize)]
struct Pinned(PhantomData<*const ()>);

#[replicated]
struct Board {
    seen: u64,
}

#[replicated]
impl Board {
    #[update(order = "fifo")]
    fn argument(&mut self, pinned: Pinned) {}

    #[update(order = "fifo")]
    fn result(&mut self) -> Result<u64, Pinned> {
        Ok(self.seen)
    }

    #[query]
    fn reads(&self) -> Pinned {
        Pinned(PhantomData)
    }
}

fn main() {}
