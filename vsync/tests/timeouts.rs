//! Every wait can be given a time, in one way, and ends in one error: at a member that is cut off
//! nothing gets stable.

mod patience;

use std::time::Duration;

use patience::within;
use vsync::testing::Cluster;
use vsync::{
    Activate, ActivateError, CallError, Flush, GroupError, NotApplied, QueryFuture,
    RemoteCallFuture, RemoteQueryFuture, Unknown, replicated,
};

/// A number.
#[replicated]
#[derive(Debug, Default)]
pub struct Number {
    value: u64,
}

#[replicated]
impl Number {
    /// Sets it.
    #[update(order = "fifo")]
    pub fn set(&mut self, value: u64) {
        self.value = value;
    }

    /// Swaps it.
    #[update(order = "total")]
    pub fn swap(&mut self, value: u64) -> u64 {
        std::mem::replace(&mut self.value, value)
    }

    /// Reads it.
    #[query]
    pub fn value(&self) -> u64 {
        self.value
    }
}

const SOON: Duration = Duration::from_millis(50);

#[tokio::test]
async fn every_wait_ends_by_its_timeout() {
    within(async {
        let configure = |builder: vsync::NodeBuilder| {
            // The cut is to be a cut for the whole test, not a failure.
            builder.window(1 << 12).max_update(64).failure_timeout(Duration::from_secs(20))
        };
        let cluster = Cluster::with(3, configure).await;
        let mut numbers: Vec<NumberHandle> = Vec::new();
        for node in cluster.nodes() {
            let joined = node.group("number").join_or_create(Number::default()).await;
            numbers.push(joined.expect("a member"));
        }
        numbers[2].swap(1).await.expect("stable");
        let (number, group) = (&numbers[2], numbers[2].group());
        cluster.cut(2, 0);
        cluster.cut(2, 1);

        let late = GroupError::Unknown(Unknown::Timeout);
        // Applied here, not stable.
        let set = number.set(2).optimistic().timeout(SOON).await.expect("applied");
        drop(set);
        assert_eq!(number.value().optimistic().expect("read").into_unstable("a test"), 2);
        // A total that nobody orders is not even applied.
        let swapped = number.swap(3).optimistic().timeout(SOON).await;
        assert_eq!(swapped.expect_err("no order"), late);
        let stable = number.set(4).into_future().timeout(SOON).await;
        assert_eq!(stable, Err(CallError::Unknown(Unknown::Timeout)));
        assert_eq!(number.value().timeout(SOON).await, Err(late.clone()));
        assert_eq!(group.flush().timeout(SOON).await, Err(late.clone()));
        assert_eq!(group.activate(1).timeout(SOON).await, Err(ActivateError::Group(late)));
        // Until there is no room any more: what was not accepted is not sent.
        let refused = loop {
            if let Err(error) = number.set(5).send().timeout(SOON).await {
                break error;
            }
        };
        assert_eq!(refused, GroupError::NotApplied(NotApplied::Timeout));
    })
    .await;
}

/// What is there in time comes, and the futures have names.
#[tokio::test]
async fn what_comes_in_time_comes() {
    within(async {
        let cluster = Cluster::new(1).await;
        let made = cluster.node(0).group("number").create(Number::default()).await;
        let number: NumberHandle = made.expect("made");
        let long = Duration::from_secs(3600);
        number.swap(7).send().timeout(long).await.expect("accepted");
        let flush: Flush = number.group().flush().timeout(long);
        flush.await.expect("stable");
        let activate: Activate = number.group().activate(1).timeout(long);
        activate.await.expect("it is");
        let query: QueryFuture<u64> = number.value().timeout(long).into_future();
        assert_eq!(query.await, Ok(7));
        // A time that is over at once is enough for what is there.
        assert_eq!(number.value().timeout(Duration::ZERO).await, Ok(7));

        let client = cluster.client().await.expect("connected");
        let remote = client.group::<NumberClient>("number");
        let call: RemoteCallFuture<u64, _> = remote.swap(8).timeout(long).into_future();
        assert_eq!(call.await.expect("carried out"), 7);
        let query: RemoteQueryFuture<u64> = remote.value().timeout(long).into_future();
        assert_eq!(query.await.expect("an answer"), 8);

        let view = number.group().view().expect("a view");
        assert_eq!(view.to_string(), format!("view {}: node0", view.number()));
    })
    .await;
}
