//! The one way over the lanes: at the head of each lane a rule says how much may pass.
//!
//! Delivering, finding the stable cut, numbering at the sequencer and choosing the final cut of a
//! view are four rules for the same walk. Each yields the largest prefix of the lanes that is
//! closed under the rule: what an update depends on is causally before it, so there are no cycles,
//! and growing from below reaches all of it.

use alloc::boxed::Box;
use alloc::vec::Vec;

use super::{Batch, Lane, Log, OrderAt};
use crate::bugs::{Bug, Bugs};
use crate::engine::{Class, Level, Run};

/// How far a walk has come.
#[derive(Clone, Debug)]
pub(crate) struct Walk {
    /// Updates passed, by lane.
    pub(crate) counts: Box<[u64]>,
    /// Positions passed.
    pub(crate) order: OrderAt,
}

/// What stands at the head of a lane.
pub(crate) struct Head<'a> {
    pub(crate) rank: usize,
    pub(crate) seq: u64,
    pub(crate) batch: &'a Batch,
    pub(crate) run: Run,
    /// How many of the run are left, this one included.
    pub(crate) left: u64,
}

/// A piece that passed.
#[derive(Clone, Debug)]
pub(crate) struct Piece {
    pub(crate) rank: usize,
    pub(crate) seq: u64,
    pub(crate) count: u64,
    pub(crate) run: Run,
    /// For totals under a rule that goes by positions: the first position, and its time.
    pub(crate) position: Option<(u64, u64)>,
    pub(crate) wall: u64,
}

/// Decides what may pass the head of a lane.
pub(crate) trait Rule {
    /// How many of the updates at the head may pass now.
    fn allow(&mut self, walk: &mut Walk, head: &Head<'_>) -> u64;
    /// These have passed; the walk's counts include them.
    fn passed(&mut self, walk: &mut Walk, head: &Head<'_>, count: u64);
}

impl Walk {
    pub(crate) fn new(lanes: usize) -> Self {
        Walk { counts: alloc::vec![0; lanes].into(), order: OrderAt::default() }
    }

    /// Whether all that is in the lanes has passed.
    pub(crate) fn is_through(&self, lanes: &[Lane]) -> bool {
        lanes.iter().zip(&self.counts).all(|(lane, &count)| lane.end() <= count)
    }

    /// Passes all that the rule allows. Returns whether anything passed.
    pub(crate) fn advance(&mut self, lanes: &[Lane], rule: &mut impl Rule) -> bool {
        let mut any = false;
        loop {
            let mut progress = false;
            for (rank, lane) in lanes.iter().enumerate() {
                progress |= self.advance_lane(rank, lane, rule);
            }
            if !progress {
                return any;
            }
            any = true;
        }
    }

    fn advance_lane(&mut self, rank: usize, lane: &Lane, rule: &mut impl Rule) -> bool {
        let mut progress = false;
        while self.counts[rank] < lane.end() {
            let seq = self.counts[rank];
            let Some(batch) = lane.at(seq) else {
                panic!("update {seq} of lane {rank} was freed before it was passed")
            };
            let (index, into) = batch.run_at(seq);
            let run = batch.runs[index];
            let left = u64::from(run.count) - into;
            let head = Head { rank, seq, batch, run, left };
            let count = rule.allow(self, &head).min(left);
            if count == 0 {
                break;
            }
            self.counts[rank] += count;
            rule.passed(self, &head, count);
            progress = true;
        }
        progress
    }
}

/// Whether the stamp of the batch at the head is covered. Its sender's own coordinate says nothing:
/// the walk is at the head of that lane.
fn causes_passed(walk: &Walk, head: &Head<'_>) -> bool {
    let Some(stamp) = &head.batch.stamp else {
        return true;
    };
    stamp.iter().enumerate().all(|(rank, &count)| {
        rank == head.rank || walk.counts.get(rank).is_some_and(|&c| c >= count)
    })
}

/// How many of the totals at the head are at the next positions, below `extent`.
fn in_position(walk: &mut Walk, head: &Head<'_>, log: &Log, extent: u64) -> u64 {
    match log.peek(&mut walk.order) {
        Some((rank, count, _)) if rank as usize == head.rank => {
            count.min(extent.saturating_sub(walk.order.position))
        }
        _ => 0,
    }
}

/// Delivery: sender order, causes, positions, and the level.
pub(crate) struct Deliver<'a> {
    pub(crate) log: &'a Log,
    /// Updates that may be delivered at all: what is here, or the final cut.
    pub(crate) limit: &'a [u64],
    /// Stable updates by lane; `None` where everything is stable, as at an install.
    pub(crate) stable: Option<&'a [u64]>,
    pub(crate) pieces: &'a mut Vec<Piece>,
    pub(crate) bugs: Bugs,
}

impl Rule for Deliver<'_> {
    fn allow(&mut self, walk: &mut Walk, head: &Head<'_>) -> u64 {
        let mut count = self.limit[head.rank].saturating_sub(head.seq);
        if head.run.level == Level::Stable
            && let Some(stable) = self.stable
        {
            count = count.min(stable[head.rank].saturating_sub(head.seq));
        }
        if count == 0 {
            return 0;
        }
        let caused = || self.bugs.has(Bug::IgnoreStamp) || causes_passed(walk, head);
        match head.run.class {
            Class::Fifo => count,
            Class::Causal if caused() => count,
            Class::Total if caused() => {
                count.min(in_position(walk, head, self.log, self.log.extent()))
            }
            Class::Causal | Class::Total => 0,
        }
    }

    fn passed(&mut self, walk: &mut Walk, head: &Head<'_>, count: u64) {
        let mut position = None;
        if head.run.class == Class::Total {
            let time = self.log.peek(&mut walk.order).map_or(0, |(_, _, time)| time);
            position = Some((walk.order.position, time));
            walk.order.pass(count);
        }
        self.pieces.push(Piece {
            rank: head.rank,
            seq: head.seq,
            count,
            run: head.run,
            position,
            wall: head.batch.wall,
        });
    }
}

/// The stable cut: what a quorum has acknowledged, closed under sender order, causes and positions
/// (S3).
pub(crate) struct Stabilise<'a> {
    pub(crate) log: &'a Log,
    /// Updates acknowledged by a quorum, by lane.
    pub(crate) marks: &'a [u64],
    /// Positions acknowledged by a quorum.
    pub(crate) extent: u64,
    pub(crate) bugs: Bugs,
}

impl Rule for Stabilise<'_> {
    fn allow(&mut self, walk: &mut Walk, head: &Head<'_>) -> u64 {
        let count = self.marks[head.rank].saturating_sub(head.seq);
        if count == 0 || self.bugs.has(Bug::StableNotClosed) {
            return count;
        }
        match head.run.class {
            Class::Fifo => count,
            Class::Causal if causes_passed(walk, head) => count,
            Class::Total if causes_passed(walk, head) => {
                let known = self.bugs.has(Bug::PositionsNotAcknowledged);
                let extent = if known { self.log.extent() } else { self.extent };
                count.min(in_position(walk, head, self.log, extent))
            }
            Class::Causal | Class::Total => 0,
        }
    }

    fn passed(&mut self, walk: &mut Walk, head: &Head<'_>, count: u64) {
        if head.run.class == Class::Total {
            walk.order.pass(count);
        }
    }
}

/// Numbering at the sequencer: a total gets its position when it is causally ready at the head of
/// its lane, that is, when everything it depends on has passed here.
pub(crate) struct Number<'a> {
    pub(crate) log: &'a mut Log,
}

impl Rule for Number<'_> {
    fn allow(&mut self, walk: &mut Walk, head: &Head<'_>) -> u64 {
        match head.run.class {
            Class::Fifo => head.left,
            Class::Causal | Class::Total if causes_passed(walk, head) => head.left,
            Class::Causal | Class::Total => 0,
        }
    }

    fn passed(&mut self, _: &mut Walk, head: &Head<'_>, count: u64) {
        if head.run.class == Class::Total {
            self.log.append(head.rank as u32, count, head.batch.wall);
        }
    }
}

/// The final cut of a view: what is held, closed under sender order and causes. Without stamps a
/// total is out if its sender had delivered more totals than the recovered order has in a row
/// inside the cut (S5).
pub(crate) struct Closure<'a> {
    pub(crate) log: &'a Log,
    pub(crate) stamped: bool,
    /// Totals that have passed beyond what is delivered, by lane.
    pub(crate) totals: Vec<u64>,
    /// How many positions in a row have passed: the leading run of the order inside the cut.
    pub(crate) leading: OrderAt,
    /// Totals of each lane among the leading positions.
    pub(crate) counted: Vec<u64>,
    pub(crate) bugs: Bugs,
}

impl Closure<'_> {
    /// Extends the leading run over the totals that have passed.
    pub(crate) fn lead(&mut self) {
        while let Some((rank, count, _)) = self.log.peek(&mut self.leading) {
            let rank = rank as usize;
            let passed = (self.totals[rank] - self.counted[rank]).min(count);
            if passed == 0 {
                break;
            }
            self.counted[rank] += passed;
            self.leading.pass(passed);
        }
    }
}

impl Rule for Closure<'_> {
    fn allow(&mut self, walk: &mut Walk, head: &Head<'_>) -> u64 {
        match head.run.class {
            Class::Fifo => head.left,
            Class::Causal => u64::from(causes_passed(walk, head)) * head.left,
            Class::Total if self.stamped => u64::from(causes_passed(walk, head)) * head.left,
            Class::Total if self.bugs.has(Bug::IgnoreK) => head.left,
            Class::Total => u64::from(head.batch.k <= self.leading.position) * head.left,
        }
    }

    fn passed(&mut self, _: &mut Walk, head: &Head<'_>, count: u64) {
        if head.run.class == Class::Total {
            self.totals[head.rank] += count;
            self.lead();
        }
    }
}
