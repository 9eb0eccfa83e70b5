//! One membership: this node as a member of a group, from its first view to its last.

use alloc::vec::Vec;

use bytes::Bytes;

use super::pending::Pending;
use super::rare::Rare;
use super::transfer::Loading;
use super::{Header, Incoming, Turn};
use crate::bugs::Bug;
use crate::engine::{Detector, DropReason, GroupConfig, GroupStatus, Level, Output, Run, Traffic};
use crate::membership::{Change, is_quorum};
use crate::moment::Moment;
use crate::multicast::Multicast;
use crate::seldom::Seldom;
use crate::wire::messages::{Data, Hurry, Message};
use crate::wire::{Cut, GroupId, MemberId, Micros, NodeId, Rank, View, ViewNumber};

/// A graceful leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Leaving {
    No,
    /// Until the own updates are stable and the transfers served are done.
    Draining,
    /// The others are asked for the change.
    Asking,
}

/// How a membership ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// By a decision that is known: the bytes are in `Membership::decision`.
    Decided,
    /// Long ago: the others are views ahead.
    Forgotten,
    /// By the decision of a later view, which this member never installed: the bytes are in
    /// `Membership::decision`.
    Overtaken,
}

/// What matters of a group's configuration to who is in it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terms {
    pub(crate) generation: u32,
    pub(crate) causal: bool,
    pub(crate) schema: u64,
    pub(crate) window: usize,
    pub(crate) join_buffer: usize,
}

impl Terms {
    pub(crate) fn of(config: &GroupConfig) -> Terms {
        let &GroupConfig { generation, causal, schema, window, join_buffer, .. } = config;
        Terms { generation, causal, schema, window, join_buffer }
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Membership {
    pub(crate) id: GroupId,
    pub(crate) terms: Terms,
    pub(crate) me: MemberId,
    /// The installed view's multicast; the view is in it.
    pub(crate) multicast: Multicast,
    pub(crate) change: Seldom<Change>,
    pub(crate) rare: Seldom<Rare>,
    /// The proposal that made the installed view; none in view 1.
    pub(crate) decision: Option<Bytes>,
    pub(crate) loading: Loading,
    pub(crate) pending: Pending,
    pub(crate) leaving: Leaving,
    /// Somebody's promise will tell a wish.
    pub(crate) wished: bool,
    /// When the change under way last made progress.
    pub(crate) progress: Micros,
    /// When unfinished work is looked at again.
    pub(crate) chores_due: Moment,
    /// Since when the window is full.
    pub(crate) full_since: Moment,
    pub(crate) ending: Option<Ending>,
}

impl Membership {
    pub(crate) fn view(&self) -> &View {
        &self.multicast.view
    }

    pub(crate) fn rank(&self) -> Rank {
        self.multicast.me
    }

    pub(crate) fn is_active(&self) -> bool {
        self.view().is_active(self.rank())
    }

    pub(crate) fn is_frozen(&self) -> bool {
        self.change.get().is_some_and(Change::is_frozen)
    }

    pub(crate) fn is_over(&self) -> bool {
        self.ending.is_some()
    }

    pub(crate) fn header(&self) -> Header {
        Header {
            group: self.id,
            generation: self.terms.generation,
            view: self.view().number,
            entry: self.me.entry,
        }
    }

    /// The other members' nodes.
    pub(crate) fn others(&self) -> Vec<NodeId> {
        let members = self.view().members.iter();
        members.map(|member| member.id.node).filter(|&node| node != self.me.node).collect()
    }

    pub(crate) fn node(&self, rank: Rank) -> NodeId {
        self.view().members[rank].id.node
    }

    /// Whether this member thinks that a rank takes no part any more: its node is suspected, says
    /// that it is not in the group, or wants in anew.
    pub(crate) fn is_gone(&self, turn: &Turn<'_>, rank: Rank) -> bool {
        self.seems_gone(turn.detector, rank)
    }

    fn seems_gone(&self, detector: &Detector, rank: Rank) -> bool {
        let node = self.node(rank);
        rank != self.rank() && (detector.suspects(node) || self.gave_up(rank))
    }

    /// How many active members do not seem gone, and how many there are.
    pub(crate) fn in_sight(&self, detector: &Detector) -> (usize, usize) {
        let active = self.view().active;
        ((0..active).filter(|&rank| !self.seems_gone(detector, rank)).count(), active)
    }

    /// Whether a rank's node has no such membership any more, by its own word.
    pub(crate) fn gave_up(&self, rank: Rank) -> bool {
        let node = self.node(rank);
        self.rare.ended.contains(&node) || self.rare.joins.contains_key(&node)
    }

    /// Sends to one or more nodes.
    pub(crate) fn send(
        &self,
        turn: &mut Turn<'_>,
        to: impl IntoIterator<Item = NodeId>,
        traffic: Traffic,
        message: Message,
    ) {
        turn.cast(self.header(), to, traffic, message, &[]);
    }

    pub(crate) fn submit(
        &mut self,
        turn: &mut Turn<'_>,
        runs: &[Run],
        body: Bytes,
        wall: u64,
        urgent: bool,
    ) {
        self.pending.submit(runs, body, wall, urgent);
        self.settle(turn);
    }

    /// The application cannot keep up, or can again.
    pub(crate) fn hold(&mut self, turn: &mut Turn<'_>, on: bool) {
        turn.marks.holds += u64::from(on && !self.multicast.holds);
        self.multicast.holds = on;
        if !on {
            self.multicast.ack_at_once(turn.now);
        }
        self.settle(turn);
    }

    /// Numbers what waits, as far as the window and a view change allow.
    fn number(&mut self, turn: &mut Turn<'_>) {
        if self.is_frozen() || !self.is_active() || !self.loading.is_done() {
            return;
        }
        while !self.multicast.is_full() {
            let Some(waiting) = self.pending.pop() else {
                break;
            };
            let run = waiting.run;
            // On average: as much as callers had ready is one piece, however many it takes.
            let bytes = waiting.body.len() / run.count.max(1) as usize;
            let seq = self.multicast.submit(run, waiting.body, waiting.wall, waiting.urgent);
            self.multicast.pace.submitted(seq + u64::from(run.count), bytes, turn.now);
            let view = self.view().number;
            turn.out.push(Output::Sent { group: self.id, view, seq, run });
            if run.level == Level::Stable {
                // Nobody may see it before it is stable: this alone is worth haste.
                self.multicast.ask_acks();
            }
        }
        // With a caller that keeps to its credit nothing waits here: a window that has no room
        // worth granting is full.
        let limit = self.multicast.pace.limit();
        let full = self.multicast.own_bytes() >= limit - limit / 8;
        if full || !self.pending.is_empty() {
            self.multicast.pace.reached();
        }
        // Who cannot keep up itself blames nobody.
        if self.pending.is_empty() && !full || self.multicast.holds {
            self.full_since = Moment::NONE;
        } else if self.full_since.is_none() {
            turn.marks.full += 1;
            self.full_since = Moment::at(turn.now);
        }
    }

    /// Closes the open batch and sends what waits.
    pub(crate) fn close(&mut self, turn: &mut Turn<'_>) {
        if self.is_frozen() {
            return;
        }
        self.multicast.close_batch();
        self.settle(turn);
        self.send_data(turn);
    }

    /// Sends batches, records and acknowledgements that are due.
    pub(crate) fn send_data(&mut self, turn: &mut Turn<'_>) {
        if self.is_frozen() {
            return;
        }
        if let Some((data, bodies)) = self.multicast.take_data(turn.now) {
            let others = self.others();
            turn.cast(self.header(), others, Traffic::Updates, Message::Data(data), &bodies);
        }
        if let Some((askers, data)) = self.multicast.take_answer() {
            let askers: Vec<NodeId> = askers.into_iter().map(|rank| self.node(rank)).collect();
            turn.marks.answers += 1;
            self.send(turn, askers, Traffic::Updates, Message::Data(data));
        }
        self.multicast.arm_ack(turn.now, turn.config.ack_delay, turn.relaxed);
        self.arm_chores(turn);
    }

    /// Does all that what is here allows: number, deliver, find the stable cut, free, grant credit.
    pub(crate) fn settle(&mut self, turn: &mut Turn<'_>) {
        if !self.is_frozen() {
            self.number(turn);
            if self.loading.is_done() {
                self.deliver(turn);
            }
            self.multicast.free(turn.now);
            self.number(turn);
            self.multicast.arm_ack(turn.now, turn.config.ack_delay, turn.relaxed);
        }
        self.grant(turn);
        self.answer_flushes(turn);
        self.drain_leave(turn);
        self.arm_chores(turn);
    }

    fn deliver(&mut self, turn: &mut Turn<'_>) {
        let mut deliveries = Vec::new();
        loop {
            self.multicast.pump(self.id, &mut deliveries);
            let any = !deliveries.is_empty();
            for delivery in deliveries.drain(..) {
                turn.out.push(Output::Deliver(delivery));
            }
            let stable = self.multicast.stabilise();
            if let Some(cut) = &stable {
                let view = self.view().number;
                turn.out.push(Output::Stable { group: self.id, view, cut: cut.clone() });
            }
            if !any && stable.is_none() {
                return;
            }
        }
    }

    fn grant(&mut self, turn: &mut Turn<'_>) {
        if !self.is_active() || !self.loading.is_done() || self.leaving != Leaving::No {
            return;
        }
        let own = self.multicast.own_bytes();
        if let Some(bytes) = self.pending.grant(self.multicast.pace.limit(), own) {
            turn.out.push(Output::Credit { group: self.id, bytes });
        }
    }

    pub(crate) fn flush(&mut self, turn: &mut Turn<'_>, id: u64) {
        let delivered = self.multicast.delivered_cut();
        self.pending.flush(id, self.view().number, delivered);
        // With the batch that is open, if one is: what hastens it must not go before it.
        self.multicast.ask_acks();
        self.settle(turn);
    }

    fn answer_flushes(&mut self, turn: &mut Turn<'_>) {
        if !self.pending.is_flushing() {
            return;
        }
        let stable = self.multicast.stable_cut();
        let own = stable.count(self.rank());
        for id in self.pending.flushed(self.view().number, &stable, own) {
            turn.out.push(Output::Flushed { group: self.id, id });
        }
    }

    /// Takes a message in. Returns whether the membership is over by it.
    pub(crate) fn message(&mut self, turn: &mut Turn<'_>, incoming: Incoming) -> bool {
        let current = self.view().number;
        match &incoming.message {
            Message::Install { proposal } => {
                let proposal = proposal.clone();
                self.on_install(turn, &incoming, proposal);
            }
            Message::Installed => self.on_installed(incoming.peer, incoming.view),
            Message::Join(join) => self.on_join(turn, incoming.peer, join.clone()),
            Message::Excluded { entry }
                if *entry == self.me.entry && !turn.bugs().has(Bug::IgnoreExclusion) =>
            {
                turn.marks.excluded_late += 1;
                self.ending = Some(Ending::Forgotten);
            }
            Message::Excluded { .. } | Message::Refused { .. } => {}
            // Of another view it may be older than a membership that the node has by now.
            Message::NotHere { beyond } if incoming.view == current => {
                self.on_not_here(turn, incoming.peer, *beyond);
            }
            Message::NotHere { .. } => {}
            Message::Fetch { lanes, records } => {
                self.on_fetch(turn, incoming.peer, incoming.view, lanes, *records);
            }
            Message::ChunkAck { label, have, next } => {
                self.on_chunk_ack(turn, incoming.peer, *label, *have, *next);
            }
            Message::Chunk(chunk) if self.expects(incoming.peer, chunk) => {
                self.on_chunk(turn, incoming.peer, chunk, incoming.bodies.clone());
            }
            _ if incoming.view > current => self.on_early(turn, incoming),
            Message::Chunk(chunk) => self.refuse_chunk(turn, incoming.peer, chunk),
            _ if incoming.view < current && !turn.bugs().has(Bug::AcceptStaleView) => {
                self.answer_old(turn, &incoming)
            }
            _ => self.current_message(turn, incoming),
        }
        self.is_over()
    }

    /// A message of the installed view, from one of its members.
    fn current_message(&mut self, turn: &mut Turn<'_>, incoming: Incoming) {
        let sender = self.view().rank_of_node(incoming.peer);
        let Some(rank) = sender.filter(|&r| self.view().members[r].id.entry == incoming.entry)
        else {
            return turn.dropped(incoming.peer, DropReason::NotMember);
        };
        let peer = incoming.peer;
        match incoming.message {
            Message::Data(data) => self.on_data(turn, rank, data, incoming.bodies),
            Message::Sync { received, answer, holds } => {
                self.on_sync(turn, rank, &received, (answer, holds));
            }
            Message::Prepare { ballot, evict } => self.on_prepare(turn, rank, ballot, &evict),
            Message::Promise { ballot, promise } => self.on_promise(turn, rank, ballot, promise),
            Message::Reject { promised } => self.on_reject(turn, promised),
            Message::Fetched { lanes, records } => {
                self.on_fetched(turn, peer, lanes, records, incoming.bodies);
            }
            Message::Propose { ballot, proposal } => {
                self.on_propose(turn, rank, ballot, proposal);
            }
            Message::Accepted { ballot } => self.on_accepted(turn, rank, ballot),
            Message::Nudge(nudge) => self.on_nudge(turn, nudge),
            _ => turn.dropped(peer, DropReason::Invalid),
        }
    }

    fn on_data(&mut self, turn: &mut Turn<'_>, rank: Rank, data: Data, mut bodies: Bytes) {
        let peer = self.node(rank);
        let frozen = self.is_frozen();
        if frozen && !turn.bugs().has(Bug::ReceiveAfterPromise) {
            return turn.dropped(peer, DropReason::Frozen);
        }
        if !data.batches.is_empty() && !self.view().is_active(rank) {
            return turn.dropped(peer, DropReason::Invalid);
        }
        let mut gap = false;
        let some = !data.batches.is_empty();
        match self.multicast.receive(rank, data.batches, &mut bodies) {
            Ok(new) => turn.marks.known += u64::from(some && !new),
            Err(reason) => {
                gap = reason == DropReason::Gap;
                turn.dropped(peer, reason);
            }
        }
        if let Some(records) = &data.records {
            let taken = match rank {
                0 => self.multicast.receive_records(records),
                _ => Err(DropReason::Invalid),
            };
            if let Err(reason) = taken {
                gap |= reason == DropReason::Gap;
                turn.dropped(peer, reason);
            }
        }
        if data.ack.is_some_and(|ack| !self.multicast.acknowledge(rank, &ack, turn.now)) {
            turn.dropped(peer, DropReason::Invalid);
        }
        match data.hurry {
            Hurry::No => {}
            Hurry::Sender => self.multicast.asked_by(rank),
            Hurry::All => {
                self.multicast.hasten();
                self.multicast.ack_at_once(turn.now);
                self.multicast.asked_until = turn.now + turn.config.change_retry;
            }
        }
        if gap {
            self.ask_resend(turn, peer);
        }
        if frozen {
            // Only with the planted bug: acknowledges what it promised not to.
            self.multicast.arm_ack(0, 0, 0);
            if let Some((data, bodies)) = self.multicast.take_data(u64::MAX) {
                let others = self.others();
                turn.cast(self.header(), others, Traffic::Updates, Message::Data(data), &bodies);
            }
            return;
        }
        self.settle(turn);
    }

    /// Something of `peer`'s lane was lost: tell it what is here.
    fn ask_resend(&mut self, turn: &mut Turn<'_>, peer: NodeId) {
        if self.may_answer(turn.now, peer) {
            self.sync(turn, peer, false);
        }
    }

    /// Tells `peer` what was received, so that it sends the rest again.
    pub(crate) fn sync(&mut self, turn: &mut Turn<'_>, peer: NodeId, answer: bool) {
        if !self.is_frozen() {
            let (received, holds) = (self.multicast.received(), self.multicast.holds);
            self.send(turn, [peer], Traffic::Updates, Message::Sync { received, answer, holds });
        }
    }

    fn on_sync(
        &mut self,
        turn: &mut Turn<'_>,
        rank: Rank,
        received: &Cut,
        (answer, holds): (bool, bool),
    ) {
        if self.is_frozen() {
            return;
        }
        let peer = self.node(rank);
        let sane = match holds {
            true => self.multicast.is_possible(received),
            false => self.multicast.acknowledge(rank, received, turn.now),
        };
        if !sane {
            return turn.dropped(peer, DropReason::Invalid);
        }
        for (data, bodies) in self.multicast.resend(received) {
            turn.marks.resent += 1;
            turn.marks.resent_records += u64::from(data.records.is_some());
            turn.cast(self.header(), [peer], Traffic::Updates, Message::Data(data), &bodies);
        }
        if answer && !(turn.relaxed > 0 && turn.bugs().has(Bug::RelaxedForGood)) {
            self.sync(turn, peer, false);
        }
        self.settle(turn);
    }

    /// A connection is up: both ends tell what they have.
    pub(crate) fn connected(&mut self, turn: &mut Turn<'_>, peer: NodeId) {
        if self.view().rank_of_node(peer).is_none() {
            return;
        }
        self.sync(turn, peer, false);
        if let Some(outgoing) = self.outgoing() {
            outgoing.rewind(peer);
        }
        self.send_chunks(turn);
        self.repeat(turn, Some(peer));
    }

    /// Says whether a quorum is in sight, when that changes.
    pub(crate) fn watch_quorum(&mut self, turn: &mut Turn<'_>) {
        let blocked = !is_quorum(self.view(), turn.bugs(), |rank| !self.is_gone(turn, rank));
        let group = self.id;
        match (blocked, self.rare.blocked) {
            (true, None) => {
                self.rare.make().blocked = Some(turn.now);
                turn.out.push(Output::Blocked { group });
            }
            (false, Some(_)) => {
                self.rare.make().blocked = None;
                turn.marks.resumed += 1;
                turn.out.push(Output::Resumed { group });
            }
            _ => {}
        }
    }

    /// Whether no quorum is in sight.
    pub(crate) fn is_lost(&self) -> bool {
        self.rare.blocked.is_some()
    }

    pub(crate) fn watched(&self) -> impl Iterator<Item = NodeId> {
        let members = self.view().members.iter().map(|member| member.id.node);
        members.filter(|&node| node != self.me.node).chain(self.rare.joins.keys().copied())
    }

    /// Whether somebody waits for what goes out with the next close: another member, or whoever has
    /// no credit before what is in the open batch is with all.
    pub(crate) fn is_waited_for(&self) -> bool {
        self.multicast.is_waited_for() || (self.is_open() && self.multicast.is_full())
    }

    /// Whether a batch of its own is open.
    pub(crate) fn is_open(&self) -> bool {
        self.multicast.lanes[self.rank()].is_open()
    }

    pub(crate) fn deadline(&self) -> Option<Micros> {
        let ack = self.multicast.ack_due().filter(|_| !self.is_frozen());
        ack.into_iter().chain(self.chores_due.get()).min()
    }

    /// Nothing is under way: gives back the room of what is empty.
    pub(crate) fn rest(&mut self) {
        self.multicast.rest();
        self.pending.rest();
        self.change.rest();
        self.rare.rest();
    }

    pub(crate) fn status(&self) -> GroupStatus {
        // What a joiner holds it shares with the view before.
        let closed = self.rare.closed.as_ref().filter(|_| self.loading.is_done());
        let closed = closed.map_or(0, |closed| closed.multicast.retained());
        GroupStatus {
            view: Some(self.view().clone()),
            me: Some(self.me),
            loaded: self.loading.is_done(),
            frozen: self.is_frozen(),
            retained: self.multicast.retained() + closed + self.loading.held_bytes(),
            queued: self.pending.updates(),
            received: self.multicast.received(),
            delivered: self.multicast.delivered_cut(),
            stable: self.multicast.stable_cut(),
        }
    }

    /// A view this membership can no longer reach is over for it.
    pub(crate) fn last_view(&self) -> ViewNumber {
        self.view().number
    }
}
