//! [`Pile`]: what all outboxes of a node hold together.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

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
    pressed: AtomicUsize,
    /// Whether the driver may sleep while there is something here.
    slept_on: AtomicBool,
}

impl Pile {
    /// An update of so many bytes was left in an outbox; what is waited for there was `before`, and
    /// is `wait` now.
    pub(super) fn left(&self, bytes: usize, before: Wait, wait: Wait) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        if before != wait {
            self.waiting(wait).map(|count| count.fetch_add(1, Ordering::SeqCst));
            self.waiting(before).map(|count| count.fetch_sub(1, Ordering::Relaxed));
        }
    }

    /// An outbox was emptied of so many bytes; this was waited for in it.
    pub(super) fn taken(&self, bytes: usize, wait: Wait) {
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
        self.waiting(wait).map(|count| count.fetch_sub(1, Ordering::Relaxed));
    }

    /// Somebody stands in line behind what was left in an outbox, or no longer does.
    pub(super) fn press(&self, on: bool) {
        match on {
            true => self.pressed.fetch_add(1, Ordering::SeqCst),
            false => self.pressed.fetch_sub(1, Ordering::Relaxed),
        };
    }

    /// Whether that is so of some outbox.
    pub(super) fn is_pressed(&self) -> bool {
        self.pressed.load(Ordering::SeqCst) > 0
    }

    /// The driver may sleep from now on while something is here, or no longer. It says so before it
    /// looks at who waits, and those look here after they are counted: one sees the other.
    pub(super) fn sleep_on(&self, may: bool) {
        self.slept_on.store(may, Ordering::SeqCst);
    }

    /// Whether the driver may sleep while something is here.
    pub(super) fn is_slept_on(&self) -> bool {
        self.slept_on.load(Ordering::SeqCst)
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
        self.waiting(wait).is_some_and(|count| count.load(Ordering::SeqCst) > 0)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use vsync_core::engine::Level;

    use super::*;
    use crate::error::NotApplied;
    use crate::runtime::inner::Inner;
    use crate::runtime::outbox::{Left, Outbox};

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

    #[test]
    fn whoever_stands_in_line_behind_a_batch_is_counted_in_and_out() {
        let line = || {
            let (pile, outbox) = (Arc::<Pile>::default(), Outbox::default());
            outbox.count_in(&pile);
            let leave = || outbox.leave_inner(Inner::method(Level::Optimistic), &[1; 8], None);
            assert!(matches!(leave(), Left::InLine { .. }));
            assert!(!pile.is_pressed(), "there is no batch before it");
            outbox.grant(1);
            assert!(!pile.is_pressed(), "it is the batch");
            let Left::InLine { place, .. } = leave() else { panic!("credit is used up") };
            assert!(pile.is_pressed());
            (pile, outbox, place)
        };
        let ends: [fn(&Outbox, u64); 5] = [
            |outbox, _| drop(outbox.take()),
            |outbox, place| assert!(outbox.withdraw(place)),
            |outbox, _| assert!(!outbox.grant(1000), "woken already"),
            |outbox, _| outbox.reset(&NotApplied::Excluded),
            |outbox, _| outbox.close(),
        ];
        for end in ends {
            let (pile, outbox, place) = line();
            end(&outbox, place);
            assert!(!pile.is_pressed());
            drop(outbox.take());
            assert!(!pile.is_pressed());
        }
    }
}
