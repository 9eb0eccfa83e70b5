//! What callers have left for the driver, and when it goes: gathered as long as nobody waits, and
//! for longer where it is spread over many groups.

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
/// Updates in a thousand groups are a thousand batches, and nothing but batches would go out if
/// each of them were not given the time to fill. So many frames as went out last take so much of
/// gathering each: a node that sends one takes in those of all others, and what is said of them, at
/// five to ten microseconds each, and most of the time must be left for the updates themselves. It
/// is frames that are counted: a clock would also count what other processes took,
const FRAME: Duration = Duration::from_micros(64);
/// and no longer than this.
const FULL: Duration = Duration::from_millis(200);
/// What is given less time is no reason to let those wait who have no more to send.
const DEAR: Duration = Duration::from_millis(4);
/// A node that is behind with what it receives sends no dear batches, for no longer than so many
/// times as long: the others would be behind, too, and all would have time for nothing but frames.
const CALM: u32 = 5;
/// Turns of the other tasks without anything more, until it goes. Two: the runtime may let this
/// task go first once.
const IDLE: u32 = 2;
/// Groups that are submitted for in one turn: what one of them sends brings back more frames than
/// one, and takes some tens of microseconds, so a node that sends to ten thousand groups would fall
/// behind what comes in until it hears nobody in time. Those that wait gather more meanwhile, for
/// the same cost. Not fewer: what is said of others' batches in the other groups goes out with
/// each turn, and would go alone.
const CROWDED: usize = 1024;

/// Groups whose callers have left updates that are not submitted yet.
#[derive(Default)]
pub(super) struct Left {
    groups: BTreeSet<GroupId>,
    /// The last of them that was taken.
    served: Option<GroupId>,
    /// How it is waited for more; `None` if it is not.
    gathered: Option<Gathered>,
    /// So many of those whose turn it was had to wait: nothing gathers before they have gone out.
    crowded: usize,
    /// How many frames went out the last time, and in this round so far.
    frames: u32,
    begun: u32,
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

    /// Whether more is waited for.
    pub(super) fn is_gathering(&self) -> bool {
        self.gathered.is_some()
    }

    /// Whether the next turn comes at once, whatever happens: something gathers, or is still to be
    /// submitted and there is room for it.
    pub(super) fn goes_on(&self, full: bool) -> bool {
        match self.gathered {
            Some(gathered) => gathered.idle < IDLE,
            None => !(full || self.groups.is_empty()),
        }
    }

    /// When what gathers goes at the latest, though no more comes.
    pub(super) fn due(&self) -> Option<Instant> {
        let gathered = self.gathered.filter(|gathered| gathered.idle >= IDLE)?;
        Some(gathered.since? + self.owed())
    }

    /// By how much acknowledgements that nobody waits for may be late: batches on which they could
    /// ride are so far apart.
    pub(super) fn patience(&self) -> Duration {
        if self.is_dear() { self.owed() } else { Duration::ZERO }
    }

    /// Whether batches are dear, so that those who are waited for go alone.
    pub(super) fn is_dear(&self) -> bool {
        self.owed() >= DEAR
    }

    /// How long gathering takes at least.
    fn owed(&self) -> Duration {
        FRAME.saturating_mul(self.frames).min(FULL)
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

    /// Whether somebody waits for others who has left nothing here.
    pub(super) fn is_hurried(&self) -> bool {
        self.hurried
    }

    /// All that was submitted has gone out; what callers have left gathers on.
    pub(super) fn closed(&mut self) {
        (self.open, self.hurried) = (0, false);
    }

    /// All that was submitted has gone out, in so many frames.
    pub(super) fn gone(&mut self, frames: usize) {
        (self.open, self.hurried) = (0, false);
        self.begun = self.begun.saturating_add(u32::try_from(frames).unwrap_or(u32::MAX));
        if self.crowded == 0 {
            self.frames = std::mem::take(&mut self.begun);
        }
    }

    /// Whether to let callers leave more before their updates go out: not where one of them waits
    /// for others, and only as long as more comes. What a batch costs is then shared by all of it
    /// (Nagle's idea, without his timer: an idle sender's update goes out after two turns of the
    /// others). Where batches are dear they are given their time whether more comes or not: who
    /// sends to a thousand groups may stand before one of them that has no credit, and what is said
    /// of others' batches can go with the own ones.
    ///
    /// `pile` is what callers have left; `behind` whether there is more to take in.
    pub(super) fn gathers(&mut self, busy: bool, behind: bool, pile: &Pile, now: Instant) -> bool {
        let before = self.gathered.take().unwrap_or_default();
        let Gathered { bytes: before, idle, turns, since } = before;
        let awaited = pile.has(Wait::Others) && !self.is_dear();
        if self.hurried || self.crowded > 0 || awaited {
            return false;
        }
        let bytes = self.open + pile.bytes();
        let idle = if busy || bytes > before { 0 } else { idle + 1 };
        let most = GATHER * self.groups.len().clamp(1, SPREAD);
        let since = since.unwrap_or(now);
        let gathering = now.duration_since(since);
        let paid = gathering >= self.owed();
        let long = (turns >= TURNS || gathering > LONGEST) && paid;
        let more = match self.is_dear() {
            true => !paid || (behind && gathering < self.owed() * CALM),
            false => bytes > 0 && idle < IDLE && !long,
        };
        let more = more && bytes < most;
        self.gathered =
            more.then_some(Gathered { bytes, idle, turns: turns + 1, since: Some(since) });
        more
    }

    /// Takes the groups whose turn it is: of very many some, and the next ones the next time, until
    /// all have had theirs.
    pub(super) fn take(&mut self) -> Vec<GroupId> {
        self.gathered = None;
        if self.crowded == 0 {
            self.crowded = self.groups.len();
        }
        let after = self.served.map_or(Bound::Unbounded, Bound::Excluded);
        let beyond = self.groups.range((after, Bound::Unbounded)).chain(&self.groups);
        let count = CROWDED.min(self.crowded).min(self.groups.len());
        let next: Vec<GroupId> = beyond.take(count).copied().collect();
        for group in &next {
            self.groups.remove(group);
            self.served = Some(*group);
        }
        self.crowded = if self.groups.is_empty() { 0 } else { self.crowded - next.len() };
        next
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use vsync_core::wire::GroupId;

    use super::{CALM, CROWDED, FRAME, FULL, GATHER, IDLE, LONGEST, Left, TURNS};
    use crate::runtime::outbox::Wait;
    use crate::runtime::pile::Pile;

    fn left(groups: u64) -> Left {
        let mut left = Left::default();
        (1..=groups).for_each(|group| left.add(GroupId(group)));
        left
    }

    #[test]
    fn of_very_many_groups_some_are_submitted_for_in_turn() {
        const SOME: u64 = CROWDED as u64;
        let ids = |numbers: std::ops::RangeInclusive<u64>| numbers.map(GroupId).collect::<Vec<_>>();
        let mut left = left(2 * SOME + 2);
        assert_eq!(left.take(), ids(1..=SOME));
        left.add(GroupId(1));
        assert_eq!(left.take(), ids(SOME + 1..=2 * SOME));
        let now = Instant::now();
        assert!(!left.gathers(true, true, &pile(100, Wait::Nobody), now), "others wait");
        assert_eq!(left.take(), ids(2 * SOME + 1..=2 * SOME + 2), "the round is over");
        assert!(left.gathers(true, false, &pile(100, Wait::Nobody), now));
        assert_eq!(left.take(), ids(1..=1), "round the corner");
        assert!(left.take().is_empty());
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
            assert!(left.gathers(false, false, &pile, now));
        }
        assert!(!left.gathers(false, false, &pile, now));
        assert!(!left.is_gathering());
    }

    #[test]
    fn what_gathers_takes_no_turn_while_there_is_no_room() {
        let (mut left, now) = (left(1), Instant::now());
        assert!(left.gathers(true, false, &pile(100, Wait::Nobody), now));
        assert!(left.goes_on(false));
        left.has_no_room();
        assert!(!left.goes_on(true), "the driver would spin");
        assert!(left.goes_on(false), "there is room again");
    }

    #[test]
    fn nobody_who_waits_waits_for_others() {
        assert!(!left(2).gathers(true, false, &pile(100, Wait::Others), Instant::now()));
    }

    #[test]
    fn gathering_ends_though_more_comes() {
        let (mut left, now) = (left(1), Instant::now());
        let pile = Pile::default();
        let mut turns = 0;
        loop {
            pile.left(10, Wait::Nobody, Wait::Nobody);
            if !left.gathers(true, false, &pile, now) {
                break;
            }
            turns += 1;
        }
        assert_eq!(turns, TURNS);
    }

    /// A node whose last batches were so many frames.
    fn after(frames: usize) -> Left {
        let mut left = left(1);
        left.gone(frames);
        left
    }

    #[test]
    fn what_goes_out_in_many_frames_gathers_for_longer_and_takes_no_turns_meanwhile() {
        let (mut left, now) = (after(3_000), Instant::now());
        let pile = pile(100, Wait::Nobody);
        for _ in 0..=TURNS {
            assert!(left.gathers(false, false, &pile, now + LONGEST * 2));
        }
        assert!(!left.goes_on(false), "nothing more comes");
        assert_eq!(left.due(), Some(now + LONGEST * 2 + 3_000 * FRAME));
        assert!(!left.gathers(false, false, &pile, now + LONGEST * 2 + FULL), "long enough");
        left.gone(3);
        assert!(!left.is_dear() && left.patience().is_zero());
    }

    #[test]
    fn what_is_dear_and_full_goes_at_once() {
        let (mut left, now) = (after(3_000), Instant::now());
        assert!(!left.gathers(false, true, &pile(GATHER, Wait::Nobody), now));
    }

    #[test]
    fn whoever_is_behind_sends_nothing_dear_but_not_for_ever() {
        let (mut left, now) = (after(100), Instant::now());
        let (pile, owed) = (pile(100, Wait::Nobody), 100 * FRAME);
        assert!(left.gathers(true, true, &pile, now));
        assert!(left.gathers(true, true, &pile, now + owed));
        assert!(left.gathers(true, true, &pile, now + owed * (CALM - 1)));
        assert!(!left.gathers(true, true, &pile, now + owed * CALM));
        assert!(left.gathers(true, true, &pile, now));
        assert!(!left.gathers(true, false, &pile, now + owed), "no longer behind");
    }

    #[test]
    fn whoever_is_waited_for_goes_alone_where_batches_are_dear() {
        let (mut left, now) = (after(3_000), Instant::now());
        assert!(left.gathers(true, false, &pile(100, Wait::Others), now));
        left.hurry();
        assert!(left.is_hurried());
        left.closed();
        assert!(left.gathers(true, false, &pile(100, Wait::Nobody), now));
    }

    #[test]
    fn the_frames_of_a_round_are_counted_together() {
        let mut left = left(CROWDED as u64 + 1);
        left.take();
        left.gone(3_000);
        assert!(!left.is_dear(), "it is not over");
        left.take();
        left.gone(3);
        assert_eq!(left.owed(), FULL.min(3_003 * FRAME));
    }

    #[test]
    fn whoever_waits_for_this_node_alone_is_submitted_for_and_the_batch_gathers() {
        let (mut left, now) = (left(2), Instant::now());
        assert_eq!(left.take_if(|group| group == GroupId(1)), [GroupId(1)]);
        left.submitted(100);
        // What was submitted is no longer with its callers, and gathers all the same.
        let pile = pile(100, Wait::Nobody);
        assert!(left.gathers(true, false, &pile, now));
        left.submitted(2 * GATHER);
        assert!(!left.gathers(true, false, &pile, now), "that is enough for a batch");
        assert_eq!(left.take(), [GroupId(2)]);
        left.gone(3);
        let empty = Pile::default();
        assert!(!left.gathers(true, false, &empty, now), "there is nothing");
        left.submitted(100);
        left.hurry();
        assert!(!left.gathers(true, false, &empty, now), "a flush waits");
    }
}
