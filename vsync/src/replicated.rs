//! [`Replicated`]: updates, queries and views of a type, written by `#[replicated]` on its `impl`.

use std::any::Any;
use std::fmt;

use vsync_core::engine::{Class, Level};

use crate::error::NotApplied;
use crate::request::{Effects, Policy, Responding};
use crate::{Ctx, Group, QueryCtx, RemoteGroup, RequestCtx, State, View};

/// One update method of a replicated type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Method {
    /// What it is called on the wire: given by `id = …`, else a hash of the method's name.
    pub id: u32,
    /// The method's name.
    pub name: &'static str,
    /// In what order its updates are delivered.
    pub class: Class,
    /// When its updates may be delivered.
    pub level: Level,
    /// Whether all its arguments are of standard types, whose encoding always decodes again. Of
    /// other types the sender tries it before an update is sent.
    pub plain: bool,
    /// The first version of the type that has it.
    pub since: u32,
    /// The first version of the type that has it no more.
    pub until: Option<u32>,
}

impl Method {
    /// Whether it may be called while `active` is the active version of the type.
    ///
    /// # Errors
    /// [`NotApplied::NotYetActive`] or [`NotApplied::Retired`].
    pub(crate) const fn check(&self, active: u32) -> Result<(), NotApplied> {
        let Method { name: method, since, until, .. } = *self;
        if active < since {
            return Err(NotApplied::NotYetActive { method, since, active });
        }
        match until {
            Some(until) if until <= active => Err(NotApplied::Retired { method, until, active }),
            _ => Ok(()),
        }
    }
}

/// What a method takes and gives, as it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signature {
    /// What the method is called on the wire.
    pub id: u32,
    /// The method's name.
    pub method: &'static str,
    /// Its arguments: name and type.
    pub arguments: &'static [(&'static str, &'static str)],
    /// The type of its result.
    pub result: &'static str,
}

/// A replicated type: a state that changes by updates only, the same ones at all members.
///
/// Written by `#[replicated]` on the `impl` block.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a replicated type",
    label = "not a replicated type",
    note = "a replicated type has `#[replicated]` on its struct and on one `impl` block with its \
            methods"
)]
pub trait Replicated: State {
    /// An update as a value: one variant per update method, its arguments as fields.
    type Update: 'static;

    /// A query as a value: one variant per query method, its arguments as fields.
    type Query: 'static;

    /// A request as a value: one variant per request method, its arguments as fields.
    type Request: 'static;

    /// What requests change the state with: one method per update.
    type Effects: From<Effects<Self>>;

    /// What members use: one method per update and query.
    type Handle: Clone + From<Group<Self>>;

    /// What clients outside the group use.
    type Client: Clone + From<RemoteGroup<Self>>;

    /// The update methods.
    const UPDATES: &'static [Method];

    /// The queries: id and name.
    const QUERIES: &'static [(u32, &'static str)];

    /// The ids of the queries whose work the members divide.
    const SCATTERED: &'static [u32] = &[];

    /// The ids of the queries that are answered from a copy of the state.
    const SNAPSHOTS: &'static [u32] = &[];

    /// The request methods.
    const REQUESTS: &'static [Method] = &[];

    /// What all these methods take and give: the updates, then the queries, then the requests.
    const SIGNATURES: &'static [Signature];

    /// The shapes of what the [signatures](Replicated::SIGNATURES) take and give: of each its
    /// arguments, then its result, if that is not `()`.
    fn method_shapes() -> Vec<Vec<String>>;

    /// The method that an update calls.
    fn method(update: &Self::Update) -> &'static Method;

    /// Appends an update's wire form: the method's id as a varint, then the arguments.
    fn encode(update: &Self::Update, out: &mut Vec<u8>) -> Result<(), EncodeError>;

    /// Calls the method of an update.
    ///
    /// Its result, of its declared type, goes to `reply`, for the caller at this replica.
    fn perform(&mut self, ctx: &Ctx<Self>, update: Self::Update, reply: &mut Reply<'_>);

    /// Decodes an update and [performs](Replicated::perform) it, if the active version has its
    /// method. Bytes left over are an error.
    ///
    /// After an error the state is as it was.
    #[inline]
    fn apply(
        &mut self,
        ctx: &Ctx<Self>,
        update: &[u8],
        reply: &mut Reply<'_>,
    ) -> Result<(), ApplyError> {
        let update = Self::decode(update)?;
        if const { bounded(Self::UPDATES) } {
            Self::method(&update).check(ctx.version()).map_err(ApplyError::Version)?;
        }
        self.perform(ctx, update, reply);
        Ok(())
    }

    /// Appends a query's wire form: the method's id as a varint, then the arguments.
    fn encode_query(query: &Self::Query, out: &mut Vec<u8>) -> Result<(), EncodeError>;

    /// Calls the method of a query, and appends the encoded result to `out`.
    fn answer(
        &self,
        ctx: &QueryCtx,
        query: Self::Query,
        out: &mut Vec<u8>,
    ) -> Result<(), QueryError>;

    /// Decodes a query of a client and [answers](Replicated::answer) it.
    fn query(&self, ctx: &QueryCtx, query: &[u8], out: &mut Vec<u8>) -> Result<(), QueryError> {
        self.answer(ctx, Self::decode_query(query)?, out)
    }

    /// Makes one encoded answer of those of all shares, in their order.
    ///
    /// The query of this id is one of [`SCATTERED`](Replicated::SCATTERED).
    fn gather(id: u32, shares: &[Vec<u8>], out: &mut Vec<u8>) -> Result<(), QueryError> {
        let (_, _) = (shares, out);
        Err(QueryError::Decode(ApplyError::UnknownMethod { id }))
    }

    /// A copy of the state, by `Clone`, for one of the [`SNAPSHOTS`](Replicated::SNAPSHOTS).
    fn copied(&self) -> Self {
        unreachable!("a type without such queries")
    }

    /// The update that [`encode`](Replicated::encode) wrote. Bytes left over are an error.
    fn decode(update: &[u8]) -> Result<Self::Update, ApplyError>;

    /// The query that [`encode_query`](Replicated::encode_query) wrote.
    fn decode_query(query: &[u8]) -> Result<Self::Query, ApplyError>;

    /// The method that a request calls.
    fn request_method(_: &Self::Request) -> &'static Method {
        unreachable!("{NO_REQUESTS}")
    }

    /// Appends a request's wire form: the method's id as a varint, then the arguments.
    fn encode_request(_: &Self::Request, _: &mut Vec<u8>) -> Result<(), EncodeError> {
        unreachable!("{NO_REQUESTS}")
    }

    /// The request that [`encode_request`](Replicated::encode_request) wrote.
    fn decode_request(request: &[u8]) -> Result<Self::Request, ApplyError> {
        match postcard::take_from_bytes(request) {
            Ok((id, _)) => Err(ApplyError::UnknownMethod { id }),
            Err(_) => Err(ApplyError::NoMethod),
        }
    }

    /// Hash of the argument by which a request's coordinator is chosen, if it has one.
    fn request_key(_: &Self::Request) -> Option<u64> {
        None
    }

    /// Who coordinates the requests of this method id: what `#[request(policy = …)]` says, else the
    /// [type's policy](State::REQUESTS_BY).
    fn request_policy(_: u32) -> Policy {
        Self::REQUESTS_BY
    }

    /// Runs the handler of a request.
    fn respond(_: RequestCtx<Self>, _: Self::Request) -> Responding {
        unreachable!("{NO_REQUESTS}")
    }

    /// Whether there is an `#[on_view]` method.
    const ON_VIEW: bool;

    /// Calls the `#[on_view]` method, if there is one.
    fn on_view(&mut self, ctx: &Ctx<Self>, view: &View);
}

/// Of its request type there is no value then.
const NO_REQUESTS: &str = "a type without requests";

/// Whether some versions of a type do not have all of its updates.
const fn bounded(updates: &[Method]) -> bool {
    let mut at = 0;
    while at < updates.len() {
        if updates[at].since > 1 || updates[at].until.is_some() {
            return true;
        }
        at += 1;
    }
    false
}

/// Where the result of an update goes: to the caller at this replica, into the table of what
/// clients have asked for, or nowhere.
pub struct Reply<'a> {
    to: To<'a>,
}

enum To<'a> {
    Nobody,
    Slot(&'a mut Option<Box<dyn Any + Send>>),
    Bytes(&'a mut Option<Encoded>),
}

/// A result as it travels, or why it cannot.
type Encoded = Result<Vec<u8>, String>;

impl<'a> Reply<'a> {
    /// Nobody waits for the result.
    pub fn none() -> Self {
        Reply { to: To::Nobody }
    }

    /// The result goes into `slot`, as the method's declared type.
    pub fn slot(slot: &'a mut Option<Box<dyn Any + Send>>) -> Self {
        Reply { to: To::Slot(slot) }
    }

    /// Whether somebody waits for the result.
    pub fn wanted(&self) -> bool {
        !matches!(self.to, To::Nobody)
    }

    /// Hands the result over; it is dropped if nobody waits for it.
    pub fn put<R: Send + 'static>(&mut self, result: R) {
        if let To::Slot(slot) = &mut self.to {
            **slot = Some(Box::new(result));
        }
    }

    /// The result goes into `slot` as it travels.
    pub(crate) fn encoded(slot: &'a mut Option<Encoded>) -> Self {
        Reply { to: To::Bytes(slot) }
    }

    /// Hands over what travels, if that is asked for; else `false`.
    #[inline]
    pub(crate) fn put_encoded(
        &mut self,
        encode: impl FnOnce(&mut Vec<u8>) -> Result<(), String>,
    ) -> bool {
        let To::Bytes(slot) = &mut self.to else { return false };
        let mut bytes = Vec::new();
        **slot = Some(encode(&mut bytes).map(|()| bytes));
        true
    }
}

impl fmt::Debug for Reply<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reply").field("wanted", &self.wanted()).finish()
    }
}

/// Why the arguments of a call could not be encoded. The call has no effect.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct EncodeError {
    /// The method.
    pub method: &'static str,
    /// The argument that could not be encoded.
    pub argument: &'static str,
    /// What its `Serialize` implementation said.
    pub why: String,
}

impl fmt::Display for EncodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "argument `{}` of `{}`: {}", self.argument, self.method, self.why)
    }
}

impl fmt::Debug for EncodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        crate::error::told(self, f)
    }
}

impl std::error::Error for EncodeError {}

/// Why an update that was delivered could not be applied. The state is as it was.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ApplyError {
    /// There is no method id at its head.
    NoMethod,
    /// The type has no update of this id.
    UnknownMethod {
        /// The id.
        id: u32,
    },
    /// An argument does not decode.
    Argument {
        /// The method.
        method: &'static str,
        /// The argument.
        argument: &'static str,
        /// What its `Deserialize` implementation said.
        why: String,
    },
    /// There are bytes after the last argument.
    Leftover {
        /// The method.
        method: &'static str,
        /// How many bytes.
        bytes: usize,
    },
    /// The version of the type that is active in the group does not have the method.
    Version(NotApplied),
}

impl fmt::Display for ApplyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ApplyError::NoMethod => f.write_str("no method id"),
            ApplyError::UnknownMethod { id } => write!(f, "no method has the id {id:#x}"),
            ApplyError::Argument { method, argument, why } => {
                write!(f, "argument `{argument}` of `{method}`: {why}")
            }
            ApplyError::Leftover { method, bytes } => {
                write!(f, "{bytes} bytes after the arguments of `{method}`")
            }
            ApplyError::Version(why) => why.fmt(f),
        }
    }
}

impl fmt::Debug for ApplyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        crate::error::told(self, f)
    }
}

impl std::error::Error for ApplyError {}

/// Why a client's query could not be answered.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum QueryError {
    /// It does not decode, or the type has no such query.
    Decode(ApplyError),
    /// The result could not be encoded.
    Result {
        /// The method.
        method: &'static str,
        /// What the result's `Serialize` implementation said.
        why: String,
    },
    /// The answer to a share does not decode again.
    Share {
        /// The method.
        method: &'static str,
        /// What the result's `Deserialize` implementation said.
        why: String,
    },
}

impl fmt::Display for QueryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            QueryError::Decode(error) => error.fmt(f),
            QueryError::Result { method, why } => write!(f, "result of `{method}`: {why}"),
            QueryError::Share { method, why } => {
                write!(f, "result of a share of `{method}`, read again: {why}")
            }
        }
    }
}

impl fmt::Debug for QueryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        crate::error::told(self, f)
    }
}

impl std::error::Error for QueryError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            QueryError::Decode(error) => Some(error),
            QueryError::Result { .. } | QueryError::Share { .. } => None,
        }
    }
}

impl From<ApplyError> for QueryError {
    fn from(error: ApplyError) -> Self {
        QueryError::Decode(error)
    }
}
