//! What callers have left for the driver, and when it goes: gathered as long as nobody waits, a few
//! groups at a time where the node is behind.

use std::collections::BTreeSet;
use std::ops::Bound;

use vsync_core::wire::GroupId;

use crate::runtime::outbox::Wait;

/// Updates that nobody waits for are gathered up to this many bytes, as long as more come or there
/// is more to take in; up to so many times as much if they are spread over groups.
const GATHER: usize = 60 * 1024;
const SPREAD: usize = 16;
/// But not for more turns than these.
const TURNS: u32 = 32;
/// Turns of the other tasks without anything more, until it goes. Two: the runtime may let this
/// task go first once.
const IDLE: u32 = 2;
/// Groups that are submitted for in one turn while frames wait to be taken in: what one of them
/// sends brings back more frames than one, so a node that sends to a thousand groups would fall
/// behind what comes in until it hears nobody in time. Those that wait gather more meanwhile, for
/// the same cost.
const CROWDED: usize = 4;

/// Groups whose callers have left updates that are not submitted yet.
#[derive(Default)]
pub(super) struct Left {
    groups: BTreeSet<GroupId>,
    /// The last of them that was taken, where others had to wait.
    served: Option<GroupId>,
    /// How it is waited for more; `None` if it is not.
    gathered: Option<Gathered>,
    /// Bytes that were submitted and have not gone out yet.
    open: usize,
    /// Somebody waits who has left nothing.
    hurried: bool,
}

/// Updates that are left to gather.
#[derive(Clone, Copy, Default)]
struct Gathered {
    /// How many bytes they were when they were last looked at.
    bytes: usize,
    /// For how many turns of the others that has been all.
    idle: u32,
    /// For how many turns they have been waited for.
    turns: u32,
}

impl Left {
    /// There are updates of this group.
    pub(super) fn add(&mut self, group: GroupId) {
        self.groups.insert(group);
    }

    /// Whether more is waited for, for no longer than a few turns.
    pub(super) fn is_gathering(&self) -> bool {
        self.gathered.is_some()
    }

    /// The groups in which somebody waits for no more than that an update is applied here. That
    /// takes a submission, but nothing has to go out for it.
    pub(super) fn waiting_here(&self, left: impl Fn(GroupId) -> (usize, Wait)) -> Vec<GroupId> {
        let waits = |group: &&GroupId| left(**group).1 == Wait::Here;
        self.groups.iter().filter(waits).copied().collect()
    }

    /// So many bytes were submitted that have not gone out yet.
    pub(super) fn submitted(&mut self, bytes: usize) {
        self.open += bytes;
    }

    /// Somebody waits for others who has left nothing here, such as for a flush.
    pub(super) fn hurry(&mut self) {
        self.hurried = true;
    }

    /// All that was submitted has gone out.
    pub(super) fn gone(&mut self) {
        (self.open, self.hurried) = (0, false);
    }

    /// Whether to let callers leave more before their updates go out: not where one of them waits
    /// for others, and only as long as more comes. What a batch costs is then shared by all of it
    /// (Nagle's idea, without his timer: an idle sender's update goes out after two turns of the
    /// others).
    ///
    /// `left` tells how many bytes a group's callers have left, and what they wait for.
    pub(super) fn gathers(&mut self, busy: bool, left: impl Fn(GroupId) -> (usize, Wait)) -> bool {
        let Gathered { bytes: before, idle, turns } = self.gathered.take().unwrap_or_default();
        if self.hurried {
            return false;
        }
        let mut bytes = self.open;
        for (more, wait) in self.groups.iter().map(|&group| left(group)) {
            if wait == Wait::Others {
                return false;
            }
            bytes += more;
        }
        let idle = if busy || bytes > before { 0 } else { idle + 1 };
        let most = GATHER * self.groups.len().clamp(1, SPREAD);
        let more = bytes > 0 && bytes < most && idle < IDLE && turns < TURNS;
        self.gathered = more.then_some(Gathered { bytes, idle, turns: turns + 1 });
        more
    }

    /// Takes the groups whose turn it is: all of them, or where the node is behind with what it
    /// receives, a few, and the next ones the next time.
    pub(super) fn take(&mut self, behind: bool) -> Vec<GroupId> {
        self.gathered = None;
        if !behind || self.groups.len() <= CROWDED {
            return std::mem::take(&mut self.groups).into_iter().collect();
        }
        let after = self.served.map_or(Bound::Unbounded, Bound::Excluded);
        let beyond = self.groups.range((after, Bound::Unbounded)).chain(&self.groups);
        let next: Vec<GroupId> = beyond.take(CROWDED).copied().collect();
        for group in &next {
            self.groups.remove(group);
            self.served = Some(*group);
        }
        next
    }
}

#[cfg(test)]
mod tests {
    use vsync_core::wire::GroupId;

    use super::{CROWDED, GATHER, IDLE, Left, TURNS};
    use crate::runtime::outbox::Wait;

    fn left(groups: u64) -> Left {
        let mut left = Left::default();
        (1..=groups).for_each(|group| left.add(GroupId(group)));
        left
    }

    #[test]
    fn whoever_is_behind_submits_for_a_few_groups_in_turn() {
        let mut left = left(10);
        let first = left.take(true);
        assert_eq!(first, (1..=CROWDED as u64).map(GroupId).collect::<Vec<_>>());
        left.add(GroupId(1));
        let second = left.take(true);
        assert_eq!(second, (5..=8).map(GroupId).collect::<Vec<_>>());
        // Round the corner.
        (2..=4).for_each(|group| left.add(GroupId(group)));
        assert_eq!(left.take(true), [9, 10, 1, 2].map(GroupId));
        assert_eq!(left.take(true), [3, 4].map(GroupId), "all that is left");
        assert!(left.take(false).is_empty());
    }

    #[test]
    fn whoever_is_not_behind_submits_for_all() {
        assert_eq!(left(10).take(false).len(), 10);
    }

    #[test]
    fn updates_gather_until_no_more_come() {
        let mut left = left(1);
        assert!(left.gathers(false, |_| (100, Wait::Nobody)));
        for _ in 1..IDLE {
            assert!(left.gathers(false, |_| (100, Wait::Nobody)));
        }
        assert!(!left.gathers(false, |_| (100, Wait::Nobody)));
        assert!(!left.is_gathering());
    }

    #[test]
    fn nobody_who_waits_waits_for_others() {
        let mut left = left(2);
        let one_waits = |group| match group {
            GroupId(1) => (100, Wait::Others),
            _ => (100, Wait::Nobody),
        };
        assert!(!left.gathers(true, one_waits));
    }

    #[test]
    fn gathering_ends_though_more_comes() {
        let mut left = left(1);
        let mut bytes = 0;
        let mut turns = 0;
        loop {
            bytes += 10;
            if !left.gathers(true, |_| (bytes, Wait::Nobody)) {
                break;
            }
            turns += 1;
        }
        assert_eq!(turns, TURNS);
    }

    #[test]
    fn whoever_waits_for_this_node_alone_is_submitted_for_and_the_batch_gathers() {
        let mut left = left(2);
        let here = |group| match group {
            GroupId(1) => (100, Wait::Here),
            _ => (100, Wait::Nobody),
        };
        assert_eq!(left.waiting_here(here), [GroupId(1)]);
        left.submitted(100);
        // What was submitted is no longer with its callers, and gathers all the same.
        let submitted = |group| match group {
            GroupId(1) => (0, Wait::Nobody),
            _ => (100, Wait::Nobody),
        };
        assert!(left.waiting_here(submitted).is_empty());
        assert!(left.gathers(true, submitted));
        left.submitted(2 * GATHER);
        assert!(!left.gathers(true, submitted), "that is enough for a batch");
        left.take(false);
        left.gone();
        assert!(!left.gathers(true, |_| (0, Wait::Nobody)), "there is nothing");
        left.submitted(100);
        left.hurry();
        assert!(!left.gathers(true, |_| (0, Wait::Nobody)), "a flush waits");
    }
}
