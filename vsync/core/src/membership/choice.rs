//! Cut choice: what of a view survives, and in which order.

use alloc::vec::Vec;

use crate::bugs::{Bug, Bugs};
use crate::ordering::{Closure, Lane, Log, Walk};
use crate::wire::messages::Record;

/// Cut and order of a view's end.
#[derive(Clone, Debug)]
pub(crate) struct Choice {
    pub(crate) cut: Vec<u64>,
    pub(crate) base: u64,
    pub(crate) tail: Vec<Record>,
    pub(crate) time: u64,
    /// Positions whose update nobody has.
    pub(crate) dropped_positions: u64,
    /// Updates that somebody has, but that are left out.
    pub(crate) dropped_updates: u64,
    /// Totals that get their position here.
    pub(crate) appended: u64,
}

/// Chooses cut and order from everything that the promisers hold: `lanes` and `log` are the
/// leader's, after it has fetched what it lacked. What the leader has delivered is inside any cut.
pub(crate) fn choose(
    lanes: &[Lane],
    log: &Log,
    delivered: &Walk,
    stamped: bool,
    bugs: Bugs,
) -> Choice {
    let mut walk = delivered.clone();
    // Totals are counted from what is delivered.
    let none = alloc::vec![0; lanes.len()];
    let mut rule =
        Closure { log, stamped, totals: none.clone(), leading: walk.order, counted: none, bugs };
    rule.lead();
    walk.advance(lanes, &mut rule);
    let (mut leading, totals) = (rule.leading, rule.totals);
    let mut seen = rule.counted;
    let base = leading.position;
    let mut tail = Tail { records: Vec::new(), time: 0 };
    let mut dropped_positions = 0;
    // The recorded order, restricted to the cut (S6).
    while let Some((rank, count, time)) = log.peek(&mut leading) {
        let lane = rank as usize;
        let inside = totals[lane].saturating_sub(seen[lane]).min(count);
        let keep = if bugs.has(Bug::OrderNotRestricted) { count } else { inside };
        tail.push(rank, keep, time);
        dropped_positions += count - inside;
        seen[lane] += count;
        leading.pass(count);
    }
    tail.time = tail.time.max(log.last_time());
    let unordered = unordered(lanes, &seen, delivered, &walk.counts, stamped, bugs);
    let appended = unordered.len() as u64;
    for (_, rank, _, wall) in unordered {
        tail.push(rank as u32, 1, wall);
    }
    let held: u64 = lanes.iter().map(Lane::end).sum();
    Choice {
        dropped_updates: held - walk.counts.iter().sum::<u64>(),
        cut: walk.counts.into_vec(),
        base,
        time: tail.time,
        tail: tail.records,
        dropped_positions,
        appended,
    }
}

/// The totals inside the cut that have no position, in a linear extension of causality (S4): by
/// (sum of the stamp's other entries + number, rank, number), or without stamps by (k, rank,
/// number).
fn unordered(
    lanes: &[Lane],
    seen: &[u64],
    delivered: &Walk,
    cut: &[u64],
    stamped: bool,
    bugs: Bugs,
) -> Vec<(u64, usize, u64, u64)> {
    let mut found = Vec::new();
    for (rank, lane) in lanes.iter().enumerate() {
        let mut skip = seen[rank];
        for (batch, seq, count) in lane.totals_between(delivered.counts[rank], cut[rank]) {
            let others = || -> u64 {
                let stamp = batch.stamp.iter().flatten().enumerate();
                stamp.filter(|&(other, _)| other != rank).map(|(_, &count)| count).sum()
            };
            let past = if stamped { others() } else { batch.k };
            let skipped = skip.min(count);
            skip -= skipped;
            for seq in seq + skipped..seq + count {
                let key = match (bugs.has(Bug::AppendByRank), stamped) {
                    (true, _) => 0,
                    (false, true) => past + seq,
                    (false, false) => past,
                };
                found.push((key, rank, seq, batch.wall));
            }
        }
    }
    found.sort_unstable();
    found
}

struct Tail {
    records: Vec<Record>,
    time: u64,
}

impl Tail {
    fn push(&mut self, rank: u32, count: u64, time: u64) {
        if count == 0 {
            return;
        }
        self.time = self.time.max(time);
        match self.records.last_mut() {
            Some(last) if last.rank == rank && last.time == self.time => last.count += count as u32,
            _ => self.records.push(Record { rank, count: count as u32, time: self.time }),
        }
    }
}
