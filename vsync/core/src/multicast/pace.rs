//! How much of the window is used: what keeps all members busy, and no queue beyond it.
//!
//! All that is under way when a view change begins has to be taken in before the change gets
//! through, and so has it before an awaited update does. So a window that is larger than needed is
//! a standing queue, and time lost. How large it has to be is a matter of the path: rate times
//! delay. As TCP Vegas does (Brakmo and Peterson 1995), and LEDBAT (RFC 6817), a sender looks at
//! how long its updates take until all hold them: what is longer than the least that this view has
//! seen is queueing, of which it allows for so much.

use crate::moment::Moment;
use crate::wire::Micros;

/// Queueing that is allowed for.
const QUEUE: Micros = 5_000;
/// The least that is used is so small a part of the window, or so many of the largest updates, or
/// what the engine is told to use in any case.
const PART: usize = 16;
const UPDATES: usize = 4;

/// What of the window is used by one sender in one view.
#[derive(Clone, Debug)]
pub(crate) struct Pace {
    window: usize,
    /// What is used of it at the beginning, and at least.
    floor: usize,
    limit: usize,
    /// Bytes of the largest updates.
    largest: usize,
    /// An own update, and since when it is awaited that all hold it.
    probe: u64,
    since: Moment,
    /// The limit has held back something meanwhile.
    reached: bool,
    /// The least time that one took.
    least: Micros,
}

impl Pace {
    /// Slow start: twice as much each time all hold it, as long as there is no queue.
    pub(crate) fn new(window: usize, in_any_case: usize) -> Pace {
        let floor = (window / PART).max(in_any_case).min(window);
        let (limit, largest, probe, since) = (floor, 0, 0, Moment::NONE);
        Pace { window, floor, limit, largest, probe, since, reached: false, least: Micros::MAX }
    }

    /// How many own bytes may be under way.
    pub(crate) fn limit(&self) -> usize {
        self.limit.max(self.largest * UPDATES).clamp(1, self.window)
    }

    /// How many bytes any sender may have under way.
    pub(crate) fn floor(&self) -> usize {
        self.floor
    }

    /// Own updates below `end` were numbered, the last ones of so many bytes each.
    pub(crate) fn submitted(&mut self, end: u64, bytes: usize, now: Micros) {
        self.largest = self.largest.max(bytes);
        if self.since.is_none() {
            (self.probe, self.since) = (end, Moment::at(now));
            self.reached = false;
        }
    }

    /// The limit holds back what is there to be sent.
    pub(crate) fn reached(&mut self) {
        self.reached = true;
    }

    /// All members hold own updates below `end`.
    pub(crate) fn held(&mut self, end: u64, now: Micros) {
        let Some(since) = self.since.get().filter(|_| self.probe <= end) else { return };
        self.since = Moment::NONE;
        let took = now.saturating_sub(since);
        self.least = self.least.min(took);
        let (queue, limit) = (took - self.least, self.limit());
        self.limit = if queue > 2 * QUEUE {
            limit - limit / 4
        } else if queue > QUEUE {
            limit - limit / 8
        } else if self.reached && queue < QUEUE / 2 {
            limit * 2
        } else if self.reached {
            limit + limit / 8
        } else {
            limit
        };
        self.limit = self.limit.clamp(self.floor, self.window);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A path that takes `delay` and then so many bytes a microsecond, shared with nobody: what is
    /// used of the window after so many rounds, and how long the last one took.
    fn path(
        window: usize,
        piece: usize,
        delay: Micros,
        rate: usize,
        rounds: u64,
    ) -> (usize, Micros) {
        let mut pace = Pace::new(window, 0);
        let (mut now, mut took) = (0, 0);
        for round in 0..rounds {
            pace.submitted(round + 1, piece, now);
            pace.reached();
            // With so much before it, the next one waits until that is through.
            took = delay.max((pace.limit() / rate) as Micros);
            now += took;
            pace.held(round + 1, now);
        }
        (pace.limit(), took)
    }

    #[test]
    fn a_short_path_is_not_filled() {
        let (limit, took) = path(8 << 20, 100, 1_000, 100, 100);
        assert!(took <= 1_000 + 2 * QUEUE, "{took} with {limit}");
        assert!((512 << 10..2 << 20).contains(&limit), "{limit}");
    }

    #[test]
    fn a_long_path_gets_all_that_it_takes() {
        let (limit, took) = path(8 << 20, 100, 100_000, 100, 8);
        assert_eq!((limit, took), (8 << 20, 100_000));
    }

    #[test]
    fn large_updates_are_not_sent_one_by_one() {
        let (limit, _) = path(8 << 20, 1 << 20, 1_000, 100, 100);
        assert!(limit >= 4 << 20, "{limit}");
    }

    #[test]
    fn what_is_not_used_does_not_grow() {
        let mut pace = Pace::new(1 << 20, 0);
        for round in 0..50 {
            pace.submitted(round + 1, 100, round * 1_000);
            pace.held(round + 1, round * 1_000 + 500);
        }
        assert_eq!(pace.limit(), 1 << 16);
    }

    #[test]
    fn a_small_window_is_used_as_it_is() {
        assert_eq!(Pace::new(4096, 64 * 1024).limit(), 4096);
        assert_eq!(Pace::new(1 << 18, 64 * 1024).limit(), 64 * 1024);
    }

    #[test]
    fn the_window_is_never_shut() {
        let mut pace = Pace::new(1, 0);
        assert_eq!(pace.limit(), 1);
        for round in 0..50 {
            pace.submitted(round + 1, 100, round * 100_000);
            pace.held(round + 1, round * 100_000 + round * 1_000);
        }
        assert_eq!(pace.limit(), 1);
    }
}
