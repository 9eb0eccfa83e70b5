//! What a frame is about, for tests and tools: the protocol itself never asks.

use bytes::Bytes;

use super::messages::{Frame, Message};
use super::{GroupId, View, codec};

/// The kinds of frames that nodes send to each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FrameKind {
    /// Sign of life.
    Heartbeat,
    /// A question about a silent node.
    Probe,
    /// The answer to it.
    Heard,
    /// Batches, with what rides on them.
    Batches,
    /// Order records without a batch.
    Records,
    /// An acknowledgement alone.
    Ack,
    /// A handshake: what was received.
    Sync,
    /// A leader asks for promises.
    Prepare,
    /// A member stops, and tells what it has.
    Promise,
    /// A higher ballot was promised.
    Reject,
    /// A question for batches in a view change.
    Fetch,
    /// The answer to it.
    Fetched,
    /// A leader proposes.
    Propose,
    /// A member holds and accepts.
    Accepted,
    /// The decision.
    Install,
    /// The view is installed.
    Installed,
    /// A reason for a view change.
    Nudge,
    /// A node wants in.
    Join,
    /// It may not.
    Refused,
    /// A membership is over.
    Excluded,
    /// A node has no membership.
    NotHere,
    /// A piece of a checkpoint.
    Chunk,
    /// How much of it is there.
    ChunkAck,
}

impl FrameKind {
    /// The kind of a frame; `None` if it is not one.
    pub fn of(frame: &Bytes) -> Option<FrameKind> {
        let (frame, _) = codec::decode(frame.clone())?;
        Some(match frame {
            Frame::Heartbeat { .. } => FrameKind::Heartbeat,
            Frame::Probe { .. } => FrameKind::Probe,
            Frame::Heard { .. } => FrameKind::Heard,
            Frame::Group { message, .. } => FrameKind::of_message(&message),
        })
    }

    fn of_message(message: &Message) -> FrameKind {
        match message {
            Message::Data(data) if !data.batches.is_empty() => FrameKind::Batches,
            Message::Data(data) if data.records.is_some() => FrameKind::Records,
            Message::Data(_) => FrameKind::Ack,
            Message::Sync { .. } => FrameKind::Sync,
            Message::Prepare { .. } => FrameKind::Prepare,
            Message::Promise { .. } => FrameKind::Promise,
            Message::Reject { .. } => FrameKind::Reject,
            Message::Fetch { .. } => FrameKind::Fetch,
            Message::Fetched { .. } => FrameKind::Fetched,
            Message::Propose { .. } => FrameKind::Propose,
            Message::Accepted { .. } => FrameKind::Accepted,
            Message::Install { .. } => FrameKind::Install,
            Message::Installed => FrameKind::Installed,
            Message::Nudge(_) => FrameKind::Nudge,
            Message::Join(_) => FrameKind::Join,
            Message::Refused { .. } => FrameKind::Refused,
            Message::Excluded { .. } => FrameKind::Excluded,
            Message::NotHere { .. } => FrameKind::NotHere,
            Message::Chunk(_) => FrameKind::Chunk,
            Message::ChunkAck { .. } => FrameKind::ChunkAck,
        }
    }
}

/// The view that a frame tells the decision of; `None` of any other frame. Whoever sends it may be
/// the only one that ever hears of it: nobody need install that view.
pub fn decided_view(frame: &Bytes) -> Option<(GroupId, View)> {
    match codec::decode(frame.clone())?.0 {
        Frame::Group { group, message: Message::Install { proposal }, .. } => {
            Some((group, codec::decode_proposal(&proposal)?.view))
        }
        _ => None,
    }
}
