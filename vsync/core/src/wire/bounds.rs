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

/// Views, ballots, updates and positions are counted one by one: nobody comes this far, and a sum
/// of [`MAX_MEMBERS`] numbers below it does not overflow.
const HORIZON: u64 = 1 << 50;

pub(super) fn frame(frame: &Frame) -> bool {
    match frame {
        Frame::Heartbeat { from, to, groups } => {
            from <= to
                && groups.iter().all(|&(id, ..)| (*from..=*to).contains(&id))
                && groups.is_sorted_by(|a, b| a.0 < b.0)
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
        Message::ChunkAck { label, have, .. } => *label < HORIZON && *have < HORIZON,
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

/// A piece has an end, and is empty only where it says that nothing follows.
fn chunk(chunk: &Chunk) -> bool {
    let end = chunk.offset.checked_add(u64::from(chunk.length));
    chunk.label < HORIZON
        && end.is_some_and(|end| end < HORIZON)
        && (chunk.length > 0 || chunk.last)
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
                .as_ref()
                .is_some_and(|transfer| transfer.label <= number && transfer.donor.node != id.node);
            nodes.insert(id.node)
                && (1..=number).contains(&id.entry)
                && member.meta.len() <= MAX_META
                && if active { id.entry < number } else { source }
        })
}

#[cfg(test)]
mod tests {
    use alloc::boxed::Box;
    use alloc::vec;
    use alloc::vec::Vec;

    use ::bytes::Bytes;

    use super::*;
    use crate::engine::{Class, Level, Run};
    use crate::wire::messages::{Acceptance, Data, Digest, Next, Record};
    use crate::wire::{GroupId, Left, LeftReason, Member, MemberId, NodeId, Transfer};

    fn group(view: u64, entry: u64, message: Message) -> Frame {
        Frame::Group { group: GroupId(1), generation: 1, view, entry, message }
    }

    /// Asserts what becomes of a message, in a frame of a plausible view.
    fn check(what: &str, fits: bool, message: Message) {
        assert_eq!(frame(&group(3, 1, message)), fits, "{what}");
    }

    fn head(first: u64, counts: &[u32]) -> BatchHead {
        let run = |&count: &u32| Run { class: Class::Fifo, level: Level::Optimistic, count };
        let runs = counts.iter().map(run).collect();
        BatchHead { first, stamp: Some(vec![0, 1]), k: 0, wall: u64::MAX, runs, length: 9 }
    }

    fn data(batches: Vec<BatchHead>) -> Message {
        Message::Data(Data { batches, ..Data::default() })
    }

    fn given(from: u64, counts: &[u32]) -> Records {
        let run = |&count: &u32| Record { rank: 0, count, time: u64::MAX };
        Records { from, runs: counts.iter().map(run).collect() }
    }

    fn ordered(records: Records) -> [Message; 2] {
        let data = Data { records: Some(records.clone()), ..Data::default() };
        [Message::Data(data), Message::Fetched { lanes: vec![], records: Some(records) }]
    }

    fn heartbeat(groups: Vec<Digest>) -> Frame {
        Frame::Heartbeat { from: GroupId(1), to: GroupId(2), groups }
    }

    #[test]
    fn views_and_heartbeats() {
        for (view, entry, fits) in [
            (0, 0, true),
            (HORIZON - 1, HORIZON - 1, true),
            (HORIZON, 0, false),
            (1, HORIZON, false),
            (u64::MAX, 0, false),
        ] {
            assert_eq!(frame(&group(view, entry, Message::Installed)), fits, "{view} {entry}");
            let groups = vec![(GroupId(1), 1, view, entry)];
            assert_eq!(frame(&heartbeat(groups)), fits, "{view} {entry}");
        }
        let orders = [([1, 2], true), ([2, 1], false), ([1, 1], false), ([1, 3], false)];
        for (ids, fits) in orders {
            let groups = ids.map(|id| (GroupId(id), 1, 1, 1)).to_vec();
            assert_eq!(frame(&heartbeat(groups)), fits, "{ids:?}");
        }
    }

    #[test]
    fn batches() {
        check("one", true, data(vec![head(0, &[2, 3])]));
        check("consecutive", true, data(vec![head(4, &[1]), head(5, &[1])]));
        check("a hole", false, data(vec![head(4, &[1]), head(6, &[1])]));
        check("twice", false, data(vec![head(4, &[1]), head(4, &[1])]));
        check("without runs", false, data(vec![head(0, &[])]));
        check("an empty run", false, data(vec![head(0, &[1, 0])]));
        check("far", false, data(vec![head(HORIZON, &[1])]));
        check("up to the horizon", false, data(vec![head(HORIZON - 1, &[1])]));
        check("overflow", false, data(vec![head(u64::MAX, &[1])]));
        check("k", false, data(vec![BatchHead { k: HORIZON, ..head(0, &[1]) }]));
        let stamp = Some(vec![0, HORIZON]);
        check("stamp", false, data(vec![BatchHead { stamp, ..head(0, &[1]) }]));
        let fetched = |lanes| Message::Fetched { lanes, records: None };
        check("lanes", true, fetched(vec![(0, vec![head(0, &[1])]), (2, vec![])]));
        check("lanes out of order", false, fetched(vec![(2, vec![]), (0, vec![])]));
        check("a lane with a hole", false, fetched(vec![(2, vec![head(0, &[1]), head(3, &[1])])]));
    }

    #[test]
    fn records_and_cuts() {
        for (from, counts, fits) in [
            (0, &[1, u32::MAX][..], true),
            (7, &[], true),
            (0, &[1, 0], false),
            (HORIZON, &[], false),
            (HORIZON - 1, &[1], false),
            (u64::MAX, &[1], false),
        ] {
            for message in ordered(given(from, counts)) {
                check("records", fits, message);
            }
        }
        for (counts, extent, fits) in [
            (vec![HORIZON - 1; MAX_MEMBERS], HORIZON - 1, true),
            (vec![0; MAX_MEMBERS + 1], 0, false),
            (vec![0, HORIZON], 0, false),
            (vec![], HORIZON, false),
        ] {
            let received = Cut { counts, extent };
            let ack = Some(received.clone());
            check("an acknowledgement", fits, Message::Data(Data { ack, ..Data::default() }));
            check("a handshake", fits, Message::Sync { received, answer: true, holds: false });
        }
        let fetch = |lanes, records| Message::Fetch { lanes, records };
        check("a range", true, fetch(vec![(0, 1, 2), (1, 0, 9)], (0, 0)));
        check("an empty lane range", false, fetch(vec![(0, 2, 2)], (0, 0)));
        check("lanes twice", false, fetch(vec![(0, 1, 2), (0, 2, 3)], (0, 0)));
        check("positions backwards", false, fetch(vec![], (2, 1)));
        check("positions far", false, fetch(vec![], (0, HORIZON)));
        check("updates far", false, fetch(vec![(0, 0, HORIZON)], (0, 0)));
    }

    #[test]
    fn ballots_ranks_and_joins() {
        for (n, fits) in [(0, false), (1, true), (HORIZON - 1, true), (HORIZON, false)] {
            let ballot = Ballot { n, leader: u32::MAX };
            let accepted = Some(Acceptance { ballot, proposal: Bytes::new() });
            let promise = Promise {
                accepted,
                received: Cut::new(2),
                loaded: true,
                leaving: false,
                restart: false,
            };
            let nudge = Nudge { stalled: Some(ballot), ..Nudge::default() };
            let one = Ballot { n: 1, leader: 0 };
            check("reject", fits, Message::Reject { promised: ballot });
            check("accepted", fits, Message::Accepted { ballot });
            check("propose", fits, Message::Propose { ballot, proposal: Bytes::new() });
            check("promise", fits, Message::Promise { ballot: one, promise });
            check("nudge", fits, Message::Nudge(nudge));
        }
        for (evict, fits) in [
            (vec![0, 3], true),
            (vec![3, 0], false),
            (vec![3, 3], false),
            (vec![MAX_MEMBERS as u32], false),
        ] {
            let ballot = Ballot { n: 1, leader: 0 };
            check("evict", fits, Message::Prepare { ballot, evict: evict.clone() });
            check("evict", fits, Message::Nudge(Nudge { evict, ..Nudge::default() }));
        }
        let join = |node: u64, meta: usize| JoinRequest {
            node: NodeId(node),
            nonce: u64::MAX,
            schema: 1,
            meta: Bytes::from(vec![0; meta]),
        };
        let nudge = |joins| Message::Nudge(Nudge { joins, ..Nudge::default() });
        check("join", true, Message::Join(join(1, MAX_META)));
        check("much of itself", false, Message::Join(join(1, MAX_META + 1)));
        check("joins", true, nudge(vec![join(1, 0), join(2, 0)]));
        check("joins twice", false, nudge(vec![join(1, 0), join(1, 0)]));
        check("a join with much", false, nudge(vec![join(1, MAX_META + 1)]));
        let many = (0..=MAX_MEMBERS as u64).map(|node| join(node, 0)).collect();
        check("too many joins", false, nudge(many));
    }

    #[test]
    fn checkpoint_pieces() {
        for (label, offset, length, last, fits) in [
            (1, 0, 4, true, true),
            (1, 4, 4, false, true),
            (1, 0, 0, true, true),
            (1, 4, 0, true, true),
            (1, 0, 0, false, false),
            (1, u64::MAX, 4, false, false),
            (1, HORIZON - 4, 4, true, false),
            (1, HORIZON - 5, 4, true, true),
            (HORIZON, 0, 4, true, false),
        ] {
            let piece = Chunk { label, offset, length, last };
            check("piece", fits, Message::Chunk(piece));
        }
        let next = Next::More;
        check("acknowledged", false, Message::ChunkAck { label: HORIZON, have: 0, next });
        check("acknowledged", false, Message::ChunkAck { label: 0, have: HORIZON, next });
    }

    /// One active member and one that joins.
    fn successor() -> Proposal {
        let id = |node, entry| MemberId { node: NodeId(node), entry };
        let transfer = Some(Transfer { donor: id(1, 1), label: 3 });
        let member = |id, transfer| Member { id, meta: Bytes::new(), nonce: 1, transfer };
        let members = vec![member(id(1, 1), None), member(id(2, 3), transfer.map(Box::new))];
        let left = vec![Left { id: id(3, 1), reason: LeftReason::Failed }];
        let tail = vec![Record { rank: 1, count: 2, time: 0 }];
        let view = View { number: 3, members, active: 1 };
        Proposal { view, left, cut: vec![2, 3], base: 1, tail, time: 0 }
    }

    #[test]
    fn proposals() {
        assert!(proposal(&successor()));
        type Spoil = fn(&mut Proposal);
        let spoils: [(&str, Spoil); 18] = [
            ("no cut", |p| p.cut.clear()),
            ("a long cut", |p| p.cut = vec![0; MAX_MEMBERS + 1]),
            ("a far cut", |p| p.cut[0] = HORIZON),
            ("more positions than updates", |p| p.base = 4),
            ("positions that overflow", |p| p.base = u64::MAX),
            ("an unknown rank", |p| p.tail[0].rank = 2),
            ("an empty record", |p| p.tail[0].count = 0),
            ("more left than there were", |p| p.left = vec![p.left[0]; 3]),
            ("the first view", |p| p.view.number = 1),
            ("a far view", |p| p.view.number = HORIZON),
            ("nobody active", |p| p.view.active = 0),
            ("more active than there are", |p| p.view.active = 3),
            ("active without members", |p| p.view.members.clear()),
            ("one node twice", |p| p.view.members[1].id.node = NodeId(1)),
            ("an entry to come", |p| p.view.members[1].id.entry = 4),
            ("active as it comes in", |p| p.view.members[0].id.entry = 3),
            ("joining without a source", |p| p.view.members[1].transfer = None),
            ("its own donor", |p| {
                p.view.members[1].transfer.iter_mut().for_each(|t| t.donor.node = NodeId(2));
            }),
        ];
        for (what, spoil) in spoils {
            let mut spoiled = successor();
            spoil(&mut spoiled);
            assert!(!proposal(&spoiled), "{what}");
        }
    }
}
