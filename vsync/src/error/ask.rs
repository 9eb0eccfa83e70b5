//! Why members gave no answer.

use std::fmt;

use super::GroupError;
use crate::ask::{Missing, Target};
use crate::view::MemberId;

/// Why members gave no answer. Asking has no effect, so each may be tried again.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum AskError {
    /// This node has no part in the group now.
    Membership(GroupError),
    /// An argument could not be encoded.
    Encode(String),
    /// The query is larger than it may be.
    TooLarge {
        /// Its bytes.
        size: usize,
        /// Bytes allowed.
        limit: usize,
    },
    /// The view that is installed here has no such member, nor had the one before it.
    NoSuchMember(Target),
    /// A member gave no answer, and no other may be asked in its place.
    NoAnswer {
        /// Which.
        member: MemberId,
        /// Why.
        why: Missing,
    },
    /// The deadline came first. Who was still to answer.
    Timeout(Vec<MemberId>),
    /// An answer does not decode, or those of the shares cannot be gathered.
    Decode(String),
}

impl fmt::Debug for AskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        super::told(self, f)
    }
}

impl fmt::Display for AskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AskError::Membership(why) => write!(f, "cannot ask: {why}"),
            AskError::Encode(why) => write!(f, "an argument could not be encoded: {why}"),
            AskError::TooLarge { size, limit } => {
                write!(f, "the query has {size} bytes, the limit is {limit}")
            }
            AskError::NoSuchMember(target) => target.nobody(f),
            AskError::NoAnswer { member, why } => write!(f, "no answer of {member:?}: {why}"),
            AskError::Timeout(members) => {
                write!(f, "no answer before the deadline of {members:?}")
            }
            AskError::Decode(why) => write!(f, "the answer does not decode: {why}"),
        }
    }
}

impl std::error::Error for AskError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            AskError::Membership(error) => Some(error),
            _ => None,
        }
    }
}

impl From<GroupError> for AskError {
    fn from(error: GroupError) -> Self {
        AskError::Membership(error)
    }
}
