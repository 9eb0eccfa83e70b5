//! Answering what is asked of this node as a member: a share of a query, or all of one.

use std::sync::Arc;

use tokio::time::{Instant, timeout};

use crate::asking::another;
use crate::gateway::{self, PATIENCE};
use crate::replicated::{ApplyError, QueryError};
use crate::runtime::replica::{Answering, Read, Unanswered};
use crate::runtime::rpc::{Answer, LONGEST, ToMember};
use crate::runtime::seat::Seat;
use crate::seen::Seen;

/// Does a share of a query, as the member that is asked.
pub(crate) async fn answer(seat: &Seat, answering: &Arc<dyn Answering>, ask: &ToMember) -> Answer {
    let card = answering.card();
    if answering.schema() != ask.schema {
        return Answer::Type { there: card.name().to_owned() };
    }
    // In another version of the type the query may be another one, or not scattered.
    if let Some(there) = another(&ask.query, ask.line, |id| card.share(id)) {
        return Answer::Type { there };
    }
    let is_asked = || seat.status().me == Some(ask.member);
    if !is_asked() {
        return Answer::NotThisMember;
    }
    if let Some(seen) = &ask.after
        && !gateway::catch_up(seat, seen, Instant::now() + PATIENCE).await
    {
        return Answer::Unavailable("not all of it is applied here yet".to_owned());
    }
    let read = read(answering, &ask.query, ask.share).await;
    // It may have waited for longer than its membership.
    if !is_asked() {
        return Answer::NotThisMember;
    }
    stable(read).await
}

/// Runs a share of a query when nobody else holds the state; of a copy where it says so.
pub(crate) async fn read(
    answering: &Arc<dyn Answering>,
    query: &[u8],
    share: (u32, u32),
) -> Result<Read, Unanswered> {
    if answering.is_of_copy(query) {
        return Arc::clone(answering).query_copy(query.to_vec(), share).await;
    }
    answering.free().when(|| answering.query(query, share)).await
}

/// The answer, once what was read is stable.
pub(crate) async fn stable(read: Result<Read, Unanswered>) -> Answer {
    let (result, seen, mut stability) = match read {
        Ok(read) => read,
        Err(Unanswered::Group(error)) => return Answer::Unavailable(error.to_string()),
        Err(Unanswered::Query(QueryError::Decode(ApplyError::UnknownMethod { id }))) => {
            return Answer::UnknownQuery { id };
        }
        Err(Unanswered::Query(error)) => return Answer::BadQuery(error.to_string()),
    };
    match timeout(PATIENCE, stability.wait()).await {
        Ok(Ok(())) => fitting(result, seen),
        Ok(Err(error)) => Answer::Unavailable(error.to_string()),
        Err(_) => Answer::Unavailable("what was read has not become stable".to_owned()),
    }
}

/// The answer, if it is not too long.
pub(crate) fn fitting(bytes: Vec<u8>, seen: Seen) -> Answer {
    match bytes.len() {
        0..=LONGEST => Answer::Result { bytes, seen },
        size => Answer::TooLarge { size: size as u64, limit: LONGEST as u64 },
    }
}
