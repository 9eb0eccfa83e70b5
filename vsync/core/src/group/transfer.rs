//! State transfer: checkpoints taken at an install, moved in chunks, and the joiner's replay.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use bytes::{Bytes, BytesMut};
use xxhash_rust::xxh3::xxh3_64;

use super::Turn;
use super::install::HeldView;
use super::member::Membership;
use crate::bugs::Bug;
use crate::engine::{DropReason, Install, Output, Traffic};
use crate::wire::messages::{Chunk, Message};
use crate::wire::{MemberId, NodeId, Rank, Transfer, View, ViewNumber};

/// Chunks under way to one joiner.
const WINDOW: u64 = 8;

/// Whether this member has the state.
#[derive(Clone, Debug)]
pub(crate) enum Loading {
    Done,
    Waiting(Box<Waiting>),
}

/// A joiner's checkpoint on its way, and what is to be replayed on it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Waiting {
    held: Vec<HeldView>,
    /// The transfer that `buffer` belongs to.
    transfer: Option<Transfer>,
    buffer: BytesMut,
    restart: bool,
}

impl Loading {
    pub(crate) fn new() -> Self {
        Loading::Waiting(Box::default())
    }

    pub(crate) fn is_done(&self) -> bool {
        matches!(self, Loading::Done)
    }

    pub(crate) fn wants_restart(&self) -> bool {
        matches!(self, Loading::Waiting(waiting) if waiting.restart)
    }

    pub(crate) fn held_bytes(&self) -> usize {
        match self {
            Loading::Done => 0,
            Loading::Waiting(waiting) => {
                waiting.held.iter().map(|held| held.multicast.retained()).sum()
            }
        }
    }

    /// Keeps a closed view for the replay; where the transfer starts anew with `next`, nothing
    /// before it is needed.
    pub(crate) fn hold(&mut self, held: HeldView, next: &View, rank: Rank) {
        let Loading::Waiting(waiting) = self else {
            return;
        };
        waiting.held.push(held);
        let transfer = next.members[rank].transfer;
        if transfer.is_some_and(|transfer| transfer.label == next.number) {
            waiting.held.clear();
            waiting.restart = false;
        }
    }
}

/// The checkpoints that this member hands out.
#[derive(Clone, Debug, Default)]
pub(crate) struct Outgoing {
    checkpoints: BTreeMap<ViewNumber, Option<(Bytes, u64)>>,
    to: BTreeMap<MemberId, Progress>,
    /// Only with the planted bug: taken later than at the install.
    late: Option<Box<(ViewNumber, Vec<MemberId>)>>,
}

#[derive(Clone, Debug)]
struct Progress {
    label: ViewNumber,
    acked: u64,
    sent: u64,
    started: bool,
    done: bool,
    /// Something was acknowledged since the last look.
    moved: bool,
}

impl Outgoing {
    pub(crate) fn is_busy(&self) -> bool {
        self.to.values().any(|progress| !progress.done) || self.late.is_some()
    }

    /// After a break, or no progress: send from what is acknowledged.
    pub(crate) fn rewind(&mut self, peer: NodeId) {
        for (id, progress) in &mut self.to {
            if id.node == peer {
                progress.sent = progress.acked;
                progress.started = false;
            }
        }
    }

    /// Periodic: what stands still is sent again.
    pub(crate) fn rewind_idle(&mut self) {
        for progress in self.to.values_mut() {
            if core::mem::take(&mut progress.moved) {
                continue;
            }
            progress.sent = progress.acked;
            progress.started = false;
        }
    }
}

impl Membership {
    /// At an install: takes a checkpoint for the joiners whose donor this member is from now on,
    /// and forgets those whose transfer is over.
    pub(crate) fn plan_transfers(&mut self, turn: &mut Turn<'_>) {
        let me = self.me;
        let number = self.multicast.view.number;
        let mut wanted: BTreeMap<MemberId, ViewNumber> = BTreeMap::new();
        for member in &self.multicast.view.members {
            if let Some(transfer) = member.transfer.filter(|transfer| transfer.donor == me) {
                wanted.insert(member.id, transfer.label);
            }
        }
        let outgoing = &mut self.outgoing;
        outgoing.to.retain(|id, progress| wanted.get(id) == Some(&progress.label));
        let mut fresh = Vec::new();
        for (id, label) in wanted {
            if label == number && !outgoing.to.contains_key(&id) {
                let progress =
                    Progress { label, acked: 0, sent: 0, started: false, done: false, moved: true };
                outgoing.to.insert(id, progress);
                fresh.push(id);
            }
        }
        let used = |label: &ViewNumber| outgoing.to.values().any(|p| p.label == *label);
        outgoing.checkpoints.retain(|label, _| used(label));
        if outgoing.to.is_empty() {
            // Emptied maps keep a node each: a kilobyte, in every group.
            outgoing.to = BTreeMap::new();
            outgoing.checkpoints = BTreeMap::new();
        }
        if fresh.is_empty() {
            return;
        }
        outgoing.checkpoints.insert(number, None);
        if turn.bugs().has(Bug::OptimisticCheckpoint) {
            outgoing.late = Some(Box::new((number, fresh)));
            return;
        }
        let group = self.id;
        turn.out.push(Output::TakeCheckpoint { group, label: number, joiners: fresh });
    }

    /// Only with the planted bug: takes the checkpoint from the state of the moment.
    pub(crate) fn late_checkpoint(&mut self, turn: &mut Turn<'_>) {
        if let Some(late) = self.outgoing.late.take() {
            let (label, joiners) = *late;
            turn.out.push(Output::TakeCheckpoint { group: self.id, label, joiners });
        }
    }

    /// The application's checkpoint is here.
    pub(crate) fn checkpoint(&mut self, turn: &mut Turn<'_>, label: ViewNumber, bytes: Bytes) {
        if let Some(checkpoint) = self.outgoing.checkpoints.get_mut(&label) {
            let hash = xxh3_64(&bytes);
            *checkpoint = Some((bytes, hash));
            self.send_chunks(turn);
        }
    }

    /// Sends what the windows of the transfers allow.
    pub(crate) fn send_chunks(&mut self, turn: &mut Turn<'_>) {
        let size = turn.config.chunk.max(1) as u64;
        let header = self.header();
        for (id, progress) in &mut self.outgoing.to {
            let Some(Some((bytes, hash))) = self.outgoing.checkpoints.get(&progress.label) else {
                continue;
            };
            let total = bytes.len() as u64;
            while !progress.done
                && (progress.sent < total.min(progress.acked + WINDOW * size) || !progress.started)
            {
                progress.started = true;
                let end = total.min(progress.sent + size);
                let piece = bytes.slice(progress.sent as usize..end as usize);
                let chunk = Chunk {
                    label: progress.label,
                    offset: progress.sent,
                    total,
                    hash: *hash,
                    length: piece.len() as u32,
                };
                progress.sent = end;
                let message = Message::Chunk(chunk);
                turn.cast(header, [id.node], Traffic::Bulk, message, &[piece]);
            }
        }
        self.arm_chores(turn);
    }

    pub(crate) fn on_chunk_ack(
        &mut self,
        turn: &mut Turn<'_>,
        peer: NodeId,
        label: ViewNumber,
        have: u64,
    ) {
        let Some((_, progress)) = self
            .outgoing
            .to
            .iter_mut()
            .find(|(id, progress)| id.node == peer && progress.label == label)
        else {
            return;
        };
        let Some(Some((bytes, _))) = self.outgoing.checkpoints.get(&label) else {
            return;
        };
        let total = bytes.len() as u64;
        if have > total {
            return turn.dropped(peer, DropReason::Invalid);
        }
        if have < progress.acked {
            // It starts over: what it had did not match its checksum.
            progress.sent = have;
        }
        progress.acked = have;
        progress.moved = true;
        progress.sent = progress.sent.max(have);
        progress.done = have == total;
        self.send_chunks(turn);
        self.settle(turn);
    }

    /// Whether a piece belongs to the checkpoint that this member waits for.
    pub(crate) fn expects(&self, peer: NodeId, chunk: &Chunk) -> bool {
        let transfer = self.view().members[self.rank()].transfer;
        transfer
            .is_some_and(|transfer| transfer.donor.node == peer && transfer.label == chunk.label)
    }

    /// A piece that is not needed any more: as if all were here, so that the donor stops.
    pub(crate) fn refuse_chunk(&mut self, turn: &mut Turn<'_>, peer: NodeId, chunk: &Chunk) {
        let message = Message::ChunkAck { label: chunk.label, have: chunk.total };
        self.send(turn, [peer], Traffic::Control, message);
    }

    /// A piece of this joiner's checkpoint.
    pub(crate) fn on_chunk(
        &mut self,
        turn: &mut Turn<'_>,
        peer: NodeId,
        chunk: &Chunk,
        body: Bytes,
    ) {
        let Some(transfer) = self.view().members[self.rank()].transfer else {
            return;
        };
        let Loading::Waiting(waiting) = &mut self.loading else {
            return self.refuse_chunk(turn, peer, chunk);
        };
        let label = chunk.label;
        if waiting.transfer != Some(transfer) {
            waiting.transfer = Some(transfer);
            waiting.buffer.clear();
        }
        if chunk.offset == waiting.buffer.len() as u64 {
            waiting.buffer.extend_from_slice(&body);
        }
        let mut have = waiting.buffer.len() as u64;
        let complete = have == chunk.total;
        let intact = complete && xxh3_64(&waiting.buffer) == chunk.hash;
        if complete && !intact || have > chunk.total {
            waiting.buffer.clear();
            have = 0;
        }
        self.send(turn, [peer], Traffic::Control, Message::ChunkAck { label, have });
        if intact {
            self.load(turn, transfer);
        }
    }

    /// The checkpoint is complete: the state is replaced, and what followed the label is replayed.
    fn load(&mut self, turn: &mut Turn<'_>, transfer: Transfer) {
        let Loading::Waiting(waiting) = core::mem::replace(&mut self.loading, Loading::Done) else {
            return;
        };
        let Transfer { donor, label } = transfer;
        let (group, bytes) = (self.id, waiting.buffer.freeze());
        turn.marks.loaded += 1;
        turn.out.push(Output::Loaded { group, label, donor, bytes });
        let mut first = true;
        let me = self.me;
        let mut tell = |turn: &mut Turn<'_>, install: &Install| {
            let mut install = install.clone();
            if core::mem::take(&mut first) {
                install.together = alloc::vec![me];
            }
            turn.out.push(Output::Install(install));
        };
        for mut held in waiting.held {
            let from = label + u64::from(turn.bugs().has(Bug::LabelOffByOne));
            if held.install.view.number < from || turn.bugs().has(Bug::SkipReplay) {
                continue;
            }
            turn.marks.replayed += 1;
            tell(turn, &held.install);
            let mut deliveries = Vec::new();
            let decided = &held.decided;
            let (cut, tail) = (&decided.cut, &decided.tail);
            held.multicast.finish(group, cut, decided.base, tail, &mut deliveries);
            for delivery in deliveries {
                turn.out.push(Output::Deliver(delivery));
            }
        }
        if let Some(install) = self.install.take() {
            tell(turn, &install);
        }
        self.settle(turn);
        self.consider(turn);
        // The decision may have come while the checkpoint was on its way.
        self.advance_change(turn, None);
    }

    /// A joiner that holds more than its bound starts over.
    pub(crate) fn bound_joiner(&mut self, turn: &mut Turn<'_>) {
        let held = self.loading.held_bytes() + self.multicast.retained();
        let limit = self.config.join_buffer;
        if let Loading::Waiting(waiting) = &mut self.loading
            && held > limit
            && !waiting.restart
        {
            waiting.restart = true;
            turn.marks.restarts += 1;
            self.consider(turn);
        }
    }
}
