//! [`once`]: asking for a request until it is answered, once, whoever asks: a member or a client.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::Instant;

use crate::asking::{NoReply, refused};
use crate::error::ClientCallError;
use crate::replicated::{EncodeError, Replicated};
use crate::runtime::pending::Wanted;
use crate::runtime::rpc::Answer;
use crate::runtime::sessions::{Committed, Recorded, Refusal, RequestId};
use crate::session::Ticket;

/// How long a request may take, unless told otherwise.
pub(crate) const LIMIT: Duration = Duration::from_secs(10);
/// How long a client waits behind the deadline, for the group's word that nothing was done.
pub(crate) const GRACE: Duration = Duration::from_secs(2);

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

/// Whoever asks for requests: a member asks itself, a client one member after the other.
pub(super) trait Asks {
    /// A number in the asker's session, which is opened if there is none.
    fn ticket(&mut self) -> impl Future<Output = Result<Ticket, NoReply>> + Send;
    /// Asks until somebody says something.
    fn ask(&mut self, wanted: Wanted) -> impl Future<Output = Result<Answer, NoReply>> + Send;
    /// What is no word on the request: an error, if it is not to be asked for again.
    fn other(
        &mut self,
        answer: Answer,
        called: &Called,
    ) -> impl Future<Output = Result<(), NoReply>> + Send;
    /// Whether an attempt may have an effect, or may have it still.
    fn unknown(&mut self) -> &mut bool;
    /// The group knows the ticket's session no more.
    fn expired(&mut self, ticket: &Ticket) -> impl Future<Output = ()> + Send;
}

/// Has a request answered, under `key` or a number in the asker's session: the same name, however
/// often it is asked for.
pub(super) async fn once(
    asker: &mut impl Asks,
    called: &Called,
    key: Option<&[u8]>,
    deadline: Instant,
) -> Result<Recorded, NoReply> {
    let mut ticket = None;
    loop {
        let id = match (key, &ticket) {
            (Some(key), _) => RequestId::Key(key.to_vec()),
            (None, Some(ticket)) => Ticket::id(ticket),
            (None, None) => ticket.insert(asker.ticket().await?).id(),
        };
        let left = deadline.saturating_duration_since(Instant::now());
        let refusal = match asker.ask(called.wanted(id, left)).await? {
            Answer::Committed { committed: Committed::Recorded(recorded), .. } => {
                return Ok(recorded);
            }
            Answer::Committed { committed: Committed::Refused(why), .. } => why,
            Answer::Pending(_) => {
                // It may be answered whatever becomes of who asks.
                *asker.unknown() = true;
                continue;
            }
            other => {
                asker.other(other, called).await?;
                continue;
            }
        };
        let unknown = *asker.unknown();
        if refusal == Refusal::Expired
            && let Some(ticket) = ticket.take()
        {
            asker.expired(&ticket).await;
            if !unknown {
                continue;
            }
        }
        // Under another content's name this one was never begun.
        let unknown = unknown && refusal != Refusal::OtherContent;
        return Err(NoReply { unknown, why: refused(refusal) });
    }
}

/// A [`RequestCall`](crate::RequestCall) or a [`RemoteRequest`](crate::RemoteRequest) that is being
/// asked for.
#[must_use = "futures do nothing unless polled"]
pub struct RequestFuture<V, E>(Pin<Box<dyn Future<Output = Result<V, ClientCallError<E>>> + Send>>);

impl<V, E> RequestFuture<V, E> {
    pub(super) fn new(
        asking: impl Future<Output = Result<V, ClientCallError<E>>> + Send + 'static,
    ) -> Self {
        RequestFuture(Box::pin(asking))
    }
}

impl<V, E> Future for RequestFuture<V, E> {
    type Output = Result<V, ClientCallError<E>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(cx)
    }
}

impl<V, E> fmt::Debug for RequestFuture<V, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestFuture").finish_non_exhaustive()
    }
}
