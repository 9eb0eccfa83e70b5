//! What computes a derived field gives a value of its type.
//! Cure: name a function that takes `&Self` and gives the field's very type.

use vsync::replicated;

#[replicated]
struct Book {
    plans: Vec<u64>,
    #[derived(with = Self::count)]
    count: u64,
    #[derived(with = absent)]
    absent: u64,
}

#[replicated]
impl Book {
    fn count(&self) -> usize {
        self.plans.len()
    }
}

fn main() {}
