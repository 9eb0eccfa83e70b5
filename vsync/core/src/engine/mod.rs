//! Floor 5: many groups in one process, and the failure detector they share.

mod agenda;
mod changes;
mod detector;
mod io;
mod marks;
#[cfg(test)]
mod tests;

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use bytes::Bytes;

use agenda::Agenda;
pub(crate) use changes::Changes;
pub(crate) use detector::Detector;
pub use io::{
    Class, Delivery, DropReason, EngineConfig, GroupConfig, Input, Install, Level, Output, Outputs,
    Refusal, Run, Traffic,
};
pub use marks::Marks;

use crate::bugs::Bug;
use crate::group::{Group, Header, Incoming, Turn, not_here};
use crate::wire::messages::{Digest, Frame, Message};
use crate::wire::{Cut, GroupId, MemberId, Micros, NodeId, View, ViewNumber, codec};

/// Most groups of one heartbeat that a peer is told it is mistaken about; the next names the rest.
const NOT_HERE: usize = 64;

/// Groups that one heartbeat looks at: a node with more of them tells a part at a time.
const LOOKED_AT: usize = 256;
/// Groups that one heartbeat names at most.
const NAMED: usize = 64;

/// All groups of one node.
#[derive(Clone, Debug)]
pub struct Engine {
    config: EngineConfig,
    /// So much longer acknowledgements that nobody waits for may be owed at present.
    relaxed: Micros,
    groups: BTreeMap<GroupId, Group>,
    /// Of groups that this node has left: the latest view known to be decided.
    left: BTreeMap<(GroupId, u32), ViewNumber>,
    detector: Detector,
    marks: Marks,
    /// When heartbeats are due; none where there is nobody to send them to.
    beat_due: Option<Micros>,
    agenda: Agenda,
    /// Since the last close: a member waits for the next.
    waited_for: bool,
    changes: Changes,
    /// Where the next heartbeat to a node begins, if not with the first group.
    told: BTreeMap<NodeId, GroupId>,
}

/// What a group looks like from outside, for tests and tools.
#[derive(Clone, Debug, Default)]
pub struct GroupStatus {
    /// The installed view; `None` while the first one is still awaited.
    pub view: Option<View>,
    /// This node's membership.
    pub me: Option<MemberId>,
    /// Whether the state is here.
    pub loaded: bool,
    /// Whether a view change is under way: a promise was given.
    pub frozen: bool,
    /// Bytes of batches kept (own and others', of this view and of closed ones).
    pub retained: usize,
    /// Updates submitted, but without number yet.
    pub queued: usize,
    /// What was received.
    pub received: Cut,
    /// What was delivered.
    pub delivered: Cut,
    /// What is stable.
    pub stable: Cut,
}

impl Engine {
    /// An engine without groups.
    pub fn new(config: EngineConfig) -> Self {
        let detector = Detector::new(&config);
        Engine {
            changes: Changes::new(config.changes),
            config,
            relaxed: 0,
            groups: BTreeMap::new(),
            left: BTreeMap::new(),
            detector,
            marks: Marks::default(),
            beat_due: None,
            agenda: Agenda::default(),
            waited_for: false,
            told: BTreeMap::new(),
        }
    }

    /// Takes one input in, at time `now`; what is to be done is appended to `out`. Cannot fail.
    pub fn handle(&mut self, now: Micros, input: Input, out: &mut Outputs) {
        self.detector.turn(now);
        let closing = matches!(input, Input::Close);
        match input {
            Input::Connected { peer } => {
                if self.detector.connected(peer, now) {
                    self.suspicions(now, out);
                }
                self.each(now, out, |group, turn| {
                    group.with(turn, |member, turn| member.connected(turn, peer));
                });
            }
            Input::Disconnected { peer } => self.detector.disconnected(peer, now),
            Input::Ended { peer } => {
                // Most that come and go are clients, which no group has to do with.
                if self.detector.ended(peer, now) && self.groups.values().any(|it| it.knows(peer)) {
                    self.suspicions(now, out);
                }
            }
            Input::Frame { peer, frame } => self.frame(now, peer, frame, out),
            Input::Close => {
                self.waited_for = false;
                for group in self.agenda.unclosed() {
                    self.member(now, out, group, |member, turn| member.close(turn));
                }
            }
            Input::Tick => self.tick(now, out),
            Input::Relax { acks } => self.relaxed = acks.min(self.config.change_retry),
            input => self.command(now, input, out),
        }
        loop {
            let visited = self.agenda.visited();
            for &group in &visited {
                self.tidy(now, group, closing);
            }
            self.agenda.recycle(visited);
            let Some(next) = self.changes.next() else { return };
            self.member(now, out, next, |member, turn| member.consider(turn));
        }
    }

    /// After something was run on a group.
    fn tidy(&mut self, now: Micros, id: GroupId, closed: bool) {
        let Some(group) = self.groups.get_mut(&id) else { return };
        if self.changes.since(id).is_some_and(|since| makes_room(&self.config, now, group, since)) {
            self.changes.end(id);
        }
        if group.is_over() {
            if group.beyond() > 0 {
                self.left.insert((id, group.generation()), group.beyond());
            }
            self.groups.remove(&id);
            return self.agenda.forget(id);
        }
        self.waited_for |= !closed && group.is_waited_for();
        let due = group.deadline();
        if due.is_none() {
            group.rest();
        }
        self.agenda.set(id, due);
        if closed && !group.is_open() {
            self.agenda.closed(id);
        }
        if self.beat_due.is_none() && group.is_watching() {
            self.beat_due = Some(now.saturating_add(self.config.heartbeat));
        }
    }

    /// What the application wants of one group.
    fn command(&mut self, now: Micros, input: Input, out: &mut Outputs) {
        match input {
            Input::Create { group, config } => {
                let beyond = self.beyond(group, config.generation);
                let generation = config.generation;
                let fresh = || Group::new(group, generation, beyond);
                self.agenda.visit(group);
                let entry = self.groups.entry(group).or_insert_with(fresh);
                let mut turn = Turn {
                    now,
                    out,
                    config: &self.config,
                    relaxed: self.relaxed,
                    detector: &self.detector,
                    marks: &mut self.marks,
                    changes: &mut self.changes,
                };
                entry.create(&mut turn, config);
            }
            Input::Join { group, contacts, nonce, config } => {
                let beyond = self.beyond(group, config.generation);
                let generation = config.generation;
                self.groups.entry(group).or_insert_with(|| Group::new(group, generation, beyond));
                self.one(now, out, group, |entry, turn| entry.join(turn, contacts, nonce, config));
            }
            Input::Submit { group, runs, body, wall, urgent } => {
                self.member(now, out, group, |member, turn| {
                    member.submit(turn, &runs, body, wall, urgent);
                });
            }
            Input::Flush { group, id } => {
                self.member(now, out, group, |member, turn| member.flush(turn, id));
            }
            Input::Checkpoint { group, label, bytes, last } => {
                self.member(now, out, group, |member, turn| {
                    member.checkpoint(turn, label, bytes, last);
                });
            }
            Input::HoldTransfer { group, on } => {
                self.member(now, out, group, |member, turn| member.hold_transfer(turn, on));
            }
            Input::Renew { group } => {
                self.member(now, out, group, |member, turn| member.renew(turn));
            }
            Input::Hold { group, on } => {
                self.member(now, out, group, |member, turn| member.hold(turn, on));
            }
            Input::Leave { group } => {
                self.one(now, out, group, |entry, turn| entry.leave(turn));
            }
            Input::Abandon { group } => self.one(now, out, group, |entry, _| entry.abandon()),
            Input::Connected { .. }
            | Input::Disconnected { .. }
            | Input::Ended { .. }
            | Input::Frame { .. }
            | Input::Relax { .. }
            | Input::Close
            | Input::Tick => {}
        }
    }

    /// The latest view of a group that this node has left and knew to be decided; 0 if none.
    fn beyond(&self, group: GroupId, generation: u32) -> ViewNumber {
        self.left.get(&(group, generation)).copied().unwrap_or(0)
    }

    fn one(
        &mut self,
        now: Micros,
        out: &mut Outputs,
        id: GroupId,
        run: impl FnOnce(&mut Group, &mut Turn<'_>),
    ) {
        let Some(group) = self.groups.get_mut(&id) else {
            return;
        };
        self.agenda.visit(id);
        let Engine { config, detector, marks, changes, .. } = self;
        let relaxed = self.relaxed;
        run(group, &mut Turn { now, out, config, relaxed, detector, marks, changes });
    }

    fn member(
        &mut self,
        now: Micros,
        out: &mut Outputs,
        id: GroupId,
        run: impl FnOnce(&mut crate::group::Membership, &mut Turn<'_>),
    ) {
        self.one(now, out, id, |group, turn| group.with(turn, run));
    }

    fn each(
        &mut self,
        now: Micros,
        out: &mut Outputs,
        mut run: impl FnMut(&mut Group, &mut Turn<'_>),
    ) {
        let relaxed = self.relaxed;
        let Engine { config, detector, marks, changes, groups, agenda, .. } = self;
        let mut turn = Turn { now, out, config, relaxed, detector, marks, changes };
        for (&id, group) in groups {
            agenda.visit(id);
            run(group, &mut turn);
        }
    }

    fn suspicions(&mut self, now: Micros, out: &mut Outputs) {
        self.each(now, out, |group, turn| {
            group.with(turn, |member, turn| member.suspicion(turn));
        });
    }

    fn frame(&mut self, now: Micros, peer: NodeId, frame: Bytes, out: &mut Outputs) {
        if peer == self.config.node {
            return out.push(Output::Dropped { peer, reason: DropReason::NotMember });
        }
        let length = frame.len();
        let Some((frame, bodies)) = codec::decode(frame) else {
            return out.push(Output::Dropped { peer, reason: DropReason::Malformed });
        };
        if self.detector.heard(peer, now) {
            self.suspicions(now, out);
        }
        match frame {
            Frame::Heartbeat { from, to, groups } => {
                self.heartbeat(now, out, peer, (from, to), groups);
            }
            Frame::Probe { about } => {
                let lately = self.detector.lately(about, now);
                self.send(peer, &Frame::Heard { about, lately }, out);
            }
            Frame::Heard { about, lately } => {
                if lately {
                    self.marks.vouched += 1;
                    if self.detector.vouched(about, now) {
                        self.suspicions(now, out);
                    }
                }
            }
            Frame::Group { group, generation, view, entry, message } => {
                let head = length - bodies.len();
                let incoming = Incoming { peer, view, entry, message, head, bodies };
                if self.groups.contains_key(&group) {
                    return self.one(now, out, group, |known, turn| {
                        known.message(turn, generation, incoming);
                    });
                }
                out.push(Output::Dropped { peer, reason: DropReason::UnknownGroup });
                let beyond = self.beyond(group, generation);
                let relaxed = self.relaxed;
                let Engine { config, detector, marks, changes, .. } = self;
                let mut turn = Turn { now, out, config, relaxed, detector, marks, changes };
                let header = Header { group, generation, view: 0, entry: 0 };
                not_here(&mut turn, header, &incoming, beyond, false);
            }
        }
    }

    /// A peer says in which view of its groups it is, those of a range of numbers.
    fn heartbeat(
        &mut self,
        now: Micros,
        out: &mut Outputs,
        peer: NodeId,
        (from, to): (GroupId, GroupId),
        groups: Vec<Digest>,
    ) {
        let members = groups.iter().filter(|(.., entry)| *entry > 0);
        let named: BTreeSet<GroupId> = members.map(|&(id, ..)| id).collect();
        let here = self.groups.range(from..=to).map(|(&id, _)| id);
        let unnamed: Vec<GroupId> = here.filter(|id| !named.contains(id)).collect();
        for group in unnamed {
            // A member that does not know of it: a handshake finds out.
            self.member(now, out, group, |member, turn| member.unnamed(turn, peer));
        }
        let mut unknown = 0;
        for digest in groups {
            if !self.groups.contains_key(&digest.0) {
                unknown += 1;
                if unknown > NOT_HERE {
                    continue;
                }
                // It counts on a member that is none: the group may be over for it, too (seed
                // 3138).
                let (group, generation, view, _) = digest;
                let message = Message::NotHere { beyond: self.beyond(group, generation) };
                let frame = Frame::Group { group, generation, view, entry: 0, message };
                self.send(peer, &frame, out);
            }
            self.one(now, out, digest.0, |group, turn| group.on_digest(turn, peer, digest));
        }
    }

    fn send(&self, peer: NodeId, frame: &Frame, out: &mut Outputs) {
        let frame = codec::encode(frame, &[]);
        out.push(Output::Send { peer, traffic: Traffic::Control, frame });
    }

    fn tick(&mut self, now: Micros, out: &mut Outputs) {
        if self.beat_due.is_some_and(|due| due <= now) {
            self.beat_due = None;
            self.beat(now, out);
        } else if self.detector.overdue(now) {
            self.suspicions(now, out);
        }
        for group in self.agenda.due(now) {
            self.one(now, out, group, Group::tick);
        }
    }

    /// Sends heartbeats, and looks at who is silent.
    fn beat(&mut self, now: Micros, out: &mut Outputs) {
        let mut watched = BTreeSet::new();
        self.groups.values().for_each(|group| group.watch(&mut watched));
        let watched: Vec<NodeId> = watched.into_iter().collect();
        if !watched.is_empty() {
            self.beat_due = Some(now.saturating_add(self.config.heartbeat));
        }
        let mut to = watched.clone();
        if self.groups.values().any(Group::is_lost) {
            // Whoever it knows may be gone: a stranger may be in a later view (seed 22252).
            to.extend(self.detector.connections().filter(|node| !watched.contains(node)));
        }
        for peer in to {
            let frame = self.digests(peer);
            self.send(peer, &frame, out);
        }
        self.told.retain(|peer, _| {
            watched.binary_search(peer).is_ok() || self.detector.is_connected(*peer)
        });
        let (silent, changed) = self.detector.look(&watched, now);
        if !silent.is_empty() {
            self.ask(now, &silent, out);
        }
        if changed {
            self.suspicions(now, out);
        }
    }

    /// Asks others about nodes that are silent.
    fn ask(&self, now: Micros, silent: &[NodeId], out: &mut Outputs) {
        let mut circles = alloc::vec![BTreeSet::new(); silent.len()];
        for group in self.groups.values() {
            let mut nodes = BTreeSet::new();
            group.watch(&mut nodes);
            let about = silent.iter().zip(&mut circles).filter(|(node, _)| nodes.contains(node));
            about.for_each(|(_, circle)| circle.extend(&nodes));
        }
        for (&about, circle) in silent.iter().zip(&circles) {
            for witness in self.detector.witnesses(about, circle, now) {
                self.send(witness, &Frame::Probe { about }, out);
            }
        }
    }

    /// The heartbeat to a node: a part of the groups, the next time the next part. All that a node
    /// tells is bounded, however many groups it has.
    fn digests(&mut self, peer: NodeId) -> Frame {
        let from = self.told.remove(&peer).unwrap_or(GroupId(0));
        let mut groups = Vec::new();
        let mut rest = self.groups.range(from..);
        let mut to = GroupId(u64::MAX);
        for (looked_at, (&id, group)) in rest.by_ref().enumerate() {
            groups.extend(group.digest(peer));
            if looked_at + 1 == LOOKED_AT || groups.len() == NAMED {
                to = id;
                break;
            }
        }
        match rest.next() {
            Some((&next, _)) => drop(self.told.insert(peer, next)),
            None => to = GroupId(u64::MAX),
        }
        Frame::Heartbeat { from, to, groups }
    }

    /// Whether a member waits for what goes out with the next [`Input::Close`]: an application that
    /// lets updates gather before it closes had better not.
    pub fn is_waited_for(&self) -> bool {
        self.waited_for
    }

    /// Whether something that this node has submitted to `group` is not delivered here yet: what it
    /// submits next comes after that.
    pub fn has_undelivered(&self, group: GroupId) -> bool {
        self.groups.get(&group).is_some_and(Group::has_undelivered)
    }

    /// When [`Input::Tick`] is due.
    pub fn deadline(&self) -> Option<Micros> {
        self.agenda.first().into_iter().chain(self.beat_due).chain(self.detector.due()).min()
    }

    /// When whoever is silent may be suspected, unless something comes from it first: an
    /// application that has not taken in all that has come had better do so before the
    /// [`Input::Tick`].
    pub fn verdict_due(&self) -> Option<Micros> {
        self.detector.due()
    }

    /// What `group` looks like, if this node has to do with it.
    pub fn status(&self, group: GroupId) -> Option<GroupStatus> {
        self.groups.get(&group).map(Group::status)
    }

    /// How many active members of `group`'s view do not seem gone to this node, itself included,
    /// and how many there are. `None` without a view.
    pub fn in_sight(&self, group: GroupId) -> Option<(usize, usize)> {
        self.groups.get(&group)?.in_sight(&self.detector)
    }

    /// Whether this node thinks that another one is gone.
    pub fn suspects(&self, node: NodeId) -> bool {
        self.detector.suspects(node)
    }

    /// The rare branches taken so far.
    pub fn marks(&self) -> Marks {
        self.marks
    }

    /// What this engine was made with.
    pub fn config(&self) -> &EngineConfig {
        &self.config
    }
}

/// Whether the change of another group may begin in the place of this one's. One that stands still
/// makes room: it may do so for ever.
fn makes_room(config: &EngineConfig, now: Micros, group: &Group, since: Micros) -> bool {
    let still = now >= since + config.change_retry && !config.bugs.has(Bug::NeverMakeRoom);
    still || !group.is_leading()
}
