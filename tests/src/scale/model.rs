//! The same costs on paper. For what is built, a test holds these formulas against the simulation;
//! for what is not built (the trees, a sequencer of its own) they say from which size on it pays,
//! and the simulation whether that is so.
//!
//! `s` and `r` are what sending and receiving a frame takes a processor, `n` the members, `way` one
//! way through the network. Times are in µs.

use serde::Serialize;

use super::costs::Costs;
use super::form::META;
use super::steady::{EXTRA, batch};

/// Acknowledgements wait this long where nobody is in a hurry, or for so many bytes.
const ACK_DELAY: f64 = 2_000.0;
const ACK_BYTES: f64 = 262_144.0;
/// What is less than this is no gain: so much differs from seed to seed.
const GAIN: f64 = 1.003;
/// Where a crossover is looked for.
const MOST: usize = 4_096;

/// The formulas for one set of costs.
#[derive(Clone, Copy, Debug)]
pub struct Model {
    costs: Costs,
    /// Fan-out of trees.
    fan: usize,
}

/// What is not built and might pay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Better {
    /// Acknowledgements by a tree: the stream of one sender.
    AckTree,
    /// A relay tree: the same.
    Relay,
    /// Both, against the relay tree alone: the same.
    Both,
    /// A sequencer that does nothing else: awaited updates of all others, against those of all. On
    /// paper, how much more it has to do than another, which is the most that can be won.
    Sequencer,
    /// A token that travels: one awaited update. Not simulated.
    Token,
}

impl Better {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Better::AckTree => "acknowledgements by tree: one sender's stream",
            Better::Relay => "relay tree: one sender's stream",
            Better::Both => "both trees against the relay tree alone",
            Better::Sequencer => "a sequencer that only sequences: awaited updates",
            Better::Token => "a token that travels: an awaited update",
        }
    }
}

/// From which number of members on something pays, and by what factor.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Crossover {
    /// What.
    pub better: Better,
    /// The least of the simulated sizes from which on it is better at all of them; `None`: at the
    /// largest it is not, or it was not simulated.
    pub simulated: Option<usize>,
    /// The same on paper; `None`: nowhere below some thousands.
    pub from: Option<usize>,
    /// Members, and how many times better it is, on paper.
    pub factors: Vec<(usize, f64)>,
}

/// The least of the sizes from which on something is better at all of them.
pub fn pays_from(ratios: &[(usize, f64)]) -> Option<usize> {
    let mut ratios = ratios.to_vec();
    ratios.sort_by_key(|&(members, _)| members);
    let pays = ratios.into_iter().rev().take_while(|&(_, ratio)| ratio > GAIN);
    pays.last().map(|(members, _)| members)
}

impl Model {
    /// With trees of such a fan-out.
    pub fn new(costs: Costs, fan: usize) -> Model {
        Model { costs, fan: fan.max(1) }
    }

    fn send(&self, bytes: f64) -> f64 {
        (self.costs.send as f64 + bytes * self.costs.send_byte as f64 / 1e3) / 1e3
    }

    fn receive(&self, bytes: f64) -> f64 {
        (self.costs.receive as f64 + bytes * self.costs.receive_byte as f64 / 1e3) / 1e3
    }

    /// A frame to each of some nodes: the processor or the link, whichever is slower.
    fn cast(&self, nodes: f64, bytes: f64) -> f64 {
        nodes * self.send(bytes).max(bytes * 8.0 / self.costs.bandwidth as f64)
    }

    fn way(&self) -> f64 {
        self.costs.latency as f64 * 1.05
    }

    /// Bytes of a proposal: members by name, entry, what they said of themselves, and the cut.
    fn proposal(n: f64) -> f64 {
        n * (META as f64 + 14.0)
    }

    /// The change after a kill that all survivors know of. The leader asks all, hears all, tells
    /// all the proposal, hears a quorum, and tells all the decision; each step waits for the
    /// leader, or in small groups for the network.
    pub fn kill(&self, members: usize) -> f64 {
        if members < 3 {
            return 0.0;
        }
        let n = members as f64;
        let others = n - 2.0;
        let whole = Self::proposal(n);
        let there_and_back = 2.0 * self.way() + self.send(n);
        let promises = self.cast(others, 9.0)
            + (others * self.receive(n)).max(there_and_back + 2.0 * self.receive(n));
        let accepts = self.cast(others, whole)
            + (n / 2.0 * self.receive(8.0))
                .max(there_and_back + self.receive(whole) + self.receive(8.0));
        promises + accepts + self.cast(others, whole) + self.way() + self.receive(whole)
    }

    /// Frames of that change: five rounds with the leader, and each tells each that it is there.
    pub fn kill_frames(&self, members: usize) -> u64 {
        let others = (members as u64).saturating_sub(2);
        5 * others + (members as u64 - 1) * others
    }

    /// An awaited update of the last member: to the sequencer, who tells all its position, the
    /// sender last, and from as many others as a quorum takes besides these two, who answer in the
    /// order in which the sequencer told them.
    pub fn stable(&self, members: usize) -> f64 {
        let (s, r, n) = (self.send(30.0), self.receive(30.0), members as f64);
        let there = s + self.way() + r;
        let position = there + (n - 1.0) * s + self.way() + r;
        let answers = ((n / 2.0).ceil() - 2.0).max(0.0);
        if answers == 0.0 {
            return position;
        }
        let told = there + answers * s + self.way() + r;
        let heard = told + s + self.way() + r + answers * (r - s).max(0.0);
        position.max(heard)
    }

    /// Bytes of an acknowledgement where one sends: the other lanes' counts are a byte each. What
    /// several of them come to is one for each of two marks.
    fn ack(members: usize, combined: bool) -> f64 {
        let one = 20.0 + members as f64;
        if combined { 2.0 * one } else { one }
    }

    /// Time that a round of acknowledgements takes the one sender, whose own ride on its batches:
    /// everybody's, or the one that comes down to a leaf of the tree.
    fn acks_heard(&self, members: usize, tree: bool) -> f64 {
        let frames = if tree { 1.0 } else { members as f64 - 1.0 };
        frames * self.receive(Self::ack(members, tree))
    }

    /// The same for one of the others, which makes its own, too: to everybody, or to the one above
    /// in the tree and, from there, to those below.
    fn acks_exchanged(&self, members: usize, tree: bool) -> f64 {
        let others = members as f64 - 1.0;
        let frames = if tree { others.min(self.fan as f64 + 1.0) } else { others };
        let bytes = Self::ack(members, tree);
        frames * (self.send(bytes) + self.receive(bytes))
    }

    /// Updates a second where a batch of so many bytes takes whoever is the slowest so long, and
    /// acknowledgements so much more each time they are sent.
    fn rate(updates: f64, bytes: f64, batch: f64, acks: f64) -> f64 {
        let batches = (ACK_DELAY / batch).max(1.0).min((ACK_BYTES / bytes).ceil());
        1e6 * updates / (batch + acks / batches)
    }

    /// Updates a second of one sender who sends each batch to so many, applies it, and hears its
    /// position.
    fn stream(&self, receivers: usize, payload: usize, acks: f64) -> f64 {
        let (updates, bytes) = sizes(payload);
        let batch = self.cast(receivers as f64, bytes) + self.apply(updates) + self.receive(30.0);
        Self::rate(updates, bytes, batch, acks)
    }

    fn apply(&self, updates: f64) -> f64 {
        updates * self.costs.update as f64 / 1e3
    }

    /// The same as it is built: to all others.
    pub fn one(&self, members: usize, payload: usize) -> f64 {
        self.stream(members - 1, payload, self.acks_heard(members, false))
    }

    /// The same with acknowledgements by tree.
    pub fn one_by_ack_tree(&self, members: usize, payload: usize) -> f64 {
        self.stream(members - 1, payload, self.acks_heard(members, true))
    }

    /// The same with a relay tree, and acknowledgements as they are or by a tree, too: the sender
    /// sends to a few, and each of them as often. They take in, pass on, and apply; and so they do
    /// with the sequencer's record. Whoever is slower.
    pub fn one_by_relay(&self, members: usize, payload: usize, ack_tree: bool) -> f64 {
        let (updates, bytes) = sizes(payload);
        let others = members - 1;
        let sender = self.stream(others.min(self.fan), payload, self.acks_heard(members, ack_tree));
        let below = others.saturating_sub(self.fan).min(self.fan) as f64;
        if below == 0.0 {
            return sender;
        }
        let record = self.receive(30.0) + self.cast(below, 30.0);
        let relay = self.receive(bytes) + self.cast(below, bytes) + self.apply(updates) + record;
        sender.min(Self::rate(updates, bytes, relay, self.acks_exchanged(members, ack_tree)))
    }

    /// Updates a second where all send: each member takes in the others' batches and sends its own
    /// to them. A relay tree changes nothing in that: what one passes on, another does not send.
    pub fn all(&self, members: usize, payload: usize) -> f64 {
        let (updates, bytes) = sizes(payload);
        let n = members as f64;
        let frame = bytes + 20.0 + 3.0 * n;
        let each = self.cast(n - 1.0, frame) + (n - 1.0) * self.receive(frame);
        1e6 * n * updates / (each + self.apply(n * updates))
    }

    /// How much more than another member the sequencer has to do for an awaited update of somebody
    /// else, one at a time: about so much can be won at most if a node does nothing else. It sends
    /// one frame to each (positions and acknowledgement together), and hears one of the sender;
    /// another hears both and answers. A little later everybody acknowledges to everybody.
    pub fn sequencer(&self, members: usize) -> f64 {
        let others = members as f64 - 1.0;
        let (s, r) = (self.send(30.0), self.receive(30.0));
        let later = others * (s + r);
        (r + others * s + later) / (2.0 * r + s + later)
    }

    /// How much of a processor signs of life take, with heartbeats every so many ms.
    pub fn heartbeats(&self, members: usize, heartbeat: u64) -> f64 {
        (members as f64 - 1.0) * (self.send(17.0) + self.receive(17.0)) / 1e3 / heartbeat as f64
    }

    /// An awaited update where a token travels from member to member instead (Totem): it is half of
    /// its round away, and who has it sends to all, and is answered.
    pub fn by_token(&self, members: usize) -> f64 {
        let (s, r, n) = (self.send(30.0), self.receive(30.0), members as f64);
        let hop = s + self.way() + r;
        n / 2.0 * hop + (n - 2.0) * s + 2.0 * hop
    }

    /// From where on each of what is not built pays, on paper.
    pub fn crossovers(&self, payload: usize) -> Vec<Crossover> {
        let found = |better, ratio: &dyn Fn(usize) -> f64| Crossover {
            better,
            simulated: None,
            from: (2..=MOST).rev().take_while(|&n| ratio(n) > GAIN).last(),
            factors: [16, 100, 1000].map(|n| (n, ratio(n))).into(),
        };
        let relay = |n, ack_tree| self.one_by_relay(n, payload, ack_tree);
        vec![
            found(Better::AckTree, &|n| self.one_by_ack_tree(n, payload) / self.one(n, payload)),
            found(Better::Relay, &|n| relay(n, false) / self.one(n, payload)),
            found(Better::Both, &|n| relay(n, true) / relay(n, false)),
            found(Better::Sequencer, &|n| self.sequencer(n)),
            found(Better::Token, &|n| self.stable(n) / self.by_token(n)),
        ]
    }
}

fn sizes(payload: usize) -> (f64, f64) {
    let updates = batch(payload);
    (updates as f64, (updates * (payload + EXTRA)) as f64)
}
