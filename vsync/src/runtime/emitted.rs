//! Events that wait until the updates that emitted them are stable.

use std::collections::VecDeque;

use vsync_core::wire::Cut;

use crate::ctx::Kept;
use crate::events::{Cursor, Emitted, Feed};

/// The events of the installed view that are not shown yet, in the order of their emission.
///
/// Flow control bounds them: an update is not stable only as long as it is in its sender's window.
#[derive(Debug)]
pub(crate) struct Unstable<E> {
    waiting: VecDeque<Waiting<E>>,
}

#[derive(Debug)]
struct Waiting<E> {
    /// The sender's rank, and the update's number in its lane.
    rank: usize,
    seq: u64,
    cursor: Cursor,
    event: E,
}

impl<E: Clone + Send + 'static> Unstable<E> {
    pub(crate) fn new() -> Unstable<E> {
        Unstable { waiting: VecDeque::new() }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// These were emitted in `view` by updates of its member of `rank`.
    pub(crate) fn keep(&mut self, view: u64, rank: usize, kept: Vec<Kept>) {
        for Kept { seq, index, event } in kept {
            // Only events of the type can be emitted.
            if let Ok(event) = event.downcast::<E>() {
                let cursor = Cursor { view, index };
                self.waiting.push_back(Waiting { rank, seq, cursor, event: *event });
            }
        }
    }

    /// Shows what is inside this stable cut, up to the first that is not: the order is kept.
    pub(crate) fn release(&mut self, stable: &Cut, feed: &Feed<E>) {
        let inside = |waiting: &mut Waiting<E>| waiting.seq < stable.count(waiting.rank);
        while let Some(waiting) = self.waiting.pop_front_if(inside) {
            waiting.show(feed);
        }
    }

    /// Shows all: what was delivered before an install is stable.
    pub(crate) fn release_all(&mut self, feed: &Feed<E>) {
        self.waiting.drain(..).for_each(|waiting| waiting.show(feed));
    }

    /// They will never be stable.
    pub(crate) fn forget(&mut self) {
        self.waiting.clear();
    }
}

impl<E: Clone + Send + 'static> Waiting<E> {
    fn show(self, feed: &Feed<E>) {
        feed.show(Emitted::Event { cursor: self.cursor, event: self.event });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(seq: u64, index: u64) -> Kept {
        Kept { seq, index, event: Box::new(index) }
    }

    fn event(view: u64, index: u64) -> Option<Emitted<u64>> {
        Some(Emitted::Event { cursor: Cursor { view, index }, event: index })
    }

    #[tokio::test]
    async fn events_come_in_order_and_only_when_stable() {
        let feed = Feed::new();
        let mut events = feed.events();
        let mut unstable = Unstable::new();
        unstable.keep(3, 0, vec![kept(7, 0), kept(7, 1)]);
        unstable.keep(3, 1, vec![kept(0, 2)]);
        unstable.release(&Cut { counts: vec![7, 9], extent: 0 }, &feed);
        assert!(!unstable.is_empty(), "the second waits behind the first");
        unstable.release(&Cut { counts: vec![8], extent: 0 }, &feed);
        feed.show(Emitted::Gap);
        unstable.release_all(&feed);
        assert!(unstable.is_empty());
        unstable.keep(4, 0, vec![kept(0, 0)]);
        unstable.forget();
        unstable.release_all(&feed);
        feed.close();
        for expected in [event(3, 0), event(3, 1), Some(Emitted::Gap), event(3, 2), None] {
            assert_eq!(events.next().await, expected);
        }
    }
}
