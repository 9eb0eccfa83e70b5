//! The failure detector: one per node, shared by all groups. It only suspects.
//!
//! Heartbeats with a timeout that adapts to what the link shows. A silence is looked into before it
//! is as long as that: other nodes are asked whether they hear the silent one, so that who has
//! vanished is suspected when the timeout is over, and not when it is over and then asked about. A
//! node that was itself paused suspects nobody until it has caught up.

#[cfg(test)]
mod tests;

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use super::EngineConfig;
use crate::bugs::{Bug, Bugs};
use crate::wire::{Micros, NodeId};

/// How many other nodes are asked about a silent one.
const PROBES: usize = 3;

#[derive(Clone, Debug)]
struct Peer {
    connected: bool,
    /// It matters: it is a member where this node is one, or asks to be.
    watched: bool,
    /// Its process is known to have ended: final.
    ended: bool,
    /// When it was last heard, or heard to have ended: what this node tells others.
    heard: Micros,
    /// From when on its silence counts: not while this node was paused, or had no interest in it.
    since: Micros,
    /// Mean time between signs of life.
    gap: Micros,
    suspected: bool,
    /// Other nodes are asked about it. Until then it is not suspected: an answer may be under way,
    /// or one said that it hears it.
    spared: Option<Micros>,
    /// Another node hears it and this one does not: when that was first said, and when last.
    link_down: Option<(Micros, Micros)>,
}

impl Peer {
    /// How long it may be silent: the longer the rarer it gives a sign of life. Heartbeats alone
    /// come five times in a silence, and some come late: that is as it should be.
    fn timeout(&self, silence: Micros) -> Micros {
        let rare = self.gap.saturating_sub(silence / 4);
        silence.saturating_add(rare.saturating_mul(6)).min(silence.saturating_mul(8))
    }

    /// When it will be suspected, if nobody says until then that it hears it.
    fn verdict(&self, silence: Micros) -> Option<Micros> {
        let over = self.since.saturating_add(self.timeout(silence));
        Some(over.max(self.spared?).saturating_add(1))
    }

    /// How long it has been silent, as far as that counts.
    fn silent(&self, now: Micros) -> Micros {
        now.saturating_sub(self.since)
    }

    fn is_there(&self) -> bool {
        self.connected && !self.ended
    }
}

/// The silence after which others are asked: so early that whoever saw a node's last sign of life,
/// too, no longer vouches for it half a timeout before the end.
fn doubt(timeout: Micros) -> Micros {
    timeout / 5 * 2
}

/// How long the first answer is waited for. They are asked with a heartbeat, up to a fifth of the
/// silence after the doubt: then it is over with the silence.
fn patience(silence: Micros) -> Micros {
    silence / 5 * 2
}

/// How long the word of one that hears a node is good.
fn word(silence: Micros) -> Micros {
    silence / 2
}

/// What this node thinks of the others.
#[derive(Clone, Debug)]
pub(crate) struct Detector {
    peers: BTreeMap<NodeId, Peer>,
    silence: Micros,
    link_timeout: Micros,
    /// When a suspicion last ended.
    forgiven: Option<Micros>,
    /// When to look at those who are asked about, if not before.
    look: Option<Micros>,
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
            forgiven: None,
            look: None,
            pause: (config.silence / 2).max(config.heartbeat.saturating_mul(2)),
            last_turn: 0,
            bugs: config.bugs,
        }
    }

    fn peer(&mut self, node: NodeId, now: Micros) -> &mut Peer {
        self.peers.entry(node).or_insert(Peer {
            connected: false,
            watched: false,
            ended: false,
            heard: now,
            since: now,
            gap: 0,
            suspected: false,
            spared: None,
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
                peer.since = (peer.since + gap).min(now);
                peer.spared = peer.spared.map(|until| until.saturating_add(gap));
                let later = |at: Micros| (at + gap).min(now);
                peer.link_down = peer.link_down.map(|(first, last)| (later(first), later(last)));
            }
        }
        paused
    }

    /// A frame came. Returns whether that ends a suspicion.
    pub(crate) fn heard(&mut self, node: NodeId, now: Micros) -> bool {
        // One long silence says little of the next: what it adds is bounded.
        let most = self.silence.saturating_add(self.silence / 2);
        let peer = self.peer(node, now);
        let gap = peer.silent(now).min(most);
        peer.gap = peer.gap.saturating_mul(7).saturating_add(gap) / 8;
        (peer.heard, peer.since) = (now, now);
        peer.spared = None;
        peer.link_down = None;
        let back = core::mem::take(&mut peer.suspected) && !peer.ended;
        if back {
            self.forgiven = Some(now);
        }
        back
    }

    /// Whether a suspicion ended less than `time` ago: what cut this node off from one may have cut
    /// it off from others, who will be heard next.
    pub(crate) fn forgave_within(&self, time: Micros, now: Micros) -> bool {
        self.forgiven.is_some_and(|at| now < at.saturating_add(time))
    }

    /// A connection came up: its process runs. Returns whether that ends a suspicion.
    pub(crate) fn connected(&mut self, node: NodeId, now: Micros) -> bool {
        self.peer(node, now).connected = true;
        self.heard(node, now)
    }

    pub(crate) fn disconnected(&mut self, node: NodeId, now: Micros) {
        self.peer(node, now).connected = false;
        self.forget(now);
    }

    /// Returns whether that is news.
    pub(crate) fn ended(&mut self, node: NodeId, now: Micros) -> bool {
        let peer = self.peer(node, now);
        peer.connected = false;
        let news = !peer.ended && !peer.suspected;
        (peer.ended, peer.heard) = (true, now);
        self.forget(now);
        news
    }

    /// Forgets who is of no interest. Whose process has ended is remembered for as long as any may
    /// be silent: who has not heard of it yet may still name it. Not for ever: others come and go
    /// as long as this node runs, and each of them is another one.
    fn forget(&mut self, now: Micros) {
        let most = self.silence.saturating_mul(8);
        self.peers.retain(|_, peer| {
            peer.connected || peer.watched || peer.ended && now.saturating_sub(peer.heard) <= most
        });
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

    /// Whether the link to `node` has been gone for long although others reach it: they have said
    /// so for as long. What came after the last of them said so proves nothing.
    pub(crate) fn link_lost(&self, node: NodeId) -> bool {
        self.peers.get(&node).filter(|peer| !peer.ended).is_some_and(|peer| {
            peer.link_down
                .is_some_and(|(first, last)| last > first.saturating_add(self.link_timeout))
        })
    }

    /// Whether `node` was heard lately: the answer to a probe. The time of a pause counts here:
    /// what became of others meanwhile this node does not know.
    pub(crate) fn lately(&self, node: NodeId, now: Micros) -> bool {
        let lately = |peer: &Peer| now.saturating_sub(peer.heard) < word(self.silence);
        self.peers.get(&node).is_some_and(|peer| peer.is_there() && lately(peer))
    }

    /// Another node hears `node`: the link is down, not the node. Returns whether that ends a
    /// suspicion.
    pub(crate) fn vouched(&mut self, node: NodeId, now: Micros) -> bool {
        let base = self.silence;
        let asked = |peer: &&mut Peer| peer.spared.is_some() && !peer.ended;
        let Some(peer) = self.peers.get_mut(&node).filter(asked) else {
            // It was heard meanwhile, or matters no more: this word is about what is over.
            return false;
        };
        if peer.silent(now) > peer.timeout(base) {
            // Before, it may as well have vanished, and the witness not have missed it yet.
            let (first, _) = peer.link_down.unwrap_or((now, now));
            peer.link_down = Some((first, now));
        }
        peer.spared = Some(now.saturating_add(word(base)));
        core::mem::take(&mut peer.suspected)
    }

    /// Looks at the nodes that matter, which come in ascending order. Returns about whom to ask
    /// others, and whether the suspicions have changed.
    pub(crate) fn look(&mut self, watched: &[NodeId], now: Micros) -> (Vec<NodeId>, bool) {
        let mut silent = Vec::new();
        let mut changed = self.overdue(now);
        let base = self.silence;
        for &node in watched {
            let peer = self.peer(node, now);
            if !core::mem::replace(&mut peer.watched, true) {
                // It had no reason to give a sign of life: of its silence counts what is no doubt.
                (peer.since, peer.gap) = (peer.since.max(now.saturating_sub(doubt(base))), 0);
            }
            let settled = peer.ended || peer.suspected;
            if settled || peer.silent(now) <= doubt(peer.timeout(base)) {
                continue;
            }
            peer.spared.get_or_insert(now.saturating_add(patience(base)));
            silent.push(node);
        }
        let watches = |node: &NodeId| watched.binary_search(node).is_ok();
        let grudge = self.bugs.has(Bug::NeverForgive);
        for (_, peer) in self.peers.iter_mut().filter(|(node, _)| !watches(node) && !grudge) {
            // Nobody looks at it any more: an old suspicion would keep out who asks, through
            // others, to come in again (seed 2070066, fifty members).
            changed |= core::mem::take(&mut peer.suspected) && !peer.ended;
            (peer.spared, peer.link_down) = (None, None);
            peer.watched = false;
        }
        self.forget(now);
        self.look_again();
        (silent, changed)
    }

    /// When somebody who is asked about may have been silent for too long.
    pub(crate) fn due(&self) -> Option<Micros> {
        self.look
    }

    /// Suspects who has been silent for too long, and whom nobody vouched for in time, or not
    /// again. Returns whether that is news.
    pub(crate) fn overdue(&mut self, now: Micros) -> bool {
        if self.look.is_none_or(|look| look > now) {
            return false;
        }
        let mut changed = false;
        for peer in self.peers.values_mut().filter(|peer| !peer.ended && !peer.suspected) {
            if peer.verdict(self.silence).is_some_and(|due| due <= now) {
                (peer.suspected, peer.link_down) = (true, None);
                changed = true;
            }
        }
        self.look_again();
        changed
    }

    /// A sign of life only puts it off, which is seen when it is due: nothing else need tell.
    fn look_again(&mut self) {
        let open = self.peers.values().filter(|peer| !peer.ended && !peer.suspected);
        self.look = open.filter_map(|peer| peer.verdict(self.silence)).min();
    }

    /// Whom to ask about a silent node: those who ought to hear it, as they are members where it is
    /// one, before others, who may hear it all the same.
    pub(crate) fn witnesses(
        &self,
        about: NodeId,
        circle: &BTreeSet<NodeId>,
        now: Micros,
    ) -> Vec<NodeId> {
        let fit = |(&node, peer): (&NodeId, &Peer)| {
            let hears = peer.is_there() && peer.silent(now) < word(self.silence);
            (node != about && hears).then_some(node)
        };
        let (near, far): (Vec<_>, Vec<_>) =
            self.peers.iter().filter_map(fit).partition(|node| circle.contains(node));
        near.into_iter().chain(far).take(PROBES).collect()
    }
}
