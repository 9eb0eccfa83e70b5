//! The driver: one task per node, which owns the engine and is its only caller.
//!
//! It drains what has come (frames, commands, the deadline) in bounded bursts, lets the engine
//! close its open batches when the network has room, and moves what comes out: deliveries to
//! replicas, completions to callers, lines to the history, and only then frames to the network.
//!
//! A replica that cannot go on ends this node's membership in that group, as a crash that the
//! others handle: its state cannot be loaded or saved, or differs from the others'. Its callers are
//! told, the group's events say why, and the node and its other groups go on. An update that panics
//! everywhere is no such case (see [`verdicts`](super::verdicts)).

mod alarms;
#[cfg(test)]
pub(crate) mod alone;
mod left;
mod outputs;
mod transfer;
mod turn;

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use vsync_core::engine::{Engine, EngineConfig, GroupConfig, Input, Outputs};
use vsync_core::wire::{GroupId, Micros, NodeId};
use vsync_history::event::Event as Line;
use vsync_net::{Event, PeerId, PeerInfo, Transport};

use self::left::Left;
use super::clock::Clock;
use super::dropped::Dropped;
use super::frames::Frames;
use super::history::Writer;
use super::pile::Pile;
use super::rpc::Rpc;
use super::slot::{Record, Slot};
use super::threads::Threads;
use super::{Command, Notice, Opening, Progress, tag};
use crate::error::{GroupError, NotApplied, Sight};
use crate::report::GroupReport;

/// So many network events are taken in at once, and at most so many commands.
const BURST: usize = 64;
/// And for no longer than this in one turn, however long the last one was: a process may have been
/// stopped in the middle of it, and others wait for a heartbeat.
const INTAKE: Duration = Duration::from_millis(100);
/// Bytes of updates that may be held for replicas that are at work elsewhere; beyond it nothing
/// more is acknowledged in the groups that have more to hold, so their senders wait.
const HELD: usize = 64 * 1024 * 1024;
/// For how long replicas that are back catch up in one turn, one range after the other.
const SLICE: Duration = Duration::from_millis(1);
/// The role that a node's transport announces; a client announces another.
pub(crate) const NODE: u8 = 0;

/// What a driver is made of.
pub(crate) struct Parts {
    pub(crate) config: EngineConfig,
    pub(crate) transport: Arc<dyn Transport>,
    pub(crate) rpc: Arc<Rpc>,
    pub(crate) commands: mpsc::UnboundedReceiver<Command>,
    pub(crate) notices: mpsc::UnboundedSender<Notice>,
    pub(crate) history: Option<Writer>,
    pub(crate) dropped: Arc<Dropped>,
}

/// The owner of the engine.
pub(crate) struct Driver {
    engine: Engine,
    out: Outputs,
    clock: Clock,
    transport: Arc<dyn Transport>,
    rpc: Arc<Rpc>,
    commands: mpsc::UnboundedReceiver<Command>,
    notices: mpsc::UnboundedSender<Notice>,
    history: Option<Writer>,
    dropped: Arc<Dropped>,
    /// Boxed: a table has room for about half as many again.
    slots: HashMap<GroupId, Box<Slot>>,
    /// In how many of the groups' views each node is.
    listed: HashMap<NodeId, usize>,
    peers: HashSet<PeerId>,
    /// Inputs that outputs have led to; they go in before anything else.
    later: VecDeque<Input>,
    /// Groups that had a view installed in this step.
    installed: Vec<GroupId>,
    /// Groups that have no quorum in sight.
    blocked: BTreeSet<GroupId>,
    left: Left,
    /// By how much the engine may be late with acknowledgements that nobody waits for.
    relaxed: Duration,
    /// What is in the outboxes.
    pile: Arc<Pile>,
    /// When groups have something to send that no caller has left, by the wall clock.
    alarms: BTreeSet<(Micros, GroupId)>,
    /// Bytes of updates that wait for replicas at work elsewhere.
    held: usize,
    /// For how long replicas that are back have caught up in this turn.
    caught_up: Duration,
    /// For how long the last turn did anything else than take in what had come.
    spent: Duration,
    /// The last name of such work: they grow.
    work: u64,
    /// Work that is not back yet, and whose it is.
    working: HashMap<u64, GroupId>,
    /// Where checkpoints are made and loaded.
    threads: Threads,
    frames: Frames,
    /// The last number of an attempt to join: they grow.
    nonce: u64,
    stop: Option<oneshot::Sender<()>>,
}

/// What woke the driver.
enum Woken {
    Event(Option<Event>),
    Command(Option<Command>),
    Deadline,
}

impl Driver {
    pub(crate) fn new(parts: Parts) -> Driver {
        Driver {
            engine: Engine::new(parts.config),
            out: Outputs::new(),
            clock: Clock::start(),
            transport: parts.transport,
            rpc: parts.rpc,
            commands: parts.commands,
            notices: parts.notices,
            history: parts.history,
            dropped: parts.dropped,
            slots: HashMap::new(),
            listed: HashMap::new(),
            peers: HashSet::new(),
            later: VecDeque::new(),
            installed: Vec::new(),
            blocked: BTreeSet::new(),
            left: Left::default(),
            relaxed: Duration::ZERO,
            pile: Arc::default(),
            alarms: BTreeSet::new(),
            held: 0,
            caught_up: Duration::ZERO,
            spent: Duration::ZERO,
            work: 0,
            working: HashMap::new(),
            threads: Threads::for_checkpoints(),
            frames: Frames::default(),
            nonce: 0,
            stop: None,
        }
    }

    /// Runs until it is told to stop, or the transport or everybody who could command it is gone.
    pub(crate) async fn run(mut self) {
        let transport = Arc::clone(&self.transport);
        loop {
            let full = !self.has_room();
            let idle = self.commands.is_empty();
            if idle && let Some(history) = &mut self.history {
                history.flush();
            }
            let wake_at = self.wake_at(full);
            let woken = tokio::select! {
                biased;
                () = std::future::ready(()), if self.left.goes_on(full) => Woken::Deadline,
                event = transport.next() => Woken::Event(event),
                command = self.commands.recv() => Woken::Command(command),
                () = until(wake_at) => Woken::Deadline,
            };
            self.caught_up = Duration::ZERO;
            let more = match woken {
                Woken::Event(Some(event)) => {
                    self.event(event);
                    true
                }
                Woken::Command(Some(command)) => {
                    self.command(command);
                    true
                }
                Woken::Deadline => true,
                Woken::Event(None) | Woken::Command(None) => false,
            };
            if !more || self.stop.is_some() {
                break;
            }
            let busy = self.turn();
            if self.stop.is_some() {
                break;
            }
            if busy || self.left.goes_on(full) {
                // Callers on the same thread get their turn, too.
                tokio::task::yield_now().await;
            }
        }
        self.end();
    }

    /// What is done whenever something has happened; whether there may be more to take in.
    fn turn(&mut self) -> bool {
        let (behind, busy) = self.burst();
        let taken_in = std::time::Instant::now();
        if self.stop.is_none() {
            self.ring();
            self.let_out(behind, busy);
            self.tick(busy);
            self.look_around();
            self.ship();
        }
        self.spent = taken_in.elapsed().min(INTAKE);
        busy
    }

    /// Takes in what else has come; whether there may be more frames, and more of anything.
    ///
    /// For at least as long as the last turn did other things: one that submits for a thousand
    /// groups takes a hundred times as long as taking in so many events, and with no more of them
    /// in each turn heartbeats would wait until their senders were missed.
    fn burst(&mut self) -> (bool, bool) {
        let begun = std::time::Instant::now();
        let mut behind = true;
        while behind {
            behind = self.take_in(BURST);
            if begun.elapsed() >= self.spent {
                break;
            }
        }
        for _ in 0..BURST {
            let Ok(command) = self.commands.try_recv() else { return (behind, behind) };
            self.command(command);
        }
        (behind, true)
    }

    /// Takes in so many events; `false` if there were not as many.
    fn take_in(&mut self, most: usize) -> bool {
        for _ in 0..most {
            let Some(event) = self.transport.try_next() else { return false };
            self.event(event);
        }
        true
    }

    fn event(&mut self, event: Event) {
        match event {
            Event::Up(PeerInfo { id, role, .. }) => {
                self.rpc.up(id);
                if role == NODE {
                    self.peers.insert(id);
                    self.step(Input::Connected { peer: NodeId(id.0) });
                }
            }
            Event::Frame { peer, frame, .. } => match frame.first() {
                Some(&tag::RPC) => self.rpc.frame(peer, self.peers.contains(&peer), &frame[1..]),
                Some(_) if self.peers.contains(&peer) => {
                    self.step(Input::Frame { peer: NodeId(peer.0), frame });
                }
                _ => tracing::debug!(?peer, "dropped a frame that is nobody's"),
            },
            Event::Down { peer } => self.down(peer),
            Event::Ended { peer } => {
                self.down(peer);
                self.step(Input::Ended { peer: NodeId(peer.0) });
            }
        }
    }

    fn down(&mut self, peer: PeerId) {
        self.rpc.down(peer);
        if self.peers.remove(&peer) {
            self.step(Input::Disconnected { peer: NodeId(peer.0) });
        }
    }

    fn command(&mut self, command: Command) {
        match command {
            Command::Submit(group) => {
                self.rouse(group);
                self.left.add(group);
            }
            Command::Flush { group, tell } => self.flush(group, tell),
            Command::Open(opening) => self.open(*opening),
            Command::Ask { group, now, generation, contacts, progress } => {
                self.ask(group, now, generation, contacts, progress);
            }
            Command::Leave { group, tell } => self.leave(group, tell),
            Command::Abandon { group, why } => self.abandon(group, &why),
            Command::Piece { work, label, bytes } => self.piece(work, label, bytes),
            Command::Room { group, transfer } => self.room(group, transfer),
            Command::Worked { work, outcome } => self.worked(work, outcome),
            Command::Report { tell } => self.report(tell),
            Command::Stop { tell } => self.stop = Some(tell),
        }
    }

    fn ask(
        &mut self,
        group: GroupId,
        now: GroupId,
        generation: u32,
        contacts: Option<Vec<NodeId>>,
        progress: Option<mpsc::UnboundedSender<Progress>>,
    ) {
        let Some(mut slot) = self.slots.remove(&group) else { return };
        if now != group || contacts.is_none() {
            self.start_over(&mut slot);
            self.step(Input::Abandon { group });
        }
        slot.progress = progress.or(slot.progress);
        slot.given_up = false;
        if let Some(due) = slot.alarm.take() {
            self.alarms.remove(&(due, group));
        }
        slot.renumber(now, generation);
        self.working.values_mut().filter(|of| **of == group).for_each(|of| *of = now);
        if contacts.is_none() {
            slot.create();
        }
        let config = GroupConfig::clone(&slot.config);
        self.slots.insert(now, slot);
        self.begin(now, config, contacts);
    }

    fn begin(&mut self, group: GroupId, config: GroupConfig, contacts: Option<Vec<NodeId>>) {
        let input = match contacts {
            None => Input::Create { group, config },
            Some(contacts) => {
                let nonce = self.next_nonce();
                Input::Join { group, contacts, nonce, config }
            }
        };
        self.step(input);
    }

    fn next_nonce(&mut self) -> u64 {
        self.nonce += 1;
        self.nonce
    }

    fn open(&mut self, opening: Opening) {
        let (group, config) = (opening.group, opening.config.clone());
        let contacts = opening.contacts.clone();
        if self.slots.contains_key(&group) {
            let why = "this node is a member already".to_owned();
            drop(opening.progress.send(Progress::Broken(why)));
            return;
        }
        opening.seat.outbox.count_in(&self.pile);
        self.slots.insert(group, Box::new(Slot::new(opening)));
        self.begin(group, config, contacts);
    }

    fn flush(&mut self, group: GroupId, tell: oneshot::Sender<Result<(), GroupError>>) {
        // What callers have left so far is part of what is flushed.
        self.submit(group);
        self.left.hurry();
        match self.slots.get_mut(&group) {
            Some(slot) if slot.view().is_some() => {
                let Some(id) = slot.callers.flush(tell) else { return };
                let mut record = Record { writer: self.history.as_mut(), now: self.clock.now() };
                slot.note(|_| Line::Flush { id }, &mut record);
                self.step(Input::Flush { group, id });
            }
            Some(_) => drop(tell.send(Err(GroupError::NoState))),
            None => drop(tell.send(Err(GroupError::NotApplied(NotApplied::Closed)))),
        }
    }

    fn leave(&mut self, group: GroupId, tell: oneshot::Sender<()>) {
        if let Some(slot) = self.slots.get(&group) {
            slot.seat.outbox.close();
        }
        self.submit(group);
        self.left.hurry();
        // Dropping `tell` says that there is nothing to leave.
        let Some(slot) = self.slots.get_mut(&group) else { return };
        slot.leaving.push(tell);
        if slot.view().is_none() {
            return self.abandon(group, "left while joining");
        }
        let mut record = Record { writer: self.history.as_mut(), now: self.clock.now() };
        slot.note(|view| Line::Leaving { view }, &mut record);
        self.step(Input::Leave { group });
    }

    fn abandon(&mut self, group: GroupId, why: &str) {
        self.close(group, None, why);
        self.step(Input::Abandon { group });
    }

    /// Ends a membership at this node. `decided` is known after an orderly leave.
    fn close(&mut self, group: GroupId, decided: Option<u64>, why: &str) {
        let Some(mut slot) = self.slots.remove(&group) else { return };
        self.held -= slot.release().map_or(0, |held| held.bytes);
        if let Some(due) = slot.alarm {
            self.alarms.remove(&(due, group));
        }
        self.unlist(&slot.nodes());
        let last = decided.is_some() && slot.view().is_some_and(|view| view.members.len() <= 1);
        let seat = Arc::clone(&slot.seat);
        let leaving = std::mem::take(&mut slot.leaving);
        let mut record = Record { writer: self.history.as_mut(), now: self.clock.now() };
        slot.close(decided, why, &mut record);
        self.tell(Notice::Closed { seat, last, leaving });
    }

    fn report(&self, tell: oneshot::Sender<Vec<GroupReport>>) {
        let report = |(group, slot): (&GroupId, &Slot)| {
            slot.report(&self.engine.status(*group).unwrap_or_default())
        };
        // Who asked may have waited long enough.
        let slots = self.slots.iter().map(|(group, slot)| (group, &**slot));
        drop(tell.send(slots.map(report).collect()));
    }

    fn tell(&self, notice: Notice) {
        // At the node's end nobody listens any more.
        drop(self.notices.send(notice));
    }

    /// Gives the engine one input, and what that leads to.
    fn step(&mut self, input: Input) {
        let mut next = Some(input);
        while let Some(input) = next {
            let now = self.clock.now();
            let mut out = std::mem::take(&mut self.out);
            self.engine.handle(now, input, &mut out);
            for output in out.drain() {
                self.heard(now, output);
            }
            self.out = out;
            self.activated();
            next = self.later.pop_front();
        }
    }

    /// Tells who became an active member in this step. Not earlier: a fresh member has its credit
    /// and its place in the group when it hears of it.
    fn activated(&mut self) {
        for group in self.installed.drain(..) {
            if let Some(slot) = self.slots.get_mut(&group) {
                slot.activated();
            }
        }
    }

    /// Counts anew who is in sight where there is no quorum: callers are told when they give up.
    fn look_around(&mut self) {
        self.blocked.retain(|group| {
            self.slots.get(group).is_some_and(|slot| {
                let sight = self.engine.in_sight(*group).map(Sight::from);
                slot.seat.status().set_blocked(sight);
                true
            })
        });
    }

    /// Sends what has gathered; the history goes first.
    fn ship(&mut self) {
        if let Some(history) = &mut self.history {
            history.before_sending();
        }
        self.frames.ship(&*self.transport);
    }

    /// The node ends: everybody who waits is told.
    fn end(&mut self) {
        self.ship();
        let groups: Vec<_> = self.slots.keys().copied().collect();
        for group in groups {
            self.close(group, None, "the node is shut down");
        }
        // Commands that were on their way: dropping them tells who waits for an answer.
        self.commands.close();
        while self.commands.try_recv().is_ok() {}
        if let Some(history) = &mut self.history {
            history.flush();
        }
        if let Some(tell) = self.stop.take() {
            let _ = tell.send(());
        }
    }
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

impl Drop for Driver {
    /// The driver may be dropped between two steps, as a crash of the node: nobody hangs.
    fn drop(&mut self) {
        let groups: Vec<_> = self.slots.keys().copied().collect();
        for group in groups {
            self.close(group, None, "the node is gone");
        }
    }
}
