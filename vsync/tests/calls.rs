//! What becomes of calls that are held, dropped or given up while they wait for their turn, and
//! what replicated code may know of a view.

mod patience;

use std::future::{IntoFuture, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use futures_core::Stream;
use patience::within;
use serde::{Deserialize, Serialize, Serializer};
use vsync::testing::Cluster;
use vsync::{CallError, Class, Ctx, GroupError, Level, NotApplied, Replicated, View, replicated};

/// A value that cannot be encoded, and does not say so politely.
#[derive(Debug, Deserialize)]
pub struct Bomb;

impl Serialize for Bomb {
    fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        panic!("not to be encoded");
    }
}

/// Numbers in the order of their arrival, and what was known of the views.
#[replicated]
#[derive(Debug, Default)]
pub struct Line {
    numbers: Vec<u64>,
    views: Vec<String>,
    together: usize,
}

#[replicated]
impl Line {
    /// Appends a number, with some bytes that need room.
    #[update(order = "fifo")]
    pub fn push(&mut self, ctx: &Ctx<Self>, number: u64, room: Vec<u8>) -> usize {
        drop(room);
        self.together += ctx.view().together().len();
        self.numbers.push(number);
        self.numbers.len()
    }

    /// Never gets anywhere.
    #[update(order = "total", level = "stable")]
    pub fn burst(&mut self, bytes: Vec<u8>, bomb: Bomb) {
        drop((bytes, bomb));
    }

    #[on_view]
    fn view(&mut self, view: &View) {
        self.together += view.together().len();
        self.views.push(format!("{view:?}"));
    }

    /// The numbers.
    #[query]
    pub fn numbers(&self) -> Vec<u64> {
        self.numbers.clone()
    }

    /// The views in words.
    #[query]
    pub fn views(&self) -> Vec<String> {
        self.views.clone()
    }

    /// How often it was known who moved on together.
    #[query]
    pub fn together(&self) -> usize {
        self.together
    }
}

fn poll<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    Pin::new(future).poll(&mut Context::from_waker(Waker::noop()))
}

/// Three members with little room for what is not stable yet.
async fn members() -> (Cluster, Vec<LineHandle>) {
    let cluster = Cluster::with(3, |builder| builder.window(1 << 13).max_update(1 << 10)).await;
    let mut handles: Vec<LineHandle> = Vec::new();
    for node in cluster.nodes() {
        let joined = node.group("line").join_or_create(Line::default()).await;
        handles.push(joined.expect("a member"));
    }
    for handle in &handles {
        let mut views = handle.group().views();
        while views.next().await.expect("a view").size() != 3 {}
    }
    (cluster, handles)
}

/// Uses up all room without letting the driver run; returns how many numbers that took.
fn fill(handle: &LineHandle) -> u64 {
    (0..).find(|&number| poll(&mut push(handle, number)).is_pending()).expect("no room") + 1
}

fn push(handle: &LineHandle, number: u64) -> vsync::SendCall<Line> {
    handle.push(number, vec![0; 500]).send()
}

#[tokio::test]
async fn calls_in_line_are_sent_in_order_held_or_dropped() {
    within(async {
        let (_cluster, handles) = members().await;
        // The last of these is in line already, and dropped.
        let next = fill(&handles[1]);
        let mut held = push(&handles[1], next);
        assert!(poll(&mut held).is_pending());
        let mut awaited = handles[1].push(next + 1, Vec::new()).into_future();
        assert!(poll(&mut awaited).is_pending());
        let mut dropped = handles[1].push(next + 2, Vec::new()).optimistic();
        assert!(poll(&mut dropped).is_pending());
        drop(dropped);
        // Nobody polls `held` and `awaited`, and yet this goes.
        handles[1].push(next + 3, Vec::new()).send().await.expect("sent");
        handles[1].group().flush().await.expect("flushed");
        let sent: Vec<_> = (0..next + 4).collect();
        assert_eq!(handles[1].numbers().await, Ok(sent.clone()));
        assert_eq!(held.await, Ok(()));
        assert_eq!(awaited.await, Ok(next as usize + 2));
        handles[0].group().flush().await.expect("flushed");
        assert_eq!(handles[0].numbers().await, Ok(sent));
    })
    .await;
}

#[tokio::test]
async fn a_call_whose_time_is_over_in_line_is_not_applied() {
    within(async {
        let (cluster, handles) = members().await;
        // Nothing becomes stable, so nobody gets room.
        cluster.cut(0, 2);
        cluster.cut(1, 2);
        let next = fill(&handles[2]);
        let soon = Duration::from_millis(20);
        let stable = handles[2].push(next, Vec::new()).timeout(soon).await;
        assert_eq!(stable, Err(CallError::NotApplied(NotApplied::Timeout)));
        let sent = handles[2].push(next, Vec::new()).timeout(soon).send().await;
        assert_eq!(sent, Err(GroupError::NotApplied(NotApplied::Timeout)));
        // What is still in line when the membership ends was never sent.
        let last = handles[2].push(next, Vec::new()).send();
        cluster.heal(0, 2);
        cluster.heal(1, 2);
        match last.await {
            Ok(()) => {
                handles[2].group().flush().await.expect("flushed");
                let sent: Vec<_> = (0..=next).collect();
                assert_eq!(handles[2].numbers().await, Ok(sent));
            }
            Err(why) => assert_eq!(why, GroupError::NotApplied(NotApplied::Excluded)),
        }
    })
    .await;
}

#[tokio::test]
async fn calls_in_line_end_with_the_membership() {
    within(async {
        let (_cluster, handles) = members().await;
        let next = fill(&handles[1]);
        let mut waiting = handles[1].push(next, Vec::new()).into_future();
        assert!(poll(&mut waiting).is_pending());
        handles[1].group().leave(Duration::from_secs(10)).await.expect("left");
        assert_eq!(waiting.await, Err(CallError::NotApplied(NotApplied::Closed)));
        let late = push(&handles[1], next).await;
        assert_eq!(late, Err(GroupError::NotApplied(NotApplied::Closed)));
    })
    .await;
}

#[tokio::test]
async fn an_argument_that_panics_while_it_is_encoded_leaves_no_trace() {
    within(async {
        let (_cluster, handles) = members().await;
        let burst = || {
            let mut call = handles[1].burst(vec![7; 100], Bomb).send();
            catch_unwind(AssertUnwindSafe(|| poll(&mut call))).is_err()
        };
        assert_eq!(poll(&mut push(&handles[1], 0)), Poll::Ready(Ok(())));
        assert!(burst(), "between two updates of a batch");
        assert_eq!(handles[1].push(1, Vec::new()).await, Ok(2));
        let next = fill(&handles[1]);
        assert!(burst(), "in line");
        let sent = usize::try_from(next).expect("few") + 3;
        assert_eq!(handles[1].push(next, Vec::new()).await, Ok(sent));
    })
    .await;
}

#[tokio::test]
async fn a_fresh_member_has_room() {
    within(async {
        let cluster = Cluster::new(3).await;
        for (number, node) in (0..).zip(cluster.nodes()) {
            let line = node.group("line").join_or_create(Line::default()).await.expect("a member");
            assert_eq!(poll(&mut push(&line, number)), Poll::Ready(Ok(())));
        }
    })
    .await;
}

#[tokio::test]
async fn replicated_code_knows_of_a_view_what_all_agree_on() {
    within(async {
        let (_cluster, handles) = members().await;
        handles[2].push(1, Vec::new()).await.expect("stable");
        let view = handles[0].group().view().expect("a view");
        assert!(!view.together().is_empty(), "known from outside");
        let mut known = Vec::new();
        for handle in &handles {
            handle.group().flush().await.expect("flushed");
            assert_eq!(handle.together().await, Ok(0));
            known.push(handle.views().await.expect("a member"));
        }
        assert!(known[0].len() >= 3, "{known:#?}");
        assert!(known.iter().all(|views| *views == known[0]), "{known:#?}");
    })
    .await;
}

#[tokio::test]
async fn views_are_a_stream_that_ends() {
    within(async {
        let (_cluster, handles) = members().await;
        let mut views = pin!(handles[0].group().views());
        let mut next = async || poll_fn(|cx| views.as_mut().poll_next(cx)).await;
        assert_eq!(next().await.expect("the installed view").size(), 3);
        handles[2].group().leave(Duration::from_secs(10)).await.expect("left");
        assert_eq!(next().await.expect("another view").size(), 2);
        handles[0].group().leave(Duration::from_secs(10)).await.expect("left");
        while next().await.is_some() {}
        assert_eq!(next().await, None, "and stays at its end");
        assert_eq!(handles[0].group().views().next().await, None);
    })
    .await;
}

#[test]
fn a_method_says_how_its_updates_are_delivered() {
    let methods = |name| Line::UPDATES.iter().find(|method| method.name == name);
    let [push, burst] = ["push", "burst"].map(|name| methods(name).expect("a method"));
    assert_eq!((push.class, push.level), (Class::Fifo, Level::Optimistic));
    assert_eq!((burst.class, burst.level), (Class::Total, Level::Stable));
}
