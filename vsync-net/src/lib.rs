//! Opaque frames between authenticated peers: the lowest floor of vsync.
//!
//! A [`Transport`] knows peers, connections and frames; it knows no groups and no views. There are
//! two of them with one contract (and one test suite that runs on both):
//!
//! - [`Quic`]: QUIC with mutual TLS from one cluster [`Secret`], one connection per pair of
//!   processes, redialled while it is wanted, and a TCP *liveness link* beside it which the kernel
//!   closes within milliseconds when the peer's process dies;
//! - [`Memory`]: its twin inside one process, whose links a test cuts and heals at will.
//!
//! The contract, in short: between `Up` and `Down` of a peer the frames of one [`Class`] arrive
//! once, whole and in the order they were sent. `Down` may lose a suffix of each class. `send`
//! never waits, and what it takes is bounded by its caller through [`Transport::backlog`].

mod address;
mod error;
mod inbox;
mod memory;
mod peer;
mod quic;
mod secret;
mod stats;
mod transport;

pub use address::check_address;
pub use error::{ConnectError, SecretError, StartError};
pub use memory::{Memory, MemoryNet};
pub use peer::{Class, Event, PeerId, PeerInfo};
pub use quic::{Mtu, Quic, QuicConfig};
pub use secret::Secret;
pub use stats::{ClassStats, Stats};
pub use transport::Transport;

/// Frames on a stream, for the benchmark, which counts what they cost. Not for anybody else: it may
/// change in any release.
#[doc(hidden)]
pub mod __private {
    pub use crate::quic::frames::{Splitter, TooLong, gather};
}

/// The longest frame that a transport carries unless configured otherwise: 16 MiB of payload and
/// room for the headers of the floors above.
pub const MAX_FRAME: usize = (16 << 20) + (64 << 10);
