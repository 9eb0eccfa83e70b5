//! Identities: nodes, groups, memberships, ballots.

use core::fmt;

use serde::{Deserialize, Serialize};

/// Microseconds on a node's monotonic clock. Only differences have a meaning.
pub type Micros = u64;

/// The number of a view in its group's chain; the first view is 1.
pub type ViewNumber = u64;

/// The index of a member in a view's list.
pub type Rank = usize;

/// One running process with one network endpoint: random per start, so that a process that comes
/// back is another node.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct NodeId(pub u64);

/// A group, as the directory numbers it. Group 0 is the directory's own.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct GroupId(pub u64);

/// A membership: a node that comes back into a group is another member.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct MemberId {
    /// The process.
    pub node: NodeId,
    /// The view by which it came in.
    pub entry: ViewNumber,
}

/// The number of one attempt to decide a view's successor.
///
/// Ordered by `n`, ties by the leader's rank in the view that is being left. The default is below
/// every ballot that is ever used.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Ballot {
    /// Counts up from 1.
    pub n: u64,
    /// Rank of the member that leads the ballot.
    pub leader: u32,
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "n{:x}", self.0)
    }
}

impl fmt::Debug for GroupId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "g{}", self.0)
    }
}

impl fmt::Debug for MemberId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}@{}", self.node, self.entry)
    }
}

impl fmt::Display for MemberId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}
