//! What no correct node ever sends, whatever its state and the receiver's: checked as a frame is
//! decoded, so that nothing behind it can overflow or be made to grow without bound.

use alloc::collections::BTreeSet;

use super::messages::{
    BatchHead, Chunk, Frame, JoinRequest, Message, Nudge, Promise, Proposal, Records,
};
use super::{Ballot, Cut, View};

/// Most members of a view.
pub(crate) const MAX_MEMBERS: usize = 1024;

/// Most bytes that a node may say of itself.
const MAX_META: usize = 64 * 1024;

/// Views, ballots, updates and positions are counted one by one: nobody comes this far, and a sum of
/// [`MAX_MEMBERS`] numbers below it does not overflow.
const HORIZON: u64 = 1 << 50;

pub(super) fn frame(frame: &Frame) -> bool {
    match frame {
        Frame::Heartbeat { groups } => {
            groups.is_sorted_by(|a, b| a.0 < b.0)
                && groups.iter().all(|&(_, _, view, entry)| view < HORIZON && entry < HORIZON)
        }
        Frame::Probe { .. } | Frame::Heard { .. } => true,
        Frame::Group { view, entry, message: inner, .. } => {
            *view < HORIZON && *entry < HORIZON && message(inner)
        }
    }
}

fn message(message: &Message) -> bool {
    match message {
        Message::Data(data) => {
            heads(&data.batches)
                && data.records.as_ref().is_none_or(records)
                && data.ack.as_ref().is_none_or(cut)
        }
        Message::Sync { received, .. } => cut(received),
        Message::Prepare { ballot: number, evict } => ballot(*number) && ranks(evict),
        Message::Promise { ballot: number, promise: inner } => ballot(*number) && promise(inner),
        Message::Reject { promised } => ballot(*promised),
        Message::Fetch { lanes, records: (from, to) } => {
            lanes.is_sorted_by(|a, b| a.0 < b.0)
                && lanes.iter().all(|&(_, from, to)| from < to && to < HORIZON)
                && from <= to
                && *to < HORIZON
        }
        Message::Fetched { lanes, records: order } => {
            lanes.is_sorted_by(|a, b| a.0 < b.0)
                && lanes.iter().all(|(_, batches)| heads(batches))
                && order.as_ref().is_none_or(records)
        }
        Message::Propose { ballot: number, .. } | Message::Accepted { ballot: number } => {
            ballot(*number)
        }
        Message::Nudge(inner) => nudge(inner),
        Message::Join(request) => join(request),
        Message::Excluded { entry } => *entry < HORIZON,
        Message::Chunk(piece) => chunk(piece),
        Message::ChunkAck { label, have } => *label < HORIZON && *have < HORIZON,
        Message::Install { .. }
        | Message::Installed
        | Message::Refused { .. }
        | Message::NotHere { .. } => true,
    }
}

/// Consecutive batches, none of them empty.
fn heads(heads: &[BatchHead]) -> bool {
    let mut next = None;
    heads.iter().all(|head| {
        let count: u64 = head.runs.iter().map(|run| u64::from(run.count)).sum();
        let follows = next.is_none_or(|next| next == head.first);
        next = head.first.checked_add(count);
        follows
            && count > 0
            && head.runs.iter().all(|run| run.count > 0)
            && next.is_some_and(|next| next < HORIZON)
            && head.k < HORIZON
            && head.stamp.iter().flatten().all(|&count| count < HORIZON)
    })
}

fn records(records: &Records) -> bool {
    let end = records.runs.iter().try_fold(records.from, |end, run| {
        let next = end.checked_add(u64::from(run.count))?;
        (run.count > 0).then_some(next)
    });
    end.is_some_and(|end| end < HORIZON)
}

fn cut(cut: &Cut) -> bool {
    cut.counts.len() <= MAX_MEMBERS
        && cut.extent < HORIZON
        && cut.counts.iter().all(|&count| count < HORIZON)
}

fn ballot(ballot: Ballot) -> bool {
    (1..HORIZON).contains(&ballot.n)
}

fn ranks(ranks: &[u32]) -> bool {
    ranks.is_sorted_by(|a, b| a < b) && ranks.iter().all(|&rank| (rank as usize) < MAX_MEMBERS)
}

fn promise(promise: &Promise) -> bool {
    cut(&promise.received)
        && promise.accepted.as_ref().is_none_or(|accepted| ballot(accepted.ballot))
}

fn nudge(nudge: &Nudge) -> bool {
    nudge.joins.len() <= MAX_MEMBERS
        && nudge.joins.is_sorted_by(|a, b| a.node < b.node)
        && nudge.joins.iter().all(join)
        && nudge.stalled.is_none_or(ballot)
        && ranks(&nudge.evict)
}

fn join(join: &JoinRequest) -> bool {
    join.meta.len() <= MAX_META
}

/// A piece lies inside its checkpoint, and only that of an empty checkpoint is empty.
fn chunk(chunk: &Chunk) -> bool {
    let end = chunk.offset.checked_add(u64::from(chunk.length));
    chunk.label < HORIZON
        && chunk.total < HORIZON
        && end.is_some_and(|end| end <= chunk.total)
        && (chunk.length > 0 || chunk.total == 0)
}

/// What every receiver of a proposal relies on, whether it was in the old view or not.
pub(super) fn proposal(proposal: &Proposal) -> bool {
    let old = proposal.cut.len();
    let updates: u64 = proposal.cut.iter().map(|&count| count.min(HORIZON)).sum();
    let positions = proposal.tail.iter().try_fold(proposal.base, |positions, record| {
        let next = positions.checked_add(u64::from(record.count))?;
        ((record.rank as usize) < old && record.count > 0).then_some(next)
    });
    (1..=MAX_MEMBERS).contains(&old)
        && proposal.cut.iter().all(|&count| count < HORIZON)
        // Every position is that of an update inside the cut.
        && positions.is_some_and(|positions| positions <= updates)
        && proposal.left.len() <= old
        && view(&proposal.view)
}

fn view(view: &View) -> bool {
    let number = view.number;
    let mut nodes = BTreeSet::new();
    (2..HORIZON).contains(&number)
        && view.members.len() <= MAX_MEMBERS
        && view.active <= view.members.len()
        && (view.active == 0) == view.members.is_empty()
        && view.members.iter().enumerate().all(|(rank, member)| {
            let (id, active) = (member.id, rank < view.active);
            // Whoever comes in waits for a checkpoint first.
            let source = member
                .transfer
                .is_some_and(|transfer| transfer.label <= number && transfer.donor.node != id.node);
            nodes.insert(id.node)
                && (1..=number).contains(&id.entry)
                && member.meta.len() <= MAX_META
                && if active { id.entry < number } else { source }
        })
}
