//! A lane: everything that one member multicasts in one view.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::num::NonZeroU64;

use bytes::{Bytes, BytesMut};

use crate::engine::{Class, Run};
use crate::seldom::{Blank, Seldom};
use crate::wire::codec;
use crate::wire::messages::BatchHead;

/// A run of updates of one lane: the unit on the wire and in the buffers.
#[derive(Clone, Debug)]
pub(crate) struct Batch {
    pub(crate) first: u64,
    pub(crate) count: u64,
    pub(crate) stamp: Option<Vec<u64>>,
    pub(crate) k: u64,
    pub(crate) wall: u64,
    pub(crate) runs: Vec<Run>,
    pub(crate) body: Bytes,
}

/// What became of a batch that was offered to a lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Push {
    New,
    Known,
    /// It starts beyond what is here.
    Gap,
    /// It overlaps what is here in part: batches are never batched anew.
    Invalid,
}

/// What one sender has multicast: how much, and the batches of it that are kept.
#[derive(Clone, Debug, Default)]
pub(crate) struct Lane {
    /// Updates here, from the start of the view.
    end: u64,
    /// Own lane: the number of the open batch's first update, counted from 1. Not with what is
    /// kept: the path of an update asks for it all the time.
    open: Option<NonZeroU64>,
    kept: Seldom<Kept>,
}

/// The batches of a lane that are kept, in order: most lanes have none, most of the time.
#[derive(Clone, Debug)]
struct Kept {
    batches: VecDeque<Batch>,
    /// Bytes of their bodies.
    bytes: usize,
}

static NONE: Kept = Kept { batches: VecDeque::new(), bytes: 0 };

impl Blank for Kept {
    fn blank() -> &'static Self {
        &NONE
    }

    fn is_blank(&self) -> bool {
        let Kept { batches, bytes } = self;
        batches.is_empty() && *bytes == 0
    }
}

impl Batch {
    /// Builds a batch from its parts; `None` where they do not fit together.
    pub(crate) fn new(head: BatchHead, body: Bytes) -> Option<Self> {
        let mut count = 0u64;
        for run in &head.runs {
            count += u64::from(run.count);
        }
        let sane = count > 0
            && head.runs.iter().all(|run| run.count > 0)
            && head.first.checked_add(count).is_some()
            && codec::is_body(&body, count);
        sane.then_some(Batch {
            first: head.first,
            count,
            stamp: head.stamp,
            k: head.k,
            wall: head.wall,
            runs: head.runs,
            body,
        })
    }

    pub(crate) fn end(&self) -> u64 {
        self.first + self.count
    }

    pub(crate) fn head(&self) -> BatchHead {
        BatchHead {
            first: self.first,
            stamp: self.stamp.clone(),
            k: self.k,
            wall: self.wall,
            runs: self.runs.clone(),
            length: self.body.len() as u32,
        }
    }

    /// The run that holds update `seq`, and how far into the run that is.
    pub(crate) fn run_at(&self, seq: u64) -> (usize, u64) {
        let mut into = seq - self.first;
        for (index, run) in self.runs.iter().enumerate() {
            if into < u64::from(run.count) {
                return (index, into);
            }
            into -= u64::from(run.count);
        }
        panic!("update {seq} is not in the batch at {}", self.first)
    }
}

impl Lane {
    /// Updates here: the received count.
    pub(crate) fn end(&self) -> u64 {
        self.end
    }

    /// Updates here that are in closed batches: what others may know of.
    pub(crate) fn closed(&self) -> u64 {
        self.open_first().unwrap_or(self.end)
    }

    /// The number of the open batch's first update.
    fn open_first(&self) -> Option<u64> {
        self.open.map(|first| first.get() - 1)
    }

    pub(crate) fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// The time of the open batch, where there is one.
    pub(crate) fn open_wall(&self) -> Option<u64> {
        self.open_first().and_then(|first| self.at(first)).map(|batch| batch.wall)
    }

    /// Whether a batch is kept that ends at or below `to`.
    pub(crate) fn may_free(&self, to: u64) -> bool {
        let first = self.kept.get().and_then(|kept| kept.batches.front());
        first.is_some_and(|batch| batch.end() <= to)
    }

    /// Whether no batch is kept.
    pub(crate) fn is_empty(&self) -> bool {
        self.kept.batches.is_empty()
    }

    /// Gives back the room of batches where none is kept.
    pub(crate) fn rest(&mut self) {
        self.kept.rest();
    }

    /// Bytes of the bodies kept.
    pub(crate) fn bytes(&self) -> usize {
        self.kept.bytes
    }

    /// Takes a batch in iff it starts where the lane ends.
    pub(crate) fn push(&mut self, batch: Batch) -> Push {
        if batch.first > self.end {
            return Push::Gap;
        }
        if batch.end() <= self.end {
            return Push::Known;
        }
        if batch.first < self.end {
            return Push::Invalid;
        }
        self.end = batch.end();
        let kept = self.kept.make();
        kept.bytes += batch.body.len();
        kept.batches.push_back(batch);
        Push::New
    }

    /// Own lane: appends to the open batch, opening one where there is none.
    pub(crate) fn push_open(&mut self, batch: Batch) {
        self.open = self.open.or(NonZeroU64::new(batch.first + 1));
        let pushed = self.push(batch);
        assert_eq!(pushed, Push::New, "an own batch starts where the lane ends");
    }

    /// Own lane: closes the open batch, with its stamp; returns it.
    pub(crate) fn close(&mut self, stamp: Option<Vec<u64>>, k: u64) -> Option<&Batch> {
        let open = self.open_first()?;
        self.open = None;
        let batches = &mut self.kept.made()?.batches;
        let at = batches.partition_point(|batch| batch.first < open);
        if batches.len() - at > 1 {
            let pieces: Vec<Batch> = batches.drain(at..).collect();
            batches.push_back(merge(pieces));
        }
        let batch = batches.back_mut()?;
        batch.stamp = stamp;
        batch.k = k;
        Some(batch)
    }

    /// The batch that holds update `seq`.
    pub(crate) fn at(&self, seq: u64) -> Option<&Batch> {
        let after = self.kept.batches.partition_point(|batch| batch.first <= seq);
        let batch = self.kept.batches.get(after.checked_sub(1)?)?;
        (seq < batch.end()).then_some(batch)
    }

    /// The closed batches that hold updates of `[from, to)`.
    pub(crate) fn range(&self, from: u64, to: u64) -> impl Iterator<Item = &Batch> {
        let to = to.min(self.closed());
        let start = self.kept.batches.partition_point(|batch| batch.end() <= from);
        self.kept.batches.range(start..).take_while(move |batch| batch.first < to)
    }

    /// Drops the closed batches below `to`.
    pub(crate) fn free(&mut self, to: u64) {
        let to = to.min(self.closed());
        let Some(kept) = self.kept.made() else { return };
        while kept.batches.front().is_some_and(|batch| batch.end() <= to) {
            if let Some(batch) = kept.batches.pop_front() {
                kept.bytes -= batch.body.len();
            }
        }
    }

    /// The totals at and after `seq` and before `to`: batch by batch, with number and count.
    pub(crate) fn totals_between(&self, seq: u64, to: u64) -> Vec<(&Batch, u64, u64)> {
        let mut found = Vec::new();
        for batch in self.kept.batches.iter().filter(|b| b.end() > seq && b.first < to) {
            let mut at = batch.first;
            for run in &batch.runs {
                let end = at + u64::from(run.count);
                let (from, until) = (at.max(seq), end.min(to));
                if run.class == Class::Total && from < until {
                    found.push((batch, from, until - from));
                }
                at = end;
            }
        }
        found
    }
}

fn merge(pieces: Vec<Batch>) -> Batch {
    let mut body = BytesMut::with_capacity(pieces.iter().map(|piece| piece.body.len()).sum());
    let mut runs: Vec<Run> = Vec::new();
    let (first, wall) = (pieces[0].first, pieces[0].wall);
    let mut count = 0;
    for piece in pieces {
        body.extend_from_slice(&piece.body);
        count += piece.count;
        for run in piece.runs {
            match runs.last_mut() {
                Some(last)
                    if last.class == run.class
                        && last.level == run.level
                        && last.count.checked_add(run.count).is_some() =>
                {
                    last.count += run.count;
                }
                _ => runs.push(run),
            }
        }
    }
    Batch { first, count, stamp: None, k: 0, wall, runs, body: body.freeze() }
}
