//! Who coordinates: each policy, as all members see it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::watch;
use vsync::testing::Cluster;
use vsync::{JoinError, Replicated, RequestCtx, RequestInfo, View, replicated};

use crate::desk::{ask, within};

/// What the handlers of a test share.
#[derive(Clone, Debug)]
struct Here {
    runs: Arc<AtomicUsize>,
    held: Arc<watch::Sender<bool>>,
}

impl Default for Here {
    fn default() -> Here {
        Here { runs: Arc::default(), held: Arc::new(watch::Sender::new(false)) }
    }
}

impl Here {
    async fn wait(&self) {
        self.runs.fetch_add(1, Ordering::SeqCst);
        drop(self.held.subscribe().wait_for(|held| !held).await);
    }

    /// Waits until so many handlers have begun.
    async fn runs(&self, count: usize) {
        while self.runs.load(Ordering::SeqCst) < count {
            tokio::task::yield_now().await;
        }
    }
}

/// Coordinated by the first rank.
#[replicated(requests = "primary")]
#[derive(Debug, Default)]
struct Primary {
    #[local]
    here: Here,
}

#[replicated]
impl Primary {
    #[request]
    async fn rank(ctx: &RequestCtx<Self>) -> Option<usize> {
        ctx.read(|state| state.here.clone()).await.wait().await;
        ctx.rank()
    }
}

/// Coordinated by who has the least to do.
#[replicated(requests = "load")]
#[derive(Debug, Default)]
struct Loaded {
    #[local]
    here: Here,
}

#[replicated]
impl Loaded {
    #[request]
    async fn rank(ctx: &RequestCtx<Self>) -> Option<usize> {
        ctx.read(|state| state.here.clone()).await.wait().await;
        ctx.rank()
    }
}

/// Run by all members.
#[replicated(requests = "active")]
#[derive(Debug, Default)]
struct Everybody {
    sum: u64,
    #[local]
    here: Here,
}

#[replicated]
impl Everybody {
    #[update(order = "total")]
    fn add(&mut self) {
        self.sum += 1;
    }

    #[query]
    fn sum(&self) -> u64 {
        self.sum
    }

    #[request]
    async fn rank(ctx: &RequestCtx<Self>) -> Option<usize> {
        ctx.read(|state| state.here.clone()).await.wait().await;
        ctx.update().add();
        ctx.rank()
    }
}

/// The last rank for `last`; a rank that there is not for others.
fn by_name(request: &RequestInfo<'_>, view: &View) -> usize {
    assert!(view.active().iter().all(|member| request.load(member.id) < 1000));
    if request.method() == "last" { view.size() - 1 } else { view.size() }
}

/// Coordinated by whom the application names.
#[replicated(requests = by_name)]
#[derive(Debug, Default)]
struct Named {}

#[replicated]
impl Named {
    #[request]
    async fn last(ctx: &RequestCtx<Self>) -> Option<usize> {
        ctx.rank()
    }

    #[request]
    async fn any(ctx: &RequestCtx<Self>) -> Option<usize> {
        ctx.rank()
    }
}

/// Each of its requests by a policy of its own; one by that of the type.
#[replicated(requests = "primary")]
#[derive(Debug, Default)]
struct Mixed {
    #[local]
    here: Here,
}

#[replicated]
impl Mixed {
    #[request]
    async fn first(ctx: &RequestCtx<Self>) -> (Option<usize>, usize) {
        (ctx.rank(), ctx.cohort().len())
    }

    #[request(policy = by_name)]
    async fn last(ctx: &RequestCtx<Self>) -> (Option<usize>, usize) {
        (ctx.rank(), ctx.cohort().len())
    }

    #[request(policy = "active")]
    async fn all(ctx: &RequestCtx<Self>) -> Option<usize> {
        ctx.read(|state| state.here.clone()).await.wait().await;
        ctx.rank()
    }

    #[request(policy = "rendezvous", key = seat)]
    async fn seat(ctx: &RequestCtx<Self>, seat: u64) -> (u64, Option<usize>) {
        (seat, ctx.rank())
    }

    #[request(policy = "load")]
    async fn shared(ctx: &RequestCtx<Self>) -> Option<usize> {
        ctx.read(|state| state.here.clone()).await.wait().await;
        ctx.rank()
    }
}

/// As `Primary`, coordinated otherwise.
mod other {
    use super::*;

    /// By the type's policy it is the same.
    #[replicated(name = "Primary", requests = "primary")]
    #[derive(Debug, Default)]
    pub(super) struct Single {}

    #[replicated]
    impl Single {
        #[request(policy = "active")]
        pub(super) async fn rank(ctx: &RequestCtx<Self>) -> Option<usize> {
            ctx.rank()
        }
    }

    #[replicated(requests = "load")]
    #[derive(Debug, Default)]
    pub(super) struct Primary {}

    #[replicated]
    impl Primary {
        #[request]
        pub(super) async fn rank(ctx: &RequestCtx<Self>) -> Option<usize> {
            ctx.rank()
        }
    }
}

async fn members<S: Replicated>(cluster: &Cluster, state: impl Fn() -> S) -> Vec<S::Handle> {
    let mut members = Vec::new();
    for node in cluster.nodes() {
        members.push(node.group("group").join_or_create(state()).await.expect("a member"));
    }
    members
}

#[tokio::test]
async fn a_primary_has_all_requests_and_its_backup_goes_on() {
    within(async {
        let (mut cluster, here) = (Cluster::new(3).await, Here::default());
        let members = members(&cluster, || Primary { here: here.clone() }).await;
        for member in &members {
            assert_eq!(member.rank().await.expect("answered"), Some(0));
        }
        here.held.send_replace(true);
        let asked = ask(members[2].rank());
        here.runs(4).await;
        let load = members[0].group().load();
        let first = members[0].group().me().expect("a member");
        assert_eq!(load.members.into_iter().collect::<Vec<_>>(), [(first, 1)]);
        cluster.kill(0);
        here.runs(5).await;
        here.held.send_replace(false);
        let rank = asked.await.expect("no panic").expect("answered");
        assert_eq!(rank, Some(0), "of the next view");
        assert_eq!(members[1].group().rank(), Some(0));
    })
    .await;
}

#[tokio::test]
async fn work_is_shared_by_what_each_has_to_do() {
    within(async {
        let (cluster, here) = (Cluster::new(3).await, Here::default());
        let members = members(&cluster, || Loaded { here: here.clone() }).await;
        here.held.send_replace(true);
        let asked: Vec<_> = (0..30).map(|at| ask(members[at % 3].rank())).collect();
        here.runs(30).await;
        members[1].group().flush().await.expect("stable");
        let load = members[1].group().load();
        assert_eq!(load.members.values().copied().collect::<Vec<_>>(), [10, 10, 10]);
        here.held.send_replace(false);
        let mut ranks = BTreeSet::new();
        for asked in asked {
            ranks.insert(asked.await.expect("no panic").expect("answered"));
        }
        assert_eq!(ranks, [Some(0), Some(1), Some(2)].into());
    })
    .await;
}

#[tokio::test]
async fn what_all_run_has_one_effect() {
    within(async {
        let (mut cluster, here) = (Cluster::new(3).await, Here::default());
        let members =
            members(&cluster, || Everybody { here: here.clone(), ..Everybody::default() }).await;
        here.held.send_replace(true);
        let asked = ask(members[2].rank());
        here.runs(3).await;
        assert!(members[0].group().load().members.is_empty(), "all have it");
        cluster.kill(0);
        here.held.send_replace(false);
        asked.await.expect("no panic").expect("answered");
        for _ in 0..10 {
            members[1].rank().await.expect("answered");
        }
        members[1].group().flush().await.expect("stable");
        assert_eq!(members[1].sum().await, Ok(11), "each once");
        assert!(here.runs.load(Ordering::SeqCst) > 11, "and run by more than one");
    })
    .await;
}

#[tokio::test]
async fn the_application_can_name_a_rank() {
    within(async {
        let cluster = Cluster::new(3).await;
        let members = members(&cluster, Named::default).await;
        for _ in 0..5 {
            assert_eq!(members[0].last().await.expect("answered"), Some(2));
            let any = members[0].any().await.expect("answered");
            assert!(any.is_some_and(|rank| rank < 3), "somebody, where there is no such rank");
        }
    })
    .await;
}

#[tokio::test]
async fn each_method_goes_by_its_own_policy() {
    within(async {
        let (mut cluster, here) = (Cluster::new(3).await, Here::default());
        let members = members(&cluster, || Mixed { here: here.clone() }).await;
        let client = cluster.client().await.expect("connected");
        let outside: MixedClient = client.group("group");
        let mut seats = BTreeSet::new();
        for seat in 0..40 {
            assert_eq!(members[1].first().await.expect("answered"), (Some(0), 2));
            assert_eq!(outside.last().await.expect("answered"), (Some(2), 2));
            let (same, rank) = members[2].seat(seat).await.expect("answered");
            assert_eq!(members[0].seat(seat).await.expect("answered"), (same, rank));
            seats.insert(rank);
        }
        assert_eq!(seats.len(), 3, "by their keys");
        here.held.send_replace(true);
        let all = ask(members[0].all());
        here.runs(3).await;
        assert!(members[0].group().load().members.is_empty(), "all run it");
        let shared: Vec<_> = (0..6).map(|at| ask(members[at % 3].shared())).collect();
        here.runs(9).await;
        members[1].group().flush().await.expect("stable");
        let load = members[1].group().load();
        assert_eq!(load.members.values().copied().collect::<Vec<_>>(), [2, 2, 2]);
        assert_eq!(load.pending, 7);
        // What is under way goes on by the policies that it began with.
        cluster.kill(0);
        here.runs(11).await;
        here.held.send_replace(false);
        drop(all);
        for shared in shared.into_iter().skip(1).step_by(3) {
            shared.await.expect("no panic").expect("answered");
        }
        assert_eq!(members[1].first().await.expect("answered"), (Some(0), 1), "of two");
        assert_eq!(members[1].last().await.expect("answered"), (Some(1), 1));
    })
    .await;
}

#[tokio::test]
async fn programs_that_choose_otherwise_are_no_members() {
    within(async {
        let cluster = Cluster::new(2).await;
        let first = cluster.node(0).group("group").create(Primary::default()).await;
        let joined = cluster.node(1).group("group").join(other::Primary::default()).await;
        let Err(JoinError::Schema { differences, .. }) = joined else { panic!("{joined:?}") };
        assert!(
            differences[0].contains("coordinated by load here, by primary there"),
            "{differences:?}"
        );
        let joined = cluster.node(1).group("group").join(other::Single::default()).await;
        let Err(JoinError::Schema { differences, .. }) = joined else { panic!("{joined:?}") };
        assert!(
            differences[0].contains("coordinated by active here, by primary there"),
            "{differences:?}"
        );
        drop(first);
    })
    .await;
}
