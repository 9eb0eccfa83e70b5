//! [`View`]: who is in the group, as the application sees it.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
pub use vsync_core::wire::MemberId;
use vsync_core::wire::{self, LeftReason, Micros, NodeId};

use crate::alike::Latest;

/// One view of a group: an agreed list of its members, by rank.
///
/// Cheap to clone.
#[derive(Clone, PartialEq, Eq)]
pub struct View {
    body: Arc<Body>,
    /// The one part that members do not agree on.
    together: Arc<[MemberId]>,
}

// Thousands of groups on the same nodes have the same few: they share them.
static BODIES: Latest<Body> = Latest::new();
static MEMBERS: Latest<[Member]> = Latest::new();
static TOGETHER: Latest<[MemberId]> = Latest::new();

#[derive(PartialEq, Eq)]
struct Body {
    number: u64,
    members: Arc<[Member]>,
    active: usize,
    joined: Vec<MemberId>,
    left: Vec<Left>,
}

/// One member of a view.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Member {
    /// The membership: the node and the view by which it came in.
    pub id: MemberId,
    /// The node's name.
    pub name: String,
    /// The node's advertised address.
    pub address: String,
    /// The version of the group's type that its program has. The group's active version is that of
    /// the oldest or lower: see
    /// [`Group::activate`](crate::Group::activate).
    pub version: u32,
    /// Whether it is active: it has the state, sends, and counts for quorums.
    pub active: bool,
}

/// A member that is gone, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Left {
    /// The membership.
    pub id: MemberId,
    /// Why it is gone.
    pub reason: Reason,
}

/// Why a member is not in the next view.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reason {
    /// It asked to leave.
    Left,
    /// It did not answer: its process or host died, or could not be reached.
    Failed,
    /// It was alive, but too slow, or its link to another member was gone for good.
    Evicted,
}

/// What a node says of itself in every group that it joins.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Meta {
    pub(crate) name: String,
    pub(crate) address: String,
    /// The version of the group's type that its program has.
    pub(crate) version: u32,
}

impl Meta {
    pub(crate) fn encode(&self) -> bytes::Bytes {
        // Strings and a number into a growing vector: postcard has nothing to refuse there.
        postcard::to_stdvec(self).unwrap_or_default().into()
    }

    /// What another node said; an unreadable one leaves the node nameless.
    pub(crate) fn decode(node: NodeId, bytes: &[u8]) -> Meta {
        postcard::from_bytes(bytes).unwrap_or_else(|_| Meta {
            name: format!("{:x}", node.0),
            address: String::new(),
            version: 0,
        })
    }
}

impl View {
    /// The view as the engine installed it.
    pub(crate) fn new(
        view: &wire::View,
        together: &[MemberId],
        joined: &[MemberId],
        left: &[wire::Left],
    ) -> View {
        let members = view.members.iter().enumerate().map(|(rank, member)| {
            let meta = Meta::decode(member.id.node, &member.meta);
            Member {
                id: member.id,
                name: meta.name,
                address: meta.address,
                version: meta.version,
                active: view.is_active(rank),
            }
        });
        let body = Body {
            number: view.number,
            members: MEMBERS.share(members.collect::<Vec<_>>()),
            active: view.active,
            joined: joined.to_vec(),
            left: left.iter().map(|l| Left { id: l.id, reason: l.reason.into() }).collect(),
        };
        View { body: BODIES.share(body), together: TOGETHER.share(together) }
    }

    /// The view as replicated code may know it: what all members agree on, and nothing else.
    pub(crate) fn agreed(&self) -> View {
        View { body: Arc::clone(&self.body), together: Arc::default() }
    }

    /// The view's number in the group's chain; the first is 1.
    pub fn number(&self) -> u64 {
        self.body.number
    }

    /// The members by rank: the active ones in order of activation, then those that are joining.
    pub fn members(&self) -> &[Member] {
        &self.body.members
    }

    /// The active members, by rank.
    pub fn active(&self) -> &[Member] {
        &self.body.members[..self.body.active.min(self.body.members.len())]
    }

    /// How many members are active.
    pub fn size(&self) -> usize {
        self.body.active
    }

    /// The rank of a membership.
    pub fn rank_of(&self, id: MemberId) -> Option<usize> {
        self.body.members.iter().position(|m| m.id == id)
    }

    /// The share of some numbered items that falls to the active member of this rank: each item
    /// falls to one, in one piece for each, and no share is larger than another by more than one.
    /// Others, a member that is still joining for instance, have an empty share.
    ///
    /// Since all members have the same view, they divide work without a word:
    ///
    /// ```
    /// # use vsync::{Ctx, View, replicated};
    /// #[replicated]
    /// #[derive(Default)]
    /// struct Shards {
    ///     owner: Vec<usize>,
    /// }
    ///
    /// #[replicated]
    /// impl Shards {
    ///     #[on_view]
    ///     fn view(&mut self, view: &View) {
    ///         for rank in 0..view.size() {
    ///             let share = view.share(rank, 0..self.owner.len());
    ///             self.owner[share].fill(rank);
    ///         }
    ///     }
    /// }
    /// ```
    pub fn share(&self, rank: usize, items: Range<usize>) -> Range<usize> {
        portion(rank, self.size(), items)
    }

    /// The member of rank 0, which is always active.
    pub fn coordinator(&self) -> Option<&Member> {
        self.body.members.first()
    }

    /// Who came here together with this node from the previous view: they delivered the same
    /// updates in it.
    ///
    /// A node that joins comes alone, so members may differ in it. It is therefore known only from
    /// outside, by [`Group::view`](crate::Group::view) and [`Group::views`](crate::Group::views);
    /// in replicated code ([`Ctx::view`](crate::Ctx::view), `#[on_view]`) it is empty.
    pub fn together(&self) -> &[MemberId] {
        &self.together
    }

    /// Who is new in this view.
    pub fn joined(&self) -> &[MemberId] {
        &self.body.joined
    }

    /// Who is gone since the previous view, and why.
    pub fn left(&self) -> &[Left] {
        &self.body.left
    }

    /// Whether a node, in any membership, is active in this view.
    pub(crate) fn has_active(&self, node: NodeId) -> bool {
        self.active().iter().any(|m| m.id.node == node)
    }
}

/// Part `index` of `parts` of some items; an empty one if there is no such part.
pub(crate) fn portion(index: usize, parts: usize, items: Range<usize>) -> Range<usize> {
    if index >= parts {
        return items.start..items.start;
    }
    let count = items.len() as u128;
    let begin = |index: usize| items.start + (index as u128 * count / parts as u128) as usize;
    begin(index)..begin(index + 1)
}

/// Its number, and the names of its members: `view 7: one, two; joining: three`.
impl fmt::Display for View {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = |members: &[Member]| {
            members.iter().map(|member| &*member.name).collect::<Vec<_>>().join(", ")
        };
        write!(f, "view {}: {}", self.number(), names(self.active()))?;
        match &self.members()[self.active().len()..] {
            [] => Ok(()),
            joining => write!(f, "; joining: {}", names(joining)),
        }
    }
}

impl fmt::Debug for View {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Body { number, members, active, joined, left } = &*self.body;
        f.debug_struct("View")
            .field("number", number)
            .field("members", members)
            .field("active", active)
            .field("together", &self.together)
            .field("joined", joined)
            .field("left", left)
            .finish()
    }
}

impl From<LeftReason> for Reason {
    fn from(reason: LeftReason) -> Self {
        match reason {
            LeftReason::Left => Reason::Left,
            LeftReason::Failed => Reason::Failed,
            LeftReason::Evicted => Reason::Evicted,
        }
    }
}

/// Microseconds since the Unix epoch, as updates carry them.
pub type Time = Micros;

#[cfg(test)]
mod tests {
    use super::*;

    fn view(active: usize, joining: usize) -> View {
        let member = |node: usize| wire::Member {
            id: MemberId { node: NodeId(node as u64), entry: 1 },
            meta: bytes::Bytes::new(),
            nonce: 0,
            transfer: None,
        };
        let members = (0..active + joining).map(member).collect();
        View::new(&wire::View { number: 1, active, members }, &[], &[], &[])
    }

    #[test]
    fn shares_cover_all_items_once_and_are_balanced() {
        for size in 1..8 {
            let view = view(size, 2);
            for count in 0..40 {
                let shares: Vec<_> = (0..size).map(|rank| view.share(rank, 5..5 + count)).collect();
                let items: Vec<_> = shares.iter().cloned().flatten().collect();
                assert_eq!(items, (5..5 + count).collect::<Vec<_>>(), "{count} for {size}");
                let least = shares.iter().map(ExactSizeIterator::len).min().expect("a share");
                assert!(shares.iter().all(|share| share.len() <= least + 1), "{shares:?}");
            }
        }
    }

    #[test]
    fn a_view_is_shown_with_its_members() {
        assert_eq!(view(2, 0).to_string(), "view 1: 0, 1");
        assert_eq!(view(1, 2).to_string(), "view 1: 0; joining: 1, 2");
    }

    /// Equal ones are shared.
    #[test]
    fn views_that_differ_in_how_they_came_about_are_not_taken_for_one() {
        let id = |node| MemberId { node: NodeId(node), entry: 1 };
        let member =
            wire::Member { id: id(1), meta: bytes::Bytes::new(), nonce: 0, transfer: None };
        let same = wire::View { number: 4, active: 1, members: vec![member] };
        let failed = |node| wire::Left { id: id(node), reason: LeftReason::Failed };
        let all = [
            View::new(&same, &[], &[], &[]),
            View::new(&same, &[], &[id(1)], &[]),
            View::new(&same, &[], &[], &[failed(2)]),
            View::new(&same, &[], &[], &[failed(3)]),
            View::new(&same, &[id(1)], &[], &[failed(3)]),
        ];
        let told = |view: &View| (view.joined().len(), view.left().first().map(|left| left.id));
        let told: Vec<_> = all.iter().map(told).collect();
        let (two, three) = (Some(id(2)), Some(id(3)));
        assert_eq!(told, [(0, None), (1, None), (0, two), (0, three), (0, three)]);
        assert!(Arc::ptr_eq(&all[3].body, &all[4].body) && all[3] != all[4]);
    }

    #[test]
    fn who_is_not_active_has_no_share() {
        let view = view(2, 1);
        assert_eq!(view.share(2, 7..100), 7..7);
        assert_eq!(view.share(99, 7..100), 7..7);
        assert_eq!(view.share(1, 0..usize::MAX), usize::MAX / 2..usize::MAX);
        let (start, end) = (9, 3);
        assert!(view.share(0, start..end).is_empty());
    }
}
