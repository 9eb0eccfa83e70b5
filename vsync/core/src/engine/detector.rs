//! The failure detector: one per node, shared by all groups. It only suspects.
//!
//! Heartbeats with a timeout that adapts to what the link shows. A silence is looked into first:
//! other nodes are asked whether they hear the silent one. A node that was itself paused suspects
//! nobody until it has caught up.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use super::EngineConfig;
use crate::bugs::{Bug, Bugs};
use crate::wire::{Micros, NodeId};

/// How many other nodes are asked about a silent one.
const PROBES: usize = 3;

#[derive(Clone, Debug)]
struct Peer {
    connected: bool,
    /// Its process is known to have ended: final.
    ended: bool,
    heard: Micros,
    /// Mean time between signs of life.
    gap: Micros,
    suspected: bool,
    /// Since when other nodes are asked about it.
    probing: Option<Micros>,
    /// Another node hears it, since then or longer this one does not.
    link_down: Option<Micros>,
}

/// What this node thinks of the others.
#[derive(Clone, Debug)]
pub(crate) struct Detector {
    peers: BTreeMap<NodeId, Peer>,
    silence: Micros,
    link_timeout: Micros,
    /// A gap between calls that can only be a pause of this node.
    pause: Micros,
    /// What of such a gap counts as silence all the same.
    heartbeat: Micros,
    last_turn: Micros,
    bugs: Bugs,
}

impl Detector {
    pub(crate) fn new(config: &EngineConfig) -> Self {
        Detector {
            peers: BTreeMap::new(),
            silence: config.silence,
            link_timeout: config.link_timeout,
            heartbeat: config.heartbeat,
            pause: (config.silence / 2).max(config.heartbeat * 2),
            last_turn: 0,
            bugs: config.bugs,
        }
    }

    fn peer(&mut self, node: NodeId, now: Micros) -> &mut Peer {
        self.peers.entry(node).or_insert(Peer {
            connected: false,
            ended: false,
            heard: now,
            gap: 0,
            suspected: false,
            probing: None,
            link_down: None,
        })
    }

    /// Every call of the engine comes by here: a long gap means that this node was paused, and
    /// knows nothing of the others' silence.
    pub(crate) fn turn(&mut self, now: Micros) -> bool {
        let gap = now.saturating_sub(self.last_turn);
        let paused = self.last_turn > 0 && gap > self.pause;
        self.last_turn = now;
        if paused {
            let gap = gap - self.heartbeat.min(gap);
            for peer in self.peers.values_mut() {
                // The gap is forgiven, but for one heartbeat, and not what was before it: a node
                // that stalls again and again would otherwise never find anybody silent.
                peer.heard = (peer.heard + gap).min(now);
                peer.probing = peer.probing.map(|since| (since + gap).min(now));
            }
        }
        paused
    }

    /// A frame came. Returns whether that ends a suspicion.
    pub(crate) fn heard(&mut self, node: NodeId, now: Micros) -> bool {
        let peer = self.peer(node, now);
        let gap = now.saturating_sub(peer.heard);
        peer.gap = (peer.gap * 7 + gap) / 8;
        peer.heard = now;
        peer.probing = None;
        peer.link_down = None;
        core::mem::take(&mut peer.suspected) && !peer.ended
    }

    /// A connection came up: its process runs. Returns whether that ends a suspicion.
    pub(crate) fn connected(&mut self, node: NodeId, now: Micros) -> bool {
        self.peer(node, now).connected = true;
        self.heard(node, now)
    }

    pub(crate) fn disconnected(&mut self, node: NodeId, now: Micros) {
        self.peer(node, now).connected = false;
    }

    /// Returns whether that is news.
    pub(crate) fn ended(&mut self, node: NodeId, now: Micros) -> bool {
        let peer = self.peer(node, now);
        peer.connected = false;
        let news = !peer.ended && !peer.suspected;
        peer.ended = true;
        news
    }

    /// Whether this node thinks that `node` is gone. An opinion, which may change.
    pub(crate) fn suspects(&self, node: NodeId) -> bool {
        self.peers.get(&node).is_some_and(|peer| peer.ended || peer.suspected)
    }

    /// Whether a connection to `node` is up, as far as is known.
    pub(crate) fn is_connected(&self, node: NodeId) -> bool {
        self.peers.get(&node).is_some_and(|peer| peer.connected && !peer.ended)
    }

    /// All nodes to which a connection is up.
    pub(crate) fn connections(&self) -> impl Iterator<Item = NodeId> {
        self.peers.iter().filter(|(_, peer)| peer.connected).map(|(&node, _)| node)
    }

    /// Whether the process of `node` is known to have ended: a fact.
    pub(crate) fn has_ended(&self, node: NodeId) -> bool {
        self.peers.get(&node).is_some_and(|peer| peer.ended)
    }

    /// Whether the link to `node` has been gone for long although others reach it.
    pub(crate) fn link_lost(&self, node: NodeId, now: Micros) -> bool {
        self.peers.get(&node).is_some_and(|peer| {
            !peer.ended
                && peer.link_down.is_some_and(|since| now.saturating_sub(since) > self.link_timeout)
        })
    }

    /// Whether `node` was heard lately: the answer to a probe.
    pub(crate) fn lately(&self, node: NodeId, now: Micros) -> bool {
        self.peers.get(&node).is_some_and(|peer| {
            !peer.ended && peer.connected && now.saturating_sub(peer.heard) < self.silence
        })
    }

    /// Another node hears `node`: the link is down, not the node. Returns whether that ends a
    /// suspicion.
    pub(crate) fn vouched(&mut self, node: NodeId, now: Micros) -> bool {
        let silence = self.silence;
        let Some(peer) = self.peers.get_mut(&node) else {
            // Whoever was asked about is known.
            return false;
        };
        if now.saturating_sub(peer.heard) < silence || peer.ended {
            return false;
        }
        peer.link_down.get_or_insert(now);
        peer.probing = Some(now);
        core::mem::take(&mut peer.suspected)
    }

    /// Looks at the nodes that matter, which come in ascending order. Returns whom to ask about
    /// whom, and whether the suspicions have changed.
    pub(crate) fn tick(
        &mut self,
        watched: &[NodeId],
        now: Micros,
    ) -> (Vec<(NodeId, NodeId)>, bool) {
        let mut probes = Vec::new();
        let mut changed = false;
        for &node in watched {
            let base = self.silence;
            let peer = self.peer(node, now);
            let timeout = base.max(peer.gap * 6).min(base * 8);
            if peer.ended || peer.suspected && peer.link_down.is_none() {
                continue;
            }
            if now.saturating_sub(peer.heard) <= timeout {
                continue;
            }
            match peer.probing {
                Some(since) if now.saturating_sub(since) > base / 2 => {
                    // Nobody vouched for it in time, or not again.
                    changed |= !peer.suspected;
                    peer.suspected = true;
                    peer.link_down = None;
                    continue;
                }
                Some(_) => {}
                None => peer.probing = Some(now),
            }
            let asked = self.witnesses(node, now);
            if asked.is_empty() {
                let peer = self.peer(node, now);
                changed |= !peer.suspected;
                peer.suspected = true;
            }
            probes.extend(asked.into_iter().map(|witness| (witness, node)));
        }
        let watches = |node: &NodeId| watched.binary_search(node).is_ok();
        let grudge = self.bugs.has(Bug::NeverForgive);
        for (_, peer) in self.peers.iter_mut().filter(|(node, _)| !watches(node) && !grudge) {
            // Nobody looks at it any more: an old suspicion would keep out who asks, through
            // others, to come in again (seed 2070066, fifty members).
            changed |= core::mem::take(&mut peer.suspected) && !peer.ended;
            (peer.probing, peer.link_down) = (None, None);
        }
        self.peers.retain(|node, peer| peer.connected || peer.ended || watches(node));
        (probes, changed)
    }

    fn witnesses(&self, about: NodeId, now: Micros) -> Vec<NodeId> {
        let fit = |(&node, peer): (&NodeId, &Peer)| {
            let fresh = now.saturating_sub(peer.heard) < self.silence;
            (node != about && peer.connected && !peer.ended && fresh).then_some(node)
        };
        self.peers.iter().filter_map(fit).take(PROBES).collect()
    }
}
