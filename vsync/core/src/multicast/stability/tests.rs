use alloc::vec::Vec;

use bytes::Bytes;

use super::{Multicast, quorum_mark};
use crate::engine::{Class, EngineConfig, Level, Run};
use crate::wire::{Cut, GroupId, Member, MemberId, NodeId, Rank, SharedView, View};

/// One member's multicast in a view in which nothing was multicast yet.
fn member(me: Rank, members: u64) -> Multicast {
    let id = |node| MemberId { node: NodeId(node), entry: 1 };
    let member = |node| Member { id: id(node), meta: Bytes::new(), nonce: 1, transfer: None };
    let members: Vec<Member> = (1..=members).map(member).collect();
    let view = SharedView::new(View { number: 1, active: members.len(), members });
    Multicast::new(view, me, (false, 1 << 16), &EngineConfig::new(NodeId(me as u64 + 1)), 0)
}

/// A batch of one update of the first's comes to the second, which is asked for its word.
fn ask(first: &mut Multicast, second: &mut Multicast) {
    let run = Run { class: Class::Fifo, level: Level::Optimistic, count: 1 };
    first.submit(run, Bytes::from_static(&[1, 0, 0, 0, 7]), 5, true);
    first.close_batch();
    let (data, bodies) = first.take_data(0).expect("a batch");
    let mut bodies = Bytes::from(bodies.concat());
    assert_eq!(second.receive(first.me, data.batches, &mut bodies), Ok(true));
    second.asked_by(first.me);
}

fn deliver(multicast: &mut Multicast) {
    multicast.pump(GroupId(1), &mut Vec::new());
}

#[test]
fn marks_follow_the_quorum_rule() {
    assert_eq!(quorum_mark(&mut [7], 1), 7);
    // Two members: both, or rank 0 alone.
    assert_eq!(quorum_mark(&mut [5, 9], 2), 5);
    assert_eq!(quorum_mark(&mut [9, 5], 2), 9);
    assert_eq!(quorum_mark(&mut [1, 5, 3], 2), 3);
    // Four members: three of them, or rank 0 and one other.
    assert_eq!(quorum_mark(&mut [8, 2, 6, 1], 3), 6);
    assert_eq!(quorum_mark(&mut [0, 7, 6, 5], 3), 5);
}

#[test]
fn an_acknowledgement_of_positions_alone_counts() {
    let mut multicast = member(1, 3);
    // They have the sequencer's records, and not yet what these number.
    let received = Cut { counts: alloc::vec![0; 3], extent: 3 };
    for rank in [0, 2] {
        assert_eq!(multicast.quorum_marks().extent, 0);
        assert!(multicast.acknowledge(rank, &received, 1));
    }
    assert_eq!(multicast.quorum_marks().extent, 3);
}

#[test]
fn who_has_acknowledged_nothing_yet_lags() {
    let (mut multicast, mut other) = (member(0, 3), member(1, 3));
    assert!(multicast.is_settled() && multicast.laggards().is_empty());
    ask(&mut multicast, &mut other);
    assert!(!multicast.is_settled());
    assert_eq!(multicast.laggards(), [1, 2]);
    let received = Cut { counts: alloc::vec![1, 0, 0], extent: 0 };
    assert!(multicast.acknowledge(1, &received, 1));
    assert_eq!(multicast.laggards(), [2]);
    assert_eq!(multicast.slowest(), Some(2));
    assert!(multicast.acknowledge(2, &received, 2));
    assert!(multicast.laggards().is_empty());
    let mut late = member(0, 3);
    ask(&mut late, &mut member(1, 3));
    assert!(late.acknowledge(2, &received, 1));
    assert_eq!(late.slowest(), Some(1), "it has said nothing");
}

#[test]
fn the_first_acknowledgement_is_progress() {
    let mut multicast = member(0, 2);
    ask(&mut multicast, &mut member(1, 2));
    assert!(multicast.acknowledge(1, &Cut { counts: alloc::vec![1, 0], extent: 0 }, 7));
    assert_eq!(multicast.progress, 7);
}

#[test]
fn whoever_waits_is_told_when_it_is_worth_it_and_then_no_more() {
    let (mut first, mut second) = (member(0, 2), member(1, 2));
    ask(&mut first, &mut second);
    // An acknowledgement to all before it is delivered here does not tell it.
    assert!(second.take_ack().is_some());
    second.rest();
    assert!(!second.is_waited_for());
    deliver(&mut second);
    assert!(second.is_waited_for(), "what waits is kept at rest");
    // One that comes after does.
    ask(&mut first, &mut second);
    deliver(&mut second);
    assert!(second.is_waited_for());
    assert!(second.take_ack().is_some());
    assert!(!second.is_waited_for());
}

#[test]
fn what_was_acknowledged_to_all_is_owed_no_more() {
    let (mut first, mut second) = (member(0, 2), member(1, 2));
    for _ in 0..3 {
        ask(&mut first, &mut second);
        deliver(&mut second);
        assert!(second.take_answer().is_some());
        second.rest();
        let owed: Vec<u32> = second.tally.owed.iter().map(|owed| owed.updates).collect();
        assert_eq!(owed, [1, 0], "to all it is");
        assert!(second.take_ack().is_some());
        second.rest();
        assert!(second.tally.owed.is_empty());
    }
}
