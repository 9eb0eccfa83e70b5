//! Whole nodes over a network in memory: the path from the handle's method to every replica.

mod patience;

use std::path::PathBuf;
use std::time::Duration;

use patience::within;
use serde::{Deserialize, Serialize};
use vsync::testing::Cluster;
use vsync::{CallError, ClientError, Ctx, GroupEvent, JoinError, NotApplied, replicated};
use vsync_history::History;

/// Why a withdrawal is refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Overdrawn;

/// Accounts that must not be overdrawn, and a log of remarks.
#[replicated]
#[derive(Debug, Default)]
pub struct Bank {
    balance: u64,
    log: Vec<String>,
    beats: u64,
    #[local]
    local: u32,
}

#[replicated]
impl Bank {
    /// Adds money.
    #[update(order = "total")]
    pub fn deposit(&mut self, amount: u64) -> u64 {
        self.balance += amount;
        self.balance
    }

    /// Takes money, if it is there.
    #[update(order = "total")]
    pub fn withdraw(&mut self, amount: u64) -> Result<u64, Overdrawn> {
        self.balance = self.balance.checked_sub(amount).ok_or(Overdrawn)?;
        Ok(self.balance)
    }

    /// Notes something.
    #[update(order = "causal")]
    pub fn remark(&mut self, ctx: &Ctx<Self>, text: String) -> usize {
        self.log.push(format!("{}:{text}", ctx.sender_rank()));
        self.log.len()
    }

    /// Counts.
    #[update(order = "fifo")]
    pub fn beat(&mut self) {
        self.beats += 1;
    }

    /// Notes some bytes.
    #[update(order = "fifo")]
    pub fn blob(&mut self, bytes: Vec<u8>) {
        self.beats += bytes.len() as u64;
    }

    /// What is there.
    #[query]
    pub fn balance(&self) -> u64 {
        self.balance
    }

    /// How many beats.
    #[query]
    pub fn beats(&self) -> u64 {
        self.beats
    }

    /// All remarks.
    #[query]
    pub fn log(&self) -> Vec<String> {
        self.log.clone()
    }

    /// What is only here.
    #[query]
    pub fn local(&self) -> u32 {
        self.local
    }
}

/// Where a test's nodes write their histories, which are judged at its end.
struct Histories(PathBuf);

impl Histories {
    fn new(test: &str) -> Histories {
        let name = format!("vsync-{test}-{}", std::process::id());
        Histories(std::env::temp_dir().join(name))
    }

    async fn cluster(&self, size: usize) -> Cluster {
        let dir = self.0.clone();
        Cluster::with(size, move |builder| builder.history(dir.clone())).await
    }

    /// Checks all properties.
    fn judge(self) {
        let history = History::read_dir(&self.0).expect("readable histories");
        let violations = vsync_history::check(&history);
        assert!(violations.is_empty(), "{violations:#?} in {:?}", self.0);
        std::fs::remove_dir_all(&self.0).expect("removed");
    }
}

async fn members(cluster: &Cluster) -> Vec<BankHandle> {
    let mut handles = Vec::new();
    for node in cluster.nodes() {
        let joined = node.group("bank").join_or_create(Bank::default()).await;
        handles.push(joined.expect("a membership"));
    }
    handles
}

/// Waits until all see a view of `size` active members.
async fn settle(handles: &[BankHandle], size: usize) {
    for handle in handles {
        let mut views = handle.group().views();
        loop {
            let view = views.next().await.expect("a view");
            if view.size() == size && view.members().len() == size {
                break;
            }
        }
    }
}

#[tokio::test]
async fn one_node_alone() {
    within(async {
        let histories = Histories::new("one_node_alone");
        let cluster = histories.cluster(1).await;
        let bank = cluster.node(0).group("bank").create(Bank::default()).await.expect("made");
        assert_eq!(bank.deposit(7).await, Ok(7));
        assert_eq!(bank.withdraw(8).await, Err(CallError::Refused(Overdrawn)));
        assert_eq!(bank.balance().await, Ok(7));
        bank.group().flush().await.expect("flushed");
        cluster.shutdown(Duration::from_secs(2)).await;
        histories.judge();
    })
    .await;
}

#[tokio::test]
async fn three_members_agree() {
    within(async {
        let histories = Histories::new("three_members_agree");
        let cluster = histories.cluster(3).await;
        let handles = members(&cluster).await;
        settle(&handles, 3).await;
        for (index, handle) in handles.iter().enumerate() {
            handle.deposit(10).await.expect("stable");
            handle.remark(format!("from {index}")).await.expect("stable");
            handle.beat().send().await.expect("sent");
            let beat = handle.beat().optimistic().await.expect("applied");
            beat.stable().await.expect("stable");
        }
        for handle in &handles {
            handle.group().flush().await.expect("flushed");
        }
        for handle in &handles {
            assert_eq!(handle.balance().await, Ok(30));
            assert_eq!(handle.beats().await, Ok(6));
            assert_eq!(handle.log().await.expect("a log").len(), 3);
        }
        cluster.shutdown(Duration::from_secs(5)).await;
        histories.judge();
    })
    .await;
}

#[tokio::test]
async fn a_killed_member_is_replaced_by_state_transfer() {
    within(async {
        let histories = Histories::new("a_killed_member_is_replaced_by_state_transfer");
        let mut cluster = histories.cluster(3).await;
        let mut handles = members(&cluster).await;
        settle(&handles, 3).await;
        handles[0].deposit(10).await.expect("stable");
        let before = handles[0].group().view().expect("a view");
        cluster.kill(2);
        handles.remove(2);
        settle(&handles, 2).await;
        let after = handles[0].group().view().expect("a view");
        assert_eq!(after.number(), before.number() + 1);
        assert_eq!(after.left().len(), 1);
        handles[1].deposit(5).await.expect("stable");

        let index = cluster.add().await.expect("started");
        let state = Bank { local: 42, ..Bank::default() };
        let joined = cluster.node(index).group("bank").join(state).await.expect("joined");
        assert_eq!(joined.balance().await, Ok(15));
        assert_eq!(joined.local().await, Ok(42), "local fields are kept");
        joined.deposit(1).await.expect("stable");
        handles.push(joined);
        for handle in &handles {
            handle.group().flush().await.expect("flushed");
            assert_eq!(handle.balance().await, Ok(16));
        }
        cluster.shutdown(Duration::from_secs(5)).await;
        histories.judge();
    })
    .await;
}

#[tokio::test]
async fn names_are_decided_once() {
    within(async {
        let histories = Histories::new("names_are_decided_once");
        let cluster = histories.cluster(3).await;
        let missing = cluster.node(1).group("bank").join(Bank::default()).await;
        assert_eq!(missing.err(), Some(JoinError::NoSuchGroup { name: "bank".into() }));
        let first = cluster.node(0).group("bank").create(Bank::default()).await.expect("made");
        let again = cluster.node(1).group("bank").create(Bank::default()).await;
        assert_eq!(again.err(), Some(JoinError::Exists { name: "bank".into() }));
        let twice = cluster.node(0).group("bank").join(Bank::default()).await;
        assert_eq!(twice.err(), Some(JoinError::AlreadyMember { name: "bank".into() }));
        let other = cluster.node(1).group("bank").join(Other::default()).await;
        assert!(matches!(other.err(), Some(JoinError::Type { .. })));
        // The last member leaves: the name is free.
        first.group().leave(Duration::from_secs(5)).await.expect("left");
        let closed = first.deposit(1).await;
        assert_eq!(closed, Err(CallError::NotApplied(NotApplied::Closed)));
        let made = cluster.node(2).group("bank").create(Bank::default()).await.expect("made anew");
        assert_eq!(made.balance().await, Ok(0));
        cluster.shutdown(Duration::from_secs(5)).await;
        histories.judge();
    })
    .await;
}

/// Another type.
#[replicated]
#[derive(Debug, Default)]
pub struct Other {
    count: u64,
}

#[replicated]
impl Other {
    /// Counts.
    #[update(order = "total")]
    pub fn count(&mut self) {
        self.count += 1;
    }

    /// The count.
    #[query]
    pub fn value(&self) -> u64 {
        self.count
    }
}

#[tokio::test]
async fn all_race_to_create() {
    within(async {
        let histories = Histories::new("all_race_to_create");
        let cluster = histories.cluster(3).await;
        let [a, b, c] =
            [0, 1, 2].map(|i| cluster.node(i).group("bank").join_or_create(Bank::default()));
        let (a, b, c) = tokio::join!(a, b, c);
        let handles = [a.expect("in"), b.expect("in"), c.expect("in")];
        settle(&handles, 3).await;
        for handle in &handles {
            handle.deposit(1).await.expect("stable");
        }
        assert_eq!(handles[0].balance().await, Ok(3));
        cluster.shutdown(Duration::from_secs(5)).await;
        histories.judge();
    })
    .await;
}

#[tokio::test]
async fn an_update_over_the_limit_is_refused_at_once() {
    within(async {
        let cluster = Cluster::with(1, |builder| builder.max_update(100)).await;
        let bank = cluster.node(0).group("bank").create(Bank::default()).await.expect("made");
        let size = match bank.blob(vec![0; 200]).await {
            Err(CallError::NotApplied(NotApplied::TooLarge { size, limit: 100 })) => size,
            other => panic!("{other:?}"),
        };
        assert!(size > 200);
        bank.blob(vec![0; 50]).await.expect("applied");
        assert_eq!(bank.beats().await, Ok(50));
    })
    .await;
}

#[tokio::test]
async fn a_client_reads_through_any_node() {
    within(async {
        let histories = Histories::new("a_client_reads_through_any_node");
        let mut cluster = histories.cluster(4).await;
        let first = cluster.node(1).group("bank").create(Bank::default()).await.expect("made");
        let second = cluster.node(2).group("bank").join(Bank::default()).await.expect("joined");
        let third = cluster.node(3).group("bank").join(Bank::default()).await.expect("joined");
        settle(&[first.clone(), second, third], 3).await;
        first.deposit(3).await.expect("stable");
        let client = cluster.client().await.expect("connected");
        // Node 0 is no member: it says who is.
        let bank: BankClient = client.group("bank");
        assert_eq!(bank.balance().await.expect("an answer"), 3);
        cluster.kill(1);
        assert_eq!(bank.balance().await.expect("an answer of another member"), 3);
        let wrong = client.group::<OtherClient>("bank").value().await;
        assert!(matches!(wrong, Err(ClientError::Type { .. })), "{wrong:?}");
        let nobody: BankClient = client.group("nobody");
        assert!(matches!(nobody.balance().await, Err(ClientError::NoSuchGroup { .. })));
        cluster.shutdown(Duration::from_secs(5)).await;
        histories.judge();
    })
    .await;
}

#[tokio::test]
async fn a_partitioned_member_is_excluded_and_joins_again() {
    within(async {
        let histories = Histories::new("a_partitioned_member_is_excluded_and_joins_again");
        let cluster = histories.cluster(3).await;
        let handles = members(&cluster).await;
        settle(&handles, 3).await;
        handles[0].deposit(10).await.expect("stable");
        let mut views = handles[2].group().views();
        views.next().await.expect("a view");
        cluster.cut(0, 2);
        cluster.cut(1, 2);
        settle(&handles[..2], 2).await;
        let lost = handles[2].deposit(100).timeout(Duration::from_millis(50)).await;
        assert!(matches!(lost, Err(CallError::Unknown(_) | CallError::NotApplied(_))), "{lost:?}");
        handles[1].deposit(5).await.expect("stable");
        cluster.heal(0, 2);
        cluster.heal(1, 2);
        loop {
            if views.next_event().await.expect("an event") == GroupEvent::Excluded {
                break;
            }
        }
        let view = views.next().await.expect("a member again");
        assert_eq!(view.members().len(), 3);
        settle(&handles, 3).await;
        handles[2].deposit(1).await.expect("stable");
        for handle in &handles {
            handle.group().flush().await.expect("flushed");
            assert_eq!(handle.balance().await, Ok(16));
        }
        cluster.shutdown(Duration::from_secs(5)).await;
        histories.judge();
    })
    .await;
}

#[tokio::test]
async fn streams_are_bounded_and_complete() {
    within(async {
        let cluster = Cluster::with(3, |builder| builder.window(1 << 16).max_update(1 << 10)).await;
        let handles = members(&cluster).await;
        settle(&handles, 3).await;
        let stream = |handle: BankHandle| async move {
            for _ in 0..5_000 {
                handle.blob(vec![1; 100]).send().await.expect("sent");
            }
            handle.group().flush().await.expect("flushed");
        };
        let [a, b, c] = [0, 1, 2].map(|i| tokio::spawn(stream(handles[i].clone())));
        let done = tokio::join!(a, b, c);
        assert!(done.0.is_ok() && done.1.is_ok() && done.2.is_ok());
        for handle in &handles {
            handle.group().flush().await.expect("flushed");
            assert_eq!(handle.beats().await, Ok(3 * 5_000 * 100));
        }
    })
    .await;
}

#[tokio::test]
async fn seeds_that_expect_each_other_form_one_cluster() {
    within(async {
        let cluster = Cluster::expecting(3).await;
        let handles = members(&cluster).await;
        settle(&handles, 3).await;
        handles[2].deposit(1).await.expect("stable");
        assert_eq!(handles[0].balance().await, Ok(1));
        cluster.shutdown(Duration::from_secs(5)).await;
    })
    .await;
}
