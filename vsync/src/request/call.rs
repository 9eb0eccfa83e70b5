//! [`RequestCall`]: a request of a member's own handle.

use std::convert::Infallible;
use std::fmt;
use std::future::IntoFuture;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use serde::de::DeserializeOwned;
use tokio::time::{Instant, sleep, timeout_at};

use super::once::{Asks, Called, GRACE, LIMIT, once};
use super::{RequestFuture, declared, outcome, serving, value};
use crate::asking::{NoReply, check_key, refused};
use crate::error::{ClientCallError, ClientError};
use crate::gateway::submit;
use crate::group::Group;
use crate::optimistic::Fallible;
use crate::replicated::{EncodeError, Replicated};
use crate::runtime::inner::Inner;
use crate::runtime::pending::Wanted;
use crate::runtime::replica::Answering;
use crate::runtime::rpc::Answer;
use crate::runtime::sessions::{Committed, Recorded};
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
        let mut asker = Asker {
            registered: Registered { seat, answering },
            deadline: Instant::now() + self.limit.min(Duration::from_secs(1 << 30)),
            known: Known { unknown: false, last: "it was not ordered yet".to_owned() },
        };
        outcome(asker.perform(called, self.key).await)
    }
}

/// A member that asks for itself.
struct Asker {
    registered: Registered,
    deadline: Instant,
    known: Known,
}

/// What is known of the attempts.
struct Known {
    /// One may have an effect.
    unknown: bool,
    /// What the last one met.
    last: String,
}

impl Asker {
    async fn perform(&mut self, called: Called, key: Option<Vec<u8>>) -> Result<Recorded, NoReply> {
        check_key(key.as_deref())?;
        if Instant::now() >= self.deadline {
            return Err(ClientError::Deadline.into());
        }
        let deadline = self.deadline;
        let done =
            timeout_at(deadline + GRACE, once(self, &called, key.as_deref(), deadline)).await;
        done.unwrap_or_else(|_| {
            let why = ClientError::Timeout { last: std::mem::take(&mut self.known.last) };
            Err(NoReply { unknown: self.known.unknown, why })
        })
    }

    /// An error if the membership is over.
    fn open(&self) -> Result<(), NoReply> {
        match self.registered.seat.status().trouble.closed {
            Some(_) => Err(NoReply { unknown: self.known.unknown, why: ClientError::Closed }),
            None => Ok(()),
        }
    }

    /// A number in this node's session, which is opened if there is none. `None`: try again.
    async fn numbered(&mut self) -> Result<Option<Ticket>, NoReply> {
        let mut session = self.registered.seat.desk().session().lock().await;
        if session.is_none() {
            match submit(&self.registered, Inner::Open(LEASE), false).await {
                Answer::Committed { committed: Committed::Opened(id), .. } => {
                    *session = Some(Arc::new(Session::new(id)));
                }
                Answer::Committed { committed: Committed::Refused(why), .. } => {
                    return Err(NoReply { unknown: self.known.unknown, why: refused(why) });
                }
                other => {
                    // A session that was opened without a word is forgotten in time.
                    drop(session);
                    let before = self.known.unknown;
                    self.again(other).await?;
                    self.known.unknown = before;
                    return Ok(None);
                }
            }
        }
        let Some(open) = session.clone() else { return Ok(None) };
        drop(session);
        Ok(Some(open.ticket().await))
    }

    /// After what is no answer: an error if there will be none.
    async fn again(&mut self, answer: Answer) -> Result<(), NoReply> {
        let known = &mut self.known;
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

impl Asks for Asker {
    async fn ticket(&mut self) -> Result<Ticket, NoReply> {
        loop {
            self.open()?;
            if let Some(ticket) = self.numbered().await? {
                return Ok(ticket);
            }
        }
    }

    async fn ask(&mut self, wanted: Wanted) -> Result<Answer, NoReply> {
        self.open()?;
        // Whoever gives up in the midst of it does not know what came of it.
        let before = std::mem::replace(&mut self.known.unknown, true);
        let answer = serving::perform(&self.registered, wanted).await;
        self.known.unknown = before;
        Ok(answer)
    }

    async fn other(&mut self, answer: Answer, _: &Called) -> Result<(), NoReply> {
        self.again(answer).await
    }

    fn unknown(&mut self) -> &mut bool {
        &mut self.known.unknown
    }

    async fn expired(&mut self, ticket: &Ticket) {
        let mut session = self.registered.seat.desk().session().lock().await;
        if session.as_ref().is_some_and(|open| open.id() == ticket.session()) {
            *session = None;
        }
    }
}

impl<S, V> IntoFuture for RequestCall<S, V, Infallible>
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

impl<S, V, E> IntoFuture for RequestCall<S, V, Fallible<E>>
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

impl<S: Replicated, V, O> fmt::Debug for RequestCall<S, V, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestCall").field("group", &self.group.name()).finish_non_exhaustive()
    }
}
