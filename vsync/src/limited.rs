//! [`Limited`]: a wait that a deadline may end.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Sleep, sleep};

use crate::error::GroupError;
use crate::runtime::seat::Seat;

/// A wait at a group that gives up when its time is over, which counts from the first poll on.
pub(crate) struct Limited<T, E> {
    seat: Arc<Seat>,
    wait: Pin<Box<dyn Future<Output = Result<T, E>> + Send>>,
    limit: Option<Duration>,
    deadline: Option<Pin<Box<Sleep>>>,
}

impl<T, E> Limited<T, E> {
    pub(crate) fn new(
        seat: &Arc<Seat>,
        limit: Option<Duration>,
        wait: impl Future<Output = Result<T, E>> + Send + 'static,
    ) -> Self {
        Limited { seat: Arc::clone(seat), wait: Box::pin(wait), limit, deadline: None }
    }

    /// Gives up after `limit`.
    pub(crate) fn within(self, limit: Duration) -> Self {
        Limited { limit: Some(limit), deadline: None, ..self }
    }
}

impl<T, E: From<GroupError>> Future for Limited<T, E> {
    type Output = Result<T, E>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        // First what is waited for: what is there already comes, however short the time is.
        if let Poll::Ready(done) = self.wait.as_mut().poll(cx) {
            return Poll::Ready(done);
        }
        let Some(limit) = self.limit else { return Poll::Pending };
        let deadline = self.deadline.get_or_insert_with(|| Box::pin(sleep(limit)));
        ready!(deadline.as_mut().poll(cx));
        Poll::Ready(Err(self.seat.too_late(false).into()))
    }
}

impl<T, E> fmt::Debug for Limited<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Limited").field("limit", &self.limit).finish_non_exhaustive()
    }
}
