//! [`Client`]: a process that is no member, and asks those that are.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::task::{AbortHandle, JoinSet};
use tokio::time::timeout;
use vsync_net::{Event, PeerInfo, Quic, QuicConfig, Secret, Transport};

use crate::error::ClientError;
use crate::remote::{Remote, RemoteGroup};
use crate::runtime::clock::micros;
use crate::runtime::rpc::Rpc;
use crate::runtime::tag;
use crate::session::Route;

/// The role that a client's transport announces.
pub(crate) const CLIENT: u8 = 1;
/// How long one dial may take.
const DIAL: Duration = Duration::from_secs(2);
/// How long a group remembers a client that is silent, unless told otherwise.
const LEASE: Duration = Duration::from_secs(300);

/// A process outside all groups. It knows some nodes of the cluster and finds the members of a
/// group through them. Cheap to clone.
///
/// Its handles have the update and query methods of members. An update is carried out once,
/// whichever members fail while it is asked for; a query reads this client's own writes.
///
/// ```
/// # use vsync::{replicated, testing::Cluster};
/// # #[replicated]
/// # #[derive(Default)]
/// # struct Desk { left: u32 }
/// #[replicated]
/// impl Desk {
///     #[update(order = "total")]
///     fn reserve(&mut self) -> Result<u32, String> {
///         self.left = self.left.checked_sub(1).ok_or("sold out")?;
///         Ok(self.left)
///     }
///
///     #[query]
///     fn left(&self) -> u32 {
///         self.left
///     }
/// }
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
/// # let cluster = Cluster::new(2).await;
/// # let member = cluster.node(0).group("desk").create(Desk { left: 2 }).await?;
/// let client = cluster.client().await?; // `Client::connect(seeds, secret)` over a real network
/// let desk: DeskClient = client.group("desk");
/// assert_eq!(desk.reserve().key("order 17").await?, 1);
/// assert_eq!(desk.reserve().key("order 17").await?, 1); // the same order
/// assert_eq!(desk.left().await?, 1);
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Client {
    connection: Arc<Connection>,
}

impl Client {
    /// Connects to the first of these addresses that answers. `secret` is the cluster's.
    pub async fn connect<A: Into<String>>(
        seeds: impl IntoIterator<Item = A>,
        secret: impl AsRef<[u8]>,
    ) -> Result<Client, ClientError> {
        let network = |error: vsync_net::StartError| ClientError::Network(Box::new(error));
        let secret = Secret::new(secret.as_ref()).map_err(|e| network(e.into()))?;
        let mut config = QuicConfig::new("client", "0.0.0.0:0", secret);
        config.role = CLIENT;
        let transport = Quic::start(config).await.map_err(network)?;
        Client::over(Arc::new(transport), seeds.into_iter().map(Into::into).collect()).await
    }

    /// A client over a transport that is open already.
    pub(crate) async fn over(
        transport: Arc<dyn Transport>,
        seeds: Vec<String>,
    ) -> Result<Client, ClientError> {
        let rpc = Arc::new(Rpc::new(Arc::clone(&transport), None));
        let listener = tokio::spawn(listen(Arc::clone(&transport), Arc::clone(&rpc)));
        let listener = listener.abort_handle();
        let (current, routes) = (Mutex::default(), Mutex::default());
        let lease = AtomicU64::new(micros(LEASE));
        let connection = Connection { transport, rpc, seeds, current, routes, lease, listener };
        connection.dial().await?;
        Ok(Client { connection: Arc::new(connection) })
    }

    /// The group of this name, by its client handle: `client.group::<SectorClient>("atc/paris")`.
    /// Whether it exists shows with the first question.
    pub fn group<C: Remote>(&self, name: &str) -> C {
        C::from(RemoteGroup::new(name.into(), Arc::clone(&self.connection)))
    }

    /// How long a group keeps the results of this client's updates while it hears nothing from the
    /// client: 5 minutes unless this says otherwise, a day at most. It holds for sessions that are
    /// opened from now on: the first update that a client asks a group for opens one, and each
    /// renews it.
    ///
    /// It has to be longer than the longest [`timeout`](crate::RemoteCall::timeout) of a call: a
    /// call that is still being tried when the session ends cannot learn what came of it.
    pub fn set_lease(&self, lease: Duration) {
        self.connection.lease.store(micros(lease), Ordering::Relaxed);
    }
}

/// What all handles of a client share.
pub(crate) struct Connection {
    transport: Arc<dyn Transport>,
    rpc: Arc<Rpc>,
    seeds: Vec<String>,
    /// Whom the last question went to.
    current: Mutex<Option<PeerInfo>>,
    /// What is known of each group.
    routes: Mutex<HashMap<String, Arc<Route>>>,
    /// Of sessions, in microseconds.
    lease: AtomicU64,
    listener: AbortHandle,
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("seeds", &self.seeds).finish_non_exhaustive()
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.listener.abort();
    }
}

/// Passes answers to who waits for them.
pub(crate) async fn listen(transport: Arc<dyn Transport>, rpc: Arc<Rpc>) {
    while let Some(event) = transport.next().await {
        match event {
            Event::Frame { peer, frame, .. } if frame.first() == Some(&tag::RPC) => {
                rpc.frame(peer, true, &frame[1..]);
            }
            Event::Down { peer } | Event::Ended { peer } => rpc.down(peer),
            Event::Up(peer) => rpc.up(peer.id),
            Event::Frame { .. } => {}
        }
    }
}

impl Connection {
    fn current(&self) -> Option<PeerInfo> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Who this client is.
    pub(crate) fn id(&self) -> u64 {
        self.transport.local().id.0
    }

    pub(crate) fn transport(&self) -> &dyn Transport {
        &*self.transport
    }

    pub(crate) fn rpc(&self) -> &Rpc {
        &self.rpc
    }

    pub(crate) fn lease(&self) -> u64 {
        self.lease.load(Ordering::Relaxed)
    }

    /// What is known of the group of this name.
    pub(crate) fn route(&self, group: &str) -> Arc<Route> {
        let mut routes = self.routes.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(routes.entry(group.to_owned()).or_default())
    }

    pub(crate) fn remember(&self, peer: Option<PeerInfo>) {
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = peer;
    }

    /// A connection to a node: the one that answered last, else the first seed that answers.
    pub(crate) async fn dial(&self) -> Result<PeerInfo, ClientError> {
        if let Some(peer) = self.current() {
            return Ok(peer);
        }
        let mut failed = Vec::new();
        let mut dials = JoinSet::new();
        for seed in self.seeds.iter().cloned() {
            let transport = Arc::clone(&self.transport);
            dials.spawn(async move {
                let dialled = timeout(DIAL, transport.connect(&seed)).await;
                (seed, dialled)
            });
        }
        while let Some(Ok((seed, dialled))) = dials.join_next().await {
            match dialled {
                Ok(Ok(peer)) => {
                    self.remember(Some(peer.clone()));
                    return Ok(peer);
                }
                Ok(Err(error)) => failed.push((seed, error.to_string())),
                Err(_) => failed.push((seed, "nobody answers there".to_owned())),
            }
        }
        Err(ClientError::Unreachable { seeds: failed })
    }
}
