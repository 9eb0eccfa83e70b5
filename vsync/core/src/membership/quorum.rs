//! What a majority is: the one place.

use crate::bugs::{Bug, Bugs};
use crate::wire::{Rank, View};

/// Whether the ranks in `has` are a quorum of the view: more than half of its active members, or
/// exactly half with the lowest-ranked among them. Any two quorums intersect. Joining members never
/// count (S9).
pub(crate) fn is_quorum(view: &View, bugs: Bugs, has: impl Fn(Rank) -> bool) -> bool {
    let count = (0..view.active).filter(|&rank| has(rank)).count();
    2 * count > view.active
        || (2 * count == view.active && view.active > 0 && (has(0) || bugs.has(Bug::TieForAnybody)))
}
