//! What peers sent that was dropped: bytes from outside never fail a node, they are counted.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use vsync_core::engine::DropReason;

/// Counts by reason, since the node's start.
#[derive(Debug, Default)]
pub(crate) struct Dropped {
    counts: [AtomicU64; DropReason::ALL.len()],
}

impl Dropped {
    /// One more.
    pub(crate) fn count(&self, reason: DropReason) {
        self.counts[reason as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// The reasons that there were so far.
    pub(crate) fn read(&self) -> BTreeMap<DropReason, u64> {
        let counts = self.counts.iter().map(|count| count.load(Ordering::Relaxed));
        DropReason::ALL.into_iter().zip(counts).filter(|&(_, count)| count > 0).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_its_place() {
        for (place, reason) in DropReason::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, place, "{reason:?}");
            let dropped = Dropped::default();
            dropped.count(reason);
            assert_eq!(dropped.read(), BTreeMap::from([(reason, 1)]));
        }
    }
}
