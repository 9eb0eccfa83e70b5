//! The corpus that the property tests and the fuzz target share: recorded frames of every kind,
//! each with the network as it was just before the frame was taken in. It is not stored but made
//! anew each time, from the same runs and so always the same; files of frames would be stale with
//! the next change of the wire format.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use vsync_core::engine::Engine;
use vsync_core::wire::NodeId;

use crate::net::{GROUP, Net, Sent, story};

/// Most moments kept for each kind of message, state of its receiver and run.
const KEPT: usize = 5;

/// What a node is in the group when a frame reaches it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum State {
    /// It has nothing to do with the group.
    Outsider,
    /// It has asked to be let in.
    Joining,
    /// It is listed, and waits for its checkpoint.
    Loading,
    /// The same, in a view change.
    LoadingFrozen,
    /// An active member.
    Member,
    /// It leads a view change and collects promises.
    Promising,
    /// It leads a view change, and its proposal is out.
    Proposing,
    /// It has promised, and perhaps accepted.
    Promised,
    /// It has a proposal to accept, and fetches what it lacks of it.
    Holding,
    /// It knows the decision, and fetches what it lacks of it.
    Installing,
    /// Its membership is over, and others may still need what it knows.
    Departed,
}

/// Every state there is.
pub(crate) const STATES: [State; 11] = [
    State::Outsider,
    State::Joining,
    State::Loading,
    State::LoadingFrozen,
    State::Member,
    State::Promising,
    State::Proposing,
    State::Promised,
    State::Holding,
    State::Installing,
    State::Departed,
];

/// A recorded frame, and the network just before it was taken in.
pub(crate) struct Moment {
    pub(crate) net: Net,
    pub(crate) sent: Sent,
    pub(crate) kind: (u64, u64),
    /// The receiver's.
    pub(crate) state: State,
}

/// Reads a varint: its value and length.
pub(crate) fn number_at(frame: &[u8], at: usize) -> Option<(u64, usize)> {
    let mut value = 0u64;
    for (index, byte) in frame.get(at..)?.iter().take(10).enumerate() {
        value |= u64::from(byte & 0x7f).checked_shl(7 * index as u32).unwrap_or(0);
        if byte & 0x80 == 0 {
            return Some((value, index + 1));
        }
    }
    None
}

/// The kind of a frame: its variant and, for a group's frame, the message's.
pub(crate) fn kind(frame: &[u8]) -> (u64, u64) {
    let (variant, mut at) = number_at(frame, 0).unwrap_or((u64::MAX, 0));
    if variant != 3 {
        return (variant, 0);
    }
    // Group, generation, view, entry.
    for _ in 0..4 {
        at += number_at(frame, at).map_or(0, |(_, length)| length);
    }
    (variant, number_at(frame, at).map_or(u64::MAX, |(message, _)| message))
}

/// What an engine is in the group. How far a change has come is no part of its public face, but of
/// its
/// `Debug` output; the test of the corpus would notice other names there, as states never reached.
pub(crate) fn state(engine: &Engine) -> State {
    let Some(status) = engine.status(GROUP) else {
        return State::Outsider;
    };
    if status.view.is_some() && !status.frozen {
        return if status.loaded { State::Member } else { State::Loading };
    }
    let text = format!("{engine:?}");
    if status.view.is_none() {
        let joining = text.contains("joining: Some");
        return if joining { State::Joining } else { State::Departed };
    }
    let names = [
        ("installing: Some", State::Installing),
        ("holding: Some", State::Holding),
        ("phase: Promising", State::Promising),
        ("phase: Proposing", State::Proposing),
    ];
    let found = names.into_iter().find(|(name, _)| text.contains(name));
    match found {
        _ if !status.loaded => State::LoadingFrozen,
        Some((_, state)) => state,
        None => State::Promised,
    }
}

/// The recorded moments: some of every kind of message in every state that receives it.
pub(crate) fn moments() -> &'static [Moment] {
    static MOMENTS: OnceLock<Vec<Moment>> = OnceLock::new();
    MOMENTS.get_or_init(|| {
        let mut moments = Vec::new();
        for causal in [true, false] {
            let sort = |net: &Net, sent: &Sent| (kind(&sent.frame), state(&net.nodes[&sent.to]));
            // Spread over the run: first counted, then taken at even distances.
            let mut total: BTreeMap<_, usize> = BTreeMap::new();
            story(causal, &mut |net, sent| *total.entry(sort(net, sent)).or_default() += 1);
            let mut met: BTreeMap<_, usize> = BTreeMap::new();
            story(causal, &mut |net, sent| {
                let sort = sort(net, sent);
                let met = met.entry(sort).or_default();
                let every = total[&sort].div_ceil(KEPT);
                if (*met).is_multiple_of(every) {
                    let (net, sent, (kind, state)) = (net.clone(), sent.clone(), sort);
                    moments.push(Moment { net, sent, kind, state });
                }
                *met += 1;
            });
        }
        moments
    })
}

/// An input of the fuzz target as bytes: which moment, who sends and who takes in, the frame.
pub(crate) fn seed(index: usize) -> Vec<u8> {
    let Moment { net, sent, .. } = &moments()[index];
    let place = |node: NodeId| net.alive().iter().position(|&n| n == node).unwrap_or(0) as u8;
    let mut bytes = (index as u16).to_le_bytes().to_vec();
    bytes.push(place(sent.to) | place(sent.from) << 4);
    bytes.extend_from_slice(&sent.frame);
    bytes
}

/// The other way round: the network, the frame on its way.
pub(crate) fn unseed(input: &[u8]) -> Option<(&'static Moment, Sent)> {
    let [low, high, pair, frame @ ..] = input else {
        return None;
    };
    let index = usize::from(u16::from_le_bytes([*low, *high]));
    let moment = &moments()[index % moments().len()];
    let nodes = moment.net.alive();
    let node = |place: u8| nodes[usize::from(place) % nodes.len()];
    let frame = bytes::Bytes::copy_from_slice(frame);
    Some((moment, Sent { from: node(pair >> 4), to: node(pair & 15), frame }))
}
