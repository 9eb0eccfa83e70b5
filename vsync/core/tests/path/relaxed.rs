//! What may be late since nobody waits for it, and who is waited for.

use std::collections::BTreeMap;

use vsync_core::engine::{Class, Input, Level, Output, Run};
use vsync_core::wire::NodeId;

use crate::net::{GROUP, Net, update};
use crate::windows::{Streamer, pair};

/// What nobody waits for is acknowledged later where an application says so, and what somebody
/// waits for at once.
#[test]
fn acknowledgements_that_nobody_waits_for_may_be_relaxed() {
    let mut net = Net::form(2);
    // Whether 2 has said something so soon after the update; long before its next heartbeat.
    let acked = |net: &mut Net, urgent: bool, after: u64| {
        net.submit(1, Class::Total, "now both have just sent something");
        net.run(5_000);
        let said = |net: &Net| net.sent.get(&(2, 1)).copied();
        let before = said(net);
        let runs = vec![Run { class: Class::Total, level: Level::Optimistic, count: 1 }];
        let body = update("x");
        net.input(NodeId(1), Input::Submit { group: GROUP, runs, body, wall: 5, urgent });
        net.run(after);
        said(net) > before
    };
    assert!(acked(&mut net, false, 5_000));
    net.input(NodeId(2), Input::Relax { acks: 50_000 });
    assert!(!acked(&mut net, false, 40_000));
    assert!(acked(&mut net, false, 60_000));
    assert!(acked(&mut net, true, 3_000), "somebody waits");
    net.input(NodeId(2), Input::Relax { acks: u64::MAX });
    assert!(acked(&mut net, false, 110_000), "not for ever");
    net.input(NodeId(2), Input::Relax { acks: 0 });
    assert!(acked(&mut net, false, 5_000));
}

/// Who has used up its window waits for what the others have received: it gets as far where they
/// may be late with what nobody waits for.
#[test]
fn relaxed_acknowledgements_hold_up_no_full_window() {
    let sent = |relaxed: u64, size: usize| {
        let (mut net, mut caller) = (pair(), Streamer { credit: 0, size });
        net.input(NodeId(2), Input::Relax { acks: relaxed });
        caller.stream(&mut net, 40, 0).iter().sum::<usize>()
    };
    for size in [64, 1024] {
        let (at_once, relaxed) = (sent(0, size), sent(100_000, size));
        assert!(relaxed > at_once / 2, "{relaxed} bytes relaxed, {at_once} otherwise");
    }
}

/// The same where each update is a piece of its own, and costs the window more than its bytes.
#[test]
fn relaxed_acknowledgements_hold_up_no_window_of_small_pieces() {
    let mut net = pair();
    let waits = |net: &mut Net| {
        let body = update("x");
        for _ in 0..32 {
            let runs = vec![Run { class: Class::Fifo, level: Level::Optimistic, count: 1 }];
            let (body, urgent) = (body.clone(), false);
            net.input(NodeId(1), Input::Submit { group: GROUP, runs, body, wall: 5, urgent });
        }
        net.run(1_000);
        net.nodes[&NodeId(1)].status(GROUP).is_some_and(|status| status.queued > 0)
    };
    net.input(NodeId(2), Input::Relax { acks: 100_000 });
    assert!(!(0..90).any(|_| waits(&mut net)), "the window is full");
}

/// A flush waits for what its member has delivered; others may get that only after they were asked.
#[test]
fn what_comes_after_it_was_asked_for_is_acknowledged_at_once() {
    let mut net = Net::form(4);
    net.run(50_000);
    for node in 1..=4 {
        net.input(NodeId(node), Input::Relax { acks: 100_000 });
    }
    let runs = vec![Run { class: Class::Fifo, level: Level::Optimistic, count: 1 }];
    let body = update("x");
    net.input(NodeId(2), Input::Submit { group: GROUP, runs, body, wall: 5, urgent: false });
    net.input(NodeId(2), Input::Close);
    // 2 and 3 are no quorum, and the others have it later than they hear of the flush.
    let (soon, late): (Vec<_>, Vec<_>) = net.frames.drain(..).partition(|(_, to, _)| to.0 == 3);
    net.frames.extend(soon);
    let pass = |net: &mut Net| {
        while let Some((from, to, frame)) = net.frames.pop_front() {
            net.input(to, Input::Frame { peer: from, frame });
        }
    };
    pass(&mut net);
    assert!(!net.texts(3).is_empty());
    net.input(NodeId(3), Input::Flush { group: GROUP, id: 1 });
    net.input(NodeId(3), Input::Close);
    pass(&mut net);
    net.frames.extend(late);
    net.run(5_000);
    let others = net.others.get(&NodeId(3)).into_iter().flatten();
    assert!(others.into_iter().any(|it| matches!(it, Output::Flushed { id: 1, .. })));
}

/// An application that lets its updates gather is told that a member waits for its own.
#[test]
fn whoever_has_what_its_sender_awaits_is_waited_for() {
    let mut net = Net::form(2);
    net.run(50_000);
    for urgent in [false, true] {
        let runs = vec![Run { class: Class::Fifo, level: Level::Optimistic, count: 1 }];
        let body = update("x");
        net.input(NodeId(1), Input::Submit { group: GROUP, runs, body, wall: 5, urgent });
        net.input(NodeId(1), Input::Close);
        while let Some((from, to, frame)) = net.frames.pop_front() {
            net.input(to, Input::Frame { peer: from, frame });
        }
        assert_eq!(net.nodes[&NodeId(2)].is_waited_for(), urgent);
        net.run(50_000);
    }
}

/// All is stable where it is asked: who asks may not know.
#[test]
fn whoever_is_asked_for_what_is_stable_there_is_waited_for() {
    let mut net = Net::form(3);
    net.run(50_000);
    net.input(NodeId(2), Input::Relax { acks: 100_000 });
    let runs = vec![Run { class: Class::Fifo, level: Level::Optimistic, count: 1 }];
    let body = update("x");
    net.input(NodeId(1), Input::Submit { group: GROUP, runs, body, wall: 5, urgent: false });
    net.input(NodeId(1), Input::Close);
    net.run(5_000);
    let stable = net.nodes[&NodeId(2)].status(GROUP).map(|status| status.stable.count(0));
    assert_eq!(stable, Some(1), "1 and 3 have it");
    assert!(!net.nodes[&NodeId(2)].is_waited_for());
    net.input(NodeId(1), Input::Flush { group: GROUP, id: 1 });
    net.input(NodeId(1), Input::Close);
    while let Some((from, to, frame)) = net.frames.pop_front() {
        net.input(to, Input::Frame { peer: from, frame });
    }
    assert!(net.nodes[&NodeId(2)].is_waited_for());
    net.input(NodeId(2), Input::Close);
    assert!(!net.frames.is_empty(), "it says what it has");
    assert!(!net.nodes[&NodeId(2)].is_waited_for());
}

/// One update, left at `node`; whoever is urgent waits for its position.
fn leave(net: &mut Net, node: u64, class: Class, bytes: usize, urgent: bool) {
    let runs = vec![Run { class, level: Level::Optimistic, count: 1 }];
    let body = update(&"x".repeat(bytes));
    net.input(NodeId(node), Input::Submit { group: GROUP, runs, body, wall: 5, urgent });
    net.input(NodeId(node), Input::Close);
}

/// A window is one sender's: what others have sent as well fills no more of it.
#[test]
fn relaxed_acknowledgements_look_at_each_sender() {
    let mut net = Net::form(4);
    net.run(50_000);
    net.input(NodeId(4), Input::Relax { acks: 100_000 });
    let mut acknowledges = |sizes: [usize; 3]| {
        // Its debts begin now, and no heartbeat is near.
        leave(&mut net, 4, Class::Fifo, 1, false);
        net.run(5_000);
        let before = net.sent.clone();
        for (node, bytes) in (1..).zip(sizes) {
            leave(&mut net, node, Class::Fifo, bytes, false);
        }
        net.run(40_000);
        let more = |&(from, _): &(u64, u64)| from == 4;
        let sum = |sent: &BTreeMap<(u64, u64), usize>| -> usize {
            sent.iter().filter(|(way, _)| more(way)).map(|(_, count)| count).sum()
        };
        let said = sum(&net.sent) > sum(&before);
        net.run(60_000);
        said
    };
    // A quarter of the least window are 16 KiB.
    assert!(!acknowledges([10_000, 10_000, 10_000]));
    assert!(acknowledges([10_000, 17_000, 10_000]));
}
