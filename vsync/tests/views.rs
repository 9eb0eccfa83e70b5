//! Views as applications see them: who is there, who is gone and why, and what falls to whom.

mod patience;

use std::time::Duration;

use patience::within;
use vsync::testing::Cluster;
use vsync::{Fate, Group, Reason, View, replicated};

/// What happened, in the order in which this replica saw it.
#[replicated]
#[derive(Debug, Default)]
pub struct Log {
    lines: Vec<String>,
}

#[replicated]
impl Log {
    /// Notes a number.
    #[update(order = "total")]
    pub fn note(&mut self, number: u64) {
        self.lines.push(number.to_string());
    }

    #[on_view]
    fn view(&mut self, view: &View) {
        let members: Vec<_> = view.members().iter().map(|member| member.name.as_str()).collect();
        let left: Vec<_> = view.left().iter().map(|left| left.reason).collect();
        self.lines.push(format!("view {}: {members:?}, left {left:?}", view.number()));
    }

    /// All of it.
    #[query]
    pub fn lines(&self) -> Vec<String> {
        self.lines.clone()
    }
}

async fn join(cluster: &Cluster, index: usize) -> LogHandle {
    let joined = cluster.node(index).group("log").join_or_create(Log::default()).await;
    joined.expect("a member")
}

async fn members(cluster: &Cluster, size: usize) -> Vec<LogHandle> {
    let mut handles = Vec::new();
    for index in 0..size {
        handles.push(join(cluster, index).await);
    }
    for handle in &handles {
        settle(handle, size).await;
    }
    handles
}

async fn settle(handle: &LogHandle, size: usize) -> View {
    let mut views = handle.group().views();
    loop {
        let view = views.next().await.expect("a view");
        if view.size() == size && view.members().len() == size {
            return view;
        }
    }
}

fn me(group: &Group<Log>) -> vsync::MemberId {
    group.me().expect("a member")
}

#[tokio::test]
async fn views_come_between_the_same_updates_everywhere() {
    within(async {
        let mut cluster = Cluster::new(4).await;
        let mut handles = members(&cluster, 3).await;
        let mut load = Vec::new();
        for (of, handle) in (0..).zip(&handles[..2]) {
            let handle = handle.clone();
            load.push(tokio::spawn(async move {
                for number in 0..300 {
                    handle.note(of * 1000 + number).send().await.expect("sent");
                    if number % 10 == 0 {
                        tokio::task::yield_now().await;
                    }
                }
            }));
        }
        let late = join(&cluster, 3).await;
        cluster.kill(2);
        handles[2] = late;
        for load in load {
            load.await.expect("sent");
        }
        let mut all = Vec::new();
        for handle in &handles {
            settle(handle, 3).await;
            handle.group().flush().await.expect("flushed");
        }
        for handle in &handles {
            handle.group().flush().await.expect("flushed");
            all.push(handle.lines().await.expect("a member"));
        }
        assert_eq!(all[0], all[1]);
        assert_eq!(all[0], all[2]);
        let (views, notes): (Vec<_>, Vec<_>) =
            all[0].iter().partition(|line| line.starts_with("view "));
        assert_eq!(notes.len(), 600);
        assert!(views[0].contains("view 1: [\"node0\"]"), "{views:#?}");
        assert!(views.iter().any(|view| view.contains("left [Failed]")), "{views:#?}");
    })
    .await;
}

#[tokio::test]
async fn a_watch_says_when_and_why_a_member_is_gone() {
    within(async {
        let mut cluster = Cluster::new(4).await;
        let handles = members(&cluster, 4).await;
        let first = handles[0].group();
        let [_, second, third, fourth] = [0, 1, 2, 3].map(|index| me(handles[index].group()));
        let watches: Vec<_> =
            [third, fourth].map(|id| tokio::spawn(first.watch(id))).into_iter().collect();
        let dropped = first.watch(third);
        drop(dropped);
        handles[2].group().leave(Duration::from_secs(10)).await.expect("left");
        settle(&handles[0], 3).await;
        cluster.kill(3);
        let mut fates = Vec::new();
        for watch in watches {
            fates.push(watch.await.expect("no panic"));
        }
        assert_eq!(fates, [Fate::Gone(Reason::Left), Fate::Gone(Reason::Failed)]);
        assert_eq!(first.watch(fourth).await, Fate::Gone(Reason::Failed), "the last view says so");
        assert_eq!(first.watch(third).await, Fate::Absent, "it was gone before");
        // A node that comes back is another member.
        let again = cluster.node(2).group("log").join(Log::default()).await.expect("a member");
        assert_ne!(me(again.group()), third);
        assert_eq!(first.watch(third).await, Fate::Absent);
        let watch = tokio::spawn(first.watch(second));
        first.leave(Duration::from_secs(10)).await.expect("left");
        assert_eq!(watch.await.expect("no panic"), Fate::Closed);
    })
    .await;
}

#[tokio::test]
async fn a_member_that_is_cut_off_learns_no_more_than_that_others_are_gone() {
    within(async {
        let mut cluster = Cluster::new(4).await;
        let handles = members(&cluster, 4).await;
        let ids: Vec<_> = handles.iter().map(|handle| me(handle.group())).collect();
        let own = tokio::spawn(handles[3].group().watch(ids[3]));
        let other = tokio::spawn(handles[3].group().watch(ids[2]));
        let seen = tokio::spawn(handles[0].group().watch(ids[3]));
        for peer in 0..3 {
            cluster.cut(peer, 3);
        }
        settle(&handles[0], 3).await;
        assert_eq!(seen.await.expect("no panic"), Fate::Gone(Reason::Failed));
        cluster.kill(2);
        settle(&handles[0], 2).await;
        cluster.heal(0, 3);
        cluster.heal(1, 3);
        assert_eq!(own.await.expect("no panic"), Fate::Absent);
        assert_eq!(other.await.expect("no panic"), Fate::Absent);
        assert_ne!(me(handles[3].group()), ids[3]);
    })
    .await;
}

#[tokio::test]
async fn members_divide_work_by_rank_and_have_names_and_addresses() {
    within(async {
        let cluster = Cluster::new(3).await;
        let handles = members(&cluster, 3).await;
        let shares: Vec<_> = handles.iter().map(|handle| handle.group().my_share(0..10)).collect();
        assert_eq!(shares, [0..3, 3..6, 6..10]);
        let view = handles[2].group().view().expect("a view");
        for (rank, member) in view.members().iter().enumerate() {
            let node = cluster.node(rank);
            assert_eq!(
                (member.name.as_str(), member.address.as_str()),
                (format!("node{rank}").as_str(), node.address())
            );
            assert_eq!(view.share(rank, 0..10), shares[rank]);
        }
        handles[0].group().leave(Duration::from_secs(10)).await.expect("left");
        assert!(handles[0].group().my_share(4..10).is_empty());
        settle(&handles[1], 2).await;
        settle(&handles[2], 2).await;
        assert_eq!(handles[1].group().my_share(4..10), 4..7);
        assert_eq!(handles[2].group().my_share(4..10), 7..10);
        let view = handles[1].group().view().expect("a view");
        assert_eq!(view.left().iter().map(|left| left.reason).collect::<Vec<_>>(), [Reason::Left]);
        assert_eq!(view.together().len(), 2);
    })
    .await;
}
