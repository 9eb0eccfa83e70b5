//! The order log: which lane each position of the total order belongs to.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use crate::wire::messages::{Record, Records};

/// The records of one view's total order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Log {
    runs: VecDeque<Record>,
    /// Position of the first record kept.
    base: u64,
    /// Records dropped from the front, so that cursors stay valid.
    freed: u64,
    /// Positions known: the order extent.
    extent: u64,
    /// Time of the last position; times never fall.
    last_time: u64,
    /// Time of the last record dropped from the front, or the view's own start.
    floor: u64,
    /// The last record must not grow: a cursor may have gone past it already.
    sealed: bool,
}

/// A place in the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct OrderAt {
    /// Positions passed.
    pub(crate) position: u64,
    run: u64,
    used: u32,
}

impl Log {
    pub(crate) fn new(time: u64) -> Self {
        Log { last_time: time, floor: time, ..Log::default() }
    }

    pub(crate) fn extent(&self) -> u64 {
        self.extent
    }

    /// Whether no record is kept.
    pub(crate) fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// Gives back the room of records where none is kept.
    pub(crate) fn rest(&mut self) {
        if self.runs.is_empty() {
            self.runs = VecDeque::new();
        }
    }

    pub(crate) fn last_time(&self) -> u64 {
        self.last_time
    }

    /// Gives the next positions out; the time is raised to that of the last record.
    pub(crate) fn append(&mut self, rank: u32, count: u64, time: u64) {
        let time = time.max(self.last_time);
        self.last_time = time;
        self.extent += count;
        let mut left = count;
        while left > 0 {
            let room = match self.runs.back_mut() {
                Some(run)
                    if run.rank == rank
                        && run.time == time
                        && run.count < u32::MAX
                        && !self.sealed =>
                {
                    run
                }
                _ => {
                    self.sealed = false;
                    self.runs.push_back(Record { rank, count: 0, time });
                    continue;
                }
            };
            let add = left.min(u64::from(u32::MAX - room.count));
            room.count += add as u32;
            left -= add;
        }
    }

    /// Takes records in iff they start at or before the extent, trimming the overlap.
    pub(crate) fn receive(&mut self, records: &Records) -> bool {
        if records.from > self.extent {
            return false;
        }
        let mut position = records.from;
        for record in &records.runs {
            let Some(end) = position.checked_add(u64::from(record.count)) else {
                return false;
            };
            if end > self.extent {
                self.append(record.rank, end - self.extent, record.time);
            }
            position = end;
        }
        true
    }

    /// The records of positions `[from, to)`, as far as they are here.
    pub(crate) fn range(&self, from: u64, to: u64) -> Records {
        let mut runs = Vec::new();
        let mut position = self.base;
        let from = from.max(self.base);
        for run in &self.runs {
            let end = position + u64::from(run.count);
            let (first, until) = (position.max(from), end.min(to));
            if first < until {
                runs.push(Record { count: (until - first) as u32, ..*run });
            }
            position = end;
            if position >= to {
                break;
            }
        }
        Records { from, runs }
    }

    /// Forgets what was recorded from position `to` on.
    pub(crate) fn truncate(&mut self, to: u64) {
        // Found by seed 804: a cursor at position `to` may stand before a record that goes now;
        // were the record before it to grow, the cursor would miss what is added.
        self.sealed = true;
        while self.extent > to {
            let Some(run) = self.runs.back_mut() else {
                break;
            };
            let over = self.extent - to;
            if over >= u64::from(run.count) {
                self.extent -= u64::from(run.count);
                self.runs.pop_back();
            } else {
                run.count -= over as u32;
                self.extent -= over;
            }
        }
        // What was forgotten must not show in the times of what comes in its place: others may
        // never have known it.
        self.last_time = self.runs.back().map_or(self.floor, |run| run.time);
    }

    /// The decided order: the first `base` positions as they are, then the tail's.
    pub(crate) fn decide(&mut self, base: u64, tail: &[Record]) {
        self.truncate(base);
        for record in tail {
            self.append(record.rank, u64::from(record.count), record.time);
        }
    }

    /// Drops whole records below position `to`.
    pub(crate) fn free(&mut self, to: u64) {
        while let Some(run) = self.runs.front() {
            let end = self.base + u64::from(run.count);
            if end > to {
                break;
            }
            self.base = end;
            self.freed += 1;
            self.floor = run.time;
            self.runs.pop_front();
        }
    }

    /// The lane, how many positions in a row, and the time at a place; `None` at the end.
    pub(crate) fn peek(&self, at: &mut OrderAt) -> Option<(u32, u64, u64)> {
        if at.run < self.freed {
            // What it points at is gone, so all of it was passed.
            (at.run, at.used) = (self.freed, (at.position - self.base) as u32);
        }
        loop {
            let run = self.runs.get((at.run - self.freed) as usize)?;
            if at.used < run.count {
                return Some((run.rank, u64::from(run.count - at.used), run.time));
            }
            // Only on to a record that exists: this one may still grow.
            self.runs.get((at.run - self.freed) as usize + 1)?;
            at.run += 1;
            at.used = 0;
        }
    }
}

impl OrderAt {
    /// Passes `count` positions of the record that [`Log::peek`] showed.
    pub(crate) fn pass(&mut self, count: u64) {
        self.position += count;
        self.used += count as u32;
    }
}

#[cfg(test)]
mod tests {
    use super::{Log, OrderAt};

    #[test]
    fn a_cursor_sees_what_replaces_truncated_records() {
        let mut log = Log::new(0);
        log.append(3, 2, 5);
        log.append(1, 4, 5);
        let mut at = OrderAt::default();
        at.pass(2);
        assert_eq!(log.peek(&mut at), Some((1, 4, 5)));
        log.truncate(2);
        log.append(3, 2, 5);
        assert_eq!(log.peek(&mut at), Some((3, 2, 5)));
    }

    #[test]
    fn truncation_restores_the_time() {
        let mut log = Log::new(7);
        log.append(0, 1, 9);
        log.append(1, 1, 20);
        log.truncate(1);
        assert_eq!(log.last_time(), 9);
        log.truncate(0);
        assert_eq!(log.last_time(), 7);
    }
}
