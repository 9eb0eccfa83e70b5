//! [`RemoteRequest`]: a request of a client.

use std::convert::Infallible;
use std::fmt;
use std::future::{Future, IntoFuture};
use std::marker::PhantomData;
use std::pin::Pin;
use std::time::Duration;

use serde::de::DeserializeOwned;
use tokio::time::Instant;

use super::{declared, outcome, value};
use crate::asking::{Asking, Attempts, NoReply, check_key, refused};
use crate::error::{ClientCallError, ClientError};
use crate::gateway::Request;
use crate::optimistic::Fallible;
use crate::remote::RemoteGroup;
use crate::replicated::{EncodeError, Replicated};
use crate::runtime::pending::Wanted;
use crate::runtime::rpc::{Answer, LONGEST};
use crate::runtime::sessions::{Committed, Recorded, Refusal, RequestId};

/// How long a request may take, unless told otherwise.
pub(crate) const LIMIT: Duration = Duration::from_secs(10);
/// How long a client waits behind the deadline, for the group's word that nothing was done.
pub(crate) const GRACE: Duration = Duration::from_secs(2);

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

/// What is asked for.
#[derive(Clone, Debug)]
pub(crate) struct Called {
    /// Method id and arguments.
    pub(crate) call: Vec<u8>,
    /// Hash of the argument by which its coordinator is chosen.
    pub(crate) key: Option<u64>,
}

impl Called {
    pub(crate) fn new<S: Replicated>(request: &S::Request) -> Result<Called, EncodeError> {
        let mut call = Vec::new();
        S::encode_request(request, &mut call)?;
        Ok(Called { call, key: S::request_key(request) })
    }

    /// As it is asked for under this name, for so long.
    pub(crate) fn wanted(&self, id: RequestId, left: Duration) -> Wanted {
        let patience = u64::try_from(left.as_micros()).unwrap_or(u64::MAX);
        Wanted { id, call: self.call.clone(), key: self.key, patience }
    }
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
        let mut ticket = None;
        let mut attempts = Attempts::new();
        loop {
            let id = match &key {
                Some(key) => RequestId::Key(key.clone()),
                None => {
                    if ticket.is_none() {
                        ticket = Some(self.ticket::<S>().await?);
                    }
                    let Some(ticket) = &ticket else { continue };
                    ticket.id()
                }
            };
            let left = deadline.saturating_duration_since(Instant::now());
            let ask = self.request::<S>(Request::Perform(called.wanted(id, left)));
            let answer = self.until_answered::<S>(&ask, &mut attempts).await;
            let unknown = attempts.unknown || attempts.under_way;
            let refusal = match answer {
                Ok(Answer::Committed { committed: Committed::Recorded(recorded), .. }) => {
                    return Ok(recorded);
                }
                Ok(Answer::Pending(_)) => {
                    // It may be answered whatever becomes of this client.
                    attempts.unknown = true;
                    continue;
                }
                Ok(Answer::Committed { committed: Committed::Refused(why), .. }) => why,
                Ok(Answer::UnknownQuery { id }) => {
                    return Err(NoReply { unknown, why: ClientError::UnknownRequest { id } });
                }
                Ok(other) => {
                    return Err(NoReply { unknown, why: self.error::<S>(other, &called.call) });
                }
                Err(why) => return Err(NoReply { unknown, why }),
            };
            if refusal == Refusal::Expired
                && let Some(ticket) = ticket.take()
            {
                self.route.expired(ticket.session());
                if !unknown {
                    continue;
                }
            }
            // Under another content's name this one was never begun.
            let unknown = unknown && refusal != Refusal::OtherContent;
            return Err(NoReply { unknown, why: refused(refusal) });
        }
    }
}

impl<S, V> IntoFuture for RemoteRequest<S, V, Infallible>
where
    S: Replicated,
    V: DeserializeOwned + Send + 'static,
{
    type Output = Result<V, ClientCallError<Infallible>>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move { value(&self.bytes().await?) })
    }
}

impl<S, V, E> IntoFuture for RemoteRequest<S, V, Fallible<E>>
where
    S: Replicated,
    V: DeserializeOwned + Send + 'static,
    E: DeserializeOwned + Send + 'static,
{
    type Output = Result<V, ClientCallError<E>>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move { declared(&self.bytes().await?) })
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
