//! Reasons for a view change, who acts on them, and the periodic work.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use super::Turn;
use super::member::{Ending, Leaving, Membership};
use super::times::ONCE;
use super::viewchange::want;
use crate::bugs::{Bug, Bugs};
use crate::engine::{DropReason, Refusal, Traffic};
use crate::membership::is_quorum;
use crate::moment::Moment;
use crate::wire::bounds::MAX_MEMBERS;
use crate::wire::messages::{JoinRequest, Message, Nudge};
use crate::wire::{Ballot, Micros, NodeId, Rank, ViewNumber};

/// Retries of a step back off up to this many times its delay.
const BACKOFF: u64 = 8;

impl Membership {
    /// The lowest-ranked active member that is not gone: it leads.
    fn candidate(&self, turn: &Turn<'_>) -> Rank {
        (0..self.view().active).find(|&rank| !self.is_gone(turn, rank)).unwrap_or(self.rank())
    }

    /// Whether this member's own promise has something to tell.
    fn wishes(&self, bugs: Bugs) -> bool {
        let promoted = self.is_active() || !self.loading.is_done();
        !promoted || self.loading.wants_restart() || self.may_leave(bugs)
    }

    /// Whether a change can let this member go. The only active one stays as long as somebody joins
    /// (L8): were its leave a reason all the same, one change would follow the other without a
    /// pause until somebody has the state (seed 8618).
    fn may_leave(&self, bugs: Bugs) -> bool {
        let alone = self.is_active() && self.view().active == 1;
        let awaited = self.view().members.len() > 1 || !self.rare.joins.is_empty();
        self.leaving == Leaving::Asking && !(alone && awaited && !bugs.has(Bug::LeaveInVain))
    }

    fn reasons(&self, bugs: Bugs) -> Nudge {
        Nudge {
            joins: self.rare.joins.values().cloned().collect(),
            wish: self.wishes(bugs) || self.wished,
            stalled: None,
            evict: self.rare.evict.iter().map(|&rank| rank as u32).collect(),
        }
    }

    /// How long a change may stand still before somebody else is woken.
    fn patience(&self, turn: &Turn<'_>) -> Micros {
        let back_off = 1 + self.rare.retries.min(BACKOFF);
        turn.config.change_retry * (1 + self.rank() as u64) * back_off
    }

    /// Acts on reasons for a change: leads, or tells who should.
    pub(crate) fn consider(&mut self, turn: &mut Turn<'_>) {
        if self.change.installing.is_some() || self.is_over() {
            return;
        }
        let candidate = self.candidate(turn);
        if self.is_frozen() {
            // A change is under way; it needs this member only if its leader is gone.
            let leader = self.change.promised.leader as usize;
            let orphaned = self.is_gone(turn, leader);
            if self.leading().is_some() {
                self.advance_change(turn, None);
            } else if orphaned && candidate == self.rank() && !turn.bugs().has(Bug::NoNudge) {
                self.lead(turn);
            }
            return;
        }
        let leads = candidate == self.rank() && self.is_active();
        let mut reasons = self.reasons(turn.bugs());
        if leads {
            // The leader of a change is never its victim.
            reasons.evict.retain(|&rank| rank as usize != candidate);
        }
        // Suspicions are no reason to nudge: whoever should lead has its own.
        let gone = || (0..self.view().members.len()).any(|rank| self.is_gone(turn, rank));
        if reasons == Nudge::default() && !(leads && gone()) {
            return;
        }
        if !leads {
            let to = self.node(candidate);
            self.send(turn, [to], Traffic::Control, Message::Nudge(reasons));
        } else if turn.changes.begin(self.id, turn.now) {
            self.lead(turn);
        } else {
            turn.marks.queued += 1;
        }
        self.arm_chores(turn);
    }

    /// Wakes whoever should lead, as a promised member that sees no progress (L2).
    fn wake(&mut self, turn: &mut Turn<'_>) {
        self.progress = turn.now;
        self.rare.make().retries += 1;
        if turn.bugs().has(Bug::NoNudge) {
            return;
        }
        if turn.bugs().has(Bug::ResumeAfterPromise) {
            let change = self.change.make();
            (change.promised, change.lead) = (Ballot::default(), None);
            return self.settle(turn);
        }
        let candidate = self.candidate(turn);
        if candidate == self.rank() && self.is_active() {
            return self.lead(turn);
        }
        let reasons = Nudge { stalled: Some(self.change.promised), ..self.reasons(turn.bugs()) };
        let to = self.node(candidate);
        self.send(turn, [to], Traffic::Control, Message::Nudge(reasons));
    }

    pub(crate) fn on_nudge(&mut self, turn: &mut Turn<'_>, nudge: Nudge) {
        let members = self.view().members.len();
        for join in nudge.joins {
            self.note_join(turn, join);
        }
        self.wished |= nudge.wish;
        let me = self.rank();
        let evict = nudge.evict.into_iter().map(|rank| rank as usize);
        self.rare.make().evict.extend(evict.filter(|&r| r < members && r != me));
        if let Some(ballot) = nudge.stalled {
            self.change.make().saw(ballot);
            let ahead = |mine: Ballot| mine >= ballot;
            let busy = self.leading().is_some_and(|lead| ahead(lead.ballot));
            if !busy && self.candidate(turn) == me && self.is_active() {
                return self.lead(turn);
            }
        }
        self.consider(turn);
    }

    /// A node asks this member to be let in.
    pub(crate) fn on_join(&mut self, turn: &mut Turn<'_>, peer: NodeId, join: JoinRequest) {
        if join.node != peer {
            return turn.dropped(peer, DropReason::Invalid);
        }
        if join.schema != self.terms.schema {
            let reason = Refusal::Schema { theirs: self.terms.schema };
            let refused = Message::Refused { nonce: join.nonce, reason };
            return self.send(turn, [peer], Traffic::Control, refused);
        }
        let current = self.view().members.iter().find(|member| member.id.node == peer);
        if let Some(member) = current.filter(|member| join.nonce <= member.nonce) {
            // It is in: it has not heard yet.
            if member.id.entry == self.view().number
                && let Some(proposal) = self.decision.clone()
            {
                self.send(turn, [peer], Traffic::Control, Message::Install { proposal });
            }
            return;
        }
        self.note_join(turn, join);
        self.consider(turn);
    }

    fn note_join(&mut self, turn: &mut Turn<'_>, join: JoinRequest) {
        let current = self.view().members.iter().find(|member| member.id.node == join.node);
        let known = self.rare.joins.get(&join.node).is_some_and(|known| known.nonce >= join.nonce);
        let stale = current.is_some_and(|member| join.nonce <= member.nonce);
        // A suspected joiner is not let in, so its request must not be a reason for a change
        // either.
        let lapsed = turn.detector.suspects(join.node);
        if !known
            && !stale
            && !lapsed
            && join.node != self.me.node
            && join.schema == self.terms.schema
            && self.rare.joins.len() + self.view().members.len() < MAX_MEMBERS
        {
            if current.is_some() && self.rare.make().ended.insert(join.node) {
                // It has forgotten the membership that this view lists.
                self.find_quorum(turn);
            }
            self.rare.make().joins.insert(join.node, join);
            self.arm_chores(turn);
        }
    }

    /// A member's node says that it has no such membership.
    pub(crate) fn on_not_here(&mut self, turn: &mut Turn<'_>, peer: NodeId, beyond: ViewNumber) {
        if beyond > self.view().number + 1 && !turn.bugs().has(Bug::IgnoreExclusion) {
            // Who is listed beyond the next view has promised in that one, so had installed it:
            // this member is not. Without this it would wait for the rest of a cut that nobody has
            // any more. Whoever says so: the last who knows may have come after this view (seed
            // 675407).
            turn.marks.excluded_late += 1;
            self.ending = Some(Ending::Forgotten);
            return;
        }
        if self.view().rank_of_node(peer).is_none() {
            return;
        }
        let news = beyond > self.view().number && self.rare.superseded.is_none();
        if news {
            self.rare.make().superseded = Some(turn.now);
        }
        if self.rare.make().ended.insert(peer) || news {
            self.watch_quorum(turn);
            self.find_quorum(turn);
            self.consider(turn);
        }
    }

    /// Where a former member knows that this view has a successor, and nobody is left who could be
    /// in it (the others gave up, or their processes have ended, or they are stuck in this view,
    /// too, and no quorum), there is nothing to wait for: the group was dissolved, or went on
    /// elsewhere (seeds 230, 368, 5794). Suspicion never ends a membership, and neither does a mere
    /// crash: the state here may be the last.
    pub(crate) fn find_quorum(&mut self, turn: &mut Turn<'_>) {
        let Some(since) = self.rare.superseded else { return };
        if self.change.installing.is_some() {
            // It is in the successor itself, and may be all that is left of it (seed 132319).
            return;
        }
        let lost = |rank: Rank| {
            let node = self.node(rank);
            self.rare.ended.contains(&node) || turn.detector.has_ended(node)
        };
        // What they said before proves nothing: they may have learned of the successor since (seed
        // 6030).
        let settled = since.saturating_add(turn.config.heartbeat.saturating_mul(5));
        let stuck = |rank: Rank| {
            let said = self.rare.abreast.get(self.node(rank));
            rank == self.rank() || said.is_some_and(|at| at > settled)
        };
        let nobody = (0..self.view().members.len()).all(|rank| lost(rank) || stuck(rank));
        if nobody && !is_quorum(self.view(), turn.bugs(), |rank| !lost(rank)) {
            turn.marks.excluded_late += 1;
            self.ending = Some(Ending::Forgotten);
        }
    }

    /// The application wants the next view.
    pub(crate) fn renew(&mut self, turn: &mut Turn<'_>) {
        self.wished = true;
        self.consider(turn);
        self.arm_chores(turn);
    }

    pub(crate) fn leave(&mut self, turn: &mut Turn<'_>) {
        if self.leaving == Leaving::No {
            self.leaving = Leaving::Draining;
            self.drain_leave(turn);
            self.arm_chores(turn);
        }
    }

    /// A leaver waits until its own updates are stable and the transfers it serves are done.
    pub(crate) fn drain_leave(&mut self, turn: &mut Turn<'_>) {
        if self.leaving != Leaving::Draining || self.is_frozen() {
            return;
        }
        let stable = self.multicast.stable_cut().count(self.rank());
        let drained = !self.loading.is_done()
            || (self.pending.is_empty() && stable == self.multicast.own_end());
        if !drained || self.is_donating() {
            self.multicast.ask_acks();
            return;
        }
        self.leaving = Leaving::Asking;
        self.consider(turn);
    }

    /// The others' suspicions or this member's own have changed.
    pub(crate) fn suspicion(&mut self, turn: &mut Turn<'_>) {
        if let Some(rare) = self.rare.made() {
            rare.joins.retain(|&node, _| !turn.detector.suspects(node));
        }
        self.watch_quorum(turn);
        self.find_quorum(turn);
        self.consider(turn);
        self.arm_chores(turn);
    }

    /// A heartbeat's word on this group.
    pub(crate) fn on_digest(&mut self, turn: &mut Turn<'_>, peer: NodeId, view: u64, entry: u64) {
        if turn.bugs().has(Bug::NoDigest) {
            return;
        }
        let current = self.view().number;
        if let Some(rare) = self.rare.made() {
            // One that has left the view, and asks what became of it, names no entry.
            if view == current && entry > 0 && rare.superseded.is_some() {
                // What was said before that is known proves nothing.
                rare.abreast.insert(peer, turn.now);
            } else {
                rare.abreast.remove(peer);
            }
            rare.answered.forget(turn.now.saturating_sub(ONCE));
        }
        if view < current {
            // Whoever has decided tells everybody: only who has not heard it by now must be told
            // again. In a large view nobody else gets through otherwise.
            let fresh = view + 1 == current && turn.now < self.progress + turn.config.change_retry;
            if !fresh || self.is_frozen() {
                let id = crate::wire::MemberId { node: peer, entry };
                self.tell_behind(turn, id, view);
            }
        } else if view > current {
            self.ask_decision(turn, peer);
        }
    }

    /// A member's heartbeat does not name this group: it may never have heard of it, or forgotten
    /// it.
    pub(crate) fn unnamed(&mut self, turn: &mut Turn<'_>, peer: NodeId) {
        if self.view().rank_of_node(peer).is_some() {
            self.sync(turn, peer, false);
        }
    }

    /// Whether there is unfinished work: an idle group has no timer.
    fn is_busy(&self, bugs: Bugs) -> bool {
        self.is_frozen()
            || !self.rare.joins.is_empty()
            || !self.rare.evict.is_empty()
            || self.wished
            || self.wishes(bugs)
            || self.leaving != Leaving::No
            || !self.loading.is_done()
            || self.is_donating()
            || self.rare.closed.is_some()
            || !self.pending.is_empty()
            || self.pending.is_flushing()
            || self.rare.blocked.is_some()
            || !self.rare.ended.is_empty()
            || !self.multicast.is_settled()
    }

    pub(crate) fn arm_chores(&mut self, turn: &Turn<'_>) {
        if self.chores_due.is_none() && self.is_busy(turn.bugs()) {
            self.chores_due = Moment::at(turn.now + turn.config.change_retry);
        }
    }

    pub(crate) fn tick(&mut self, turn: &mut Turn<'_>) {
        if !self.is_frozen() && self.multicast.ack_due().is_some_and(|due| due <= turn.now) {
            self.send_data(turn);
        }
        if self.chores_due.is_some_and(|due| due <= turn.now) {
            self.chores_due = Moment::NONE;
            self.chores(turn);
            self.arm_chores(turn);
        }
    }

    /// Repeats what has found no answer.
    fn chores(&mut self, turn: &mut Turn<'_>) {
        self.late_checkpoint(turn);
        if let Some(outgoing) = self.outgoing() {
            outgoing.rewind_idle();
        }
        self.send_chunks(turn);
        self.bound_joiner(turn);
        self.watch_quorum(turn);
        self.find_quorum(turn);
        self.tell_unconfirmed(turn);
        if self.is_frozen() {
            return self.change_chores(turn);
        }
        self.nag(turn);
        self.find_obstacles(turn);
        self.consider(turn);
        self.drain_leave(turn);
    }

    fn change_chores(&mut self, turn: &mut Turn<'_>) {
        let wanted = match (self.change.installing.as_deref(), self.change.holding.as_deref()) {
            (Some((_, decided)), _) => Some(want(decided)),
            (None, Some((_, _, proposal))) => Some(want(proposal)),
            (None, None) => None,
        };
        let stuck = turn.now.saturating_sub(self.progress) > self.patience(turn);
        if let Some(want) = wanted {
            if stuck {
                self.rare.make().retries += 1;
            }
            if let Some(source) = self.source(turn) {
                self.fetch(turn, source, &want);
            }
        }
        if self.change.installing.is_some() {
            return;
        }
        self.repeat(turn, None);
        self.find_obstacles(turn);
        if stuck {
            self.unstick(turn);
        } else {
            self.consider(turn);
        }
    }

    /// A change without progress: the leader starts over if somebody must be evicted for it to go
    /// on; others wake whoever should lead.
    fn unstick(&mut self, turn: &mut Turn<'_>) {
        let mut evict: BTreeSet<Rank> = self.rare.evict.clone();
        // A leader is never its own victim, so its ballot never lists it.
        evict.remove(&self.rank());
        let lacks = self.change.holding.is_some();
        match self.leading() {
            // Who accepted the adopted proposal may have died with what only it held: its promise
            // counts as absent then, in a new ballot (seed 16438).
            Some(_) if lacks => {
                turn.marks.given_up += 1;
                self.rare.make().retries += 1;
                self.lead(turn);
            }
            Some(lead) if evict.is_subset(&lead.evict) => {
                self.rare.make().retries += 1;
                self.progress = turn.now;
                self.advance_change(turn, None);
            }
            Some(_) => {
                self.rare.make().retries += 1;
                self.lead(turn);
            }
            None => self.wake(turn),
        }
    }

    /// Asks those who do not acknowledge what they have: their acknowledgement, or the batch, is
    /// lost.
    fn nag(&mut self, turn: &mut Turn<'_>) {
        if self.multicast.is_settled() || turn.bugs().has(Bug::NoLastAck) {
            self.multicast.nag_due = Moment::NONE;
            return;
        }
        let again = |retries| Moment::at(turn.now + retries * turn.config.change_retry);
        match self.multicast.nag_due.get() {
            None => self.multicast.nag_due = again(2),
            Some(due) if due <= turn.now => {
                self.multicast.nag_due = again(4);
                let lagging: Vec<NodeId> =
                    self.multicast.laggards().into_iter().map(|rank| self.node(rank)).collect();
                for peer in lagging {
                    self.sync(turn, peer, true);
                }
            }
            Some(_) => {}
        }
    }

    /// Members that this one can't go on with (L1): a link that is gone for good, a window that one
    /// member keeps full.
    fn find_obstacles(&mut self, turn: &mut Turn<'_>) {
        for rank in 0..self.view().members.len() {
            if rank != self.rank() && turn.detector.link_lost(self.node(rank)) {
                // The junior of the two goes.
                let junior = rank.max(self.rank());
                self.rare.make().evict.insert(junior);
            }
        }
        let patience = turn.config.slow_member_timeout;
        let full = self.full_since.is_some_and(|since| turn.now > since + patience);
        let still = turn.now > self.multicast.progress + patience / 2;
        if full && still && !self.is_frozen() {
            self.full_since = Moment::at(turn.now);
            self.rare.make().evict.extend(self.multicast.slowest());
        }
    }

    /// Members that have not said that they are in the installed view are told the decision.
    fn tell_unconfirmed(&mut self, turn: &mut Turn<'_>) {
        let Some(closed) = &self.rare.closed else { return };
        // One at a time: what each of n tells n others is more than they can take in, in a large
        // view. Whoever comes first is answered by all.
        let turn_of = 1 + (self.rank() as u64).min(BACKOFF);
        if turn.now < closed.since + turn.config.change_retry * turn_of {
            return;
        }
        let Some(proposal) = self.decision.clone() else {
            return;
        };
        let to: Vec<NodeId> = self
            .others()
            .into_iter()
            .filter(|node| !closed.installed.contains(node) && !turn.detector.suspects(*node))
            .collect();
        self.send(turn, to, Traffic::Control, Message::Install { proposal });
    }
}
