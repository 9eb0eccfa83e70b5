//! What a group carries when nothing goes wrong, and how long an update takes until it is stable.

use std::ops::Range;

use bytes::Bytes;
use serde::Serialize;
use vsync_core::wire::FrameKind;

use super::cluster::{Cluster, Stuck};
use super::costs::Setting;
use super::pattern::Pattern;

/// Own bytes that may be unacknowledged: the runtime's default, where one sends.
const WINDOW: usize = 8 << 20;
/// Less where many do, for the simulation's memory: all members keep all of each other's.
const SHARED_WINDOW: usize = 1 << 20;
/// Still less in large groups where all send. A member lets a batch out after 64 frames at most, so
/// more than 64 senders run ahead of what they take in until their windows are full; what is
/// measured must begin after that.
const LARGE_WINDOW: usize = 1 << 18;
/// From more members on than this a group is large.
const LARGE: usize = 64;
/// And from more on than this it takes so long to simulate that it is watched for less time.
const LARGEST: usize = 128;
/// As much as the runtime lets gather for one batch.
const GATHER: usize = 60 * 1024;
/// What an update has beside its payload: its length, the method's id, the string's length.
pub(crate) const EXTRA: usize = 10;
/// Updates awaited one after the other.
const AWAITED: u64 = 8;
/// Updates that each of many callers awaits at a time.
pub const IN_FLIGHT: u64 = 64;

/// Who sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Senders {
    /// Every member.
    All,
    /// The last one.
    One,
    /// The first one, which is the sequencer.
    Sequencer,
    /// All but the sequencer, which does nothing else.
    Others,
}

impl Senders {
    fn ranks(self, members: usize) -> Range<usize> {
        match self {
            Senders::All => 0..members,
            Senders::One => members - 1..members,
            Senders::Sequencer => 0..1,
            Senders::Others => 1..members,
        }
    }

    fn window(self, members: usize) -> usize {
        match self {
            Senders::One | Senders::Sequencer => WINDOW,
            Senders::All | Senders::Others if members > LARGE => LARGE_WINDOW,
            Senders::All | Senders::Others => SHARED_WINDOW,
        }
    }

    /// Batches of each before what is measured, and while it is. Relayed ones follow each other so
    /// closely that it takes many until the window has found its size.
    fn rounds(self, members: usize, pattern: Pattern) -> [u64; 2] {
        let relayed = pattern.relay.is_some_and(|fan| members > fan + 1);
        match self {
            Senders::One | Senders::Sequencer => match (relayed, members > LARGEST) {
                (false, false) => [30, 90],
                (false, true) => [4, 8],
                (true, false) => [200, 600],
                (true, true) => [60, 120],
            },
            Senders::All | Senders::Others if members > 32 => [6, 8],
            Senders::All | Senders::Others => [6, 12],
        }
    }
}

/// Throughput, as it was measured.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Stream {
    /// Who sends.
    pub senders: Senders,
    /// Members.
    pub members: usize,
    /// Bytes of an update's payload.
    pub payload: usize,
    /// Updates applied at every member, in a second.
    pub per_second: f64,
    /// How much of the time the busiest processor works.
    pub processor: f64,
    /// How much of the time the busiest link does.
    pub link: f64,
    /// Frames that are nothing but acknowledgements, of all frames.
    pub ack_frames: f64,
    /// Processor time that they take, of all that sending and receiving take.
    pub ack_processor: f64,
    /// Bytes that are not updates (acknowledgements, order, heads), of all bytes.
    pub overhead: f64,
}

/// How long an update takes, as it was measured. One is on its way at a time.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Wait {
    /// Members.
    pub members: usize,
    /// Mean time until it is known to be stable where it was sent, in µs.
    pub stable_us: f64,
    /// Frames that one update leads to.
    pub frames: f64,
    /// How many of them are nothing but acknowledgements.
    pub acks: f64,
}

/// Awaited updates of several members, as they were measured; each has as many under way at a time.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Calls {
    /// Of all of them together, in a second.
    pub per_second: f64,
    /// How much of the time the sequencer's processor works.
    pub sequencer: f64,
    /// The same of the others, their mean.
    pub other: f64,
}

/// How many updates a batch of the stream has.
pub(crate) fn batch(payload: usize) -> usize {
    (GATHER / (payload + EXTRA)).max(1)
}

fn load(cluster: &mut Cluster, payload: usize) {
    let unit = payload + EXTRA;
    let mut body = Vec::new();
    for _ in 0..batch(payload) {
        body.extend_from_slice(&(unit as u32 - 4).to_le_bytes());
        body.resize(body.len() + unit - 4, b'u');
    }
    let body = Bytes::from(body);
    for node in &mut cluster.nodes {
        node.app.body = body.clone();
        node.app.unit = unit;
    }
}

/// A stream of updates, in total order, nobody waiting for any of them.
pub(crate) fn stream(
    setting: Setting,
    members: usize,
    (senders, payload): (Senders, usize),
    pattern: Pattern,
) -> Result<Stream, Stuck> {
    let mut cluster = Cluster::new(setting, members + 1, senders.window(members));
    cluster.pattern = pattern;
    load(&mut cluster, payload);
    let (ranks, rounds) = (senders.ranks(members), senders.rounds(members, pattern));
    for sender in ranks.clone() {
        cluster.nodes[sender].app.streams = true;
        cluster.wake(sender);
    }
    let round = (ranks.len() * batch(payload)) as u64;
    let began = cluster.until_applied(rounds[0] * round, members)?;
    cluster.count_anew();
    let ended = cluster.until_applied((rounds[0] + rounds[1]) * round, members)?;
    let time = (ended - began) as f64;
    let updates = (rounds[1] * round) as f64;
    let sent = cluster.sent();
    let links = cluster.nodes.iter().map(|node| setting.costs.wire(node.sent as usize));
    let worked = cluster.nodes.iter().map(|node| node.worked).max().unwrap_or(0);
    let acks = cluster.kinds.get(&FrameKind::Ack).copied().unwrap_or_default();
    let all: u64 = cluster.kinds.values().map(|(_, time)| time).sum();
    let bodies = (cluster.submitted * (members as u64 - 1)) as f64;
    Ok(Stream {
        senders,
        members,
        payload,
        per_second: updates * 1e9 / time,
        processor: (worked as f64 / time).min(1.0),
        link: (links.max().unwrap_or(0) as f64 / time).min(1.0),
        ack_frames: acks.0.frames as f64 / sent.frames as f64,
        ack_processor: acks.1 as f64 / all as f64,
        overhead: (1.0 - bodies / sent.bytes as f64).max(0.0),
    })
}

/// Updates of 64 bytes that are awaited, one after the other, by the last of those who may.
pub(crate) fn wait(setting: Setting, members: usize, senders: Senders) -> Result<Wait, Stuck> {
    let mut cluster = Cluster::new(setting, members + 1, WINDOW);
    load(&mut cluster, 64);
    cluster.count_anew();
    let sender = senders.ranks(members).end - 1;
    let mut sum = 0;
    for number in 1..=AWAITED {
        let began = cluster.now;
        cluster.nodes[sender].busy = cluster.nodes[sender].busy.max(began);
        cluster.submit(sender, 1, true);
        cluster.wake(sender);
        cluster.run("a stable update", |cluster| cluster.nodes[sender].app.stable >= number)?;
        sum += cluster.nodes[sender].busy - began;
        cluster.rest()?;
    }
    let acks = cluster.kinds.get(&FrameKind::Ack).copied().unwrap_or_default();
    let each = |frames: u64| frames as f64 / AWAITED as f64;
    Ok(Wait {
        members,
        stable_us: sum as f64 / 1_000.0 / AWAITED as f64,
        frames: each(cluster.sent().frames),
        acks: each(acks.0.frames),
    })
}

/// Updates of 64 bytes that all of some members await, so many each.
pub(crate) fn calls(setting: Setting, members: usize, senders: Senders) -> Result<Calls, Stuck> {
    const ROUNDS: [u64; 2] = [4, 16];
    let mut cluster = Cluster::new(setting, members + 1, SHARED_WINDOW);
    load(&mut cluster, 64);
    let callers = senders.ranks(members);
    for caller in callers.clone() {
        cluster.nodes[caller].app.calls = IN_FLIGHT;
        cluster.wake(caller);
    }
    let round = callers.len() as u64 * IN_FLIGHT;
    cluster.count_anew();
    cluster.run("awaited updates", |it| it.returned >= ROUNDS[0] * round)?;
    cluster.count_anew();
    let began = cluster.now;
    cluster.run("awaited updates", |it| it.returned >= ROUNDS[1] * round)?;
    let time = (cluster.now - began) as f64;
    let worked = |node: usize| (cluster.nodes[node].worked as f64 / time).min(1.0);
    Ok(Calls {
        per_second: cluster.returned as f64 * 1e9 / time,
        sequencer: worked(0),
        other: (1..members).map(worked).sum::<f64>() / (members - 1) as f64,
    })
}
