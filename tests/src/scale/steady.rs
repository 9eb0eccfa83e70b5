//! What a group carries when nothing goes wrong, and how long an update takes until it is stable.

use bytes::Bytes;
use serde::Serialize;
use vsync_core::wire::FrameKind;

use super::cluster::{Cluster, Stuck};
use super::costs::Setting;
use super::pattern::Pattern;

/// Own bytes that may be unacknowledged. Less than the runtime's default, for the simulation's
/// memory: all members keep all of each other's.
const WINDOW: usize = 1 << 20;
/// The same in large groups where all send. A member lets a batch out after 64 frames at most, so
/// more than 64 senders run ahead of what they take in until their windows are full; what is
/// measured must begin after that.
const LARGE_WINDOW: usize = 1 << 18;
/// From more members on than this a group is large.
const LARGE: usize = 64;
/// As much as the runtime lets gather for one batch.
const GATHER: usize = 60 * 1024;
/// What an update has beside its payload: its length, the method's id, the string's length.
pub(crate) const EXTRA: usize = 10;
/// Updates awaited one after the other.
const AWAITED: u64 = 8;

/// Who sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Senders {
    /// Every member.
    All,
    /// The last one.
    One,
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
    let ahead = senders == Senders::All && members > LARGE;
    let window = if ahead { LARGE_WINDOW } else { WINDOW };
    let mut cluster = Cluster::new(setting, members + 1, window);
    cluster.pattern = pattern;
    load(&mut cluster, payload);
    let (first, rounds) = match senders {
        Senders::All => (0, if members > 32 { [6, 8] } else { [6, 12] }),
        Senders::One => (members - 1, [30, 90]),
    };
    for sender in first..members {
        cluster.nodes[sender].app.streams = true;
        cluster.wake(sender);
    }
    let round = ((members - first) * batch(payload)) as u64;
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

/// Updates of 64 bytes that are awaited, one after the other, by the last member.
pub(crate) fn wait(setting: Setting, members: usize, pattern: Pattern) -> Result<Wait, Stuck> {
    let mut cluster = Cluster::new(setting, members + 1, WINDOW);
    cluster.pattern = pattern;
    load(&mut cluster, 64);
    cluster.count_anew();
    let sender = members - 1;
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
