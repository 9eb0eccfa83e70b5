//! [`Comparison`]: whether the replicas are equal, looked at from time to time.
//!
//! At one point of the stream every member takes a checkpoint of its state, and sends digests of
//! its ranges, and of what is kept beside it, by an update of the runtime's own, a total. What most
//! have is right; where it is even, what the member of the lowest rank has. All hear the same
//! digests in the same order, so they decide alike: a member that differs is named, ends its
//! membership, and comes in again with a donor's state.
//!
//! The points are the beginnings of views, where all have applied the same, and for a type whose
//! updates are all totals any place in the order as well. (Fifo and causal updates of several
//! senders may be applied on either side of such a place.)

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};
use vsync_core::engine::Class;
use vsync_core::wire::MemberId;
use xxhash_rust::xxh3::xxh3_64;

use super::inner::{Inner, Sending};
use super::seldom::{Blank, Seldom};
use super::sessions::Saved;
use super::timers;
use super::verdicts::Place;
use crate::Difference;
use crate::replicated::Replicated;
use crate::view::View;

/// Ranges of a checkpoint that are told apart.
const RANGES: usize = 16;
/// None of them is shorter.
const SHORTEST: usize = 64;

/// What a checkpoint looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Digest {
    bytes: u64,
    /// Hashes of equal ranges, as far as there are bytes.
    ranges: [u64; RANGES],
    /// Hash of what the runtime keeps beside the state.
    beside: u64,
}

impl Digest {
    pub(super) fn of(checkpoint: &[u8], beside: &[u8]) -> Digest {
        let mut ranges = [0; RANGES];
        for (hash, bytes) in ranges.iter_mut().zip(checkpoint.chunks(range(checkpoint.len()))) {
            *hash = xxh3_64(bytes);
        }
        Digest { bytes: checkpoint.len() as u64, ranges, beside: xxh3_64(beside) }
    }

    /// The first range of `right` that is another one at this member.
    fn difference(&self, member: MemberId, right: &Digest) -> Option<Difference> {
        if self == right {
            return None;
        }
        let length = right.bytes as usize;
        // Of checkpoints that are not equally long, other ranges are the same bytes.
        let same = |index: &usize| self.ranges[*index] == right.ranges[*index];
        let first = if self.bytes == right.bytes { (0..RANGES).find(|i| !same(i)) } else { None };
        let (begin, end) = match first {
            Some(index) => (index * range(length), ((index + 1) * range(length)).min(length)),
            // Not the state differs.
            None if self.bytes == right.bytes => (length, length),
            None => (0, length),
        };
        Some(Difference { member, range: begin..end, here: self.bytes as usize, of: length })
    }
}

/// How long the ranges of a checkpoint are.
fn range(bytes: usize) -> usize {
    bytes.div_ceil(RANGES).max(SHORTEST)
}

/// The points of a view to compare at.
#[derive(Debug, Default, PartialEq)]
struct Points {
    /// Updates since the last.
    since: u64,
    /// Whether this member has asked for one that it has not come to yet.
    asked: bool,
    /// What was heard of each.
    open: BTreeMap<Place, BTreeMap<MemberId, Digest>>,
    sending: VecDeque<Inner>,
    /// How many are complete, and not counted yet.
    complete: u64,
}

static NONE: Points =
    Points { since: 0, asked: false, open: BTreeMap::new(), sending: VecDeque::new(), complete: 0 };

impl Blank for Points {
    fn blank() -> &'static Self {
        &NONE
    }
}

/// The comparisons of one membership.
#[derive(Debug, Default)]
pub(crate) struct Comparison {
    /// After how many updates; never at 0.
    every: u64,
    /// Where it is off these are others' points.
    points: Seldom<Points>,
}

impl Comparison {
    pub(crate) fn new(every: u64) -> Comparison {
        Comparison { every, ..Comparison::default() }
    }

    /// Whether it is switched on here.
    pub(crate) fn is_on(&self) -> bool {
        self.every > 0
    }

    /// There is no membership.
    pub(crate) fn forget(&mut self) {
        *self = Comparison::new(self.every);
    }

    /// How many are complete since this was asked.
    pub(crate) fn take_complete(&mut self) -> u64 {
        self.points.made().map_or(0, |points| std::mem::take(&mut points.complete))
    }

    /// A view begins: the points of the one before are void.
    pub(crate) fn installed(&mut self) {
        self.points = Seldom::default();
    }

    /// Updates were applied. `leads` is whether it is for this member to ask for comparisons.
    pub(crate) fn applied<S: Replicated>(&mut self, updates: u64, leads: bool) {
        if !self.is_on() {
            return;
        }
        let (every, points) = (self.every, &mut *self.points);
        points.since += updates;
        if leads && points.since >= every && !points.asked && only_totals::<S>() {
            points.asked = true;
            points.sending.push_back(Inner::Compare);
        }
    }

    /// The state was this at a point to compare at.
    pub(crate) fn took(&mut self, place: Place, digest: Digest) {
        let points = &mut *self.points;
        (points.asked, points.since) = (false, 0);
        points.sending.push_back(Inner::Digest(place, digest));
    }

    /// A member tells what it has, in this view. Returns who differs, once all have told.
    pub(crate) fn heard(
        &mut self,
        from: MemberId,
        view: &View,
        place: Place,
        digest: Digest,
    ) -> Vec<Difference> {
        if view.number() != place.view {
            return Vec::new();
        }
        let heard = self.points.open.entry(place).or_default();
        heard.insert(from, digest);
        let active = view.active().iter();
        // Who became active by this view brought its state with it.
        let all = active.map(|member| heard.get(&member.id).map(|digest| (member.id, *digest)));
        let Some(all) = all.collect::<Option<Vec<_>>>() else { return Vec::new() };
        self.points.open.remove(&place);
        self.points.complete += 1;
        let right = right(&all);
        all.iter().filter_map(|(member, digest)| digest.difference(*member, &right)).collect()
    }

    /// The next of what is to be sent.
    pub(crate) fn send(&mut self) -> Option<Sending> {
        // Stable: so that it makes a range of its own.
        self.points.made()?.sending.pop_front()?.sending(true)
    }

    /// Whether there is something to send.
    pub(crate) fn is_sending(&self) -> bool {
        !self.points.sending.is_empty()
    }
}

/// What a state is between two updates; `None` where replicas cannot be compared there. A state
/// that cannot be saved differs from none.
pub(crate) fn amid<S: Replicated>(
    state: &S,
    beside: (&Saved, &timers::Saved),
    active: u32,
) -> Option<Digest> {
    if only_totals::<S>() { whole(state, beside, active) } else { None }
}

/// What a state is at the beginning of a view: as the active version has it, so that programs of
/// several versions can be compared.
///
/// Beside it are the clients' sessions, which decide what is carried out, and the timers that are
/// set.
pub(crate) fn whole<S: Replicated>(
    state: &S,
    beside: (&Saved, &timers::Saved),
    active: u32,
) -> Option<Digest> {
    let checkpoint = state.save_as(active).ok()?;
    let beside = postcard::to_stdvec(&beside).ok()?;
    Some(Digest::of(&checkpoint, &beside))
}

/// What most have; where it is even, what the first has, or most of the others.
fn right(all: &[(MemberId, Digest)]) -> Digest {
    let votes = |digest: &Digest| all.iter().filter(|(_, other)| other == digest).count();
    let mut best = all[0].1;
    for (_, digest) in all {
        if votes(digest) > votes(&best) {
            best = *digest;
        }
    }
    best
}

/// Whether all updates of a type have places in one order.
fn only_totals<S: Replicated>() -> bool {
    S::UPDATES.iter().all(|method| method.class == Class::Total)
}

#[cfg(test)]
mod tests {
    use vsync_core::wire::{self, NodeId};

    use super::*;
    use crate::directory::Directory;

    fn id(node: u64) -> MemberId {
        MemberId { node: NodeId(node), entry: 1 }
    }

    #[test]
    fn the_first_range_that_differs_is_named() {
        let one = vec![7; 16 * 100];
        let mut other = one.clone();
        other[350] ^= 1;
        other[900] ^= 1;
        let (one, other) = (Digest::of(&one, &[]), Digest::of(&other, &[]));
        assert_eq!(one.difference(id(1), &one), None);
        let found = other.difference(id(1), &one).expect("they differ");
        assert_eq!((found.range, found.here, found.of), (300..400, 1600, 1600));
    }

    #[test]
    fn checkpoints_of_other_lengths_differ() {
        let (one, other) = (Digest::of(&[1; 100], &[]), Digest::of(&[1; 101], &[]));
        let found = one.difference(id(1), &other).expect("they differ");
        assert_eq!((found.range, found.here, found.of), (0..101, 100, 101));
        assert!(Digest::of(&[], &[]).difference(id(1), &one).is_some());
    }

    #[test]
    fn what_is_beside_the_state_is_told_from_the_state() {
        let [one, other] = [b"1", b"2"].map(|beside| Digest::of(&[7; 100], beside));
        let found = other.difference(id(1), &one).expect("they differ");
        assert_eq!((found.range.clone(), found.here, found.of), (100..100, 100, 100));
        assert!(found.to_string().contains("beside its state"), "{found}");
        // Where both differ the state is named.
        let found = Digest::of(&[8; 100], b"2").difference(id(1), &one).expect("they differ");
        assert_eq!(found.range, 0..64);
    }

    /// Who is gone before it has told what it has never will.
    #[test]
    fn what_was_said_in_a_view_is_void_in_the_next() {
        let member = |node| wire::Member {
            id: id(node),
            meta: bytes::Bytes::new(),
            nonce: 0,
            transfer: None,
        };
        let members = vec![member(1), member(2)];
        let view = View::new(&wire::View { number: 1, active: 2, members }, &[], &[], &[]);
        let mut comparison = Comparison::new(1);
        let (place, digest) = (Place { view: 1, update: None }, Digest::of(b"one", &[]));
        comparison.took(place, digest);
        assert!(comparison.heard(id(1), &view, place, digest).is_empty());
        comparison.applied::<Directory>(1, true);
        assert!(comparison.is_sending());
        comparison.installed();
        assert!(!comparison.is_sending() && comparison.points.made().is_none());
        comparison.applied::<Directory>(1, true);
        assert!(comparison.is_sending(), "it is asked for anew");
    }

    #[test]
    fn the_majority_is_right_and_of_two_the_senior() {
        let (one, other) = (Digest::of(b"one", &[]), Digest::of(b"other", &[]));
        let all = [(id(1), one), (id(2), other), (id(3), other)];
        assert_eq!(right(&all), other);
        assert_eq!(right(&all[..2]), one);
        let even = [(id(1), one), (id(2), other), (id(3), other), (id(4), one)];
        assert_eq!(right(&even), one);
    }
}
