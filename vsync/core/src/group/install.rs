//! Closing a view at its cut and building the next.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use bytes::Bytes;

use super::member::{Ending, Leaving, Membership, Terms};
use super::pending::Pending;
use super::times::ONCE;
use super::transfer::Loading;
use super::viewchange::want;
use super::{Incoming, Turn};
use crate::bugs::Bug;
use crate::engine::{DropReason, GroupConfig, Install, Output, Traffic};
use crate::moment::Moment;
use crate::multicast::Multicast;
use crate::seldom::Seldom;
use crate::wire::messages::{Message, Proposal};
use crate::wire::{GroupId, MemberId, Micros, NodeId, Rank, SharedView, View, ViewNumber, codec};

/// The view before the installed one: kept until all of the installed view are in it.
#[derive(Clone, Debug)]
pub(crate) struct Closed {
    pub(crate) multicast: Multicast,
    /// Nodes known to have installed the view.
    pub(crate) installed: BTreeSet<NodeId>,
    /// When it was closed.
    pub(crate) since: Micros,
}

/// A closed view that a joiner replays when it is loaded.
#[derive(Clone, Debug)]
pub(crate) struct HeldView {
    pub(crate) multicast: Multicast,
    pub(crate) install: Install,
    /// The decision that ended it.
    pub(crate) decided: Proposal,
}

impl Membership {
    fn build(
        turn: &Turn<'_>,
        id: GroupId,
        config: GroupConfig,
        me: MemberId,
        install: &Install,
        time: u64,
    ) -> Self {
        let view = SharedView::clone(&install.view);
        let terms = Terms::of(&config);
        let of = (terms.causal, terms.window);
        let multicast = Multicast::new(view, install.rank, of, turn.config, time);
        Membership {
            id,
            terms,
            me,
            multicast,
            change: Seldom::default(),
            decision: None,
            loading: Loading::Done,
            pending: Pending::default(),
            rare: Seldom::default(),
            leaving: Leaving::No,
            wished: false,
            progress: turn.now,
            chores_due: Moment::NONE,
            full_since: Moment::NONE,
            ending: None,
        }
    }

    /// The first member of a new group.
    pub(crate) fn founder(
        turn: &mut Turn<'_>,
        id: GroupId,
        config: GroupConfig,
        view: View,
    ) -> Self {
        let me = view.members[0].id;
        let install = Install {
            group: id,
            rank: 0,
            together: alloc::vec![me],
            joined: alloc::vec![me],
            left: Vec::new(),
            cut: crate::wire::Cut::default(),
            view: SharedView::new(view),
        };
        turn.marks.views += 1;
        turn.out.push(Output::Install(install.clone()));
        let mut member = Self::build(turn, id, config, me, &install, 0);
        member.settle(turn);
        member
    }

    /// A new member, by the decision that lets it in. It waits for its checkpoint.
    pub(crate) fn joiner(
        turn: &mut Turn<'_>,
        id: GroupId,
        config: GroupConfig,
        bytes: Bytes,
        decided: Proposal,
    ) -> Self {
        let node = turn.config.node;
        let listed = decided.view.members.iter().find(|member| member.id.node == node);
        let me = listed.map_or(MemberId { node, entry: decided.view.number }, |member| member.id);
        let install = announcement(id, me, None, (&bytes, &decided));
        let mut member = Self::build(turn, id, config, me, &install, decided.time);
        member.rare.make().install = Some(Box::new(install));
        member.loading = Loading::new();
        member.decision = Some(bytes);
        let others = member.others();
        member.send(turn, others, Traffic::Control, Message::Installed);
        member.arm_chores(turn);
        member
    }

    /// A decision came.
    pub(crate) fn on_install(&mut self, turn: &mut Turn<'_>, incoming: &Incoming, bytes: Bytes) {
        let peer = incoming.peer;
        let Some(decided) = incoming.decision(&bytes) else {
            return turn.dropped(peer, DropReason::Invalid);
        };
        let (current, number) = (self.view().number, decided.view.number);
        if number <= current {
            // The sender waits to hear that this is installed.
            return self.send(turn, [peer], Traffic::Control, Message::Installed);
        }
        if number > current + 1 {
            let believes = !turn.bugs().has(Bug::IgnoreExclusion);
            if decided.view.rank_of(self.me).is_none() && believes {
                turn.marks.excluded_late += 1;
                // Who was told it may be the last to know it (seed 1205089).
                self.decision = Some(bytes);
                self.ending = Some(Ending::Overtaken);
            }
            return;
        }
        if !self.is_successor(turn, &decided) {
            return turn.dropped(peer, DropReason::Invalid);
        }
        self.start_install(turn, Some(peer), bytes, decided);
    }

    /// Installs a decision, or fetches what is missing of its cut first.
    pub(crate) fn start_install(
        &mut self,
        turn: &mut Turn<'_>,
        from: Option<NodeId>,
        bytes: Bytes,
        decided: Proposal,
    ) {
        if decided.view.rank_of(self.me).is_none() {
            turn.marks.dissolved += u64::from(decided.view.members.is_empty());
            self.decision = Some(bytes);
            self.ending = Some(Ending::Decided);
            return;
        }
        if self.change.installing.is_none() {
            self.multicast.close_batch();
            turn.marks.late_installs += u64::from(!self.holds(&want(&decided)));
            let change = self.change.make();
            change.lead = None;
            change.installing = Some(Box::new((bytes, decided)));
            self.progress = turn.now;
        }
        let source = from.or_else(|| self.source(turn));
        self.advance_change(turn, source);
        self.arm_chores(turn);
    }

    /// Delivers the rest of the old view, and installs the new one.
    pub(crate) fn install_decision(&mut self, turn: &mut Turn<'_>) {
        let Some(installing) = self.change.made().and_then(|change| change.installing.take())
        else {
            return;
        };
        let (bytes, decided) = *installing;
        let Some(rank) = decided.view.rank_of(self.me) else {
            return;
        };
        let old = self.multicast.view.clone();
        let install = announcement(self.id, self.me, Some(&old), (&bytes, &decided));
        let own = self.multicast.own_end();
        assert!(
            own <= decided.cut[self.rank()] || turn.bugs() != crate::bugs::Bugs::default(),
            "a survivor's own updates are in the cut"
        );
        if self.loading.is_done() {
            self.finish_view(turn, &decided);
        }
        let view = SharedView::clone(&install.view);
        let of = (self.terms.causal, self.terms.window);
        let mut next = Multicast::new(view, rank, of, turn.config, decided.time);
        next.holds = self.multicast.holds;
        let previous = core::mem::replace(&mut self.multicast, next);
        turn.marks.views += 1;
        if self.loading.is_done() {
            turn.out.push(Output::Install(install));
        } else if let Some(announced) = self.rare.make().install.replace(Box::new(install)) {
            // A joiner needs it for its replay, too.
            let multicast = previous.clone();
            let held = HeldView { multicast, install: *announced, decided: decided.clone() };
            self.loading.hold(held, &self.multicast.view, rank);
        }
        // Whoever lives may be the last to have it, a joiner as well (seed 125800).
        let installed = BTreeSet::from([self.me.node]);
        let forgets = !self.loading.is_done() && turn.bugs().has(Bug::JoinerFreesClosed);
        let since = turn.now;
        let closed = || Box::new(Closed { multicast: previous, installed, since });
        self.rare.make().closed = (!forgets).then(closed);
        self.on_installed(self.me.node, self.view().number);
        self.decision = Some(bytes);
        self.reset_for_view(turn, own, &old);
        self.settle(turn);
        let early = self.rare.made().and_then(|rare| rare.early.take());
        for incoming in early.into_iter().flat_map(|mut early| early.take()) {
            if !self.is_over() {
                self.message(turn, incoming);
            }
        }
    }

    fn finish_view(&mut self, turn: &mut Turn<'_>, decided: &Proposal) {
        let mut deliveries = Vec::new();
        let Proposal { cut, base, tail, .. } = decided;
        self.multicast.finish(self.id, cut, *base, tail, &mut deliveries);
        for delivery in deliveries {
            turn.out.push(Output::Deliver(delivery));
        }
    }

    /// What starts anew with a view.
    fn reset_for_view(&mut self, turn: &mut Turn<'_>, own: u64, old: &View) {
        self.change = Seldom::default();
        self.pending.next_view(own);
        if turn.bugs().has(Bug::LoseQueue) {
            while self.pending.pop().is_some() {}
        }
        self.wished = false;
        self.progress = turn.now;
        self.multicast.progress = turn.now;
        self.full_since = Moment::NONE;
        if let Some(rare) = self.rare.made() {
            let members = self.multicast.view.members.iter();
            let nonces: BTreeMap<NodeId, u64> = members.map(|m| (m.id.node, m.nonce)).collect();
            rare.next_view(|node, join| {
                let news = nonces.get(&node).is_none_or(|&nonce| join.nonce > nonce);
                news && !turn.detector.suspects(node)
            });
        }
        let to: BTreeSet<NodeId> =
            old.members.iter().chain(&self.view().members).map(|m| m.id.node).collect();
        self.send(turn, to, Traffic::Control, Message::Installed);
        self.plan_transfers(turn);
        self.watch_quorum(turn);
        let bugs = turn.bugs();
        let endless = [Bug::NeverDissolve, Bug::TakeUpOldMembership, Bug::LeaveInVain];
        if !endless.into_iter().any(|bug| bugs.has(bug)) {
            // With these bugs the change would have a reason for ever, within one call.
            self.consider(turn);
        }
    }

    pub(crate) fn on_installed(&mut self, peer: NodeId, view: ViewNumber) {
        if view < self.view().number {
            return;
        }
        let members = &self.multicast.view.members;
        let Some(rare) = self.rare.made() else { return };
        if let Some(closed) = &mut rare.closed {
            closed.installed.insert(peer);
            // Nobody needs the old view's lanes any more.
            if members.iter().all(|member| closed.installed.contains(&member.id.node)) {
                rare.closed = None;
            }
        }
    }

    /// A message of a view that is not installed here: it is kept, and provokes a request for the
    /// decision.
    pub(crate) fn on_early(&mut self, turn: &mut Turn<'_>, incoming: Incoming) {
        let peer = incoming.peer;
        turn.marks.early += 1;
        let limit = self.terms.window * (self.view().members.len() + 1);
        let early = self.rare.make().early.get_or_insert_default();
        if let Err(reason) = early.push(incoming, limit) {
            turn.dropped(peer, reason);
        }
        if self.may_answer(turn.now, peer) {
            self.ask_decision(turn, peer);
        }
    }

    /// Lets a peer that is ahead know where this member is.
    pub(crate) fn ask_decision(&mut self, turn: &mut Turn<'_>, peer: NodeId) {
        // A handshake from an older view is answered by the decision, or by exclusion (L6); that it
        // tells what was received is harmless even where this member is frozen, as the peer has
        // left the view.
        let received = self.multicast.received();
        let holds = self.multicast.holds;
        let message = Message::Sync { received, answer: false, holds };
        self.send(turn, [peer], Traffic::Control, message);
    }

    /// Members of the group as somebody else knows them: a member that sees no quorum asks them
    /// what became of its view. Those it knows itself may all be gone.
    pub(crate) fn ask_contacts(&mut self, turn: &mut Turn<'_>, contacts: &[NodeId]) {
        if self.rare.blocked.is_none() {
            return;
        }
        for &contact in contacts {
            if contact != self.me.node {
                self.ask_decision(turn, contact);
            }
        }
    }

    /// Bounds answers to one per peer and short time: one serves a burst.
    pub(crate) fn may_answer(&mut self, now: Micros, peer: NodeId) -> bool {
        if self.rare.answered.get(peer).is_some_and(|at| now < at + ONCE) {
            return false;
        }
        self.rare.make().answered.insert(peer, now);
        true
    }

    /// Answers a message of an older view by the decision that ended it, or by exclusion.
    pub(crate) fn answer_old(&mut self, turn: &mut Turn<'_>, incoming: &Incoming) {
        turn.dropped(incoming.peer, DropReason::OldView);
        let id = MemberId { node: incoming.peer, entry: incoming.entry };
        let listed = self.view().rank_of(id).is_some();
        let caught_up = match &self.rare.closed {
            Some(closed) => closed.installed.contains(&incoming.peer),
            None => self.loading.is_done(),
        };
        if listed && caught_up || !self.may_answer(turn.now, incoming.peer) {
            return;
        }
        self.tell_behind(turn, id, incoming.view);
    }

    /// Tells a membership that is behind what became of its view.
    pub(crate) fn tell_behind(&mut self, turn: &mut Turn<'_>, id: MemberId, view: ViewNumber) {
        if turn.bugs().has(Bug::NoDigest) {
            return;
        }
        if view + 1 == self.view().number && self.decision.is_some() {
            if let Some(proposal) = self.decision.clone() {
                let message = Message::Install { proposal };
                self.send(turn, [id.node], Traffic::Control, message);
            }
        } else if self.view().rank_of(id).is_none() {
            let message = Message::Excluded { entry: id.entry };
            self.send(turn, [id.node], Traffic::Control, message);
        }
    }

    /// Tells the decision that this member is about to install.
    pub(crate) fn tell_decision(&mut self, turn: &mut Turn<'_>, peer: NodeId) {
        if let Some((proposal, _)) = self.change.installing.as_deref() {
            let message = Message::Install { proposal: proposal.clone() };
            self.send(turn, [peer], Traffic::Control, message);
        }
    }

    /// Ends the membership: tells the application, and keeps what others may need.
    pub(crate) fn depart(self: Box<Self>, turn: &mut Turn<'_>) -> Option<super::Departed> {
        let (group, view) = (self.id, self.last_view());
        let rank = self.rank();
        let left = self.leaving == Leaving::Asking;
        let decided = match (self.ending, &self.decision) {
            (Some(Ending::Decided), Some(bytes)) => codec::decode_proposal(bytes),
            _ => None,
        };
        let own = decided.as_ref().map(|proposal| {
            let all = turn.bugs().has(Bug::WrongOutcome);
            if all { self.multicast.own_end() } else { proposal.cut[rank] }
        });
        if !left {
            turn.marks.excluded += 1;
            turn.out.push(Output::Excluded { group, view, decided: own });
        }
        match (decided, own) {
            (Some(decided), Some(own)) => {
                if left && turn.bugs().has(Bug::ForgetDecision) {
                    turn.out.push(Output::Left { group, view, decided: own });
                }
                if turn.bugs().has(Bug::ForgetDecision) {
                    return None;
                }
                Some(super::Departed::new(turn, *self, decided, left.then_some(own)))
            }
            _ => {
                let overtaken = self.ending == Some(Ending::Overtaken);
                let bytes = self.decision.clone().filter(|_| overtaken);
                if left {
                    // It asked only when its own updates were stable.
                    let decided = self.multicast.own_end();
                    turn.out.push(Output::Left { group, view, decided });
                }
                let forgets = turn.bugs().has(Bug::ForgetDecision);
                let bytes = bytes.filter(|_| !forgets)?;
                super::Departed::overtaken(turn, self.header(), bytes)
            }
        }
    }
}

/// How a view is told to the application.
fn announcement(
    group: GroupId,
    me: MemberId,
    old: Option<&View>,
    (bytes, decided): (&Bytes, &Proposal),
) -> Install {
    let mut view = decided.view.clone();
    codec::share_metas(&mut view, bytes);
    let view = SharedView::new(view);
    let rank: Rank = view.rank_of(me).unwrap_or_default();
    let ids = view.members.iter().map(|member| member.id);
    let joined = ids.clone().filter(|id| id.entry == view.number).collect();
    let together = match old {
        Some(old) => ids.filter(|&id| old.rank_of(id).is_some()).collect(),
        None => alloc::vec![me],
    };
    let cut = crate::wire::Cut {
        counts: decided.cut.clone(),
        extent: decided.base + decided.tail.iter().map(|r| u64::from(r.count)).sum::<u64>(),
    };
    Install { group, rank, together, joined, left: decided.left.clone(), cut, view }
}
