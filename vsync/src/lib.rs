//! Virtual synchrony for Rust: ordinary structs as fault-tolerant replicated objects.
//!
//! Annotate a struct and its methods with [`replicated`], start a [`Node`] in each process, and
//! [`join`](GroupBuilder::join_or_create) a group: every member has a replica, updates are
//! delivered in the order that each method asks for, and members that fail, join or leave do so at
//! the same point of everybody's stream.
//!
//! ```
//! use vsync::{replicated, testing::Cluster};
//!
//! #[replicated]
//! #[derive(Debug, Default)]
//! pub struct Ledger {
//!     balance: u64,
//! }
//!
//! #[replicated]
//! impl Ledger {
//!     /// Adds money: in one order at all members.
//!     #[update(order = "total")]
//!     pub fn deposit(&mut self, amount: u64) -> u64 {
//!         self.balance += amount;
//!         self.balance
//!     }
//!
//!     /// What is there.
//!     #[query]
//!     pub fn balance(&self) -> u64 {
//!         self.balance
//!     }
//! }
//!
//! # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
//! let cluster = Cluster::new(3).await; // in memory; `Node::builder()` starts a real node
//! let mut members = Vec::new();
//! for node in cluster.nodes() {
//!     members.push(node.group("bank").join_or_create(Ledger::default()).await?);
//! }
//! assert_eq!(members[0].deposit(7).await?, 7); // stable: safe to show to the world
//! members[1].group().flush().await?;
//! assert_eq!(members[1].balance().await?, 7);
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! ```
//!
//! # Features
//! - `testing`: the module `testing`, with clusters in memory, checks and simulations of replicated
//!   types, and the history checkers. For tests.
//! - `metrics`: the module `metrics`, which tells a node's report as Prometheus reads it.
//! - `cli`: the `vsync` command, which checks and draws recorded histories.
//!
//! None is on by default.

#[doc(hidden)]
#[path = "private.rs"]
pub mod __private;
mod activation;
mod alike;
mod ask;
mod asked;
mod asking;
mod barrier;
mod builder;
mod call;
mod card;
mod client;
mod codec;
mod ctx;
mod difference;
mod directory;
pub mod error;
mod events;
mod gateway;
mod group;
mod limited;
#[cfg(feature = "metrics")]
pub mod metrics;
mod node;
mod optimistic;
mod query;
mod query_at;
mod query_ctx;
mod remote;
mod remote_call;
mod remote_scatter;
mod replicated;
pub mod report;
mod request;
mod rng;
mod runtime;
mod scatter;
mod seen;
mod service;
mod session;
mod shape;
mod state;
mod steward;
mod subscription;
mod succession;
#[cfg(feature = "testing")]
pub mod testing;
mod timer;
mod view;
#[cfg(feature = "testing")]
mod watch;
mod working;

pub use activation::{Activate, ActivateError};
pub use ask::{AskFuture, Missing, Target};
pub use builder::NodeBuilder;
pub use call::{Call, CallFuture, OptimisticCall, SendCall};
pub use card::{Card, CardError};
pub use client::Client;
pub use codec::pieces::{CheckpointReader, CheckpointWriter};
pub use ctx::Ctx;
pub use difference::Difference;
pub use error::{
    AskError, CallError, ClientCallError, ClientError, GroupError, JoinError, NotApplied,
    StartError, Unknown,
};
pub use events::{Cursor, Emits, Emitted, Events, NoEvents};
pub use group::{Fate, Flush, Group, GroupEvent, Views};
pub use node::{GroupBuilder, Node};
pub use optimistic::{Fallible, Optimistic, Outcome};
pub use query::{LinearizableQuery, Query, QueryFuture};
pub use query_at::QueryAt;
pub use query_ctx::QueryCtx;
pub use remote::{Remote, RemoteGroup, RemoteQuery, RemoteQueryFuture};
pub use remote_call::{RemoteCall, RemoteCallFuture};
pub use remote_scatter::{RemoteScatter, RemoteScatterSome};
pub use replicated::{ApplyError, EncodeError, Method, QueryError, Replicated, Reply, Signature};
pub use request::{
    Effect, Effects, Load, NoEffects, Policy, RemoteRequest, RequestCall, RequestCtx,
    RequestFuture, RequestInfo, Responded, Responding,
};
pub use rng::Rng;
pub use scatter::{Scatter, ScatterSome, Scattered};
pub use seen::Seen;
pub use state::{CheckpointError, Past, State};
pub use subscription::{Publishes, Subscription};
pub use timer::{TimerError, TimerId};
pub use view::{Left, Member, MemberId, Reason, Time, View};
pub use vsync_core::engine::{Class, DropReason, Level};
pub use vsync_macros::replicated;
#[cfg(feature = "testing")]
pub use vsync_macros::sim_test;
pub use vsync_net::Stats as NetworkStats;
