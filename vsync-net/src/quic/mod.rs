//! The transport over QUIC.
//!
//! Who does what: `identity` makes certificates of the secret, `socket` and `tuning` set up quinn,
//! `dial` connects and accepts, `greet` runs the greeting of `hello`, `table` decides which
//! connection is the pair's, `link` moves frames, `keep` redials, `liveness` learns of a process's
//! end from its kernel.

mod config;
mod counters;
mod dial;
pub(crate) mod frames;
mod greet;
mod hello;
mod identity;
mod keep;
mod link;
mod liveness;
mod registry;
mod socket;
mod table;
#[cfg(test)]
mod tests;
mod tuning;

use std::net::SocketAddr;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use quinn::{Endpoint, TokioRuntime};
use ring::rand::{SecureRandom, SystemRandom};
use tokio::sync::Notify;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use config::{Mtu, QuicConfig};

use crate::inbox::Inbox;
use crate::{Class, ConnectError, Event, PeerId, PeerInfo, StartError, Stats, Transport};
use counters::Counters;
use hello::{Hello, Token};
use identity::Identity;
use link::Close;
use socket::Sockets;
use table::Table;
use tuning::Settings;

/// The transport over QUIC. Dropping it ends it at once; [`Transport::shutdown`] ends it in order.
pub struct Quic {
    shared: Arc<Shared>,
}

/// What all tasks of a transport share.
struct Shared {
    local: PeerInfo,
    hello: Hello,
    config: QuicConfig,
    endpoint: Endpoint,
    bound: SocketAddr,
    settings: Settings,
    table: RwLock<Table>,
    /// A connection has come up or gone down.
    changed: Notify,
    inbox: Inbox,
    counters: Counters,
    /// The tasks that write: what a shutdown waits for first.
    writers: TaskTracker,
    /// All other tasks.
    tasks: TaskTracker,
    /// The end of everything.
    stop: CancellationToken,
}

fn random<const N: usize>() -> Result<[u8; N], StartError> {
    let mut bytes = [0; N];
    SystemRandom::new()
        .fill(&mut bytes)
        .map_err(|_| StartError::Tls { reason: "the system gives no random bytes".into() })?;
    Ok(bytes)
}

impl Quic {
    /// Binds the port and starts to accept peers. Runs on the tokio runtime it is called on.
    pub async fn start(config: QuicConfig) -> Result<Self, StartError> {
        let id = match config.id {
            Some(id) => id,
            None => PeerId(u64::from_be_bytes(random()?)),
        };
        let identity = Identity::new(&config.secret, &config.also_accept, &config.name, id)?;
        let settings = Settings::new(&config, &identity)?;
        let Sockets { udp, tcp, addr: bound } = Sockets::bind(&config).await?;
        let socket_error = |error: std::io::Error| StartError::Socket {
            addr: config.listen.clone(),
            reason: error.to_string(),
        };
        let endpoint = Endpoint::new(
            tuning::endpoint()?,
            Some((*settings.server(bound.ip())).clone()),
            udp,
            Arc::new(TokioRuntime),
        )
        .map_err(socket_error)?;
        let tcp = tcp.map(tokio::net::TcpListener::from_std).transpose().map_err(socket_error)?;
        let token = tcp.as_ref().map(|_| random()).transpose()?;
        let (local, hello) = present(&config, id, bound, token);
        tracing::info!(name = local.name, %id, addr = local.addr, "transport started");

        let shared = Arc::new(Shared {
            local,
            hello,
            config,
            endpoint,
            bound,
            settings,
            table: RwLock::default(),
            changed: Notify::new(),
            inbox: Inbox::default(),
            counters: Counters::default(),
            writers: TaskTracker::new(),
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
        });
        shared.spawn(dial::accept(shared.clone()));
        if let Some(tcp) = tcp {
            shared.spawn(liveness::listen(shared.clone(), tcp));
        }
        Ok(Self { shared })
    }

    /// The socket address that is bound: tells the port where port 0 was asked for.
    pub fn bound(&self) -> SocketAddr {
        self.shared.bound
    }
}

/// How this process presents itself: to its own runtime, and in its greeting.
fn present(
    config: &QuicConfig,
    id: PeerId,
    bound: SocketAddr,
    token: Option<Token>,
) -> (PeerInfo, Hello) {
    let advertised = match &config.advertise {
        Some(addr) => addr.clone(),
        // "All interfaces" is no address to dial: peers take the one they see.
        None if bound.ip().is_unspecified() => String::new(),
        None => bound.to_string(),
    };
    let addr = if advertised.is_empty() { bound.to_string() } else { advertised.clone() };
    let local = PeerInfo { id, name: config.name.clone(), addr, role: config.role };
    let hello = Hello {
        versions: config.versions,
        id,
        role: config.role,
        name: config.name.clone(),
        addr: advertised,
        token,
    };
    (local, hello)
}

impl Shared {
    /// Runs a task until the end of the transport at the latest.
    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let stop = self.stop.clone();
        self.tasks.spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = task => {}
            }
        });
    }

    fn read(&self) -> RwLockReadGuard<'_, Table> {
        self.table.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Table> {
        self.table.write().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Transport for Quic {
    fn local(&self) -> &PeerInfo {
        &self.shared.local
    }

    async fn connect(&self, addr: &str) -> Result<PeerInfo, ConnectError> {
        let known = self.shared.connected_at(addr);
        let info = match known {
            Some(info) => info,
            None => dial::dial(&self.shared, addr).await?,
        };
        keep::keep(&self.shared, info.id, addr);
        Ok(info)
    }

    fn want(&self, peer: PeerId, addr: &str) {
        keep::keep(&self.shared, peer, addr);
    }

    fn forget(&self, peer: PeerId) {
        self.shared.forget(peer);
    }

    fn send(&self, peer: PeerId, class: Class, frame: Bytes) {
        let shared = &self.shared;
        let bytes = frame.len();
        if bytes > shared.config.max_frame {
            tracing::error!(bytes, limit = shared.config.max_frame, "frame too long to send");
            shared.counters.dropped(1);
            return;
        }
        let table = shared.read();
        match table.link(peer) {
            Some(link) if link.send(class, frame) => {
                shared.counters.sent(class, bytes);
                if link.backlog() > shared.config.max_backlog {
                    tracing::warn!(%peer, "too far behind: disconnected");
                    Close::Backlog.close(&link.connection);
                }
            }
            _ => shared.counters.dropped(1),
        }
    }

    fn backlog(&self, peer: PeerId) -> usize {
        self.shared.read().link(peer).map_or(0, |link| link.backlog())
    }

    async fn next(&self) -> Option<Event> {
        self.shared.inbox.next().await
    }

    fn try_next(&self) -> Option<Event> {
        self.shared.inbox.try_next()
    }

    async fn shutdown(&self, deadline: Duration) {
        let shared = &self.shared;
        let links = shared.close_table();
        for link in &links {
            link.finish();
        }
        shared.writers.close();
        let begun = tokio::time::Instant::now();
        if timeout(deadline, shared.writers.wait()).await.is_err() {
            tracing::warn!("not everything was delivered before the deadline");
        }
        self.end();
        // The farewell still has to leave; give it a moment even where the deadline is used up.
        let left = deadline.saturating_sub(begun.elapsed()).max(Duration::from_millis(200));
        let _ = timeout(left, shared.endpoint.wait_idle()).await;
        shared.tasks.close();
        let _ = timeout(Duration::from_secs(1), shared.tasks.wait()).await;
        shared.inbox.close();
    }

    fn stats(&self) -> Stats {
        let table = self.shared.read();
        self.shared.counters.stats(table.links().map(|link| &link.connection))
    }
}

impl Quic {
    fn end(&self) {
        self.shared.stop.cancel();
        self.shared.endpoint.close(Close::Ended.code(), Close::Ended.words());
    }
}

impl Drop for Quic {
    fn drop(&mut self) {
        self.end();
        self.shared.inbox.close();
    }
}
