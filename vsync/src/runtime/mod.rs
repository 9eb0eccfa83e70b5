//! Floor 6: the only asynchronous code. One task per node, the driver, owns the engine and all
//! replicas; everything else hands it commands, or reads what it has left behind a short lock.

pub(crate) mod apply;
pub(crate) mod attempts;
mod away;
pub(crate) mod callers;
pub(crate) mod checkpoint;
pub(crate) mod clock;
pub(crate) mod cold;
mod commits;
mod compare;
mod copied;
mod counts;
pub(crate) mod desk;
mod driver;
pub(crate) mod dropped;
mod emitted;
mod frames;
pub(crate) mod free;
pub(crate) mod history;
pub(crate) mod inner;
pub(crate) mod outbox;
#[cfg(test)]
mod outcomes;
pub(crate) mod pending;
pub(crate) mod pile;
pub(crate) mod replica;
pub(crate) mod requests;
pub(crate) mod ring;
pub(crate) mod room;
pub(crate) mod rpc;
pub(crate) mod seat;
pub(crate) mod seldom;
pub(crate) mod sessions;
mod slot;
pub(crate) mod stability;
pub(crate) mod status;
pub(crate) mod threads;
pub(crate) mod timers;
mod transfer;
pub(crate) mod typed;
mod verdicts;

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use vsync_core::engine::{GroupConfig, Refusal};
use vsync_core::wire::{GroupId, MemberId, NodeId};

pub(crate) use driver::{Driver, Parts};

use crate::error::GroupError;
use crate::report::GroupReport;
use crate::state::CheckpointError;
use crate::view::View;
use checkpoint::{Opened, Sealed};
use replica::{Encoding, Replica};
use seat::Seat;

/// First byte of every frame: what it is for. All but these are the engine's, whose frames begin
/// with a byte below 0x80: so nothing is put before them.
pub(crate) mod tag {
    /// The rest is a question or an answer between nodes and clients.
    pub(crate) const RPC: u8 = 0xff;
}

/// What the driver is asked to do.
pub(crate) enum Command {
    /// The outbox of this group is no longer empty, or its replica sleeps and is needed.
    Submit(GroupId),
    /// Tell when everything delivered and sent here so far is stable.
    Flush {
        /// The group.
        group: GroupId,
        /// Who waits.
        tell: oneshot::Sender<Result<(), GroupError>>,
    },
    /// Make a group, or become a member of one.
    Open(Box<Opening>),
    /// Ask these members, under this number, or make it: the group is being joined already.
    Ask {
        /// What it was known as.
        group: GroupId,
        /// What it is known as now.
        now: GroupId,
        /// Its generation now.
        generation: u32,
        /// Active members; `None` makes the group.
        contacts: Option<Vec<NodeId>>,
        /// Who wants to know how it goes, from now on.
        progress: Option<mpsc::UnboundedSender<Progress>>,
    },
    /// Leave in an orderly way.
    Leave {
        /// The group.
        group: GroupId,
        /// Who waits.
        tell: oneshot::Sender<()>,
    },
    /// End the membership at once.
    Abandon {
        /// The group.
        group: GroupId,
        /// Why, for whoever reads the group's events.
        why: String,
    },
    /// The next piece of a checkpoint that is being taken.
    Piece {
        /// The name of the work.
        work: u64,
        /// The view after whose install it is taken.
        label: u64,
        /// What follows of it.
        bytes: Bytes,
    },
    /// More pieces of a checkpoint that is being loaded can be taken.
    Room {
        /// The group.
        group: GroupId,
        /// The transfer, as this node numbers them.
        transfer: u64,
    },
    /// A replica has done what it did away from the driver.
    Worked {
        /// The name of the work.
        work: u64,
        /// What came of it.
        outcome: Outcome,
    },
    /// Say how all groups are.
    Report {
        /// Who waits.
        tell: oneshot::Sender<Vec<GroupReport>>,
    },
    /// Write out what is still in buffers and stop.
    Stop {
        /// Who waits.
        tell: oneshot::Sender<()>,
    },
}

/// What came of work that a replica did away from the driver.
pub(crate) enum Outcome {
    /// The state is copied; the checkpoint is still to be made of it.
    Copied(Point, Encoding),
    /// A checkpoint was taken: this is the end of it.
    Saved(Point, Result<Sealed, CheckpointError>),
    /// A checkpoint was loaded.
    Loaded(Result<Opened, CheckpointError>),
    /// A range was applied.
    Applied(away::Applied),
    /// A view was installed.
    Entered(away::Entered),
    /// The work has panicked.
    Panicked(String),
}

/// Where in a group's stream a checkpoint was taken, and for whom.
pub(crate) struct Point {
    /// The view after whose install.
    pub(crate) label: u64,
    /// How many updates of that view were applied before it.
    pub(crate) delivered: u64,
    /// Who waits for it.
    pub(crate) joiners: Vec<MemberId>,
    /// When that began.
    pub(crate) begun: Instant,
    pub(crate) span: tracing::Span,
}

/// A group that begins at this node.
pub(crate) struct Opening {
    pub(crate) group: GroupId,
    pub(crate) seat: Arc<Seat>,
    pub(crate) replica: Box<dyn Replica>,
    pub(crate) config: GroupConfig,
    /// Members to ask; `None` makes the group.
    pub(crate) contacts: Option<Vec<NodeId>>,
    pub(crate) progress: mpsc::UnboundedSender<Progress>,
}

/// How becoming a member goes.
#[derive(Debug)]
pub(crate) enum Progress {
    /// This node is an active member now.
    Active,
    /// A member said no.
    Refused(Refusal),
    /// The membership ended before it was active: ask again.
    Ended,
    /// The state could not be loaded: it is over.
    Checkpoint(CheckpointError),
    /// A method of the type failed: it is over.
    Broken(String),
}

/// What the driver tells the node.
#[derive(Debug)]
pub(crate) enum Notice {
    /// A view was installed of which this node is the coordinator.
    Coordinates {
        /// The group.
        seat: Arc<Seat>,
        /// The view.
        view: View,
    },
    /// The node was excluded: it should join again.
    Excluded(Arc<Seat>),
    /// The membership is over.
    Closed {
        /// The group.
        seat: Arc<Seat>,
        /// Whether nobody is left in it.
        last: bool,
        /// Who waits for its end: told when the name may be used again.
        leaving: Vec<oneshot::Sender<()>>,
    },
    /// These nodes were in a view that is over, and are not in its successor.
    Gone(Vec<NodeId>),
    /// The directory's view has changed.
    Directory(View),
    /// Everything told before has been seen to.
    Barrier(oneshot::Sender<()>),
}
