//! Futures that are dropped at every point where they can be: an update whose call was never polled
//! is never sent, and any other takes effect once, in its place.

mod patience;

use std::future::{IntoFuture, poll_fn};
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use patience::within;
use vsync::testing::Cluster;
use vsync::{Optimistic, replicated};

/// Numbers in the order of their arrival.
#[replicated]
#[derive(Debug, Default)]
pub struct Line {
    numbers: Vec<u64>,
}

#[replicated]
impl Line {
    /// Appends a number, with some bytes that need room.
    #[update(order = "total")]
    pub fn push(&mut self, number: u64, room: Vec<u8>) -> usize {
        drop(room);
        self.numbers.push(number);
        self.numbers.len()
    }

    /// The numbers.
    #[query]
    pub fn numbers(&self) -> Vec<u64> {
        self.numbers.clone()
    }
}

/// Two members with little room for what is not stable yet, and the junior's handle.
async fn pair() -> (Cluster, LineHandle) {
    let cluster = Cluster::with(2, |builder| builder.window(1 << 13).max_update(1 << 10)).await;
    let mut handles: Vec<LineHandle> = Vec::new();
    for node in cluster.nodes() {
        let joined = node.group("line").join_or_create(Line::default()).await;
        handles.push(joined.expect("a member"));
    }
    let handle = handles.pop().expect("a member");
    let mut views = handle.group().views();
    while views.next().await.expect("a view").size() != 2 {}
    (cluster, handle)
}

/// Polls a future so many times, as it asks for it, and drops it. What it gave, if it was done.
async fn polled<F: Future>(future: F, times: usize) -> Option<F::Output> {
    let mut future: Pin<Box<F>> = Box::pin(future);
    let mut left = times;
    poll_fn(|cx| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        match future.as_mut().poll(cx) {
            Poll::Ready(value) => Poll::Ready(Some(value)),
            Poll::Pending if left == 0 => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

/// Leaves updates until there is no more room; they have this number.
async fn fill(handle: &LineHandle, number: u64) -> usize {
    let mut count = 1;
    while polled(handle.push(number, vec![0; 500]).send(), 1).await.is_some() {
        count += 1;
    }
    count
}

/// What a program does with a call.
type Use = fn(LineHandle, u64) -> Pin<Box<dyn Future<Output = ()>>>;

/// Every way to wait for an update, and for what follows.
const USES: [(&str, Use); 6] = [
    ("stable", |handle, number| {
        Box::pin(async move { drop(handle.push(number, Vec::new()).await) })
    }),
    ("stable, with a limit", |handle, number| {
        let limit = Duration::from_secs(10);
        Box::pin(async move { drop(handle.push(number, Vec::new()).timeout(limit).await) })
    }),
    ("optimistic", |handle, number| {
        Box::pin(async move { drop(handle.push(number, Vec::new()).optimistic().await) })
    }),
    ("optimistic, then stable", |handle, number| {
        Box::pin(async move {
            let value = handle.push(number, Vec::new()).optimistic().await.expect("applied");
            assert!(value.stable().await.expect("stable") > 0);
        })
    }),
    ("sent", |handle, number| {
        Box::pin(async move { handle.push(number, Vec::new()).send().await.expect("sent") })
    }),
    ("sent, then flushed", |handle, number| {
        Box::pin(async move {
            handle.push(number, Vec::new()).send().await.expect("sent");
            handle.group().flush().await.expect("flushed");
        })
    }),
];

#[tokio::test]
async fn an_update_takes_effect_once_wherever_its_call_is_dropped() {
    within(async {
        let (_cluster, handle) = pair().await;
        let mut expected = Vec::new();
        for (name, way) in USES {
            for full in [false, true] {
                for times in 0.. {
                    let before = expected.len() as u64 * 2;
                    if full {
                        let count = fill(&handle, before).await;
                        expected.extend(std::iter::repeat_n(before, count));
                    }
                    let done = polled(way(handle.clone(), before + 1), times).await;
                    if times > 0 {
                        expected.push(before + 1);
                    }
                    // What comes after all that waits for its turn.
                    expected.push(before);
                    let last = handle.push(before, Vec::new()).await;
                    assert_eq!(last, Ok(expected.len()), "{name}, polled {times} times");
                    let numbers = handle.numbers().await.expect("a member");
                    assert_eq!(numbers, expected, "{name}, polled {times} times, full: {full}");
                    if done.is_some() {
                        break;
                    }
                    assert!(times < 100, "{name} is never done");
                }
            }
        }
    })
    .await;
}

#[tokio::test]
async fn a_wait_for_stability_may_be_given_up_and_begun_again() {
    within(async {
        let (_cluster, handle) = pair().await;
        for times in 0.. {
            let call = handle.push(times as u64, Vec::new()).optimistic().await;
            let mut value: Optimistic<usize> = call.expect("applied");
            let done = polled(value.wait_stable(), times).await;
            assert_eq!(value.wait_stable().await, Ok(()));
            assert_eq!(value.stable().await, Ok(times + 1));
            if done.is_some() {
                break;
            }
        }
    })
    .await;
}

#[tokio::test]
async fn reading_and_listening_may_be_given_up() {
    within(async {
        let (mut cluster, handle) = pair().await;
        for times in 0.. {
            handle.push(7, Vec::new()).send().await.expect("sent");
            if polled(handle.numbers().into_future(), times).await.is_some() {
                break;
            }
        }
        assert!(handle.numbers().await.is_ok());
        // Views that come while nobody waits are not lost.
        let mut views = handle.group().views();
        let first = views.next().await.expect("the installed view").number();
        assert!(polled(views.next(), 1).await.is_none());
        for _ in 0..3 {
            cluster.add().await.expect("started");
        }
        for index in 2..5 {
            let joined = cluster.node(index).group("line").join(Line::default()).await;
            joined.expect("a member").group().flush().await.expect("flushed");
        }
        let last = handle.group().view().expect("a view").number();
        for number in first + 1..=last {
            assert_eq!(views.next().await.expect("a view").number(), number);
        }
    })
    .await;
}
