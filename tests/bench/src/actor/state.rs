//! What actors replicate: counts of updates, an order that can be compared, and as much state as a
//! run asks for; and what a member notes of it while it works.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::de::Visitor;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use vsync::{View, replicated};

/// Bytes of one piece of the state, at most.
const PIECE: u64 = 64 << 10;
/// Pieces that one update makes, at most: it holds up what comes after it.
const PIECES: u64 = 64;

/// Microseconds since the Unix epoch: all processes are on one host.
pub(crate) fn wall() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

/// What this process's replica has done: there is one per process. It is no part of the state.
pub(crate) static METER: Meter = Meter {
    applied: AtomicU64::new(0),
    ignored: AtomicU64::new(u64::MAX),
    deep: AtomicBool::new(false),
    marks: Mutex::new(Vec::new()),
};

/// See [`METER`].
pub(crate) struct Meter {
    applied: AtomicU64,
    ignored: AtomicU64,
    deep: AtomicBool,
    marks: Mutex<Vec<Mark>>,
}

/// Something that the replica did, and when.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Mark {
    pub(crate) at: u64,
    pub(crate) what: What,
}

/// What a replica does besides applying updates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum What {
    /// The state is being copied.
    Copy,
    /// It is copied.
    Copied,
    /// A checkpoint is being taken.
    Save,
    /// It is taken.
    Saved,
    /// A checkpoint is being loaded.
    Load,
    /// It is loaded.
    Loaded,
    /// The state was told of this view.
    Installed(u64),
}

impl Meter {
    /// Updates applied here, but for those of a sender that is ignored.
    pub(crate) fn applied(&self) -> u64 {
        self.applied.load(Relaxed)
    }

    /// Whose updates do not count.
    pub(crate) fn ignore(&self, sender: u64) {
        self.ignored.store(sender, Relaxed);
    }

    /// Copies of the state share nothing with it.
    pub(crate) fn copy_deep(&self) {
        self.deep.store(true, Relaxed);
    }

    /// What has been noted so far.
    pub(crate) fn marks(&self) -> MutexGuard<'_, Vec<Mark>> {
        self.marks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn mark(&self, what: What) {
        self.marks().push(Mark { at: wall(), what });
    }

    fn count(&self, sender: u8) {
        if u64::from(sender) != self.ignored.load(Relaxed) {
            // Nobody else writes.
            self.applied.store(self.applied.load(Relaxed) + 1, Relaxed);
        }
    }
}

/// The replicated type.
#[replicated]
#[derive(Clone, Debug, Default)]
pub(crate) struct Ballast {
    /// Updates of each sender.
    counts: Vec<u64>,
    bytes: u64,
    /// Of the senders, in the order of their updates.
    digest: u64,
    pieces: Pieces,
}

/// What replicas are compared by.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Summary {
    pub(crate) counts: Vec<u64>,
    pub(crate) digest: u64,
    /// Of the pieces.
    pub(crate) held: u64,
}

#[replicated]
impl Ballast {
    /// The load.
    #[update(order = "total")]
    pub(crate) fn load(&mut self, sender: u8, payload: String) {
        let place = usize::from(sender);
        if self.counts.len() <= place {
            self.counts.resize(place + 1, 0);
        }
        self.counts[place] += 1;
        self.bytes += payload.len() as u64;
        self.digest = self.digest.rotate_left(7).wrapping_add(u64::from(sender) + 1);
        METER.count(sender);
    }

    /// So many pieces more, made here: they do not travel.
    #[update(order = "total")]
    pub(crate) fn fill(&mut self, pieces: u64, size: u32) {
        for _ in 0..pieces {
            let key = self.pieces.0.len() as u64;
            // Not zeros: those would be memory that nobody has touched.
            let piece = vec![key as u8 | 1; size as usize];
            self.pieces.0.insert(key, Piece(Arc::new(piece)));
        }
    }

    /// To be compared.
    #[query]
    pub(crate) fn summary(&self) -> Summary {
        let held = self.pieces.0.values().map(|piece| piece.0.len() as u64).sum();
        Summary { counts: self.counts.clone(), digest: self.digest, held }
    }

    #[on_view]
    fn installed(&mut self, view: &View) {
        METER.mark(What::Installed(view.number()));
    }
}

/// The updates that make a state of so many bytes: pieces, and the size of each.
pub(crate) fn fills(bytes: u64) -> Vec<(u64, u32)> {
    let (mut left, mut fills) = (bytes, Vec::new());
    while left > 0 {
        let size = left.min(PIECE);
        let pieces = (left / size).min(PIECES);
        left -= pieces * size;
        fills.push((pieces, size as u32));
    }
    fills
}

/// The bulk of the state. It notes when it is copied, saved and loaded.
#[derive(Debug, Default)]
struct Pieces(BTreeMap<u64, Piece>);

impl Clone for Pieces {
    fn clone(&self) -> Pieces {
        METER.mark(What::Copy);
        let pieces = self.0.clone();
        METER.mark(What::Copied);
        Pieces(pieces)
    }
}

impl Serialize for Pieces {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        METER.mark(What::Save);
        let done = self.0.serialize(serializer);
        METER.mark(What::Saved);
        done
    }
}

impl<'a> Deserialize<'a> for Pieces {
    fn deserialize<D: Deserializer<'a>>(deserializer: D) -> Result<Self, D::Error> {
        METER.mark(What::Load);
        let done = BTreeMap::deserialize(deserializer).map(Pieces);
        METER.mark(What::Loaded);
        done
    }
}

/// Bytes that serde takes as bytes, not one by one.
struct Piece(Arc<Vec<u8>>);

impl Clone for Piece {
    fn clone(&self) -> Piece {
        match METER.deep.load(Relaxed) {
            true => Piece(Arc::new(self.0.to_vec())),
            false => Piece(Arc::clone(&self.0)),
        }
    }
}

impl fmt::Debug for Piece {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

impl Serialize for Piece {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'a> Deserialize<'a> for Piece {
    fn deserialize<D: Deserializer<'a>>(deserializer: D) -> Result<Self, D::Error> {
        struct Bytes;
        impl Visitor<'_> for Bytes {
            type Value = Piece;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("bytes")
            }

            fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Piece, E> {
                Ok(Piece(Arc::new(bytes.to_vec())))
            }
        }
        deserializer.deserialize_byte_buf(Bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fills_make_what_was_asked_for() {
        for bytes in [0, 1, 1024, PIECE, PIECE + 1, 5 << 20, (256 << 20) + 77] {
            let all = fills(bytes);
            assert_eq!(all.iter().map(|&(n, size)| n * u64::from(size)).sum::<u64>(), bytes);
            assert!(all.iter().all(|&(n, size)| n <= PIECES && u64::from(size) <= PIECE));
        }
    }
}
