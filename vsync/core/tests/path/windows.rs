//! How much of a window is used.

use bytes::Bytes;
use vsync_core::engine::{Class, GroupConfig, Input, Level, Output, Run};
use vsync_core::wire::NodeId;

use crate::net::{GROUP, Net, config, update};

/// A caller that keeps to its credit: it submits as long as it has any, and so overdraws it by one
/// update at most.
pub(crate) struct Streamer {
    pub(crate) credit: i64,
    /// Bytes of an update.
    pub(crate) size: usize,
}

impl Streamer {
    /// Submits all that it may, round after round; how many bytes that is each time. What is sent
    /// arrives after so long.
    pub(crate) fn stream(&mut self, net: &mut Net, rounds: u32, delay: u64) -> Vec<usize> {
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

pub(crate) const WINDOW: usize = 1 << 20;

/// Two members with such a window.
pub(crate) fn pair() -> Net {
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
