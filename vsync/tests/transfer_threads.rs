//! Checkpoints are made and loaded whatever tokio's threads are busy with, and however many groups
//! are joined at once: nobody who waits for another's checkpoint keeps that from being made.

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinSet;
use vsync::testing::Cluster;
use vsync::{Node, replicated};

/// Nothing in these tests may take longer.
async fn within<T>(future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(Duration::from_secs(60), future).await {
        Ok(value) => value,
        Err(_) => panic!("not done in time"),
    }
}

/// Bytes of a state: more than is under way and waits to be read, so that whoever makes its
/// checkpoint has to wait for whoever loads it.
const LARGE: u64 = 10 << 20;

#[replicated]
#[derive(Clone, Debug, Default)]
struct Text {
    text: String,
}

#[replicated]
impl Text {
    #[update(order = "total")]
    fn fill(&mut self, bytes: u64) {
        self.text = "x".repeat(bytes as usize);
    }

    #[query]
    fn bytes(&self) -> u64 {
        self.text.len() as u64
    }
}

/// A runtime with one thread for what blocks.
fn narrow() -> Runtime {
    let mut builder = Builder::new_multi_thread();
    builder.worker_threads(2).max_blocking_threads(1).enable_all();
    builder.build().expect("a runtime")
}

fn name(number: usize) -> String {
    format!("texts/{number}")
}

async fn make(node: &Node, number: usize) -> TextHandle {
    let name = name(number);
    let handle: TextHandle = node.group(&name).create(Text::default()).await.expect("made");
    handle.fill(LARGE).await.expect("stable");
    handle
}

/// Each of two nodes joins the groups of the other, all at once.
async fn join_crosswise(groups: usize) {
    let cluster = Arc::new(Cluster::new(2).await);
    let mut made = Vec::new();
    for number in 0..groups {
        made.push(make(cluster.node(number % 2), number).await);
    }
    let mut joins = JoinSet::new();
    for number in 0..groups {
        let cluster = Arc::clone(&cluster);
        joins.spawn(async move {
            let group = cluster.node(1 - number % 2).group(name(number));
            group.timeout(Duration::from_secs(50)).join(Text::default()).await
        });
    }
    for joined in joins.join_all().await {
        let handle: TextHandle = joined.expect("in");
        assert_eq!(handle.bytes().await.expect("read"), LARGE);
    }
}

#[test]
fn one_thread_for_what_blocks_is_enough_for_donor_and_joiner() {
    narrow().block_on(within(join_crosswise(1)));
}

#[test]
fn many_groups_are_joined_in_both_directions_at_once() {
    narrow().block_on(within(join_crosswise(20)));
}

/// The user's code holds the only thread until the join is done.
#[test]
fn a_join_needs_none_of_the_threads_that_users_code_holds() {
    let runtime = narrow();
    runtime.block_on(within(async {
        let cluster = Cluster::new(2).await;
        let _made = make(cluster.node(0), 0).await;
        let (tell, told) = std::sync::mpsc::channel::<()>();
        let held = tokio::task::spawn_blocking(move || told.recv());
        let name = name(0);
        let group = cluster.node(1).group(&name).timeout(Duration::from_secs(20));
        let joined: Result<TextHandle, _> = group.join(Text::default()).await;
        tell.send(()).expect("held until now");
        held.await.expect("runs").expect("told");
        assert_eq!(joined.expect("in").bytes().await.expect("read"), LARGE);
    }));
}
