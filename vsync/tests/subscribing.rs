//! Clients that subscribe to what a group emits.

mod patience;

use std::time::Duration;

use patience::within;
use serde::{Deserialize, Serialize};
use vsync::testing::Cluster;
use vsync::{ClientError, Ctx, Cursor, Emitted, NotApplied, Subscription, replicated};

/// What is published.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Tick {
    /// The counter's new value, and bytes that need room.
    Counted(u64, Vec<u8>),
}

/// Counts.
#[replicated(event = Tick, published)]
#[derive(Debug, Default)]
pub struct Counter {
    value: u64,
}

#[replicated]
impl Counter {
    /// Counts on.
    #[update(order = "total")]
    pub fn count(&mut self, ctx: &Ctx<Self>, room: usize) -> u64 {
        self.value += 1;
        ctx.emit(Tick::Counted(self.value, vec![0; room]));
        self.value
    }

    /// The last one.
    #[query]
    pub fn value(&self) -> u64 {
        self.value
    }
}

type Ticks = Subscription<Counter, Tick>;

/// So many members, which keep some bytes of events.
async fn members(size: usize, buffer: usize) -> (Cluster, Vec<CounterHandle>) {
    let cluster = Cluster::with(size, move |builder| builder.event_buffer(buffer)).await;
    let mut handles = Vec::new();
    for node in cluster.nodes() {
        let entered = node.group("counter").join_or_create(Counter::default()).await;
        handles.push(entered.expect("a member"));
    }
    let mut views = handles[0].group().views();
    while views.next().await.expect("a view").size() != size {}
    (cluster, handles)
}

/// The next event: the value counted.
async fn next(ticks: &mut Ticks) -> (Cursor, u64) {
    match ticks.next().await.expect("an answer") {
        Emitted::Event { cursor, event: Tick::Counted(value, _) } => (cursor, value),
        other => panic!("no event: {other:?}"),
    }
}

/// Reads until some value: the values that came, and how many were told to be missed.
async fn read(ticks: &mut Ticks, until: u64) -> (Vec<u64>, u64) {
    let (mut values, mut missed) = (Vec::new(), 0);
    while values.last() != Some(&until) {
        match ticks.next().await.expect("an answer") {
            Emitted::Event { event: Tick::Counted(value, _), .. } => values.push(value),
            Emitted::Lagged(count) => missed += count,
            other => panic!("{other:?}"),
        }
    }
    (values, missed)
}

#[tokio::test]
async fn a_subscriber_goes_on_at_another_member_where_it_was() {
    within(async {
        let (mut cluster, handles) = members(3, 1 << 20).await;
        let client = cluster.client().await.expect("a client");
        let counter: CounterClient = client.group("counter");
        let mut ticks: Ticks = counter.group().events(None).await.expect("subscribed");
        for value in 1..=5 {
            handles[1].count(0).await.expect("stable");
            assert_eq!(next(&mut ticks).await.1, value);
        }
        // The client reads from one of them, whichever: with all but one gone it has moved.
        for gone in [0, 1] {
            if gone == 0 {
                cluster.kill(gone);
            } else {
                handles[gone].group().leave(Duration::from_secs(5)).await.expect("left");
            }
            let mut views = handles[2].group().views();
            while views.next().await.expect("a view").size() != 2 - gone {}
            let value = handles[2].count(0).await.expect("stable");
            assert_eq!(next(&mut ticks).await.1, value);
        }
        let cursor = {
            handles[2].count(0).await.expect("stable");
            next(&mut ticks).await.0
        };
        handles[2].count(0).await.expect("stable");
        let mut again: Ticks = counter.group().events(Some(cursor)).await.expect("subscribed");
        assert_eq!(next(&mut again).await.1, 9, "what comes after the cursor");
    })
    .await;
}

#[tokio::test]
async fn a_query_reads_what_the_events_have_told() {
    within(async {
        let (cluster, handles) = members(3, 1 << 20).await;
        let client = cluster.client().await.expect("a client");
        let counter: CounterClient = client.group("counter");
        let mut ticks: Ticks = counter.group().events(None).await.expect("subscribed");
        let writer = handles[2].clone();
        let writing = tokio::spawn(async move {
            for _ in 0..200 {
                writer.count(0).await.expect("stable");
            }
        });
        for _ in 0..200 {
            let (_, told) = next(&mut ticks).await;
            let read = counter.value().await.expect("an answer");
            assert!(read >= told, "{told} was told, then {read} read");
        }
        writing.await.expect("written");
    })
    .await;
}

#[tokio::test]
async fn what_is_no_longer_kept_is_named() {
    within(async {
        let (mut cluster, handles) = members(1, 1000).await;
        let client = cluster.client().await.expect("a client");
        let counter: CounterClient = client.group("counter");
        let mut ticks: Ticks = counter.group().events(None).await.expect("subscribed");
        handles[0].count(300).await.expect("stable");
        let (first, _) = next(&mut ticks).await;
        for _ in 2..=10 {
            handles[0].count(300).await.expect("stable");
        }
        // Each takes more than 300 bytes: two or three of them are kept.
        let (values, missed) = read(&mut ticks, 10).await;
        assert_eq!(values.len() as u64 + missed, 9, "all that came later: {values:?}");
        assert!(missed >= 6, "{missed}");
        let mut old: Ticks = counter.group().events(Some(first)).await.expect("subscribed");
        assert_eq!(old.next().await.expect("an answer"), Emitted::Gap);
        assert_eq!(next(&mut old).await.1, values[0]);
        // A joiner has seen nothing of what was before: whoever has to go on there is told.
        let added = cluster.add().await.expect("a node");
        let late = cluster.node(added).group("counter").join(Counter::default()).await;
        let late = late.expect("a member");
        handles[0].group().leave(Duration::from_secs(5)).await.expect("left");
        assert_eq!(late.count(0).await, Ok(11));
        let mut old: Ticks = counter.group().events(Some(first)).await.expect("subscribed");
        assert_eq!(old.next().await.expect("an answer"), Emitted::Gap);
        let refused = handles[0].count(0).await;
        assert_eq!(refused, Err(vsync::CallError::NotApplied(NotApplied::Closed)));
        let nobody: CounterClient = client.group("nobody");
        let nobody = nobody.group().events::<Tick>(None).await;
        assert!(matches!(nobody, Err(ClientError::NoSuchGroup { .. })), "{nobody:?}");
    })
    .await;
}

#[tokio::test]
async fn a_thousand_subscribers_do_not_stop_the_members() {
    const SUBSCRIBERS: usize = 1000;
    const UPDATES: u64 = 200;
    within(async {
        let (cluster, handles) = members(3, 1 << 14).await;
        let client = cluster.client().await.expect("a client");
        let counter: CounterClient = client.group("counter");
        let mut subscribers: Vec<Ticks> = Vec::new();
        for _ in 0..SUBSCRIBERS {
            subscribers.push(counter.group().events(None).await.expect("subscribed"));
        }
        // Half of them read all the time, half not before all is over.
        let idle = subscribers.split_off(SUBSCRIBERS / 2);
        let mut reading = tokio::task::JoinSet::new();
        for mut ticks in subscribers {
            reading.spawn(async move { read(&mut ticks, UPDATES).await });
        }
        for value in 1..=UPDATES {
            assert_eq!(handles[0].count(100).await, Ok(value));
        }
        for mut ticks in idle {
            reading.spawn(async move { read(&mut ticks, UPDATES).await });
        }
        for (values, missed) in reading.join_all().await {
            assert_eq!(values.len() as u64 + missed, UPDATES, "told of each that is missing");
            assert!(values.is_sorted());
        }
    })
    .await;
}
