//! How memberships end, and what is left of them: names that are free, and errors that name what
//! went wrong, at one node and in one group.

mod patience;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use patience::within;
use serde::{Deserialize, Serialize, Serializer};
use vsync::testing::Cluster;
use vsync::{Ctx, Emitted, GroupEvent, Subscription, replicated};

const PATIENCE: Duration = Duration::from_secs(10);

/// Counts.
#[replicated]
#[derive(Debug, Default)]
struct Tally {
    count: u64,
}

#[replicated]
impl Tally {
    #[update(order = "total")]
    fn add(&mut self, amount: u64) -> u64 {
        self.count += amount;
        self.count
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_has_left_may_come_back_at_once() {
    let cluster = Cluster::new(2).await;
    let first = cluster.node(0).group("tally").create(Tally::default()).await.unwrap();
    for round in 1..30 {
        let second = cluster.node(1).group("tally").join(Tally::default()).await;
        let second = second.unwrap_or_else(|error| panic!("round {round}: {error}"));
        assert_eq!(second.add(1).await.unwrap(), round);
        second.group().leave(PATIENCE).await.unwrap();
    }
    assert_eq!(first.add(0).await.unwrap(), 29);
}

/// The last one takes the group with it: the name is free everywhere.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_is_free_when_the_last_one_has_left() {
    let cluster = Cluster::new(2).await;
    for round in 0..30 {
        let node = cluster.node(round % 2);
        let made = node.group("tally").create(Tally::default()).await;
        let made = made.unwrap_or_else(|error| panic!("round {round}: {error}"));
        assert_eq!(made.add(1).await.unwrap(), 1, "it is another group");
        made.group().leave(PATIENCE).await.unwrap();
    }
}

/// The directory cannot be told at that time: it is told later.
#[tokio::test]
async fn a_name_becomes_free_when_the_directory_can_be_told() {
    let cluster = Cluster::new(3).await;
    let made = cluster.node(2).group("tally").create(Tally::default()).await.unwrap();
    assert_eq!(made.add(7).await.unwrap(), 7);
    // The node has no part in the directory's quorum, and the group no member elsewhere.
    cluster.cut(0, 2);
    cluster.cut(1, 2);
    let mut events = made.group().views();
    within(async {
        made.group().leave(PATIENCE).await.unwrap();
        while !matches!(events.next_event().await, Some(GroupEvent::Closed { .. }) | None) {}
    })
    .await;
    // Longer than it takes to give up trying once.
    tokio::time::sleep(Duration::from_secs(2)).await;
    cluster.heal(0, 2);
    cluster.heal(1, 2);
    within(async {
        loop {
            match cluster.node(0).group("tally").create(Tally::default()).await {
                Ok(made) => break assert_eq!(made.add(1).await.unwrap(), 1),
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    })
    .await;
}

/// What cannot be written down.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
struct Unspeakable(u64);

impl Serialize for Unspeakable {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        assert_ne!(self.0, 2, "two is not spoken of");
        self.0.serialize(serializer)
    }
}

#[replicated(event = Unspeakable, published)]
#[derive(Debug, Default)]
struct Speaker {
    said: u64,
}

#[replicated]
impl Speaker {
    #[update(order = "total")]
    fn say(&mut self, ctx: &Ctx<Self>) -> u64 {
        self.said += 1;
        ctx.emit(Unspeakable(self.said));
        self.said
    }
}

/// An event whose `Serialize` panics is lost to clients, and to nobody else.
#[tokio::test]
async fn an_event_that_cannot_be_encoded_ends_nothing() {
    let cluster = Cluster::new(2).await;
    let mut handles = Vec::new();
    for node in cluster.nodes() {
        handles.push(node.group("speaker").join_or_create(Speaker::default()).await.unwrap());
    }
    let mut events = handles[0].group().events();
    let client = cluster.client().await.unwrap();
    let speaker: SpeakerClient = client.group("speaker");
    let mut heard: Subscription<Speaker, Unspeakable> = speaker.group().events(None).await.unwrap();
    within(async {
        for said in 1..=3 {
            assert_eq!(handles[1].say().await.expect("it goes on"), said);
        }
        for said in 1..=3 {
            let Some(Emitted::Event { event, .. }) = events.next().await else {
                panic!("members have all of them")
            };
            assert_eq!(event, Unspeakable(said));
        }
        let (mut numbers, mut missed) = (Vec::new(), 0);
        while numbers.last() != Some(&3) {
            match heard.next().await.expect("an answer") {
                Emitted::Event { event, .. } => numbers.push(event.0),
                Emitted::Lagged(more) => missed += more,
                other => panic!("nobody has joined again: {other:?}"),
            }
        }
        // What came before it may be missed with it.
        assert!(!numbers.contains(&2) && missed > 0, "{numbers:?} and {missed} missed");
        assert_eq!(numbers.len() as u64 + missed, 3);
    })
    .await;
    assert_eq!(handles[0].group().view().unwrap().size(), 2, "nobody is gone");
}

static ARMED: AtomicBool = AtomicBool::new(false);

/// Its copies break when they are dropped.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Brittle {
    copy: bool,
}

impl Clone for Brittle {
    fn clone(&self) -> Self {
        Brittle { copy: true }
    }
}

impl Drop for Brittle {
    fn drop(&mut self) {
        assert!(!self.copy || !ARMED.load(Ordering::SeqCst), "a copy broke");
    }
}

#[replicated]
#[derive(Clone, Debug, Default)]
struct Vase {
    brittle: Brittle,
    flowers: u64,
}

#[replicated]
impl Vase {
    #[update(order = "total")]
    fn put(&mut self) -> u64 {
        self.flowers += 1;
        self.flowers
    }
}

/// Work that panics away from the driver ends its membership, by name; nobody waits for it.
#[tokio::test]
async fn work_that_panics_ends_its_membership_only() {
    let cluster = Cluster::new(2).await;
    let donor = cluster.node(0).group("vase").create(Vase::default()).await.unwrap();
    let tally = cluster.node(0).group("tally").create(Tally::default()).await.unwrap();
    donor.put().await.unwrap();
    let mut events = donor.group().views();
    ARMED.store(true, Ordering::SeqCst);
    let joiner = cluster.node(1).group("vase").timeout(PATIENCE);
    // It has its checkpoint by then, or not.
    let joining = async {
        drop(joiner.join(Vase::default()).await);
        std::future::pending().await
    };
    let ended = async {
        loop {
            if let GroupEvent::Closed { why } = events.next_event().await.expect("its end") {
                break why;
            }
        }
    };
    let why: String = within(async {
        tokio::select! {
            why = ended => why,
            never = joining => never,
        }
    })
    .await;
    assert!(why.contains("a copy broke"), "{why}");
    assert_eq!(tally.add(1).await.unwrap(), 1, "the node goes on");
}
