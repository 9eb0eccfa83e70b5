//! Virtual synchrony for Rust: ordinary structs as fault-tolerant replicated objects.
//!
//! Annotate a struct and its methods with [`replicated`], start a [`Node`] in each process, and
//! [`join`](GroupBuilder::join_or_create) a group: every member has a replica, updates are
//! delivered in the order that each method asks for, and members that fail, join or leave do so at
//! the same point of everybody's stream.

#[doc(hidden)]
#[path = "private.rs"]
pub mod __private;
mod builder;
mod call;
mod client;
mod ctx;
mod directory;
pub mod error;
mod group;
mod node;
mod optimistic;
mod query;
mod remote;
mod replicated;
mod runtime;
mod service;
mod steward;
#[cfg(feature = "testing")]
pub mod testing;
mod view;

pub use builder::NodeBuilder;
pub use call::{Call, CallFuture, OptimisticCall, SendCall};
pub use client::Client;
pub use ctx::Ctx;
pub use error::{CallError, ClientError, GroupError, JoinError, NotApplied, StartError, Unknown};
pub use group::{Group, GroupEvent, Views};
pub use node::{GroupBuilder, Node};
pub use optimistic::{Fallible, Optimistic, Outcome};
pub use query::Query;
pub use remote::{Remote, RemoteGroup, RemoteQuery};
pub use replicated::{
    ApplyError, CheckpointError, EncodeError, Method, QueryError, Replicated, Reply, State,
};
pub use view::{Left, Member, MemberId, Reason, Time, View};
pub use vsync_macros::replicated;
pub use vsync_net::Stats as NetworkStats;
