//! What can happen in a world.

use bytes::Bytes;
use vsync_core::engine::{Input, Traffic};
use vsync_core::wire::GroupId;

/// Something that will happen.
#[derive(Debug)]
pub(crate) enum Event {
    /// A frame arrives.
    Frame {
        /// Sender and receiver.
        way: (usize, usize),
        /// Its stream.
        traffic: Traffic,
        /// Its connection.
        connection: u32,
        /// The bytes.
        frame: Bytes,
    },
    /// A host is given an input.
    Input {
        /// The host.
        host: usize,
        /// The input.
        input: Input,
    },
    /// An engine's deadline.
    Wake {
        /// The host.
        host: usize,
    },
    /// The network takes more from a host.
    Close {
        /// The host.
        host: usize,
    },
    /// A host's application has something to say.
    Work {
        /// The host.
        host: usize,
        /// The group.
        group: GroupId,
    },
    /// A host looks after its membership: asks to come in, or asks again.
    Join {
        /// The host.
        host: usize,
        /// The group.
        group: GroupId,
    },
    /// A pause is over.
    Resume {
        /// The host.
        host: usize,
    },
    /// A connection breaks.
    Cut {
        /// One end.
        a: usize,
        /// The other.
        b: usize,
        /// When it comes back.
        back: u64,
    },
    /// A broken connection comes back.
    Mend {
        /// One end.
        a: usize,
        /// The other.
        b: usize,
    },
    /// Something goes wrong.
    Fault,
    /// A node is told how late it may acknowledge.
    Relax,
    /// The doomed minority goes.
    Doom,
    /// Somebody looks how far things are.
    Look,
}
