//! The failure detector: one per node, shared by all groups. It only suspects.
//!
//! Heartbeats with a timeout that adapts to what the link shows. A silence is looked into before it
//! is as long as that: other nodes are asked whether they hear the silent one, so that who has
//! vanished is suspected when the timeout is over, and not when it is over and then asked about. A
//! node that was itself paused suspects nobody until it has caught up.

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
    /// Since when other nodes are asked about it, or when one last said that it hears it.
    probing: Option<Micros>,
    /// Another node hears it, since then or longer this one does not.
    link_down: Option<Micros>,
}

impl Peer {
    /// How long it may be silent: the longer the rarer it gives a sign of life.
    fn timeout(&self, silence: Micros) -> Micros {
        silence.max(self.gap * 6).min(silence * 8)
    }

    /// When it will be suspected, if nobody hears it until then; a witness's word is good for half
    /// of a timeout.
    fn verdict(&self, silence: Micros) -> Option<Micros> {
        let asked = self.probing?;
        Some((self.heard + self.timeout(silence)).max(asked + silence / 2) + 1)
    }

    fn is_fresh(&self, within: Micros, now: Micros) -> bool {
        self.connected && !self.ended && now.saturating_sub(self.heard) < within
    }
}

/// The silence after which others are asked: so early that whoever saw a node's last sign of life,
/// too, no longer vouches for it half a timeout before the end.
fn doubt(timeout: Micros) -> Micros {
    timeout * 2 / 5
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
                peer.link_down = peer.link_down.map(|since| (since + gap).min(now));
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
        let back = core::mem::take(&mut peer.suspected) && !peer.ended;
        if back {
            self.forgiven = Some(now);
        }
        back
    }

    /// Whether a suspicion ended less than `time` ago: what cut this node off from one may have cut
    /// it off from others, who will be heard next.
    pub(crate) fn forgave_within(&self, time: Micros, now: Micros) -> bool {
        self.forgiven.is_some_and(|at| now < at + time)
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

    /// Whether the link to `node` has been gone for long although others reach it: they have said
    /// so for as long. What came after the last of them said so proves nothing.
    pub(crate) fn link_lost(&self, node: NodeId) -> bool {
        self.peers.get(&node).filter(|peer| !peer.ended).is_some_and(|peer| {
            let (first, last) = (peer.link_down, peer.probing);
            first.zip(last).is_some_and(|(first, last)| last > first + self.link_timeout)
        })
    }

    /// Whether `node` was heard lately: the answer to a probe.
    pub(crate) fn lately(&self, node: NodeId, now: Micros) -> bool {
        self.peers.get(&node).is_some_and(|peer| peer.is_fresh(self.silence / 2, now))
    }

    /// Another node hears `node`: the link is down, not the node. Returns whether that ends a
    /// suspicion.
    pub(crate) fn vouched(&mut self, node: NodeId, now: Micros) -> bool {
        let base = self.silence;
        let Some(peer) = self.peers.get_mut(&node) else {
            // Whoever was asked about is known.
            return false;
        };
        let silent = now.saturating_sub(peer.heard);
        if silent < doubt(base) || peer.ended {
            return false;
        }
        if silent > peer.timeout(base) {
            // Before, it may as well have vanished, and the witness not have missed it yet.
            peer.link_down.get_or_insert(now);
        }
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
        let mut changed = self.overdue(now);
        let base = self.silence;
        for &node in watched {
            let peer = self.peer(node, now);
            let settled = peer.ended || peer.suspected;
            if settled || now.saturating_sub(peer.heard) <= doubt(peer.timeout(base)) {
                continue;
            }
            peer.probing.get_or_insert(now);
            probes.extend(self.witnesses(node, now).into_iter().map(|witness| (witness, node)));
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
        self.look_again();
        (probes, changed)
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

    fn witnesses(&self, about: NodeId, now: Micros) -> Vec<NodeId> {
        let fit = |(&node, peer): (&NodeId, &Peer)| {
            (node != about && peer.is_fresh(self.silence / 2, now)).then_some(node)
        };
        self.peers.iter().filter_map(fit).take(PROBES).collect()
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::Detector;
    use crate::engine::EngineConfig;
    use crate::wire::{Micros, NodeId};

    const BEAT: Micros = 100_000;
    const SILENCE: Micros = 500_000;
    const ALL: [NodeId; 2] = [NodeId(2), NodeId(3)];

    /// Node 1, which has just heard nodes 2 and 3.
    fn detector() -> Detector {
        let config = EngineConfig::new(NodeId(1));
        assert_eq!((config.heartbeat, config.silence), (BEAT, SILENCE));
        let mut detector = Detector::new(&config);
        detector.turn(1);
        ALL.into_iter().for_each(|node| _ = detector.connected(node, 1));
        detector
    }

    /// Heartbeats until `until`, of which node 3 sends all and node 2 none; a vouch for it comes
    /// at each time in `vouches`. Returns when others were first asked, and when it was suspected.
    fn silent(until: Micros, vouches: &[Micros]) -> (Option<Micros>, Option<Micros>) {
        let (mut detector, mut now) = (detector(), 1);
        let (mut asked, mut suspected) = (None, None);
        while now < until {
            let beat = now - now % BEAT + BEAT;
            let vouch = vouches.iter().copied().find(|&at| at > now).unwrap_or(Micros::MAX);
            now = beat.min(vouch).min(detector.due().unwrap_or(Micros::MAX));
            detector.turn(now);
            if now == vouch {
                detector.vouched(NodeId(2), now);
            }
            if now == beat {
                detector.heard(NodeId(3), now);
                let (probes, _) = detector.tick(&ALL, now);
                assert!(probes.iter().all(|&probe| probe == (NodeId(3), NodeId(2))), "{probes:?}");
                asked = asked.or((!probes.is_empty()).then_some(now));
            } else {
                detector.overdue(now);
            }
            assert!(!detector.suspects(NodeId(3)));
            suspected = suspected.or(detector.suspects(NodeId(2)).then_some(now));
        }
        (asked, suspected)
    }

    #[test]
    fn the_silent_are_asked_about_before_their_time_is_over_and_suspected_then() {
        let (asked, suspected) = silent(1_000_000, &[]);
        assert_eq!(asked, Some(3 * BEAT));
        // Half a timeout after the question, not at a heartbeat after that.
        assert_eq!(suspected, Some(3 * BEAT + SILENCE / 2 + 1));
    }

    #[test]
    fn who_is_vouched_for_is_suspected_half_a_timeout_later() {
        // A witness that heard it when this node did says so until half a timeout after that.
        assert_eq!(silent(1_000_000, &[240_000]).1, Some(1 + SILENCE + 1));
        assert_eq!(silent(1_000_000, &[320_000]).1, Some(320_000 + SILENCE / 2 + 1));
        let often: Vec<Micros> = (1..30).map(|beat| beat * BEAT + 2_000).collect();
        assert_eq!(silent(3_000_000, &often).1, None);
    }

    #[test]
    fn only_who_is_heard_by_others_beyond_its_time_has_lost_its_link() {
        let mut detector = detector();
        detector.link_timeout = BEAT;
        let vouch = |detector: &mut Detector, now| {
            detector.turn(now);
            detector.heard(NodeId(3), now);
            detector.tick(&ALL, now);
            detector.vouched(NodeId(2), now);
        };
        for beat in 1..=5 {
            vouch(&mut detector, beat * BEAT);
            assert!(!detector.link_lost(NodeId(2)), "{beat}: it may have vanished");
        }
        for beat in 6..=7 {
            vouch(&mut detector, beat * BEAT);
            assert!(!detector.link_lost(NodeId(2)), "{beat}: not for long");
        }
        vouch(&mut detector, 8 * BEAT);
        assert!(detector.link_lost(NodeId(2)) && !detector.suspects(NodeId(2)));
    }

    #[test]
    fn the_word_of_the_last_witness_counts_as_long_as_any() {
        let mut detector = detector();
        for beat in 1..=7 {
            detector.turn(beat * BEAT);
            detector.heard(NodeId(3), beat * BEAT);
            detector.tick(&ALL, beat * BEAT);
            detector.vouched(NodeId(2), beat * BEAT);
        }
        assert!(detector.ended(NodeId(3), 7 * BEAT));
        for beat in 8..=9 {
            detector.turn(beat * BEAT);
            assert_eq!(detector.tick(&ALL, beat * BEAT), (Vec::new(), false), "{beat}");
        }
        let over = 7 * BEAT + SILENCE / 2 + 1;
        assert_eq!(detector.due(), Some(over));
        detector.turn(over);
        assert!(detector.overdue(over) && detector.suspects(NodeId(2)));
        // It is missed, and not its link: nobody says any more that it is there.
        assert_eq!(detector.due(), None);
        assert!(!detector.link_lost(NodeId(2)));
    }

    #[test]
    fn neither_one_word_nor_a_pause_makes_a_link_lost() {
        let mut detector = detector();
        detector.link_timeout = SILENCE;
        (1..=6).for_each(|beat| _ = (detector.turn(beat * BEAT), detector.tick(&ALL, beat * BEAT)));
        detector.vouched(NodeId(2), 6 * BEAT);
        detector.turn(8 * BEAT);
        assert!(!detector.link_lost(NodeId(2)), "nobody has said so since");
        let after = 100 * BEAT;
        assert!(detector.turn(after), "this node was paused");
        detector.vouched(NodeId(2), after);
        assert!(!detector.link_lost(NodeId(2)), "what was said before and after is no long time");
        detector.turn(after + 2 * BEAT);
        detector.turn(after + 4 * BEAT);
        detector.vouched(NodeId(2), after + 4 * BEAT);
        assert!(detector.link_lost(NodeId(2)), "it goes on being said");
    }

    #[test]
    fn a_witness_does_not_vouch_for_whom_it_last_heard_when_all_did() {
        let detector = detector();
        assert!(detector.lately(NodeId(2), SILENCE / 2));
        assert!(!detector.lately(NodeId(2), SILENCE / 2 + 1));
    }

    #[test]
    fn without_witnesses_the_silent_are_suspected_when_their_time_is_over() {
        let (mut detector, watched) = (detector(), &[NodeId(2)]);
        detector.peers.remove(&NodeId(3));
        for beat in 1..=5 {
            detector.turn(beat * BEAT);
            assert_eq!(detector.tick(watched, beat * BEAT), (Vec::new(), false), "{beat}");
        }
        detector.turn(5 * BEAT + 50_001);
        assert!(detector.overdue(5 * BEAT + 50_001) && detector.suspects(NodeId(2)));
    }

    #[test]
    fn the_end_of_a_suspicion_is_remembered_for_those_who_come_next() {
        let (mut detector, now) = (detector(), 6 * BEAT);
        (1..=6).for_each(|beat| _ = (detector.turn(beat * BEAT), detector.tick(&ALL, beat * BEAT)));
        assert!(ALL.iter().all(|&node| detector.suspects(node)));
        assert!(!detector.forgave_within(BEAT, now));
        assert!(detector.heard(NodeId(3), now));
        assert!(detector.suspects(NodeId(2)) && detector.forgave_within(BEAT, now));
        assert!(!detector.forgave_within(BEAT, now + BEAT));
    }
}
