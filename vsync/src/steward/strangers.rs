//! [`Strangers`]: nodes that are in another cluster of the same secret.
//!
//! Two clusters come of a node that forms one each time it is started. Neither knows of the other;
//! but such a node mostly is a seed of those that it was with before. So each node asks those of
//! its seeds now and then that are not in its cluster.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::sleep;
use vsync_net::PeerId;

use super::core::Core;
use crate::runtime::rpc::Contact;

/// How often seeds are asked that are not in the cluster.
const LOOK: Duration = Duration::from_secs(30);

/// Those that were met.
#[derive(Debug, Default)]
pub(crate) struct Strangers(Mutex<BTreeMap<String, Met>>);

#[derive(Debug)]
struct Met {
    peer: PeerId,
    times: u64,
}

impl Strangers {
    fn met(&self) -> MutexGuard<'_, BTreeMap<String, Met>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// This peer has answered from another cluster, of so many nodes. The log tells of it once.
    pub(super) fn meet(&self, seed: &str, peer: PeerId, nodes: usize) {
        let mut met = self.met();
        let at = met.entry(seed.to_owned()).or_insert(Met { peer, times: 0 });
        let is_new = at.times == 0 || at.peer != peer;
        at.peer = peer;
        at.times += 1;
        drop(met);
        if is_new {
            tracing::warn!(seed, nodes, "a seed is in another cluster of the same secret");
        }
    }

    /// How often each address has answered so.
    pub(crate) fn read(&self) -> BTreeMap<String, u64> {
        self.met().iter().map(|(seed, met)| (seed.clone(), met.times)).collect()
    }
}

/// Looks out for them until the node ends.
pub(crate) async fn look_out(core: Arc<Core>) {
    let mut peers = BTreeMap::new();
    while !core.seeds.is_empty() {
        sleep(LOOK).await;
        core.ask_around(&mut peers).await;
    }
}

impl Core {
    /// Asks the seeds that are not in this cluster, as far as is known. `peers`: who has answered
    /// at each address; a member may be called otherwise there than it calls itself.
    async fn ask_around(&self, peers: &mut BTreeMap<String, PeerId>) {
        let Some(own) = self.cluster.get() else { return };
        for seed in &self.seeds {
            let peer = peers.get(seed).map(|peer| peer.0);
            let here = |it: &Contact| it.address == *seed || Some(it.node) == peer;
            let is_here = || self.directory_members().iter().any(here);
            if *seed == self.transport.local().addr || is_here() {
                continue;
            }
            let Ok(cluster) = self.ask_cluster(seed).await else { continue };
            peers.insert(seed.clone(), cluster.peer);
            if cluster.id.is_some_and(|id| id != *own) {
                self.strangers.meet(seed, cluster.peer, cluster.members.len());
                // Otherwise the connection would be kept up.
                self.transport.forget(cluster.peer);
            }
        }
    }
}

#[cfg(all(test, feature = "testing"))]
mod tests {
    use vsync_net::MemoryNet;

    use super::*;
    use crate::{Node, StartError};

    async fn node(net: &MemoryNet, name: &str, seeds: &[&str], forms: bool) -> Node {
        let builder = Node::builder().name(name).seeds(seeds.iter().copied());
        let builder = if forms { builder.bootstrap() } else { builder };
        let started: Result<Node, StartError> = builder.over(Arc::new(net.endpoint(name))).await;
        started.expect("started")
    }

    async fn strangers(node: &Node) -> BTreeMap<String, u64> {
        node.report(Duration::from_secs(20)).await.expect("alive").strangers
    }

    #[tokio::test]
    async fn a_seed_that_has_formed_a_cluster_of_its_own_is_met() {
        let net = MemoryNet::new();
        let seeds = ["a", "b", "c"];
        let a = node(&net, "a", &seeds, true).await;
        let b = node(&net, "b", &seeds, false).await;
        let mut peers = BTreeMap::new();
        a.core().ask_around(&mut peers).await;
        assert!(peers.is_empty(), "one is there, and one is in the cluster");
        // As it is started by mistake.
        let c = node(&net, "c", &[], true).await;
        for times in 1..=2 {
            for one in [&a, &b] {
                one.core().ask_around(&mut peers).await;
                assert_eq!(strangers(one).await, BTreeMap::from([("c".to_owned(), times)]));
            }
            assert_eq!(peers["c"].0, c.id());
        }
        assert!(strangers(&c).await.is_empty(), "it has no seeds");
        drop(c);
        // As it should be.
        net.crash(peers["c"]);
        let c = node(&net, "c", &seeds, false).await;
        a.core().ask_around(&mut peers).await;
        assert_eq!(strangers(&a).await["c"], 2);
        while a.cluster_size() < 3 {
            tokio::task::yield_now().await;
        }
        assert_eq!(c.cluster_size(), 3);
    }
}
