//! A member that has requests of clients, and of its own handles, ordered, and waits for what comes
//! of them, whoever coordinates them.

use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use crate::error::{GroupError, NotApplied};
use crate::gateway::submit;
use crate::replicated::ApplyError;
use crate::runtime::inner::Inner;
use crate::runtime::pending::{Name, Wanted};
use crate::runtime::rpc::Answer;
use crate::runtime::seat::Seat;
use crate::runtime::sessions::Committed;
use crate::steward::Registered;

/// How long a client's question may wait for a request, its ordering included: it asks again then,
/// which also says that it is still there. It does not wait for longer than that for a member.
const PATIENCE: Duration = Duration::from_secs(2);

/// Has a request ordered, and waits for its answer.
pub(crate) async fn perform(registered: &Registered, wanted: Wanted) -> Answer {
    let seat = &registered.seat;
    let (size, limit) = (wanted.call.len(), seat.limit());
    if size > limit {
        return Answer::TooLarge { size: size as u64, limit: limit as u64 };
    }
    // Nothing is ordered that no member could begin.
    match registered.answering.request(&wanted.call) {
        Ok(()) => {}
        Err(ApplyError::UnknownMethod { id }) => return Answer::UnknownQuery { id },
        Err(ApplyError::Version(why)) => return Answer::Unavailable(why.to_string()),
        Err(error) => return Answer::BadQuery(error.to_string()),
    }
    let until = Instant::now() + PATIENCE;
    // Before it is ordered: it may be over before that is known here.
    let mut waiting = seat.desk().wait(Name::from(&wanted.id));
    let answer = submit(registered, Inner::Request(Box::new(wanted)), false).await;
    let Answer::Committed { committed: Committed::Pending, .. } = answer else { return answer };
    match timeout_at(until, waiting.outcome()).await {
        Ok(Some(recorded)) => {
            let seen = seat.seen().unwrap_or_default();
            Answer::Committed { committed: Committed::Recorded(recorded), seen }
        }
        Ok(None) => Answer::UnderWay("this member left the group".to_owned()),
        Err(_) => Answer::Pending(seat.seen().unwrap_or_default()),
    }
}

/// Ends a request. `None` if what came of that is no word on it.
pub(crate) async fn cancel(seat: &Seat, key: &[u8]) -> Result<Option<bool>, GroupError> {
    let Some(sending) = Inner::Cancel(Name::Key(key.to_vec())).sending(false) else {
        return Err(GroupError::NotApplied(NotApplied::Encode("a key".to_owned())));
    };
    let told = seat.order(sending).map_err(GroupError::NotApplied)?.told().await?;
    Ok(match told.downcast::<Committed>().map(|committed| *committed) {
        Ok(Committed::Cancelled(was)) => Some(was),
        _ => None,
    })
}
