//! [`Timers`]: updates that are to come, as a part of the replicated state.
//!
//! All replicas set, cancel and fire the same ones at the same points of the order. When one is due
//! is a matter of the coordinator's clock: it asks for the timer by an update of its own, and the
//! timer fires where the first that asks for it is delivered. A coordinator that fails is succeeded
//! by one that knows the same timers.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use vsync_core::wire::Micros;

use super::seldom::Blank;
use crate::timer::{BYTES, TIMERS, TimerError, TimerId};

/// The timers of a group that are set and have not fired.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Timers {
    /// The number of the next.
    next: u64,
    /// Bytes of the updates.
    bytes: usize,
    set: BTreeMap<u64, Timer>,
    /// Those that this node has not asked for, by when they are due here.
    waiting: BTreeSet<(Micros, u64)>,
}

static NONE: Timers = Timers { next: 0, bytes: 0, set: BTreeMap::new(), waiting: BTreeSet::new() };

impl Blank for Timers {
    fn blank() -> &'static Self {
        &NONE
    }
}

/// An update that is to come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Timer {
    /// When it was set, if that was by an update: nobody agrees on when a view began.
    pub(crate) set_at: Option<Micros>,
    pub(crate) delay: Micros,
    /// Whether its update is applied only when stable.
    pub(crate) stable: bool,
    #[serde(with = "serde_bytes")]
    pub(crate) update: Vec<u8>,
}

impl Timer {
    /// When it is due by this node's clock, which shows `now`.
    fn due(&self, now: Micros) -> Micros {
        self.set_at.unwrap_or(now).saturating_add(self.delay)
    }
}

/// The timers in a checkpoint.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Saved {
    next: u64,
    set: BTreeMap<u64, Timer>,
}

impl Timers {
    /// One more; `now` is this node's clock.
    pub(crate) fn set(&mut self, timer: Timer, now: Micros) -> Result<TimerId, TimerError> {
        let bytes = self.bytes + timer.update.len();
        if self.set.len() >= TIMERS || bytes > BYTES {
            return Err(TimerError::Full);
        }
        let id = self.next;
        self.next += 1;
        self.insert(id, timer, now);
        Ok(TimerId(id))
    }

    fn insert(&mut self, id: u64, timer: Timer, now: Micros) {
        self.bytes += timer.update.len();
        self.waiting.insert((timer.due(now), id));
        self.set.insert(id, timer);
    }

    /// Takes one out, to apply or to forget it; `None` if it has fired or was cancelled.
    pub(crate) fn take(&mut self, id: TimerId) -> Option<Vec<u8>> {
        let timer = self.set.remove(&id.0)?;
        self.bytes -= timer.update.len();
        match timer.set_at {
            Some(at) => drop(self.waiting.remove(&(at.saturating_add(timer.delay), id.0))),
            // When it is due is known to no more than the set. Views set few.
            None => self.waiting.retain(|(_, waiting)| *waiting != id.0),
        }
        Some(timer.update)
    }

    /// When the first is due that this node has not asked for.
    pub(crate) fn due(&self) -> Option<Micros> {
        self.waiting.first().map(|(due, _)| *due)
    }

    /// The next that is due at `now` and is asked for from here on; and whether it is stable.
    pub(crate) fn ask(&mut self, now: Micros) -> Option<(u64, bool)> {
        let &(due, id) = self.waiting.first().filter(|(due, _)| *due <= now)?;
        self.waiting.remove(&(due, id));
        self.set.get(&id).map(|timer| (id, timer.stable))
    }

    /// For a checkpoint.
    pub(crate) fn saved(&self) -> Saved {
        Saved { next: self.next, set: self.set.clone() }
    }
}

impl Saved {
    /// The timers of a checkpoint; `now` is this node's clock.
    pub(crate) fn timers(self, now: Micros) -> Timers {
        let mut timers = Timers { next: self.next, ..Timers::default() };
        for (id, timer) in self.set {
            timers.insert(id, timer, now);
        }
        timers
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::seldom::Seldom;

    fn timer(set_at: Option<Micros>, delay: Micros) -> Timer {
        Timer { set_at, delay, stable: delay % 2 == 1, update: vec![delay as u8; 10] }
    }

    #[test]
    fn each_is_asked_for_once_and_fires_once() {
        let mut timers = Timers::default();
        let late = timers.set(timer(Some(100), 50), 0).expect("room");
        let soon = timers.set(timer(Some(100), 7), 0).expect("room");
        let view = timers.set(timer(None, 30), 90).expect("room");
        assert_eq!(timers.due(), Some(107));
        assert_eq!(timers.ask(106), None);
        assert_eq!(timers.ask(107), Some((soon.0, true)));
        assert_eq!(timers.due(), Some(120), "by the clock of this node");
        assert_eq!(timers.take(soon), Some(vec![7; 10]));
        assert_eq!(timers.take(soon), None, "a repetition");
        assert_eq!(timers.take(view), Some(vec![30; 10]), "asked for by another");
        assert_eq!(timers.due(), Some(150));
        assert_eq!(timers.take(late), Some(vec![50; 10]));
        assert_eq!((timers.due(), timers.bytes), (None, 0));
    }

    #[test]
    fn a_successor_asks_again() {
        let mut timers = Timers::default();
        let id = timers.set(timer(Some(100), 8), 0).expect("room");
        let view = timers.set(timer(None, 30), 200).expect("room");
        assert_eq!(timers.ask(300), Some((id.0, false)));
        let mut loaded = timers.saved().timers(1000);
        assert_eq!(loaded.ask(1000), Some((id.0, false)));
        assert_eq!(loaded.due(), Some(1030), "counted from when it is known here");
        assert_eq!(loaded.set(timer(None, 1), 1000), Ok(TimerId(view.0 + 1)), "no name is reused");
    }

    #[test]
    fn the_name_of_a_timer_that_has_fired_is_not_used_again() {
        let mut timers = Timers::default();
        let first = timers.set(timer(Some(100), 50), 0).expect("room");
        timers.take(first).expect("set");
        let mut loaded = Seldom::from(timers.saved().timers(1000));
        assert_eq!(loaded.set(timer(None, 1), 1000), Ok(TimerId(first.0 + 1)));
    }

    #[test]
    fn there_is_a_bound_on_number_and_bytes() {
        let mut timers = Timers::default();
        for _ in 0..TIMERS {
            timers.set(timer(Some(1), 1), 0).expect("room");
        }
        assert_eq!(timers.set(timer(Some(1), 1), 0), Err(TimerError::Full));
        timers.take(TimerId(5)).expect("set");
        timers.set(timer(Some(1), 1), 0).expect("room again");
        let mut timers = Timers::default();
        let large = |bytes| Timer { update: vec![0; bytes], ..timer(Some(1), 1) };
        timers.set(large(BYTES), 0).expect("room");
        assert_eq!(timers.set(large(1), 0), Err(TimerError::Full));
    }
}
