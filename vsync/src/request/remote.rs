//! [`RemoteRequest`]: a request of a client.

use std::convert::Infallible;
use std::fmt;
use std::future::IntoFuture;
use std::marker::PhantomData;
use std::time::Duration;

use serde::de::DeserializeOwned;
use tokio::time::Instant;

use super::once::{Asks, Called, GRACE, LIMIT, once};
use super::{RequestFuture, declared, outcome, value};
use crate::asking::{Asking, Attempts, NoReply, check_key};
use crate::error::{ClientCallError, ClientError};
use crate::gateway::Request;
use crate::optimistic::Fallible;
use crate::remote::RemoteGroup;
use crate::replicated::{EncodeError, Replicated};
use crate::runtime::pending::Wanted;
use crate::runtime::rpc::{Answer, LONGEST};
use crate::runtime::sessions::{Committed, Recorded};
use crate::session::Ticket;

/// A request that a client asks for: one member answers it, its effects and its answer are decided
/// together, once, however often it has to be sent and whoever fails meanwhile.
///
/// It is sent when this is awaited: to one member, which has it ordered, and, when that member
/// fails or does not answer, to the others in turn. All of these attempts have one name.
///
/// `V` is the answer's value; `O` says whether the handler may [say no](Fallible).
#[must_use = "nothing is sent before this is awaited"]
pub struct RemoteRequest<S: Replicated, V, O = Infallible> {
    group: RemoteGroup<S>,
    call: Result<Called, EncodeError>,
    key: Option<Vec<u8>>,
    limit: Duration,
    result: PhantomData<fn() -> (V, O)>,
}

impl<S: Replicated, V, O> RemoteRequest<S, V, O> {
    pub(crate) fn new(group: RemoteGroup<S>, call: Result<Called, EncodeError>) -> Self {
        RemoteRequest { group, call, key: None, limit: LIMIT, result: PhantomData }
    }

    /// How long it may take: 10 seconds unless this says otherwise, a day at most.
    ///
    /// It is the request's deadline everywhere: the members count it from when they agree on the
    /// request, and end it when it comes. The outcome is then
    /// [`NotApplied`](ClientCallError::NotApplied) with [`ClientError::Deadline`]. If the group
    /// does not say so within two seconds more, it is [`Unknown`](ClientCallError::Unknown).
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// Gives the request a name of the application's own, as
    /// [`RemoteCall::key`](crate::RemoteCall::key) does an update. Whoever asks for it again under
    /// this name waits for the same answer, or gets it.
    pub fn key(mut self, key: impl AsRef<[u8]>) -> Self {
        self.key = Some(key.as_ref().to_vec());
        self
    }

    /// What came of it, as its bytes.
    async fn bytes<E>(self) -> Result<Vec<u8>, ClientCallError<E>> {
        let encode = |error: EncodeError| ClientError::Encode(error.to_string());
        let called = self.call.map_err(|error| ClientCallError::NotApplied(encode(error)))?;
        let deadline = Instant::now() + self.limit.min(Duration::from_secs(1 << 30));
        let asking = self.group.asking(Some(self.limit.saturating_add(GRACE)));
        outcome(asking.perform::<S>(called, self.key, deadline).await)
    }
}

impl Asking<'_> {
    /// Has a request answered once, under `key` or in this client's session.
    async fn perform<S: Replicated>(
        &self,
        called: Called,
        key: Option<Vec<u8>>,
        deadline: Instant,
    ) -> Result<Recorded, NoReply> {
        check_key(key.as_deref())?;
        if called.call.len() > LONGEST {
            let size = called.call.len();
            return Err(ClientError::TooLarge { size, limit: LONGEST }.into());
        }
        if Instant::now() >= deadline {
            return Err(ClientError::Deadline.into());
        }
        let mut client =
            Client::<S> { asking: self, attempts: Attempts::new(), state: PhantomData };
        once(&mut client, &called, key.as_deref(), deadline).await
    }
}

/// A client that asks one member after the other.
struct Client<'a, S> {
    asking: &'a Asking<'a>,
    attempts: Attempts,
    state: PhantomData<fn() -> S>,
}

impl<S: Replicated> Asks for Client<'_, S> {
    async fn ticket(&mut self) -> Result<Ticket, NoReply> {
        let unknown = self.attempts.unknown;
        self.asking.ticket::<S>().await.map_err(|why| NoReply { unknown, why })
    }

    async fn ask(&mut self, wanted: Wanted) -> Result<Answer, NoReply> {
        let ask = self.asking.request::<S>(Request::Perform(wanted));
        let answer = self.asking.until_answered::<S>(&ask, &mut self.attempts).await;
        // One that is under way now ends without a word: nobody waits for it any more.
        self.attempts.unknown |= self.attempts.under_way;
        answer.map_err(|why| NoReply { unknown: self.attempts.unknown, why })
    }

    async fn other(&mut self, answer: Answer, called: &Called) -> Result<(), NoReply> {
        let why = match answer {
            Answer::UnknownQuery { id } => ClientError::UnknownRequest { id },
            other => self.asking.error::<S>(other, &called.call),
        };
        Err(NoReply { unknown: self.attempts.unknown, why })
    }

    fn unknown(&mut self) -> &mut bool {
        &mut self.attempts.unknown
    }

    async fn expired(&mut self, ticket: &Ticket) {
        self.asking.route.expired(ticket.session());
    }
}

impl<S, V> IntoFuture for RemoteRequest<S, V, Infallible>
where
    S: Replicated,
    V: DeserializeOwned + Send + 'static,
{
    type Output = Result<V, ClientCallError<Infallible>>;
    type IntoFuture = RequestFuture<V, Infallible>;

    fn into_future(self) -> Self::IntoFuture {
        RequestFuture::new(async move { value(&self.bytes().await?) })
    }
}

impl<S, V, E> IntoFuture for RemoteRequest<S, V, Fallible<E>>
where
    S: Replicated,
    V: DeserializeOwned + Send + 'static,
    E: DeserializeOwned + Send + 'static,
{
    type Output = Result<V, ClientCallError<E>>;
    type IntoFuture = RequestFuture<V, E>;

    fn into_future(self) -> Self::IntoFuture {
        RequestFuture::new(async move { declared(&self.bytes().await?) })
    }
}

impl<S: Replicated, V, O> fmt::Debug for RemoteRequest<S, V, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteRequest").field("group", &self.group.name()).finish_non_exhaustive()
    }
}

impl<S: Replicated> RemoteGroup<S> {
    /// Ends the request with this [key](RemoteRequest::key), if it is still under way: whoever
    /// waits for it is told so, and it never has an effect. `false` if there is none, or it was
    /// answered before.
    ///
    /// # Errors
    /// [`ClientError`] where no member says what came of it within 10 seconds.
    pub async fn cancel_request(&self, key: impl AsRef<[u8]>) -> Result<bool, ClientError> {
        let asking = self.asking(Some(LIMIT));
        let ask = asking.request::<S>(Request::Cancel(key.as_ref().to_vec()));
        match asking.until_answered::<S>(&ask, &mut Attempts::new()).await? {
            Answer::Committed { committed: Committed::Cancelled(was), .. } => Ok(was),
            other => Err(asking.error::<S>(other, &[])),
        }
    }
}
