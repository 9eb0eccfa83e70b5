//! [`Report`]: what a node says of itself to whoever watches over it.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use tokio::sync::oneshot;
use vsync_core::engine::DropReason;

use crate::node::Node;
use crate::runtime::Command;

/// How a node and its groups are at one moment: what probes and dashboards ask for.
///
/// *Live* is a node that answers at all ([`Node::report`]); *ready* is one that is an active,
/// caught-up member of all its groups ([`is_ready`](Report::is_ready)).
///
/// ```
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// # use std::time::Duration;
/// let cluster = vsync::testing::Cluster::new(1).await;
/// let report = cluster.node(0).report(Duration::from_secs(1)).await?;
/// assert!(report.is_ready());
/// # Ok::<(), vsync::report::ReportError>(())
/// # }).unwrap();
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Report {
    /// The node's name.
    pub node: String,
    /// How many nodes the cluster has, as this one sees it.
    pub cluster_size: usize,
    /// What the network below has counted.
    pub network: vsync_net::Stats,
    /// What was dropped of other nodes' frames, by reason.
    pub dropped: BTreeMap<DropReason, u64>,
    /// Seeds that have answered from another cluster of the same secret, by address, and how often
    /// they have. Those that are not in this node's cluster are asked twice a minute. A number that
    /// rises says that there are two clusters: one of them was formed by mistake.
    pub strangers: BTreeMap<String, u64>,
    /// Its groups by name, the directory's own among them.
    pub groups: Vec<GroupReport>,
}

impl Report {
    /// Whether this node is an active member of each group that it has entered, sees a quorum in
    /// all of them and has applied what it has received. Answer a readiness probe with it.
    pub fn is_ready(&self) -> bool {
        let caught_up = |group: &GroupReport| group.held == 0 && !group.working;
        let mut groups = self.groups.iter();
        groups.all(|group| group.standing == Standing::Active && caught_up(group))
    }
}

/// One group of a [`Report`]. Counts begin when this node began to enter the group.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct GroupReport {
    /// Its name.
    pub name: String,
    /// How this node stands in it.
    pub standing: Standing,
    /// The view that is installed; 0 before the first.
    pub view: u64,
    /// Members in it, those that are still joining included.
    pub members: usize,
    /// Active members in it.
    pub active: usize,
    /// This node's rank in it.
    pub rank: Option<usize>,
    /// The version of the type that is active; `None` while it is not known.
    pub version: Option<u32>,
    /// Updates applied here.
    pub applied: u64,
    /// Own updates sent.
    pub sent: u64,
    /// Updates applied here that are not known to be stable.
    pub unstable: u64,
    /// Own updates that wait for room in the window.
    pub waiting: usize,
    /// Bytes of updates kept for members that may lack them.
    pub retained: usize,
    /// Bytes of updates that wait for the replica, which is at work away from the driver.
    pub held: usize,
    /// Whether the replica is at work away from the driver: it applies updates that take long,
    /// begins a view, or its checkpoint is taken or loaded.
    pub working: bool,
    /// Bytes that the updates take which a [cold](crate::GroupBuilder::cold) backup keeps and has
    /// not applied; `None` where everything is applied.
    pub unapplied: Option<usize>,
    /// Views installed.
    pub views: u64,
    /// How often the others went on without this node.
    pub exclusions: u64,
    /// Updates that failed at this replica.
    pub failures: u64,
    /// Replicas that were found to differ.
    pub differences: u64,
    /// How often all replicas were compared.
    pub comparisons: u64,
    /// How long view changes held up the group.
    pub changes: Spells,
    /// Checkpoints taken for joiners.
    pub saved: Moved,
    /// Checkpoints loaded.
    pub loaded: Moved,
}

/// How a node stands in a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Standing {
    /// No view is installed yet.
    Entering,
    /// It is in the view, and its state is on its way.
    Joining,
    /// It is an active member.
    Active,
    /// It is an active member that sees no quorum: calls wait.
    Blocked,
}

/// Upper bounds of the classes that [`Spells`] are counted in, in seconds: from a view change
/// between processes of one host to one that waits for a host that is gone.
pub const BOUNDS: [f64; 10] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0];

/// How long something took, each time.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Spells {
    /// How often.
    pub count: u64,
    /// All of them together.
    pub sum: Duration,
    /// How many took no longer than each of [`BOUNDS`], and longer than the one before.
    pub classes: [u64; BOUNDS.len()],
}

/// The class that a time belongs to; the number of them where it is beyond all [`BOUNDS`].
pub(crate) fn class_of(time: Duration) -> usize {
    let seconds = time.as_secs_f64();
    BOUNDS.iter().position(|bound| seconds <= *bound).unwrap_or(BOUNDS.len())
}

/// Checkpoints that were taken or loaded.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Moved {
    /// How many.
    pub count: u64,
    /// Bytes of all of them.
    pub bytes: u64,
    /// What taking or loading them took.
    pub time: Duration,
}

impl Moved {
    pub(crate) fn count(&mut self, bytes: u64, time: Duration) {
        self.count += 1;
        self.bytes += bytes;
        self.time += time;
    }
}

/// Why a node gave no report.
#[derive(Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReportError {
    /// It has stopped.
    Stopped,
    /// It did not answer in time: it is stuck, or has far too much to do.
    NoAnswer,
}

impl fmt::Display for ReportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ReportError::Stopped => "the node has stopped",
            ReportError::NoAnswer => "the node did not answer in time",
        })
    }
}

impl fmt::Debug for ReportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for ReportError {}

impl Node {
    /// How this node and its groups are now. The answer comes from the task that does all of the
    /// node's work, so getting one says that the node is *live*.
    ///
    /// # Errors
    /// - [`ReportError::NoAnswer`] if it takes longer than `patience`.
    /// - [`ReportError::Stopped`] if the node has stopped, or crashed.
    pub async fn report(&self, patience: Duration) -> Result<Report, ReportError> {
        let (tell, listen) = oneshot::channel();
        let asked = self.core().home.driver.send(Command::Report { tell });
        asked.map_err(|_| ReportError::Stopped)?;
        let mut groups = match tokio::time::timeout(patience, listen).await {
            Ok(Ok(groups)) => groups,
            Ok(Err(_)) => return Err(ReportError::Stopped),
            Err(_) => return Err(ReportError::NoAnswer),
        };
        groups.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(Report {
            node: self.name().to_owned(),
            cluster_size: self.cluster_size(),
            network: self.network(),
            dropped: self.dropped(),
            strangers: self.core().strangers.read(),
            groups,
        })
    }
}

#[cfg(all(test, feature = "testing"))]
mod tests {
    use std::future::IntoFuture;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::Duration;

    use super::*;
    use crate::replicated;
    use crate::testing::Cluster;

    const PATIENCE: Duration = Duration::from_secs(5);

    async fn until(node: &Node, met: impl Fn(&Report) -> bool) -> Report {
        loop {
            let report = node.report(PATIENCE).await.expect("alive");
            if met(&report) {
                return report;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    #[tokio::test]
    async fn without_a_quorum_a_node_is_live_and_not_ready() {
        let mut cluster = Cluster::new(3).await;
        until(cluster.node(0), |report| report.is_ready() && report.cluster_size == 3).await;
        cluster.kill(1);
        cluster.kill(2);
        let report = until(cluster.node(0), |report| !report.is_ready()).await;
        assert_eq!(report.groups[0].standing, Standing::Blocked);
    }

    #[tokio::test]
    async fn a_node_that_has_stopped_gives_no_report() {
        let cluster = Cluster::new(1).await;
        let (tell, listen) = oneshot::channel();
        drop(cluster.node(0).core().home.driver.send(Command::Stop { tell }));
        listen.await.expect("it stops");
        assert_eq!(cluster.node(0).report(PATIENCE).await.err(), Some(ReportError::Stopped));
    }

    static CLOSED: AtomicBool = AtomicBool::new(false);

    #[replicated(crate = "crate")]
    #[derive(Debug, Default)]
    struct Gated {
        count: u64,
    }

    #[replicated(crate = "crate")]
    impl Gated {
        #[update(order = "total")]
        fn wait(&mut self) -> u64 {
            std::thread::sleep(Duration::from_millis(5));
            while CLOSED.load(Ordering::SeqCst) {
                std::thread::sleep(Duration::from_millis(1));
            }
            self.count += 1;
            self.count
        }
    }

    /// Nothing waits for the replica, but what it works at is not applied.
    #[tokio::test]
    async fn who_is_at_work_is_not_ready() {
        let cluster = Cluster::new(1).await;
        let node = cluster.node(0);
        let gated = node.group("gated").create(Gated::default()).await.expect("a member");
        // The first one shows that it is slow.
        gated.wait().await.expect("stable");
        until(node, Report::is_ready).await;
        CLOSED.store(true, Ordering::SeqCst);
        let waiting = tokio::spawn(gated.wait().into_future());
        let report = until(node, |report| !report.is_ready()).await;
        let group = report.groups.iter().find(|group| group.name == "gated").expect("entered");
        assert!(group.working && group.held == 0, "{group:?}");
        CLOSED.store(false, Ordering::SeqCst);
        assert_eq!(waiting.await.expect("it ends").expect("stable"), 2);
        until(node, Report::is_ready).await;
    }
}
