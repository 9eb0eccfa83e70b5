//! [`Pile`]: what all outboxes of a node hold together.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::outbox::Wait;

/// How much callers have left in all of a node's groups, and how many of these somebody waits in:
/// the driver asks for it in every turn, and must not look at ten thousand outboxes for it.
///
/// Every outbox counts what it holds in and out again, under its own lock.
#[derive(Debug, Default)]
pub(crate) struct Pile {
    bytes: AtomicUsize,
    here: AtomicUsize,
    others: AtomicUsize,
}

impl Pile {
    /// An update of so many bytes was left in an outbox; what is waited for there was `before`, and
    /// is `wait` now.
    pub(super) fn left(&self, bytes: usize, before: Wait, wait: Wait) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        if before != wait {
            self.waiting(wait).map(|count| count.fetch_add(1, Ordering::Relaxed));
            self.waiting(before).map(|count| count.fetch_sub(1, Ordering::Relaxed));
        }
    }

    /// An outbox was emptied of so many bytes; this was waited for in it.
    pub(super) fn taken(&self, bytes: usize, wait: Wait) {
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
        self.waiting(wait).map(|count| count.fetch_sub(1, Ordering::Relaxed));
    }

    /// In how many outboxes that is waited for.
    fn waiting(&self, wait: Wait) -> Option<&AtomicUsize> {
        match wait {
            Wait::Nobody => None,
            Wait::Here => Some(&self.here),
            Wait::Others => Some(&self.others),
        }
    }

    /// How many bytes there are.
    pub(super) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Whether that is the farthest that somebody waits for, in some outbox.
    pub(super) fn has(&self, wait: Wait) -> bool {
        self.waiting(wait).is_some_and(|count| count.load(Ordering::Relaxed) > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_counted_in_is_counted_out() {
        let pile = Pile::default();
        pile.left(10, Wait::Nobody, Wait::Nobody);
        pile.left(10, Wait::Nobody, Wait::Here);
        assert!(pile.has(Wait::Here) && !pile.has(Wait::Others));
        pile.left(10, Wait::Here, Wait::Others);
        pile.left(5, Wait::Nobody, Wait::Here);
        assert!(pile.has(Wait::Here) && pile.has(Wait::Others));
        pile.taken(30, Wait::Others);
        assert_eq!((pile.bytes(), pile.has(Wait::Others)), (5, false));
        pile.taken(5, Wait::Here);
        assert_eq!((pile.bytes(), pile.has(Wait::Here)), (0, false));
    }
}
