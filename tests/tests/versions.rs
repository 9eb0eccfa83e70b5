//! Checkpoints through the versions of a type, without a group.

use std::collections::BTreeMap;

use vsync::{CheckpointError, Past, State, replicated};

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

/// Boards as they were, and as they are.
mod boards {
    use super::*;

    #[replicated(past, name = "board", version = 1)]
    #[derive(Debug, PartialEq)]
    pub(super) struct BoardV1 {
        pub(super) names: Vec<String>,
    }

    /// As the first program had it.
    #[replicated(name = "board")]
    #[derive(Clone, Debug, Default)]
    pub(super) struct BoardOne {
        pub(super) names: Vec<String>,
        #[local]
        pub(super) reads: u64,
    }

    #[replicated]
    impl BoardOne {}

    #[replicated(past, name = "board", version = 2, from = BoardV1)]
    #[derive(Debug, PartialEq)]
    pub(super) struct BoardV2 {
        pub(super) names: BTreeMap<u64, String>,
    }

    impl From<BoardV1> for BoardV2 {
        fn from(old: BoardV1) -> BoardV2 {
            BoardV2 { names: (1..).zip(old.names).collect() }
        }
    }

    impl From<&BoardV2> for BoardV1 {
        fn from(new: &BoardV2) -> BoardV1 {
            BoardV1 { names: new.names.values().cloned().collect() }
        }
    }

    #[replicated(name = "board", version = 3, from = BoardV2)]
    #[derive(Debug, Default)]
    pub(super) struct Board {
        pub(super) names: BTreeMap<u64, String>,
        pub(super) closed: bool,
        #[derived(with = Self::longest)]
        pub(super) longest: usize,
        #[local]
        pub(super) reads: u64,
    }

    impl Board {
        fn longest(&self) -> usize {
            self.names.values().map(String::len).max().unwrap_or(0)
        }
    }

    #[replicated]
    impl Board {}

    impl From<BoardV2> for Board {
        fn from(old: BoardV2) -> Board {
            Board { names: old.names, ..Board::default() }
        }
    }

    impl From<&Board> for BoardV2 {
        fn from(new: &Board) -> BoardV2 {
            BoardV2 { names: new.names.clone() }
        }
    }

    /// A version from which nobody goes back.
    #[replicated(name = "board", version = 4, from = BoardV1)]
    #[derive(Debug, Default)]
    pub(super) struct OneWay {
        pub(super) count: u64,
    }

    #[replicated]
    impl OneWay {}

    impl From<BoardV1> for OneWay {
        fn from(old: BoardV1) -> OneWay {
            OneWay { count: old.names.len() as u64 }
        }
    }
}

use boards::{Board, BoardOne, BoardV1, BoardV2, OneWay};

fn one() -> BoardOne {
    BoardOne { names: vec!["ada".to_owned(), "grace".to_owned()], reads: 9 }
}

#[test]
fn an_old_checkpoint_goes_through_all_versions() {
    let bytes = one().save().expect("saves");
    let local = Board { reads: 5, closed: true, ..Board::default() };
    let board = Board::load_from(1, &bytes, local).expect("loads");
    let names = BTreeMap::from([(1, "ada".to_owned()), (2, "grace".to_owned())]);
    assert_eq!((&board.names, board.closed), (&names, false));
    assert_eq!((board.longest, board.reads), (5, 5), "derived, and this node's own");

    let second = BoardV2 { names: names.clone() }.save().expect("saves");
    let board = Board::load_from(2, &second, Board::default()).expect("loads");
    assert_eq!((board.names, board.longest), (names, 5));
}

#[test]
fn a_new_state_goes_back_through_all_versions() {
    let bytes = one().save().expect("saves");
    let board = Board::load_from(1, &bytes, Board::default()).expect("loads");
    assert_eq!(board.save_as(1), Ok(bytes), "byte for byte what the old program writes");
    let second = BoardV2::read(2, &board.save_as(2).expect("saves")).expect("reads");
    assert_eq!(second.names, board.names);
    assert_eq!(board.save_as(3), board.save());
    let there = BoardOne::load(&board.save_as(1).expect("saves"), BoardOne::default());
    let there = there.expect("loads");
    assert_eq!((there.names, there.reads), (one().names, 0));
}

#[test]
fn where_no_way_leads_is_said() {
    let nothing = OneWay::default();
    assert_eq!(nothing.save_as(1), Err(CheckpointError::NoWayBack { here: 4, there: 1 }));
    assert_eq!(nothing.save_as(5), Err(CheckpointError::Newer { here: 4, there: 5 }));
    assert_eq!(one().save_as(2), Err(CheckpointError::NoWayBack { here: 1, there: 2 }));
    let newer = BoardOne::load_from(3, &[], one()).expect_err("too new");
    assert_eq!(newer, CheckpointError::Newer { here: 1, there: 3 });
    let missing = OneWay::load_from(0, &[], OneWay::default()).expect_err("none below 1");
    assert_eq!(missing, CheckpointError::Older { here: 1, there: 0 });
    let between = OneWay::load_from(2, &[], OneWay::default()).expect_err("not in its chain");
    assert_eq!(between, CheckpointError::Newer { here: 1, there: 2 });
    assert_eq!(BoardV1::read(1, &[9]).err().map(|e| e.to_string().contains("names")), Some(true));
}

#[test]
fn a_state_is_copied_where_its_type_can_be() {
    assert_eq!(one().snapshot().map(|copy| copy.names), Some(one().names));
    assert!(Board::default().snapshot().is_none());
}
