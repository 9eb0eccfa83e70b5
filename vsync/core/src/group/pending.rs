//! What was submitted and waits: for a number, for credit, for a flush.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use bytes::Bytes;

use crate::engine::Run;
use crate::wire::{Cut, ViewNumber, codec};

/// Updates of one class that have no number yet.
#[derive(Clone, Debug)]
pub(crate) struct Waiting {
    pub(crate) run: Run,
    pub(crate) body: Bytes,
    pub(crate) wall: u64,
    pub(crate) urgent: bool,
}

#[derive(Clone, Debug)]
struct Flush {
    id: u64,
    view: ViewNumber,
    delivered: Cut,
    /// Own updates submitted before it.
    submitted: u64,
}

/// Submissions without number, flow control, and flushes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pending {
    queue: VecDeque<Waiting>,
    queue_bytes: usize,
    /// Updates submitted, over all views.
    submitted: u64,
    /// Updates numbered in earlier views.
    before: u64,
    /// Bytes of credit that were granted and not used. Below zero where a caller has overdrawn it,
    /// by an update: that counts for ever, since the caller, too, counts on from there.
    unused: i64,
    flushes: Vec<Flush>,
}

impl Pending {
    pub(crate) fn submit(&mut self, runs: &[Run], mut body: Bytes, wall: u64, urgent: bool) {
        self.unused -= body.len() as i64;
        for &run in runs {
            let Some(end) = codec::skip(&body, 0, u64::from(run.count)) else {
                panic!("a submission's body holds fewer updates than its runs say")
            };
            self.submitted += u64::from(run.count);
            self.queue_bytes += end;
            self.queue.push_back(Waiting { run, body: body.split_to(end), wall, urgent });
        }
        assert!(body.is_empty(), "a submission's body holds more updates than its runs say");
    }

    pub(crate) fn pop(&mut self) -> Option<Waiting> {
        let waiting = self.queue.pop_front()?;
        self.queue_bytes -= waiting.body.len();
        Some(waiting)
    }

    /// Gives back the room of a queue that is empty.
    pub(crate) fn rest(&mut self) {
        if self.queue.is_empty() {
            self.queue = VecDeque::new();
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    pub(crate) fn updates(&self) -> usize {
        self.queue.iter().map(|waiting| waiting.run.count as usize).sum()
    }

    /// More credit, when there is enough of it to be worth a message.
    pub(crate) fn grant(&mut self, window: usize, own: usize) -> Option<u64> {
        let window = window as i64;
        let room = window - (own + self.queue_bytes) as i64 - self.unused;
        if room <= 0 || (self.unused > 0 && room < window / 8) {
            return None;
        }
        self.unused += room;
        Some(room.unsigned_abs())
    }

    pub(crate) fn flush(&mut self, id: u64, view: ViewNumber, delivered: Cut) {
        self.flushes.push(Flush { id, view, delivered, submitted: self.submitted });
    }

    pub(crate) fn is_flushing(&self) -> bool {
        !self.flushes.is_empty()
    }

    /// The view is over with this many own updates; all of it is stable.
    pub(crate) fn next_view(&mut self, own: u64) {
        self.before += own;
    }

    /// The flushes that are through.
    pub(crate) fn flushed(&mut self, view: ViewNumber, stable: &Cut, own: u64) -> Vec<u64> {
        let done = self.before + own;
        let mut through = Vec::new();
        self.flushes.retain(|flush| {
            let theirs = flush.view < view || stable.covers(&flush.delivered);
            let is_through = theirs && flush.submitted <= done;
            if is_through {
                through.push(flush.id);
            }
            !is_through
        });
        through
    }
}
