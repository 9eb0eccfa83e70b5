//! Options and fields that an earlier version cannot have.
//! Cure: write `past` alone, with `name` and `version` and, from the third version on, `from`; keep
//! only the fields that are in its checkpoints.

use vsync::replicated;

#[replicated(past = true, from = Book)]
struct BookV1 {
    plans: Vec<u64>,
}

#[replicated(past, name = "Book", version = 2)]
struct BookV2 {
    plans: Vec<u64>,
    #[local]
    hits: u64,
    #[derived(with = Self::count)]
    count: usize,
}

#[replicated]
impl BookV1 {}

fn main() {}
