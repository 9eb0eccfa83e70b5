//! [`JoinError`]: why a node is not in a group.

use std::fmt;

use super::{GroupError, Sight, told};
use crate::state::CheckpointError;

/// Why a group could not be created or joined.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum JoinError {
    /// `create` of a group that exists.
    Exists {
        /// The group's name.
        name: String,
    },
    /// `join` of a group that does not exist.
    NoSuchGroup {
        /// The group's name.
        name: String,
    },
    /// This node is already a member, or is becoming one.
    AlreadyMember {
        /// The group's name.
        name: String,
    },
    /// The group replicates another type.
    Type {
        /// The group's name.
        name: String,
        /// What this node replicates.
        here: String,
        /// What the group replicates.
        there: String,
    },
    /// The deadline came; the last reason.
    Timeout {
        /// The group's name.
        name: String,
        /// What was being waited for.
        waiting: String,
    },
    /// The deadline came, and the group has no quorum: too few of the active members of its view
    /// are in sight of the one that has answered. It can agree on nothing, and so lets nobody in.
    NoQuorum {
        /// The group's name.
        name: String,
        /// How many are, that one included.
        in_sight: usize,
        /// How many there are.
        active: usize,
    },
    /// The version of the type that is active in the group is none that this program knows a way
    /// from.
    Version {
        /// The group's name.
        name: String,
        /// The version of this program.
        here: u32,
        /// The version that is active.
        active: u32,
    },
    /// The type is not the same in this program and in that of a member.
    Schema {
        /// The group's name.
        name: String,
        /// What differs, in words.
        differences: Vec<String>,
    },
    /// The checkpoint that a member sent could not be loaded.
    Checkpoint {
        /// The group's name.
        name: String,
        /// Why.
        error: CheckpointError,
    },
    /// The membership ended before it was active: a method of the type failed.
    Ended {
        /// The group's name.
        name: String,
        /// Why.
        why: String,
    },
    /// The directory could not be asked.
    Directory(GroupError),
    /// The node is shut down.
    Closed,
}

impl fmt::Display for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            JoinError::Exists { name } => write!(f, "the group {name:?} already exists"),
            JoinError::NoSuchGroup { name } => write!(f, "there is no group {name:?}"),
            JoinError::AlreadyMember { name } => {
                write!(f, "this node is already a member of {name:?}")
            }
            JoinError::Type { name, here, there } => {
                write!(f, "the group {name:?} replicates {there}, not {here}")
            }
            JoinError::Timeout { name, waiting } => {
                write!(f, "no membership in {name:?} before the deadline: {waiting}")
            }
            JoinError::NoQuorum { name, in_sight, active } => {
                let sight = Sight { in_sight: *in_sight, active: *active };
                write!(f, "no membership in {name:?} before the deadline: {sight}")
            }
            JoinError::Version { name, here, active } if here < active => write!(
                f,
                "in the group {name:?} version {active} is active, this program has version {here}"
            ),
            JoinError::Version { name, here, active } => write!(
                f,
                "in the group {name:?} version {active} is active, and version {here}, which this \
                 program has, knows no way from it (`from`)"
            ),
            JoinError::Schema { name, differences } => write!(
                f,
                "the type of the group {name:?} is not the same here and there: {} (an update \
                 that is new wants `since = …`, one that has gone is kept with `until = …`)",
                differences.join("; ")
            ),
            JoinError::Checkpoint { name, error } => {
                write!(f, "no membership in {name:?}: {error}")
            }
            JoinError::Ended { name, why } => write!(f, "no membership in {name:?}: {why}"),
            JoinError::Directory(error) => write!(f, "the directory: {error}"),
            JoinError::Closed => f.write_str("the node is shut down"),
        }
    }
}

impl fmt::Debug for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        told(self, f)
    }
}

impl std::error::Error for JoinError {}
