//! One member: the real engine, its clock, and what it has told its application.

use std::panic::{AssertUnwindSafe, catch_unwind};

use bytes::Bytes;
use vsync_core::bugs::Bugs;
use vsync_core::engine::{Engine, EngineConfig, Input, Output, Outputs};
use vsync_core::wire::{Micros, NodeId, ViewNumber};
use xxhash_rust::xxh3::Xxh3;

use crate::frame::{Frame, SIGN_OF_LIFE, stream};
use crate::log::Log;
use crate::model::MEMBERS;
use crate::setup::node;

/// What a silence takes on the clock. It is longer than the detector's patience, and shorter than
/// what the engine takes for a pause of its own.
const SILENCE: Micros = 10;

/// What the answer of others takes that are asked about a silent one: longer than it is waited for.
const ANSWER: Micros = 1;

/// What a retry takes: longer than every patience of the protocol.
const RETRY: Micros = 40_000;

/// The base of the protocol's retries.
const CHANGE_RETRY: Micros = 1_000;

/// Never.
const LONG: Micros = 1_000_000_000_000;

/// Where clocks begin: no other number of the engine has as many digits.
const EPOCH: Micros = 1_000_000_000_000_000;

/// Something that happens to a member.
#[derive(Clone, Debug, Hash, PartialEq, Eq)]
pub enum Happening {
    /// The head of a stream from a node arrives.
    Frame(NodeId, Frame),
    /// The connection to a node broke, and is up again.
    Reconnected(NodeId),
    /// A node's process has ended.
    Ended(NodeId),
    /// It has heard nobody since its clock last moved.
    Silence,
    /// Its retry timers fire.
    Retry,
    /// The network can take more.
    Close,
}

/// A frame to send: to whom, by which stream.
pub type Sending = (NodeId, usize, Frame);

/// One member's whole state.
#[derive(Clone, Debug)]
pub struct Member {
    /// The real thing.
    pub engine: Engine,
    /// What it has told.
    pub log: Log,
    now: Micros,
    digest: u128,
}

impl Member {
    /// A node without groups.
    pub fn new(node: NodeId, bugs: Bugs) -> Self {
        let config = EngineConfig {
            heartbeat: SILENCE,
            silence: 1,
            link_timeout: LONG,
            ack_delay: CHANGE_RETRY,
            change_retry: CHANGE_RETRY,
            slow_member_timeout: LONG,
            bugs,
            ..EngineConfig::new(node)
        };
        let (engine, log) = (Engine::new(config), Log::default());
        Member { engine, log, now: EPOCH, digest: 0 }
    }

    /// Its node.
    pub fn node(&self) -> NodeId {
        self.engine.config().node
    }

    /// The latest view it has installed.
    pub fn view(&self) -> ViewNumber {
        self.log.last().map(|(number, _)| number).unwrap_or_default()
    }

    /// Identifies everything about it that matters to what it will do, or has told.
    pub fn digest(&self) -> u128 {
        self.digest
    }

    /// Takes one input in. A failed assert of the engine is a finding.
    pub fn input(&mut self, input: Input, sent: &mut Vec<Sending>) {
        if self.log.broken.is_some() {
            return;
        }
        let mut out = Outputs::new();
        let (engine, now) = (&mut self.engine, self.now);
        let run = catch_unwind(AssertUnwindSafe(|| engine.handle(now, input, &mut out)));
        if let Err(cause) = run {
            let text = cause.downcast_ref::<String>().cloned();
            let text = text.or_else(|| cause.downcast_ref::<&str>().map(|&text| text.to_owned()));
            self.log.broke(format!("the engine panics: {}", text.unwrap_or_default()));
        }
        let mut checkpoints = Vec::new();
        let me = self.node().0;
        for output in out.drain() {
            self.log.record(me, &output);
            match output {
                Output::Send { peer, traffic, frame } => {
                    let frame = Frame::new(frame);
                    if !frame.is_heartbeat() {
                        sent.push((peer, stream(traffic), frame));
                    }
                }
                Output::TakeCheckpoint { group, label, .. } => {
                    let bytes = Bytes::from_static(b"state");
                    checkpoints.push(Input::Checkpoint { group, label, bytes, last: true });
                }
                _ => {}
            }
        }
        for checkpoint in checkpoints {
            self.input(checkpoint, sent);
        }
    }

    /// Lets something happen, and then the network take what there is to send.
    pub fn happen(&mut self, happening: &Happening) -> Vec<Sending> {
        let mut sent = Vec::new();
        match happening {
            Happening::Frame(peer, frame) => {
                let input = Input::Frame { peer: *peer, frame: frame.bytes.clone() };
                self.input(input, &mut sent);
            }
            Happening::Reconnected(peer) => {
                self.input(Input::Disconnected { peer: *peer }, &mut sent);
                self.input(Input::Connected { peer: *peer }, &mut sent);
            }
            Happening::Ended(peer) => {
                self.input(Input::Disconnected { peer: *peer }, &mut sent);
                self.input(Input::Ended { peer: *peer }, &mut sent);
            }
            Happening::Silence => {
                self.now += SILENCE;
                self.input(Input::Tick, &mut sent);
                // Others are asked, and nobody has heard of it, either.
                self.now += ANSWER;
                self.input(Input::Tick, &mut sent);
                // And nobody answers within the time that a leader grants to a suspected member
                // whose connection is up; the timer itself is late.
                self.now += CHANGE_RETRY;
            }
            Happening::Retry => {
                self.now += RETRY;
                // Nobody becomes suspect by it: a sign of life comes from all who are not yet.
                for peer in (0..MEMBERS).map(node) {
                    if peer != self.node() && !self.engine.suspects(peer) {
                        let frame = Bytes::from_static(SIGN_OF_LIFE);
                        self.input(Input::Frame { peer, frame }, &mut sent);
                    }
                }
                self.input(Input::Tick, &mut sent);
            }
            Happening::Close => {}
        }
        self.input(Input::Close, &mut sent);
        self.seal();
        sent
    }

    /// Computes the digest anew.
    ///
    /// The engine's `Debug` output names every field of it. Left out are its constant configuration
    /// and the counters of rare branches (which one was taken counts, not how often).
    pub fn seal(&mut self) {
        let text = format!("{:?}", self.engine);
        let from = text.find(", groups: ").expect("the groups are in the engine's Debug output");
        let start = text.find(", marks: Marks {").expect("the marks are in it, too");
        let end = start + text[start..].find('}').unwrap_or_default();
        let marks = self.engine.marks();
        let taken = [marks.adopted, marks.overtaken, marks.appended, marks.fetched];
        let mut hasher = Xxh3::new();
        hasher.update(without_times(&text[from..start], self.now).as_bytes());
        hasher.update(without_times(&text[end..], self.now).as_bytes());
        hasher.update(format!("{:?} {:?}", self.log, taken.map(|n| n > 0)).as_bytes());
        self.digest = hasher.digest128();
    }
}

/// Makes each time relative to the clock. What is longer ago than a retry is just that: every timer
/// is due, and every rate limit over. The mean time between signs of life (`gap`) matters never: a
/// silence is longer than the longest patience made from it.
fn without_times(text: &str, now: Micros) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find(|c: char| c.is_ascii_digit()) {
        let (before, from) = rest.split_at(start);
        let end = from.find(|c: char| !c.is_ascii_digit()).unwrap_or(from.len());
        let (digits, after) = from.split_at(end);
        out.push_str(before);
        match digits.parse::<Micros>() {
            _ if before.ends_with("gap: ") => {}
            Ok(time) if digits.len() == EPOCH.ilog10() as usize + 1 => {
                match now.checked_sub(time) {
                    Some(past) if past >= RETRY => out.push('<'),
                    Some(past) => out.push_str(&format!("-{past}")),
                    None => out.push_str(&format!("+{}", time - now)),
                }
            }
            _ => out.push_str(digits),
        }
        rest = after;
    }
    out.push_str(rest);
    out
}
