//! [`RequestCall`]: a request of a member's own handle.

use std::convert::Infallible;
use std::fmt;
use std::future::{Future, IntoFuture};
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use serde::de::DeserializeOwned;
use tokio::time::{Instant, sleep, timeout_at};

use super::remote::{Called, GRACE, LIMIT};
use super::{declared, outcome, serving, value};
use crate::asking::{NoReply, check_key, refused};
use crate::error::{ClientCallError, ClientError};
use crate::gateway::submit;
use crate::group::Group;
use crate::optimistic::Fallible;
use crate::replicated::{EncodeError, Replicated};
use crate::runtime::inner::Inner;
use crate::runtime::replica::Answering;
use crate::runtime::rpc::Answer;
use crate::runtime::sessions::{Committed, Recorded, Refusal, RequestId};
use crate::session::{Session, Ticket};
use crate::steward::Registered;

/// How long the group remembers what this node's handles have asked for, while it hears nothing
/// more from them: microseconds.
const LEASE: u64 = 300_000_000;
/// The pause before this member tries again.
const PAUSE: Duration = Duration::from_millis(50);

/// A request that a member's handle asks for. As a client's ([`RemoteRequest`]) it is answered
/// once; it is ordered by this member, and goes on when this node was excluded and is a member
/// again.
///
/// [`RemoteRequest`]: crate::RemoteRequest
#[must_use = "nothing is sent before this is awaited"]
pub struct RequestCall<S: Replicated, V, O = Infallible> {
    group: Group<S>,
    call: Result<Called, EncodeError>,
    key: Option<Vec<u8>>,
    limit: Duration,
    result: PhantomData<fn() -> (V, O)>,
}

impl<S: Replicated, V, O> RequestCall<S, V, O> {
    pub(crate) fn new(group: Group<S>, call: Result<Called, EncodeError>) -> Self {
        RequestCall { group, call, key: None, limit: LIMIT, result: PhantomData }
    }

    /// How long it may take; see [`RemoteRequest::timeout`](crate::RemoteRequest::timeout).
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// Gives the request a name of the application's own; see
    /// [`RemoteRequest::key`](crate::RemoteRequest::key).
    pub fn key(mut self, key: impl AsRef<[u8]>) -> Self {
        self.key = Some(key.as_ref().to_vec());
        self
    }

    /// What came of it, as its bytes.
    async fn bytes<E>(self) -> Result<Vec<u8>, ClientCallError<E>> {
        let encode = |error: EncodeError| ClientError::Encode(error.to_string());
        let called = self.call.map_err(|error| ClientCallError::NotApplied(encode(error)))?;
        let seat = Arc::clone(&self.group.shared.seat);
        let answering: Arc<dyn Answering> = Arc::clone(&self.group.shared) as _;
        let asker = Asker {
            registered: Registered { seat, answering },
            deadline: Instant::now() + self.limit.min(Duration::from_secs(1 << 30)),
        };
        outcome(asker.perform(called, self.key).await)
    }
}

/// A member that asks for itself.
struct Asker {
    registered: Registered,
    deadline: Instant,
}

impl Asker {
    async fn perform(&self, called: Called, key: Option<Vec<u8>>) -> Result<Recorded, NoReply> {
        check_key(key.as_deref())?;
        if Instant::now() >= self.deadline {
            return Err(ClientError::Deadline.into());
        }
        let mut known = Known { unknown: false, last: "it was not ordered yet".to_owned() };
        let done = self.until_answered(called, key, &mut known);
        match timeout_at(self.deadline + GRACE, done).await {
            Ok(done) => done,
            Err(_) => {
                let why = ClientError::Timeout { last: known.last };
                Err(NoReply { unknown: known.unknown, why })
            }
        }
    }

    async fn until_answered(
        &self,
        called: Called,
        key: Option<Vec<u8>>,
        known: &mut Known,
    ) -> Result<Recorded, NoReply> {
        let mut ticket = None;
        loop {
            if self.registered.seat.status().closed.is_some() {
                return Err(NoReply { unknown: known.unknown, why: ClientError::Closed });
            }
            let id = match &key {
                Some(key) => RequestId::Key(key.clone()),
                None => {
                    if ticket.is_none() {
                        ticket = self.ticket(known).await?;
                    }
                    let Some(ticket) = &ticket else { continue };
                    ticket.id()
                }
            };
            let left = self.deadline.saturating_duration_since(Instant::now());
            let under_way = std::mem::replace(&mut known.unknown, true);
            let answer = serving::perform(&self.registered, called.wanted(id, left)).await;
            known.unknown = under_way;
            let refusal = match answer {
                Answer::Committed { committed: Committed::Recorded(recorded), .. } => {
                    return Ok(recorded);
                }
                Answer::Committed { committed: Committed::Refused(why), .. } => why,
                Answer::Pending(_) => {
                    known.unknown = true;
                    continue;
                }
                other => {
                    self.again(other, known).await?;
                    continue;
                }
            };
            if refusal == Refusal::Expired
                && let Some(ticket) = ticket.take()
            {
                self.expired(&ticket).await;
                if !known.unknown {
                    continue;
                }
            }
            let unknown = known.unknown && refusal != Refusal::OtherContent;
            return Err(NoReply { unknown, why: refused(refusal) });
        }
    }

    /// A number in this node's session, which is opened if there is none. `None`: try again.
    async fn ticket(&self, known: &mut Known) -> Result<Option<Ticket>, NoReply> {
        let mut session = self.registered.seat.desk.session.lock().await;
        if session.is_none() {
            match submit(&self.registered, Inner::Open(LEASE), false).await {
                Answer::Committed { committed: Committed::Opened(id), .. } => {
                    *session = Some(Arc::new(Session::new(id)));
                }
                Answer::Committed { committed: Committed::Refused(why), .. } => {
                    return Err(NoReply { unknown: known.unknown, why: refused(why) });
                }
                other => {
                    // A session that was opened without a word is forgotten in time.
                    drop(session);
                    let before = known.unknown;
                    self.again(other, known).await?;
                    known.unknown = before;
                    return Ok(None);
                }
            }
        }
        let Some(open) = session.clone() else { return Ok(None) };
        drop(session);
        Ok(Some(open.ticket().await))
    }

    /// The group knows the session no more.
    async fn expired(&self, ticket: &Ticket) {
        let mut session = self.registered.seat.desk.session.lock().await;
        if session.as_ref().is_some_and(|open| open.id() == ticket.session()) {
            *session = None;
        }
    }

    /// After what is no answer: an error if there will be none.
    async fn again(&self, answer: Answer, known: &mut Known) -> Result<(), NoReply> {
        let unknown = known.unknown;
        let why = match answer {
            Answer::Unavailable(why) => {
                known.last = why;
                sleep(PAUSE).await;
                return Ok(());
            }
            Answer::UnderWay(why) => {
                known.last = why;
                known.unknown = true;
                sleep(PAUSE).await;
                return Ok(());
            }
            Answer::UnknownQuery { id } => ClientError::UnknownRequest { id },
            Answer::TooLarge { size, limit } => ClientError::TooLarge {
                size: usize::try_from(size).unwrap_or(usize::MAX),
                limit: usize::try_from(limit).unwrap_or(usize::MAX),
            },
            Answer::BadQuery(why) => ClientError::Decode(why),
            _ => ClientError::Decode("an answer to nothing".to_owned()),
        };
        Err(NoReply { unknown, why })
    }
}

/// What is known of the attempts.
struct Known {
    /// One may have an effect.
    unknown: bool,
    /// What the last one met.
    last: String,
}

impl<S, V> IntoFuture for RequestCall<S, V, Infallible>
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

impl<S, V, E> IntoFuture for RequestCall<S, V, Fallible<E>>
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

impl<S: Replicated, V, O> fmt::Debug for RequestCall<S, V, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestCall").field("group", &self.group.name()).finish_non_exhaustive()
    }
}
