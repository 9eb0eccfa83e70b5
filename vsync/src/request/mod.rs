//! Requests: work that one member, the coordinator, does for the group, and that another takes over
//! when it fails. Effects and answer leave as one update.

mod call;
mod ctx;
mod effects;
mod load;
mod policy;
mod remote;
pub(crate) mod serving;

pub use call::RequestCall;
pub use ctx::RequestCtx;
pub(crate) use ctx::Start;
pub(crate) use effects::{Answered, Kind};
pub use effects::{Effect, Effects, NoEffects, Responded, Responding};
pub use load::Load;
pub use policy::{Policy, RequestInfo};
pub(crate) use remote::Called;
pub use remote::RemoteRequest;

use crate::error::{ClientCallError, ClientError};
use crate::runtime::sessions::{REPLY, Recorded};

/// What a request has come to, for who has asked: the answer's bytes, or why there is none.
pub(crate) fn outcome<E>(recorded: Recorded) -> Result<Vec<u8>, ClientCallError<E>> {
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
