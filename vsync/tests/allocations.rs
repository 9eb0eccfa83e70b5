//! What an update allocates: nothing of its own where nobody waits for it, and where somebody does,
//! no more than the box of its answer. All else is made per batch. The arguments here own no
//! memory, which would be the user's.
//!
//! What is counted is what all members do together: they are in this process.

#[path = "allocations/counting.rs"]
mod counting;
mod patience;

use std::future::{IntoFuture, poll_fn};
use std::pin::Pin;
use std::task::Poll;

use counting::allocations;
use patience::within;
use tokio::sync::Mutex;
use vsync::replicated;
use vsync::testing::Cluster;

/// A sum.
#[replicated]
#[derive(Debug, Default)]
pub struct Sum {
    sum: u64,
}

#[replicated]
impl Sum {
    /// In one order for all.
    #[update(order = "total")]
    pub fn total(&mut self, number: u64) -> u64 {
        self.sum += number;
        self.sum
    }

    /// The same, without a word.
    #[update(order = "total")]
    pub fn silent(&mut self, number: u64) {
        self.sum += number;
    }

    /// In sender order.
    #[update(order = "fifo")]
    pub fn fifo(&mut self, number: u64) {
        self.sum += number;
    }

    /// After its causes.
    #[update(order = "causal")]
    pub fn causal(&mut self, number: u64) {
        self.sum += number;
    }

    /// The sum.
    #[query]
    pub fn sum(&self) -> u64 {
        self.sum
    }
}

/// How many go into one batch: they are left before the driver has its turn.
const BATCH: u64 = 2_500;
const BATCHES: u64 = 10;

/// What one test allocates is none of the other's.
static ALONE: Mutex<()> = Mutex::const_new(());

#[derive(Clone, Copy, Debug)]
enum Order {
    Total,
    Fifo,
    Causal,
}

struct Members {
    _cluster: Cluster,
    handles: Vec<SumHandle>,
}

impl Members {
    async fn form(size: usize) -> Members {
        let cluster = Cluster::new(size).await;
        let mut handles: Vec<SumHandle> = Vec::new();
        for node in cluster.nodes() {
            handles.push(node.group("sum").join_or_create(Sum::default()).await.expect("joins"));
        }
        let alone =
            |sum: &SumHandle| sum.group().view().is_none_or(|view| view.members().len() < size);
        while handles.iter().any(alone) {
            tokio::task::yield_now().await;
        }
        Members { _cluster: cluster, handles }
    }

    /// Sends a batch; it is applied everywhere then.
    async fn send(&self, sender: usize, order: Order) {
        let sum = &self.handles[sender];
        for _ in 0..BATCH {
            let sent = match order {
                Order::Total => sum.total(1).send().await,
                Order::Fifo => sum.fifo(1).send().await,
                Order::Causal => sum.causal(1).send().await,
            };
            sent.expect("sent");
        }
        sum.group().flush().await.expect("stable");
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
    }

    /// All apply all of it in the end: some ranges are applied by other threads.
    async fn check(&self, sum: u64) {
        for handle in &self.handles {
            while handle.sum().await.expect("stable") < sum {
                tokio::task::yield_now().await;
            }
            assert_eq!(handle.sum().await.expect("stable"), sum);
        }
    }
}

/// Awaits so many calls at the same time.
async fn calls<C, V, E>(count: u64, call: impl Fn() -> C)
where
    C: IntoFuture<Output = Result<V, E>, IntoFuture: Unpin>,
    E: std::fmt::Debug,
{
    let mut calls: Vec<_> = (0..count).map(|_| Some(call().into_future())).collect();
    poll_fn(|cx| {
        for call in &mut calls {
            if let Some(under_way) = call
                && let Poll::Ready(answer) = Pin::new(under_way).poll(cx)
            {
                answer.expect("stable");
                *call = None;
            }
        }
        if calls.iter().all(Option::is_none) { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}

/// How often something was allocated, per update of so many.
fn each(before: u64, updates: u64) -> f64 {
    (allocations() - before) as f64 / updates as f64
}

#[tokio::test]
async fn what_nobody_waits_for_is_allocated_for_by_the_batch() {
    let _alone = ALONE.lock().await;
    for size in [1, 3] {
        let members = within(Members::form(size)).await;
        let mut sum = 0;
        for order in [Order::Total, Order::Fifo, Order::Causal] {
            // The first member is the sequencer.
            for sender in [0, size - 1] {
                members.send(sender, order).await;
                let before = allocations();
                for _ in 0..BATCHES {
                    within(members.send(sender, order)).await;
                }
                let each = each(before, BATCHES * BATCH);
                println!("{size} members, {order:?} from {sender}: {each} per update");
                assert!(each < 0.1, "{order:?} from {sender} of {size}: {each} per update");
                sum += (1 + BATCHES) * BATCH;
            }
        }
        within(members.check(sum)).await;
    }
}

#[tokio::test]
async fn whoever_awaits_has_the_answer_allocated_and_nothing_else() {
    let _alone = ALONE.lock().await;
    for size in [1, 3] {
        let members = within(Members::form(size)).await;
        for sender in [0, size - 1] {
            let handle = &members.handles[sender];
            // What is kept for callers is made for the first of them.
            calls(BATCH, || handle.total(1)).await;
            let before = allocations();
            for _ in 0..BATCHES {
                within(calls(BATCH, || handle.total(1))).await;
            }
            let answered = each(before, BATCHES * BATCH);
            let before = allocations();
            for _ in 0..BATCHES {
                within(calls(BATCH, || handle.silent(1))).await;
            }
            let silent = each(before, BATCHES * BATCH);
            println!("{size} members, {sender} awaits: {answered} per call, {silent} of silent");
            assert!((1.0..1.2).contains(&answered), "{sender} of {size}: {answered} per call");
            assert!(silent < 0.2, "{sender} of {size}: {silent} per call without an answer");
        }
        within(members.check(2 * (1 + 2 * BATCHES) * BATCH)).await;
    }
}
