//! [`RemoteScatter`]: a query whose work the members divide, asked by a client.

use std::fmt;
use std::future::IntoFuture;
use std::time::Duration;

use serde::de::DeserializeOwned;

use crate::ask::Target;
use crate::error::ClientError;
use crate::remote::{RemoteGroup, RemoteQuery, RemoteQueryFuture, whole};
use crate::replicated::{EncodeError, Replicated};
use crate::scatter::{Scattered, Until, some};
use crate::seen::Seen;
use crate::view::MemberId;

/// A query of a client whose work the active members divide: each does its share, by rank, and the
/// answers are gathered in that order. It is asked when this is awaited.
///
/// `.await` gives the whole answer, as [`RemoteQuery`] does. To have the members' separate answers,
/// or fewer of them, use [`first`](Self::first), [`majority`](Self::majority),
/// [`count`](Self::count), [`each`](Self::each) or [`until`](Self::until): the client learns from
/// its gateway who the members are, and asks for each one's share by itself, by way of the gateway.
/// So it has an answer as soon as that member has given it, and the gateway may fail in between.
///
/// Every share is done from a state that has in it what this client has seen, its own updates among
/// that, and what these states had in them its later queries read, too.
///
/// ```
/// # use vsync::{QueryCtx, replicated, testing::Cluster};
/// # #[replicated]
/// # #[derive(Debug, Default)]
/// # pub struct Archive {
/// #     pages: Vec<u64>,
/// # }
/// # fn merge(shares: Vec<Vec<u64>>) -> Vec<u64> {
/// #     shares.concat()
/// # }
/// #[replicated]
/// impl Archive {
/// #   #[update(order = "total")]
/// #   pub fn fill(&mut self, pages: Vec<u64>) {
/// #       self.pages.extend(pages);
/// #   }
///     /// The pages that can be divided.
///     #[query(scatter, gather = merge)]
///     pub fn search(&self, ctx: &QueryCtx, by: u64) -> Vec<u64> {
///         let mine = &self.pages[ctx.share(0..self.pages.len())];
///         mine.iter().copied().filter(|page| page % by == 0).collect()
///     }
/// }
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
/// # let cluster = Cluster::new(1).await;
/// # let member = cluster.node(0).group("archive").create(Archive::default()).await?;
/// # let client = cluster.client().await?;
/// # let archive: ArchiveClient = client.group("archive");
/// # archive.fill((0..100).collect()).await?;
///
/// let found = archive.search(30).until(|answers| !answers.is_empty()).await?;
/// assert_eq!(found.answers[0].1, [0, 30, 60, 90]);
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[must_use = "nothing is asked before this is awaited"]
pub struct RemoteScatter<S: Replicated, R> {
    query: RemoteQuery<S, R>,
}

impl<S: Replicated, R> RemoteScatter<S, R> {
    pub(crate) fn new(group: RemoteGroup<S>, query: Result<Vec<u8>, EncodeError>) -> Self {
        RemoteScatter { query: RemoteQuery::new(group, query) }
    }

    /// All shares, gathered: what is waited for unless something else is said.
    pub fn all(self) -> Self {
        self
    }

    /// As [`RemoteQuery::local`].
    pub fn local(self) -> Self {
        RemoteScatter { query: self.query.local() }
    }

    /// As [`RemoteQuery::at_least`].
    pub fn at_least(self, seen: &Seen) -> Self {
        RemoteScatter { query: self.query.at_least(seen) }
    }

    /// Has one member do the whole of it: as [`RemoteQuery::at`].
    pub fn at(self, member: impl Into<Target>) -> RemoteQuery<S, R> {
        self.query.at(member)
    }

    /// Gives up waiting after `limit`, instead of 10 seconds: [`ClientError::Timeout`].
    pub fn timeout(self, limit: Duration) -> Self {
        RemoteScatter { query: self.query.timeout(limit) }
    }

    /// The first answer that comes.
    pub fn first(self) -> RemoteScatterSome<S, R> {
        self.count(1)
    }

    /// The answers of more than half of the active members.
    pub fn majority(self) -> RemoteScatterSome<S, R> {
        self.some(Until::Majority)
    }

    /// The answers of so many members; of all, if there are fewer. For 0 nobody is asked, not even
    /// who the members are: nobody is missing.
    pub fn count(self, answers: usize) -> RemoteScatterSome<S, R> {
        self.some(Until::Count(answers))
    }

    /// The answers of all members, one by one, and why one has none.
    pub fn each(self) -> RemoteScatterSome<S, R> {
        self.count(usize::MAX)
    }

    /// Answers until `enough` says so of those that are here, in the order in which they came.
    pub fn until(
        self,
        enough: impl FnMut(&[(MemberId, R)]) -> bool + Send + 'static,
    ) -> RemoteScatterSome<S, R> {
        self.some(Until::Enough(Box::new(enough)))
    }

    fn some(self, until: Until<R>) -> RemoteScatterSome<S, R> {
        RemoteScatterSome { query: self.query, until }
    }
}

impl<S: Replicated, R: DeserializeOwned + Send + 'static> IntoFuture for RemoteScatter<S, R> {
    type Output = Result<R, ClientError>;
    type IntoFuture = RemoteQueryFuture<R>;

    fn into_future(self) -> Self::IntoFuture {
        self.query.into_future()
    }
}

/// A scattered query of a client of which not all answers are waited for, or each by itself. Each
/// member is asked for its own share; nobody does another's.
///
/// # Errors
/// [`ClientError`] where no member says who the members are, or the query is another one at the
/// members, such as one that is not scattered ([`ClientError::Type`]). That a member has no answer
/// is no error: [`Scattered::missing`] says why. An answer longer than 16 MiB is
/// [`Missing::Refused`](crate::Missing::Refused).
#[must_use = "nothing is asked before this is awaited"]
pub struct RemoteScatterSome<S: Replicated, R> {
    query: RemoteQuery<S, R>,
    until: Until<R>,
}

impl<S: Replicated, R> RemoteScatterSome<S, R> {
    /// Waits no longer than this, instead of 10 seconds: who has not answered then is
    /// [`Missing::Late`](crate::Missing::Late). [`ClientError::Timeout`] where it is not even known
    /// by then who the members are.
    pub fn timeout(self, limit: Duration) -> Self {
        RemoteScatterSome { query: self.query.timeout(limit), ..self }
    }

    /// As [`RemoteQuery::local`].
    pub fn local(self) -> Self {
        RemoteScatterSome { query: self.query.local(), ..self }
    }

    /// As [`RemoteQuery::at_least`].
    pub fn at_least(self, seen: &Seen) -> Self {
        RemoteScatterSome { query: self.query.at_least(seen), ..self }
    }
}

impl<S: Replicated, R: DeserializeOwned + Send + 'static> IntoFuture for RemoteScatterSome<S, R> {
    type Output = Result<Scattered<R>, ClientError>;
    type IntoFuture = RemoteQueryFuture<Scattered<R>>;

    fn into_future(self) -> Self::IntoFuture {
        RemoteQueryFuture::new(async move {
            let RemoteScatterSome { query: asked, until } = self;
            let mut seen = asked.floor();
            let RemoteQuery { group, query, limit, .. } = asked;
            let query = query.map_err(|error| ClientError::Encode(error.to_string()))?;
            let asking = group.asking(limit);
            asking.fits(&query)?;
            if until.is_nothing() {
                return Ok(Scattered { answers: Vec::new(), missing: Vec::new() });
            }
            let deadline = asking.deadline;
            let (members, there) = asking.members::<S>(seen.clone()).await?;
            // Another gateway may not have come to that view yet: it waits until it has, rather
            // than to know nothing of a member that has just joined.
            seen.get_or_insert_default().raise(&there.view_begun());
            let ask = |member, share| {
                let (group, query, seen) = (group.clone(), query.clone(), seen.clone());
                async move {
                    let asking = group.asking_by(deadline);
                    asking.share::<S>(&query, seen, (member, share)).await
                }
            };
            some(&members, until, Some(deadline), ask, whole).await
        })
    }
}

impl<S: Replicated, R> fmt::Debug for RemoteScatter<S, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.query.group.name();
        f.debug_struct("RemoteScatter").field("group", &name).finish_non_exhaustive()
    }
}

impl<S: Replicated, R> fmt::Debug for RemoteScatterSome<S, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.query.group.name();
        f.debug_struct("RemoteScatterSome").field("group", &name).finish_non_exhaustive()
    }
}

#[cfg(all(test, feature = "testing"))]
mod tests;
