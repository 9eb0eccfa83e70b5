//! The view change on the wire: prepare, promise, propose, accept, install.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use bytes::Bytes;

use super::Turn;
use super::member::{Leaving, Membership};
use crate::bugs::{Bug, Bugs};
use crate::engine::{DropReason, Marks, Output, Traffic};
use crate::membership::{Choice, Lead, Phase, choose, is_quorum, succeeds, successor};
use crate::wire::messages::{Message, Promise, Proposal};
use crate::wire::{Ballot, Cut, MemberId, NodeId, Rank, View, codec};

impl Membership {
    /// Leads a new ballot.
    pub(crate) fn lead(&mut self, turn: &mut Turn<'_>) {
        if self.change.installing.is_some() || !self.is_active() {
            return;
        }
        let n = self.change.highest.max(self.change.promised.n) + 1;
        let ballot = Ballot { n, leader: self.rank() as u32 };
        let promised = self.change.make().promise(ballot, turn.bugs());
        assert!(promised, "a ballot above all that were seen is promised");
        self.freeze(turn);
        turn.marks.ballots += 1;
        let me = self.rank();
        let evict: BTreeSet<Rank> = self.rare.evict.iter().copied().filter(|&r| r != me).collect();
        let mut promises = BTreeMap::new();
        promises.insert(me, self.own_promise());
        let phase = Phase::Promising { promises };
        self.change.make().lead = Some(Box::new(Lead { ballot, evict, phase }));
        self.progress = turn.now;
        self.repeat(turn, None);
        self.advance_change(turn, None);
    }

    /// The ballot that this member leads and that nobody has overtaken here.
    pub(crate) fn leading(&mut self) -> Option<&mut Lead> {
        self.change.made()?.leading()
    }

    /// Stops taking part in the view, for ever (S1). The open batch closes and counts in what is
    /// promised; it is not sent.
    fn freeze(&mut self, turn: &mut Turn<'_>) {
        if !turn.bugs().has(Bug::UncountedOpenBatch) {
            self.multicast.close_batch();
        }
        if !core::mem::replace(&mut self.change.make().told, true) {
            turn.out.push(Output::Frozen { group: self.id, view: self.view().number });
        }
        self.progress = turn.now;
        self.arm_chores(turn);
    }

    fn own_promise(&self) -> Promise {
        Promise {
            accepted: self.change.accepted.as_deref().cloned(),
            received: self.multicast.received(),
            loaded: self.loading.is_done(),
            leaving: self.leaving == Leaving::Asking,
            restart: self.loading.wants_restart(),
        }
    }

    /// Sends again what the ballot led here waits for an answer to; to one peer or to all that it
    /// concerns.
    pub(crate) fn repeat(&mut self, turn: &mut Turn<'_>, only: Option<NodeId>) {
        let members = self.view().members.len();
        let me = self.rank();
        let Some(lead) = self.leading() else {
            return;
        };
        let ballot = lead.ballot;
        let (answered, message) = match &lead.phase {
            Phase::Promising { promises } => {
                let evict = lead.evict.iter().map(|&rank| rank as u32).collect();
                let ranks: BTreeSet<Rank> = promises.keys().copied().collect();
                (ranks, Message::Prepare { ballot, evict })
            }
            Phase::Proposing { proposal, accepted } => {
                (accepted.clone(), Message::Propose { ballot, proposal: proposal.clone() })
            }
        };
        let to: Vec<NodeId> = (0..members)
            .filter(|rank| *rank != me && !answered.contains(rank))
            .map(|rank| self.node(rank))
            .filter(|node| only.is_none_or(|only| only == *node))
            .collect();
        self.send(turn, to, Traffic::Control, message);
    }

    pub(crate) fn on_prepare(
        &mut self,
        turn: &mut Turn<'_>,
        rank: Rank,
        ballot: Ballot,
        evict: &[u32],
    ) {
        let peer = self.node(rank);
        if ballot.leader as usize != rank || !self.view().is_active(rank) || ballot.n == 0 {
            return turn.dropped(peer, DropReason::Invalid);
        }
        if !self.promise(turn, peer, ballot) {
            return;
        }
        // Binding for whoever leads next, too.
        let members = self.view().members.len();
        let ranks = evict.iter().map(|&rank| rank as usize).filter(|&rank| rank < members);
        self.rare.make().evict.extend(ranks);
        let promise = self.own_promise();
        self.send(turn, [peer], Traffic::Control, Message::Promise { ballot, promise });
    }

    /// Promises a ballot, or rejects it.
    fn promise(&mut self, turn: &mut Turn<'_>, peer: NodeId, ballot: Ballot) -> bool {
        if self.change.installing.is_some() {
            // The decision is known here: it answers everything.
            self.tell_decision(turn, peer);
            return false;
        }
        if !self.change.make().promise(ballot, turn.bugs()) {
            let promised = self.change.promised;
            self.send(turn, [peer], Traffic::Control, Message::Reject { promised });
            return false;
        }
        if self.change.lead.as_ref().is_some_and(|lead| lead.ballot < ballot) {
            self.overtaken(turn);
        }
        self.freeze(turn);
        true
    }

    /// The ballot led here is given up for a higher one.
    fn overtaken(&mut self, turn: &mut Turn<'_>) {
        let change = self.change.make();
        change.lead = None;
        change.overtaken += 1;
        turn.marks.overtaken += 1;
        turn.marks.overtaken_twice += u64::from(change.overtaken == 2);
    }

    pub(crate) fn on_promise(
        &mut self,
        turn: &mut Turn<'_>,
        rank: Rank,
        ballot: Ballot,
        promise: Promise,
    ) {
        let adoptable = promise.accepted.as_ref().is_none_or(|accepted| {
            let proposal = codec::decode_proposal(&accepted.proposal);
            proposal.is_some_and(|proposal| self.is_successor(turn, &proposal))
                && accepted.ballot <= ballot
        });
        if !adoptable || !self.multicast.is_possible(&promise.received) {
            return turn.dropped(self.node(rank), DropReason::Invalid);
        }
        let Some(lead) = self.leading().filter(|lead| lead.ballot == ballot) else {
            return;
        };
        if let Phase::Promising { promises } = &mut lead.phase {
            promises.insert(rank, promise);
            self.progress = turn.now;
            self.advance_change(turn, None);
        }
    }

    pub(crate) fn on_reject(&mut self, turn: &mut Turn<'_>, promised: Ballot) {
        self.change.make().saw(promised);
        if self.change.lead.as_ref().is_some_and(|lead| lead.ballot < promised) {
            self.overtaken(turn);
        }
    }

    /// Goes on with whatever the change waits for: the install, an accept, the own ballot. `source`
    /// is who brought the news: what is still missing is fetched there.
    pub(crate) fn advance_change(&mut self, turn: &mut Turn<'_>, source: Option<NodeId>) {
        if let Some((_, decided)) = self.change.installing.as_deref() {
            let want = want(decided);
            if self.holds(&want) || turn.bugs().has(Bug::SkipWaitForCut) {
                if self.fits(turn, decided) {
                    return self.install_decision(turn);
                }
                self.change.make().installing = None;
                turn.dropped(source.unwrap_or(self.me.node), DropReason::Invalid);
            } else if let Some(source) = source {
                self.fetch(turn, source, &want);
            }
            return;
        }
        if let Some((ballot, _, proposal)) = self.change.holding.as_deref() {
            let (ballot, want) = (*ballot, want(proposal));
            if self.holds(&want) {
                let change = self.change.made();
                if let Some(held) = change.and_then(|change| change.holding.take()) {
                    let (_, bytes, proposal) = *held;
                    self.take_proposal(turn, ballot, bytes, &proposal);
                }
            } else if let Some(source) = source {
                self.fetch(turn, source, &want);
            }
        }
        self.advance_lead(turn);
    }

    pub(crate) fn holds(&self, want: &Cut) -> bool {
        super::fetch::missing(&self.multicast, want).is_none()
    }

    /// The leader's part: with enough promises, and everything that they hold, it proposes.
    fn advance_lead(&mut self, turn: &mut Turn<'_>) {
        loop {
            let ranks = 0..self.view().members.len();
            let gone: Vec<bool> = ranks.map(|rank| self.is_absent(turn, rank)).collect();
            let view = self.multicast.view.clone();
            let promise = self.own_promise();
            let me = self.rank();
            let Some(lead) = self.leading() else {
                return;
            };
            let Phase::Promising { promises } = &mut lead.phase else {
                return;
            };
            promises.insert(me, promise);
            if !lead.has_promises(&view, turn.bugs(), |rank| gone[rank]) {
                return;
            }
            let ballot = lead.ballot;
            if let Some(adopted) = lead.adopted() {
                turn.marks.adopted += 1;
                let bytes = self.adopt(turn, adopted.proposal);
                return self.propose(turn, ballot, bytes);
            }
            let unfetched = turn.bugs().has(Bug::ProposeUnfetched);
            match self.lacking(&gone).filter(|_| !unfetched) {
                Some(Lacking::From(node, want)) => {
                    self.fetch(turn, node, &want);
                    return;
                }
                Some(Lacking::Lost(rank)) => {
                    // It died before it was asked: it counts as absent.
                    turn.marks.lost_promises += 1;
                    if let Some(Phase::Promising { promises }) =
                        self.leading().map(|lead| &mut lead.phase)
                    {
                        promises.remove(&rank);
                    }
                }
                None => {
                    self.bury(&gone, turn.bugs());
                    let bytes = codec::encode_proposal(&self.form(turn));
                    return self.propose(turn, ballot, bytes);
                }
            }
        }
    }

    /// Whether a ballot led here goes on without a rank. One that is still suspected while another
    /// is heard again, as at the end of a partition, gets the time to answer.
    fn is_absent(&self, turn: &Turn<'_>, rank: Rank) -> bool {
        let patient = turn.detector.forgave_within(turn.config.change_retry, turn.now)
            && !turn.bugs().has(Bug::Impatient);
        self.is_gone(turn, rank)
            && !(patient && turn.detector.is_connected(self.node(rank)) && !self.gave_up(rank))
    }

    /// The adopted proposal, byte for byte; the planted bug adds this leader's own promisers.
    fn adopt(&mut self, turn: &mut Turn<'_>, bytes: Bytes) -> Bytes {
        if !turn.bugs().has(Bug::AdoptedNotVerbatim) {
            return bytes;
        }
        let Some(mut proposal) = codec::decode_proposal(&bytes) else {
            return bytes;
        };
        if let Some(Phase::Promising { promises }) = self.change.lead.as_ref().map(|l| &l.phase) {
            for &rank in promises.keys() {
                let member = &self.multicast.view.members[rank];
                if proposal.view.rank_of(member.id).is_none() && proposal.view.active > 0 {
                    proposal.view.members.insert(proposal.view.active, member.clone());
                    proposal.view.active += 1;
                    proposal.left.retain(|left| left.id != member.id);
                }
            }
        }
        codec::encode_proposal(&proposal)
    }

    /// What the promisers hold and this leader lacks, and who has it.
    fn lacking(&self, gone: &[bool]) -> Option<Lacking> {
        let Some(Phase::Promising { promises }) = self.change.lead.as_ref().map(|l| &l.phase)
        else {
            return None;
        };
        let mine = self.multicast.received();
        let richer = |promise: &Promise| !mine.covers(&promise.received);
        let mut holders = promises.iter().filter(|(_, promise)| richer(promise));
        let dead = holders.clone().find(|(rank, _)| gone[**rank]);
        match holders.find(|(rank, _)| !gone[**rank]) {
            Some((&rank, promise)) => {
                Some(Lacking::From(self.node(rank), promise.received.clone()))
            }
            None => dead.map(|(&rank, _)| Lacking::Lost(rank)),
        }
    }

    /// Promisers that have died since count as absent, if the rest is still a quorum.
    fn bury(&mut self, gone: &[bool], bugs: Bugs) {
        let view = &self.multicast.view;
        let lead = self.change.made().and_then(|change| change.lead.as_mut());
        if let Some(Phase::Promising { promises }) = lead.map(|lead| &mut lead.phase)
            && is_quorum(view, bugs, |rank| promises.contains_key(&rank) && !gone[rank])
        {
            promises.retain(|&rank, _| !gone[rank]);
        }
    }

    /// Forms the one proposal of this ballot.
    fn form(&mut self, turn: &mut Turn<'_>) -> Proposal {
        let Some((promises, evict)) =
            self.change.lead.as_ref().and_then(|lead| match &lead.phase {
                Phase::Promising { promises } => Some((promises, &lead.evict)),
                Phase::Proposing { .. } => None,
            })
        else {
            panic!("a proposal is formed by the leader of a ballot that has none")
        };
        let mut joins: Vec<_> = self.rare.joins.values().cloned().collect();
        joins.retain(|join| !turn.detector.suspects(join.node));
        let old = &self.multicast.view;
        // However many obstacles there are: a quorum is not evicted (seed 5794).
        let mut evicted: BTreeSet<Rank> = BTreeSet::new();
        for &rank in evict {
            if turn.bugs().has(Bug::EvictionNotBinding) {
                break;
            }
            let stays = |r: Rank| promises.contains_key(&r) && !evicted.contains(&r) && r != rank;
            if !promises.contains_key(&rank) || is_quorum(old, turn.bugs(), stays) {
                evicted.insert(rank);
            }
        }
        let (view, left) = successor(old, promises, &evicted, &joins, turn.bugs());
        mark_members(turn.marks, old, &view, promises);
        let multicast = &self.multicast;
        let choice = choose(
            &multicast.lanes,
            &multicast.log,
            &multicast.delivered,
            self.terms.causal,
            turn.bugs(),
        );
        turn.marks.dropped_positions += choice.dropped_positions;
        match self.terms.causal {
            true => turn.marks.causal_gaps += choice.dropped_updates,
            false => turn.marks.order_gaps += choice.dropped_updates,
        }
        turn.marks.appended += choice.appended;
        turn.marks.evicted += evicted.len() as u64;
        let Choice { cut, base, tail, time, .. } = choice;
        Proposal { view, left, cut, base, tail, time }
    }

    fn propose(&mut self, turn: &mut Turn<'_>, ballot: Ballot, bytes: Bytes) {
        if let Some(lead) = self.leading() {
            let accepted = BTreeSet::new();
            lead.phase = Phase::Proposing { proposal: bytes.clone(), accepted };
        }
        self.repeat(turn, None);
        let me = self.rank();
        self.on_propose(turn, me, ballot, bytes);
    }

    pub(crate) fn on_propose(
        &mut self,
        turn: &mut Turn<'_>,
        rank: Rank,
        ballot: Ballot,
        bytes: Bytes,
    ) {
        let peer = self.node(rank);
        let proposal = codec::decode_proposal(&bytes)
            .filter(|proposal| self.is_successor(turn, proposal))
            .filter(|_| ballot.leader as usize == rank && self.view().is_active(rank));
        let Some(proposal) = proposal else {
            return turn.dropped(peer, DropReason::Invalid);
        };
        if !self.promise(turn, peer, ballot) {
            return;
        }
        let want = want(&proposal);
        if self.holds(&want) || turn.bugs().has(Bug::AcceptWithoutHolding) {
            self.take_proposal(turn, ballot, bytes, &proposal);
        } else {
            self.change.make().holding = Some(Box::new((ballot, bytes, proposal)));
            self.fetch_held(turn, peer, &want);
        }
    }

    /// Fetches from the leader; a leader that adopted a proposal fetches from the others, in turn.
    fn fetch_held(&mut self, turn: &mut Turn<'_>, leader: NodeId, want: &Cut) {
        let source = if leader == self.me.node { self.source(turn) } else { Some(leader) };
        if let Some(source) = source {
            self.fetch(turn, source, want);
        }
    }

    /// Another member to fetch from: the next in turn at each retry.
    pub(crate) fn source(&self, turn: &Turn<'_>) -> Option<NodeId> {
        let mut others = self.others();
        others.retain(|&node| !turn.detector.suspects(node));
        let next = self.rare.retries as usize;
        (!others.is_empty()).then(|| others[next % others.len()])
    }

    /// Whether a proposal fits as the successor of the installed view.
    pub(crate) fn is_successor(&self, turn: &Turn<'_>, proposal: &Proposal) -> bool {
        if turn.bugs() != Bugs::default() {
            // Planted bugs are for the checkers to find.
            return proposal.view.number == self.view().number + 1
                && proposal.cut.len() == self.view().members.len();
        }
        // Whoever is listed has promised, and is not beyond the cut: not even with its own updates.
        let me = self.rank();
        let stays = proposal.view.rank_of(self.me).is_some();
        let promised = || self.is_frozen() && self.multicast.own_end() <= proposal.cut[me];
        succeeds(self.view(), proposal) && (!stays || promised())
    }

    /// Whether the cut of a proposal, all of which is here, can be delivered in the order it gives.
    fn fits(&self, turn: &Turn<'_>, proposal: &Proposal) -> bool {
        let Proposal { cut, base, tail, .. } = proposal;
        let stays = proposal.view.rank_of(self.me).is_some();
        !stays || turn.bugs() != Bugs::default() || self.multicast.fits(cut, *base, tail)
    }

    /// Accepts a proposal all of which is here, if it can be installed.
    fn take_proposal(
        &mut self,
        turn: &mut Turn<'_>,
        ballot: Ballot,
        bytes: Bytes,
        proposal: &Proposal,
    ) {
        if self.fits(turn, proposal) {
            return self.accept(turn, ballot, bytes, proposal);
        }
        turn.dropped(self.node(ballot.leader as usize), DropReason::Invalid);
    }

    fn accept(&mut self, turn: &mut Turn<'_>, ballot: Ballot, bytes: Bytes, proposal: &Proposal) {
        self.progress = turn.now;
        turn.out.push(Output::Accepted {
            group: self.id,
            view: self.view().number,
            ballot,
            proposal: xxhash_rust::xxh3::xxh3_64(&bytes),
            cut: Cut { counts: proposal.cut.clone(), extent: proposal.base },
        });
        self.change.make().accept(ballot, bytes);
        if !self.is_active() {
            return;
        }
        let leader = ballot.leader as usize;
        if leader == self.rank() {
            self.on_accepted(turn, leader, ballot);
        } else {
            let leader = self.node(leader);
            self.send(turn, [leader], Traffic::Control, Message::Accepted { ballot });
        }
    }

    pub(crate) fn on_accepted(&mut self, turn: &mut Turn<'_>, rank: Rank, ballot: Ballot) {
        let view = self.multicast.view.clone();
        let Some(lead) = self.leading().filter(|lead| lead.ballot == ballot) else {
            return;
        };
        let Phase::Proposing { proposal, accepted } = &mut lead.phase else {
            return;
        };
        let proposal = proposal.clone();
        accepted.insert(rank);
        if lead.is_decided(&view, turn.bugs()) {
            turn.marks.ties += u64::from(lead.is_tied(&view));
            self.progress = turn.now;
            self.decided(turn, proposal);
        }
    }

    /// Tells the decision to the old members and the new ones, and installs it.
    fn decided(&mut self, turn: &mut Turn<'_>, bytes: Bytes) {
        let Some(decided) = codec::decode_proposal(&bytes) else {
            panic!("an accepted proposal was decoded before")
        };
        let old = self.view().members.iter().map(|member| member.id);
        let new = decided.view.members.iter().map(|member| member.id);
        let to: BTreeSet<NodeId> = old.chain(new).map(|id: MemberId| id.node).collect();
        let install = Message::Install { proposal: bytes.clone() };
        self.send(turn, to.iter().copied(), Traffic::Control, install);
        self.start_install(turn, None, bytes, decided);
        // Answers that are still on their way to the ballot need no answer.
        let answered = &mut self.rare.make().answered;
        to.into_iter().for_each(|node| answered.insert(node, turn.now));
    }
}

/// Counts the rare cases of who is in the next view (L8, and the cap on promotions).
fn mark_members(marks: &mut Marks, old: &View, new: &View, promises: &BTreeMap<Rank, Promise>) {
    for (&rank, promise) in promises {
        let Some(next) = new.rank_of(old.members[rank].id) else { continue };
        marks.stayed += u64::from(promise.leaving);
        let waits = promise.loaded && !old.is_active(rank) && !new.is_active(next);
        marks.capped += u64::from(waits);
    }
}

enum Lacking {
    From(NodeId, Cut),
    Lost(Rank),
}

/// What a proposal asks its members to hold: the cut, and the order up to its base.
pub(crate) fn want(proposal: &Proposal) -> Cut {
    Cut { counts: proposal.cut.clone(), extent: proposal.base }
}
