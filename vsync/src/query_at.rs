//! [`QueryAt`]: a query that one member answers.

use std::fmt;
use std::future::IntoFuture;
use std::marker::PhantomData;
use std::time::Duration;

use serde::de::DeserializeOwned;
use tokio::time::Instant;

use crate::ask::{AskFuture, Asker, Missing, Target, Told, by, decoded};
use crate::error::AskError;
use crate::group::Group;
use crate::replicated::{EncodeError, Replicated};

/// A query asked of one member, made by [`Query::at`](crate::Query::at). It is asked when this is
/// awaited.
///
/// A member that cannot answer just now, because it is not active yet or its connection is broken,
/// is asked again until it answers or is no member any more. There is no other end to the wait: a
/// member that stays and never answers, since a method of its type never returns, is waited for as
/// long as it stays. To wait no longer than some time use [`timeout`](QueryAt::timeout).
#[must_use = "nothing is asked before this is awaited"]
pub struct QueryAt<S: Replicated, R> {
    group: Group<S>,
    target: Target,
    query: Result<Vec<u8>, EncodeError>,
    after: After,
    timeout: Option<Duration>,
    result: PhantomData<fn() -> R>,
}

/// What has to be in the state that a question is answered from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum After {
    /// Whatever is.
    Any,
    /// What was applied at or sent from here before.
    Mine,
    /// That, and what was completed anywhere before.
    All,
}

impl<S: Replicated, R> QueryAt<S, R> {
    pub(crate) fn new(
        group: Group<S>,
        target: Target,
        query: Result<Vec<u8>, EncodeError>,
    ) -> Self {
        let (after, timeout) = (After::Any, None);
        QueryAt { group, target, query, after, timeout, result: PhantomData }
    }

    /// Orders the question with the group's updates: it is answered from a state in which
    /// everything is applied that was applied here, or sent from here, before it was asked.
    ///
    /// What was sent is waited for first until it is stable, as by [`Group::flush`]. Where the
    /// asker goes on to another view meanwhile, or the member is ahead of it, the order holds, too.
    pub fn after_mine(mut self) -> Self {
        self.after = self.after.max(After::Mine);
        self
    }

    /// Has it answered from a state that has in it every update that was completed anywhere before
    /// this was asked: see [`Query::linearizable`](crate::Query::linearizable).
    pub fn linearizable(mut self) -> Self {
        self.after = After::All;
        self
    }

    /// Gives up after `limit`, with [`AskError::Timeout`].
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.timeout = Some(limit);
        self
    }
}

impl<S: Replicated, R: DeserializeOwned + Send + 'static> IntoFuture for QueryAt<S, R> {
    type Output = Result<R, AskError>;
    type IntoFuture = AskFuture<R>;

    fn into_future(self) -> Self::IntoFuture {
        AskFuture::new(async move {
            let deadline = self.timeout.map(|limit| Instant::now() + limit);
            let mut asker = Asker::of(&self.group, self.query)?;
            let member = asker.target(self.target)?;
            let work = async {
                match self.after {
                    After::Any => {}
                    After::Mine => asker.after_mine().await?,
                    After::All => asker.linearizable().await?,
                }
                match asker.insist(member, (0, 1)).await {
                    Told::Answer(bytes, _) => decoded(&bytes),
                    Told::Never(why) => Err(AskError::NoAnswer { member, why }),
                    Told::NotNow => Err(AskError::NoAnswer { member, why: Missing::Gone }),
                }
            };
            by(deadline, work).await.unwrap_or_else(|| Err(AskError::Timeout(vec![member])))
        })
    }
}

impl<S: Replicated, R> fmt::Debug for QueryAt<S, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QueryAt")
            .field("group", &self.group.name())
            .field("target", &self.target)
            .finish()
    }
}
