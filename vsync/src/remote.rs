//! [`RemoteGroup`]: a group seen by a client that is no member.

use std::fmt;
use std::future::{Future, IntoFuture};
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use serde::de::DeserializeOwned;
use tokio::time::Instant;

use crate::ask::Target;
use crate::asking::Asking;
use crate::card::Card;
use crate::client::Connection;
use crate::codec;
use crate::error::ClientError;
use crate::replicated::{EncodeError, Replicated};
use crate::runtime::rpc::By;
use crate::seen::Seen;
use crate::session::Route;

/// How long a client tries, unless told otherwise.
const DEADLINE: Duration = Duration::from_secs(10);

/// A group that this process is no member of. Cheap to clone.
pub struct RemoteGroup<S: Replicated> {
    name: Arc<str>,
    connection: Arc<Connection>,
    card: Arc<OnceLock<Card>>,
    route: Arc<Route>,
    state: PhantomData<fn() -> S>,
}

impl<S: Replicated> Clone for RemoteGroup<S> {
    fn clone(&self) -> Self {
        RemoteGroup {
            name: Arc::clone(&self.name),
            connection: Arc::clone(&self.connection),
            card: Arc::clone(&self.card),
            route: Arc::clone(&self.route),
            state: PhantomData,
        }
    }
}

impl<S: Replicated> fmt::Debug for RemoteGroup<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteGroup").field("name", &self.name).finish()
    }
}

impl<S: Replicated> RemoteGroup<S> {
    pub(crate) fn new(name: Arc<str>, connection: Arc<Connection>) -> Self {
        let route = connection.route(&name);
        RemoteGroup { name, connection, card: Arc::default(), route, state: PhantomData }
    }

    /// The group's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How far this client has seen the group: its own updates that were answered, and the states
    /// that its queries were answered from. Another client's query can ask for
    /// [at least](RemoteQuery::at_least) that.
    pub fn seen(&self) -> Seen {
        self.route.seen()
    }

    pub(crate) fn asking(&self, limit: Option<Duration>) -> Asking<'_> {
        let now = Instant::now();
        let limit = limit.unwrap_or(DEADLINE);
        // So far away that it makes no difference.
        self.asking_by(now.checked_add(limit).unwrap_or(now + Duration::from_secs(1 << 30)))
    }

    /// The same, until then.
    pub(crate) fn asking_by(&self, deadline: Instant) -> Asking<'_> {
        let card = self.card.get_or_init(Card::of::<S>);
        let (connection, route) = (&self.connection, &self.route);
        Asking { connection, route, card, group: &self.name, deadline }
    }
}

/// A client's typed handle of a group: what `#[replicated]` generates as `…Client`.
pub trait Remote: From<RemoteGroup<Self::State>> {
    /// The replicated type.
    type State: Replicated;
}

/// A query that a member answers, from stable state. It is asked when this is awaited, and asked
/// again of another member when the first one fails.
///
/// The state that it is answered from has in it all updates of this client that were answered
/// before, and all that earlier answers have shown it: whichever member answers, a client reads its
/// own writes and never goes back in time. [`local`](Self::local) does without that.
#[must_use = "nothing is asked before this is awaited"]
pub struct RemoteQuery<S: Replicated, R> {
    pub(crate) group: RemoteGroup<S>,
    pub(crate) query: Result<Vec<u8>, EncodeError>,
    local: bool,
    at_least: Option<Seen>,
    at: Option<Target>,
    linearizable: bool,
    pub(crate) limit: Option<Duration>,
    result: PhantomData<fn() -> R>,
}

impl<S: Replicated, R> RemoteQuery<S, R> {
    /// `query` is the encoded query, the method's id and its arguments, if it could be encoded.
    pub(crate) fn new(group: RemoteGroup<S>, query: Result<Vec<u8>, EncodeError>) -> Self {
        let (at_least, at, limit) = (None, None, None);
        let (local, linearizable, result) = (false, false, PhantomData);
        RemoteQuery { group, query, local, at_least, at, linearizable, limit, result }
    }

    /// What the states that it is answered from have to have in them.
    pub(crate) fn floor(&self) -> Option<Seen> {
        let mut seen = self.at_least.clone();
        if !self.local {
            seen.get_or_insert_default().raise(&self.group.route.seen());
        }
        seen
    }

    /// Takes the answer of any member as it is, also from a state older than what this client has
    /// seen. It is stable all the same. For where stale is good enough: nobody waits for a member
    /// that lags.
    pub fn local(mut self) -> Self {
        self.local = true;
        self
    }

    /// Has it answered from a state that has all of `seen` in it, too: what another client
    /// [has seen](RemoteGroup::seen).
    pub fn at_least(mut self, seen: &Seen) -> Self {
        self.at_least.get_or_insert_default().raise(seen);
        self
    }

    /// Has one member answer it from its own replica, by its id or by its rank in the view that is
    /// installed where this is asked: its `#[local]` fields are in the answer, too. A query whose
    /// work the members divide is done by that one as a whole.
    ///
    /// No other member answers in its place: one that has left, has failed or was excluded is
    /// [`ClientError::NoAnswer`], and who never was a member [`ClientError::NoSuchMember`].
    pub fn at(mut self, member: impl Into<Target>) -> Self {
        self.at = Some(member.into());
        self
    }

    /// Has it answered from a state that has in it every update that was completed anywhere before
    /// this was asked, whoever had asked for it: the member that answers orders the question with
    /// the group's updates first. See [`Query::linearizable`](crate::Query::linearizable) for what
    /// that costs. One member answers for the whole of a query whose work the members divide.
    pub fn linearizable(mut self) -> Self {
        self.linearizable = true;
        self
    }

    /// Gives up waiting after `limit`, instead of 10 seconds:
    /// [`ClientError::Timeout`], with what the last attempt met.
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.limit = Some(limit);
        self
    }
}

impl<S: Replicated, R: DeserializeOwned + Send + 'static> IntoFuture for RemoteQuery<S, R> {
    type Output = Result<R, ClientError>;
    type IntoFuture = RemoteQueryFuture<R>;

    fn into_future(self) -> Self::IntoFuture {
        RemoteQueryFuture::new(async move {
            let seen = self.floor();
            let query = self.query.map_err(|error| ClientError::Encode(error.to_string()))?;
            let by = match self.linearizable {
                true => By::Latest(self.at),
                false => By::Any(self.at),
            };
            let asking = self.group.asking(self.limit);
            let (bytes, _) = asking.query::<S>(query, seen, by).await?;
            whole(&bytes)
        })
    }
}

/// A [`RemoteQuery`], or a part of the answers of a scattered one, that is being asked for.
#[must_use = "futures do nothing unless polled"]
pub struct RemoteQueryFuture<R>(Pin<Box<dyn Future<Output = Result<R, ClientError>> + Send>>);

impl<R> RemoteQueryFuture<R> {
    pub(crate) fn new(
        asking: impl Future<Output = Result<R, ClientError>> + Send + 'static,
    ) -> Self {
        RemoteQueryFuture(Box::pin(asking))
    }
}

impl<R> Future for RemoteQueryFuture<R> {
    type Output = Result<R, ClientError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(cx)
    }
}

impl<R> fmt::Debug for RemoteQueryFuture<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteQueryFuture").finish_non_exhaustive()
    }
}

/// The value that these bytes are.
pub(crate) fn whole<R: DeserializeOwned>(bytes: &[u8]) -> Result<R, ClientError> {
    let mut rest = bytes;
    let value = codec::read::<R>(&mut rest).map_err(ClientError::Decode)?;
    if !rest.is_empty() {
        let more = rest.len();
        return Err(ClientError::Decode(format!("{more} bytes after the answer")));
    }
    Ok(value)
}

impl<S: Replicated, R> fmt::Debug for RemoteQuery<S, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteQuery").field("group", &self.group.name).finish()
    }
}
