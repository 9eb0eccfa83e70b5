//! [`Query`]: reading the local replica.

use std::fmt;
use std::future::{Future, IntoFuture};
use std::pin::Pin;

use crate::error::GroupError;
use crate::group::Group;
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
}

impl<S: Replicated, R> Query<S, R> {
    pub(crate) fn new(group: Group<S>, read: Read<S, R>) -> Self {
        Query { group, read }
    }
}

impl<S: Replicated, R: Send + 'static> Query<S, R> {
    /// Reads now, without waiting.
    pub fn optimistic(self) -> Result<Optimistic<R>, GroupError> {
        let (value, stability) = self.group.shared.read(self.read)?;
        Ok(Optimistic::new(value, stability))
    }
}

impl<S: Replicated, R: Send + 'static> IntoFuture for Query<S, R> {
    type Output = Result<R, GroupError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let (value, mut stability) = self.group.shared.read(self.read)?;
            stability.wait().await?;
            Ok(value)
        })
    }
}

impl<S: Replicated, R> fmt::Debug for Query<S, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Query").field("group", &self.group.name()).finish()
    }
}
