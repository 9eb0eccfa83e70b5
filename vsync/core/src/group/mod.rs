//! Floor 4: one group as one node sees it.

mod checkpoint;
mod departed;
mod fetch;
mod install;
mod member;
mod pending;
mod rare;
mod reasons;
mod times;
mod transfer;
mod viewchange;

use alloc::boxed::Box;
use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use bytes::Bytes;

use crate::bugs::{Bug, Bugs};
use crate::engine::{
    Changes, Detector, DropReason, EngineConfig, GroupConfig, GroupStatus, Marks, Output, Outputs,
    Refusal, Traffic,
};
use crate::wire::messages::{Digest, Frame, JoinRequest, Message, Proposal};
use crate::wire::{GroupId, Member, MemberId, Micros, NodeId, View, ViewNumber, codec};

use departed::Departed;
pub(crate) use member::Membership;

/// What one call of the engine brings to a group: the time, and where outputs go.
pub(crate) struct Turn<'a> {
    pub(crate) now: Micros,
    pub(crate) out: &'a mut Outputs,
    pub(crate) config: &'a EngineConfig,
    /// So much longer acknowledgements that nobody waits for may be owed.
    pub(crate) relaxed: Micros,
    pub(crate) detector: &'a Detector,
    pub(crate) marks: &'a mut Marks,
    pub(crate) changes: &'a mut Changes,
}

/// The name of a group on the wire, and whose frames these are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Header {
    pub(crate) group: GroupId,
    pub(crate) generation: u32,
    pub(crate) view: ViewNumber,
    pub(crate) entry: ViewNumber,
}

/// A message of a group as it came in.
#[derive(Clone, Debug)]
pub(crate) struct Incoming {
    pub(crate) peer: NodeId,
    pub(crate) view: ViewNumber,
    pub(crate) entry: ViewNumber,
    pub(crate) message: Message,
    /// Bytes of the frame before the bodies.
    pub(crate) head: usize,
    pub(crate) bodies: Bytes,
}

impl Incoming {
    /// The decision that it tells, if it is one that its sender can know: by being in the new view,
    /// or by having been in the one before.
    pub(crate) fn decision(&self, bytes: &[u8]) -> Option<Proposal> {
        let decided = codec::decode_proposal(bytes)?;
        let (view, number) = (self.view, decided.view.number);
        let knows = decided.view.rank_of_node(self.peer).is_some()
            || decided.left.iter().any(|left| left.id.node == self.peer);
        ((view == number || view + 1 == number) && knows).then_some(decided)
    }
}

/// One group.
#[derive(Clone, Debug)]
pub(crate) struct Group {
    id: GroupId,
    joining: Option<Box<Joining>>,
    member: Option<Box<Membership>>,
    /// Memberships that are over, but whose decision others may still need (L4).
    departed: Vec<Departed>,
    /// The latest view that this node knew to be decided when a membership of it ended.
    beyond: ViewNumber,
    /// Of the last membership.
    generation: u32,
}

/// A node that asks to be let in.
#[derive(Clone, Debug)]
struct Joining {
    contacts: Vec<NodeId>,
    next: usize,
    nonce: u64,
    config: GroupConfig,
    due: Micros,
    early: Early,
}

/// Messages of a view that is not installed here yet, bounded in bytes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Early {
    list: Vec<Incoming>,
    bytes: usize,
}

impl Early {
    pub(crate) fn push(&mut self, incoming: Incoming, limit: usize) -> Result<(), DropReason> {
        const OVERHEAD: usize = 256;
        // What is decoded takes many times its encoded form.
        const DECODED: usize = 16;
        let bytes = incoming.bodies.len() + incoming.head * DECODED + OVERHEAD;
        if self.bytes + bytes > limit {
            return Err(DropReason::EarlyFull);
        }
        self.bytes += bytes;
        self.list.push(incoming);
        Ok(())
    }

    pub(crate) fn take(&mut self) -> Vec<Incoming> {
        self.bytes = 0;
        core::mem::take(&mut self.list)
    }
}

impl Turn<'_> {
    pub(crate) fn bugs(&self) -> Bugs {
        self.config.bugs
    }

    pub(crate) fn dropped(&mut self, peer: NodeId, reason: DropReason) {
        self.out.push(Output::Dropped { peer, reason });
    }

    /// Sends one message to some nodes; it is encoded once.
    pub(crate) fn cast(
        &mut self,
        header: Header,
        to: impl IntoIterator<Item = NodeId>,
        traffic: Traffic,
        message: Message,
        bodies: &[Bytes],
    ) {
        let Header { group, generation, view, entry } = header;
        let mut to = to.into_iter().peekable();
        if to.peek().is_none() {
            return;
        }
        let frame =
            codec::encode(&Frame::Group { group, generation, view, entry, message }, bodies);
        for peer in to {
            if peer != self.config.node {
                self.out.push(Output::Send { peer, traffic, frame: frame.clone() });
            }
        }
    }
}

impl Group {
    pub(crate) fn new(id: GroupId, generation: u32, beyond: ViewNumber) -> Self {
        Group { id, joining: None, member: None, departed: Vec::new(), beyond, generation }
    }

    /// Whether a member waits for what goes out with the next close.
    pub(crate) fn is_waited_for(&self) -> bool {
        self.member.as_ref().is_some_and(|member| member.is_waited_for())
    }

    /// Whether something submitted here is not delivered here yet.
    pub(crate) fn has_undelivered(&self) -> bool {
        self.member.as_ref().is_some_and(|member| {
            let multicast = &member.multicast;
            let delivered = multicast.delivered.counts[multicast.me];
            !member.pending.is_empty() || delivered < multicast.own_end()
        })
    }

    /// Nothing is under way: gives back the room of what is empty.
    pub(crate) fn rest(&mut self) {
        if let Some(member) = &mut self.member {
            member.rest();
        }
    }

    /// Whether whoever this node knows in the group may be gone: it is a member that sees no
    /// quorum, or was one and waits for somebody to confirm its last decision.
    pub(crate) fn is_lost(&self) -> bool {
        let member = self.member.as_ref().is_some_and(|member| member.is_lost());
        member || self.departed.iter().any(Departed::is_lost)
    }

    pub(crate) fn generation(&self) -> u32 {
        self.generation
    }

    pub(crate) fn beyond(&self) -> ViewNumber {
        self.beyond
    }

    /// The latest view of a generation that this node knew to be decided. Another generation counts
    /// anew, and says nothing of it.
    fn beyond_of(&self, generation: u32) -> ViewNumber {
        if generation == self.generation { self.beyond } else { 0 }
    }

    /// Whether nothing is left of it.
    pub(crate) fn is_over(&self) -> bool {
        self.joining.is_none() && self.member.is_none() && self.departed.is_empty()
    }

    /// Makes the group: view 1, this node alone. Ignored where it is known already.
    pub(crate) fn create(&mut self, turn: &mut Turn<'_>, config: GroupConfig) {
        if self.member.is_some() || self.joining.is_some() {
            return;
        }
        let id = MemberId { node: turn.config.node, entry: 1 };
        let meta = config.meta.clone();
        let member = Member { id, meta, nonce: 0, transfer: None };
        let view = View { number: 1, members: alloc::vec![member], active: 1 };
        let membership = Membership::founder(turn, self.id, config, view);
        self.member = Some(Box::new(membership));
    }

    /// Asks to be let in; for a group that is still joining, only the contacts change.
    pub(crate) fn join(
        &mut self,
        turn: &mut Turn<'_>,
        contacts: Vec<NodeId>,
        nonce: u64,
        config: GroupConfig,
    ) {
        if let Some(member) = &mut self.member {
            return member.ask_contacts(turn, &contacts);
        }
        if self.departed.iter().any(Departed::is_leaving) {
            // The application has not heard yet that its leave is through (seed 2725).
            return;
        }
        let due = turn.now;
        match &mut self.joining {
            Some(joining) => {
                joining.contacts = contacts;
                // The nonce stays: an answer to the request under way must still fit.
                joining.due = due;
            }
            None => {
                if contacts.is_empty() {
                    let reason = Refusal::UnknownGroup;
                    return turn.out.push(Output::Refused { group: self.id, reason });
                }
                let early = Early::default();
                let joining = Joining { contacts, next: 0, nonce, config, due, early };
                self.joining = Some(Box::new(joining));
            }
        }
        self.ask(turn);
    }

    /// Asks the next contact, if it is time.
    fn ask(&mut self, turn: &mut Turn<'_>) {
        let Some(joining) = &mut self.joining else {
            return;
        };
        if turn.now < joining.due || joining.contacts.is_empty() {
            return;
        }
        joining.due = turn.now + turn.config.change_retry * 2;
        let contact = joining.contacts[joining.next % joining.contacts.len()];
        joining.next += 1;
        let request = JoinRequest {
            node: turn.config.node,
            nonce: joining.nonce,
            schema: joining.config.schema,
            meta: joining.config.meta.clone(),
        };
        let generation = joining.config.generation;
        let header = Header { group: self.id, generation, view: 0, entry: 0 };
        turn.cast(header, [contact], Traffic::Control, Message::Join(request), &[]);
    }

    /// Takes a message in. `generation` is the frame's.
    pub(crate) fn message(&mut self, turn: &mut Turn<'_>, generation: u32, incoming: Incoming) {
        let ours = match (&self.member, &self.joining) {
            (Some(member), _) => Some(member.terms.generation),
            (None, Some(joining)) => Some(joining.config.generation),
            (None, None) => None,
        };
        if ours.is_some_and(|ours| ours != generation) {
            if let (Message::Join(join), Some(theirs)) = (&incoming.message, ours) {
                let header = Header { group: self.id, generation, view: 0, entry: 0 };
                let reason = Refusal::Generation { theirs };
                let refused = Message::Refused { nonce: join.nonce, reason };
                turn.cast(header, [incoming.peer], Traffic::Control, refused, &[]);
            }
            turn.dropped(incoming.peer, DropReason::WrongGeneration);
            return;
        }
        for departed in self.departed.iter_mut().filter(|it| it.generation() == generation) {
            departed.hear(turn, &incoming);
        }
        if self.member.is_some() {
            self.member_message(turn, incoming);
        } else if self.joining.is_some() {
            self.joining_message(turn, incoming);
        } else {
            self.departed_only(turn, generation, &incoming);
        }
        self.departed.retain(|departed| !departed.is_done());
    }

    /// Only memberships that are over are left here.
    fn departed_only(&mut self, turn: &mut Turn<'_>, generation: u32, incoming: &Incoming) {
        let header = Header { group: self.id, generation, view: 0, entry: 0 };
        let knows = self.departed.iter().any(|departed| departed.answers(incoming.view));
        not_here(turn, header, incoming, self.beyond_of(generation), knows);
    }

    fn member_message(&mut self, turn: &mut Turn<'_>, incoming: Incoming) {
        let Some(member) = &mut self.member else {
            return;
        };
        if member.message(turn, incoming) {
            self.retire(turn);
        }
    }

    fn joining_message(&mut self, turn: &mut Turn<'_>, incoming: Incoming) {
        let Some(joining) = &mut self.joining else {
            return;
        };
        match &incoming.message {
            Message::Install { proposal } => {
                let Some(decided) = incoming.decision(proposal) else {
                    return turn.dropped(incoming.peer, DropReason::Invalid);
                };
                let node = turn.config.node;
                let me = decided.view.members.iter().find(|m| m.id.node == node);
                let any = turn.bugs().has(Bug::TakeUpOldMembership);
                let mine = me.is_some_and(|m| {
                    any || m.id.entry == decided.view.number && m.nonce == joining.nonce
                });
                if mine {
                    return self.enter(turn, proposal.clone(), decided);
                }
                if turn.bugs().has(Bug::IgnoreThePast) {
                    return;
                }
                // It counts on a membership that this node has no more: a leaver may wait for its
                // word (seed 156230).
                let header = Header {
                    group: self.id,
                    generation: joining.config.generation,
                    view: incoming.view,
                    entry: 0,
                };
                let beyond = if header.generation == self.generation { self.beyond } else { 0 };
                let message = Message::NotHere { beyond };
                turn.cast(header, [incoming.peer], Traffic::Control, message, &[]);
            }
            Message::Refused { nonce, reason } if *nonce == joining.nonce => {
                if *reason == Refusal::UnknownGroup {
                    joining.contacts.retain(|&contact| contact != incoming.peer);
                    joining.due = turn.now;
                    if !joining.contacts.is_empty() {
                        return self.ask(turn);
                    }
                }
                self.joining = None;
                turn.out.push(Output::Refused { group: self.id, reason: *reason });
            }
            Message::Join(join) => {
                let generation = joining.config.generation;
                let header = Header { group: self.id, generation, view: 0, entry: 0 };
                let reason = Refusal::UnknownGroup;
                let refused = Message::Refused { nonce: join.nonce, reason };
                turn.cast(header, [incoming.peer], Traffic::Control, refused, &[]);
            }
            _ if incoming.view > 0 => {
                let (peer, limit) = (incoming.peer, joining.config.join_buffer);
                if !joining.contacts.contains(&peer) {
                    // It counts on this node: it can let it in, too.
                    joining.contacts.push(peer);
                }
                if let Err(reason) = joining.early.push(incoming, limit) {
                    turn.dropped(peer, reason);
                }
            }
            _ => {}
        }
    }

    /// The join is decided.
    fn enter(&mut self, turn: &mut Turn<'_>, bytes: Bytes, decided: Proposal) {
        let Some(mut joining) = self.joining.take() else {
            return;
        };
        let early = joining.early.take();
        let member = Membership::joiner(turn, self.id, joining.config, bytes, decided);
        self.member = Some(Box::new(member));
        for incoming in early {
            self.member_message(turn, incoming);
        }
    }

    /// Moves a membership that is over to the departed, if others may still need it.
    fn retire(&mut self, turn: &mut Turn<'_>) {
        if let Some(member) = self.member.take() {
            let generation = member.terms.generation;
            self.beyond = self.beyond_of(generation).max(member.last_view() + 1);
            self.generation = generation;
            if let Some(departed) = member.depart(turn) {
                self.beyond = self.beyond.max(departed.next());
                self.departed.push(departed);
            }
        }
    }

    /// A peer's heartbeat says where it is in this group.
    pub(crate) fn on_digest(&mut self, turn: &mut Turn<'_>, peer: NodeId, digest: Digest) {
        let (_, generation, view, entry) = digest;
        for departed in &self.departed {
            departed.on_digest(turn, peer, view);
        }
        let knows = self.departed.iter().any(|departed| departed.answers(view));
        // One that joins anew may be listed in a view that it has not heard of, but not in one of
        // which it knew the successor when it left: whoever is stuck there must hear of it (seed
        // 18755).
        let beyond = self.beyond_of(generation);
        let stranger = if self.joining.is_some() { beyond > view } else { !knows };
        if self.member.is_none() && stranger {
            let header = Header { group: self.id, generation, view, entry: 0 };
            let message = Message::NotHere { beyond };
            turn.cast(header, [peer], Traffic::Control, message, &[]);
        }
        self.with(turn, |member, turn| member.on_digest(turn, peer, view, entry));
    }

    /// Runs something on the membership, if there is one; it may end by it.
    pub(crate) fn with(
        &mut self,
        turn: &mut Turn<'_>,
        run: impl FnOnce(&mut Membership, &mut Turn<'_>),
    ) {
        if let Some(member) = &mut self.member {
            run(member, turn);
            if member.is_over() {
                self.retire(turn);
            }
        }
    }

    pub(crate) fn abandon(&mut self) {
        self.joining = None;
        self.member = None;
        // What others may still need lives on, but the application has heard the last of it.
        self.departed.iter_mut().for_each(Departed::silence);
    }

    pub(crate) fn leave(&mut self, turn: &mut Turn<'_>) {
        self.joining = None;
        self.with(turn, |member, turn| member.leave(turn));
    }

    /// Periodic work.
    pub(crate) fn tick(&mut self, turn: &mut Turn<'_>) {
        self.ask(turn);
        self.with(turn, |member, turn| member.tick(turn));
        for departed in &mut self.departed {
            departed.tick(turn);
        }
        self.departed.retain(|departed| !departed.is_done());
    }

    pub(crate) fn deadline(&self) -> Option<Micros> {
        let joining = self.joining.as_ref().filter(|joining| !joining.contacts.is_empty());
        let joining = joining.map(|joining| joining.due);
        let member = self.member.as_ref().and_then(|member| member.deadline());
        let departed = self.departed.iter().map(Departed::deadline);
        joining.into_iter().chain(member).chain(departed).min()
    }

    /// Whether a batch of its own is open.
    pub(crate) fn is_open(&self) -> bool {
        self.member.as_ref().is_some_and(|member| member.is_open())
    }

    /// Adds the nodes that matter to this group.
    pub(crate) fn watch(&self, nodes: &mut BTreeSet<NodeId>) {
        if let Some(member) = &self.member {
            nodes.extend(member.watched());
        }
        nodes.extend(self.departed.iter().flat_map(Departed::watched));
    }

    /// Whether a node matters to it.
    pub(crate) fn knows(&self, node: NodeId) -> bool {
        let member = self.member.as_ref().is_some_and(|it| it.watched().any(|known| known == node));
        member || self.departed.iter().any(|departed| departed.watched().contains(&node))
    }

    /// Whether this node leads a change of its view.
    pub(crate) fn is_leading(&self) -> bool {
        self.member.as_ref().is_some_and(|member| member.change.lead.is_some())
    }

    /// Whether any node matters to it.
    pub(crate) fn is_watching(&self) -> bool {
        let member = self.member.as_ref().is_some_and(|member| member.watched().next().is_some());
        member || self.departed.iter().any(|departed| !departed.watched().is_empty())
    }

    /// Group, generation, view and entry, for heartbeats to `peer`: of the membership, where the
    /// peer has to do with it, or of the latest one that is over and waits for anybody's word (what
    /// proves that to be superseded proves the earlier ones, too).
    pub(crate) fn digest(&self, peer: NodeId) -> Option<Digest> {
        let Some(member) = &self.member else {
            let lost = self.departed.iter().filter(|it| it.is_lost());
            return lost.map(Departed::digest).max();
        };
        let view = member.view();
        let concerned = member.is_lost() || view.rank_of_node(peer).is_some();
        concerned.then_some((self.id, member.terms.generation, view.number, member.me.entry))
    }

    pub(crate) fn in_sight(&self, detector: &Detector) -> Option<(usize, usize)> {
        self.member.as_ref().map(|member| member.in_sight(detector))
    }

    pub(crate) fn status(&self) -> GroupStatus {
        match &self.member {
            Some(member) => member.status(),
            None => GroupStatus::default(),
        }
    }
}

/// Tells a peer that this node has nothing to do with the group.
pub(crate) fn not_here(
    turn: &mut Turn<'_>,
    header: Header,
    incoming: &Incoming,
    beyond: ViewNumber,
    knows: bool,
) {
    let reply = match &incoming.message {
        Message::Join(join) => {
            Message::Refused { nonce: join.nonce, reason: Refusal::UnknownGroup }
        }
        Message::Data(_)
        | Message::Sync { .. }
        | Message::Prepare { .. }
        | Message::Propose { .. }
        | Message::Install { .. }
            if !knows =>
        {
            Message::NotHere { beyond }
        }
        _ => return,
    };
    let header = Header { view: incoming.view, ..header };
    turn.cast(header, [incoming.peer], Traffic::Control, reply, &[]);
}
