//! Checkpoints through the versions of a type, without a group.

use std::collections::BTreeMap;

use vsync::{State, replicated};

#[replicated]
#[derive(Debug, Default)]
struct Book {
    plans: BTreeMap<u64, String>,
    #[derived(with = Self::invert)]
    by_name: BTreeMap<String, u64>,
    #[derived(with = first)]
    first: Option<String>,
    #[local]
    hits: u64,
}

fn first(book: &Book) -> Option<String> {
    // The one above it is there already.
    book.by_name.keys().next().cloned()
}

impl Book {
    fn invert(&self) -> BTreeMap<String, u64> {
        self.plans.iter().map(|(number, name)| (name.clone(), *number)).collect()
    }
}

#[replicated]
impl Book {
    #[query]
    fn first(&self) -> Option<String> {
        self.first.clone()
    }
}

#[test]
fn derived_fields_are_computed_and_not_sent() {
    let mut book = Book { hits: 7, ..Book::default() };
    book.plans.extend([(1, "zoe".to_owned()), (2, "ada".to_owned())]);
    let bytes = book.save().expect("saves");
    assert_eq!(bytes, postcard::to_allocvec(&book.plans).expect("encodes"));

    let stale = BTreeMap::from([("old".to_owned(), 9)]);
    let local = Book { by_name: stale, hits: 3, ..Book::default() };
    let loaded = Book::load(&bytes, local).expect("loads");
    assert_eq!(loaded.by_name, BTreeMap::from([("ada".to_owned(), 2), ("zoe".to_owned(), 1)]));
    assert_eq!((loaded.first(), loaded.hits), (Some("ada".to_owned()), 3));
}
