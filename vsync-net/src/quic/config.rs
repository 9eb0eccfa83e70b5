//! What can be configured, and why one would.

use std::time::Duration;

use crate::{MAX_FRAME, PeerId, Secret};

/// The protocol versions that this build speaks: lowest and highest.
pub(super) const VERSIONS: (u16, u16) = (1, 1);

/// How large the UDP datagrams are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mtu {
    /// 6,500 bytes between two processes of one host, else what probing finds up to 6,550: 1,472
    /// with an Ethernet's frames of 1,500 bytes, more where all on the way carry larger ones.
    Auto,
    /// Starts with this size between any two processes (1,200 to 6,550): for networks that are
    /// known to carry it. Larger ones would make bursts that the kernel refuses.
    Fixed(u16),
}

/// The configuration of a [`Quic`](super::Quic) transport.
#[derive(Clone, Debug)]
pub struct QuicConfig {
    /// The process's name, the same after a restart: 1 to 64 bytes.
    pub name: String,
    /// Where to listen, `host:port`. Port 0 takes any that is free.
    pub listen: String,
    /// Where others dial this process, if not where it listens. Needed where it listens on all
    /// interfaces; without it others take the address that they see.
    pub advertise: Option<String>,
    /// Told to peers and otherwise opaque; by agreement 0 is a node and 1 a client.
    pub role: u8,
    /// The cluster's secret.
    pub secret: Secret,
    /// Other secrets whose holders are let in: the previous or the coming one during a rotation.
    pub also_accept: Vec<Secret>,
    /// The identity of this start; drawn at random by default.
    pub id: Option<PeerId>,
    /// How long a dial may take, greeting included.
    pub connect_timeout: Duration,
    /// How long a connection may be silent before it is taken for broken.
    pub idle_timeout: Duration,
    /// The longest frame, to send or to receive.
    pub max_frame: usize,
    /// How many bytes of one class of one peer may wait for the consumer before no more is read.
    pub inbox_bytes: usize,
    /// How many bytes may wait to be sent to one peer; a peer that is further behind is
    /// disconnected (`Down`), for nothing of a live connection is ever dropped.
    pub max_backlog: usize,
    /// The size of datagrams.
    pub mtu: Mtu,
    /// Whether the kernel splits large sends (GSO); some network cards do it wrong.
    pub gso: bool,
    /// The socket buffers to ask for; what the system grants is logged.
    pub socket_buffer: usize,
    /// Whether to hold a TCP connection beside QUIC, on the same port number, that tells the end
    /// of a peer's process within milliseconds. Off where only UDP passes.
    pub liveness: bool,
    /// The protocol versions to speak: for tests of their negotiation.
    #[doc(hidden)]
    pub versions: (u16, u16),
}

impl QuicConfig {
    /// A node's configuration with everything else at its default.
    pub fn new(name: impl Into<String>, listen: impl Into<String>, secret: Secret) -> Self {
        Self {
            name: name.into(),
            listen: listen.into(),
            advertise: None,
            role: 0,
            secret,
            also_accept: Vec::new(),
            id: None,
            connect_timeout: Duration::from_secs(3),
            idle_timeout: Duration::from_secs(10),
            max_frame: MAX_FRAME,
            inbox_bytes: 8 << 20,
            max_backlog: 1 << 30,
            mtu: Mtu::Auto,
            gso: true,
            socket_buffer: 8 << 20,
            liveness: true,
            versions: VERSIONS,
        }
    }
    /// The settings of the network between two processes of one host, by their names, in words: for
    /// whoever writes down what was measured with them.
    ///
    /// ```
    /// # fn main() -> Result<(), vsync_net::SecretError> {
    /// let secret = vsync_net::Secret::new("a secret of many words")?;
    /// let config = vsync_net::QuicConfig::new("m1", "127.0.0.1:0", secret);
    /// assert!(config.described().contains(&("GSO", "on".to_owned())));
    /// # Ok(())
    /// # }
    /// ```
    pub fn described(&self) -> Vec<(&'static str, String)> {
        super::tuning::described(self)
    }
}
