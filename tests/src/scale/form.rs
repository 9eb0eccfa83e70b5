//! How a group comes to be, before anything is measured.

use std::collections::VecDeque;

use bytes::Bytes;
use vsync_core::engine::{GroupConfig, Input, Output};
use vsync_core::wire::NodeId;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::cluster::{Cluster, GROUP, START, checkpoint};
use super::costs::Nanos;
use super::node::sent;

/// What a node says of itself on joining: about as much as a name and an address.
pub(crate) const META: usize = 40;

impl Cluster {
    /// Names of nodes are random numbers, as long on the wire as real ones.
    pub(crate) fn name(&self, index: usize) -> u64 {
        let dice = xxh3_64_with_seed(&(index as u64).to_le_bytes(), self.seed);
        (index as u64 + 1) << 48 | dice >> 16
    }

    pub(crate) fn index(name: u64) -> usize {
        (name >> 48) as usize - 1
    }

    pub(crate) fn config(window: usize) -> GroupConfig {
        GroupConfig {
            generation: 1,
            schema: 7,
            causal: false,
            meta: Bytes::from_static(&[b'm'; META]),
            window,
            join_buffer: 1 << 26,
        }
    }

    /// Forms a group of the first `members` nodes: each step doubles it. This takes no time and
    /// costs nothing; what is measured begins afterwards.
    pub(crate) fn form(&mut self, members: usize, window: usize, heartbeat: Nanos) {
        let mut queue = VecDeque::new();
        let config = Self::config(window);
        queue.push_back((0, Input::Create { group: GROUP, config }));
        let mut size = 0;
        while size < members {
            while let Some((node, input)) = queue.pop_front() {
                self.nodes[node].engine.handle(START / 1_000, input, &mut self.out);
                let outputs: Vec<Output> = self.out.drain().collect();
                for output in outputs {
                    if let Some((peer, frame)) = sent(&output) {
                        let peer = Self::index(peer);
                        let from = NodeId(self.name(node));
                        let input = Input::Frame { peer: from, frame: frame.clone() };
                        queue.push_back((peer, input));
                    } else if let Output::TakeCheckpoint { label, .. } = output {
                        queue.push_back((node, checkpoint(label)));
                    } else {
                        self.note(node, &output);
                    }
                }
            }
            let before = std::mem::replace(&mut size, self.nodes[0].members);
            assert!(size > before, "every step lets members in");
            for joiner in size..members.min(2 * size) {
                let input = self.join_input(0, Self::config(window));
                queue.push_back((joiner, input));
            }
        }
        let phase = |index: usize| {
            let dice = xxh3_64_with_seed(&(index as u64).to_be_bytes(), self.seed ^ 1);
            START + heartbeat + dice % heartbeat
        };
        let phases: Vec<Nanos> = (0..self.nodes.len()).map(phase).collect();
        for (index, phase) in phases.into_iter().enumerate() {
            self.nodes[index].not_before = phase;
            self.nodes[index].busy = START;
            self.plan_due(index);
        }
    }

    pub(crate) fn join_input(&mut self, contact: usize, config: GroupConfig) -> Input {
        self.nonce += 1;
        let contacts = vec![NodeId(self.name(contact))];
        Input::Join { group: GROUP, contacts, nonce: self.nonce, config }
    }
}
