//! Without a quorum nothing is agreed on: whoever gives up waiting is told so, in its group and
//! outside.

mod patience;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use patience::within;
use tokio::time::timeout;
use vsync::testing::Cluster;
use vsync::{
    ActivateError, CallError, GroupError, GroupEvent, JoinError, RequestCtx, StartError, Unknown,
    replicated,
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
    #[update(order = "total")]
    pub fn set(&mut self, value: u64) {
        self.value = value;
    }

    /// Reads it.
    #[query]
    pub fn value(&self) -> u64 {
        self.value
    }

    /// Asks for it.
    #[request]
    pub async fn ask(ctx: &RequestCtx<Self>) -> u64 {
        ctx.read(|number| number.value).await
    }
}

/// Members of the group "number" at these nodes, all of them active in the view of each.
async fn members(cluster: &Cluster, nodes: impl Iterator<Item = usize>) -> Vec<NumberHandle> {
    let mut members: Vec<NumberHandle> = Vec::new();
    for node in nodes {
        let group = cluster.node(node).group("number");
        members.push(group.join_or_create(Number::default()).await.expect("a member"));
    }
    for member in &members {
        let mut views = member.group().views();
        while views.next().await.expect("a view").size() < members.len() {}
    }
    members
}

/// Waits until this member sees no quorum.
async fn blocked(member: &NumberHandle, loss: impl FnOnce()) {
    let mut events = member.group().views();
    loss();
    while events.next_event().await.expect("an event") != GroupEvent::Blocked {}
}

const SOON: Duration = Duration::from_millis(50);

#[tokio::test]
async fn who_gives_up_waiting_is_told_how_many_are_in_sight() {
    within(async {
        let mut cluster = Cluster::new(5).await;
        let members = members(&cluster, 0..5).await;
        let (number, group) = (&members[4], members[4].group());
        blocked(number, || (0..3).for_each(|index| cluster.kill(index))).await;
        let late = |in_sight| GroupError::Unknown(Unknown::NoQuorum { in_sight, active: 5 });
        let set = number.set(1).timeout(SOON).await;
        assert_eq!(set, Err(late(2).into()));
        let Err(CallError::Unknown(why)) = set else { panic!("{set:?}") };
        assert_eq!(
            why.to_string(),
            "the deadline came first, and the group has no quorum (2 of 5 active members are in \
             sight; bring the others back): what was sent by then is under way"
        );
        // Later fewer.
        cluster.kill(3);
        while number.set(2).timeout(SOON).await != Err(late(1).into()) {}
        let applied = number.set(3).optimistic().timeout(SOON).await;
        assert_eq!(applied.expect_err("no order"), late(1));
        assert_eq!(group.flush().timeout(SOON).await, Err(late(1)));
        assert_eq!(group.activate(1).timeout(SOON).await, Err(ActivateError::Group(late(1))));
        assert_eq!(group.leave(SOON).await, Err(late(1)));
    })
    .await;
}

/// What the node at this place has in line in the group "number".
async fn waiting(cluster: &Cluster, node: usize) -> usize {
    let report = cluster.node(node).report(Duration::from_secs(20)).await.expect("it is there");
    let group = report.groups.into_iter().find(|group| group.name == "number");
    group.expect("a member").waiting
}

#[tokio::test]
async fn whoever_no_longer_waits_leaves_nothing_in_line() {
    within(async {
        let mut cluster =
            Cluster::with(2, |builder| builder.window(1 << 12).max_update(1 << 10)).await;
        let members = members(&cluster, 0..2).await;
        let (number, group) = (&members[1], members[1].group());
        blocked(number, || cluster.kill(0)).await;
        // There is room for so much, and then no more.
        while timeout(SOON, number.set(1).send()).await.is_ok() {}
        let before = waiting(&cluster, 1).await;
        assert!(before > 0);
        for _ in 0..2 {
            assert!(timeout(SOON, group.cancel_request("key")).await.is_err());
            assert!(timeout(SOON, group.activate(1)).await.is_err());
            assert!(timeout(SOON, number.value().linearizable()).await.is_err());
            let asked = number.ask().key("key").timeout(SOON).await;
            assert!(asked.is_err(), "{asked:?}");
        }
        assert_eq!(waiting(&cluster, 1).await, before);
    })
    .await;
}

#[tokio::test]
async fn who_joins_a_group_without_a_quorum_is_told_so() {
    within(async {
        let mut cluster = Cluster::new(5).await;
        let members = members(&cluster, 3..5).await;
        // The cluster has a quorum; of the group the second of two is left.
        blocked(&members[1], || cluster.kill(3)).await;
        let group = cluster.node(0).group("number").timeout(Duration::from_secs(2));
        let error = group.join(Number::default()).await.expect_err("it cannot let anybody in");
        let name = "number".to_owned();
        assert_eq!(error, JoinError::NoQuorum { name, in_sight: 1, active: 2 });
        assert_eq!(
            error.to_string(),
            "no membership in \"number\" before the deadline: the group has no quorum (1 of 2 \
             active members is in sight; bring the others back)"
        );
    })
    .await;
}

#[tokio::test]
async fn who_makes_a_group_where_the_directory_has_no_quorum_is_told_so() {
    within(async {
        let mut cluster = Cluster::new(3).await;
        let members = members(&cluster, 2..3).await;
        // A group of one goes on; the directory's does not.
        cluster.kill(0);
        cluster.kill(1);
        loop {
            let group = cluster.node(2).group("another").timeout(Duration::from_secs(2));
            let made = group.join_or_create(Number::default()).await;
            let Err(error @ JoinError::Timeout { .. }) = made else { panic!("{made:?}") };
            // Until it is known that the others are gone, the answer is another.
            if error.to_string().contains("1 of 3 active members is in sight") {
                assert!(error.to_string().contains("the directory, which all nodes are in"));
                break;
            }
        }
        members[0].set(1).await.expect("stable");
    })
    .await;
}

#[tokio::test]
async fn a_cluster_without_a_quorum_is_named() {
    // Patience of the nodes to come, in milliseconds.
    static PATIENCE: AtomicU64 = AtomicU64::new(30_000);
    let patience = || Duration::from_millis(PATIENCE.load(Ordering::Relaxed));
    let mut cluster = Cluster::with(3, move |builder| builder.patience(patience())).await;
    cluster.kill(0);
    cluster.kill(1);
    // Until the last one knows that it is alone the answer may be another.
    PATIENCE.store(2_000, Ordering::Relaxed);
    for _ in 0..10 {
        match cluster.add().await {
            Err(StartError::NoQuorum { seeds }) => {
                assert_eq!(seeds, ["node2"]);
                let text = StartError::NoQuorum { seeds }.to_string();
                assert!(text.starts_with("the cluster that node2 is in has no quorum"), "{text}");
                return;
            }
            Err(StartError::Unreachable { seeds }) => {
                assert!(seeds[0].1.contains("not let this node in"), "{seeds:?}");
            }
            other => panic!("{other:?}"),
        }
    }
    panic!("nobody says that there is no quorum");
}
