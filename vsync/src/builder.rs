//! [`NodeBuilder`]: what a node is started with.

use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use vsync_net::{Quic, QuicConfig, Secret, Transport, check_address};

use crate::error::StartError;
use crate::node::Node;
use crate::runtime::replica::RING;
use crate::steward::Limits;

/// The shortest failure timeout, in which five heartbeats are sent, and the longest.
const SILENCE: RangeInclusive<Duration> = Duration::from_millis(10)..=Duration::from_secs(3600);
/// Longest update unless configured otherwise.
const UPDATE: usize = 1 << 20;
/// Flow control window of a group unless configured otherwise, and the largest: all of it may have
/// to be sent again in one frame.
const WINDOW: usize = 8 << 20;
/// What a joiner holds unless configured otherwise.
const JOIN_BUFFER: usize = 256 << 20;

/// What a node is started with. Made by [`Node::builder`].
#[derive(Debug)]
#[must_use = "a builder does nothing until `start`"]
pub struct NodeBuilder {
    pub(crate) name: String,
    listen: String,
    advertise: Option<String>,
    secret: Option<Result<Secret, String>>,
    pub(crate) seeds: Vec<String>,
    pub(crate) bootstrap: bool,
    pub(crate) expect: Option<usize>,
    pub(crate) history: Option<PathBuf>,
    pub(crate) patience: Duration,
    pub(crate) limits: Limits,
    pub(crate) silence: Option<Duration>,
    pub(crate) slow_member: Option<Duration>,
}

impl NodeBuilder {
    pub(crate) fn new() -> Self {
        NodeBuilder {
            name: "node".to_owned(),
            listen: "127.0.0.1:7400".to_owned(),
            advertise: None,
            secret: None,
            seeds: Vec::new(),
            bootstrap: false,
            expect: None,
            history: None,
            patience: Duration::from_secs(15),
            limits: Limits {
                update: UPDATE,
                window: WINDOW,
                join_buffer: JOIN_BUFFER,
                events: RING,
            },
            silence: None,
            slow_member: None,
        }
    }

    /// The node's name, for people: it stays the same when the process is started again.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// The address to listen on; `127.0.0.1:7400` by default. Port 0 takes a free one. Who listens
    /// on all interfaces must [`advertise`](NodeBuilder::advertise), too.
    pub fn listen(mut self, address: impl Into<String>) -> Self {
        self.listen = address.into();
        self
    }

    /// The address by which others reach this node; where it listens, by default.
    pub fn advertise(mut self, address: impl Into<String>) -> Self {
        self.advertise = Some(address.into());
        self
    }

    /// Addresses, `host:port`, of nodes that may be in the cluster already. The node's own may be
    /// among them, but not alone.
    pub fn seeds<A: Into<String>>(mut self, seeds: impl IntoIterator<Item = A>) -> Self {
        self.seeds = seeds.into_iter().map(Into::into).collect();
        self
    }

    /// The cluster's secret: at least 16 bytes, the same at all nodes.
    pub fn secret(mut self, secret: impl AsRef<[u8]>) -> Self {
        self.secret = Some(Secret::new(secret).map_err(|error| error.to_string()));
        self
    }

    /// The file that holds the cluster's secret.
    pub fn secret_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.secret = Some(Secret::from_file(path.into()).map_err(|error| error.to_string()));
        self
    }

    /// The environment variable that holds the cluster's secret.
    pub fn secret_env(mut self, variable: &str) -> Self {
        self.secret = Some(Secret::from_env(variable).map_err(|error| error.to_string()));
        self
    }

    /// Forms a new cluster. Exactly one node of a new cluster says so.
    pub fn bootstrap(mut self) -> Self {
        self.bootstrap = true;
        self
    }

    /// Forms a new cluster together with the seeds, once `nodes` of them, this one included, wait
    /// for it. All of them say so, with the same number and seeds, and none of them says
    /// [`bootstrap`](NodeBuilder::bootstrap); a cluster that is there already is joined. Where too
    /// few come before the [`patience`](NodeBuilder::patience) is over,
    /// [`NotFormed`](StartError::NotFormed) says how many did and who was not reached.
    pub fn expect(mut self, nodes: usize) -> Self {
        self.expect = Some(nodes);
        self
    }

    /// Writes a history of everything this node does into this directory. Without it the
    /// environment variable `VSYNC_HISTORY` is looked at.
    pub fn history(mut self, directory: impl Into<PathBuf>) -> Self {
        self.history = Some(directory.into());
        self
    }

    /// How long [`start`](NodeBuilder::start) may take to find the cluster, and a group to be
    /// joined, where nothing else is said; 15 seconds by default.
    pub fn patience(mut self, limit: Duration) -> Self {
        self.patience = limit;
        self
    }

    /// Longest update in bytes; 1 MiB by default, and at most half of the window.
    pub fn max_update(mut self, bytes: usize) -> Self {
        self.limits.update = bytes;
        self
    }

    /// How many bytes of this node's updates may be under way in one group before `send` and calls
    /// wait; 8 MiB by default and at most. This is for long paths: where less keeps all members
    /// busy, less is used, down to a sixteenth, since what is under way delays view changes.
    pub fn window(mut self, bytes: usize) -> Self {
        self.limits.window = bytes;
        self
    }

    /// How many bytes of the last events are kept for clients, for each group whose type publishes
    /// them; 1 MiB by default. A subscriber that lags behind further misses the oldest. See
    /// [`RemoteGroup::events`](crate::RemoteGroup::events).
    pub fn event_buffer(mut self, bytes: usize) -> Self {
        self.limits.events = bytes;
        self
    }

    /// How long a peer may be silent before it is suspected, if nobody else hears it either; 500 ms
    /// by default. Heartbeats are sent five times in that time, and others are asked about whoever
    /// misses two of them. A peer that is heard more rarely than four times in that time gets more.
    ///
    /// Less than 10 ms and more than an hour are [refused](StartError::Config) at the start.
    pub fn failure_timeout(mut self, silence: Duration) -> Self {
        self.silence = Some(silence);
        self
    }

    /// How long the slowest member may hold up the others before it is evicted; 10 s by default.
    pub fn slow_member_timeout(mut self, limit: Duration) -> Self {
        self.slow_member = Some(limit);
        self
    }

    /// Starts the node: opens its endpoint, forms or joins the cluster.
    pub async fn start(mut self) -> Result<Node, StartError> {
        self.ways_in()?;
        self.timers()?;
        for address in self.seeds.iter().chain(&self.advertise) {
            check_address(address).map_err(|error| StartError::Config(error.to_string()))?;
        }
        let secret = self.secret.take().ok_or(StartError::NoSecret)?.map_err(StartError::Secret)?;
        let mut config = QuicConfig::new(self.name.clone(), self.listen.clone(), secret);
        config.advertise = self.advertise.clone();
        let transport = Quic::start(config).await.map_err(|e| StartError::Network(Box::new(e)))?;
        let address = &transport.local().addr;
        if address.parse::<SocketAddr>().is_ok_and(|address| address.ip().is_unspecified()) {
            return Err(StartError::Config(format!(
                "others cannot reach {address}: where a node listens on all interfaces, say \
                 `advertise` with the address by which they reach it"
            )));
        }
        self.over(Arc::new(transport)).await
    }

    /// Checks that what is said of the way into a cluster is one.
    fn ways_in(&self) -> Result<(), StartError> {
        match self.expect {
            Some(nodes) if self.bootstrap => Err(StartError::Config(format!(
                "`bootstrap` and expect({nodes}) exclude each other: with `bootstrap` this node \
                 forms the cluster alone, with `expect` together with its seeds"
            ))),
            Some(nodes) if self.seeds.is_empty() => Err(StartError::Config(format!(
                "expect({nodes}) without seeds: say `.seeds([...])` with the addresses of the \
                 {nodes} nodes, this one among them or not, the same at all of them"
            ))),
            None if !self.bootstrap && self.seeds.is_empty() => Err(StartError::NoSeeds),
            _ => Ok(()),
        }
    }

    /// Checks that heartbeats can keep up with the failure timeout, and that it ends.
    fn timers(&self) -> Result<(), StartError> {
        match self.silence {
            Some(silence) if silence < *SILENCE.start() => Err(StartError::Config(format!(
                "failure_timeout({silence:?}) is too short: five heartbeats are sent in that time, \
                 so it takes {:?} or more",
                SILENCE.start()
            ))),
            Some(silence) if silence > *SILENCE.end() => Err(StartError::Config(format!(
                "failure_timeout({silence:?}) is too long: nobody who vanishes would be missed \
                 before; it takes {:?} or less",
                SILENCE.end()
            ))),
            _ => Ok(()),
        }
    }

    /// Starts the node over a transport that is open already.
    pub(crate) async fn over(self, transport: Arc<dyn Transport>) -> Result<Node, StartError> {
        self.ways_in()?;
        self.timers()?;
        let own = &transport.local().addr;
        let all = 1 + self.seeds.iter().filter(|seed| *seed != own).count();
        if let Some(nodes) = self.expect.filter(|nodes| nodes * 2 <= all) {
            return Err(StartError::Config(format!(
                "expect({nodes}) must be more than half of the {all} nodes named: else two \
                 clusters could form"
            )));
        }
        if all == 1 && !self.bootstrap && self.expect != Some(1) {
            return Err(StartError::Config(format!(
                "the only seed, {own}, is this node itself: name the other nodes, or say \
                 `.bootstrap()` if this one forms the cluster"
            )));
        }
        if self.limits.update > self.limits.window / 2 {
            let (update, window) = (self.limits.update, self.limits.window);
            return Err(StartError::Config(format!(
                "an update of {update} bytes needs a window of twice that, not {window}"
            )));
        }
        if self.limits.window > WINDOW {
            let window = self.limits.window;
            return Err(StartError::Config(format!(
                "a window may have {WINDOW} bytes at most, not {window}"
            )));
        }
        Node::start(self, transport).await
    }
}
