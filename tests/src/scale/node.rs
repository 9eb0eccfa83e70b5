//! One simulated node: an engine, a processor that does one thing at a time, a link, and an
//! application that sends what it may.

use std::collections::VecDeque;
use std::rc::Rc;

use bytes::Bytes;
use vsync_core::engine::{Engine, Input, Output};

use super::costs::Nanos;
use super::pattern::Gathered;

/// Something on its way between two nodes, or in a node's inbox.
#[derive(Clone, Debug)]
pub(crate) enum Load {
    /// What an engine sent.
    Frame { from: usize, frame: Bytes, live: bool },
    /// The same, to be passed on along a tree first.
    Relay { from: usize, frame: Bytes, tree: Rc<[u32]>, at: usize },
    /// Acknowledgements of several members in one frame, on their way up the tree or down.
    Acks { acks: Rc<[(usize, Bytes)]>, down: bool },
}

impl Load {
    /// Bytes on the wire. Acknowledgements that travel together are one: the larger of two cuts
    /// says what both say, of a quorum as well as of all (one cut for each of these two marks).
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Load::Frame { frame, .. } | Load::Relay { frame, .. } => frame.len(),
            Load::Acks { acks, .. } => {
                2 * acks.iter().map(|(_, frame)| frame.len()).max().unwrap_or(0)
            }
        }
    }

    /// Whether it is only a sign of life, which never ends.
    pub(crate) fn is_alive(&self) -> bool {
        matches!(self, Load::Frame { live: true, .. })
    }
}

/// What a node has to do.
#[derive(Clone, Debug)]
pub(crate) enum Work {
    /// Something came in.
    Load(Load),
    /// Something from outside of the network.
    Input(Input),
}

/// Whether a node lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Up,
    /// Its connections are known to be gone: nothing is sent to it.
    Killed,
    /// Nobody was told: what is sent to it is lost.
    Vanished,
}

/// Frames and bytes, sent and received, without signs of life.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) frames: u64,
    pub(crate) bytes: u64,
}

impl Tally {
    pub(crate) fn add(&mut self, bytes: usize) {
        self.frames += 1;
        self.bytes += bytes as u64;
    }
}

/// What the application of a node does.
#[derive(Clone, Debug, Default)]
pub(crate) struct App {
    /// Whether it sends as much as it may.
    pub(crate) streams: bool,
    /// How many updates it awaits at a time; each is followed by another when it is stable.
    pub(crate) calls: u64,
    /// As many updates as a batch has at most, encoded.
    pub(crate) body: Bytes,
    /// Bytes of one of them.
    pub(crate) unit: usize,
    /// What flow control still allows.
    pub(crate) credit: u64,
    /// Updates applied.
    pub(crate) applied: u64,
    /// How many of its own updates are stable.
    pub(crate) stable: u64,
    /// How many it has sent.
    pub(crate) sent: u64,
}

impl App {
    /// How many updates it may await beside those that it awaits already.
    pub(crate) fn to_call(&self) -> usize {
        self.calls.saturating_sub(self.sent - self.stable) as usize
    }
}

/// A node.
pub(crate) struct Node {
    pub(crate) engine: Engine,
    pub(crate) fate: Fate,
    /// From when on the processor is free.
    pub(crate) busy: Nanos,
    /// From when on the link is free.
    pub(crate) uplink: Nanos,
    pub(crate) inbox: VecDeque<Work>,
    /// Whether its next turn is planned.
    pub(crate) awake: bool,
    /// How much it has taken from its inbox since its batch was last let out.
    pub(crate) burst: usize,
    /// Whether anything came but signs of life: only then a batch can be open, or something owed.
    pub(crate) stirred: bool,
    /// When a look at the engine's deadline is planned.
    pub(crate) due: Option<Nanos>,
    /// Deadlines before this wait for it: nodes do not all send their heartbeats at once.
    pub(crate) not_before: Nanos,
    /// Number and rank in the view that its application is in.
    pub(crate) view: u64,
    pub(crate) rank: usize,
    pub(crate) members: usize,
    /// Acknowledgements that wait to be passed on along the tree.
    pub(crate) gathered: Gathered,
    pub(crate) app: App,
    pub(crate) tally: Tally,
    /// Bytes that its link has carried, signs of life included.
    pub(crate) sent: u64,
    /// Processor time spent since it was last set to nothing.
    pub(crate) worked: Nanos,
}

impl Node {
    pub(crate) fn new(engine: Engine) -> Node {
        Node {
            engine,
            fate: Fate::Up,
            busy: 0,
            uplink: 0,
            inbox: VecDeque::new(),
            awake: false,
            burst: 0,
            stirred: false,
            due: None,
            not_before: 0,
            view: 0,
            rank: 0,
            members: 0,
            gathered: Gathered::default(),
            app: App::default(),
            tally: Tally::default(),
            sent: 0,
            worked: 0,
        }
    }

    /// Takes the processor for a while.
    pub(crate) fn spend(&mut self, time: Nanos) {
        self.busy += time;
        self.worked += time;
    }

    /// When its engine next wants to be called.
    pub(crate) fn deadline(&self) -> Option<Nanos> {
        Some((self.engine.deadline()? * 1_000).max(self.not_before))
    }
}

/// The frame that an output sends, if it does.
pub(crate) fn sent(output: &Output) -> Option<(u64, &Bytes)> {
    match output {
        Output::Send { peer, frame, .. } => Some((peer.0, frame)),
        _ => None,
    }
}
