//! A query of a copy of the state, and states that cannot be copied.
//! Cure: derive `Clone` on the struct, and say `V: Clone` of its parameters; or leave `snapshot`
//! out, then updates wait while the query reads.
#![allow(unused_variables, dead_code)]

use vsync::{QueryCtx, replicated};

#[replicated]
struct Board {
    seen: u64,
}

fn sum(shares: Vec<u64>) -> u64 {
    shares.into_iter().sum()
}

#[replicated]
impl Board {
    #[query(snapshot)]
    fn report(&self) -> u64 {
        self.seen
    }

    #[query(scatter, gather = sum, snapshot)]
    fn reports(&self, ctx: &QueryCtx) -> u64 {
        self.seen
    }
}

#[replicated]
#[derive(Clone)]
struct Store<V> {
    all: Vec<V>,
}

#[replicated]
impl<V> Store<V>
where
    V: Send + serde::Serialize + serde::de::DeserializeOwned + 'static,
{
    #[query(snapshot)]
    fn count(&self) -> usize {
        self.all.len()
    }
}

fn main() {}
