//! A member as the gateway of clients: it has their updates ordered, and answers them when they are
//! stable.
//!
//! A gateway keeps nothing of its own: what was done under which name is in the replicated table
//! ([`sessions`](crate::runtime::sessions)), so any other member can take over at any moment.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::{Instant, timeout, timeout_at};
use vsync_core::engine::Level;

use crate::error::{GroupError, NotApplied};
use crate::replicated::ApplyError;
use crate::request::serving;
use crate::runtime::callers::Told;
use crate::runtime::inner::Inner;
use crate::runtime::pending::{Name, Wanted};
use crate::runtime::rpc::Answer;
use crate::runtime::seat::Seat;
use crate::runtime::sessions::{Commit, Committed, Recorded};
use crate::seen::Seen;
use crate::steward::Registered;

/// How long a question may wait for its answer, or a word of that. A client asks another member
/// after little more.
pub(crate) const PATIENCE: Duration = Duration::from_millis(2500);
/// How long a question may wait for what the one that asks has seen elsewhere.
const CATCH_UP: Duration = Duration::from_secs(1);

/// What a client wants of a group beside the answers to queries.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Request {
    /// Who are the active members?
    Members,
    /// A session with a lease of so many microseconds.
    Open(u64),
    /// An update, carried out once.
    Commit(Commit),
    /// A request, answered once, whoever coordinates it.
    Perform(Wanted),
    /// The request of this key is not wanted any more.
    Cancel(Vec<u8>),
}

impl Request {
    /// Whether it may take longer than the ordering of an update does.
    pub(crate) fn is_long(&self) -> bool {
        matches!(self, Request::Perform(_))
    }

    /// The update or request in it; nothing if there is none.
    pub(crate) fn update(&self) -> &[u8] {
        match self {
            Request::Commit(commit) => &commit.update,
            Request::Perform(wanted) => &wanted.call,
            Request::Members | Request::Open(_) | Request::Cancel(_) => &[],
        }
    }
}

/// What a member makes of a client's request.
pub(crate) async fn answer(registered: &Registered, request: Request) -> Answer {
    match request {
        Request::Members => Answer::Elsewhere(registered.members()),
        Request::Open(lease) => submit(registered, Inner::Open(lease), false).await,
        Request::Commit(commit) => {
            let (size, limit) = (commit.update.len(), registered.seat.limit());
            if size > limit {
                return Answer::TooLarge { size: size as u64, limit: limit as u64 };
            }
            // Nothing is ordered that the members cannot carry out.
            let stable = match registered.answering.level(&commit.update) {
                Ok(level) => level == Level::Stable,
                Err(ApplyError::UnknownMethod { id }) => return Answer::UnknownQuery { id },
                Err(error) => return Answer::BadQuery(error.to_string()),
            };
            submit(registered, Inner::Commit(Box::new(commit)), stable).await
        }
        Request::Perform(wanted) => serving::perform(registered, wanted).await,
        Request::Cancel(key) => submit(registered, Inner::Cancel(Name::Key(key)), false).await,
    }
}

/// Has it ordered, and waits until it is stable.
pub(crate) async fn submit(registered: &Registered, inner: Inner, stable: bool) -> Answer {
    let seat = &registered.seat;
    let Some(sending) = inner.sending(stable) else {
        return Answer::BadQuery("it cannot be encoded".to_owned());
    };
    let told = match seat.order(sending) {
        Ok(mut ordered) => {
            let told = timeout(PATIENCE, ordered.told()).await;
            told.unwrap_or_else(|_| Err(ordered.too_late()))
        }
        Err(why) => Err(GroupError::NotApplied(why)),
    };
    settled(registered, told)
}

fn settled(registered: &Registered, told: Told) -> Answer {
    let committed = match told {
        Ok(answer) => match answer.downcast::<Committed>() {
            Ok(committed) => *committed,
            Err(_) => unreachable!("the runtime's own updates have results of one type"),
        },
        Err(GroupError::Panicked(text)) => Committed::Recorded(Recorded::Panicked(text)),
        Err(GroupError::NotApplied(NotApplied::Decode(why))) => return Answer::BadQuery(why),
        Err(GroupError::NotApplied(why)) => return Answer::Unavailable(why.to_string()),
        Err(GroupError::Unknown(why)) => return Answer::UnderWay(why.to_string()),
        Err(error @ GroupError::NoState) => return Answer::UnderWay(error.to_string()),
    };
    // It is delivered here; without a view this member has just left, and knows nothing more.
    let seen = registered.seat.seen().unwrap_or_default();
    Answer::Committed { committed, seen }
}

/// Waits until this member has seen what whoever asks has. `false` if that does not come in time.
pub(crate) async fn catch_up(seat: &Seat, seen: &Seen, until: Instant) -> bool {
    let until = until.min(Instant::now() + CATCH_UP);
    timeout_at(until, seat.has_seen(seen)).await.is_ok()
}

#[cfg(all(test, feature = "testing"))]
mod tests;
