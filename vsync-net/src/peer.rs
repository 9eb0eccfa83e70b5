//! Peers, traffic classes, and what a transport tells its one consumer.

use std::fmt;

use bytes::Bytes;

/// One start of one process: drawn at random when its transport starts, never used again.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerId(pub u64);

impl fmt::Display for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// The traffic classes: a stream each, so that none waits behind a lost packet or a long frame of
/// another. Frames of one class are in order while the connection lives; across classes there is
/// no order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// View changes, acknowledgements, liveness: goes before everything else.
    Control,
    /// Updates.
    Updates,
    /// Checkpoints: takes what the others leave.
    Bulk,
}

impl Class {
    /// All classes, the most urgent first.
    pub const ALL: [Self; 3] = [Self::Control, Self::Updates, Self::Bulk];

    /// The class's place in [`Class::ALL`].
    pub const fn index(self) -> usize {
        self as usize
    }
}

/// Who a peer is, as it says in its greeting (and, over QUIC, as its certificate confirms).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerInfo {
    /// This start of this process.
    pub id: PeerId,
    /// The name it was configured with; it survives restarts.
    pub name: String,
    /// Where others dial it: what it advertises, else where we see it.
    pub addr: String,
    /// Opaque here; by agreement 0 is a node and 1 a client.
    pub role: u8,
}

/// What a transport tells its consumer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The connection to this peer is up, for the first time or again.
    Up(PeerInfo),
    /// A frame has come.
    Frame {
        /// Its sender.
        peer: PeerId,
        /// Its class.
        class: Class,
        /// Its bytes, just as they were sent.
        frame: Bytes,
    },
    /// The connection broke; a suffix of what was sent on it may be lost.
    Down {
        /// The peer at its other end.
        peer: PeerId,
    },
    /// The peer is known to have ended: its process is gone, or it has said farewell. Nobody will
    /// come back under this identity, and the transport has stopped dialling it.
    Ended {
        /// The peer.
        peer: PeerId,
    },
}
