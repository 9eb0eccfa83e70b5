//! What optimistic delivery can forget, and how not to tell the world too early: the book's
//! tutorial on it shows this file.

use std::time::Duration;

use vsync::testing::Cluster;
use vsync::{CallError, GroupError, Unknown, replicated};

// ANCHOR: type
#[replicated]
#[derive(Default)]
struct Orders {
    taken: Vec<String>,
}

#[replicated]
impl Orders {
    /// Takes an order; its number.
    #[update(order = "total")]
    fn take(&mut self, what: String) -> usize {
        self.taken.push(what);
        self.taken.len()
    }

    #[query]
    fn taken(&self) -> Vec<String> {
        self.taken.clone()
    }
}
// ANCHOR_END: type

// ANCHOR: five
/// Five members. The first two can reach each other and nobody else.
async fn five() -> (Cluster, Vec<OrdersHandle>) {
    let cluster = Cluster::new(5).await;
    let mut members = Vec::new();
    for node in cluster.nodes() {
        let group = node.group("orders").join_or_create(Orders::default());
        members.push(group.await.expect("a member"));
    }
    for few in [0, 1] {
        for many in [2, 3, 4] {
            cluster.cut(few, many);
        }
    }
    (cluster, members)
}
// ANCHOR_END: five

// ANCHOR: amnesia
#[tokio::test]
async fn an_optimistic_answer_can_be_forgotten() {
    let (mut cluster, members) = five().await;
    let number = members[0].take("a coffee".into()).optimistic().await.expect("applied here");
    let told = number.into_unstable("to show what it may lead to");
    assert_eq!(told, 1); // the customer has been told: order number one

    cluster.kill(0);
    cluster.kill(1);
    let number = members[4].take("a tea".into()).await.expect("stable at the three that are left");
    assert_eq!(number, 1); // somebody else is told the same
    assert_eq!(members[2].taken().await.expect("a member"), ["a tea"]);
}
// ANCHOR_END: amnesia

// ANCHOR: waits
#[tokio::test]
async fn a_stable_answer_comes_when_it_cannot_be_forgotten() {
    let (mut cluster, members) = five().await;
    let call = members[0].take("a coffee".into()).timeout(Duration::from_millis(200));
    assert!(matches!(call.await, Err(CallError::Unknown(_)))); // nobody was told anything

    cluster.kill(0);
    cluster.kill(1);
    assert_eq!(members[4].take("a tea".into()).await, Ok(1));
}
// ANCHOR_END: waits

// ANCHOR: flush
#[tokio::test]
async fn flush_is_a_gate_before_the_world() {
    let (cluster, members) = five().await;
    members[0].take("a coffee".into()).send().await.expect("accepted");
    let flushed = members[0].group().flush();
    tokio::pin!(flushed);
    let early = tokio::time::timeout(Duration::from_millis(200), &mut flushed).await;
    assert!(early.is_err(), "two of five have it: {early:?}");

    for few in [0, 1] {
        for many in [2, 3, 4] {
            cluster.heal(few, many);
        }
    }
    match flushed.await {
        Ok(()) => assert_eq!(members[3].taken().await.expect("a member"), ["a coffee"]),
        // The others were quicker to go on without the two: that is said, too.
        Err(GroupError::Unknown(Unknown::Excluded)) => {}
        Err(error) => panic!("{error}"),
    }
}
// ANCHOR_END: flush
