//! Clients outside a group: typed calls that are carried out once, whoever fails, and reads that
//! never go back.

mod patience;

use std::collections::BTreeSet;
use std::future::IntoFuture;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use patience::within;
use serde::{Deserialize, Serialize};
use vsync::testing::Cluster;
use vsync::{ClientCallError, ClientError, replicated};

/// Why it does not sell.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SoldOut;

/// A number, and things to sell.
#[replicated]
#[derive(Debug, Default)]
pub struct Desk {
    value: u64,
    beats: u64,
}

#[replicated]
impl Desk {
    /// Adds.
    #[update(order = "total")]
    pub fn add(&mut self, amount: u64) -> u64 {
        self.value += amount;
        self.value
    }

    /// Adds when that is stable.
    #[update(order = "total", level = "stable")]
    pub fn add_stable(&mut self, amount: u64) -> u64 {
        self.value += amount;
        self.value
    }

    /// Says no beyond 5.
    #[update(order = "total")]
    pub fn sell(&mut self) -> Result<u64, SoldOut> {
        if self.value >= 5 {
            return Err(SoldOut);
        }
        self.value += 1;
        Ok(self.value)
    }

    /// Beats.
    #[update(order = "fifo")]
    pub fn beat(&mut self) {
        self.beats += 1;
    }

    /// Panics half way.
    #[update(order = "total")]
    pub fn panic(&mut self) -> u64 {
        self.value += 1;
        panic!("at {}", self.value);
    }

    /// Gives so many bytes, and takes some.
    #[update(order = "total")]
    pub fn blob(&mut self, give: usize, take: Vec<u8>) -> Vec<u8> {
        self.value += 1;
        drop(take);
        vec![1; give]
    }

    /// The number.
    #[query]
    pub fn value(&self) -> u64 {
        self.value
    }

    /// How many beats.
    #[query]
    pub fn beats(&self) -> u64 {
        self.beats
    }
}

/// Something else.
#[replicated]
#[derive(Debug, Default)]
pub struct Other {}

#[replicated]
impl Other {
    /// Nothing.
    #[update(order = "total")]
    pub fn nothing(&mut self) {}
}

async fn join(cluster: &Cluster, index: usize) -> DeskHandle {
    let joined = cluster.node(index).group("desk").join_or_create(Desk::default()).await;
    joined.expect("a member")
}

async fn members(size: usize) -> (Cluster, Vec<DeskHandle>) {
    let cluster = Cluster::new(size).await;
    let mut members = Vec::new();
    for index in 0..size {
        members.push(join(&cluster, index).await);
    }
    (cluster, members)
}

async fn desk(cluster: &Cluster) -> DeskClient {
    cluster.client().await.expect("connected").group("desk")
}

/// One call of a history: between these two ticks it gave this value.
#[derive(Clone, Copy, Debug)]
struct Op {
    client: usize,
    begun: u64,
    done: u64,
    seen: Kind,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Added(u64),
    Read(u64),
}

/// Whether the history of a counter, to which each call has added one, is one that a single
/// process could have given: each call at one moment between its beginning and its end. The reads
/// of a client may lie in the past, but not before its own calls and earlier reads.
fn judge(history: &[Op]) -> Result<(), String> {
    let mut added: Vec<(u64, Op)> = Vec::new();
    for op in history {
        if let Kind::Added(value) = op.seen {
            added.push((value, *op));
        }
    }
    added.sort_by_key(|(value, _)| *value);
    // The values are the order. Whoever is later in it must not have been done before.
    let mut latest = 0;
    for (index, (value, op)) in added.iter().enumerate() {
        if *value != index as u64 + 1 {
            return Err(format!("{value} is number {index}: twice or never: {op:?}"));
        }
        latest = latest.max(op.begun);
        if op.done < latest {
            return Err(format!("done before one that comes earlier has begun: {op:?}"));
        }
    }
    let clients = history.iter().map(|op| op.client).collect::<BTreeSet<_>>();
    for client in clients {
        let mut floor = 0;
        let mut own: Vec<_> = history.iter().filter(|op| op.client == client).collect();
        own.sort_by_key(|op| op.begun);
        for op in own {
            let (Kind::Added(value) | Kind::Read(value)) = op.seen;
            let begun = added.iter().filter(|(_, other)| other.begun < op.done).count() as u64;
            if value < floor || value > begun {
                return Err(format!("between {floor} and {begun}: {op:?}"));
            }
            floor = value;
        }
    }
    Ok(())
}

#[test]
fn the_judge_finds_bad_histories() {
    let op = |client, begun, done, seen| Op { client, begun, done, seen };
    let good = [
        op(0, 1, 4, Kind::Added(2)),
        op(1, 2, 3, Kind::Added(1)),
        op(1, 5, 6, Kind::Read(1)),
        op(1, 7, 8, Kind::Read(2)),
    ];
    assert_eq!(judge(&good), Ok(()));
    let with = |at: usize, bad: Op| {
        let mut history = good;
        history[at] = bad;
        judge(&history).is_err()
    };
    assert!(with(0, op(0, 1, 4, Kind::Added(1))), "the same twice");
    assert!(with(0, op(0, 1, 4, Kind::Added(3))), "one more than was asked for");
    assert!(with(0, op(0, 0, 1, Kind::Added(2))), "against real time");
    assert!(with(2, op(1, 5, 6, Kind::Read(0))), "not its own write");
    assert!(with(2, op(1, 5, 6, Kind::Read(3))), "out of nothing");
    assert!(with(2, op(1, 9, 10, Kind::Read(1))), "back in time");
}

/// What clients at work share with the test.
#[derive(Debug, Default)]
struct Shift {
    clock: AtomicU64,
    over: AtomicBool,
}

impl Shift {
    fn tick(&self) -> u64 {
        self.clock.fetch_add(1, Ordering::SeqCst)
    }

    /// Waits until the clients have come this much further.
    async fn pass(&self, ticks: u64) {
        let until = self.clock.load(Ordering::SeqCst) + ticks;
        while self.clock.load(Ordering::SeqCst) < until {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

/// Adds and reads in turn until the shift is over, and writes down what it is told.
async fn work(desk: DeskClient, client: usize, shift: Arc<Shift>) -> Vec<Op> {
    let limit = Duration::from_secs(40);
    let mut history = Vec::new();
    while !shift.over.load(Ordering::SeqCst) {
        let begun = shift.tick();
        let seen = if history.len() % 3 == 2 {
            Kind::Read(desk.value().timeout(limit).await.expect("an answer"))
        } else {
            Kind::Added(desk.add(1).timeout(limit).await.expect("carried out"))
        };
        history.push(Op { client, begun, done: shift.tick(), seen });
    }
    history
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_call_is_carried_out_once_whichever_members_are_killed() {
    within(async {
        let (mut cluster, mut members) = members(4).await;
        let shift = Arc::new(Shift::default());
        let mut working = tokio::task::JoinSet::new();
        for client in 0..8 {
            let desk = desk(&cluster).await;
            working.spawn(work(desk, client, Arc::clone(&shift)));
        }
        // Every member that the clients know in the beginning is killed in turn, amid their work;
        // another joins in between, with the table.
        for victim in 0..4 {
            shift.pass(100 + 37 * victim as u64).await;
            cluster.kill(victim);
            members.remove(0);
            let joiner = cluster.add().await.expect("started");
            members.push(join(&cluster, joiner).await);
        }
        shift.pass(100).await;
        shift.over.store(true, Ordering::SeqCst);
        let history = working.join_all().await.concat();
        assert_eq!(judge(&history), Ok(()));
        let added = history.iter().filter(|op| matches!(op.seen, Kind::Added(_))).count();
        for member in &members {
            member.group().flush().await.expect("stable");
        }
        let fresh = desk(&cluster).await;
        assert_eq!(fresh.value().await.expect("an answer"), added as u64);
    })
    .await;
}

#[tokio::test]
async fn clients_call_every_kind_of_update() {
    within(async {
        let (cluster, members) = members(3).await;
        let desk = desk(&cluster).await;
        assert_eq!(desk.add(3).await.expect("applied"), 3);
        assert_eq!(desk.add_stable(1).await.expect("applied"), 4);
        assert_eq!(desk.sell().await.expect("sold"), 5);
        let refused = desk.sell().await;
        assert!(matches!(refused, Err(ClientCallError::Refused(SoldOut))), "{refused:?}");
        for _ in 0..3 {
            desk.beat().await.expect("applied");
        }
        assert_eq!(desk.beats().await.expect("an answer"), 3, "its own writes");
        assert_eq!(members[0].add(1).await.expect("stable"), 6);
        let many = (0..300).map(|_| desk.add(1).into_future()).collect::<Vec<_>>();
        let mut values = BTreeSet::new();
        let mut under_way = tokio::task::JoinSet::new();
        many.into_iter().for_each(|call| drop(under_way.spawn(call)));
        for value in under_way.join_all().await {
            values.insert(value.expect("applied"));
        }
        assert_eq!(values, (7..=306).collect());
    })
    .await;
}

#[tokio::test]
async fn many_groups_are_asked_over_one_connection() {
    within(async {
        let cluster = Cluster::new(2).await;
        let client = cluster.client().await.expect("connected");
        let mut groups = Vec::new();
        for name in ["a", "b", "c"] {
            let member = cluster.node(0).group(name).join_or_create(Desk::default()).await;
            groups.push((client.group::<DeskClient>(name), member.expect("a member")));
        }
        for (index, (desk, _)) in groups.iter().enumerate() {
            assert_eq!(desk.add(index as u64).await.expect("applied"), index as u64);
        }
        for (index, (desk, _)) in groups.iter().enumerate() {
            assert_eq!(desk.value().await.expect("an answer"), index as u64);
        }
    })
    .await;
}

#[tokio::test]
async fn a_key_outlives_its_client_and_the_members_that_knew_it() {
    within(async {
        let (mut cluster, mut members) = members(3).await;
        let first = desk(&cluster).await;
        assert_eq!(first.add(2).key("order 5").await.expect("applied"), 2);
        assert_eq!(first.add(2).await.expect("applied"), 4);
        drop(first);
        // All members are replaced: their successors have the table from a checkpoint.
        for old in 0..3 {
            let joiner = cluster.add().await.expect("started");
            members.push(join(&cluster, joiner).await);
            cluster.kill(old);
        }
        let again = desk(&cluster).await;
        assert_eq!(again.add(2).key("order 5").await.expect("recorded"), 2);
        let other = again.add(3).key("order 5").await;
        let Err(ClientCallError::NotApplied(ClientError::OtherContent)) = other else {
            panic!("{other:?}");
        };
        assert_eq!(again.value().await.expect("an answer"), 4);
        let long = again.add(1).key([0; 257]).await;
        let Err(ClientCallError::NotApplied(ClientError::KeyTooLong { size: 257, limit: 256 })) =
            long
        else {
            panic!("{long:?}");
        };
    })
    .await;
}

#[tokio::test]
async fn a_panic_is_recorded() {
    within(async {
        let (cluster, members) = members(3).await;
        let (one, two) = (desk(&cluster).await, desk(&cluster).await);
        for desk in [one, two] {
            let panicked = desk.panic().key("boom").await;
            let Err(ClientCallError::Panicked(why)) = panicked else { panic!("{panicked:?}") };
            assert_eq!(why, "at 1");
            assert_eq!(desk.value().await.expect("an answer"), 1, "once");
        }
        assert_eq!(members[0].group().failures(), 1);
        assert!(members[0].group().view().is_some(), "the members go on");
    })
    .await;
}

#[tokio::test]
async fn what_is_too_large_is_named() {
    within(async {
        let (cluster, members) = members(2).await;
        let desk = desk(&cluster).await;
        let lost = desk.blob(2 << 20, Vec::new()).key("large").await;
        let Err(ClientCallError::NoResult(why)) = lost else { panic!("{lost:?}") };
        assert!(why.contains("limit"), "{why}");
        let again = desk.blob(2 << 20, Vec::new()).key("large").await;
        assert!(matches!(again, Err(ClientCallError::NoResult(_))), "{again:?}");
        assert_eq!(desk.value().await.expect("an answer"), 1, "carried out, once");
        assert_eq!(desk.blob(5, Vec::new()).await.expect("small enough"), [1; 5]);
        for size in [2 << 20, 17 << 20] {
            let large = desk.blob(0, vec![0; size]).await;
            let Err(ClientCallError::NotApplied(ClientError::TooLarge { .. })) = large else {
                panic!("{large:?}");
            };
        }
        assert_eq!(desk.value().await.expect("an answer"), 2);
        drop(members);
    })
    .await;
}

#[tokio::test]
async fn what_cannot_be_asked_is_named() {
    within(async {
        let (cluster, _members) = members(2).await;
        let client = cluster.client().await.expect("connected");
        let nobody: DeskClient = client.group("nobody");
        let missing = nobody.add(1).await;
        let Err(ClientCallError::NotApplied(ClientError::NoSuchGroup { name })) = missing else {
            panic!("{missing:?}");
        };
        assert_eq!(name, "nobody");
        let other = client.group::<OtherClient>("desk").nothing().await;
        let Err(ClientCallError::NotApplied(ClientError::Type { here, there, .. })) = other else {
            panic!("{other:?}");
        };
        assert_eq!((here.as_str(), there.as_str()), ("Other", "Desk"));
        let desk: DeskClient = client.group("desk");
        let past = desk.add(1).timeout(Duration::ZERO).await;
        let Err(ClientCallError::NotApplied(ClientError::Timeout { .. })) = past else {
            panic!("{past:?}");
        };
        assert_eq!(desk.value().await.expect("an answer"), 0);
    })
    .await;
}

#[tokio::test]
async fn a_client_that_was_silent_for_long_opens_another_session() {
    within(async {
        let (cluster, members) = members(2).await;
        let client = cluster.client().await.expect("connected");
        client.set_lease(Duration::from_millis(50));
        let desk: DeskClient = client.group("desk");
        for value in 1..4 {
            assert_eq!(desk.add(1).await.expect("applied"), value);
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        assert_eq!(members[1].value().await, Ok(3));
    })
    .await;
}

#[tokio::test]
async fn without_a_quorum_the_outcome_is_not_guessed() {
    within(async {
        let (mut cluster, members) = members(3).await;
        let desk = desk(&cluster).await;
        assert_eq!(desk.add(1).await.expect("applied"), 1);
        cluster.kill(0);
        cluster.kill(1);
        let lost = desk.add(1).timeout(Duration::from_millis(1500)).await;
        let Err(ClientCallError::Unknown(ClientError::Timeout { .. })) = lost else {
            panic!("{lost:?}");
        };
        drop(members);
    })
    .await;
}

#[tokio::test]
async fn another_clients_position_can_be_asked_for() {
    within(async {
        let (cluster, _members) = members(3).await;
        let writer = desk(&cluster).await;
        let mut readers = Vec::new();
        for _ in 0..6 {
            readers.push(desk(&cluster).await);
        }
        for value in 1..40 {
            writer.add(1).await.expect("applied");
            let seen = writer.group().seen();
            let reader = &readers[value as usize % readers.len()];
            assert!(reader.value().at_least(&seen).await.expect("an answer") >= value);
            assert!(reader.group().seen().covers(&seen));
            assert!(reader.value().local().await.expect("an answer") <= value);
        }
    })
    .await;
}
