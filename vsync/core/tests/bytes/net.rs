//! Engines on a network of their own, and a run that sees every kind of message.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;
use vsync_core::engine::{
    Class, DropReason, Engine, EngineConfig, GroupConfig, Input, Level, Output, Outputs, Run,
};
use vsync_core::wire::{GroupId, NodeId};

use crate::corpus::kind;

pub(crate) const GROUP: GroupId = GroupId(7);

/// A node that is connected to all, and in no group.
pub(crate) const OUTSIDER: NodeId = NodeId(9);

/// A frame on its way.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    pub(crate) from: NodeId,
    pub(crate) to: NodeId,
    pub(crate) frame: Bytes,
}

/// What one node has seen.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    pub(crate) delivered: Vec<Bytes>,
    pub(crate) reasons: Vec<DropReason>,
    pub(crate) over: bool,
}

/// Engines on a network that delivers in order.
#[derive(Clone, Debug)]
pub(crate) struct Net {
    pub(crate) now: u64,
    pub(crate) nodes: BTreeMap<NodeId, Engine>,
    pub(crate) frames: VecDeque<Sent>,
    pub(crate) seen: BTreeMap<NodeId, Seen>,
    /// Links that lose everything.
    pub(crate) cut: BTreeSet<(NodeId, NodeId)>,
    pub(crate) causal: bool,
    /// What else the network loses.
    pub(crate) loses: Option<fn(&Sent) -> bool>,
}

/// Told of each frame that is about to be taken in.
pub(crate) type Watch<'a> = &'a mut dyn FnMut(&Net, &Sent);

impl Net {
    /// All leave, one after the other, down to none.
    fn dissolve(&mut self, watch: Watch<'_>) {
        for node in [2, 4, 1] {
            self.load(2, watch);
            self.input(NodeId(node), Input::Leave { group: GROUP });
            self.run(400_000, 1_000, watch);
        }
    }

    pub(crate) fn new(nodes: u64, causal: bool) -> Self {
        let ids = (1..=nodes).map(NodeId).chain([OUTSIDER]);
        let engine = |node| {
            let config = EngineConfig { chunk: 4096, ..EngineConfig::new(node) };
            (node, Engine::new(config))
        };
        let mut net = Net {
            now: 1_000,
            nodes: ids.map(engine).collect(),
            frames: VecDeque::new(),
            seen: BTreeMap::new(),
            cut: BTreeSet::new(),
            causal,
            loses: None,
        };
        net.heal();
        net
    }

    pub(crate) fn config(&self) -> GroupConfig {
        GroupConfig {
            generation: 1,
            schema: 1,
            causal: self.causal,
            meta: Bytes::from_static(b"somebody"),
            window: 1 << 14,
            join_buffer: 1 << 18,
        }
    }

    pub(crate) fn input(&mut self, node: NodeId, input: Input) {
        let mut out = Outputs::new();
        let Some(engine) = self.nodes.get_mut(&node) else {
            return;
        };
        engine.handle(self.now, input, &mut out);
        self.outputs(node, &mut out);
    }

    /// Does what an engine asks for.
    pub(crate) fn outputs(&mut self, node: NodeId, out: &mut Outputs) {
        let seen = self.seen.entry(node).or_default();
        let mut labels = Vec::new();
        for output in out.drain() {
            match output {
                Output::Send { peer, frame, .. } => {
                    self.frames.push_back(Sent { from: node, to: peer, frame });
                }
                Output::Deliver(delivery) => seen.delivered.push(delivery.body),
                Output::TakeCheckpoint { label, .. } => labels.push(label),
                Output::Dropped { reason, .. } => seen.reasons.push(reason),
                Output::Excluded { .. } | Output::Left { .. } => seen.over = true,
                _ => {}
            }
        }
        for label in labels {
            let bytes = Bytes::from(vec![9; 40_000]);
            self.input(node, Input::Checkpoint { group: GROUP, label, bytes, last: true });
        }
    }

    pub(crate) fn alive(&self) -> Vec<NodeId> {
        self.nodes.keys().copied().collect()
    }

    /// Connects everybody anew.
    pub(crate) fn heal(&mut self) {
        self.cut.clear();
        for a in self.alive() {
            for b in self.alive().into_iter().filter(|&b| b != a) {
                self.input(a, Input::Connected { peer: b });
            }
        }
    }

    /// Cuts a link in both directions.
    pub(crate) fn cut(&mut self, a: u64, b: u64) {
        let (a, b) = (NodeId(a), NodeId(b));
        self.cut.extend([(a, b), (b, a)]);
        self.input(a, Input::Disconnected { peer: b });
        self.input(b, Input::Disconnected { peer: a });
    }

    /// One node's process ends, and everybody hears of it.
    pub(crate) fn end(&mut self, node: u64) {
        let node = NodeId(node);
        self.nodes.remove(&node);
        for other in self.alive() {
            self.input(other, Input::Disconnected { peer: node });
            self.input(other, Input::Ended { peer: node });
        }
    }

    /// Lets everything run for a while, `step` at a time.
    pub(crate) fn run(&mut self, micros: u64, step: u64, watch: Watch<'_>) {
        let end = self.now + micros;
        while self.now < end {
            self.now += step;
            for node in self.alive() {
                if self.nodes[&node].deadline().is_some_and(|due| due <= self.now) {
                    self.input(node, Input::Tick);
                }
                self.input(node, Input::Close);
            }
            while let Some(sent) = self.frames.pop_front() {
                let lost = self.cut.contains(&(sent.from, sent.to))
                    || self.loses.is_some_and(|loses| loses(&sent));
                if !lost && self.nodes.contains_key(&sent.to) {
                    watch(self, &sent);
                    self.input(sent.to, Input::Frame { peer: sent.from, frame: sent.frame });
                }
            }
        }
    }

    pub(crate) fn submit(&mut self, node: NodeId, class: Class, level: Level, text: &str) {
        let mut body = Vec::new();
        for _ in 0..2 {
            body.extend_from_slice(&(text.len() as u32).to_le_bytes());
            body.extend_from_slice(text.as_bytes());
        }
        let runs = vec![Run { class, level, count: 2 }];
        let body = Bytes::from(body);
        let wall = self.now;
        self.input(node, Input::Submit { group: GROUP, runs, body, wall, urgent: true });
    }

    pub(crate) fn join(&mut self, node: u64, contact: u64, nonce: u64, generation: u32) {
        let config = GroupConfig { generation, ..self.config() };
        let contacts = vec![NodeId(contact)];
        self.input(NodeId(node), Input::Join { group: GROUP, contacts, nonce, config });
    }

    /// Each of the first nodes submits updates of every order.
    pub(crate) fn load(&mut self, rounds: usize, watch: Watch<'_>) {
        for round in 0..rounds {
            for node in self.members() {
                let class =
                    [Class::Fifo, Class::Causal, Class::Total][(round + node.0 as usize) % 3];
                let class =
                    if self.causal || class != Class::Causal { class } else { Class::Total };
                let level = [Level::Optimistic, Level::Stable][(round / 3) % 2];
                self.submit(node, class, level, &format!("{node:?}-{round}"));
            }
            self.run(1_000, 1_000, watch);
        }
    }

    /// The nodes that are active members.
    pub(crate) fn members(&self) -> Vec<NodeId> {
        let active = |&node: &NodeId| {
            let Some(status) = self.nodes[&node].status(GROUP) else { return false };
            let rank = status
                .view
                .zip(status.me)
                .and_then(|(view, me)| view.rank_of(me).map(|rank| view.is_active(rank)));
            rank == Some(true)
        };
        self.alive().into_iter().filter(active).collect()
    }

    /// Heals the network, and looks whether the group comes to rest and serves.
    pub(crate) fn serves(&mut self) -> Result<(), String> {
        self.frames.clear();
        self.heal();
        self.run(3_000_000, 10_000, &mut |_, _| {});
        let members = self.members();
        for &node in &members {
            self.submit(node, Class::Total, Level::Stable, &format!("after {node:?}"));
        }
        self.run(200_000, 5_000, &mut |_, _| {});
        for &node in &members {
            let Some(status) = self.nodes[&node].status(GROUP) else {
                return Err(format!("{node:?} is no member any more"));
            };
            if status.frozen || status.queued > 0 {
                return Err(format!("{node:?} stands still: {status:#?}"));
            }
            for other in &members {
                let text = format!("after {other:?}");
                let seen = &self.seen[&node].delivered;
                if !seen.iter().any(|body| body.ends_with(text.as_bytes())) {
                    return Err(format!("{node:?} has not delivered what {other:?} sent"));
                }
            }
        }
        Ok(())
    }
}

/// A group's whole life: joins, load, breaks, a crash, an exclusion, leaves.
pub(crate) fn story(causal: bool, watch: Watch<'_>) {
    let mut net = Net::new(4, causal);
    net.input(NodeId(1), Input::Create { group: GROUP, config: net.config() });
    net.join(2, 1, 1, 1);
    net.run(300_000, 1_000, watch);
    net.join(3, 2, 1, 1);
    net.load(12, watch);
    net.run(300_000, 1_000, watch);
    // Refusals: not a member, another generation.
    net.join(4, OUTSIDER.0, 1, 1);
    net.run(10_000, 1_000, watch);
    net.join(4, 2, 2, 2);
    net.run(10_000, 1_000, watch);
    net.load(6, watch);
    // A break loses a suffix, and what is here is told.
    net.cut(2, 3);
    net.load(3, watch);
    net.heal();
    net.load(6, watch);
    // A joiner, under load.
    net.join(4, 3, 3, 1);
    net.load(8, watch);
    net.run(600_000, 1_000, watch);
    // The coordinator is cut off in the middle of a load, excluded, and comes back.
    for node in [2, 3, 4] {
        net.cut(1, node);
    }
    net.load(4, watch);
    net.run(2_000_000, 5_000, watch);
    net.heal();
    net.run(500_000, 1_000, watch);
    net.join(1, 4, 7, 1);
    net.run(800_000, 1_000, watch);
    // Cut off again, and two views behind when it hears of the others.
    for node in [2, 3, 4] {
        net.cut(1, node);
    }
    net.run(1_500_000, 5_000, watch);
    net.input(NodeId(4), Input::Leave { group: GROUP });
    net.run(400_000, 1_000, watch);
    net.heal();
    net.run(500_000, 1_000, watch);
    // One more joins while the first still waits for its checkpoint.
    net.loses = Some(|sent| sent.to == NodeId(4) && kind(&sent.frame) == (3, 16));
    net.join(4, 2, 10, 1);
    net.run(20_000, 1_000, watch);
    net.join(1, 2, 9, 1);
    net.run(20_000, 1_000, watch);
    net.loses = None;
    net.run(800_000, 1_000, watch);
    // A sender dies whose last updates reached one member only.
    net.load(3, watch);
    for node in [1, 2] {
        net.cut(3, node);
    }
    net.submit(NodeId(3), Class::Total, Level::Optimistic, "last words");
    net.run(1_000, 1_000, watch);
    net.end(3);
    if causal {
        // One member hears of the proposal late: it has to fetch for a decision, not to accept.
        net.loses = Some(|sent| sent.to == NodeId(1) && kind(&sent.frame) == (3, 7));
        net.run(50_000, 1_000, watch);
        net.loses = None;
    }
    net.run(400_000, 1_000, watch);
    net.dissolve(watch);
}
