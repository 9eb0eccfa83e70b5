//! Engines on a network without faults, and what tests do with them.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use vsync_core::engine::{
    Class, Delivery, Engine, EngineConfig, GroupConfig, Input, Install, Level, Output, Outputs, Run,
};
use vsync_core::wire::{GroupId, NodeId};

pub(crate) const GROUP: GroupId = GroupId(7);

/// Engines on a network that delivers everything at once and in order.
pub(crate) struct Net {
    pub(crate) now: u64,
    pub(crate) nodes: BTreeMap<NodeId, Engine>,
    pub(crate) frames: VecDeque<(NodeId, NodeId, Bytes)>,
    /// Nothing that the first sends reaches the second.
    pub(crate) cut: Option<(u64, u64)>,
    pub(crate) delivered: BTreeMap<NodeId, Vec<Delivery>>,
    pub(crate) installs: BTreeMap<NodeId, Vec<Install>>,
    pub(crate) others: BTreeMap<NodeId, Vec<Output>>,
    /// Frames by sender and addressee.
    pub(crate) sent: BTreeMap<(u64, u64), usize>,
    /// Bytes of the group's checkpoints.
    pub(crate) checkpoint: usize,
    /// Whether joiners take no more than the first piece.
    pub(crate) holds: bool,
}

pub(crate) fn config() -> GroupConfig {
    GroupConfig {
        generation: 1,
        schema: 1,
        causal: true,
        meta: Bytes::new(),
        window: 1 << 16,
        join_buffer: 1 << 20,
    }
}

pub(crate) fn update(text: &str) -> Bytes {
    let mut body = (text.len() as u32).to_le_bytes().to_vec();
    body.extend_from_slice(text.as_bytes());
    Bytes::from(body)
}

impl Net {
    pub(crate) fn new(nodes: u64) -> Self {
        let ids: Vec<NodeId> = (1..=nodes).map(NodeId).collect();
        let engines = ids.iter().map(|&id| (id, Engine::new(EngineConfig::new(id))));
        let mut net = Net {
            now: 1_000,
            nodes: engines.collect(),
            frames: VecDeque::new(),
            cut: None,
            delivered: BTreeMap::new(),
            installs: BTreeMap::new(),
            others: BTreeMap::new(),
            sent: BTreeMap::new(),
            checkpoint: 600_000,
            holds: false,
        };
        for &a in &ids {
            for &b in ids.iter().filter(|&&b| b != a) {
                net.input(a, Input::Connected { peer: b });
            }
        }
        net
    }

    pub(crate) fn input(&mut self, node: NodeId, input: Input) {
        let mut out = Outputs::new();
        let Some(engine) = self.nodes.get_mut(&node) else {
            return;
        };
        engine.handle(self.now, input, &mut out);
        for output in out.drain() {
            match output {
                Output::Send { peer, frame, .. } => {
                    *self.sent.entry((node.0, peer.0)).or_default() += 1;
                    self.frames.push_back((node, peer, frame));
                }
                Output::Deliver(delivery) => {
                    self.delivered.entry(node).or_default().push(delivery);
                }
                Output::Install(install) => self.installs.entry(node).or_default().push(install),
                Output::TakeCheckpoint { group, label, .. } => {
                    let size = if group == GROUP { self.checkpoint } else { 60 };
                    let bytes = Bytes::from(vec![9; size]);
                    self.input(node, Input::Checkpoint { group, label, bytes, last: true });
                }
                other => {
                    if let Output::Load { group, offset: 0, .. } = other
                        && self.holds
                    {
                        self.input(node, Input::HoldTransfer { group, on: true });
                    }
                    self.others.entry(node).or_default().push(other);
                }
            }
        }
    }

    /// Bytes of checkpoints that have come to a node.
    pub(crate) fn loaded(&self, node: u64) -> usize {
        let pieces = self.others.get(&NodeId(node)).into_iter().flatten();
        let sizes = pieces.map(|output| match output {
            Output::Load { bytes, .. } => bytes.len(),
            _ => 0,
        });
        sizes.sum()
    }

    /// Lets everything run for a while.
    pub(crate) fn run(&mut self, micros: u64) {
        let end = self.now + micros;
        while self.now < end {
            self.now += 1_000;
            for node in self.nodes.keys().copied().collect::<Vec<_>>() {
                if self.nodes[&node].deadline().is_some_and(|due| due <= self.now) {
                    self.input(node, Input::Tick);
                }
                self.input(node, Input::Close);
            }
            while let Some((from, to, frame)) = self.frames.pop_front() {
                if self.cut != Some((from.0, to.0)) {
                    self.input(to, Input::Frame { peer: from, frame });
                }
            }
        }
    }

    pub(crate) fn submit(&mut self, node: u64, class: Class, text: &str) {
        let run = Run { class, level: Level::Optimistic, count: 1 };
        let body = update(text);
        let input = Input::Submit { group: GROUP, runs: vec![run], body, wall: 5, urgent: true };
        self.input(NodeId(node), input);
    }

    pub(crate) fn texts(&self, node: u64) -> Vec<(u64, usize, u64, Bytes)> {
        let list = self.delivered.get(&NodeId(node)).cloned().unwrap_or_default();
        list.into_iter().map(|d| (d.view, d.rank, d.seq, d.body)).collect()
    }

    pub(crate) fn form(nodes: u64) -> Self {
        let mut net = Net::new(nodes);
        net.input(NodeId(1), Input::Create { group: GROUP, config: config() });
        for node in 2..=nodes {
            let contacts = vec![NodeId(1)];
            net.input(
                NodeId(node),
                Input::Join { group: GROUP, contacts, nonce: 1, config: config() },
            );
            net.run(400_000);
        }
        net
    }

    pub(crate) fn active(&self, node: u64) -> usize {
        self.active_in(node, GROUP)
    }

    pub(crate) fn active_in(&self, node: u64, group: GroupId) -> usize {
        let status = self.nodes[&NodeId(node)].status(group);
        status.and_then(|status| status.view).map_or(0, |view| view.active)
    }
}
