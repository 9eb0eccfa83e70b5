//! Queries that read what is the latest, whoever has brought it about.

mod patience;

use std::future::IntoFuture;
use std::time::Duration;

use patience::within;
use tokio::runtime::Builder;
use vsync::testing::Cluster;
use vsync::{AskError, ClientError, GroupError, NotApplied, Unknown, replicated};

/// Numbers, by the order in which they are changed.
#[replicated]
#[derive(Debug, Default)]
pub(crate) struct Board {
    total: u64,
    fifo: u64,
    #[local]
    delay: Duration,
}

#[replicated]
impl Board {
    #[update(order = "total")]
    pub(crate) fn set(&mut self, value: u64) {
        std::thread::sleep(self.delay);
        self.total = value;
    }

    #[update(order = "fifo")]
    pub(crate) fn put(&mut self, value: u64) {
        std::thread::sleep(self.delay);
        self.fifo = value;
    }

    #[query]
    pub(crate) fn both(&self) -> (u64, u64) {
        (self.total, self.fifo)
    }
}

/// The last one applies slowly.
async fn members(size: usize, delay: Duration) -> (Cluster, Vec<BoardHandle>) {
    let cluster = Cluster::new(size).await;
    let mut handles: Vec<BoardHandle> = Vec::new();
    for (index, node) in cluster.nodes().enumerate() {
        let delay = if index + 1 == size { delay } else { Duration::ZERO };
        let board = Board { delay, ..Board::default() };
        handles.push(node.group("board").join_or_create(board).await.expect("a member"));
    }
    let mut views = handles[0].group().views();
    while views.next().await.expect("a view").size() != size {}
    (cluster, handles)
}

/// A member that is cut off does not know that the others go on without it.
#[tokio::test]
async fn a_member_that_is_cut_off_answers_no_more_from_the_past() {
    within(async {
        let (cluster, handles) = members(3, Duration::ZERO).await;
        cluster.cut(0, 2);
        cluster.cut(1, 2);
        handles[0].set(1).await.expect("stable");
        handles[1].put(2).await.expect("stable");
        assert_eq!(handles[2].both().await, Ok((0, 0)), "a plain query reads what is here");
        let limit = Duration::from_millis(300);
        let late = handles[2].both().linearizable().timeout(limit).await;
        assert_eq!(late, Err(GroupError::Unknown(Unknown::Timeout)));
        let late = handles[2].both().linearizable().at(2).timeout(limit).await;
        assert!(matches!(late, Err(AskError::Timeout(_))), "{late:?}");
        // Asked while it is cut off, it is not answered from there.
        let lost = handles[2].clone();
        let lost = tokio::spawn(async move { lost.both().linearizable().await });
        tokio::task::yield_now().await;
        cluster.heal(0, 2);
        cluster.heal(1, 2);
        let lost = lost.await.expect("not cancelled");
        assert!(matches!(lost, Ok((1, 2)) | Err(_)), "{lost:?}");
        let found = loop {
            // Its state is void until it is a member again.
            if let Ok(found) = handles[2].both().linearizable().await {
                break found;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        };
        assert_eq!(found, (1, 2));
    })
    .await;
}

/// The updates are on their way to a member that takes its time, and are waited for there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_lags_waits_until_it_has_what_was_completed() {
    within(async {
        let (cluster, handles) = members(3, Duration::from_millis(20)).await;
        let client = cluster.client().await.expect("a client");
        let board: BoardClient = client.group("board");
        let mut lagged = 0;
        for value in 1..=20 {
            handles[0].set(value).await.expect("stable");
            handles[1].put(value).await.expect("stable");
            let plain = handles[2].both().optimistic().expect("a member").into_unstable("a test");
            lagged += u32::from(plain != (value, value));
            match value % 4 {
                0 => assert_eq!(handles[2].both().linearizable().await, Ok((value, value))),
                1 => assert_eq!(board.both().linearizable().await.expect("read"), (value, value)),
                2 => {
                    let there = handles[1].both().linearizable().at(2).await;
                    assert_eq!(there, Ok((value, value)));
                    let there = handles[0].both().at(2).linearizable().await;
                    assert_eq!(there, Ok((value, value)));
                }
                _ => {
                    let there = board.both().linearizable().at(2).await;
                    assert_eq!(there.expect("read"), (value, value));
                }
            }
        }
        assert!(lagged > 0, "no plain query was behind: this shows nothing");
    })
    .await;
}

/// Who is gone before it says how far it was has taken nothing along that was completed.
#[tokio::test]
async fn a_member_that_dies_is_not_waited_for() {
    within(async {
        let (mut cluster, handles) = members(4, Duration::ZERO).await;
        for (gone, value) in [(0, 1), (1, 2)] {
            handles[gone].put(value).await.expect("stable");
            cluster.kill(gone);
            assert_eq!(handles[3].both().linearizable().await.map(|it| it.1), Ok(value));
        }
        handles[3].group().leave(Duration::from_secs(5)).await.expect("left");
        let outside = handles[3].both().linearizable().await;
        assert_eq!(outside, Err(GroupError::NotApplied(NotApplied::Closed)));
        let outside = handles[3].both().linearizable().at(0).await;
        assert!(matches!(outside, Err(AskError::Membership(_))), "{outside:?}");
        let client = cluster.client().await.expect("a client");
        let nobody: BoardClient = client.group("nobody");
        let nobody = nobody.both().linearizable().await;
        assert!(matches!(nobody, Err(ClientError::NoSuchGroup { .. })), "{nobody:?}");
    })
    .await;
}

/// The others have an update of a member to which this one's link is broken.
#[tokio::test]
async fn what_one_link_does_not_bring_is_waited_for() {
    within(async {
        let (mut behind, mut found) = (0, 0);
        for _ in 0..10 {
            let (cluster, handles) = members(3, Duration::ZERO).await;
            cluster.cut(1, 2);
            handles[1].put(1).await.expect("stable");
            behind += u32::from(handles[2].both().await == Ok((0, 0)));
            let healed = async {
                tokio::time::sleep(Duration::from_millis(20)).await;
                cluster.heal(1, 2);
            };
            let latest = handles[2].both().linearizable().into_future();
            let (latest, ()) = tokio::join!(latest, healed);
            // It may be the one that the others go on without.
            assert!(matches!(latest, Ok((0, 1)) | Err(_)), "{latest:?}");
            found += u32::from(latest.is_ok());
        }
        assert!(behind > 0, "no plain query was behind: this shows nothing");
        assert!(found > 0, "none was answered: this shows nothing");
        let (cluster, handles) = members(3, Duration::ZERO).await;
        cluster.cut(1, 2);
        handles[1].put(1).await.expect("stable");
        let lost = handles[2].both().linearizable().await;
        assert_eq!(lost, Err(GroupError::Unknown(Unknown::Excluded)));
    })
    .await;
}

/// Updates that were applied at a member: the barriers of queries are among them.
async fn applied(cluster: &Cluster, index: usize) -> u64 {
    let report = cluster.node(index).report(Duration::from_secs(5)).await.expect("alive");
    report.groups.iter().find(|group| group.name == "board").expect("a member").applied
}

/// Who asks while others wait joins the next ones, and what was completed before is found all the
/// same.
#[tokio::test]
async fn queries_that_are_asked_together_wait_together() {
    within(async {
        let (cluster, handles) = members(3, Duration::ZERO).await;
        let before = applied(&cluster, 0).await;
        let mut asked = 0;
        for value in 1..=20 {
            // The first of them is under way when the update comes that the others have to find.
            let early = tokio::spawn(handles[0].both().linearizable().into_future());
            tokio::task::yield_now().await;
            handles[1 + value as usize % 2].put(value).await.expect("stable");
            let readers: Vec<_> = (0..50)
                .map(|_| tokio::spawn(handles[0].both().linearizable().into_future()))
                .collect();
            for reader in readers {
                assert_eq!(reader.await.expect("no panic"), Ok((0, value)));
                asked += 1;
            }
            early.await.expect("no panic").expect("answered");
        }
        let barriers = applied(&cluster, 0).await - before - 20;
        assert!(barriers < asked / 5, "{barriers} for {asked} queries");
    })
    .await;
}

/// Whoever gives up is waited for no longer, and takes nobody along.
#[tokio::test]
async fn who_gives_up_leaves_the_others_their_turn() {
    within(async {
        let (cluster, handles) = members(3, Duration::ZERO).await;
        let limit = Duration::from_millis(50);
        // Without a quorum the first ones give up.
        cluster.cut(0, 1);
        cluster.cut(0, 2);
        let ask = || handles[0].both().linearizable();
        let (first, second) = tokio::join!(ask().timeout(limit), ask().timeout(limit));
        assert!(first.is_err() && second.is_err(), "{first:?} {second:?}");
        let patient = tokio::spawn(ask().into_future());
        assert!(ask().timeout(limit).await.is_err());
        cluster.heal(0, 1);
        cluster.heal(0, 2);
        // It is a member still, or learns that it is none.
        let told = patient.await.expect("no panic");
        match told {
            Ok(both) => assert_eq!((both, ask().await), ((0, 0), Ok((0, 0)))),
            Err(why) => assert_eq!(why, GroupError::Unknown(Unknown::Excluded)),
        }
    })
    .await;
}

/// Whoever asks in a runtime of its own, which runs for that query alone, is at work for nobody.
#[test]
fn who_asks_elsewhere_is_not_waited_for() {
    let runtime =
        |workers| Builder::new_multi_thread().worker_threads(workers).enable_all().build();
    let main = runtime(2).expect("a runtime");
    let (_cluster, handles) = main.block_on(members(3, Duration::ZERO));
    let ask = || handles[0].both().linearizable().timeout(Duration::from_secs(20)).into_future();
    let elsewhere = Builder::new_current_thread().enable_all().build().expect("a runtime");
    // Given up after one poll; where this thread was held up in it, the answer may be there.
    let given_up = || {
        elsewhere.block_on(async {
            tokio::select! {
                biased;
                _ = ask() => false,
                () = std::future::ready(()) => true,
            }
        })
    };
    while !given_up() {}
    assert_eq!(main.block_on(ask()), Ok((0, 0)), "it runs no more");
    drop(elsewhere);
    assert_eq!(main.block_on(ask()), Ok((0, 0)), "it has ended");
}
