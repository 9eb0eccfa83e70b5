//! [`Seen`]: how far into a group's history somebody has seen.

use serde::{Deserialize, Serialize};
use vsync_core::wire::Cut;

/// How far into a group's history a client has seen: by its own updates, and by what it was
/// answered.
///
/// A member that is asked to answer [at least](crate::RemoteQuery::at_least) from there answers
/// from a state that has all of that in it. It is a view and a count of updates per member of it:
/// small, and comparable at every member. It can be serialized, to be handed to another client.
/// Positions in a group that is gone are before everything in a later one of its name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// Which group of the name.
    generation: u32,
    view: u64,
    cut: Cut,
}

impl Seen {
    pub(crate) fn new(generation: u32, view: u64, cut: Cut) -> Seen {
        Seen { generation, view, cut }
    }

    /// Which view of which group this is in.
    pub(crate) fn place(&self) -> (u32, u64) {
        (self.generation, self.view)
    }

    /// What whoever has come to this view has seen.
    pub(crate) fn view_begun(&self) -> Seen {
        Seen::new(self.generation, self.view, Cut::default())
    }

    /// Whether who has seen this has seen all of `other`.
    pub fn covers(&self, other: &Seen) -> bool {
        // Of views before, all is known to who has installed this one.
        self.place() > other.place()
            || (self.place() == other.place() && self.cut.covers(&other.cut))
    }

    /// Sees as far as `other`, too.
    pub fn raise(&mut self, other: &Seen) {
        if self.place() < other.place() {
            *self = other.clone();
        } else if self.place() == other.place() {
            let ranks = self.cut.counts.len().max(other.cut.counts.len());
            self.cut.counts.resize(ranks, 0);
            self.cut.raise(&other.cut);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(generation: u32, view: u64, counts: &[u64], extent: u64) -> Seen {
        Seen::new(generation, view, Cut { counts: counts.to_vec(), extent })
    }

    #[test]
    fn a_later_view_covers_all_of_an_earlier_one() {
        let (early, late) = (seen(1, 4, &[900, 7], 50), seen(1, 5, &[0, 0], 0));
        assert!(late.covers(&early) && !early.covers(&late));
        assert!(seen(2, 1, &[0], 0).covers(&late), "another group of the name");
    }

    #[test]
    fn within_a_view_every_lane_counts() {
        let (mut one, two) = (seen(1, 4, &[9, 7], 3), seen(1, 4, &[8, 8, 1], 4));
        assert!(!one.covers(&two) && !two.covers(&one));
        one.raise(&two);
        assert_eq!(one, seen(1, 4, &[9, 8, 1], 4));
        assert!(one.covers(&two));
        one.raise(&seen(1, 3, &[99, 99], 99));
        assert_eq!(one, seen(1, 4, &[9, 8, 1], 4), "nothing new");
        let later = seen(1, 5, &[0], 0);
        one.raise(&later);
        assert_eq!(one, later);
        assert!(one.covers(&Seen::default()));
    }
}
