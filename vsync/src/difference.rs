//! [`Difference`]: a replica that is not like the others.

use std::fmt;
use std::ops::Range;

use crate::view::MemberId;

/// A replica that differs from the others, and where. See
/// [`GroupBuilder::compare_every`](crate::GroupBuilder::compare_every).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Difference {
    /// Whose it is.
    pub member: MemberId,
    /// The first range of its checkpoint's bytes that is not as with the others: the fields of the
    /// state, one after the other, as they encode. All of it where the lengths differ; empty, and
    /// at its end, where the fields are the same and what the group keeps beside them is not: what
    /// it has carried out for its clients, and its timers.
    pub range: Range<usize>,
    /// How many bytes the checkpoint has that differs.
    pub here: usize,
    /// How many bytes it has with the others.
    pub of: usize,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Difference { member, range, here, of } = self;
        write!(f, "the replica of {member:?} differs from the others: ")?;
        if here == of && range.is_empty() {
            f.write_str("what is kept beside its state, of clients' requests or of timers")
        } else if here == of {
            write!(f, "bytes {} to {} of {of} of its checkpoint", range.start, range.end)
        } else {
            write!(f, "its checkpoint has {here} bytes, not {of}")
        }
    }
}
