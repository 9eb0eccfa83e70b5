//! What callers have left for the driver, and when it goes: gathered as long as nobody waits, a few
//! groups at a time where the node is behind.

use std::collections::BTreeSet;
use std::ops::Bound;
use std::time::{Duration, Instant};

use vsync_core::wire::GroupId;

use crate::runtime::outbox::Wait;
use crate::runtime::pile::Pile;

/// Updates that nobody waits for are gathered up to this many bytes, as long as more come or there
/// is more to take in; up to so many times as much if they are spread over groups.
const GATHER: usize = 60 * 1024;
const SPREAD: usize = 64;
/// But not for more turns than these.
const TURNS: u32 = 32;
/// Nor for longer, where turns take their time.
const LONGEST: Duration = Duration::from_millis(1);
/// What the last batches took to go out is taken for a measure, where that is much: updates in a
/// thousand groups are a thousand batches, and nothing but batches would go out if each of them
/// were not given the time to fill. Gathering takes so many times as long,
const SHARE: u32 = 4;
/// and no longer than this.
const FULL: Duration = Duration::from_millis(20);
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
    /// Some of those whose turn it was had to wait: nothing gathers before they have gone out.
    crowded: bool,
    /// How long the last batches took to go out.
    cost: Duration,
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
    /// Since when.
    since: Option<Instant>,
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

    /// Whether the next turn comes at once, whatever happens: something gathers, or is still to be
    /// submitted and there is room for it.
    pub(super) fn goes_on(&self, full: bool) -> bool {
        self.is_gathering() || !(full || self.groups.is_empty())
    }

    /// There is no room for what gathers: no turn is taken for it until there is.
    pub(super) fn has_no_room(&mut self) {
        self.gathered = None;
    }

    /// Takes the groups for which that is true: before their turn, since somebody waits there.
    pub(super) fn take_if(&mut self, waits: impl Fn(GroupId) -> bool) -> Vec<GroupId> {
        let taken: Vec<GroupId> =
            self.groups.iter().copied().filter(|&group| waits(group)).collect();
        for group in &taken {
            self.groups.remove(group);
        }
        taken
    }

    /// So many bytes were submitted that have not gone out yet.
    pub(super) fn submitted(&mut self, bytes: usize) {
        self.open += bytes;
    }

    /// Somebody waits for others who has left nothing here, such as for a flush.
    pub(super) fn hurry(&mut self) {
        self.hurried = true;
    }

    /// All that was submitted has gone out; what callers have left gathers on.
    pub(super) fn closed(&mut self) {
        self.open = 0;
    }

    /// All that was submitted has gone out, which took so long.
    pub(super) fn gone(&mut self, took: Duration) {
        (self.open, self.hurried) = (0, false);
        self.cost = if self.crowded { self.cost + took } else { took };
    }

    /// Whether to let callers leave more before their updates go out: not where one of them waits
    /// for others, and only as long as more comes. What a batch costs is then shared by all of it
    /// (Nagle's idea, without his timer: an idle sender's update goes out after two turns of the
    /// others).
    ///
    /// `pile` is what callers have left.
    pub(super) fn gathers(&mut self, busy: bool, pile: &Pile, now: Instant) -> bool {
        let before = self.gathered.take().unwrap_or_default();
        let Gathered { bytes: before, idle, turns, since } = before;
        if self.hurried || self.crowded || pile.has(Wait::Others) {
            return false;
        }
        let bytes = self.open + pile.bytes();
        let idle = if busy || bytes > before { 0 } else { idle + 1 };
        let most = GATHER * self.groups.len().clamp(1, SPREAD);
        let since = since.unwrap_or(now);
        let gathering = now.duration_since(since);
        let paid = gathering >= (self.cost * SHARE).min(FULL);
        let long = (turns >= TURNS || gathering > LONGEST) && paid;
        let more = bytes > 0 && bytes < most && idle < IDLE && !long;
        self.gathered =
            more.then_some(Gathered { bytes, idle, turns: turns + 1, since: Some(since) });
        more
    }

    /// Takes the groups whose turn it is: all of them, or where the node is behind with what it
    /// receives, a few, and the next ones the next time.
    pub(super) fn take(&mut self, behind: bool) -> Vec<GroupId> {
        self.gathered = None;
        self.crowded = behind && self.groups.len() > CROWDED;
        if !self.crowded {
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
    use std::time::{Duration, Instant};

    use vsync_core::wire::GroupId;

    use super::{CROWDED, FULL, GATHER, IDLE, LONGEST, Left, TURNS};
    use crate::runtime::outbox::Wait;
    use crate::runtime::pile::Pile;

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

    /// Callers have left so many bytes, and somebody waits for that.
    fn pile(bytes: usize, wait: Wait) -> Pile {
        let pile = Pile::default();
        pile.left(bytes, Wait::Nobody, wait);
        pile
    }

    #[test]
    fn updates_gather_until_no_more_come() {
        let (mut left, now) = (left(1), Instant::now());
        let pile = pile(100, Wait::Nobody);
        for _ in 0..IDLE {
            assert!(left.gathers(false, &pile, now));
        }
        assert!(!left.gathers(false, &pile, now));
        assert!(!left.is_gathering());
    }

    #[test]
    fn what_gathers_takes_no_turn_while_there_is_no_room() {
        let (mut left, now) = (left(1), Instant::now());
        assert!(left.gathers(true, &pile(100, Wait::Nobody), now));
        assert!(left.goes_on(false));
        left.has_no_room();
        assert!(!left.goes_on(true), "the driver would spin");
        assert!(left.goes_on(false), "there is room again");
    }

    #[test]
    fn nobody_who_waits_waits_for_others() {
        assert!(!left(2).gathers(true, &pile(100, Wait::Others), Instant::now()));
    }

    #[test]
    fn gathering_ends_though_more_comes() {
        let (mut left, now) = (left(1), Instant::now());
        let pile = Pile::default();
        let mut turns = 0;
        loop {
            pile.left(10, Wait::Nobody, Wait::Nobody);
            if !left.gathers(true, &pile, now) {
                break;
            }
            turns += 1;
        }
        assert_eq!(turns, TURNS);
    }

    #[test]
    fn what_takes_long_to_go_out_gathers_for_longer() {
        let (mut left, now) = (left(1), Instant::now());
        left.gone(Duration::from_secs(1));
        let pile = pile(100, Wait::Nobody);
        for _ in 0..=TURNS {
            assert!(left.gathers(true, &pile, now + LONGEST * 2));
        }
        assert!(!left.gathers(true, &pile, now + LONGEST * 2 + FULL * 2), "that is long enough");
        left.gone(Duration::from_secs(1));
        pile.left(GATHER, Wait::Nobody, Wait::Nobody);
        assert!(!left.gathers(true, &pile, now), "that is enough for a batch");
    }

    #[test]
    fn nothing_gathers_while_others_wait_for_their_turn() {
        let (mut left, now) = (left(10), Instant::now());
        left.take(true);
        assert!(!left.gathers(true, &pile(100, Wait::Nobody), now));
        left.take(false);
        assert!(left.gathers(true, &pile(100, Wait::Nobody), now));
    }

    #[test]
    fn whoever_waits_for_this_node_alone_is_submitted_for_and_the_batch_gathers() {
        let (mut left, now) = (left(2), Instant::now());
        assert_eq!(left.take_if(|group| group == GroupId(1)), [GroupId(1)]);
        left.submitted(100);
        // What was submitted is no longer with its callers, and gathers all the same.
        let pile = pile(100, Wait::Nobody);
        assert!(left.gathers(true, &pile, now));
        left.submitted(2 * GATHER);
        assert!(!left.gathers(true, &pile, now), "that is enough for a batch");
        assert_eq!(left.take(false), [GroupId(2)]);
        left.gone(Duration::ZERO);
        let empty = Pile::default();
        assert!(!left.gathers(true, &empty, now), "there is nothing");
        left.submitted(100);
        left.hurry();
        assert!(!left.gathers(true, &empty, now), "a flush waits");
    }
}
