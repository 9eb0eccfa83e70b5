//! [`Node`]: one process of a cluster.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::task::{AbortHandle, JoinHandle};
use tokio::time::{Instant, timeout_at};
use vsync_core::engine::{DropReason, EngineConfig};
use vsync_core::wire::{GroupId, NodeId};
use vsync_net::Transport;

use crate::builder::NodeBuilder;
use crate::directory::{self, DirectoryHandle};
use crate::error::{JoinError, StartError};
use crate::group::Group;
use crate::replicated::Replicated;
use crate::runtime::clock::micros;
use crate::runtime::dropped::Dropped;
use crate::runtime::history::Writer;
use crate::runtime::rpc::Rpc;
use crate::runtime::{Command, Driver, Notice, Parts};
use crate::service;
use crate::steward::{self, Core, Failure, FailureKind, How, Manner};

/// Questions of others that may wait to be answered.
const QUESTIONS: usize = 1024;
/// The environment variable that names the directory of histories.
const HISTORY: &str = "VSYNC_HISTORY";

/// One process of a cluster: an endpoint, and the groups that it is in.
///
/// [`shutdown`](Node::shutdown) leaves in an orderly way. Dropping a node is a crash, which the
/// others handle.
pub struct Node {
    core: Arc<Core>,
    patience: Duration,
    dropped: Arc<Dropped>,
    tasks: Vec<AbortHandle>,
}

impl Node {
    /// Bytes that wait to be taken by a peer.
    #[cfg(all(test, feature = "testing"))]
    pub(crate) fn backlog(&self, peer: vsync_net::PeerId) -> usize {
        self.core.transport.backlog(peer)
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node").field("name", &self.name()).finish_non_exhaustive()
    }
}

impl Node {
    pub(crate) fn core(&self) -> &Core {
        &self.core
    }

    /// What a node is started with.
    pub fn builder() -> NodeBuilder {
        NodeBuilder::new()
    }

    pub(crate) async fn start(
        builder: NodeBuilder,
        transport: Arc<dyn Transport>,
    ) -> Result<Node, StartError> {
        let id = NodeId(transport.local().id.0);
        let dir = builder.history.clone().or_else(|| std::env::var_os(HISTORY).map(Into::into));
        let history = match dir {
            Some(dir) => {
                Some(Writer::create(&dir, &builder.name, id).map_err(StartError::History)?)
            }
            None => None,
        };
        let (commands, driver_commands) = mpsc::unbounded_channel();
        let (notices, told) = mpsc::unbounded_channel();
        let (ask, asked) = mpsc::channel(QUESTIONS);
        let rpc = Arc::new(Rpc::new(Arc::clone(&transport), Some(ask)));
        let dropped = Arc::new(Dropped::default());
        let driver = Driver::new(Parts {
            config: engine_config(&builder, id),
            transport: Arc::clone(&transport),
            rpc: Arc::clone(&rpc),
            commands: driver_commands,
            notices: notices.clone(),
            history,
            dropped: Arc::clone(&dropped),
        });
        let seeds = builder.seeds.clone();
        let core =
            Core::new(transport, rpc, commands, notices, seeds, builder.limits, builder.expect);
        let core = Arc::new(core);
        let driving = tokio::spawn(driver.run());
        let driver = driving.abort_handle();
        let tasks = vec![
            tokio::spawn(end_with(driving, Arc::clone(&core.transport))).abort_handle(),
            driver,
            tokio::spawn(steward::attend(Arc::clone(&core), told)).abort_handle(),
            tokio::spawn(service::serve(Arc::clone(&core), asked)).abort_handle(),
            tokio::spawn(steward::look_out(Arc::clone(&core))).abort_handle(),
        ];
        let node = Node { core, patience: builder.patience, dropped, tasks };
        node.enter_cluster(builder.bootstrap).await?;
        Ok(node)
    }

    /// Forms the cluster, or finds its directory through the seeds.
    async fn enter_cluster(&self, bootstrap: bool) -> Result<(), StartError> {
        let deadline = Instant::now() + self.patience;
        let mut why = BTreeMap::new();
        if bootstrap && let Some(seed) = self.living_seed().await {
            return Err(StartError::ClusterExists { seed });
        }
        let entered = steward::enter_directory(&self.core, bootstrap, deadline, &mut why).await;
        match entered {
            Ok(group) => {
                let directory: DirectoryHandle = group.into();
                // Set once: a node enters its cluster once.
                if let Ok(cluster) = directory.cluster().optimistic() {
                    let cluster = cluster.into_unstable("as old as the cluster");
                    let _ = self.core.cluster.set(cluster);
                }
                drop(self.core.directory.set(directory));
                Ok(())
            }
            Err(JoinError::Timeout { .. }) if !bootstrap => Err(self.outside(why)),
            Err(error) => Err(StartError::Directory(Box::new(error))),
        }
    }

    /// Why no cluster was entered, from what became of each seed.
    fn outside(&self, mut why: BTreeMap<String, Failure>) -> StartError {
        let of = |why: &BTreeMap<String, Failure>, kind| -> Vec<String> {
            why.iter().filter(|(_, failure)| failure.kind == kind).map(|it| it.0.clone()).collect()
        };
        let blocked = of(&why, FailureKind::Blocked);
        if !blocked.is_empty() {
            return StartError::NoQuorum { seeds: blocked };
        }
        let apart = why.iter().filter_map(|(seed, failure)| match failure.kind {
            FailureKind::Apart { nodes } => Some((seed.clone(), nodes)),
            _ => None,
        });
        let apart: Vec<_> = apart.collect();
        if !apart.is_empty() {
            return StartError::SeveralClusters { seeds: apart };
        }
        let own = &self.core.transport.local().addr;
        for seed in &self.core.seeds {
            why.entry(seed.clone()).or_insert_with(|| match seed == own {
                true => Failure::itself(),
                false => Failure::unreached(),
            });
        }
        let reason = |(seed, failure): (String, Failure)| (seed, failure.why);
        let inside = why.values().any(|failure| failure.kind == FailureKind::Inside);
        let refused = why.values().all(|failure| failure.kind == FailureKind::Lasting);
        let Some(expected) = self.core.votes.expect.filter(|_| !inside && !refused) else {
            return StartError::Unreachable { seeds: why.into_iter().map(reason).collect() };
        };
        let waiting = of(&why, FailureKind::Waiting);
        why.retain(|seed, failure| seed != own && failure.kind != FailureKind::Waiting);
        StartError::NotFormed { expected, waiting, missing: why.into_iter().map(reason).collect() }
    }

    /// A seed that belongs to a cluster already.
    async fn living_seed(&self) -> Option<String> {
        let core = &self.core;
        for seed in core.seeds.iter().filter(|seed| **seed != core.transport.local().addr) {
            if let Ok(cluster) = core.ask_cluster(seed).await
                && !cluster.members.is_empty()
            {
                return Some(seed.clone());
            }
        }
        None
    }

    /// The node's name.
    pub fn name(&self) -> &str {
        &self.core.meta.name
    }

    /// The number that tells this start of the process from all others: what
    /// [`MemberId::node`](crate::MemberId) holds.
    pub fn id(&self) -> u64 {
        self.core.transport.local().id.0
    }

    /// The address by which others reach this node.
    pub fn address(&self) -> &str {
        &self.core.meta.address
    }

    /// How many nodes the cluster has, as this one sees it: the active members of the directory's
    /// group, this node included. 0 while it has no part in that group.
    pub fn cluster_size(&self) -> usize {
        self.core.directory_members().len()
    }

    /// What the network below has counted since the node's start.
    pub fn network(&self) -> vsync_net::Stats {
        self.core.transport.stats()
    }

    /// What other nodes sent that the protocol of the groups dropped since this node's start, by
    /// reason; reasons that never came are left out. A frame may count more than once, for several
    /// parts of it. Most are harmless: a message of a view that is over, or a range whose
    /// predecessor was lost and is sent again. [`Malformed`](DropReason::Malformed),
    /// [`Invalid`](DropReason::Invalid) and [`WrongGeneration`](DropReason::WrongGeneration) are
    /// not: between nodes whose programs are correct none was ever seen, and each simulated run
    /// fails that sees one.
    ///
    /// Not counted here is what clients send, and questions between nodes that do not decode: they
    /// are dropped, too, and logged at the level `debug`.
    pub fn dropped(&self) -> BTreeMap<DropReason, u64> {
        self.dropped.read()
    }

    /// The group of this name, to be created or joined.
    pub fn group(&self, name: impl Into<String>) -> GroupBuilder<'_> {
        GroupBuilder {
            node: self,
            name: name.into(),
            patience: self.patience,
            manner: Manner::default(),
        }
    }

    /// Leaves all groups in an orderly way, and ends. What is not done when the deadline comes is
    /// cut short, as by a crash that the others handle.
    pub async fn shutdown(self, deadline: Duration) {
        let end = Instant::now() + deadline;
        let groups: Vec<GroupId> = {
            let registry = self.core.registry();
            let named = registry.iter().filter(|(name, _)| ***name != *directory::NAME);
            named.filter_map(|(_, registered)| registered.seat.status().group).collect()
        };
        let leaves: Vec<_> = groups.into_iter().map(|group| self.leave(group)).collect();
        for left in leaves {
            // An error says that the driver has already closed it.
            drop(timeout_at(end, left).await);
        }
        let (tell, listen) = oneshot::channel();
        drop(self.core.notices.send(Notice::Barrier(tell)));
        drop(timeout_at(end, listen).await);
        drop(timeout_at(end, self.leave(GroupId(0))).await);
        let (tell, listen) = oneshot::channel();
        drop(self.core.home.driver.send(Command::Stop { tell }));
        drop(timeout_at(end, listen).await);
        let left = end.saturating_duration_since(Instant::now());
        self.core.transport.shutdown(left.max(Duration::from_millis(10))).await;
    }

    fn leave(&self, group: GroupId) -> oneshot::Receiver<()> {
        let (tell, listen) = oneshot::channel();
        drop(self.core.home.driver.send(Command::Leave { group, tell }));
        listen
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.tasks.iter().for_each(AbortHandle::abort);
    }
}

/// A broken invariant of ours stops the driver: that is a crash of the node, which the others
/// handle. Its connections end too, so that nobody takes it for alive; its callers are told.
async fn end_with(driver: JoinHandle<()>, transport: Arc<dyn Transport>) {
    if let Err(error) = driver.await
        && error.is_panic()
    {
        tracing::error!(%error, "the node's driver has crashed");
        transport.shutdown(Duration::ZERO).await;
    }
}

fn engine_config(builder: &NodeBuilder, id: NodeId) -> EngineConfig {
    let mut config = EngineConfig::new(id);
    if let Some(silence) = builder.silence {
        config.silence = micros(silence);
        config.heartbeat = config.silence / 5;
    }
    if let Some(limit) = builder.slow_member {
        config.slow_member_timeout = micros(limit);
    }
    config
}

/// A group by name, on the way to a membership.
#[derive(Debug)]
#[must_use = "say `.create(…)`, `.join(…)` or `.join_or_create(…)`"]
pub struct GroupBuilder<'a> {
    node: &'a Node,
    name: String,
    patience: Duration,
    manner: Manner,
}

impl GroupBuilder<'_> {
    /// How long it may take to become a member; the node's patience by default.
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.patience = limit;
        self
    }

    /// Compares the replicas from time to time: at the beginning of each view, and where all
    /// updates of the type are totals after each `updates` of them, too. 0, the default, never
    /// does.
    ///
    /// Each member takes a checkpoint for it, and sends some digests of it. One that differs, since
    /// an update method did something else there, is named by [`GroupEvent::Differs`] at all
    /// members, counted, and joins again with a donor's state. Every member has to ask for it at
    /// the beginning of views; in between the coordinator's number counts.
    ///
    /// [`GroupEvent::Differs`]: crate::GroupEvent::Differs
    pub fn compare_every(mut self, updates: u64) -> Self {
        self.manner.compare = updates;
        self
    }

    /// Makes this node a cold backup: while nobody needs its state it does not apply the group's
    /// updates, but keeps up to `bytes` of them (each batch, which may be one small update, counts
    /// some hundred bytes besides), and the state as a checkpoint. A backup that takes over applies
    /// them then, all and in their order; until then they cost no processor time, and not much more
    /// memory than that.
    ///
    /// It applies them when it becomes the view's coordinator; at each change of views, so that a
    /// joiner is given the state as anywhere else; when a call of its own is awaited, a query asks
    /// for the state, here or from elsewhere, events are read, or a client asks something of it;
    /// and when there are more than `bytes` of them, of which a new checkpoint is made. It goes to
    /// sleep again after it has applied `bytes` that nobody has needed. A query that takes no time
    /// to wait, as `optimistic`, finds [`NoState`](crate::GroupError::NoState) at first.
    ///
    /// Some members have to apply everything, and do: those of a type that publishes its events,
    /// or whose requests are coordinated by others than the [primary](crate::Policy::Primary), and
    /// those that [compare](GroupBuilder::compare_every) their replicas. Nothing is on disk: what
    /// all members forget is lost.
    pub fn cold(mut self, bytes: usize) -> Self {
        self.manner.cold = Some(bytes.max(1));
        self
    }

    /// Makes the group, with `state` as its first state. Fails if there is one of this name.
    pub async fn create<S: Replicated>(self, state: S) -> Result<S::Handle, JoinError> {
        self.enter(state, How::Create).await
    }

    /// Joins the group. Of `state` only the `#[local]` fields are kept.
    pub async fn join<S: Replicated>(self, state: S) -> Result<S::Handle, JoinError> {
        self.enter(state, How::Join).await
    }

    /// Joins the group, or makes it if there is none: of several nodes that try at once one makes
    /// it and the others join.
    pub async fn join_or_create<S: Replicated>(self, state: S) -> Result<S::Handle, JoinError> {
        self.enter(state, How::JoinOrCreate).await
    }

    async fn enter<S: Replicated>(self, state: S, how: How) -> Result<S::Handle, JoinError> {
        let deadline = Instant::now() + self.patience;
        let group: Group<S> =
            steward::enter(&self.node.core, &self.name, state, self.manner, how, deadline).await?;
        Ok(group.into())
    }
}
