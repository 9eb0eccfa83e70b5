//! [`View`]: who is in a group, by rank.

use alloc::boxed::Box;
use alloc::vec::Vec;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{MemberId, NodeId, Rank, ViewNumber};

/// One view of a group: its members by rank, the active ones first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct View {
    /// Position in the group's chain of views.
    pub number: ViewNumber,
    /// Active members in order of activation, then the joining ones.
    pub members: Vec<Member>,
    /// How many members are active: the first `active` ranks.
    pub active: usize,
}

/// An installed view. All who keep it share it: it does not change, and a node may be in thousands
/// of groups.
#[expect(clippy::disallowed_types, reason = "what never changes may have several owners")]
pub type SharedView = alloc::sync::Arc<View>;

/// One member of a view.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// The membership.
    pub id: MemberId,
    /// What the application's node said of itself on joining (names, addresses); opaque here.
    #[serde(with = "super::codec::bytes")]
    pub meta: Bytes,
    /// The nonce of the join that let it in.
    pub nonce: u64,
    /// For a joining member: where its checkpoint comes from. Boxed: few are joining.
    pub transfer: Option<Box<Transfer>>,
}

/// Where a joining member gets its checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transfer {
    /// The member that takes and sends it.
    pub donor: MemberId,
    /// The view at whose install it is taken.
    pub label: ViewNumber,
}

/// Why a member of a view is not in its successor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum LeftReason {
    /// It asked to leave.
    Left,
    /// It did not answer.
    Failed,
    /// It is alive, but had to go (too slow, or its link to another member is gone for good).
    Evicted,
}

/// A member that is gone, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Left {
    /// The membership.
    pub id: MemberId,
    /// Why it is gone.
    pub reason: LeftReason,
}

impl View {
    /// The rank of a membership.
    pub fn rank_of(&self, id: MemberId) -> Option<Rank> {
        self.members.iter().position(|m| m.id == id)
    }

    /// The rank of a node: a view never lists two memberships of one node.
    pub fn rank_of_node(&self, node: NodeId) -> Option<Rank> {
        self.members.iter().position(|m| m.id.node == node)
    }

    /// Whether the member of this rank is active.
    pub fn is_active(&self, rank: Rank) -> bool {
        rank < self.active
    }

    /// Rank 0, which is always active: coordinator and sequencer (rule L7).
    pub fn coordinator(&self) -> Option<MemberId> {
        self.members.first().map(|m| m.id)
    }
}
