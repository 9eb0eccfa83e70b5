//! [`Status`]: where this node stands in a group, and what keeps it from its part there.

use vsync_core::wire::{Cut, GroupId};

use super::seldom::{Blank, Seldom};
use crate::error::{NotApplied, Sight};
use crate::view::{MemberId, View};

/// Where this node stands in the group.
#[derive(Clone, Debug, Default)]
pub(crate) struct Status {
    /// Its number in the directory; `None` while it is not known.
    pub(crate) group: Option<GroupId>,
    pub(crate) generation: u32,
    /// The view as the application has it.
    pub(crate) view: Option<View>,
    pub(crate) me: Option<MemberId>,
    /// What was applied in this view.
    pub(crate) delivered: Cut,
    /// What of it is known to survive.
    pub(crate) stable: Cut,
    pub(crate) trouble: Seldom<Trouble>,
}

/// What keeps this node from its part in the group.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Trouble {
    /// Where there is no quorum in sight: what is.
    pub(crate) blocked: Option<Sight>,
    /// What is being waited for while this node is no member yet.
    pub(crate) waiting: String,
    /// Why it is over, once it is.
    pub(crate) closed: Option<NotApplied>,
}

static NONE: Trouble = Trouble { blocked: None, waiting: String::new(), closed: None };

impl Blank for Trouble {
    fn blank() -> &'static Self {
        &NONE
    }
}

impl Status {
    /// No quorum is in sight, but this; or there is one.
    pub(crate) fn set_blocked(&mut self, sight: Option<Sight>) {
        if self.trouble.blocked != sight {
            self.trouble.blocked = sight;
            self.trouble.give_back();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_blocked_no_longer_keeps_what_else_is_known() {
        let sight = Some(Sight { in_sight: 1, active: 3 });
        let mut status = Status::default();
        status.set_blocked(None);
        assert_eq!(status.trouble.made(), None);
        status.set_blocked(sight);
        assert_eq!(status.trouble.blocked, sight);
        status.set_blocked(None);
        assert_eq!(status.trouble.made(), None, "nothing is kept of it");
        status.set_blocked(sight);
        status.trouble.closed = Some(NotApplied::Closed);
        status.set_blocked(None);
        let closed = Trouble { closed: Some(NotApplied::Closed), ..Trouble::default() };
        assert_eq!(*status.trouble, closed);
    }
}
