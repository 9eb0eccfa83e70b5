//! Acknowledgements and the two marks: stable (a quorum of the active members has it) and held by
//! all (buffers are freed).

#[cfg(test)]
mod tests;

use alloc::vec::Vec;

use super::Multicast;
use super::tally::Owed;
use crate::bugs::Bug;
use crate::moment::Moment;
use crate::ordering::Lane;
use crate::wire::messages::{Data, Hurry};
use crate::wire::{Cut, Micros, Rank};

impl Multicast {
    /// What `rank` says it has received; an acknowledgement never lowers anything. `false`: it
    /// claims more than its view has lanes for.
    pub(crate) fn acknowledge(&mut self, rank: Rank, received: &Cut, now: Micros) -> bool {
        if !self.is_possible(received) {
            return false;
        }
        let nothing = received.extent == 0 && received.counts.iter().all(|&count| count == 0);
        if nothing && self.tally.acks.is_empty() {
            return true;
        }
        let slowest = self.held_of_own();
        let acks = &mut self.tally.make().acks;
        acks.resize(self.lanes.len(), Cut::default());
        acks[rank].counts.resize(received.counts.len(), 0);
        acks[rank].raise(received);
        if self.held_of_own() > slowest {
            // Only the slowest counts: the others' progress must not hide one that stands still.
            self.progress = now;
            self.nag_due = Moment::NONE;
        }
        true
    }

    /// Nobody can have received more of the own lane, or of the own records, than there is.
    pub(crate) fn is_possible(&self, received: &Cut) -> bool {
        received.counts.len() == self.lanes.len()
            && received.count(self.me) <= self.lanes[self.me].closed()
            && (self.me > 0 || received.extent <= self.log.extent())
    }

    /// What is here counts as acknowledged here.
    fn acknowledge_own(&mut self) {
        let nothing = || self.log.extent() == 0 && self.lanes.iter().all(|it| it.closed() == 0);
        if self.tally.acks.is_empty() {
            if nothing() {
                return;
            }
            self.tally.make().acks.resize(self.lanes.len(), Cut::default());
        }
        let Some(tally) = self.tally.made() else { return };
        let own = &mut tally.acks[self.me];
        own.counts.resize(self.lanes.len(), 0);
        for (count, lane) in own.counts.iter_mut().zip(&self.lanes) {
            *count = lane.closed();
        }
        own.extent = self.log.extent();
    }

    /// The counts that a quorum of the active members has acknowledged, coordinate by coordinate. A
    /// lane whose updates are all stable has nothing to find: its mark is where it stands.
    pub(super) fn quorum_marks(&mut self) -> Cut {
        self.acknowledge_own();
        let voters = if self.bugs.has(Bug::JoinersVote) {
            self.view.members.len()
        } else {
            self.view.active
        };
        let mut need = voters / 2 + 1;
        if self.bugs.has(Bug::QuorumOffByOne) && need > 1 {
            need -= 1;
        }
        let tie = voters % 2 == 0 && need == voters / 2 + 1;
        // Of nobody, where nobody has acknowledged anything.
        let acks = self.tally.acks.get(..voters).unwrap_or_default();
        let mut column: Vec<u64> = Vec::with_capacity(voters);
        let lanes = self.stable.counts.iter().enumerate();
        let counts = lanes.map(|(lane, &stable)| match self.lanes[lane].end() <= stable {
            true => stable,
            false => mark(acks, (need, tie), stable, &mut column, |ack| ack.count(lane)),
        });
        let counts = counts.collect();
        let position = self.stable.order.position;
        let extent = mark(acks, (need, tie), position, &mut column, |ack| ack.extent);
        Cut { counts, extent }
    }

    /// Frees what all members hold, and what is delivered and stable here. Returns whether own
    /// bytes were freed.
    pub(crate) fn free(&mut self, now: Micros) -> bool {
        self.acknowledge_own();
        let early = self.bugs.has(Bug::FreeEarly);
        let acks = &self.tally.acks;
        // Of a lane, or of the order.
        let held = |lane: Option<usize>| {
            let of = |ack: &Cut| lane.map_or(ack.extent, |lane| ack.count(lane));
            let counts = acks.iter().map(of);
            if early { counts.max().unwrap_or(0) } else { counts.min().unwrap_or(0) }
        };
        let sequencer = self.me == 0;
        for rank in 0..self.lanes.len() {
            let mut to = self.delivered.counts[rank].min(self.stable.counts[rank]);
            if sequencer {
                to = to.min(self.numbered.counts[rank]);
            }
            if self.lanes[rank].may_free(to) {
                self.lanes[rank].free(to.min(held(Some(rank))));
            }
        }
        let extent = held(None);
        self.log.free(extent.min(self.delivered.order.position).min(self.stable.order.position));
        let mine = held(Some(self.me));
        self.pace.held(mine, now);
        let Some(tally) = self.tally.made() else { return false };
        let before = tally.own_bytes;
        while tally.own.front().is_some_and(|&(end, _)| end <= mine) {
            if let Some((_, bytes)) = tally.own.pop_front() {
                tally.own_bytes -= bytes;
            }
        }
        before != tally.own_bytes
    }

    /// Whether everybody may wait for something that is not stable yet.
    pub(crate) fn waited_for(&self) -> bool {
        self.tally.urgent.iter().zip(&self.stable.counts).any(|(&until, &stable)| stable < until)
    }

    /// Whether a member waits for what goes out with the next close.
    pub(crate) fn is_waited_for(&self) -> bool {
        self.waited_for() || self.ack_asked || self.askers().next().is_some()
    }

    /// Everybody may wait: what was received so far is acknowledged to all at once until it is
    /// stable.
    pub(crate) fn hasten(&mut self) {
        let urgent = &mut self.tally.make().urgent;
        urgent.clear();
        urgent.extend(self.lanes.iter().map(Lane::end));
    }

    /// Asks everybody for their acknowledgements with the next message.
    pub(crate) fn ask_acks(&mut self) {
        self.hasten();
        self.hurry = Hurry::All;
    }

    /// `rank` waits for what it has sent here.
    pub(crate) fn asked_by(&mut self, rank: Rank) {
        self.owed(rank).until = self.lanes[rank].end();
    }

    /// What a member is owed.
    fn owed(&mut self, rank: Rank) -> &mut Owed {
        let owed = &mut self.tally.make().owed;
        owed.resize(self.lanes.len(), Owed::default());
        &mut owed[rank]
    }

    /// So much has come from `rank`.
    pub(super) fn owe(&mut self, rank: Rank, bytes: usize, updates: usize) {
        let owed = self.owed(rank);
        owed.bytes = owed.bytes.saturating_add(u32::try_from(bytes).unwrap_or(u32::MAX));
        owed.updates = owed.updates.saturating_add(u32::try_from(updates).unwrap_or(u32::MAX));
    }

    /// Who waits for no more than to be told what is here. What cannot be delivered yet is not
    /// worth telling: it, or its position, depends on something that is missing.
    fn askers(&self) -> impl Iterator<Item = Rank> {
        let told = |&(_, (owed, &delivered)): &(Rank, (&Owed, &u64))| {
            owed.until > 0 && delivered >= owed.until && !self.bugs.has(Bug::NoLastAck)
        };
        let lanes = self.tally.owed.iter().zip(&self.delivered.counts);
        lanes.enumerate().filter(told).map(|(rank, _)| rank)
    }

    /// An acknowledgement for those alone who wait for it; the others hear of it with the next that
    /// goes to all.
    pub(crate) fn take_answer(&mut self) -> Option<(Vec<Rank>, Data)> {
        let askers: Vec<Rank> = self.askers().collect();
        if askers.is_empty() {
            return None;
        }
        let owed = &mut self.tally.make().owed;
        askers.iter().for_each(|&rank| owed[rank].until = 0);
        // What has been acknowledged to all is known to them, too.
        let ack = self.owes_ack().then(|| self.received())?;
        Some((askers, Data { ack: Some(ack), ..Data::default() }))
    }

    /// Whether something was received that is not acknowledged: a debt always arms the timer, so
    /// silence never swallows the last acknowledgement (A2). Who holds owes nothing until it goes
    /// on.
    fn owes_ack(&self) -> bool {
        if self.view.members.len() < 2 || self.holds {
            return false;
        }
        let acked = &self.tally.acked;
        self.log.extent() > acked.extent
            || self.lanes.iter().enumerate().any(|(rank, lane)| lane.closed() > acked.count(rank))
    }

    /// Arms or clears the timer of the acknowledgement. What nobody waits for may be late by
    /// `relaxed`: not what a window may be full of, nor what somebody may have asked for.
    pub(crate) fn arm_ack(&mut self, now: Micros, delay: Micros, relaxed: Micros) {
        const SHARE: usize = 4;
        if !self.owes_ack() {
            (self.ack_due, self.ack_asked) = (Moment::NONE, false);
        } else if !self.bugs.has(Bug::NoLastAck) {
            let much = self.pace.floor() / SHARE;
            let waits = self.tally.owed.iter().any(|owed| owed.charged() >= much);
            let waits = waits || now < self.asked_until;
            if relaxed > 0 && !waits && self.bugs.has(Bug::RelaxedForGood) {
                return;
            }
            let due = now + delay + if waits { 0 } else { relaxed };
            self.ack_due = self.ack_due.or_earlier(due);
        }
    }

    /// Somebody asks for it: even where all is stable here, the one who asks may not know.
    pub(crate) fn ack_at_once(&mut self, now: Micros) {
        if self.owes_ack() && !self.bugs.has(Bug::NoLastAck) {
            self.ack_due = Moment::at(now);
            self.ack_asked = true;
        }
    }

    pub(crate) fn ack_due(&self) -> Option<Micros> {
        self.ack_due.get()
    }

    /// Whether an acknowledgement should go out now.
    pub(super) fn ack_is_due(&self, now: Micros) -> bool {
        const ENOUGH: usize = 256 * 1024;
        self.owes_ack()
            && (self.ack_due.is_some_and(|due| due <= now)
                || self.tally.owed.iter().map(|owed| owed.bytes as usize).sum::<usize>() >= ENOUGH
                || self.waited_for()
                || self.askers().count() + 1 >= self.lanes.len())
    }

    /// The acknowledgement to send, if one is owed.
    pub(super) fn take_ack(&mut self) -> Option<Cut> {
        if !self.owes_ack() {
            return None;
        }
        let received = self.received();
        let tally = self.tally.make();
        for (owed, &delivered) in tally.owed.iter_mut().zip(&self.delivered.counts) {
            // Who waits for what cannot be delivered yet waits on.
            let told = delivered >= owed.until && !self.bugs.has(Bug::NoLastAck);
            *owed = Owed { until: if told { 0 } else { owed.until }, ..Owed::default() };
        }
        tally.acked = received.clone();
        (self.ack_due, self.ack_asked) = (Moment::NONE, false);
        Some(received)
    }

    /// Whether all that is here is acknowledged by all: nothing is kept, and nothing waits.
    pub(crate) fn is_settled(&self) -> bool {
        // What everybody has is not kept: with nothing kept nobody needs to be looked at.
        let kept = !self.log.is_empty() || !self.lanes.iter().all(Lane::is_empty);
        !kept || self.laggards().is_empty()
    }

    /// The members whose acknowledgements of what is here are missing. A lost acknowledgement is
    /// not missed by the one who sent it, so it must be asked for, by whoever keeps the batch or
    /// waits for its stability.
    pub(crate) fn laggards(&self) -> Vec<Rank> {
        let received = self.received();
        let nothing = Cut::default();
        let acked = |rank: Rank| self.tally.acks.get(rank).unwrap_or(&nothing);
        self.others().filter(|&rank| !acked(rank).covers(&received)).collect()
    }

    /// How much of the own lane all others have acknowledged.
    fn held_of_own(&self) -> u64 {
        self.others().map(|rank| self.acked_by(rank)).min().unwrap_or(u64::MAX)
    }

    /// The other member that has acknowledged least of the own lane.
    pub(crate) fn slowest(&self) -> Option<Rank> {
        self.others().min_by_key(|&rank| (self.acked_by(rank), rank))
    }

    /// How much of the own lane a member has acknowledged.
    fn acked_by(&self, rank: Rank) -> u64 {
        self.tally.acks.get(rank).map_or(0, |ack| ack.count(self.me))
    }

    fn others(&self) -> impl Iterator<Item = Rank> {
        (0..self.lanes.len()).filter(move |&rank| rank != self.me)
    }
}

/// What a quorum has of one coordinate: at least `stable`. Where too few are beyond that, the mark
/// cannot be: no need to sort for it. `column` is room to sort in.
fn mark(
    acks: &[Cut],
    (need, tie): (usize, bool),
    stable: u64,
    column: &mut Vec<u64>,
    of: impl Fn(&Cut) -> u64,
) -> u64 {
    let ahead = acks.iter().filter(|ack| of(ack) > stable).count();
    if ahead < need
        && !(tie && ahead >= acks.len() / 2 && acks.first().is_some_and(|ack| of(ack) > stable))
    {
        return stable;
    }
    column.clear();
    column.extend(acks.iter().map(of));
    quorum_mark(column, need)
}

/// The largest count that a quorum has: `need` members, or exactly half of them with rank 0, whose
/// count comes first.
fn quorum_mark(counts: &mut [u64], need: usize) -> u64 {
    let (lowest, members) = (counts[0], counts.len());
    let tie = members % 2 == 0 && need == members / 2 + 1;
    counts.sort_unstable_by(|a, b| b.cmp(a));
    // Half of the members with rank 0 among them: rank 0 and the best `members / 2 - 1` others.
    // Their least count is that of place `members / 2`, if rank 0 is at or before it, and else rank
    // 0's.
    let half = if tie { lowest.min(counts[members / 2 - 1]) } else { 0 };
    counts[need - 1].max(half)
}
