//! How many requests there are, and who has them.

use std::collections::BTreeMap;

use crate::error::{GroupError, Unknown};
use crate::group::Group;
use crate::replicated::Replicated;
use crate::request::serving;
use crate::view::MemberId;

/// The requests of a group that are under way, as one member knows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Load {
    /// How many there are.
    pub pending: usize,
    /// How many each member coordinates; who has none is not in it. Where
    /// [all members](crate::Policy::Active) run every request, it is empty.
    pub members: BTreeMap<MemberId, usize>,
}

impl<S: Replicated> Group<S> {
    /// The requests that are under way, by their coordinators: what was applied here so far says
    /// so, and all members agree on it.
    pub fn load(&self) -> Load {
        let (members, pending) = self.shared.seat.loads();
        Load { pending, members }
    }

    /// Ends the request with this [key](crate::RequestCall::key), if it is still under way: whoever
    /// waits for it is told so, and it never has an effect. `false` if there is none, or it was
    /// answered before. While the group has no quorum, this waits; dropped before it has its turn
    /// it leaves nothing behind.
    ///
    /// # Errors
    /// [`GroupError`] where this member cannot have it ordered, or does not know what came of that.
    pub async fn cancel_request(&self, key: impl AsRef<[u8]>) -> Result<bool, GroupError> {
        let cancelled = serving::cancel(&self.shared.seat, key.as_ref()).await?;
        cancelled.ok_or(GroupError::Unknown(Unknown::NoAnswer))
    }
}
