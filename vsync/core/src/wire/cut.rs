//! [`Cut`]: one count per rank, plus the order extent.

use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

/// A prefix of every lane of one view: one count per rank, plus the *order extent*, the number of
/// positions known.
///
/// One type serves as causal stamp, acknowledgement, stability mark and final cut of a view. A
/// batch of order records alone has no sequence number, so the extent must be a coordinate of its
/// own (rule L5).
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Cut {
    /// Updates of each lane, by rank.
    pub counts: Vec<u64>,
    /// Positions of the total order.
    pub extent: u64,
}

impl Cut {
    /// The empty prefix of a view of `members` members.
    pub fn new(members: usize) -> Self {
        Cut { counts: alloc::vec![0; members], extent: 0 }
    }

    /// The count of `rank`; ranks that the cut does not know count 0.
    pub fn count(&self, rank: usize) -> u64 {
        self.counts.get(rank).copied().unwrap_or(0)
    }

    /// Whether every coordinate of `other` is at most this one's.
    pub fn covers(&self, other: &Cut) -> bool {
        self.extent >= other.extent
            && other.counts.iter().enumerate().all(|(rank, &count)| count <= self.count(rank))
    }

    /// Raises every coordinate to at least `other`'s; never lowers one. Ranks beyond this cut's are
    /// ignored. Returns whether anything rose.
    pub fn raise(&mut self, other: &Cut) -> bool {
        let mut rose = other.extent > self.extent;
        self.extent = self.extent.max(other.extent);
        for (mine, &theirs) in self.counts.iter_mut().zip(&other.counts) {
            rose |= theirs > *mine;
            *mine = (*mine).max(theirs);
        }
        rose
    }

    /// The number of updates inside.
    pub fn total(&self) -> u64 {
        self.counts.iter().sum()
    }
}
