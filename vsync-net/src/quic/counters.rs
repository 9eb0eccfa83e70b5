//! Counting without locks.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use bytes::Bytes;
use quinn::Connection;

use crate::{Class, ClassStats, Stats};

#[derive(Default)]
struct ClassCounters {
    frames_sent: AtomicU64,
    bytes_sent: AtomicU64,
    frames_received: AtomicU64,
    bytes_received: AtomicU64,
}

#[derive(Default)]
pub(super) struct Counters {
    classes: [ClassCounters; 3],
    dropped: AtomicU64,
    reconnects: AtomicU64,
    refused: AtomicU64,
    violations: AtomicU64,
    /// Of connections that are closed.
    wire_sent: AtomicU64,
    sends: AtomicU64,
    wire_received: AtomicU64,
}

impl Counters {
    pub(super) fn sent(&self, class: Class, bytes: usize) {
        let counters = &self.classes[class.index()];
        counters.frames_sent.fetch_add(1, Relaxed);
        counters.bytes_sent.fetch_add(bytes as u64, Relaxed);
    }

    pub(super) fn received(&self, class: Class, frames: &[Bytes]) {
        let counters = &self.classes[class.index()];
        counters.frames_received.fetch_add(frames.len() as u64, Relaxed);
        let bytes: usize = frames.iter().map(Bytes::len).sum();
        counters.bytes_received.fetch_add(bytes as u64, Relaxed);
    }

    pub(super) fn dropped(&self, frames: u64) {
        self.dropped.fetch_add(frames, Relaxed);
    }

    pub(super) fn reconnected(&self) {
        self.reconnects.fetch_add(1, Relaxed);
    }

    pub(super) fn refused(&self) {
        self.refused.fetch_add(1, Relaxed);
    }

    pub(super) fn violation(&self) {
        self.violations.fetch_add(1, Relaxed);
    }

    /// Keeps what a connection that is closed has used.
    pub(super) fn closed(&self, connection: &Connection) {
        let stats = connection.stats();
        self.wire_sent.fetch_add(stats.udp_tx.bytes, Relaxed);
        self.sends.fetch_add(stats.udp_tx.ios, Relaxed);
        self.wire_received.fetch_add(stats.udp_rx.bytes, Relaxed);
    }

    /// The counts now, with what the connections that are up have used.
    pub(super) fn stats<'a>(&self, up: impl Iterator<Item = &'a Connection>) -> Stats {
        let mut stats = Stats {
            classes: std::array::from_fn(|index| {
                let counters = &self.classes[index];
                ClassStats {
                    frames_sent: counters.frames_sent.load(Relaxed),
                    bytes_sent: counters.bytes_sent.load(Relaxed),
                    frames_received: counters.frames_received.load(Relaxed),
                    bytes_received: counters.bytes_received.load(Relaxed),
                }
            }),
            dropped: self.dropped.load(Relaxed),
            connections: 0,
            reconnects: self.reconnects.load(Relaxed),
            refused: self.refused.load(Relaxed),
            violations: self.violations.load(Relaxed),
            wire_sent: self.wire_sent.load(Relaxed),
            sends: self.sends.load(Relaxed),
            wire_received: self.wire_received.load(Relaxed),
        };
        for connection in up {
            let used = connection.stats();
            stats.connections += 1;
            stats.wire_sent += used.udp_tx.bytes;
            stats.sends += used.udp_tx.ios;
            stats.wire_received += used.udp_rx.bytes;
        }
        stats
    }
}
