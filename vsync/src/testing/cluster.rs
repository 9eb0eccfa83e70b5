//! [`Cluster`]: nodes in one process, over a network in memory.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use vsync_net::{MemoryNet, PeerId, Transport};

use crate::builder::NodeBuilder;
use crate::client::Client;
use crate::error::{ClientError, StartError};
use crate::node::Node;

/// Nodes in one process, connected by a network in memory whose links a test cuts and heals.
pub struct Cluster {
    net: MemoryNet,
    nodes: Vec<Option<Node>>,
    peers: Vec<PeerId>,
    started: usize,
    configure: Configure,
}

/// What a test changes about the nodes of its cluster.
type Configure = Box<dyn Fn(NodeBuilder) -> NodeBuilder + Send + Sync>;

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cluster").field("nodes", &self.nodes).finish_non_exhaustive()
    }
}

impl Cluster {
    /// A cluster of `size` nodes, all of them in the directory.
    ///
    /// # Panics
    /// If a node does not start; nothing outside this process can keep it from that.
    pub async fn new(size: usize) -> Cluster {
        Cluster::with(size, |builder| builder).await
    }

    /// As [`Cluster::new`], with nodes configured by `configure`.
    ///
    /// # Panics
    /// If a node does not start.
    pub async fn with(
        size: usize,
        configure: impl Fn(NodeBuilder) -> NodeBuilder + Send + Sync + 'static,
    ) -> Cluster {
        let mut cluster = Cluster {
            net: MemoryNet::new(),
            nodes: Vec::new(),
            peers: Vec::new(),
            started: 0,
            configure: Box::new(configure),
        };
        for _ in 0..size {
            if let Err(error) = cluster.add().await {
                panic!("a node in memory did not start: {error}");
            }
        }
        cluster
    }

    /// A cluster that no node bootstraps: its nodes start together and expect each other.
    ///
    /// # Panics
    /// If a node does not start.
    pub async fn expecting(size: usize) -> Cluster {
        let mut cluster = Cluster::with(0, |builder| builder).await;
        let names: Vec<_> = (0..size).map(|index| format!("node{index}")).collect();
        let mut starting = tokio::task::JoinSet::new();
        for name in &names {
            let endpoint = cluster.net.endpoint(name);
            cluster.peers.push(endpoint.local().id);
            let builder = Node::builder().name(name).seeds(names.clone()).expect(size);
            let index = cluster.nodes.len();
            cluster.nodes.push(None);
            starting.spawn(async move { (index, builder.over(Arc::new(endpoint)).await) });
        }
        for (index, node) in starting.join_all().await {
            match node {
                Ok(node) => cluster.nodes[index] = Some(node),
                Err(error) => panic!("a node in memory did not start: {error}"),
            }
        }
        cluster.started = size;
        cluster
    }

    /// The nodes that have not been killed.
    pub fn nodes(&self) -> impl Iterator<Item = &Node> {
        self.nodes.iter().flatten()
    }

    /// The node that was started as number `index`.
    ///
    /// # Panics
    /// If it was killed, or never started.
    pub fn node(&self, index: usize) -> &Node {
        let node = self.nodes.get(index).and_then(Option::as_ref);
        node.unwrap_or_else(|| panic!("node {index} does not run"))
    }

    /// Starts one more node; its number.
    pub async fn add(&mut self) -> Result<usize, StartError> {
        let index = self.started;
        let name = format!("node{index}");
        self.started += 1;
        let endpoint = self.net.endpoint(&name);
        let id = endpoint.local().id;
        let seeds: Vec<_> = self.nodes().map(|node| node.address().to_owned()).collect();
        let mut builder = (self.configure)(Node::builder()).name(name).seeds(seeds);
        if index == 0 {
            builder = builder.bootstrap();
        }
        let node = builder.over(Arc::new(endpoint)).await?;
        self.nodes.push(Some(node));
        self.peers.push(id);
        Ok(index)
    }

    /// Ends a node as `kill -9` ends a process.
    pub fn kill(&mut self, index: usize) {
        self.net.crash(self.peers[index]);
        self.nodes[index] = None;
    }

    /// Takes a node out, to shut it down or to drop it.
    pub fn take(&mut self, index: usize) -> Option<Node> {
        self.nodes.get_mut(index)?.take()
    }

    /// Breaks the link between two nodes until it is healed.
    pub fn cut(&self, a: usize, b: usize) {
        self.net.cut(self.peers[a], self.peers[b]);
    }

    /// Mends the link between two nodes.
    pub fn heal(&self, a: usize, b: usize) {
        self.net.heal(self.peers[a], self.peers[b]);
    }

    /// A client, no member, that knows the nodes that run now.
    pub async fn client(&self) -> Result<Client, ClientError> {
        let seeds = self.nodes().map(|node| node.address().to_owned()).collect();
        Client::over(Arc::new(self.net.client("client")), seeds).await
    }

    /// The network.
    #[cfg(test)]
    pub(crate) fn net(&self) -> &MemoryNet {
        &self.net
    }

    /// Who the node that was started as number `index` is.
    #[cfg(test)]
    pub(crate) fn peer(&self, index: usize) -> PeerId {
        self.peers[index]
    }

    /// Shuts all nodes down, the youngest first.
    pub async fn shutdown(mut self, deadline: Duration) {
        for node in self.nodes.iter_mut().rev().filter_map(Option::take) {
            node.shutdown(deadline).await;
        }
    }
}
