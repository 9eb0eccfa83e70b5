//! What users' types, and too many failures, can do to a membership: nobody hangs, and everybody is
//! told.

use std::time::Duration;

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};
use vsync::testing::Cluster;
use vsync::{CallError, GroupError, GroupEvent, JoinError, NotApplied, Unknown, replicated};

/// A number that some replicas cannot load.
#[derive(Debug, Default, Serialize)]
pub struct Fragile(u64);

impl<'de> Deserialize<'de> for Fragile {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Fragile, D::Error> {
        match u64::deserialize(deserializer)? {
            13 => Err(D::Error::custom("thirteen")),
            value => Ok(Fragile(value)),
        }
    }
}

/// A type with faults.
#[replicated]
#[derive(Debug, Default)]
pub struct Faulty {
    value: Fragile,
    #[local]
    touchy: bool,
}

#[replicated]
impl Faulty {
    /// Sets the number.
    #[update(order = "total")]
    pub fn set(&mut self, value: u64) {
        self.value = Fragile(value);
    }

    /// Panics where the replica is touchy.
    #[update(order = "total")]
    pub fn touch(&mut self) {
        assert!(!self.touchy, "touched");
    }

    /// The number.
    #[query]
    pub fn value(&self) -> u64 {
        self.value.0
    }
}

/// Nothing in these tests may take longer.
async fn within<T>(future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(Duration::from_secs(20), future).await {
        Ok(value) => value,
        Err(_) => panic!("not done in time"),
    }
}

async fn settle(handle: &FaultyHandle, size: usize) {
    let mut views = handle.group().views();
    while views.next().await.expect("a view").members().len() != size {}
}

#[tokio::test]
async fn a_panic_ends_the_membership_and_nothing_else() {
    within(async {
        let cluster = Cluster::new(3).await;
        let mut handles = Vec::new();
        for (index, node) in cluster.nodes().enumerate() {
            let state = Faulty { touchy: index == 2, ..Faulty::default() };
            let joined = node.group("faulty").join_or_create(state).await;
            handles.push(joined.expect("a member"));
        }
        settle(&handles[0], 3).await;
        let mut events = handles[2].group().views();
        let touched = handles[2].touch().await;
        assert_eq!(touched, Err(CallError::Unknown(Unknown::Closed)));
        let why = loop {
            if let GroupEvent::Closed { why } = events.next_event().await.expect("an event") {
                break why;
            }
        };
        assert!(why.contains("touched"), "{why}");
        settle(&handles[0], 2).await;
        handles[0].set(3).await.expect("stable");
        let after = handles[2].set(4).await;
        assert_eq!(after, Err(CallError::NotApplied(NotApplied::Closed)));
        assert_eq!(handles[2].value().await, Err(GroupError::NoState));
        // The node goes on: it may join again, with another state.
        let again = cluster.node(2).group("faulty").join(Faulty::default()).await;
        assert_eq!(again.expect("a member").value().await, Ok(3));
    })
    .await;
}

#[tokio::test]
async fn a_checkpoint_that_does_not_load_is_a_clear_error() {
    within(async {
        let cluster = Cluster::new(2).await;
        let first = cluster.node(0).group("faulty").create(Faulty::default()).await.expect("made");
        first.set(13).await.expect("stable");
        let joined = cluster.node(1).group("faulty").join(Faulty::default()).await;
        let Err(JoinError::Ended { why, .. }) = joined else { panic!("{joined:?}") };
        assert!(why.contains("loading field `value`"), "{why}");
        settle(&first, 1).await;
        first.set(14).await.expect("stable");
        let joined = cluster.node(1).group("faulty").join(Faulty::default()).await;
        assert_eq!(joined.expect("a member").value().await, Ok(14));
    })
    .await;
}

#[tokio::test]
async fn without_a_quorum_calls_wait_and_end_by_their_timeout() {
    within(async {
        let mut cluster = Cluster::with(3, |builder| builder.window(1 << 12).max_update(64)).await;
        let mut handles = Vec::new();
        for node in cluster.nodes() {
            let joined = node.group("faulty").join_or_create(Faulty::default()).await;
            handles.push(joined.expect("a member"));
        }
        settle(&handles[0], 3).await;
        handles[0].set(1).await.expect("stable");
        let mut events = handles[2].group().views();
        cluster.kill(0);
        cluster.kill(1);
        while events.next_event().await.expect("an event") != GroupEvent::Blocked {}
        let patience = Duration::from_millis(50);
        let waited = handles[2].set(2).timeout(patience).await;
        assert_eq!(waited, Err(CallError::Unknown(Unknown::Timeout)));
        // Flow control takes in a bounded number, and then the callers wait for room.
        let mut accepted = 0;
        let full = loop {
            match handles[2].set(3).send().await_for(patience).await {
                Some(Ok(())) => accepted += 1,
                other => break other,
            }
            assert!(accepted < 10_000, "there is no bound");
        };
        assert!(full.is_none(), "{full:?}");
        let room = handles[2].set(4).timeout(patience).await;
        assert_eq!(room, Err(CallError::NotApplied(NotApplied::Timeout)));
        // The end of the node ends who still waits.
        let handle = handles.pop().expect("the third");
        let pending = tokio::spawn({
            let handle = handle.clone();
            async move { handle.set(5).await }
        });
        let flush = tokio::spawn({
            let handle = handle.clone();
            async move { handle.group().flush().await }
        });
        tokio::time::sleep(patience).await;
        drop(cluster.take(2));
        let pending = pending.await.expect("no panic");
        assert!(matches!(pending, Err(CallError::NotApplied(_))), "{pending:?}");
        assert!(flush.await.expect("no panic").is_err());
    })
    .await;
}

/// Awaiting for a limited time, where what happens afterwards does not matter.
trait AwaitFor: IntoFuture + Sized {
    async fn await_for(self, limit: Duration) -> Option<Self::Output> {
        tokio::time::timeout(limit, self.into_future()).await.ok()
    }
}

impl<F: IntoFuture> AwaitFor for F {}

#[tokio::test]
async fn dropped_calls_are_sent_or_not_but_never_in_between() {
    within(async {
        let cluster = Cluster::new(1).await;
        let handle = cluster.node(0).group("faulty").create(Faulty::default()).await.expect("made");
        drop(handle.set(1));
        assert_eq!(handle.value().await, Ok(0), "a call that was never polled is never sent");
        let polled = tokio::time::timeout(Duration::ZERO, handle.set(2).into_future()).await;
        drop(polled);
        handle.group().flush().await.expect("flushed");
        assert_eq!(handle.value().await, Ok(2), "a call that was polled takes effect");
    })
    .await;
}
