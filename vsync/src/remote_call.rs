//! [`RemoteCall`]: an update of a client.

use std::convert::Infallible;
use std::fmt;
use std::future::{Future, IntoFuture};
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use serde::de::DeserializeOwned;

use crate::error::{ClientCallError, ClientError};
use crate::optimistic::Fallible;
use crate::remote::RemoteGroup;
use crate::replicated::{EncodeError, Replicated};
use crate::request::{declared, outcome, value};

/// An update that a client asks for: it is carried out once, however often it has to be sent, and
/// awaiting it gives its result when that is stable.
///
/// It is sent when this is awaited: to one member, and, when that member fails or does not answer,
/// to the others in turn, until the time is over (10 seconds, unless [`timeout`](Self::timeout)
/// says otherwise). Every one of these attempts has one name, under which the members carry the
/// update out once and keep its result: whoever is asked answers with that.
///
/// Calls that are awaited one after the other take effect in that order; those that are under way
/// at the same time in any. A call that is dropped while it is under way may take effect or not.
///
/// `V` is the result's value; `O` says whether the method may [say no](Fallible).
#[must_use = "nothing is sent before this is awaited"]
pub struct RemoteCall<S: Replicated, V, O = Infallible> {
    group: RemoteGroup<S>,
    update: Result<Vec<u8>, EncodeError>,
    key: Option<Vec<u8>>,
    limit: Option<Duration>,
    result: PhantomData<fn() -> (V, O)>,
}

impl<S: Replicated, V, O> RemoteCall<S, V, O> {
    /// `update` is the encoded update, the method's id and its arguments, if it could be encoded.
    pub(crate) fn new(group: RemoteGroup<S>, update: Result<Vec<u8>, EncodeError>) -> Self {
        RemoteCall { group, update, key: None, limit: None, result: PhantomData }
    }

    /// Gives up waiting after `limit`. The outcome is [`NotApplied`](ClientCallError::NotApplied)
    /// where it is certain that no attempt had an effect, else
    /// [`Unknown`](ClientCallError::Unknown).
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.limit = Some(limit);
        self
    }

    /// Gives the update a name of the application's own, of at most 256 bytes: an order number, a
    /// request id. Then it is carried out once even if this client ends before it learns the
    /// outcome, and another process asks again under the same name: that gets the recorded result.
    ///
    /// The group knows the name for an hour (after that it would be carried out anew) and refuses
    /// another update under it. It is the group's: all clients share these names.
    pub fn key(mut self, key: impl AsRef<[u8]>) -> Self {
        self.key = Some(key.as_ref().to_vec());
        self
    }

    /// What came of it, as its bytes.
    async fn recorded<E>(self) -> Result<Vec<u8>, ClientCallError<E>> {
        let encode = |error: EncodeError| ClientError::Encode(error.to_string());
        let update = self.update.map_err(|error| ClientCallError::NotApplied(encode(error)))?;
        let asking = self.group.asking(self.limit);
        outcome(asking.update::<S>(update, self.key).await)
    }
}

impl<S, V> IntoFuture for RemoteCall<S, V, Infallible>
where
    S: Replicated,
    V: DeserializeOwned + Send + 'static,
{
    type Output = Result<V, ClientCallError<Infallible>>;
    type IntoFuture = RemoteCallFuture<V, Infallible>;

    fn into_future(self) -> Self::IntoFuture {
        RemoteCallFuture(Box::pin(async move { value(&self.recorded().await?) }))
    }
}

impl<S, V, E> IntoFuture for RemoteCall<S, V, Fallible<E>>
where
    S: Replicated,
    V: DeserializeOwned + Send + 'static,
    E: DeserializeOwned + Send + 'static,
{
    type Output = Result<V, ClientCallError<E>>;
    type IntoFuture = RemoteCallFuture<V, E>;

    fn into_future(self) -> Self::IntoFuture {
        RemoteCallFuture(Box::pin(async move { declared(&self.recorded().await?) }))
    }
}

/// A [`RemoteCall`] that is being carried out.
#[must_use = "futures do nothing unless polled"]
pub struct RemoteCallFuture<V, E>(
    Pin<Box<dyn Future<Output = Result<V, ClientCallError<E>>> + Send>>,
);

impl<V, E> Future for RemoteCallFuture<V, E> {
    type Output = Result<V, ClientCallError<E>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(cx)
    }
}

impl<V, E> fmt::Debug for RemoteCallFuture<V, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteCallFuture").finish_non_exhaustive()
    }
}

impl<S: Replicated, V, O> fmt::Debug for RemoteCall<S, V, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteCall").field("group", &self.group.name()).finish_non_exhaustive()
    }
}
