//! Errors: one small enum per operation, each variant says whether the update took effect.
//!
//! Their `Debug` is their text: it is what a program shows whose `main` gives the error back, and
//! what `unwrap` says.

mod ask;
mod join;
mod sight;
mod start;

use std::error::Error;
use std::fmt;

pub use self::ask::AskError;
pub use self::join::JoinError;
pub(crate) use self::sight::Sight;
pub use self::start::StartError;
use crate::ask::{Missing, Target};
use crate::view::MemberId;

/// An error of the network below, as it says itself.
pub type NetworkError = Box<dyn Error + Send + Sync>;

/// An error's text, and the sources that it does not name itself.
pub(crate) fn told(error: &dyn Error, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let mut text = error.to_string();
    f.write_str(&text)?;
    let mut source = error.source();
    while let Some(error) = source {
        let why = error.to_string();
        if !text.contains(&why) {
            write!(f, ": {why}")?;
            text.push_str(&why);
        }
        source = error.source();
    }
    Ok(())
}

/// What became of each address. Some reasons begin with it.
fn by_address(f: &mut fmt::Formatter<'_>, reasons: &[(String, String)]) -> fmt::Result {
    for (address, why) in reasons {
        match why.starts_with(address.as_str()) {
            true => write!(f, "; {why}")?,
            false => write!(f, "; {address}: {why}")?,
        }
    }
    Ok(())
}

/// Why an update or a call certainly had no effect.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum NotApplied {
    /// The encoded update is larger than the node allows.
    TooLarge {
        /// Bytes of the update.
        size: usize,
        /// Bytes allowed.
        limit: usize,
    },
    /// An argument could not be encoded.
    Encode(String),
    /// An argument was encoded to what it does not decode from: the sender has tried it and sent
    /// nothing, or no replica has applied the update.
    Decode(String),
    /// The version of the type that has the method is not active in the group yet.
    NotYetActive {
        /// The method.
        method: &'static str,
        /// The first version that has it.
        since: u32,
        /// The version that is active.
        active: u32,
    },
    /// The version of the type that is active in the group has the method no more.
    Retired {
        /// The method.
        method: &'static str,
        /// The first version without it.
        until: u32,
        /// The version that is active.
        active: u32,
    },
    /// The deadline came while the update was still waiting for its turn.
    Timeout,
    /// The same, and the group had no quorum: too few of the active members of its view were in
    /// sight of this one.
    NoQuorum {
        /// How many were, this one included.
        in_sight: usize,
        /// How many there are.
        active: usize,
    },
    /// This membership ended before the update got its turn, or the view was decided without it.
    Excluded,
    /// The group was left, or the node is shut down.
    Closed,
}

impl fmt::Display for NotApplied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NotApplied::TooLarge { size, limit } => {
                write!(f, "the update has {size} bytes, the limit is {limit}")
            }
            NotApplied::Encode(why) => write!(f, "an argument could not be encoded: {why}"),
            NotApplied::Decode(why) => {
                write!(f, "what an argument was encoded to does not decode: {why}")
            }
            NotApplied::NotYetActive { method, since, active } => write!(
                f,
                "`{method}` is there since version {since}, and version {active} is active"
            ),
            NotApplied::Retired { method, until, active } => write!(
                f,
                "`{method}` was there until version {until}, and version {active} is active"
            ),
            NotApplied::Timeout => f.write_str("the deadline came before the update was sent"),
            NotApplied::NoQuorum { in_sight, active } => {
                let sight = Sight { in_sight: *in_sight, active: *active };
                write!(f, "the deadline came before the update was sent, and {sight}")
            }
            NotApplied::Excluded => f.write_str("this node was excluded from the group"),
            NotApplied::Closed => f.write_str("the group is closed here"),
        }
    }
}

impl fmt::Debug for NotApplied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        told(self, f)
    }
}

impl std::error::Error for NotApplied {}

/// Why it is not known whether an update took effect.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Unknown {
    /// The deadline came first: an update was sent by then, and is under way; what was read or
    /// awaited has not become stable.
    Timeout,
    /// The same, and the group had no quorum: too few of the active members of its view were in
    /// sight of this one. What is under way takes effect when there is a quorum again.
    NoQuorum {
        /// How many were, this one included.
        in_sight: usize,
        /// How many there are.
        active: usize,
    },
    /// This membership ended while the update was under way.
    Excluded,
    /// The group was left, or the node was shut down, while the update was under way.
    Closed,
    /// The update took effect, but its answer is not known here: it could not be applied by this
    /// replica.
    NoAnswer,
    /// What was waited for came to nothing at this node, though it is a member still: by a panic,
    /// which its log has, or since the runtime that the node was started in has ended.
    Interrupted,
}

impl fmt::Display for Unknown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Unknown::NoQuorum { in_sight, active } => {
                let sight = Sight { in_sight: *in_sight, active: *active };
                return write!(
                    f,
                    "the deadline came first, and {sight}: what was sent by then is under way"
                );
            }
            Unknown::Timeout => "the deadline came first: what was sent by then is under way",
            Unknown::Excluded => "this node was excluded while the update was under way",
            Unknown::Closed => "the group was closed here while the update was under way",
            Unknown::NoAnswer => "the update was delivered, but this replica could not apply it",
            Unknown::Interrupted => "what was waited for came to nothing at this node",
        })
    }
}

impl fmt::Debug for Unknown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        told(self, f)
    }
}

impl std::error::Error for Unknown {}

/// Why a call gave no value.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum CallError<E> {
    /// The application said no. The decision is stable.
    Refused(E),
    /// The update certainly did not and will not take effect.
    NotApplied(NotApplied),
    /// The update may have taken effect, or may still.
    Unknown(Unknown),
    /// The method panicked, with this message: half way, at the same place at every replica. What
    /// it had changed before stays, and is stable.
    Panicked(String),
}

impl<E> CallError<E> {
    /// The text; `refused` is that of the application.
    fn tell(&self, f: &mut fmt::Formatter<'_>, refused: fmt::Arguments<'_>) -> fmt::Result {
        match self {
            CallError::Refused(_) => write!(f, "refused: {refused}"),
            CallError::NotApplied(why) => write!(f, "not applied: {why}"),
            CallError::Unknown(why) => write!(f, "outcome unknown: {why}"),
            CallError::Panicked(why) => write!(f, "the update panicked half way: {why}"),
        }
    }
}

impl<E: fmt::Display> fmt::Display for CallError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CallError::Refused(error) => self.tell(f, format_args!("{error}")),
            _ => self.tell(f, format_args!("")),
        }
    }
}

/// The text, with the application's error as its own `Debug` has it.
impl<E: fmt::Debug> fmt::Debug for CallError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CallError::Refused(error) => self.tell(f, format_args!("{error:?}")),
            _ => self.tell(f, format_args!("")),
        }
    }
}

impl<E: fmt::Debug + fmt::Display> std::error::Error for CallError<E> {}

/// Why an operation on a group failed that has no answer of the application: an optimistic call, a
/// `send`, a `flush`, a query.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum GroupError {
    /// Certainly without effect.
    NotApplied(NotApplied),
    /// May have taken effect; what was read or awaited did not become stable here.
    Unknown(Unknown),
    /// There is no state here now: the node was excluded and is joining again.
    NoState,
    /// The method panicked, with this message: half way, at the same place at every replica. What
    /// it had changed before stays; to an optimistic call that is not stable yet.
    Panicked(String),
}

impl fmt::Display for GroupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            GroupError::NotApplied(why) => write!(f, "not applied: {why}"),
            GroupError::Unknown(why) => write!(f, "outcome unknown: {why}"),
            GroupError::NoState => f.write_str("no state here: the node is joining again"),
            GroupError::Panicked(why) => write!(f, "the update panicked half way: {why}"),
        }
    }
}

impl fmt::Debug for GroupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        told(self, f)
    }
}

impl std::error::Error for GroupError {}

impl<E> From<GroupError> for CallError<E> {
    fn from(error: GroupError) -> Self {
        match error {
            GroupError::NotApplied(why) => CallError::NotApplied(why),
            GroupError::Unknown(why) => CallError::Unknown(why),
            GroupError::NoState => CallError::NotApplied(NotApplied::Excluded),
            GroupError::Panicked(why) => CallError::Panicked(why),
        }
    }
}

/// Why a client's operation failed. Queries have no effect, so each may be tried again; of an
/// update, [`ClientCallError`] says more.
#[non_exhaustive]
pub enum ClientError {
    /// The secret could not be read or is too short, or no endpoint could be opened.
    Network(NetworkError),
    /// No address given could be connected; the last reason of each.
    Unreachable {
        /// Address and reason.
        seeds: Vec<(String, String)>,
    },
    /// There is no group of this name.
    NoSuchGroup {
        /// The group's name.
        name: String,
    },
    /// The group replicates another type than this client's.
    Type {
        /// The group's name.
        name: String,
        /// What this client expects.
        here: String,
        /// What the group replicates.
        there: String,
    },
    /// The members do not know the query: they run another version.
    UnknownQuery {
        /// The query's method id.
        id: u32,
    },
    /// An argument could not be encoded.
    Encode(String),
    /// The members could not decode the arguments, or the client the answer.
    Decode(String),
    /// The members do not know the update: they run another version.
    UnknownUpdate {
        /// The update's method id.
        id: u32,
    },
    /// The members do not know the request: they run another version.
    UnknownRequest {
        /// The request's method id.
        id: u32,
    },
    /// The group has forgotten this client's session, with all that it could say of the call: the
    /// lease has ended, or the group was made anew.
    Expired,
    /// Another update was asked for under the same name before: this one was not carried out.
    OtherContent,
    /// The group keeps as much for its clients as it can.
    Full,
    /// The key is longer than it may be.
    KeyTooLong {
        /// Its bytes.
        size: usize,
        /// Bytes allowed.
        limit: usize,
    },
    /// The query, the update or an answer is larger than it may be.
    TooLarge {
        /// Its bytes.
        size: usize,
        /// Bytes allowed.
        limit: usize,
    },
    /// A member has so many answers for this client that are not read yet, and for others, that it
    /// has no room for one more: ask for less at a time.
    Unread {
        /// Bytes of answers that may be on their way to this client.
        limit: usize,
    },
    /// The group has no such member, nor had it in the view before.
    NoSuchMember(Target),
    /// A member gave no answer, and no other may be asked in its place.
    NoAnswer {
        /// Which.
        member: MemberId,
        /// Why.
        why: Missing,
    },
    /// The member asked does not know this kind of question: it runs an earlier release.
    NotUnderstood,
    /// The deadline came; the last reason.
    Timeout {
        /// What the last attempt met.
        last: String,
    },
    /// The request was not answered before its deadline, and never will be: it has no effect.
    Deadline,
    /// The request was cancelled before it was answered: it has no effect.
    Cancelled,
    /// The request's handler panicked, with this message. Nothing of the request was applied (but
    /// [steps](crate::RequestCtx::step) that were made before).
    HandlerPanicked(String),
    /// What the request's handler has answered, or the updates that it made, cannot be applied:
    /// too large, not to be encoded or decoded, or of another version. None of them was.
    Commit(String),
    /// The client, or the group at this node, was closed.
    Closed,
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ClientError::Network(error) => write!(f, "network: {error}"),
            ClientError::Unreachable { seeds } => {
                f.write_str("no address answered")?;
                by_address(f, seeds)
            }
            ClientError::NoSuchGroup { name } => write!(f, "there is no group {name:?}"),
            ClientError::Type { name, here, there } => {
                write!(f, "the group {name:?} replicates {there}, not {here}")
            }
            ClientError::UnknownQuery { id } => write!(f, "the group knows no query {id:#x}"),
            ClientError::UnknownUpdate { id } => write!(f, "the group knows no update {id:#x}"),
            ClientError::UnknownRequest { id } => write!(f, "the group knows no request {id:#x}"),
            ClientError::Expired => f.write_str("the group has forgotten this session"),
            ClientError::OtherContent => {
                f.write_str("something else was asked for under this name")
            }
            ClientError::Full => f.write_str("the group can keep no more for its clients"),
            ClientError::KeyTooLong { size, limit } => {
                write!(f, "the key has {size} bytes, the limit is {limit}")
            }
            ClientError::Encode(why) => write!(f, "an argument could not be encoded: {why}"),
            ClientError::Decode(why) => write!(f, "the answer or arguments do not decode: {why}"),
            ClientError::TooLarge { size, limit } => {
                write!(f, "what is asked or its answer has {size} bytes, the limit is {limit}")
            }
            ClientError::Unread { limit } => {
                write!(f, "no room for the answer beside {limit} bytes that are not read yet")
            }
            ClientError::NoSuchMember(target) => target.nobody(f),
            ClientError::NoAnswer { member, why } => write!(f, "no answer of {member:?}: {why}"),
            ClientError::NotUnderstood => {
                f.write_str("the member asked does not know this kind of question")
            }
            ClientError::Timeout { last } => write!(f, "no answer before the deadline: {last}"),
            ClientError::Deadline => f.write_str("the deadline came before the answer"),
            ClientError::Cancelled => f.write_str("the request was cancelled"),
            ClientError::HandlerPanicked(why) => write!(f, "the handler panicked: {why}"),
            ClientError::Commit(why) => write!(f, "the request's effects cannot be: {why}"),
            ClientError::Closed => f.write_str("closed"),
        }
    }
}

impl fmt::Debug for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        told(self, f)
    }
}

impl std::error::Error for ClientError {
    /// What is behind the error that the text names.
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            ClientError::Network(error) => error.source(),
            _ => None,
        }
    }
}

/// Why a client's update gave no value.
#[non_exhaustive]
pub enum ClientCallError<E> {
    /// The application said no. The decision is stable.
    Refused(E),
    /// The update certainly did not and will not take effect.
    NotApplied(ClientError),
    /// The update may have taken effect, or may still: asking again without a
    /// [key](crate::RemoteCall::key) could carry it out twice.
    Unknown(ClientError),
    /// The method panicked, with this message: half way, at the same place at every replica. What
    /// it had changed before stays, and is stable.
    Panicked(String),
    /// The update took effect, but its result did not reach this client, and never will: it is
    /// larger than a group keeps, or cannot be encoded or decoded.
    NoResult(String),
}

impl<E> ClientCallError<E> {
    /// The text; `refused` is that of the application.
    fn tell(&self, f: &mut fmt::Formatter<'_>, refused: fmt::Arguments<'_>) -> fmt::Result {
        match self {
            ClientCallError::Refused(_) => write!(f, "refused: {refused}"),
            ClientCallError::NotApplied(why) => write!(f, "not applied: {why}"),
            ClientCallError::Unknown(why) => write!(f, "outcome unknown: {why}"),
            ClientCallError::Panicked(why) => write!(f, "the update panicked half way: {why}"),
            ClientCallError::NoResult(why) => write!(f, "applied, but without a result: {why}"),
        }
    }
}

impl<E: fmt::Display> fmt::Display for ClientCallError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ClientCallError::Refused(error) => self.tell(f, format_args!("{error}")),
            _ => self.tell(f, format_args!("")),
        }
    }
}

/// The text, with the application's error as its own `Debug` has it.
impl<E: fmt::Debug> fmt::Debug for ClientCallError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ClientCallError::Refused(error) => self.tell(f, format_args!("{error:?}")),
            _ => self.tell(f, format_args!("")),
        }
    }
}

impl<E: fmt::Debug + fmt::Display> std::error::Error for ClientCallError<E> {}
