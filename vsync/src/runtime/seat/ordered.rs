//! [`Ordered`]: updates of the runtime's own that somebody waits for.

use tokio::sync::oneshot;

use super::Seat;
use crate::error::{GroupError, NotApplied, Unknown};
use crate::runtime::callers::{Told, Waiter};
use crate::runtime::inner::Sending;
use crate::runtime::outbox::{Left, Tell};

/// An update of the runtime's own that is under way, while somebody waits for it. Dropped before
/// its turn has come it gives up its place in line: who asks again and again where there is no
/// quorum leaves nothing there.
#[derive(Debug)]
pub(crate) struct Ordered<'a> {
    seat: &'a Seat,
    /// What is told when it is stable; nothing, if the node ends before.
    listen: oneshot::Receiver<Told>,
    /// Its place in line, if it has to wait for its turn.
    place: Option<u64>,
}

impl Ordered<'_> {
    /// Waits until it is stable.
    pub(crate) async fn told(&mut self) -> Told {
        (&mut self.listen).await.unwrap_or(Err(GroupError::Unknown(Unknown::Closed)))
    }

    /// What is known of it when the time for it is over.
    pub(crate) fn too_late(mut self) -> GroupError {
        let withdrawn = self.withdraw();
        self.seat.too_late(withdrawn)
    }

    fn withdraw(&mut self) -> bool {
        self.place.take().is_some_and(|place| self.seat.outbox.withdraw(place))
    }
}

impl Drop for Ordered<'_> {
    fn drop(&mut self) {
        self.withdraw();
    }
}

impl Seat {
    /// Leaves an update of the runtime's own, and waits for its answer there.
    ///
    /// # Errors
    /// If it will never be sent.
    pub(crate) fn order(&self, sending: Sending) -> Result<Ordered<'_>, NotApplied> {
        let Sending { method, update } = sending;
        let (tell, listen) = oneshot::channel();
        let tell = Some(Tell::Answer(Waiter::Stable(tell)));
        let left = self.outbox.leave_inner(method, &update, tell);
        if left.wakes() {
            self.wake();
        }
        let place = match left {
            Left::Never(why) => return Err(why),
            Left::InLine { place, .. } => Some(place),
            Left::Taken { .. } => None,
        };
        Ok(Ordered { seat: self, listen, place })
    }
}
