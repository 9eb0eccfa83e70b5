//! Answering what is asked of this node as a member: a share of a query, or all of one.

use std::time::Duration;

use tokio::time::timeout;

use crate::replicated::{ApplyError, QueryError};
use crate::runtime::replica::{Answering, Unanswered};
use crate::runtime::rpc::{Answer, LONGEST, ToMember};
use crate::runtime::seat::Seat;
use crate::runtime::stability::Stability;

/// How long an answer may wait: until this replica has what the asker has, and for stability.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);

/// Does a share of a query, as the member that is asked.
pub(crate) async fn answer(seat: &Seat, answering: &dyn Answering, ask: &ToMember) -> Answer {
    if answering.schema() != ask.schema {
        return Answer::Type { there: answering.type_name() };
    }
    let is_asked = || seat.status().me == Some(ask.member);
    if !is_asked() {
        return Answer::NotThisMember;
    }
    if let Some((view, cut)) = &ask.after {
        match timeout(PATIENCE, seat.reached(*view, cut.clone())).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return Answer::Unavailable(error.to_string()),
            Err(_) => return Answer::Unavailable("not all of it is applied here yet".to_owned()),
        }
        // It may have waited for longer than its membership.
        if !is_asked() {
            return Answer::NotThisMember;
        }
    }
    stable(answering.query(&ask.query, ask.share)).await
}

/// The answer, once what was read is stable.
pub(crate) async fn stable(read: Result<(Vec<u8>, Stability), Unanswered>) -> Answer {
    let (result, mut stability) = match read {
        Ok(read) => read,
        Err(Unanswered::Group(error)) => return Answer::Unavailable(error.to_string()),
        Err(Unanswered::Query(QueryError::Decode(ApplyError::UnknownMethod { id }))) => {
            return Answer::UnknownQuery { id };
        }
        Err(Unanswered::Query(error)) => return Answer::BadQuery(error.to_string()),
    };
    match timeout(PATIENCE, stability.wait()).await {
        Ok(Ok(())) => fitting(result),
        Ok(Err(error)) => Answer::Unavailable(error.to_string()),
        Err(_) => Answer::Unavailable("what was read has not become stable".to_owned()),
    }
}

/// The answer, if it is not too long.
pub(crate) fn fitting(result: Vec<u8>) -> Answer {
    match result.len() {
        0..=LONGEST => Answer::Result(result),
        size => Answer::TooLarge { size: size as u64, limit: LONGEST as u64 },
    }
}
