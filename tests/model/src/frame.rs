//! Frames as the model's network carries them: bytes of the engine, and their digest.

use std::fmt;
use std::hash::{Hash, Hasher};

use bytes::Bytes;
use vsync_core::engine;
use vsync_core::wire::ViewNumber;
use xxhash_rust::xxh3::xxh3_64;

/// How many streams a connection has.
pub const STREAMS: usize = 3;

/// The answer to a probe, "node 1 was not heard lately": says nothing but that its sender lives.
pub const SIGN_OF_LIFE: &[u8] = &[2, 1, 0];

/// A frame under way.
#[derive(Clone)]
pub struct Frame {
    /// Exactly what the engine put out.
    pub bytes: Bytes,
    digest: u64,
}

/// The messages of a group by their place in the wire format. Only for people's eyes, except that
/// heartbeats are told from the rest.
const MESSAGES: [&str; 17] = [
    "Data",
    "Sync",
    "Prepare",
    "Promise",
    "Reject",
    "Fetch",
    "Fetched",
    "Propose",
    "Accepted",
    "Install",
    "Installed",
    "Nudge",
    "Join",
    "Refused",
    "Excluded",
    "NotHere",
    "Chunk",
];

impl Frame {
    /// A frame as it left the engine.
    pub fn new(bytes: Bytes) -> Self {
        let digest = xxh3_64(&bytes);
        Frame { bytes, digest }
    }

    /// Whether it is only a sign of life: the model's network does not carry these.
    pub fn is_heartbeat(&self) -> bool {
        self.bytes.first() == Some(&0)
    }

    /// Whether it only confirms an install.
    pub fn is_confirmation(&self) -> bool {
        self.name() == "Installed"
    }

    /// Whether it belongs to a view before `view`.
    pub fn is_before(&self, view: ViewNumber) -> bool {
        let mut numbers = Varints(&self.bytes);
        // Kind, group, generation, view; 0 where the sender is in none.
        numbers.next() == Some(3) && numbers.nth(2).is_some_and(|own| own > 0 && own < view)
    }

    /// What it is, for a trace.
    pub fn name(&self) -> &'static str {
        let mut numbers = Varints(&self.bytes);
        match numbers.next() {
            Some(0) => "Heartbeat",
            Some(1) => "Probe",
            Some(2) => "Heard",
            // Group, generation, view and entry come before the message.
            _ => {
                numbers.nth(4).and_then(|kind| MESSAGES.get(kind as usize)).copied().unwrap_or("?")
            }
        }
    }
}

/// The leading numbers of a postcard encoding.
struct Varints<'a>(&'a [u8]);

impl Iterator for Varints<'_> {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let (&byte, rest) = self.0.split_first()?;
            self.0 = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }
}

impl fmt::Debug for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl PartialEq for Frame {
    fn eq(&self, other: &Self) -> bool {
        self.bytes == other.bytes
    }
}

impl Eq for Frame {}

impl Hash for Frame {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.digest.hash(state);
    }
}

/// The stream that carries a class of traffic: each is first in, first out, on its own.
pub fn stream(traffic: engine::Traffic) -> usize {
    match traffic {
        engine::Traffic::Control => 0,
        engine::Traffic::Updates => 1,
        engine::Traffic::Bulk => 2,
    }
}
