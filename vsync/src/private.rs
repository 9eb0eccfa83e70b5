//! What the code that `#[replicated]` generates calls. Not for anybody else: it may change in any
//! release, together with the macro.

pub use std::convert::Infallible;
use std::sync::Arc;

pub use serde;
use serde::Serialize;
use serde::de::DeserializeOwned;
pub use vsync_core::engine::{Class, Level};

use crate::builder::NodeBuilder;
pub use crate::call::Call;
pub use crate::codec::pieces::{
    CheckpointReader, CheckpointWriter, FieldDeserializer, FieldSerializer,
};
use crate::codec::{self, pieces};
pub use crate::ctx::Ctx;
use crate::error::StartError;
pub use crate::events::{Emits, NoEvents};
pub use crate::group::Group;
use crate::node::Node;
pub use crate::optimistic::Fallible;
use crate::query;
pub use crate::query::{Here, Query};
pub use crate::query_ctx::QueryCtx;
pub use crate::remote::{Remote, RemoteGroup, RemoteQuery};
pub use crate::remote_call::RemoteCall;
pub use crate::remote_scatter::RemoteScatter;
pub use crate::replicated::{
    ApplyError, EncodeError, Method, QueryError, Replicated, Reply, Signature,
};
use crate::request::{Answered, Called, Kind};
pub use crate::request::{
    Effect, Effects, NoEffects, Policy, RemoteRequest, RequestCall, RequestCtx, Responded,
    Responding,
};
pub use crate::scatter::Scatter;
pub use crate::shape::{Probe, Shaped, Unshaped, shape_with};
pub use crate::state::{CheckpointError, Past, State};
pub use crate::subscription::Publishes;
pub use crate::succession::{
    Back, Cloned, NoBack, NotCloned, Snapshot, Succeeds, Way, earlier, methods_of_version,
    own_version, succession,
};
use crate::view::Time;
pub use crate::view::View;

/// Runs what a `#[sim_test]` gives: `test` is its path, crate first, in this package.
#[cfg(feature = "testing")]
#[track_caller]
pub fn sim_test<S: Replicated>(
    simulation: crate::testing::Simulation<S>,
    package: Option<&str>,
    test: &str,
) {
    let test = test.split_once("::").map_or(test, |(_, test)| test);
    let package = package.map_or(String::new(), |package| format!("-p {package} "));
    simulation.called(format!("{package}{test}")).run();
}

/// Starts a node over a transport that is open already: the benchmark counts what nodes do, and has
/// a network of its own for it.
pub async fn start_over(
    builder: NodeBuilder,
    transport: Arc<dyn vsync_net::Transport>,
) -> Result<Node, StartError> {
    builder.over(transport).await
}

/// A value that can be put on the wire: an argument, a result, a field of the state.
///
/// It stands for `Serialize`, so that what is missing is said in words.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not implement `serde::Serialize`",
    label = "not `Serialize`",
    note = "arguments, results and state travel between nodes: add \
            `#[derive(serde::Serialize, serde::Deserialize)]` to the type, or use one that has them"
)]
pub trait Encodes {
    /// Appends the postcard bytes.
    fn encode(&self, out: &mut Vec<u8>) -> Result<(), String>;

    /// The same, to a checkpoint.
    fn encode_to(&self, out: &mut CheckpointWriter) -> Result<(), String>;

    /// The value to read, as JSON where that can say it.
    #[cfg(feature = "testing")]
    #[doc(hidden)]
    fn words(&self) -> String;
}

#[diagnostic::do_not_recommend]
impl<T: Serialize + ?Sized> Encodes for T {
    #[inline]
    fn encode(&self, out: &mut Vec<u8>) -> Result<(), String> {
        codec::write(self, out)
    }

    #[inline]
    fn encode_to(&self, out: &mut CheckpointWriter) -> Result<(), String> {
        codec::write(self, out)
    }

    #[cfg(feature = "testing")]
    fn words(&self) -> String {
        serde_json::to_string(self).unwrap_or_else(|_| {
            // A map whose keys are no strings, for example.
            let mut bytes = Vec::new();
            drop(self.encode(&mut bytes));
            crate::watch::hex(&bytes)
        })
    }
}

/// A value that can be read from the wire.
///
/// It stands for `DeserializeOwned`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not implement `serde::Deserialize`",
    label = "not `Deserialize`",
    note = "arguments, results and state travel between nodes: add \
            `#[derive(serde::Serialize, serde::Deserialize)]` to the type, or use one that has them"
)]
pub trait Decodes: Sized {
    /// Takes the value off the front of `input`.
    fn decode(input: &mut &[u8]) -> Result<Self, String>;

    /// The same, from a checkpoint.
    fn decode_from(from: &mut CheckpointReader) -> Result<Self, String>;
}

#[diagnostic::do_not_recommend]
impl<T: DeserializeOwned> Decodes for T {
    #[inline]
    fn decode(input: &mut &[u8]) -> Result<Self, String> {
        codec::read(input)
    }

    #[inline]
    fn decode_from(from: &mut CheckpointReader) -> Result<Self, String> {
        pieces::read(from)
    }
}

/// A value that may move between threads.
///
/// It stands for `Send + 'static`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be sent between threads",
    label = "not `Send`",
    note = "arguments, results and state move between threads: use `Arc` instead of `Rc`, \
            `Mutex` or `RwLock` instead of `RefCell`"
)]
pub trait Sends: Send + 'static {}

#[diagnostic::do_not_recommend]
impl<T: Send + 'static> Sends for T {}

/// A state that can be copied, for the queries that ask for that.
///
/// It stands for `Clone`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not `Clone`, and a `snapshot` query reads a copy of the state",
    label = "needs a copy of the state",
    note = "add `#[derive(Clone)]` to the struct, or leave `snapshot` out: then updates wait while \
            the query reads"
)]
pub trait Copies: Sized {
    /// The copy.
    fn copied(&self) -> Self;
}

#[diagnostic::do_not_recommend]
impl<S: Clone> Copies for S {
    fn copied(&self) -> S {
        self.clone()
    }
}

/// A copy of the state.
pub fn copied<S: Copies>(state: &S) -> S {
    state.copied()
}

/// Writes a call: the method's id, then its arguments. An error is kept until the end, so that the
/// generated code need not look after each argument.
#[derive(Debug)]
pub struct Arguments<'a> {
    method: &'static str,
    out: &'a mut Vec<u8>,
    error: Option<EncodeError>,
}

impl<'a> Arguments<'a> {
    /// Appends the id of `method`.
    #[inline]
    pub fn new(method: &'static str, id: u32, out: &'a mut Vec<u8>) -> Self {
        let error = id.encode(out).err();
        let error = error.map(|why| EncodeError { method, argument: "", why });
        Arguments { method, out, error }
    }

    /// That was all of them.
    #[inline]
    pub fn end(self) -> Result<(), EncodeError> {
        self.error.map_or(Ok(()), Err)
    }
}

/// Appends one argument, if there was no error yet.
#[inline]
pub fn put<T: Encodes>(argument: &'static str, value: &T, to: &mut Arguments<'_>) {
    if to.error.is_some() {
        return;
    }
    #[cfg(feature = "testing")]
    crate::watch::part(argument, value);
    if let Err(why) = value.encode(to.out) {
        to.error = Some(EncodeError { method: to.method, argument, why });
    }
}

/// Reads a call.
#[derive(Debug)]
pub struct Parameters<'a> {
    method: &'static str,
    rest: &'a [u8],
}

impl<'a> Parameters<'a> {
    /// Takes the method's id.
    #[inline]
    pub fn new(bytes: &'a [u8]) -> Result<(u32, Self), ApplyError> {
        let mut rest = bytes;
        match u32::decode(&mut rest) {
            Ok(id) => Ok((id, Parameters { method: "", rest })),
            Err(_) => Err(ApplyError::NoMethod),
        }
    }

    /// The id was that of `method`.
    #[inline]
    pub fn of(mut self, method: &'static str) -> Self {
        self.method = method;
        self
    }

    /// Those were all, and they make this message.
    #[inline]
    pub fn end<M>(self, message: M) -> Result<M, ApplyError> {
        match self.rest.len() {
            0 => Ok(message),
            bytes => Err(ApplyError::Leftover { method: self.method, bytes }),
        }
    }
}

/// Takes one argument.
pub fn take<T: Decodes + Sends>(
    argument: &'static str,
    from: &mut Parameters<'_>,
) -> Result<T, ApplyError> {
    let method = from.method;
    T::decode(&mut from.rest).map_err(|why| ApplyError::Argument { method, argument, why })
}

/// The type has no method of this id.
pub fn unknown_method(id: u32) -> ApplyError {
    ApplyError::UnknownMethod { id }
}

/// Hands over the result of an update.
///
/// Here, and nowhere else in the generated code, it is checked that a result can travel: what is
/// missing is said once.
pub fn reply<R>(result: R, reply: &mut Reply<'_>)
where
    R: Encodes + Decodes + Sends,
{
    #[cfg(feature = "testing")]
    crate::watch::result(&result);
    if !reply.put_encoded(|out| result.encode(out)) {
        reply.put(result);
    }
}

/// Hands over the result of an update that may say no.
pub fn reply_fallible<V, E>(result: Result<V, E>, reply: &mut Reply<'_>)
where
    V: Encodes + Decodes + Sends,
    E: Encodes + Decodes + Sends,
{
    #[cfg(feature = "testing")]
    crate::watch::fallible(&result);
    if !reply.put_encoded(|out| encode_result(&result, out)) {
        reply.put(result);
    }
}

/// Appends the result of a query; checked as in [`reply`].
pub fn answer<R>(result: &R, method: &'static str, out: &mut Vec<u8>) -> Result<(), QueryError>
where
    R: Encodes + Decodes + Sends,
{
    result.encode(out).map_err(|why| QueryError::Result { method, why })
}

/// Appends the result of a query that may say no, as serde writes a `Result`.
pub fn answer_fallible<V, E>(
    result: &Result<V, E>,
    method: &'static str,
    out: &mut Vec<u8>,
) -> Result<(), QueryError>
where
    V: Encodes + Decodes + Sends,
    E: Encodes + Decodes + Sends,
{
    encode_result(result, out).map_err(|why| QueryError::Result { method, why })
}

/// As serde writes a `Result`.
fn encode_result<V: Encodes, E: Encodes>(
    result: &Result<V, E>,
    out: &mut Vec<u8>,
) -> Result<(), String> {
    match result {
        Ok(value) => 0u32.encode(out).and_then(|()| value.encode(out)),
        Err(error) => 1u32.encode(out).and_then(|()| error.encode(out)),
    }
}

/// Appends a field of the state.
pub fn save<T: Encodes>(
    field: &'static str,
    value: &T,
    out: &mut CheckpointWriter,
) -> Result<(), CheckpointError> {
    #[cfg(feature = "testing")]
    crate::watch::part(field, value);
    value.encode_to(out).map_err(|why| CheckpointError::Save { field, why })
}

/// Appends a field of the state that has its own way to be serialized.
pub fn save_with(
    field: &'static str,
    out: &mut CheckpointWriter,
    serialize: impl FnOnce(&mut FieldSerializer<'_>) -> postcard::Result<()>,
) -> Result<(), CheckpointError> {
    #[cfg(feature = "testing")]
    let before = out.length();
    codec::write_by(out, serialize).map_err(|why| CheckpointError::Save { field, why })?;
    #[cfg(feature = "testing")]
    crate::watch::bytes(field, out.since(before));
    Ok(())
}

/// Takes a field of the state.
pub fn load<T: Decodes>(
    field: &'static str,
    from: &mut CheckpointReader,
) -> Result<T, CheckpointError> {
    T::decode_from(from).map_err(|why| CheckpointError::Load { field, why })
}

/// Takes a field of the state that has its own way to be deserialized.
pub fn load_with<T>(
    field: &'static str,
    from: &mut CheckpointReader,
    deserialize: impl for<'a> FnOnce(&mut FieldDeserializer<'a>) -> postcard::Result<T>,
) -> Result<T, CheckpointError> {
    pieces::read_by(from, deserialize).map_err(|why| CheckpointError::Load { field, why })
}

/// Encodes an event for clients, who decode it.
pub fn publish<E: Encodes + Decodes + Sends>(event: &E) -> Result<Vec<u8>, String> {
    let mut out = Vec::new();
    event.encode(&mut out).map(|()| out)
}

/// What a member's handle gives for an update.
pub fn call<S: Replicated, V, O>(group: &Group<S>, update: S::Update) -> Call<S, V, O> {
    Call::new(group.clone(), update)
}

/// What a member's handle gives for a query.
///
/// `read` runs the method, `message` makes what is sent to another member.
pub fn query<S, R, A>(
    group: &Group<S>,
    args: A,
    read: impl FnOnce(&S, Here<'_>, A) -> R + Send + 'static,
    message: impl FnOnce(A) -> S::Query + Send + 'static,
) -> Query<S, R>
where
    S: Replicated,
    R: 'static,
    A: Send + 'static,
{
    Query::new(group.clone(), Box::new(query::Arguments { args, read, message }))
}

/// What a member's handle gives for a query that is answered from a copy of the state.
pub fn snapshot_query<S, R, A>(
    group: &Group<S>,
    args: A,
    read: impl FnOnce(&S, Here<'_>, A) -> R + Send + 'static,
    message: impl FnOnce(A) -> S::Query + Send + 'static,
) -> Query<S, R>
where
    S: Replicated,
    R: 'static,
    A: Send + 'static,
{
    query(group, args, read, message).of_copy()
}

/// What a member's handle gives for a query whose work the members divide.
pub fn scatter<S, R>(group: &Group<S>, query: &S::Query) -> Scatter<S, R>
where
    S: Replicated,
{
    let mut bytes = Vec::new();
    let encoded = S::encode_query(query, &mut bytes).map(|()| bytes);
    Scatter::new(group.clone(), encoded)
}

/// Makes one encoded answer of those of all shares.
pub fn gather<R>(
    method: &'static str,
    gather: fn(Vec<R>) -> R,
    shares: &[Vec<u8>],
    out: &mut Vec<u8>,
) -> Result<(), QueryError>
where
    R: Encodes + Decodes,
{
    let decode = |bytes: &Vec<u8>| R::decode(&mut bytes.as_slice());
    let shares: Result<Vec<R>, String> = shares.iter().map(decode).collect();
    let shares = shares.map_err(|why| QueryError::Share { method, why })?;
    gather(shares).encode(out).map_err(|why| QueryError::Result { method, why })
}

/// What a client's handle gives for a query.
pub fn remote_query<S, R>(group: &RemoteGroup<S>, query: &S::Query) -> RemoteQuery<S, R>
where
    S: Replicated,
{
    let mut bytes = Vec::new();
    let encoded = S::encode_query(query, &mut bytes).map(|()| bytes);
    RemoteQuery::new(group.clone(), encoded)
}

/// What a client's handle gives for a query whose work the members divide.
pub fn remote_scatter<S, R>(group: &RemoteGroup<S>, query: &S::Query) -> RemoteScatter<S, R>
where
    S: Replicated,
{
    let mut bytes = Vec::new();
    let encoded = S::encode_query(query, &mut bytes).map(|()| bytes);
    RemoteScatter::new(group.clone(), encoded)
}

/// What a client's handle gives for an update.
pub fn remote_call<S, V, O>(group: &RemoteGroup<S>, update: &S::Update) -> RemoteCall<S, V, O>
where
    S: Replicated,
{
    let mut bytes = Vec::new();
    let encoded = S::encode(update, &mut bytes).map(|()| bytes);
    RemoteCall::new(group.clone(), encoded)
}

/// What a member's handle gives for a request.
pub fn request<S, V, O>(group: &Group<S>, request: &S::Request) -> RequestCall<S, V, O>
where
    S: Replicated,
{
    RequestCall::new(group.clone(), Called::new::<S>(request))
}

/// What a client's handle gives for a request.
pub fn remote_request<S, V, O>(
    group: &RemoteGroup<S>,
    request: &S::Request,
) -> RemoteRequest<S, V, O>
where
    S: Replicated,
{
    RemoteRequest::new(group.clone(), Called::new::<S>(request))
}

/// An update that a request makes.
pub fn effect<S: Replicated, R>(effects: &Effects<S>, update: &S::Update) -> Effect<R> {
    effects.push(update)
}

/// Hash of the argument by which a request's coordinator is chosen.
pub fn key<T: Encodes>(key: &T) -> Option<u64> {
    let mut bytes = Vec::new();
    // What does not encode is refused with the request itself.
    key.encode(&mut bytes).ok().map(|()| xxhash_rust::xxh3::xxh3_64(&bytes))
}

/// The handler of a request.
pub fn responding<F>(handler: F) -> Responding
where
    F: Future<Output = Responded> + Send + 'static,
{
    Box::pin(handler)
}

/// What a handler has answered; checked as in [`reply`].
pub fn respond<R>(answer: R) -> Responded
where
    R: Encodes + Decodes + Sends,
{
    #[cfg(feature = "testing")]
    crate::watch::travels(&answer);
    let mut bytes = Vec::new();
    let answer = Answered::Value(answer.encode(&mut bytes).map(|()| bytes));
    Responded { answer, refused: false }
}

/// What a handler has answered that may say no.
pub fn respond_fallible<V, E>(answer: Result<V, E>) -> Responded
where
    V: Encodes + Decodes + Sends,
    E: Encodes + Decodes + Sends,
{
    #[cfg(feature = "testing")]
    crate::watch::either(&answer);
    let mut bytes = Vec::new();
    let encoded = encode_result(&answer, &mut bytes).map(|()| bytes);
    Responded { answer: Answered::Value(encoded), refused: answer.is_err() }
}

/// What a handler has answered that leaves the answer to an update.
pub fn respond_effect<R>(answer: Effect<R>) -> Responded
where
    R: Encodes + Decodes + Sends,
{
    match answer.kind {
        Kind::Value(value) => respond(value),
        Kind::Of(buffer, index) => {
            Responded { answer: Answered::Of(buffer, index), refused: false }
        }
    }
}

/// The same, where the update may say no.
pub fn respond_effect_fallible<V, E>(answer: Effect<Result<V, E>>) -> Responded
where
    V: Encodes + Decodes + Sends,
    E: Encodes + Decodes + Sends,
{
    match answer.kind {
        Kind::Value(value) => respond_fallible(value),
        Kind::Of(buffer, index) => {
            Responded { answer: Answered::Of(buffer, index), refused: false }
        }
    }
}

/// A context for tests of generated code: the update is sent by the member of `rank` at `time`.
///
/// # Panics
/// If the view has no such rank.
pub fn ctx<S>(view: &vsync_core::wire::View, rank: usize, time: Time) -> Ctx<S> {
    let mut ctx = Ctx::new(vsync_core::wire::GroupId(1), View::new(view, &[], &[], &[]));
    ctx.deliver(view.members[rank].id, rank, time, true);
    ctx.next(0);
    ctx
}

/// A context for tests of generated code: the member of `rank` answers share `index` of `count`.
pub fn query_ctx(
    view: &vsync_core::wire::View,
    rank: usize,
    (index, count): (usize, usize),
) -> QueryCtx {
    QueryCtx::new(View::new(view, &[], &[], &[]), Some(rank), index, count)
}
