//! The straight path: a group is made, joined, used and left, over a network without faults.

mod circles;
mod net;
mod relaxed;
mod windows;

use std::collections::BTreeMap;

use bytes::Bytes;
use vsync_core::engine::{Class, EngineConfig, Input, Output};
use vsync_core::wire::{GroupId, NodeId};

use net::{GROUP, Net, config};

#[test]
fn three_members_form_a_group_and_agree() {
    let mut net = Net::form(3);
    for node in 1..=3 {
        assert_eq!(net.active(node), 3, "node {node}: {:#?}", net.installs.get(&NodeId(node)));
    }
    for round in 0..20 {
        for node in 1..=3 {
            let class = [Class::Fifo, Class::Causal, Class::Total][(round + node as usize) % 3];
            net.submit(node, class, &format!("{node}-{round}"));
        }
        net.run(3_000);
    }
    net.run(500_000);
    let mut first = net.texts(1);
    first.sort();
    assert_eq!(first.len(), 60);
    for node in 2..=3 {
        let mut texts = net.texts(node);
        texts.sort();
        assert_eq!(first, texts);
        let status = net.nodes[&NodeId(node)].status(GROUP).unwrap();
        assert_eq!((status.retained, status.queued), (0, 0), "{status:#?}");
    }
    // Nothing but heartbeats goes on.
    net.run(50_000);
    for engine in net.nodes.values() {
        assert!(engine.deadline().is_some());
    }
}

#[test]
fn a_member_that_dies_is_left_out_and_its_updates_survive() {
    let mut net = Net::form(3);
    net.submit(3, Class::Total, "last words");
    net.run(10_000);
    net.nodes.remove(&NodeId(3));
    for node in 1..=2 {
        net.input(NodeId(node), Input::Disconnected { peer: NodeId(3) });
        net.input(NodeId(node), Input::Ended { peer: NodeId(3) });
    }
    net.run(200_000);
    assert_eq!((net.active(1), net.active(2)), (2, 2));
    assert_eq!(net.texts(1), net.texts(2));
    net.submit(2, Class::Total, "going on");
    net.run(100_000);
    assert_eq!(net.texts(1).len(), 2);
}

#[test]
fn who_vanishes_is_missed_in_time_and_not_at_the_next_heartbeat() {
    let mut net = Net::new(3);
    net.input(NodeId(1), Input::Create { group: GROUP, config: config() });
    // The third's heartbeats come between those of the others.
    for (node, pause) in [(2, 437_000), (3, 10_000_000)] {
        let (contacts, config) = (vec![NodeId(1)], config());
        net.input(NodeId(node), Input::Join { group: GROUP, contacts, nonce: 1, config });
        net.run(pause);
    }
    assert_eq!(net.active(1), 3);
    let before = |net: &Net| net.sent.get(&(3, 1)).copied();
    let sent = before(&net);
    while before(&net) == sent {
        net.run(1_000);
    }
    let last = net.now;
    net.nodes.remove(&NodeId(3));
    while net.now < last + 500_000 {
        net.run(1_000);
        for engine in net.nodes.values() {
            assert!(!engine.suspects(NodeId(3)), "{} us early", last + 500_000 - net.now);
            assert!(engine.deadline().is_some_and(|due| due > net.now), "what is due is done");
        }
    }
    net.run(1_000);
    assert!(net.nodes.values().all(|engine| engine.suspects(NodeId(3))));
    net.run(10_000);
    assert_eq!((net.active(1), net.active(2)), (2, 2));
}

#[test]
fn members_leave_one_after_the_other_until_the_group_is_dissolved() {
    let mut net = Net::form(3);
    for node in [1, 3, 2] {
        net.input(NodeId(node), Input::Leave { group: GROUP });
        net.run(2_000_000);
        let left = net.others[&NodeId(node)]
            .iter()
            .any(|output| matches!(output, Output::Left { group, .. } if *group == GROUP));
        assert!(left, "node {node} has not left");
        assert!(net.nodes[&NodeId(node)].status(GROUP).is_none());
    }
}

/// What is sent until an awaited update is stable at its sender, and not a microsecond longer.
fn frames_of_one(net: &mut Net, sender: u64, class: Class) -> BTreeMap<(u64, u64), usize> {
    net.run(300_000);
    net.sent.clear();
    net.others.clear();
    net.submit(sender, class, "one");
    let stable = |net: &Net| {
        let told = net.others.get(&NodeId(sender)).into_iter().flatten();
        told.filter(|output| matches!(output, Output::Stable { .. })).count() > 0
    };
    // Closes and frames without time: no timer has a part in it.
    for _ in 0..10 {
        for node in net.nodes.keys().copied().collect::<Vec<_>>() {
            net.input(node, Input::Close);
        }
        while let Some((from, to, frame)) = net.frames.pop_front() {
            net.input(to, Input::Frame { peer: from, frame });
        }
    }
    assert!(stable(net), "{:#?}", net.others);
    net.sent.clone()
}

/// Three copies go out and three members answer: the one that waits, and nobody else. Where another
/// one gives the position, its record and its own acknowledgement are one frame.
#[test]
fn only_who_waits_is_answered_at_once() {
    let mut net = Net::form(4);
    let by_sequencer = frames_of_one(&mut net, 1, Class::Total);
    let there = [(1, 2), (1, 3), (1, 4)];
    let back = [(2, 1), (3, 1), (4, 1)];
    let expected = there.into_iter().chain(back).map(|pair| (pair, 1)).collect();
    assert_eq!(by_sequencer, expected);
    let by_another = frames_of_one(&mut net, 3, Class::Total);
    let there = [(3, 1), (3, 2), (3, 4), (1, 2), (1, 3), (1, 4)];
    let expected = there.into_iter().chain([(2, 3), (4, 3)]).map(|pair| (pair, 1)).collect();
    assert_eq!(by_another, expected);
    let fifo = frames_of_one(&mut net, 2, Class::Fifo);
    let there = [(2, 1), (2, 3), (2, 4), (1, 2), (3, 2), (4, 2)];
    assert_eq!(fifo, there.into_iter().map(|pair| (pair, 1)).collect());
}

/// Of the groups of a node that dies no more than a few are frozen at once, and all get over it.
#[test]
fn a_death_in_many_groups_freezes_a_few_at_a_time() {
    const GROUPS: u64 = 300;
    let mut net = Net::new(3);
    let groups = || (100..100 + GROUPS).map(GroupId);
    for group in groups() {
        net.input(NodeId(1), Input::Create { group, config: config() });
        for node in 2..=3 {
            let contacts = vec![NodeId(1)];
            net.input(NodeId(node), Input::Join { group, contacts, nonce: 1, config: config() });
        }
    }
    net.run(1_500_000);
    assert!(groups().all(|group| net.active_in(2, group) == 3));
    net.nodes.remove(&NodeId(3));
    let mut most = 0;
    for node in 1..=2 {
        net.input(NodeId(node), Input::Ended { peer: NodeId(3) });
    }
    while let Some((from, to, frame)) = net.frames.pop_front() {
        net.input(to, Input::Frame { peer: from, frame });
        let frozen = |group: &GroupId| {
            let status = net.nodes[&NodeId(1)].status(*group);
            status.is_some_and(|status| status.frozen)
        };
        most = most.max(groups().filter(frozen).count());
    }
    assert!((2..=64).contains(&most), "{most} groups were frozen at once");
    // Without waiting for any timer.
    assert!(groups().all(|group| net.active_in(1, group) == 2));
    assert!(groups().all(|group| net.active_in(2, group) == 2));
}

/// A heartbeat that was under way when the view changed brings no second copy of the decision; one
/// that comes much later does.
#[test]
fn who_has_just_been_told_is_not_told_again() {
    let mut net = Net::form(3);
    // Everything that 2 sends from now on is late, but its heartbeats of before.
    let beat = |net: &mut Net| {
        net.frames.clear();
        while !net.frames.iter().any(|(from, to, _)| (from.0, to.0) == (2, 1)) {
            net.now += 1_000;
            net.input(NodeId(2), Input::Tick);
        }
        let of_two = |(from, to, _): &&(NodeId, NodeId, Bytes)| (from.0, to.0) == (2, 1);
        net.frames.iter().find(of_two).map(|(.., frame)| frame.clone()).unwrap()
    };
    let stale = beat(&mut net);
    net.run(5_000);
    net.nodes.remove(&NodeId(3));
    for node in 1..=2 {
        net.input(NodeId(node), Input::Ended { peer: NodeId(3) });
    }
    while net.active(1) == 3 {
        let (from, to, frame) = net.frames.pop_front().unwrap();
        net.input(to, Input::Frame { peer: from, frame });
    }
    net.sent.clear();
    net.input(NodeId(1), Input::Frame { peer: NodeId(2), frame: stale.clone() });
    assert_eq!(net.sent.get(&(1, 2)), None, "it was told in the same moment");
    net.frames.clear();
    net.now += 150_000;
    net.input(NodeId(1), Input::Frame { peer: NodeId(2), frame: stale });
    assert_eq!(net.sent.get(&(1, 2)), Some(&1), "it has had the time");
}

/// Whoever takes nothing gets no more than is under way, however long that lasts; and all of it in
/// the end.
#[test]
fn a_joiner_that_cannot_keep_up_is_not_sent_piece_after_piece() {
    let window = 8 * EngineConfig::new(NodeId(1)).chunk;
    let mut net = Net::new(2);
    net.input(NodeId(1), Input::Create { group: GROUP, config: config() });
    (net.checkpoint, net.holds) = (4 * window + 1, true);
    let contacts = vec![NodeId(1)];
    net.input(NodeId(2), Input::Join { group: GROUP, contacts, nonce: 1, config: config() });
    net.run(20_000_000);
    // The first piece was acknowledged before.
    let under_way = window + window / 8;
    assert!((under_way..under_way + 1000).contains(&net.loaded(2)), "{}", net.loaded(2));
    assert_eq!(net.active(2), 1);
    net.input(NodeId(2), Input::HoldTransfer { group: GROUP, on: false });
    net.run(1_000_000);
    assert_eq!((net.loaded(2), net.active(2)), (net.checkpoint, 2));
}
