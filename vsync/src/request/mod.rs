//! Requests: work that one member, the coordinator, does for the group, and that another takes over
//! when it fails. Effects and answer leave as one update.

mod call;
mod ctx;
mod effects;
mod load;
mod once;
mod policy;
mod remote;
pub(crate) mod serving;

pub use call::RequestCall;
pub use ctx::RequestCtx;
pub(crate) use ctx::Start;
pub(crate) use effects::{Answered, Kind};
pub use effects::{Effect, Effects, NoEffects, Responded, Responding};
pub use load::Load;
pub(crate) use once::Called;
pub use once::RequestFuture;
pub use policy::{Policy, RequestInfo};
pub use remote::RemoteRequest;

use serde::de::DeserializeOwned;

use crate::asking::NoReply;
use crate::error::{ClientCallError, ClientError};
use crate::remote::whole;
use crate::runtime::sessions::{REPLY, Recorded};

/// What an update or a request has come to, for who has asked for it under a name: the bytes of its
/// answer, or why there is none.
pub(crate) fn outcome<E>(done: Result<Recorded, NoReply>) -> Result<Vec<u8>, ClientCallError<E>> {
    let recorded = done.map_err(|lost| match lost.unknown {
        true => ClientCallError::Unknown(lost.why),
        false => ClientCallError::NotApplied(lost.why),
    })?;
    Err(match recorded {
        Recorded::Result(bytes) => return Ok(bytes),
        Recorded::Panicked(why) => ClientCallError::Panicked(why),
        Recorded::TooLarge(size) => {
            ClientCallError::NoResult(format!("it has {size} bytes, the limit is {REPLY}"))
        }
        Recorded::Unencodable(why) => ClientCallError::NoResult(why),
        Recorded::HandlerPanicked(why) => {
            ClientCallError::NotApplied(ClientError::HandlerPanicked(why))
        }
        Recorded::Late => ClientCallError::NotApplied(ClientError::Deadline),
        Recorded::Cancelled => ClientCallError::NotApplied(ClientError::Cancelled),
        Recorded::NotApplied(why) => ClientCallError::NotApplied(ClientError::Commit(why)),
    })
}

/// The value of an answer.
pub(crate) fn value<V: DeserializeOwned, E>(bytes: &[u8]) -> Result<V, ClientCallError<E>> {
    whole(bytes).map_err(|error| ClientCallError::NoResult(error.to_string()))
}

/// The value of an answer that may be a no.
pub(crate) fn declared<V, E>(bytes: &[u8]) -> Result<V, ClientCallError<E>>
where
    V: DeserializeOwned,
    E: DeserializeOwned,
{
    let declared: Result<V, E> = value(bytes)?;
    declared.map_err(ClientCallError::Refused)
}
