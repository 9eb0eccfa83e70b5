//! The straight path: a group is made, joined, used and left, over a network without faults.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use vsync_core::engine::{
    Class, Delivery, Engine, EngineConfig, GroupConfig, Input, Install, Level, Output, Outputs, Run,
};
use vsync_core::wire::{GroupId, NodeId};

const GROUP: GroupId = GroupId(7);

/// Engines on a network that delivers everything at once and in order.
struct Net {
    now: u64,
    nodes: BTreeMap<NodeId, Engine>,
    frames: VecDeque<(NodeId, NodeId, Bytes)>,
    delivered: BTreeMap<NodeId, Vec<Delivery>>,
    installs: BTreeMap<NodeId, Vec<Install>>,
    others: BTreeMap<NodeId, Vec<Output>>,
    /// Frames by sender and addressee.
    sent: BTreeMap<(u64, u64), usize>,
    /// Bytes of the group's checkpoints.
    checkpoint: usize,
    /// Whether joiners take no more than the first piece.
    holds: bool,
}

fn config() -> GroupConfig {
    GroupConfig {
        generation: 1,
        schema: 1,
        causal: true,
        meta: Bytes::new(),
        window: 1 << 16,
        join_buffer: 1 << 20,
    }
}

fn update(text: &str) -> Bytes {
    let mut body = (text.len() as u32).to_le_bytes().to_vec();
    body.extend_from_slice(text.as_bytes());
    Bytes::from(body)
}

impl Net {
    fn new(nodes: u64) -> Self {
        let ids: Vec<NodeId> = (1..=nodes).map(NodeId).collect();
        let engines = ids.iter().map(|&id| (id, Engine::new(EngineConfig::new(id))));
        let mut net = Net {
            now: 1_000,
            nodes: engines.collect(),
            frames: VecDeque::new(),
            delivered: BTreeMap::new(),
            installs: BTreeMap::new(),
            others: BTreeMap::new(),
            sent: BTreeMap::new(),
            checkpoint: 600_000,
            holds: false,
        };
        for &a in &ids {
            for &b in ids.iter().filter(|&&b| b != a) {
                net.input(a, Input::Connected { peer: b });
            }
        }
        net
    }

    fn input(&mut self, node: NodeId, input: Input) {
        let mut out = Outputs::new();
        let Some(engine) = self.nodes.get_mut(&node) else {
            return;
        };
        engine.handle(self.now, input, &mut out);
        for output in out.drain() {
            match output {
                Output::Send { peer, frame, .. } => {
                    *self.sent.entry((node.0, peer.0)).or_default() += 1;
                    self.frames.push_back((node, peer, frame));
                }
                Output::Deliver(delivery) => {
                    self.delivered.entry(node).or_default().push(delivery);
                }
                Output::Install(install) => self.installs.entry(node).or_default().push(install),
                Output::TakeCheckpoint { group, label, .. } => {
                    let size = if group == GROUP { self.checkpoint } else { 60 };
                    let bytes = Bytes::from(vec![9; size]);
                    self.input(node, Input::Checkpoint { group, label, bytes, last: true });
                }
                other => {
                    if let Output::Load { group, offset: 0, .. } = other
                        && self.holds
                    {
                        self.input(node, Input::HoldTransfer { group, on: true });
                    }
                    self.others.entry(node).or_default().push(other);
                }
            }
        }
    }

    /// Bytes of checkpoints that have come to a node.
    fn loaded(&self, node: u64) -> usize {
        let pieces = self.others.get(&NodeId(node)).into_iter().flatten();
        let sizes = pieces.map(|output| match output {
            Output::Load { bytes, .. } => bytes.len(),
            _ => 0,
        });
        sizes.sum()
    }

    /// Lets everything run for a while.
    fn run(&mut self, micros: u64) {
        let end = self.now + micros;
        while self.now < end {
            self.now += 1_000;
            for node in self.nodes.keys().copied().collect::<Vec<_>>() {
                if self.nodes[&node].deadline().is_some_and(|due| due <= self.now) {
                    self.input(node, Input::Tick);
                }
                self.input(node, Input::Close);
            }
            while let Some((from, to, frame)) = self.frames.pop_front() {
                self.input(to, Input::Frame { peer: from, frame });
            }
        }
    }

    fn submit(&mut self, node: u64, class: Class, text: &str) {
        let run = Run { class, level: Level::Optimistic, count: 1 };
        let body = update(text);
        let input = Input::Submit { group: GROUP, runs: vec![run], body, wall: 5, urgent: true };
        self.input(NodeId(node), input);
    }

    fn texts(&self, node: u64) -> Vec<(u64, usize, u64, Bytes)> {
        let list = self.delivered.get(&NodeId(node)).cloned().unwrap_or_default();
        list.into_iter().map(|d| (d.view, d.rank, d.seq, d.body)).collect()
    }

    fn form(nodes: u64) -> Self {
        let mut net = Net::new(nodes);
        net.input(NodeId(1), Input::Create { group: GROUP, config: config() });
        for node in 2..=nodes {
            let contacts = vec![NodeId(1)];
            net.input(
                NodeId(node),
                Input::Join { group: GROUP, contacts, nonce: 1, config: config() },
            );
            net.run(400_000);
        }
        net
    }

    fn active(&self, node: u64) -> usize {
        self.active_in(node, GROUP)
    }

    fn active_in(&self, node: u64, group: GroupId) -> usize {
        let status = self.nodes[&NodeId(node)].status(group);
        status.and_then(|status| status.view).map_or(0, |view| view.active)
    }
}

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

/// A caller that keeps to its credit: it submits as long as it has any, and so overdraws it by one
/// update at most.
struct Streamer {
    credit: i64,
    /// Bytes of an update.
    size: usize,
}

impl Streamer {
    /// Submits all that it may, round after round; how many bytes that is each time. What is sent
    /// arrives after so long.
    fn stream(&mut self, net: &mut Net, rounds: u32, delay: u64) -> Vec<usize> {
        let one = update(&"x".repeat(self.size - 4));
        let round = |_| {
            for output in net.others.remove(&NodeId(1)).unwrap_or_default() {
                if let Output::Credit { group: GROUP, bytes } = output {
                    self.credit += bytes as i64;
                }
            }
            let count = self.credit.max(0).unsigned_abs().div_ceil(self.size as u64) as usize;
            let body = Bytes::from(one.repeat(count));
            self.credit -= body.len() as i64;
            let sent = body.len();
            if count > 0 {
                let run =
                    Run { class: Class::Total, level: Level::Optimistic, count: count as u32 };
                let runs = vec![run];
                net.input(
                    NodeId(1),
                    Input::Submit { group: GROUP, runs, body, wall: 5, urgent: false },
                );
                net.input(NodeId(1), Input::Close);
            }
            net.now += delay;
            net.run(5_000);
            sent
        };
        (0..rounds).map(round).collect()
    }
}

const WINDOW: usize = 1 << 20;

/// Two members with such a window.
fn pair() -> Net {
    let mut net = Net::new(2);
    let config = || GroupConfig { window: WINDOW, ..config() };
    net.input(NodeId(1), Input::Create { group: GROUP, config: config() });
    let contacts = vec![NodeId(1)];
    net.input(NodeId(2), Input::Join { group: GROUP, contacts, nonce: 1, config: config() });
    net.run(400_000);
    assert_eq!(net.active(2), 2);
    net
}

/// Of a window as much is used as keeps the path busy: less at first, all where nothing queues, and
/// less again where what is sent takes longer and longer.
#[test]
fn a_window_is_used_as_far_as_the_path_takes_it() {
    let (mut net, mut caller) = (pair(), Streamer { credit: 0, size: 1024 });
    // The first round has what was granted in the views before, too.
    let grown = caller.stream(&mut net, 12, 0);
    assert!(grown[1] <= WINDOW / 8, "{grown:?}");
    assert!(*grown.last().expect("rounds") > WINDOW / 2, "{grown:?}");
    let shrunk = caller.stream(&mut net, 20, 30_000);
    assert!(*shrunk.last().expect("rounds") <= WINDOW / 8, "{shrunk:?}");
    let again = caller.stream(&mut net, 12, 0);
    assert!(*again.last().expect("rounds") > WINDOW / 2, "{again:?}");
}

/// A view begins with less of the window than one large update took in the view before, which had
/// overdrawn its credit: the caller has more all the same.
#[test]
fn who_has_overdrawn_its_credit_goes_on_in_the_next_view() {
    let (mut net, mut caller) = (pair(), Streamer { credit: 0, size: WINDOW / 2 });
    for view in 0..4 {
        let sent: usize = caller.stream(&mut net, 20, 0).iter().sum();
        assert!(sent >= 4 * WINDOW, "{sent} bytes in view {view}, credit {}", caller.credit);
        net.input(NodeId(1), Input::Renew { group: GROUP });
        net.run(400_000);
    }
    caller.size = 1024;
    let sent: usize = caller.stream(&mut net, 20, 0).iter().sum();
    assert!(sent >= 4 * WINDOW, "{sent} bytes of small updates, credit {}", caller.credit);
}

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

/// Nobody gets credit for more before that has gone out.
#[test]
fn a_window_that_is_full_with_what_is_open_is_waited_for() {
    let mut net = pair();
    let mut submitted = 0;
    while !net.nodes[&NodeId(1)].is_waited_for() && submitted < WINDOW {
        let runs = vec![Run { class: Class::Fifo, level: Level::Optimistic, count: 1 }];
        let (body, urgent) = (update(&"x".repeat(1024)), false);
        submitted += body.len();
        net.input(NodeId(1), Input::Submit { group: GROUP, runs, body, wall: 5, urgent });
    }
    assert!((WINDOW / 32..WINDOW / 8).contains(&submitted), "{submitted}");
    net.input(NodeId(1), Input::Close);
    assert!(!net.nodes[&NodeId(1)].is_waited_for(), "now it is the others' turn");
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
