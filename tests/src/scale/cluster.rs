//! Many engines in virtual time, on processors and links that cost what [`Costs`] says.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::mem;
use std::rc::Rc;

use bytes::Bytes;
use vsync_core::engine::{Class, Engine, Input, Level, Output, Outputs, Run};
use vsync_core::wire::{FrameKind, GroupId, NodeId};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::costs::{Costs, Nanos, Setting};
use super::node::{Fate, Load, Node, Tally, Work, sent};
use super::pattern::Pattern;

pub(crate) const GROUP: GroupId = GroupId(1);
/// Inputs that a node takes in before it lets its batch out, as the runtime's driver does.
const BURST: usize = 64;
/// What may wait for the link before a node sends no more updates, as in the driver.
const ROOM: usize = 256 * 1024;
/// The engines begin here.
pub(crate) const START: Nanos = 1_000_000;
/// Longer than this nothing takes: the protocol is stuck.
const PATIENCE: Nanos = 600_000_000_000;
/// A checkpoint: what is measured is not the state.
const STATE: &[u8] = &[7; 64];

enum What {
    Arrive(usize, Load),
    Turn(usize),
    Due(usize),
}

/// The group did not do what it was waited for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stuck {
    /// What was waited for.
    pub what: String,
}

impl std::fmt::Display for Stuck {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the simulated group is stuck: {}", self.what)
    }
}

impl std::error::Error for Stuck {}

/// A view that is waited for.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Goal {
    view: u64,
    /// Does not count.
    except: Option<usize>,
    reached: usize,
    /// When the last one so far got there.
    last: Nanos,
}

/// The cluster.
pub(crate) struct Cluster {
    pub(crate) costs: Costs,
    pub(crate) pattern: Pattern,
    pub(crate) nodes: Vec<Node>,
    pub(crate) now: Nanos,
    pub(crate) seed: u64,
    heap: BinaryHeap<Reverse<(Nanos, u64, usize)>>,
    events: Vec<Option<What>>,
    free: Vec<usize>,
    planned: u64,
    /// Loads under way or in an inbox, without signs of life.
    pub(crate) under_way: usize,
    /// Of each kind of frames, what was sent and what it cost the processors of both sides.
    pub(crate) kinds: BTreeMap<FrameKind, (Tally, Nanos)>,
    /// Awaited updates that are stable where they were sent.
    pub(crate) returned: u64,
    /// Bytes of updates that were submitted.
    pub(crate) submitted: u64,
    goal: Goal,
    /// How many updates are waited for at every node, at how many they are not yet, and since
    /// when at none.
    applied: (u64, usize, Nanos),
    pub(crate) out: Outputs,
    pub(crate) nonce: u64,
}

impl Cluster {
    /// Nodes that are connected to each other, without a group.
    pub(crate) fn new(setting: Setting, nodes: usize, window: usize) -> Cluster {
        let Setting { costs, timers, seed, .. } = setting;
        let mut cluster = Cluster {
            costs,
            pattern: Pattern::default(),
            nodes: Vec::new(),
            now: START,
            seed,
            heap: BinaryHeap::new(),
            events: Vec::new(),
            free: Vec::new(),
            planned: 0,
            under_way: 0,
            kinds: BTreeMap::new(),
            returned: 0,
            submitted: 0,
            goal: Goal::default(),
            applied: (0, 0, 0),
            out: Outputs::new(),
            nonce: 0,
        };
        for index in 0..nodes {
            let node = NodeId(cluster.name(index));
            cluster.nodes.push(Node::new(Engine::new(timers.config(node))));
        }
        for (a, b) in (0..nodes).flat_map(|a| (0..nodes).map(move |b| (a, b))) {
            if a != b {
                let peer = NodeId(cluster.name(b));
                let now = START / 1_000;
                cluster.nodes[a].engine.handle(now, Input::Connected { peer }, &mut cluster.out);
            }
        }
        cluster.form(nodes.saturating_sub(1), window, timers.heartbeat * 1_000_000);
        cluster
    }

    fn plan(&mut self, at: Nanos, what: What) {
        self.planned += 1;
        let place = self.free.pop().unwrap_or_else(|| {
            self.events.push(None);
            self.events.len() - 1
        });
        self.events[place] = Some(what);
        self.heap.push(Reverse((at, self.planned, place)));
    }

    /// Lets a node look at what it has to do, not before this time.
    pub(crate) fn look_at(&mut self, node: usize, at: Nanos) {
        self.plan(at, What::Due(node));
    }

    pub(crate) fn plan_due(&mut self, node: usize) {
        let Some(at) = self.nodes[node].deadline() else { return };
        let at = at.max(self.now);
        if self.nodes[node].due.is_none_or(|due| at < due) {
            self.nodes[node].due = Some(at);
            self.plan(at, What::Due(node));
        }
    }

    /// Gives a node something to do that comes from outside of the network.
    pub(crate) fn input(&mut self, node: usize, input: Input) {
        self.nodes[node].inbox.push_back(Work::Input(input));
        self.wake(node);
    }

    pub(crate) fn wake(&mut self, node: usize) {
        if !mem::replace(&mut self.nodes[node].awake, true) {
            let at = self.nodes[node].busy.max(self.now);
            self.plan(at, What::Turn(node));
        }
    }

    /// Lets time pass until something is so.
    pub(crate) fn run(&mut self, what: &str, done: impl Fn(&Cluster) -> bool) -> Result<(), Stuck> {
        let end = self.now + PATIENCE;
        while !done(self) {
            let next = self.heap.pop().filter(|Reverse((at, ..))| *at < end);
            let Some(Reverse((at, _, place))) = next else {
                return Err(Stuck { what: what.to_owned() });
            };
            self.now = at;
            self.free.push(place);
            match self.events[place].take() {
                Some(What::Arrive(to, load)) => self.arrive(to, load),
                Some(What::Turn(node)) => self.turn(node),
                Some(What::Due(node)) => {
                    self.nodes[node].due = None;
                    if self.nodes[node].fate == Fate::Up {
                        self.wake(node);
                    }
                }
                None => {}
            }
        }
        Ok(())
    }

    /// Until nothing is under way but signs of life.
    pub(crate) fn rest(&mut self) -> Result<(), Stuck> {
        self.run("coming to rest", |cluster| cluster.under_way == 0)
    }

    /// Lets so much time pass.
    pub(crate) fn pass(&mut self, time: Nanos) -> Result<(), Stuck> {
        let end = self.now + time;
        self.run("time to pass", |cluster| cluster.now >= end)
    }

    fn arrive(&mut self, to: usize, load: Load) {
        if self.nodes[to].fate == Fate::Up {
            self.nodes[to].inbox.push_back(Work::Load(load));
            self.wake(to);
        } else {
            self.under_way -= usize::from(!load.is_alive());
        }
    }

    /// Ends a node; what it had not taken in is lost.
    pub(crate) fn end(&mut self, node: usize, fate: Fate) {
        self.nodes[node].fate = fate;
        for work in mem::take(&mut self.nodes[node].inbox) {
            if let Work::Load(load) = work {
                self.under_way -= usize::from(!load.is_alive());
            }
        }
    }

    fn turn(&mut self, node: usize) {
        self.nodes[node].awake = false;
        if self.nodes[node].fate != Fate::Up {
            return;
        }
        self.nodes[node].busy = self.nodes[node].busy.max(self.now);
        if self.nodes[node].burst < BURST
            && let Some(work) = self.nodes[node].inbox.pop_front()
        {
            self.nodes[node].burst += 1;
            self.work(node, work);
            self.wake(node);
        } else {
            self.nodes[node].burst = 0;
            let more = self.let_out(node);
            if more || !self.nodes[node].inbox.is_empty() {
                self.wake(node);
            }
        }
        self.plan_due(node);
    }

    fn work(&mut self, node: usize, work: Work) {
        let load = match work {
            Work::Input(input) => {
                self.nodes[node].stirred = true;
                return self.handle(node, input);
            }
            Work::Load(load) => load,
        };
        let bytes = load.bytes();
        self.nodes[node].spend(self.costs.receiving(bytes));
        if !load.is_alive() {
            self.under_way -= 1;
            self.nodes[node].tally.add(bytes);
            self.nodes[node].stirred = true;
        }
        match load {
            Load::Frame { from, frame, .. } => self.hand_in(node, from, frame),
            Load::Relay { from, frame, tree, at } => {
                self.pass_on(from, &frame, &tree, at);
                self.hand_in(node, from, frame);
            }
            Load::Acks { acks, down } => self.take_acks(node, &acks, down),
        }
    }

    pub(crate) fn hand_in(&mut self, node: usize, from: usize, frame: Bytes) {
        let peer = NodeId(self.name(from));
        self.handle(node, Input::Frame { peer, frame });
    }

    /// What the driver does when it has taken in what came: timers, updates, the open batch.
    /// Whether there is more to send.
    fn let_out(&mut self, node: usize) -> bool {
        let busy = self.nodes[node].busy;
        if self.nodes[node].deadline().is_some_and(|due| due <= busy) {
            self.handle(node, Input::Tick);
        }
        let room = self.nodes[node].uplink.saturating_sub(busy) < self.costs.wire(ROOM);
        let more = self.nodes[node].app.streams && self.submit_batch(node, room);
        let calls = self.nodes[node].app.to_call();
        if calls > 0 {
            self.submit(node, calls, true);
        }
        if room && mem::take(&mut self.nodes[node].stirred) {
            self.handle(node, Input::Close);
        }
        self.send_acks(node);
        more || self.nodes[node].app.to_call() > 0
    }

    /// Sends as many updates as a batch may have. Whether there is more to come.
    fn submit_batch(&mut self, node: usize, room: bool) -> bool {
        let app = &self.nodes[node].app;
        let bytes = app.body.len().min(app.credit as usize / app.unit * app.unit);
        // A batch as full as it gets, or nothing: credit comes in pieces.
        if bytes < app.body.len() {
            return false;
        }
        if room {
            self.submit(node, bytes / app.unit, false);
        } else {
            // When the link is free again.
            self.look_at(node, self.nodes[node].uplink);
        }
        room
    }

    /// Submits some updates of the application.
    pub(crate) fn submit(&mut self, node: usize, count: usize, urgent: bool) {
        let wall = self.nodes[node].busy / 1_000;
        let app = &mut self.nodes[node].app;
        let body = app.body.slice(..count * app.unit);
        app.credit = app.credit.saturating_sub(body.len() as u64);
        app.sent += count as u64;
        self.submitted += body.len() as u64;
        self.nodes[node].stirred = true;
        let run = Run { class: Class::Total, level: Level::Optimistic, count: count as u32 };
        let input = Input::Submit { group: GROUP, runs: vec![run], body, wall, urgent };
        self.handle(node, input);
    }

    fn handle(&mut self, node: usize, input: Input) {
        let mut out = mem::take(&mut self.out);
        let now = self.nodes[node].busy / 1_000;
        self.nodes[node].engine.handle(now, input, &mut out);
        let mut outputs = out.drain().peekable();
        let mut again = Vec::new();
        while let Some(output) = outputs.next() {
            let Some((peer, frame)) = sent(&output) else {
                if let Output::TakeCheckpoint { label, .. } = output {
                    again.push(checkpoint(label));
                }
                self.note(node, &output);
                continue;
            };
            let mut to = vec![Self::index(peer)];
            while let Some((peer, next)) = outputs.peek().and_then(sent)
                && std::ptr::eq(next.as_ptr(), frame.as_ptr())
            {
                to.push(Self::index(peer));
                outputs.next();
            }
            self.cast(node, &to, frame);
        }
        drop(outputs);
        self.out = out;
        for input in again {
            self.handle(node, input);
        }
    }

    /// Sends one frame to one node. It leaves when the processor has done its part and the link is
    /// free.
    pub(crate) fn transmit(&mut self, from: usize, to: usize, kind: FrameKind, load: Load) {
        if self.nodes[to].fate == Fate::Killed {
            return;
        }
        let (bytes, costs) = (load.bytes(), self.costs);
        let sender = &mut self.nodes[from];
        sender.spend(costs.sending(bytes));
        sender.sent += bytes as u64;
        sender.uplink = sender.uplink.max(sender.busy) + costs.wire(bytes);
        let pair = [from.min(to) as u64, from.max(to) as u64].map(u64::to_le_bytes).concat();
        let at = sender.uplink + costs.way(xxh3_64_with_seed(&pair, self.seed ^ 2));
        let (tally, time) = self.kinds.entry(kind).or_default();
        tally.add(bytes);
        *time += costs.sending(bytes) + costs.receiving(bytes);
        if !load.is_alive() {
            self.nodes[from].tally.add(bytes);
            self.under_way += 1;
        }
        self.plan(at, What::Arrive(to, load));
    }

    /// What the application learns.
    pub(crate) fn note(&mut self, node: usize, output: &Output) {
        let it = &mut self.nodes[node];
        match output {
            Output::Install(install) => {
                let before = it.view;
                it.view = install.view.number;
                it.rank = install.rank;
                it.members = install.view.members.len();
                // A new view is a new lane.
                (it.app.sent, it.app.stable) = (0, 0);
                let goal = &mut self.goal;
                if before < goal.view && it.view >= goal.view && goal.except != Some(node) {
                    goal.reached += 1;
                    goal.last = goal.last.max(it.busy);
                }
            }
            Output::Deliver(delivery) => {
                let count = u64::from(delivery.count);
                it.spend(self.costs.update * count);
                let (goal, missing, last) = &mut self.applied;
                if it.app.applied < *goal && it.app.applied + count >= *goal {
                    *missing -= 1;
                    *last = (*last).max(it.busy);
                }
                it.app.applied += count;
            }
            Output::Stable { cut, .. } => {
                let before = mem::replace(&mut it.app.stable, cut.count(it.rank));
                self.returned += it.app.stable - before;
            }
            Output::Credit { bytes, .. } => it.app.credit += bytes,
            _ => {}
        }
    }

    /// Counts from here on.
    pub(crate) fn count_anew(&mut self) {
        self.kinds.clear();
        self.submitted = 0;
        self.returned = 0;
        for node in &mut self.nodes {
            node.tally = Tally::default();
            node.worked = 0;
            node.sent = 0;
        }
    }

    /// What all have sent since then, without signs of life.
    pub(crate) fn sent(&self) -> Tally {
        let signs = [FrameKind::Heartbeat, FrameKind::Probe, FrameKind::Heard];
        let counted = self.kinds.iter().filter(|(kind, _)| !signs.contains(kind));
        counted.fold(Tally::default(), |all, (_, (tally, _))| Tally {
            frames: all.frames + tally.frames,
            bytes: all.bytes + tally.bytes,
        })
    }

    /// Waits until so many nodes, without one, are in a view; says when the last one got there.
    pub(crate) fn until_view(
        &mut self,
        view: u64,
        nodes: usize,
        except: Option<usize>,
    ) -> Result<Nanos, Stuck> {
        // Who is there already: a node goes on as soon as it can.
        let there = |(index, node): &(usize, &Node)| {
            node.fate == Fate::Up && node.view >= view && Some(*index) != except
        };
        let there = self.nodes.iter().enumerate().filter(there);
        let (mut reached, mut last) = (0, 0);
        for (_, node) in there {
            (reached, last) = (reached + 1, last.max(node.busy));
        }
        self.goal = Goal { view, except, reached, last };
        let what = format!("{nodes} nodes in view {view}");
        self.run(&what, |cluster| cluster.goal.reached >= nodes)?;
        Ok(self.goal.last)
    }

    /// Waits until each of the first nodes has applied so many updates; says when the last has.
    pub(crate) fn until_applied(&mut self, goal: u64, members: usize) -> Result<Nanos, Stuck> {
        let missing = self.nodes[..members].iter().filter(|node| node.app.applied < goal).count();
        self.applied = (goal, missing, self.now);
        self.run("updates applied at every member", |cluster| cluster.applied.1 == 0)?;
        Ok(self.applied.2)
    }
}

pub(crate) fn checkpoint(label: u64) -> Input {
    Input::Checkpoint { group: GROUP, label, bytes: Bytes::from_static(STATE), last: true }
}

/// A cast's targets as a tree that is passed along with the frame.
pub(crate) fn shared(targets: &[usize]) -> Rc<[u32]> {
    targets.iter().map(|&target| target as u32).collect()
}
