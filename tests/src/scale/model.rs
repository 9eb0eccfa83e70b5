//! The same costs on paper. For what is built, a test holds these formulas against the simulation;
//! for what is not built (the trees, a sequencer of its own) they say from which size on it pays.
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
/// Where a crossover is looked for.
const MOST: usize = 4_096;

/// The formulas for one set of costs.
#[derive(Clone, Copy, Debug)]
pub struct Model {
    costs: Costs,
    /// Fan-out of trees.
    fan: usize,
}

/// From which number of members on something pays, and by what factor.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Crossover {
    /// What.
    pub what: &'static str,
    /// From here on it is better, and stays so; `None`: nowhere below some thousands.
    pub from: Option<usize>,
    /// Members, and how many times better it is.
    pub factors: Vec<(usize, f64)>,
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

    /// Time that all members' acknowledgements take each of them.
    fn acks(&self, members: usize) -> f64 {
        let frame = 20.0 + 3.0 * members as f64;
        (members as f64 - 1.0) * (self.send(frame) + self.receive(frame))
    }

    /// The same by a tree: each hears those below it and tells the one above, and back.
    fn acks_by_tree(&self, members: usize) -> f64 {
        let frame = 20.0 + 6.0 * members as f64;
        let frames = (self.fan as f64 + 1.0).min(members as f64 - 1.0);
        frames * (self.send(frame) + self.receive(frame))
    }

    /// Updates a second where a batch of so many bytes takes whoever is the slowest so long, and
    /// acknowledgements so much more each time they are sent.
    fn rate(updates: f64, bytes: f64, batch: f64, acks: f64) -> f64 {
        let batches = (ACK_DELAY / batch).max(1.0).min((ACK_BYTES / bytes).max(1.0));
        1e6 * updates / (batch + acks / batches)
    }

    /// Updates a second of one sender, who sends each batch to each.
    fn stream(&self, members: usize, payload: usize, acks: f64) -> f64 {
        let (updates, bytes) = sizes(payload);
        let batch = self.cast(members as f64 - 1.0, bytes)
            + updates * self.costs.update as f64 / 1e3
            + self.receive(30.0);
        Self::rate(updates, bytes, batch, acks)
    }

    /// The same as it is built.
    pub fn one(&self, members: usize, payload: usize) -> f64 {
        self.stream(members, payload, self.acks(members))
    }

    /// The same with acknowledgements by tree.
    pub fn one_by_ack_tree(&self, members: usize, payload: usize) -> f64 {
        self.stream(members, payload, self.acks_by_tree(members))
    }

    /// The same with a relay tree: the sender sends to a few, and each of them as often. They take
    /// in, apply, and pass on.
    pub fn one_by_relay(&self, members: usize, payload: usize) -> f64 {
        let (updates, bytes) = sizes(payload);
        let others = members - 1;
        if others <= self.fan {
            return self.one(members, payload);
        }
        let below = (others - self.fan).min(self.fan) as f64;
        let base = self.cast(below, bytes)
            + updates * self.costs.update as f64 / 1e3
            + self.receive(bytes);
        let sender = self.cast(self.fan as f64, bytes);
        Self::rate(updates, bytes, base.max(sender), self.acks(members))
    }

    /// Updates a second where all send: each member takes in the others' batches and sends its own
    /// to them. A relay tree changes nothing in that: what one passes on, another does not send.
    pub fn all(&self, members: usize, payload: usize) -> f64 {
        let (updates, bytes) = sizes(payload);
        let n = members as f64;
        let frame = bytes + 20.0 + 3.0 * n;
        let each = self.cast(n - 1.0, frame) + (n - 1.0) * self.receive(frame);
        1e6 * n * updates / (each + n * updates * self.costs.update as f64 / 1e3)
    }

    /// How much more than another member the sequencer has to do for an awaited update of somebody
    /// else: at most so much can be won if a node does nothing else. It sends one frame to each
    /// (positions and acknowledgement together), and hears one of the sender; another hears both
    /// and answers. A little later everybody acknowledges to everybody.
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

    /// From where on each of the three that are not built pays.
    pub fn crossovers(&self, payload: usize) -> Vec<Crossover> {
        let found = |what, better: &dyn Fn(usize) -> f64| Crossover {
            what,
            from: (2..=MOST).rev().take_while(|&n| better(n) > 1.0).last(),
            factors: [16, 100, 1000].map(|n| (n, better(n))).into(),
        };
        vec![
            found("acknowledgements by tree: one sender's stream", &|n| {
                self.one_by_ack_tree(n, payload) / self.one(n, payload)
            }),
            found("relay tree: one sender's stream", &|n| {
                self.one_by_relay(n, payload) / self.one(n, payload)
            }),
            found("a sequencer of its own: at most", &|n| self.sequencer(n)),
        ]
    }
}

fn sizes(payload: usize) -> (f64, f64) {
    let updates = batch(payload);
    (updates as f64, (updates * (payload + EXTRA)) as f64)
}
