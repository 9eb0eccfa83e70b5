//! Earlier versions: what they may be, and what must lead from one to the next.
//! Cure: keep the earlier struct as `#[replicated(past, name = "…", version = 1)]`, and write `impl
//! From<BookV1> for Book`.

use vsync::replicated;

#[replicated(past, name = "Book")]
struct BookV1 {
    plans: Vec<u64>,
}

#[replicated(version = 2, from = BookV1)]
struct Book {
    plans: Vec<u64>,
}

#[replicated]
impl Book {}

#[replicated]
struct Plain {
    plans: Vec<u64>,
}

#[replicated]
impl Plain {}

#[replicated(name = "Plain", version = 2, from = Plain)]
struct Plain2 {
    plans: Vec<u64>,
}

#[replicated]
impl Plain2 {}

impl From<Plain> for Plain2 {
    fn from(old: Plain) -> Plain2 {
        Plain2 { plans: old.plans }
    }
}

fn main() {}
