//! The messages between nodes and between the members of a group.

use alloc::vec::Vec;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{Ballot, Cut, GroupId, Left, NodeId, View, ViewNumber};
use crate::engine::{Refusal, Run};

/// Where a node is in one group: group, generation, view, entry of its membership.
pub(crate) type Digest = (GroupId, u32, ViewNumber, ViewNumber);

/// What one node sends to another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Frame {
    /// Sign of life, with the view of every group that both are in: who is behind finds out (L3).
    Heartbeat {
        /// The first number of those told of.
        from: GroupId,
        /// The last.
        to: GroupId,
        /// The groups of these numbers that both are in.
        groups: Vec<Digest>,
    },
    /// Asks whether the receiver has heard of a node lately.
    Probe {
        /// The node in doubt.
        about: NodeId,
    },
    /// Answers [`Frame::Probe`].
    Heard {
        /// The node in doubt.
        about: NodeId,
        /// Whether it was heard lately.
        lately: bool,
    },
    /// A message of a group.
    Group {
        /// The group.
        group: GroupId,
        /// Its generation.
        generation: u32,
        /// The view the message belongs to; 0 where the sender has none.
        view: ViewNumber,
        /// The view by which the sender's membership came in; 0 where it has none.
        entry: ViewNumber,
        /// What it says.
        message: Message,
    },
}

/// What the members of a group (and those who want to be) say to each other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Message {
    /// Multicast: batches, order records, acknowledgement.
    Data(Data),
    /// What I have received. Send again what I lack of your lane (and, sequencer, of the records).
    Sync {
        /// Received, with the order extent (L5).
        received: Cut,
        /// Whether an answer of the same kind is wanted.
        answer: bool,
        /// Whether this is no acknowledgement: the application cannot keep up.
        holds: bool,
    },
    /// A leader asks for promises.
    Prepare {
        /// The attempt.
        ballot: Ballot,
        /// Ranks that must go although they may be alive (L1).
        evict: Vec<u32>,
    },
    /// I take no further part in the view, and this is what I have.
    Promise {
        /// The attempt.
        ballot: Ballot,
        /// What is promised.
        promise: Promise,
    },
    /// A higher ballot was promised.
    Reject {
        /// That ballot.
        promised: Ballot,
    },
    /// Asks for batches of any lane of the view, and for order records.
    Fetch {
        /// Lane, first update wanted, end.
        lanes: Vec<(u32, u64, u64)>,
        /// First position wanted, end.
        records: (u64, u64),
    },
    /// Answers [`Message::Fetch`], as far as one message carries.
    Fetched {
        /// Lane and its batches.
        lanes: Vec<(u32, Vec<BatchHead>)>,
        /// Order records.
        records: Option<Records>,
    },
    /// A leader proposes.
    Propose {
        /// The attempt.
        ballot: Ballot,
        /// The encoded [`Proposal`]: adopted ones go on byte for byte (S8).
        #[serde(with = "super::codec::bytes")]
        proposal: Bytes,
    },
    /// I hold all of the proposal, and accept it.
    Accepted {
        /// The attempt.
        ballot: Ballot,
    },
    /// The decision.
    Install {
        /// The encoded [`Proposal`].
        #[serde(with = "super::codec::bytes")]
        proposal: Bytes,
    },
    /// I have installed (at least) the frame's view.
    Installed,
    /// To the one who should lead: there is a reason for a change.
    Nudge(Nudge),
    /// Asks to be let in.
    Join(JoinRequest),
    /// Answers [`Message::Join`].
    Refused {
        /// Of the join.
        nonce: u64,
        /// Why.
        reason: Refusal,
    },
    /// The membership that came in by this view is over.
    Excluded {
        /// Of the addressee.
        entry: ViewNumber,
    },
    /// This node has no membership in the group: whoever lists it is mistaken.
    NotHere {
        /// The latest view that it knows to be decided; 0 where it gave its membership up.
        beyond: ViewNumber,
    },
    /// A piece of a checkpoint.
    Chunk(Chunk),
    /// How much of a checkpoint is here.
    ChunkAck {
        /// Which checkpoint.
        label: ViewNumber,
        /// Bytes here, from the start.
        have: u64,
        /// What the donor may send.
        next: Next,
    },
}

/// One member's multicast: consecutive batches of its own lane, with what rides on them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Data {
    /// The batches' heads; the bodies follow the frame, in order.
    pub(crate) batches: Vec<BatchHead>,
    /// Order records, from the sequencer only.
    pub(crate) records: Option<Records>,
    /// What the sender has received.
    pub(crate) ack: Option<Cut>,
    /// Who waits for acknowledgements.
    pub(crate) hurry: Hurry,
}

/// Who waits for acknowledgements. Everybody else hears of them when it costs nothing, or a little
/// later.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub(crate) enum Hurry {
    /// Nobody.
    #[default]
    No,
    /// The sender, for what it sends here: it is told when that can be delivered.
    Sender,
    /// Perhaps everybody: all are told at once, until what is here is stable.
    All,
}

/// All of a batch but its updates.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct BatchHead {
    /// Number of its first update in the lane.
    pub(crate) first: u64,
    /// The sender's delivered counts when it closed, where the group has causal updates (S10).
    pub(crate) stamp: Option<Vec<u64>>,
    /// Totals that the sender had delivered when it closed (S5).
    pub(crate) k: u64,
    /// The sender's wall clock.
    pub(crate) wall: u64,
    /// The classes inside.
    pub(crate) runs: Vec<Run>,
    /// Bytes of its body.
    pub(crate) length: u32,
}

/// A stretch of the order: the next `count` totals of lane `rank` get the next positions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    /// The lane.
    pub(crate) rank: u32,
    /// How many of its totals.
    pub(crate) count: u32,
    /// Their replicated time.
    pub(crate) time: u64,
}

/// Consecutive order records.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Records {
    /// The first position they give out.
    pub(crate) from: u64,
    /// The stretches.
    pub(crate) runs: Vec<Record>,
}

/// What a member reports when it promises.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Promise {
    /// The proposal of the highest ballot that it has accepted.
    pub(crate) accepted: Option<Acceptance>,
    /// What it has received, with the order extent.
    pub(crate) received: Cut,
    /// Whether it has the state (L9).
    pub(crate) loaded: bool,
    /// Whether it wants to leave.
    pub(crate) leaving: bool,
    /// Whether its state transfer must start over.
    pub(crate) restart: bool,
}

/// An accepted proposal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Acceptance {
    /// In which ballot.
    pub(crate) ballot: Ballot,
    /// The encoded [`Proposal`].
    #[serde(with = "super::codec::bytes")]
    pub(crate) proposal: Bytes,
}

/// The successor of a view: members, cut and order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Proposal {
    /// The view. Without members the group is dissolved (L8).
    pub(crate) view: View,
    /// Who of the old view is not in it.
    pub(crate) left: Vec<Left>,
    /// The final cut of the old view: one count per rank of the old view.
    pub(crate) cut: Vec<u64>,
    /// The first `base` positions stay as the sequencer gave them out.
    pub(crate) base: u64,
    /// The positions after them: the recorded order restricted to the cut (S6), then the cut's
    /// unordered totals in a linear extension of causality (S4).
    pub(crate) tail: Vec<Record>,
    /// Replicated time does not fall below this in the new view.
    pub(crate) time: u64,
}

/// Why somebody should start a change.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Nudge {
    /// Nodes that want in.
    pub(crate) joins: Vec<JoinRequest>,
    /// The sender has a wish that its promise will tell: it is loaded, leaving, or starts over.
    pub(crate) wish: bool,
    /// The sender has promised this ballot and sees no progress.
    pub(crate) stalled: Option<Ballot>,
    /// Ranks that the sender can't go on with: too slow, or no link to them for long.
    pub(crate) evict: Vec<u32>,
}

/// A node asks to be let into a group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct JoinRequest {
    /// Who.
    pub(crate) node: NodeId,
    /// Which attempt.
    pub(crate) nonce: u64,
    /// Identity of the replicated type it has.
    pub(crate) schema: u64,
    /// What it says of itself.
    #[serde(with = "super::codec::bytes")]
    pub(crate) meta: Bytes,
}

/// A piece of a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Chunk {
    /// The view at whose install it was taken.
    pub(crate) label: ViewNumber,
    /// Where the piece begins.
    pub(crate) offset: u64,
    /// Bytes of the piece; they follow the frame.
    pub(crate) length: u32,
    /// Whether the checkpoint ends with it. How long it is, the donor need not know before.
    pub(crate) last: bool,
}

/// What a joiner wants of its checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Next {
    /// More, as far as the window goes from here.
    More,
    /// No more than the window that it has allowed.
    Wait,
    /// Nothing: all of it is here, or it is not needed.
    Enough,
}
