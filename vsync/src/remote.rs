//! [`RemoteGroup`]: a group seen by a client that is no member.

use std::fmt;
use std::future::{Future, IntoFuture};
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;

use serde::de::DeserializeOwned;

use crate::client::Connection;
use crate::codec;
use crate::error::ClientError;
use crate::replicated::{EncodeError, Replicated};

/// A group that this process is no member of. Cheap to clone.
pub struct RemoteGroup<S: Replicated> {
    name: Arc<str>,
    connection: Arc<Connection>,
    state: PhantomData<fn() -> S>,
}

impl<S: Replicated> Clone for RemoteGroup<S> {
    fn clone(&self) -> Self {
        RemoteGroup::new(Arc::clone(&self.name), Arc::clone(&self.connection))
    }
}

impl<S: Replicated> fmt::Debug for RemoteGroup<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteGroup").field("name", &self.name).finish()
    }
}

impl<S: Replicated> RemoteGroup<S> {
    pub(crate) fn new(name: Arc<str>, connection: Arc<Connection>) -> Self {
        RemoteGroup { name, connection, state: PhantomData }
    }

    pub(crate) fn connection(&self) -> &Connection {
        &self.connection
    }

    /// The group's name.
    pub fn name(&self) -> &str {
        &self.name
    }
}

/// A client's typed handle of a group: what `#[replicated]` generates as `…Client`.
pub trait Remote: From<RemoteGroup<Self::State>> {
    /// The replicated type.
    type State: Replicated;
}

/// A query that a member answers, from stable state. It is asked when this is awaited, and asked
/// again of another member when the first one fails.
#[must_use = "nothing is asked before this is awaited"]
pub struct RemoteQuery<S: Replicated, R> {
    group: RemoteGroup<S>,
    query: Result<Vec<u8>, EncodeError>,
    result: PhantomData<fn() -> R>,
}

impl<S: Replicated, R> RemoteQuery<S, R> {
    /// `query` is the encoded query, the method's id and its arguments, if it could be encoded.
    pub(crate) fn new(group: RemoteGroup<S>, query: Result<Vec<u8>, EncodeError>) -> Self {
        RemoteQuery { group, query, result: PhantomData }
    }
}

impl<S: Replicated, R: DeserializeOwned + Send + 'static> IntoFuture for RemoteQuery<S, R> {
    type Output = Result<R, ClientError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let RemoteGroup { name, connection, .. } = &self.group;
            let query = self.query.map_err(|error| ClientError::Encode(error.to_string()))?;
            let bytes = connection.query::<S>(name, query).await?;
            let mut rest: &[u8] = &bytes;
            let value = codec::read::<R>(&mut rest).map_err(ClientError::Decode)?;
            if !rest.is_empty() {
                let more = rest.len();
                return Err(ClientError::Decode(format!("{more} bytes after the answer")));
            }
            Ok(value)
        })
    }
}

impl<S: Replicated, R> fmt::Debug for RemoteQuery<S, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteQuery").field("group", &self.group.name).finish()
    }
}
