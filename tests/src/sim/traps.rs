//! Crashes at a step of the protocol: the first to take the step dies by it.

use bytes::Bytes;
use vsync_core::engine::Output;
use vsync_core::wire::FrameKind;

use super::world::{Stage, World};

/// Steps at which somebody may die, in the order of the report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Sends a batch.
    Batch,
    /// Sends order records.
    Records,
    /// Sends an acknowledgement alone.
    Ack,
    /// Sends a handshake.
    Sync,
    /// Leads: asks for promises.
    Prepare,
    /// Promises.
    Promise,
    /// Asks for what it lacks of a cut.
    Fetch,
    /// Answers that.
    Fetched,
    /// Leads: proposes.
    Propose,
    /// Accepts.
    Accept,
    /// Is the first to install a view.
    Decide,
    /// Installs a view that others have.
    Install,
    /// Wakes who should lead.
    Nudge,
    /// Takes a checkpoint.
    Checkpoint,
    /// Sends a piece of one: as donor.
    Chunk,
    /// Has received a piece of one: as joiner.
    ChunkAck,
    /// Has received all of it.
    Load,
    /// Tells a member that it is excluded.
    Exclude,
}

/// All steps, with their names.
pub(crate) const STEPS: [(Step, &str); 18] = [
    (Step::Batch, "sending a batch"),
    (Step::Records, "sending records"),
    (Step::Ack, "acknowledging"),
    (Step::Sync, "in a handshake"),
    (Step::Prepare, "preparing"),
    (Step::Promise, "promising"),
    (Step::Fetch, "fetching"),
    (Step::Fetched, "answering a fetch"),
    (Step::Propose, "proposing"),
    (Step::Accept, "accepting"),
    (Step::Decide, "telling a decision"),
    (Step::Install, "installing"),
    (Step::Nudge, "nudging"),
    (Step::Checkpoint, "taking a checkpoint"),
    (Step::Chunk, "sending a checkpoint"),
    (Step::ChunkAck, "receiving a checkpoint"),
    (Step::Load, "loading a checkpoint"),
    (Step::Exclude, "telling an exclusion"),
];

/// Somebody dies at a step.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Trap {
    pub(crate) step: Step,
    /// How many times the step is taken before.
    pub(crate) after: u64,
    /// How many die of it, one after the other: the leader, then its successor.
    pub(crate) victims: u64,
}

impl World {
    /// Where in its outputs a host dies by a trap, if it does.
    pub(crate) fn spring(&mut self, host: usize) -> Option<usize> {
        if self.traps.is_empty() || !matches!(self.stage, Stage::Trouble { .. }) {
            return None;
        }
        let places = self.traps.iter().map(|trap| self.place(host, trap.step));
        let (at, place) = places.enumerate().find_map(|(at, place)| Some((at, place?)))?;
        let trap = self.traps[at];
        if trap.after > 0 {
            self.traps[at].after -= 1;
            return None;
        }
        if !self.may_crash(host) {
            return None;
        }
        match trap.victims {
            0 | 1 => {
                self.traps.remove(at);
            }
            more => self.traps[at].victims = more - 1,
        }
        self.totals.steps.count(trap.step);
        let end = self.hosts[host].outputs().len();
        // Just before the step, just after it, or with all that follows from it.
        Some(self.dice.pick(&[place, place + 1, end]))
    }

    /// The first output of a host by which it takes a step.
    fn place(&self, host: usize, step: Step) -> Option<usize> {
        self.hosts[host].outputs().iter().position(|output| match output {
            Output::Accepted { .. } => step == Step::Accept,
            Output::TakeCheckpoint { .. } => step == Step::Checkpoint,
            Output::Loaded { .. } => step == Step::Load,
            Output::Install(install) => {
                let newest = self.books.judge.newest(install.group);
                let fresh = newest.is_none_or(|newest| newest.number < install.view.number);
                step == if fresh { Step::Decide } else { Step::Install }
            }
            Output::Send { frame, .. } => sends(frame) == Some(step),
            _ => false,
        })
    }
}

/// The step that is taken by sending a frame.
fn sends(frame: &Bytes) -> Option<Step> {
    Some(match FrameKind::of(frame)? {
        FrameKind::Batches => Step::Batch,
        FrameKind::Records => Step::Records,
        FrameKind::Ack => Step::Ack,
        FrameKind::Sync => Step::Sync,
        FrameKind::Prepare => Step::Prepare,
        FrameKind::Promise => Step::Promise,
        FrameKind::Fetch => Step::Fetch,
        FrameKind::Fetched => Step::Fetched,
        FrameKind::Propose => Step::Propose,
        FrameKind::Nudge => Step::Nudge,
        FrameKind::Chunk => Step::Chunk,
        FrameKind::ChunkAck => Step::ChunkAck,
        FrameKind::Excluded => Step::Exclude,
        _ => return None,
    })
}
