//! [`Ring`]: the last events of a group at this member, encoded, for those who subscribe from
//! outside of it.
//!
//! What the driver does for it does not depend on how many subscribe: it appends, and wakes one
//! task. That wakes the subscribers; each asks for what it has room for, and one that does
//! not ask costs nothing.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;
use tokio::sync::{Notify, watch};

use crate::events::Cursor;

/// Most bytes of events in one answer, if there is more than one event in it.
const ANSWER: usize = 256 << 10;
/// How long news gather before subscribers are woken.
const GATHER: Duration = Duration::from_millis(1);

/// How far a subscriber is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Position {
    /// The place of the next event.
    pub(crate) next: Cursor,
    /// Where that is in the ring of this number, by which a member knows its own: so many events
    /// were appended before.
    pub(crate) local: (u64, u64),
}

/// What a subscriber is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct News {
    /// What it has missed, if it has.
    pub(crate) missed: Option<Missed>,
    /// Events, encoded, in their order.
    pub(crate) events: Vec<(Cursor, ByteBuf)>,
    /// How far it is then.
    pub(crate) position: Position,
}

/// Events that are no longer here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Missed {
    /// So many.
    Lagged(u64),
    /// Perhaps some: nobody here knows how many.
    Gap,
}

/// The last events.
#[derive(Debug)]
pub(crate) struct Ring {
    /// Another for each.
    number: u64,
    kept: Mutex<Kept>,
    wake: Notify,
    grown: watch::Sender<()>,
}

#[derive(Debug)]
struct Kept {
    events: VecDeque<(Cursor, Bytes)>,
    bytes: usize,
    /// Most bytes to keep.
    limit: usize,
    /// How many were appended before the first of them.
    before: u64,
    /// From here on every event was seen; `None` while there is no state here.
    floor: Option<Cursor>,
    /// The place of the next event.
    end: Cursor,
    /// How often the events before were lost: a count of what was appended says nothing across it.
    losses: u64,
    /// Whether a task wakes subscribers.
    wakes: bool,
}

impl Ring {
    /// One that keeps so many bytes. Its number is its own among all members'.
    pub(crate) fn new(number: u64, limit: usize) -> Ring {
        let kept = Kept {
            events: VecDeque::new(),
            bytes: 0,
            limit,
            before: 0,
            floor: None,
            end: Cursor::default(),
            losses: 0,
            wakes: false,
        };
        Ring { number, kept: Mutex::new(kept), wake: Notify::new(), grown: watch::Sender::new(()) }
    }

    /// Keeps no more bytes than this, but for one event.
    pub(crate) fn limit(&self, bytes: usize) {
        let mut kept = self.kept();
        kept.limit = bytes;
        kept.trim();
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A view has begun: the next event has this place at least.
    pub(crate) fn begin(&self, next: Cursor) {
        let mut kept = self.kept();
        kept.end = kept.end.max(next);
        kept.floor.get_or_insert(next);
    }

    /// One more event, which is stable. Bytes that are `None` could not be encoded.
    pub(crate) fn append(&self, cursor: Cursor, event: Option<Vec<u8>>) {
        let mut kept = self.kept();
        let next = cursor.next();
        kept.end = next;
        kept.floor.get_or_insert(cursor);
        match event {
            Some(event) => {
                kept.bytes += event.len() + size_of::<(Cursor, Bytes)>();
                kept.events.push_back((cursor, event.into()));
                kept.trim();
            }
            // It is missed by all.
            None => kept.clear(next),
        }
        let wakes = kept.wakes;
        drop(kept);
        if wakes {
            self.wake.notify_one();
        }
    }

    /// What comes next is not known here for a while.
    pub(crate) fn lose(&self) {
        let mut kept = self.kept();
        let end = kept.end;
        kept.clear(end);
        kept.losses += 1;
        kept.floor = None;
    }

    /// What there is for a subscriber; where there is nothing, a later answer is waited for.
    /// `None` while there is no state here.
    pub(crate) async fn news(self: &Arc<Self>, position: Option<Position>) -> Option<News> {
        let mut grown = self.grown.subscribe();
        loop {
            grown.mark_unchanged();
            {
                let mut kept = self.kept();
                let found = kept.find(self.number, position)?;
                if position.is_none() || found.missed.is_some() || !found.events.is_empty() {
                    // Not copied under the lock: the driver may be waiting for it.
                    drop(kept);
                    return Some(found.news());
                }
                if !std::mem::replace(&mut kept.wakes, true) {
                    tokio::spawn(wake(Arc::downgrade(self)));
                }
            }
            grown.changed().await.ok()?;
        }
    }
}

impl Kept {
    fn trim(&mut self) {
        while self.bytes > self.limit && self.events.len() > 1 {
            let Some((cursor, event)) = self.events.pop_front() else { return };
            self.bytes -= event.len() + size_of::<(Cursor, Bytes)>();
            self.before += 1;
            self.floor = Some(cursor.next());
        }
    }

    fn clear(&mut self, floor: Cursor) {
        self.before += self.events.len() as u64 + 1;
        self.events.clear();
        self.bytes = 0;
        self.floor = Some(floor);
    }

    /// The number of the ring's present run: a count says nothing of another.
    fn run(&self, number: u64) -> u64 {
        number.wrapping_add(self.losses)
    }

    fn find(&self, number: u64, position: Option<Position>) -> Option<Found> {
        let floor = self.floor?;
        let run = self.run(number);
        let appended = self.before + self.events.len() as u64;
        let Some(position) = position else {
            let position = Position { next: self.end, local: (run, appended) };
            return Some(Found { missed: None, events: Vec::new(), position });
        };
        let known = position.local.0 == run;
        let missed = match position.next < floor {
            true if known => match self.before.saturating_sub(position.local.1) {
                0 => None,
                count => Some(Missed::Lagged(count)),
            },
            true => Some(Missed::Gap),
            false => None,
        };
        let first = self.events.partition_point(|(cursor, _)| *cursor < position.next);
        let (mut events, mut bytes) = (Vec::new(), 0);
        for (cursor, event) in self.events.iter().skip(first) {
            if !events.is_empty() && bytes + event.len() > ANSWER {
                break;
            }
            bytes += event.len();
            events.push((*cursor, event.clone()));
        }
        let seen = self.before + (first + events.len()) as u64;
        let next = match events.last() {
            Some((cursor, _)) => cursor.next(),
            None => position.next.max(floor),
        };
        Some(Found { missed, events, position: Position { next, local: (run, seen) } })
    }
}

/// What is found for a subscriber, where it lies.
struct Found {
    missed: Option<Missed>,
    events: Vec<(Cursor, Bytes)>,
    position: Position,
}

impl Found {
    fn news(self) -> News {
        let Found { missed, events, position } = self;
        let events = events.into_iter().map(|(cursor, event)| (cursor, Vec::from(event).into()));
        News { missed, events: events.collect(), position }
    }
}

/// Wakes the subscribers of a ring when there is news, as long as the ring is there.
async fn wake(ring: Weak<Ring>) {
    while let Some(ring) = ring.upgrade() {
        // So that this does not keep the ring for ever.
        let news = tokio::time::timeout(Duration::from_secs(1), ring.wake.notified()).await;
        if news.is_ok() {
            tokio::time::sleep(GATHER).await;
            ring.grown.send_replace(());
        }
        drop(ring);
        tokio::task::yield_now().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(view: u64, index: u64) -> Cursor {
        Cursor { view, index }
    }

    fn from(view: u64, index: u64) -> Option<Position> {
        Some(Position { next: at(view, index), local: (0, 0) })
    }

    fn ring(limit: usize) -> Arc<Ring> {
        Arc::new(Ring::new(7, limit))
    }

    fn indices(news: &News) -> Vec<(u64, u64)> {
        news.events.iter().map(|(cursor, _)| (cursor.view, cursor.index)).collect()
    }

    #[tokio::test]
    async fn events_come_from_a_position_on_and_what_is_too_old_is_named() {
        let each = 1 + size_of::<(Cursor, Bytes)>();
        let ring = ring(3 * each);
        assert_eq!(ring.news(None).await, None, "there is no state");
        ring.begin(at(1, 0));
        let start = ring.news(None).await.expect("a position").position;
        assert_eq!(start.next, at(1, 0));
        for index in 0..2 {
            ring.append(at(1, index), Some(vec![0]));
        }
        let news = ring.news(Some(start)).await.expect("news");
        assert_eq!((indices(&news), news.missed), (vec![(1, 0), (1, 1)], None));
        ring.begin(at(2, 0));
        for index in 0..3 {
            ring.append(at(2, index), Some(vec![0]));
        }
        // Whoever has all of view 1 misses nothing, and whoever has not is told how much.
        let news = ring.news(Some(news.position)).await.expect("news");
        assert_eq!((indices(&news), news.missed), (vec![(2, 0), (2, 1), (2, 2)], None));
        let late = ring.news(Some(start)).await.expect("news");
        assert_eq!((indices(&late), late.missed), (indices(&news), Some(Missed::Lagged(2))));
        let other = ring.news(from(1, 1)).await.expect("news");
        assert_eq!((indices(&other), other.missed), (indices(&news), Some(Missed::Gap)));
        let other = ring.news(from(1, 2)).await.expect("news");
        assert_eq!((indices(&other), other.missed), (indices(&news), None));
    }

    #[tokio::test]
    async fn who_waits_is_woken_and_a_loss_is_a_gap() {
        let ring = ring(1 << 10);
        ring.begin(at(5, 3));
        assert_eq!(ring.news(from(4, 9)).await.expect("news").missed, Some(Missed::Gap));
        let position = ring.news(None).await.expect("a position").position;
        let waits = tokio::spawn({
            let ring = Arc::clone(&ring);
            async move { ring.news(Some(position)).await }
        });
        tokio::task::yield_now().await;
        ring.append(at(5, 3), Some(vec![9]));
        let news = waits.await.expect("not cancelled").expect("news");
        assert_eq!(news.events, [(at(5, 3), vec![9].into())]);
        ring.lose();
        assert_eq!(ring.news(Some(news.position)).await, None, "no state");
        ring.begin(at(9, 0));
        let after = ring.news(Some(news.position)).await.expect("news");
        assert_eq!((after.missed, after.position.next), (Some(Missed::Gap), at(9, 0)));
        ring.append(at(9, 0), None);
        let lost = ring.news(Some(after.position)).await.expect("news");
        assert_eq!((lost.missed, indices(&lost)), (Some(Missed::Lagged(1)), vec![]));
    }
}
