//! What goes into the engine and what comes out of it.

use alloc::vec::Vec;

use bytes::Bytes;

use crate::wire::{Cut, GroupId, Left, MemberId, Micros, NodeId, SharedView, ViewNumber};

/// The order class of an update.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
pub enum Class {
    /// Sender order.
    Fifo,
    /// After everything that its sender had delivered before sending it.
    Causal,
    /// One order for all, consistent with sender order and causality.
    Total,
}

/// When an update may be delivered.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
pub enum Level {
    /// As soon as the order allows.
    Optimistic,
    /// Only inside the stable cut.
    Stable,
}

/// Consecutive updates of one lane that share class and level.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Run {
    /// The order of these updates.
    pub class: Class,
    /// When they may be delivered.
    pub level: Level,
    /// How many they are; at least 1.
    pub count: u32,
}

/// How urgent a frame is. The network may carry each class on a stream of its own: the protocol
/// does not rely on order between classes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Traffic {
    /// View changes, liveness, joins: first.
    Control,
    /// Batches, order records, acknowledgements.
    Updates,
    /// Checkpoints and fetched batches: last.
    Bulk,
}

/// What a group is made with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupConfig {
    /// Which incarnation of the group's name; frames of another generation are not for this group.
    pub generation: u32,
    /// Identity of the replicated type: a joiner with another one is refused.
    pub schema: u64,
    /// Whether the type has causal updates; only then batches carry stamps.
    pub causal: bool,
    /// What this node says of itself to the others; opaque here.
    pub meta: Bytes,
    /// Flow control: bytes of own updates numbered but not yet held by all members.
    pub window: usize,
    /// How many bytes a joiner holds while it is not loaded, before it asks to start over.
    pub join_buffer: usize,
}

/// Something that happened to a node. Every change of the engine's state comes in as one of these.
#[derive(Clone, Debug)]
pub enum Input {
    /// A connection to `peer` is up, for the first time or again.
    Connected {
        /// The other end.
        peer: NodeId,
    },
    /// The connection to `peer` broke; a suffix of what was sent may be lost. Never a failure.
    Disconnected {
        /// The other end.
        peer: NodeId,
    },
    /// The peer's process is known to have ended (its host refused a fresh connection).
    Ended {
        /// The node that is gone.
        peer: NodeId,
    },
    /// A frame that `peer` sent.
    Frame {
        /// The authenticated sender.
        peer: NodeId,
        /// What it sent, exactly as its engine put it out.
        frame: Bytes,
    },
    /// Make a group with this node as its only member.
    Create {
        /// The new group.
        group: GroupId,
        /// What it is made with.
        config: GroupConfig,
    },
    /// Join a group through members of it that are known. Sent again for a group that is still
    /// joining, it replaces the contacts; for a member that is blocked, the contacts are asked what
    /// became of its view (all members that it knows itself may be gone).
    Join {
        /// The group.
        group: GroupId,
        /// Active members to ask, in turn.
        contacts: Vec<NodeId>,
        /// Tells this attempt from earlier ones: greater than every earlier one of this node.
        nonce: u64,
        /// What this node would have made it with.
        config: GroupConfig,
    },
    /// Updates for the group, in order. A member may submit as many bytes as [`Output::Credit`]
    /// granted; what is beyond it waits, but is never lost.
    Submit {
        /// The group.
        group: GroupId,
        /// The classes, one run after the other. The counts add up to the updates in `body`.
        runs: Vec<Run>,
        /// Each update as a little-endian `u32` length and that many bytes.
        body: Bytes,
        /// The sender's wall clock in microseconds since the Unix epoch: the batch's time.
        wall: u64,
        /// Whether somebody waits for stability: acknowledgements are then asked for at once.
        urgent: bool,
    },
    /// The network can take more: open batches close and are sent, acknowledgements owed go out.
    Close,
    /// Asks for [`Output::Flushed`] when everything delivered or submitted here so far is stable.
    /// The others are asked for it with the next [`Input::Close`].
    Flush {
        /// The group.
        group: GroupId,
        /// Comes back in the output.
        id: u64,
    },
    /// The next piece of the checkpoint that [`Output::TakeCheckpoint`] asked for. It is let go of
    /// when all who join by it have it, or need it no more.
    Checkpoint {
        /// The group.
        group: GroupId,
        /// The view at whose install it was taken.
        label: ViewNumber,
        /// What follows of the state at that point of the stream.
        bytes: Bytes,
        /// Whether that was all of it.
        last: bool,
    },
    /// The application cannot keep up with the pieces of its checkpoint (`on`), or can again. Until
    /// then the donor sends little more than is under way.
    HoldTransfer {
        /// The group.
        group: GroupId,
        /// Whether pieces are to wait from now on.
        on: bool,
    },
    /// Go on in a new view, though nobody comes or goes: what was delivered in this one is then
    /// delivered by all, and before anything else.
    Renew {
        /// The group.
        group: GroupId,
    },
    /// From now on acknowledgements that nobody waits for may be owed for so much longer than
    /// [`EngineConfig::ack_delay`]: where an application lets updates gather for long, they ride on
    /// its batches. At most `change_retry`: members that hear nothing for longer send again. What
    /// fills a good part of a sender's window is waited for, and so may be what comes soon after
    /// somebody has asked.
    Relax {
        /// So much longer.
        acks: Micros,
    },
    /// The application cannot keep up with what is delivered (`on`), or can again. Until then
    /// nothing that comes is acknowledged, so the others' windows fill and they wait. What is here
    /// counts in view changes, and others' updates become stable with the acknowledgements of a
    /// quorum, as ever.
    Hold {
        /// The group.
        group: GroupId,
        /// Whether nothing is acknowledged from now on.
        on: bool,
    },
    /// Leave the group in an orderly way: updates submitted before are delivered by the others.
    Leave {
        /// The group.
        group: GroupId,
    },
    /// Forget the group at once, as a crash of this membership would. The others find out.
    Abandon {
        /// The group.
        group: GroupId,
    },
    /// The deadline came.
    Tick,
}

/// A range of updates, to be applied in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// The group.
    pub group: GroupId,
    /// The view it was sent and is delivered in.
    pub view: ViewNumber,
    /// Who sent it.
    pub sender: MemberId,
    /// The sender's rank in the view.
    pub rank: usize,
    /// The first update's number in the sender's lane.
    pub seq: u64,
    /// How many updates: `[seq, seq + count)`.
    pub count: u32,
    /// Their order.
    pub class: Class,
    /// Their level.
    pub level: Level,
    /// For totals: position of the first in the view's total order.
    pub position: Option<u64>,
    /// Replicated time: the sender's clock once per batch; for totals made monotone by the
    /// sequencer.
    pub time: u64,
    /// Each update as a little-endian `u32` length and that many bytes.
    pub body: Bytes,
}

/// The install of a view.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Install {
    /// The group.
    pub group: GroupId,
    /// The new view; shared, since everybody keeps it until the next.
    pub view: SharedView,
    /// This node's rank in it.
    pub rank: usize,
    /// Who came with this member from its previous view (the transitional set), itself included.
    pub together: Vec<MemberId>,
    /// Who is new.
    pub joined: Vec<MemberId>,
    /// Who is gone, and why.
    pub left: Vec<Left>,
    /// The final cut of the view before: what everybody who moved on has delivered in it.
    pub cut: Cut,
}

/// Why a join was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Refusal {
    /// The member asked does not know the group, or is no longer in it.
    UnknownGroup,
    /// The group replicates another type, or another version of it.
    Schema {
        /// The group's identity of its type.
        theirs: u64,
    },
    /// The group is of another generation.
    Generation {
        /// The group's generation.
        theirs: u32,
    },
}

/// Why something a peer sent was dropped. Bytes from a peer never fail the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DropReason {
    /// Not a frame of this protocol.
    Malformed,
    /// For a group that this node is not in.
    UnknownGroup,
    /// For another generation of the group.
    WrongGeneration,
    /// For a view that is over.
    OldView,
    /// For a view not yet installed here, and the buffer for such frames is full.
    EarlyFull,
    /// From a node that is not a member of the view.
    NotMember,
    /// A range that starts beyond what is here: an earlier one was lost; it will be sent again.
    Gap,
    /// This member has promised to leave the view and takes nothing more in it.
    Frozen,
    /// A number, rank or count that no correct member sends.
    Invalid,
}

impl DropReason {
    /// All reasons, in the order of their declaration.
    pub const ALL: [DropReason; 9] = [
        DropReason::Malformed,
        DropReason::UnknownGroup,
        DropReason::WrongGeneration,
        DropReason::OldView,
        DropReason::EarlyFull,
        DropReason::NotMember,
        DropReason::Gap,
        DropReason::Frozen,
        DropReason::Invalid,
    ];
}

/// What the engine wants done, in order. `Deliver`, `Install`, `TakeCheckpoint`, `Load` and
/// `Loaded` of one group are one ordered stream: the position of a checkpoint is a fact, not a
/// protocol.
#[derive(Clone, Debug)]
pub enum Output {
    /// Send a frame; it is dropped where there is no connection.
    Send {
        /// To whom.
        peer: NodeId,
        /// How urgent.
        traffic: Traffic,
        /// The bytes, shared between the copies for several peers. The first is below 0x80: a
        /// runtime may tell frames of its own by the others.
        frame: Bytes,
    },
    /// Own updates got their numbers, in the order of their submission.
    Sent {
        /// The group.
        group: GroupId,
        /// The view they belong to.
        view: ViewNumber,
        /// Number of the first.
        seq: u64,
        /// How many, of what class and level.
        run: Run,
    },
    /// Apply these.
    Deliver(Delivery),
    /// A view is installed. Everything delivered in earlier views is stable.
    Install(Install),
    /// Take a checkpoint now, before any later delivery, and hand it in as [`Input::Checkpoint`]:
    /// at once or piece by piece, as it is made.
    TakeCheckpoint {
        /// The group.
        group: GroupId,
        /// The view just installed.
        label: ViewNumber,
        /// For whom.
        joiners: Vec<MemberId>,
    },
    /// The next piece of this joiner's checkpoint. One at offset 0 begins a transfer: what came of
    /// another before, from a donor that has failed perhaps, is void.
    Load {
        /// The group.
        group: GroupId,
        /// The view at whose install it was taken.
        label: ViewNumber,
        /// Who took it.
        donor: MemberId,
        /// Where the piece begins: at the end of the one before.
        offset: u64,
        /// What follows of the state.
        bytes: Bytes,
    },
    /// That was all of it: replace the state by it. The views and deliveries since the label
    /// follow.
    Loaded {
        /// The group.
        group: GroupId,
        /// The view at whose install it was taken.
        label: ViewNumber,
        /// Who took it.
        donor: MemberId,
    },
    /// The stable cut has grown. `extent` counts the stable positions.
    Stable {
        /// The group.
        group: GroupId,
        /// The view.
        view: ViewNumber,
        /// All of it survives into every successor view.
        cut: Cut,
    },
    /// Answers [`Input::Flush`].
    Flushed {
        /// The group.
        group: GroupId,
        /// As given.
        id: u64,
    },
    /// This many more bytes of updates may be submitted. Who has submitted more than it might
    /// counts on from below zero.
    Credit {
        /// The group.
        group: GroupId,
        /// Bytes of [`Input::Submit`] bodies.
        bytes: u64,
    },
    /// A change of the view has begun for this member: what is still to be delivered in this view
    /// comes with the decision. Told once per view; not where the decision comes first.
    Frozen {
        /// The group.
        group: GroupId,
        /// The view being left.
        view: ViewNumber,
    },
    /// This member holds all of a proposal and has accepted it.
    Accepted {
        /// The group.
        group: GroupId,
        /// The view being left.
        view: ViewNumber,
        /// The ballot's number and leader.
        ballot: crate::wire::Ballot,
        /// Hash of the proposal's bytes.
        proposal: u64,
        /// The cut it proposes.
        cut: Cut,
    },
    /// No quorum is in sight: calls wait.
    Blocked {
        /// The group.
        group: GroupId,
    },
    /// The group goes on.
    Resumed {
        /// The group.
        group: GroupId,
    },
    /// This membership is over, not by its own wish; the state is void. Join again for a new one.
    Excluded {
        /// The group.
        group: GroupId,
        /// The last view that was installed here.
        view: ViewNumber,
        /// If the decision is known: how many own updates of that view are in its final cut.
        decided: Option<u64>,
    },
    /// The leave is complete: the others no longer need this member.
    Left {
        /// The group.
        group: GroupId,
        /// The last view that was installed here.
        view: ViewNumber,
        /// How many own updates of that view are in its final cut.
        decided: u64,
    },
    /// The join was refused by a member asked.
    Refused {
        /// The group.
        group: GroupId,
        /// Why.
        reason: Refusal,
    },
    /// Something a peer sent was dropped.
    Dropped {
        /// Who sent it.
        peer: NodeId,
        /// Why it was dropped.
        reason: DropReason,
    },
}

/// The engine's outputs of one call, in order.
#[derive(Clone, Debug, Default)]
pub struct Outputs {
    list: Vec<Output>,
}

impl Outputs {
    /// No outputs.
    pub fn new() -> Self {
        Self::default()
    }

    pub(crate) fn push(&mut self, output: Output) {
        self.list.push(output);
    }

    /// Takes the outputs out, oldest first; the buffer is kept for the next call.
    pub fn drain(&mut self) -> alloc::vec::Drain<'_, Output> {
        self.list.drain(..)
    }

    /// The outputs, oldest first.
    pub fn as_slice(&self) -> &[Output] {
        &self.list
    }

    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }
}

/// What an engine is made with. Times are microseconds.
#[derive(Clone, Debug)]
pub struct EngineConfig {
    /// This node.
    pub node: NodeId,
    /// A heartbeat is sent to a peer that was sent nothing for this long.
    pub heartbeat: Micros,
    /// Least silence after which a peer is suspected, if nobody else hears it either; the detector
    /// adapts upward from it. Others are asked when two fifths of it are over.
    pub silence: Micros,
    /// How long a link between two members may stay broken, while others reach both, before the
    /// junior of the two is evicted.
    pub link_timeout: Micros,
    /// How long an acknowledgement may be owed when nobody waits for it.
    pub ack_delay: Micros,
    /// T of the view change: a step that makes no progress for this long is repeated.
    pub change_retry: Micros,
    /// Most groups whose view changes this node begins to lead at once; one that stands still for
    /// T does not count. The others go on in their views until it is their turn.
    pub changes: usize,
    /// A member that stays slowest for this long while a sender's window is full is evicted.
    pub slow_member_timeout: Micros,
    /// So much of a flow control window is used in any case: as little is no queue worth avoiding.
    pub least_window: usize,
    /// Most bytes of one checkpoint chunk.
    pub chunk: usize,
    /// Planted bugs, for the bug bank; empty without its feature.
    pub bugs: crate::bugs::Bugs,
}

impl EngineConfig {
    /// The defaults for a node in a local network.
    pub fn new(node: NodeId) -> Self {
        EngineConfig {
            node,
            heartbeat: 100_000,
            silence: 500_000,
            link_timeout: 5_000_000,
            ack_delay: 2_000,
            change_retry: 100_000,
            changes: 64,
            slow_member_timeout: 10_000_000,
            least_window: 64 * 1024,
            chunk: 256 * 1024,
            bugs: crate::bugs::Bugs::default(),
        }
    }
}
