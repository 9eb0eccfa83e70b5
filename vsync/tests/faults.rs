//! What users' types, and too many failures, can do to a membership: nobody hangs, and everybody is
//! told.

mod patience;

use std::time::Duration;

use patience::within;
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};
use vsync::testing::Cluster;
use vsync::{
    CallError, CheckpointError, Ctx, GroupError, GroupEvent, JoinError, NotApplied, TimerError,
    Unknown, View, replicated,
};

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
    tripped: bool,
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

    /// The same, in no common order.
    #[update(order = "fifo")]
    pub fn brush(&mut self) {
        assert!(!self.touchy, "brushed");
    }

    /// Panics everywhere, half way.
    #[update(order = "total")]
    pub fn halve(&mut self, value: u64) -> u64 {
        self.value = Fragile(value);
        assert!(value.is_multiple_of(2), "{value} is odd");
        self.value = Fragile(value / 2);
        self.value.0
    }

    /// Takes what cannot be decoded.
    #[update(order = "fifo")]
    pub fn take(&mut self, value: Fragile) {
        self.value = value;
    }

    /// Lets something come that panics.
    #[update(order = "total")]
    pub fn halve_soon(&mut self, ctx: &Ctx<Self>, value: u64) -> Result<(), TimerError> {
        ctx.after(Duration::ZERO, FaultyUpdate::Halve { value }).map(drop)
    }

    /// Lets the next view panic everywhere.
    #[update(order = "total")]
    pub fn trip(&mut self) {
        self.tripped = true;
    }

    #[on_view]
    fn view(&mut self, view: &View) {
        if std::mem::take(&mut self.tripped) {
            self.value = Fragile(view.number());
            panic!("tripped");
        }
    }

    /// The number.
    #[query]
    pub fn value(&self) -> u64 {
        self.value.0
    }
}

async fn settle(handle: &FaultyHandle, size: usize) {
    let mut views = handle.group().views();
    while views.next().await.expect("a view").members().len() != size {}
}

/// A member at each node; those in `touchy` are not like the others.
async fn faulty(cluster: &Cluster, touchy: &[usize]) -> Vec<FaultyHandle> {
    let mut handles = Vec::new();
    for (index, node) in cluster.nodes().enumerate() {
        let state = Faulty { touchy: touchy.contains(&index), ..Faulty::default() };
        let joined = node.group("faulty").join_or_create(state).await;
        handles.push(joined.expect("a member"));
    }
    for handle in &handles {
        let mut views = handle.group().views();
        while views.next().await.expect("a view").size() != handles.len() {}
    }
    handles
}

/// Waits until the membership is over, and says why.
async fn over(handle: &FaultyHandle) -> String {
    let mut events = handle.group().views();
    loop {
        match events.next_event().await {
            Some(GroupEvent::Closed { why }) => return why,
            Some(_) => {}
            None => return String::new(),
        }
    }
}

#[tokio::test]
async fn what_panics_at_one_replica_ends_that_membership_and_nothing_else() {
    within(async {
        let cluster = Cluster::new(3).await;
        let handles = faulty(&cluster, &[2]).await;
        let mut events = handles[2].group().views();
        let touched = handles[2].touch().await;
        let panicked = CallError::Panicked("touched".to_owned());
        let expected = [Err(panicked), Err(CallError::Unknown(Unknown::Closed))];
        assert!(expected.contains(&touched), "{touched:?}");
        let why = loop {
            if let GroupEvent::Closed { why } = events.next_event().await.expect("an event") {
                break why;
            }
        };
        assert!(why.contains("differs"), "{why}");
        settle(&handles[0], 2).await;
        handles[0].set(3).await.expect("stable");
        let after = handles[2].set(4).await;
        assert_eq!(after, Err(CallError::NotApplied(NotApplied::Closed)));
        let closed = Err(GroupError::NotApplied(NotApplied::Closed));
        assert_eq!(handles[2].value().await, closed);
        assert_eq!((handles[0].group().failures(), handles[2].group().failures()), (0, 1));
        // The node goes on: it may join again, with another state.
        let again = cluster.node(2).group("faulty").join(Faulty::default()).await;
        assert_eq!(again.expect("a member").value().await, Ok(3));
    })
    .await;
}

#[tokio::test]
async fn the_majority_is_right_whoever_it_is() {
    within(async {
        // The coordinator alone panics; all but one do; of two, the junior does and the senior.
        let cases: [(usize, &[usize], &[usize]); 4] =
            [(3, &[0], &[0]), (3, &[0, 1], &[2]), (2, &[1], &[1]), (2, &[0], &[1])];
        for (size, touchy, ends) in cases {
            let cluster = Cluster::new(size).await;
            let handles = faulty(&cluster, touchy).await;
            handles[size - 1].brush().send().await.expect("sent");
            for (index, handle) in handles.iter().enumerate() {
                match ends.contains(&index) {
                    true => drop(over(handle).await),
                    false => settle(handle, size - ends.len()).await,
                }
            }
            for (index, handle) in handles.iter().enumerate() {
                let alive = handle.set(index as u64).await.is_ok();
                assert_eq!(alive, !ends.contains(&index), "{index} of {size}, {touchy:?}");
            }
        }
    })
    .await;
}

#[tokio::test]
async fn what_panics_everywhere_is_half_done_everywhere_and_the_group_goes_on() {
    within(async {
        let cluster = Cluster::new(3).await;
        let handles = faulty(&cluster, &[]).await;
        let view = handles[0].group().view();
        assert_eq!(handles[1].halve(8).await, Ok(4));
        let odd = handles[1].halve(7).await;
        assert_eq!(odd, Err(CallError::Panicked("7 is odd".to_owned())));
        let odd = handles[2].halve(9).optimistic().await.map(|_| ());
        assert_eq!(odd, Err(GroupError::Panicked("9 is odd".to_owned())));
        // Between others in one batch.
        handles[2].set(1).send().await.expect("sent");
        handles[2].halve(5).send().await.expect("sent");
        handles[2].halve_soon(3).await.expect("set");
        handles[2].group().flush().await.expect("flushed");
        while handles.iter().any(|handle| handle.group().failures() < 4) {
            tokio::task::yield_now().await;
        }
        for handle in &handles {
            handle.group().flush().await.expect("flushed");
            assert_eq!(handle.value().await, Ok(3), "half way");
            assert_eq!(handle.group().failures(), 4);
        }
        assert_eq!(handles[0].group().view(), view, "nobody is gone");
    })
    .await;
}

#[tokio::test]
async fn a_view_that_panics_everywhere_is_survived() {
    within(async {
        let mut cluster = Cluster::new(3).await;
        let handles = faulty(&cluster, &[]).await;
        handles[0].trip().await.expect("stable");
        cluster.kill(2);
        settle(&handles[0], 2).await;
        settle(&handles[1], 2).await;
        let number = handles[0].group().view().expect("a view").number();
        for handle in &handles[..2] {
            handle.group().flush().await.expect("flushed");
            assert_eq!((handle.value().await, handle.group().failures()), (Ok(number), 1));
        }
        let index = cluster.add().await.expect("started");
        let late = cluster.node(index).group("faulty").join(Faulty::default()).await;
        let late = late.expect("a member");
        assert_eq!(late.halve(6).await, Ok(3));
        assert_eq!(late.group().failures(), 0);
    })
    .await;
}

#[tokio::test]
async fn what_does_not_decode_is_applied_nowhere() {
    within(async {
        let cluster = Cluster::new(3).await;
        let handles = faulty(&cluster, &[]).await;
        handles[1].take(Fragile(12)).await.expect("stable");
        let thirteen = handles[1].take(Fragile(13)).await;
        let Err(CallError::NotApplied(NotApplied::Decode(why))) = thirteen else {
            panic!("{thirteen:?}")
        };
        assert!(why.contains("argument `value` of `take`"), "{why}");
        for handle in &handles {
            handle.group().flush().await.expect("flushed");
            assert_eq!(handle.value().await, Ok(12));
        }
        assert_eq!(handles[2].set(14).await, Ok(()));
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
        let Err(JoinError::Checkpoint { error, .. }) = joined else { panic!("{joined:?}") };
        assert!(matches!(error, CheckpointError::Load { field: "value", .. }), "{error}");
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
        let (in_sight, active) = (1, 3);
        assert_eq!(waited, Err(CallError::Unknown(Unknown::NoQuorum { in_sight, active })));
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
        let why = NotApplied::NoQuorum { in_sight, active };
        assert_eq!(room, Err(CallError::NotApplied(why.clone())));
        assert_eq!(
            why.to_string(),
            "the deadline came before the update was sent, and the group has no quorum (1 of 3 \
             active members is in sight; bring the others back)"
        );
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
