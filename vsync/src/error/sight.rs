//! [`Sight`]: what a member sees of a quorum that is not there.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{NotApplied, Unknown};

/// Of a group without a quorum: how many of its active members are in sight.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Sight {
    /// The member that looks included.
    pub(crate) in_sight: usize,
    pub(crate) active: usize,
}

impl From<(usize, usize)> for Sight {
    fn from((in_sight, active): (usize, usize)) -> Sight {
        Sight { in_sight, active }
    }
}

impl From<Sight> for NotApplied {
    fn from(Sight { in_sight, active }: Sight) -> NotApplied {
        NotApplied::NoQuorum { in_sight, active }
    }
}

impl From<Sight> for Unknown {
    fn from(Sight { in_sight, active }: Sight) -> Unknown {
        Unknown::NoQuorum { in_sight, active }
    }
}

impl fmt::Display for Sight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Sight { in_sight, active } = self;
        let are = if *in_sight == 1 { "is" } else { "are" };
        write!(
            f,
            "the group has no quorum ({in_sight} of {active} active members {are} in sight; \
             bring the others back)"
        )
    }
}
