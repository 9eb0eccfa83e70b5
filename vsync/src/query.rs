//! [`Query`]: reading the local replica.

use std::fmt;
use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use crate::error::GroupError;
use crate::group::Group;
use crate::limited::Limited;
use crate::optimistic::Optimistic;
use crate::replicated::Replicated;

/// What reads the state.
pub(crate) type Read<S, R> = Box<dyn FnOnce(&S) -> R + Send>;

/// A query of the local replica. It runs when it is awaited.
///
/// `.await` waits until everything that it read is stable; [`optimistic`](Query::optimistic) reads
/// now.
#[must_use = "nothing is read before this is awaited"]
pub struct Query<S: Replicated, R> {
    group: Group<S>,
    read: Read<S, R>,
    limit: Option<Duration>,
}

impl<S: Replicated, R> Query<S, R> {
    pub(crate) fn new(group: Group<S>, read: Read<S, R>) -> Self {
        Query { group, read, limit: None }
    }
}

impl<S: Replicated, R: Send + 'static> Query<S, R> {
    /// Gives up waiting after `limit`: [`Unknown::Timeout`](crate::Unknown::Timeout), if what was
    /// read has not become stable by then.
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.limit = Some(limit);
        self
    }

    /// Reads now, without waiting.
    pub fn optimistic(self) -> Result<Optimistic<R>, GroupError> {
        let (value, stability) = self.group.shared.read(self.read)?;
        Ok(Optimistic::new(value, stability))
    }
}

impl<S: Replicated, R: Send + 'static> IntoFuture for Query<S, R> {
    type Output = Result<R, GroupError>;
    type IntoFuture = QueryFuture<R>;

    fn into_future(self) -> Self::IntoFuture {
        QueryFuture(Limited::new(self.limit, async move {
            let (value, mut stability) = self.group.shared.read(self.read)?;
            stability.wait().await?;
            Ok(value)
        }))
    }
}

/// A [`Query`] that waits for stability.
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub struct QueryFuture<R>(Limited<R, GroupError>);

impl<R> Future for QueryFuture<R> {
    type Output = Result<R, GroupError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(cx)
    }
}

impl<S: Replicated, R> fmt::Debug for Query<S, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Query").field("group", &self.group.name()).finish()
    }
}
