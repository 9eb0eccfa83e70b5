//! What the members of a replicated log have in common here: batches of updates as the log's
//! entries, the state machine that applies them, and the sender that keeps a window full.

use std::collections::VecDeque;
use std::hint::black_box;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::latency::Latencies;
use crate::report::{Report, cpu};

/// Updates of one sender, one after another. To clone it costs nothing, so that a log may.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Batch {
    pub(crate) sender: u64,
    /// The first one's number among the sender's.
    pub(crate) first: u64,
    /// Each a string in postcard.
    #[serde(with = "raw")]
    pub(crate) updates: Bytes,
}

/// `Bytes` as bytes: its own feature for this would build half of the dependencies anew.
mod raw {
    use std::fmt;

    use bytes::Bytes;
    use serde::de::{Deserializer, Error, Visitor};
    use serde::ser::Serializer;

    pub(super) fn serialize<S: Serializer>(bytes: &Bytes, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_bytes(bytes)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Bytes, D::Error> {
        from.deserialize_bytes(Raw)
    }

    struct Raw;

    impl Visitor<'_> for Raw {
        type Value = Bytes;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("bytes")
        }

        fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Bytes, E> {
            Ok(Bytes::copy_from_slice(bytes))
        }
    }
}

/// The state machine: counts what it is sent, like ours.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Sink {
    pub(crate) updates: u64,
    pub(crate) bytes: u64,
}

impl Sink {
    /// Applies one update after another.
    pub(crate) fn apply(&mut self, batch: &Batch) -> Result<(), String> {
        let mut rest = &batch.updates[..];
        while !rest.is_empty() {
            let (payload, after): (String, _) =
                postcard::take_from_bytes(rest).map_err(|error| error.to_string())?;
            // A state machine is handed a string, as ours is: that only its length is used must not
            // let the compiler spare it.
            self.bytes += black_box(payload).len() as u64;
            self.updates += 1;
            rest = after;
        }
        Ok(())
    }
}

/// A sender: how much it may have in flight, and what is.
pub(crate) struct Load {
    sender: u64,
    payload: String,
    window: usize,
    /// The fewest and the most updates of a batch.
    batch: (usize, usize),
    /// Updates sent so far.
    pub(crate) sent: u64,
    in_flight: usize,
    batches: VecDeque<Flight>,
    /// Of updates that were sent from `since` on.
    pub(crate) latencies: Latencies,
    since: Option<Instant>,
}

/// A batch whose commit is awaited.
struct Flight {
    first: u64,
    updates: usize,
    begun: Instant,
}

impl Load {
    /// Keeps `window` updates in flight.
    pub(crate) fn new(sender: usize, size: usize, window: usize, batch: (usize, usize)) -> Load {
        Load {
            sender: sender as u64,
            payload: "x".repeat(size),
            window,
            batch,
            sent: 0,
            in_flight: 0,
            batches: VecDeque::new(),
            latencies: Latencies::new(),
            since: None,
        }
    }

    /// Times are kept of what is sent from now on.
    pub(crate) fn measure(&mut self, now: Instant) {
        self.since = Some(now);
    }

    /// The next batch, where the window has room for one.
    pub(crate) fn next(&mut self, now: Instant) -> Result<Option<Batch>, String> {
        let free = self.window - self.in_flight;
        if free < self.batch.0 {
            return Ok(None);
        }
        let count = free.min(self.batch.1);
        let mut updates = Vec::with_capacity(count * (self.payload.len() + 5));
        for _ in 0..count {
            // Each update is a string of its own, as an application would have it.
            let payload = black_box(self.payload.clone());
            updates = postcard::to_extend(&payload, updates).map_err(|error| error.to_string())?;
        }
        let first = self.sent;
        self.batches.push_back(Flight { first, updates: count, begun: now });
        self.sent += count as u64;
        self.in_flight += count;
        Ok(Some(Batch { sender: self.sender, first, updates: updates.into() }))
    }

    /// Whether a batch is this sender's.
    pub(crate) fn sent_this(&self, batch: &Batch) -> bool {
        batch.sender == self.sender
    }

    /// The commit of this sender's batch that begins with `first` is known.
    pub(crate) fn committed(&mut self, first: u64, now: Instant) {
        // The first, unless a change of leader put them in another order.
        let place = self.batches.iter().position(|flight| flight.first == first);
        let Some(flight) = place.and_then(|place| self.batches.remove(place)) else { return };
        self.in_flight -= flight.updates;
        if self.since.is_some_and(|since| since <= flight.begun) {
            for _ in 0..flight.updates {
                self.latencies.record(now - flight.begun);
            }
        }
    }

    /// Whether nothing is in flight.
    pub(crate) fn idle(&self) -> bool {
        self.batches.is_empty()
    }
}

/// What stood at the beginning of the measured window.
pub(crate) struct Gauge {
    begun: Instant,
    cpu: f64,
    applied: u64,
    wire: u64,
}

impl Gauge {
    /// The window begins.
    pub(crate) fn begin(applied: u64, wire: u64) -> Gauge {
        Gauge { begun: Instant::now(), cpu: cpu(), applied, wire }
    }

    /// The window ends; what was sent, the times and the rest are not known yet.
    pub(crate) fn end(&self, applied: u64, wire: u64) -> Report {
        Report {
            seconds: self.begun.elapsed().as_secs_f64(),
            applied: applied - self.applied,
            wire: wire - self.wire,
            cpu: cpu() - self.cpu,
            reliable: true,
            ..Report::default()
        }
    }
}
