//! Cold backups: members that keep updates instead of applying them, until somebody needs the
//! state.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::timeout;
use vsync::report::GroupReport;
use vsync::testing::Cluster;
use vsync::{GroupError, Node, RequestCtx, replicated};

type Tested = Result<(), Box<dyn std::error::Error>>;

/// How much a backup keeps.
const MOST: usize = 2_000;
const PATIENCE: Duration = Duration::from_secs(20);

/// Counts, and how often it has done so here.
#[replicated(requests = "primary")]
#[derive(Debug, Default)]
pub struct Tally {
    count: u64,
    last: Vec<u8>,
    #[local]
    applied: Arc<AtomicU64>,
}

#[replicated]
impl Tally {
    /// Counts, with something to carry.
    #[update(order = "total")]
    pub fn add(&mut self, cargo: Vec<u8>) -> u64 {
        self.applied.fetch_add(1, Ordering::Relaxed);
        self.count += 1;
        self.last = cargo;
        self.count
    }

    /// Fails, at all alike.
    #[update(order = "total")]
    pub fn fail(&mut self) {
        panic!("as it should");
    }

    /// How many.
    #[query]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Counts where the primary is, and answers.
    #[request]
    pub async fn ask(ctx: &RequestCtx<Self>) -> u64 {
        let before = ctx.read(|tally| tally.count).await;
        ctx.update().add(Vec::new());
        before
    }
}

async fn report(node: &Node) -> GroupReport {
    let report = node.report(PATIENCE).await.expect("it is there");
    report.groups.into_iter().find(|group| group.name == "tally").expect("the group")
}

/// Waits until a backup sleeps, while the primary counts on.
async fn falls_asleep(primary: &TallyHandle, backup: &Node) {
    let asleep = async {
        while report(backup).await.unapplied.is_none() {
            for _ in 0..20 {
                primary.add(vec![1; 100]).await.expect("added");
            }
        }
    };
    timeout(PATIENCE, asleep).await.expect("it falls asleep");
}

/// A primary and two cold backups, which sleep; and what each has applied.
struct Group {
    cluster: Cluster,
    primary: TallyHandle,
    backups: Vec<TallyHandle>,
    applied: Vec<Arc<AtomicU64>>,
}

impl Group {
    async fn new(backups: usize) -> Result<Group, Box<dyn std::error::Error>> {
        let cluster = Cluster::new(1 + backups).await;
        let primary = cluster.node(0).group("tally").create(Tally::default()).await?;
        let mut group = Group { cluster, primary, backups: Vec::new(), applied: Vec::new() };
        for index in 1..=backups {
            let applied = Arc::new(AtomicU64::new(0));
            let tally = Tally { applied: Arc::clone(&applied), ..Tally::default() };
            let node = group.cluster.node(index);
            group.backups.push(node.group("tally").cold(MOST).join(tally).await?);
            group.applied.push(applied);
        }
        for index in 1..=backups {
            falls_asleep(&group.primary, group.cluster.node(index)).await;
        }
        Ok(group)
    }

    fn applied(&self, backup: usize) -> u64 {
        self.applied[backup].load(Ordering::Relaxed)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_keeps_what_it_does_not_need_within_its_bound() -> Tested {
    let group = Group::new(1).await?;
    let (mut asleep, mut most) = (0, 0);
    for _ in 0..300 {
        let before = group.applied(0);
        group.primary.add(vec![2; 100]).await?;
        let report = report(group.cluster.node(1)).await;
        asleep += u32::from(report.unapplied.is_some() && group.applied(0) == before);
        most = most.max(report.unapplied.unwrap_or(0));
    }
    // It wakes to lay down what it keeps, and sleeps again.
    assert!(asleep > 200, "asleep {asleep} of 300 times");
    assert!((1_000..MOST + 1_000).contains(&most), "{most} bytes");
    let count = group.primary.count().await?;
    assert_eq!(group.primary.count().at(1).after_mine().await?, count);
    assert_eq!(group.applied(0), count, "each once");
    Ok(())
}

/// What a small update takes is not its bytes.
#[tokio::test(flavor = "multi_thread")]
async fn a_backup_keeps_few_of_many_small_updates() -> Tested {
    let group = Group::new(1).await?;
    let mut applied = BTreeSet::new();
    for _ in 0..200 {
        group.primary.add(Vec::new()).await?;
        drop(report(group.cluster.node(1)).await);
        applied.insert(group.applied(0));
    }
    // More than a hundred bytes each: there is room for twenty.
    assert!(applied.len() >= 8, "all of them are applied at once: {applied:?}");
    assert!(applied.len() < 100, "one by one is applied: {applied:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cold_backup_takes_over_with_everything() -> Tested {
    let mut group = Group::new(2).await?;
    let mut told = 0;
    for _ in 0..5 {
        told = group.primary.add(vec![3; 100]).await?;
    }
    group.cluster.kill(0);
    // Nobody asks it anything: it wakes since it is the primary now.
    let counted = group.backups[0].add(Vec::new()).timeout(PATIENCE).await?;
    assert_eq!(counted, told + 1, "what was stable, and this");
    assert_eq!(group.applied(0), counted, "each once");
    assert_eq!(group.backups[0].ask().await?, counted);
    assert_eq!(report(group.cluster.node(1)).await.unapplied, None);
    assert_eq!(group.backups[1].add(Vec::new()).await?, counted + 2);
    assert_eq!(group.applied(1), counted + 2, "each once");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_needs_the_state_wakes_it() -> Tested {
    let group = Group::new(1).await?;
    let (backup, node) = (&group.backups[0], group.cluster.node(1));
    // A query that does not wait finds it asleep, and wakes it for the next.
    while !matches!(backup.count().optimistic(), Err(GroupError::NoState)) {
        falls_asleep(&group.primary, node).await;
    }
    let awake = async {
        while backup.count().optimistic().is_err() {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, awake).await?;
    falls_asleep(&group.primary, node).await;
    let count = group.primary.count().await?;
    // It may be behind, as any replica.
    assert!((1..=count).contains(&backup.count().await?));
    // Its own call.
    falls_asleep(&group.primary, node).await;
    let count = group.primary.count().await?;
    assert_eq!(backup.add(Vec::new()).await?, count + 1);
    // Another member's question, in order behind what that has done.
    falls_asleep(&group.primary, node).await;
    let count = group.primary.count().await?;
    assert_eq!(group.primary.count().at(1).after_mine().await?, count);
    // A request, which the primary answers.
    falls_asleep(&group.primary, node).await;
    let count = group.primary.count().await?;
    assert_eq!(backup.ask().await?, count);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_may_ask_a_cold_backup() -> Tested {
    let mut group = Group::new(2).await?;
    let client: TallyClient = group.cluster.client().await?.group("tally");
    let first = client.add(Vec::new()).await?;
    for backup in [1, 2] {
        falls_asleep(&group.primary, group.cluster.node(backup)).await;
        assert!(client.count().at(backup).await? >= first);
    }
    falls_asleep(&group.primary, group.cluster.node(2)).await;
    let last = group.primary.add(Vec::new()).await?;
    group.cluster.kill(0);
    assert_eq!(client.ask().timeout(PATIENCE).await?, last);
    assert_eq!(client.count().await?, last + 1);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_joiner_gets_the_state_from_a_cold_group() -> Tested {
    let mut group = Group::new(2).await?;
    let last = group.primary.add(vec![4; 100]).await?;
    let new = group.cluster.add().await?;
    let joiner: TallyHandle =
        group.cluster.node(new).group("tally").cold(MOST).join(Tally::default()).await?;
    assert_eq!(joiner.count().await?, last);
    falls_asleep(&group.primary, group.cluster.node(new)).await;
    let last = group.primary.count().await?;
    for (more, gone) in [(1, 0), (2, 1)] {
        group.cluster.kill(gone);
        assert_eq!(joiner.add(Vec::new()).timeout(PATIENCE).await?, last + more);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cold_backup_says_how_it_went_there() -> Tested {
    let group = Group::new(1).await?;
    let failed = group.primary.fail().await;
    assert!(matches!(failed, Err(vsync::CallError::Panicked(_))), "{failed:?}");
    // The primary has spoken of it, and waits for what the backup says.
    let said = async {
        while report(group.cluster.node(1)).await.failures == 0 {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, said).await?;
    falls_asleep(&group.primary, group.cluster.node(1)).await;
    let count = group.primary.count().await?;
    assert_eq!(group.backups[0].add(Vec::new()).await?, count + 1);
    Ok(())
}

/// Events are shown where they are emitted, and any member may have to run a request.
#[replicated(event = u64, published)]
#[derive(Debug, Default)]
pub struct Loud {
    count: u64,
}

#[replicated]
impl Loud {
    /// Counts aloud.
    #[update(order = "total")]
    pub fn add(&mut self, ctx: &vsync::Ctx<Self>) -> u64 {
        self.count += 1;
        ctx.emit(self.count);
        self.count
    }

    /// How many.
    #[query]
    pub fn count(&self) -> u64 {
        self.count
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_to_show_events_stays_awake() -> Tested {
    let cluster = Cluster::new(2).await;
    let one: LoudHandle = cluster.node(0).group("loud").create(Loud::default()).await?;
    let _two: LoudHandle = cluster.node(1).group("loud").cold(1).join(Loud::default()).await?;
    for _ in 0..50 {
        one.add().await?;
        let groups = cluster.node(1).report(PATIENCE).await?.groups;
        assert!(groups.iter().all(|group| group.unapplied.is_none()));
    }
    Ok(())
}
