//! State transfer: checkpoints taken at an install, moved in chunks while they are made and read,
//! and the joiner's replay.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use bytes::{Buf, Bytes};

use super::Turn;
use super::checkpoint::Checkpoint;
use super::install::HeldView;
use super::member::Membership;
use crate::bugs::Bug;
use crate::engine::{DropReason, Install, Output, Traffic};
use crate::wire::messages::{Chunk, Message, Next};
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
    /// The transfer that is under way.
    transfer: Option<Transfer>,
    /// Bytes of it that were handed on.
    received: u64,
    /// The application takes no more for now.
    full: bool,
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
        let transfer = next.members[rank].transfer.as_ref();
        if transfer.is_some_and(|transfer| transfer.label == next.number) {
            waiting.held.clear();
            waiting.restart = false;
        }
    }
}

/// The checkpoints that this member hands out.
#[derive(Clone, Debug, Default)]
pub(crate) struct Outgoing {
    checkpoints: BTreeMap<ViewNumber, Checkpoint>,
    to: BTreeMap<MemberId, Progress>,
    /// Only with the planted bug: taken later than at the install.
    late: Option<Box<(ViewNumber, Vec<MemberId>)>>,
}

#[derive(Clone, Debug)]
struct Progress {
    label: ViewNumber,
    /// Bytes that the joiner has.
    acked: u64,
    sent: u64,
    /// Bytes that may be sent.
    until: u64,
    /// The joiner was told where the checkpoint ends.
    told: bool,
    done: bool,
    /// Something was acknowledged since the last look.
    moved: bool,
}

impl Progress {
    fn new(label: ViewNumber) -> Self {
        let (acked, sent, until) = (0, 0, 0);
        Progress { label, acked, sent, until, told: false, done: false, moved: true }
    }

    fn rewind(&mut self) {
        self.sent = self.acked;
        self.told = false;
    }
}

impl Outgoing {
    pub(crate) fn is_busy(&self) -> bool {
        self.to.values().any(|progress| !progress.done) || self.late.is_some()
    }

    /// After a break, or no progress: send from what is acknowledged.
    pub(crate) fn rewind(&mut self, peer: NodeId) {
        for (_, progress) in self.to.iter_mut().filter(|(id, _)| id.node == peer) {
            progress.rewind();
        }
    }

    /// Periodic: what stands still is sent again. Who has everything that it allowed may have told
    /// in vain that it wants more, and is asked, with a single byte: whoever still takes none must
    /// not get one piece after the other.
    pub(crate) fn rewind_idle(&mut self) {
        for progress in self.to.values_mut() {
            if core::mem::take(&mut progress.moved) {
                continue;
            }
            progress.rewind();
            progress.until = progress.until.max(progress.acked + 1);
        }
    }

    /// Lets go of the pieces that nobody needs any more.
    fn forget(&mut self) {
        for (label, checkpoint) in &mut self.checkpoints {
            let wanting = self.to.values().filter(|p| p.label == *label && !p.done);
            checkpoint.forget(wanting.map(|progress| progress.acked).min());
        }
    }
}

impl Membership {
    /// Whether somebody still waits for a checkpoint of this member's.
    pub(crate) fn is_donating(&self) -> bool {
        self.rare.outgoing.as_ref().is_some_and(|outgoing| outgoing.is_busy())
    }

    /// The checkpoints that this member hands out, if it has any.
    pub(crate) fn outgoing(&mut self) -> Option<&mut Outgoing> {
        self.rare.made()?.outgoing.as_deref_mut()
    }

    /// At an install: takes a checkpoint for the joiners whose donor this member is from now on,
    /// and forgets those whose transfer is over.
    pub(crate) fn plan_transfers(&mut self, turn: &mut Turn<'_>) {
        let me = self.me;
        let number = self.multicast.view.number;
        let mut wanted: BTreeMap<MemberId, ViewNumber> = BTreeMap::new();
        for member in &self.multicast.view.members {
            if let Some(transfer) = member.transfer.as_ref().filter(|transfer| transfer.donor == me)
            {
                wanted.insert(member.id, transfer.label);
            }
        }
        if wanted.is_empty() && self.rare.outgoing.is_none() {
            return;
        }
        let outgoing = self.rare.make().outgoing.get_or_insert_default();
        outgoing.to.retain(|id, progress| wanted.get(id) == Some(&progress.label));
        let mut fresh = Vec::new();
        for (id, label) in wanted {
            if label == number && !outgoing.to.contains_key(&id) {
                outgoing.to.insert(id, Progress::new(label));
                fresh.push(id);
            }
        }
        let used = |label: &ViewNumber| outgoing.to.values().any(|p| p.label == *label);
        outgoing.checkpoints.retain(|label, _| used(label));
        outgoing.forget();
        if outgoing.to.is_empty() && outgoing.late.is_none() {
            self.rare.make().outgoing = None;
            return;
        }
        if fresh.is_empty() {
            return;
        }
        outgoing.checkpoints.insert(number, Checkpoint::default());
        if turn.bugs().has(Bug::OptimisticCheckpoint) {
            outgoing.late = Some(Box::new((number, fresh)));
            return;
        }
        let group = self.id;
        turn.out.push(Output::TakeCheckpoint { group, label: number, joiners: fresh });
    }

    /// Only with the planted bug: takes the checkpoint from the state of the moment.
    pub(crate) fn late_checkpoint(&mut self, turn: &mut Turn<'_>) {
        if let Some(late) = self.outgoing().and_then(|outgoing| outgoing.late.take()) {
            let (label, joiners) = *late;
            turn.out.push(Output::TakeCheckpoint { group: self.id, label, joiners });
        }
    }

    /// The next piece of the application's checkpoint is here.
    pub(crate) fn checkpoint(
        &mut self,
        turn: &mut Turn<'_>,
        label: ViewNumber,
        bytes: Bytes,
        last: bool,
    ) {
        if let Some(outgoing) = self.outgoing()
            && let Some(checkpoint) = outgoing.checkpoints.get_mut(&label)
        {
            checkpoint.add(bytes, last, turn.config.chunk.max(1));
            outgoing.forget();
            self.send_chunks(turn);
        }
    }

    /// Sends what the windows of the transfers allow.
    pub(crate) fn send_chunks(&mut self, turn: &mut Turn<'_>) {
        let window = WINDOW * turn.config.chunk.max(1) as u64;
        let header = self.header();
        let outgoing = self.outgoing();
        let (to, checkpoints) = outgoing.map(|it| (&mut it.to, &it.checkpoints)).unzip();
        for (id, progress) in to.into_iter().flatten() {
            let Some(checkpoint) = checkpoints.and_then(|all| all.get(&progress.label)) else {
                continue;
            };
            // Before it has said anything.
            let until = progress.until.max(if progress.acked == 0 { window } else { 0 });
            while !progress.done
                && !progress.told
                && let Some((piece, last)) = checkpoint.piece(progress.sent)
                && (progress.sent < until || piece.is_empty())
            {
                let room = usize::try_from(until - progress.sent.min(until)).unwrap_or(usize::MAX);
                let last = last && piece.len() <= room;
                let piece = piece.slice(..piece.len().min(room));
                let (label, offset, length) = (progress.label, progress.sent, piece.len() as u32);
                progress.sent += piece.len() as u64;
                progress.told = last;
                let message = Message::Chunk(Chunk { label, offset, length, last });
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
        next: Next,
    ) {
        let window = WINDOW * turn.config.chunk.max(1) as u64;
        let Some(outgoing) = self.outgoing() else {
            return;
        };
        let Some((_, progress)) = outgoing
            .to
            .iter_mut()
            .find(|(id, progress)| id.node == peer && progress.label == label)
        else {
            return;
        };
        let Some(checkpoint) = outgoing.checkpoints.get(&label) else {
            return;
        };
        if have > checkpoint.end() {
            return turn.dropped(peer, DropReason::Invalid);
        }
        progress.acked = progress.acked.max(have);
        progress.sent = progress.sent.max(have);
        progress.moved = true;
        match next {
            Next::More => progress.until = progress.acked + window,
            Next::Wait => {}
            Next::Enough => progress.done = true,
        }
        outgoing.forget();
        self.send_chunks(turn);
        self.settle(turn);
    }

    /// Whether a piece belongs to the checkpoint that this member waits for.
    pub(crate) fn expects(&self, peer: NodeId, chunk: &Chunk) -> bool {
        let transfer = self.view().members[self.rank()].transfer.as_ref();
        transfer
            .is_some_and(|transfer| transfer.donor.node == peer && transfer.label == chunk.label)
    }

    /// A piece that is not needed any more: the donor stops.
    pub(crate) fn refuse_chunk(&mut self, turn: &mut Turn<'_>, peer: NodeId, chunk: &Chunk) {
        let (label, have, next) = (chunk.label, chunk.offset, Next::Enough);
        self.send(turn, [peer], Traffic::Control, Message::ChunkAck { label, have, next });
    }

    /// A piece of this joiner's checkpoint.
    pub(crate) fn on_chunk(
        &mut self,
        turn: &mut Turn<'_>,
        peer: NodeId,
        chunk: &Chunk,
        mut body: Bytes,
    ) {
        let Some(transfer) = self.view().members[self.rank()].transfer.as_deref().copied() else {
            return;
        };
        let Loading::Waiting(waiting) = &mut self.loading else {
            return self.refuse_chunk(turn, peer, chunk);
        };
        if waiting.transfer != Some(transfer) {
            waiting.transfer = Some(transfer);
            waiting.received = 0;
        }
        let Transfer { donor, label } = transfer;
        let (offset, end) = (waiting.received, chunk.offset + u64::from(chunk.length));
        // What is beyond a piece that was lost comes again, and what is here may.
        let follows = (chunk.offset..=end).contains(&offset);
        if follows && (offset < end || end == 0) {
            body.advance((offset - chunk.offset) as usize);
            waiting.received = end;
            let bytes = body;
            turn.out.push(Output::Load { group: self.id, label, donor, offset, bytes });
        }
        let complete = follows && chunk.last;
        let (have, full) = (waiting.received, waiting.full);
        let next = match (complete, full) {
            (true, _) => Next::Enough,
            (false, true) => Next::Wait,
            (false, false) => Next::More,
        };
        self.send(turn, [peer], Traffic::Control, Message::ChunkAck { label, have, next });
        if complete {
            self.load(turn, transfer);
        }
    }

    /// The application takes no more pieces for now, or does again.
    pub(crate) fn hold_transfer(&mut self, turn: &mut Turn<'_>, on: bool) {
        let Loading::Waiting(waiting) = &mut self.loading else {
            return;
        };
        waiting.full = on;
        let have = waiting.received;
        if let Some(Transfer { donor, label }) = waiting.transfer.filter(|_| !on) {
            let next = Next::More;
            let message = Message::ChunkAck { label, have, next };
            self.send(turn, [donor.node], Traffic::Control, message);
        }
    }

    /// The checkpoint is complete: the state is replaced, and what followed the label is replayed.
    fn load(&mut self, turn: &mut Turn<'_>, transfer: Transfer) {
        let Loading::Waiting(waiting) = core::mem::replace(&mut self.loading, Loading::Done) else {
            return;
        };
        let Transfer { donor, label } = transfer;
        let group = self.id;
        turn.marks.loaded += 1;
        turn.out.push(Output::Loaded { group, label, donor });
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
        if let Some(install) = self.rare.made().and_then(|rare| rare.install.take()) {
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
        let limit = self.terms.join_buffer;
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
