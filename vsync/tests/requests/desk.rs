//! A type with requests of all kinds, whose handlers wait for the test.

use std::future::IntoFuture;
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use vsync::testing::Cluster;
use vsync::{Effect, RequestCtx, replicated};

pub(crate) use crate::patience::within;

/// Why it does not sell.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SoldOut;

/// An attempt that has begun.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Begun {
    pub(crate) node: usize,
    pub(crate) attempt: u32,
    pub(crate) id: String,
}

/// What the handlers of all nodes share with the test.
#[derive(Debug)]
pub(crate) struct Stage {
    pub(crate) begun: watch::Sender<Vec<Begun>>,
    /// Handlers wait while this is set.
    pub(crate) held: watch::Sender<bool>,
    notes: Mutex<Vec<String>>,
}

impl Stage {
    pub(crate) fn new(held: bool) -> Arc<Stage> {
        let (begun, held) = (watch::Sender::new(Vec::new()), watch::Sender::new(held));
        Arc::new(Stage { begun, held, notes: Mutex::default() })
    }

    pub(crate) fn release(&self) {
        self.held.send_replace(false);
    }

    /// The attempts that have begun, once there are so many.
    pub(crate) async fn begun(&self, count: usize) -> Vec<Begun> {
        let mut begun = self.begun.subscribe();
        let begun = begun.wait_for(|begun| begun.len() >= count).await;
        begun.expect("the stage is there").clone()
    }

    pub(crate) fn note(&self, note: impl Into<String>) {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner).push(note.into());
    }

    pub(crate) fn notes(&self) -> Vec<String> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// A node's own part of the desk.
#[derive(Clone, Debug)]
pub(crate) struct Here {
    pub(crate) node: usize,
    pub(crate) stage: Arc<Stage>,
}

impl Default for Here {
    fn default() -> Here {
        Here { node: 0, stage: Stage::new(false) }
    }
}

/// A number.
#[replicated]
#[derive(Debug, Default)]
pub(crate) struct Desk {
    value: u64,
    updates: u64,
    #[local]
    here: Here,
}

impl Desk {
    /// The attempt is written down, and waits while it is held.
    async fn enter(ctx: &RequestCtx<Self>) -> Here {
        let here = ctx.read(|desk| desk.here.clone()).await;
        let begun = Begun { node: here.node, attempt: ctx.attempt(), id: ctx.id() };
        here.stage.begun.send_modify(|all| all.push(begun));
        drop(here.stage.held.subscribe().wait_for(|held| !held).await);
        here
    }
}

#[replicated]
impl Desk {
    /// Adds.
    #[update(order = "total")]
    pub(crate) fn add(&mut self, amount: u64) -> u64 {
        self.value += amount;
        self.updates += 1;
        self.value
    }

    /// Adds when that is stable.
    #[update(order = "total", level = "stable")]
    pub(crate) fn add_stable(&mut self, amount: u64) -> u64 {
        self.add(amount)
    }

    /// Says no beyond 3.
    #[update(order = "fifo")]
    pub(crate) fn sell(&mut self) -> Result<u64, SoldOut> {
        if self.value >= 3 {
            return Err(SoldOut);
        }
        Ok(self.add(1))
    }

    /// Panics half way.
    #[update(order = "total")]
    pub(crate) fn trip(&mut self) {
        self.value += 1;
        panic!("at {}", self.value);
    }

    /// Gives so many bytes.
    #[update(order = "total")]
    pub(crate) fn blob(&mut self, bytes: usize) -> Vec<u8> {
        self.add(1);
        vec![1; bytes]
    }

    /// The number.
    #[query]
    pub(crate) fn value(&self) -> u64 {
        self.value
    }

    /// How many updates there were.
    #[query]
    pub(crate) fn updates(&self) -> u64 {
        self.updates
    }

    /// Adds, and answers what the number is then.
    #[request]
    pub(crate) async fn bump(ctx: &RequestCtx<Self>, amount: u64) -> Effect<u64> {
        Desk::enter(ctx).await;
        ctx.update().add(amount)
    }

    /// Adds twice, and answers which attempt it was.
    #[request(id = 5)]
    pub(crate) async fn twice(ctx: &RequestCtx<Self>) -> u32 {
        Desk::enter(ctx).await;
        ctx.update().add(1);
        ctx.update().add_stable(1);
        ctx.attempt()
    }

    /// Sells, where an update says no.
    #[request]
    pub(crate) async fn order(ctx: &RequestCtx<Self>) -> Effect<Result<u64, SoldOut>> {
        ctx.update().sell()
    }

    /// Says no itself, although it would have added.
    #[request]
    pub(crate) async fn refuse(ctx: &RequestCtx<Self>) -> Result<u64, SoldOut> {
        ctx.update().add(100);
        Err(SoldOut)
    }

    /// Panics, although it would have added.
    #[request]
    pub(crate) async fn panic(ctx: &RequestCtx<Self>) -> u64 {
        Desk::enter(ctx).await;
        ctx.update().add(100);
        panic!("attempt {}", ctx.attempt());
    }

    /// One of its updates panics.
    #[request]
    pub(crate) async fn stumble(ctx: &RequestCtx<Self>) {
        ctx.update().add(10);
        ctx.update().trip();
        ctx.update().add(10);
    }

    /// An answer of so many bytes, known here or by an update.
    #[request]
    pub(crate) async fn large(
        ctx: &RequestCtx<Self>,
        bytes: usize,
        known: bool,
    ) -> Effect<Vec<u8>> {
        let effect = ctx.update().blob(bytes);
        if known { Effect::value(vec![0; bytes]) } else { effect }
    }

    /// What it takes.
    #[request]
    pub(crate) async fn take(ctx: &RequestCtx<Self>, bytes: Vec<u8>) -> usize {
        ctx.read(|_| bytes.len()).await
    }

    /// Adds in a step, finds something out, and adds again.
    #[request]
    pub(crate) async fn steps(ctx: &RequestCtx<Self>) -> (u64, u64, u32) {
        let node = ctx.read(|desk| desk.here.node).await;
        let first = ctx.step(|desk| desk.add(1)).await;
        let found = ctx.record(async { node as u64 }).await;
        Desk::enter(ctx).await;
        ctx.update().add(1);
        (first, found, ctx.attempt())
    }

    /// Each attempt has other steps.
    #[request]
    pub(crate) async fn fickle(ctx: &RequestCtx<Self>) -> u64 {
        let amount = ctx.attempt().into();
        let sum = ctx.step(|desk| desk.add(amount)).await;
        Desk::enter(ctx).await;
        sum
    }

    /// A task of its own waits for the end.
    #[request]
    pub(crate) async fn watched(ctx: &RequestCtx<Self>) {
        let (here, task) = (ctx.read(|desk| desk.here.clone()).await, ctx.clone());
        tokio::spawn(async move {
            task.cancelled().await;
            here.stage.note(format!("over: {}", task.is_cancelled()));
        });
        Desk::enter(ctx).await;
    }

    /// Where it stands.
    #[request]
    pub(crate) async fn place(ctx: &RequestCtx<Self>) -> (Option<usize>, usize, usize) {
        assert!(ctx.deadline() > std::time::Instant::now());
        (ctx.rank(), ctx.cohort().len(), ctx.view().size())
    }

    /// Goes where the others of this key go.
    #[request(key = room)]
    pub(crate) async fn keyed(ctx: &RequestCtx<Self>, room: String, guest: u32) -> usize {
        let _ = (room, guest);
        ctx.read(|desk| desk.here.node).await
    }

    /// Where it is coordinated.
    #[request]
    pub(crate) async fn spread(ctx: &RequestCtx<Self>) -> usize {
        Desk::enter(ctx).await.node
    }
}

pub(crate) async fn join(cluster: &Cluster, node: usize, stage: &Arc<Stage>) -> DeskHandle {
    let here = Here { node, stage: Arc::clone(stage) };
    let desk = Desk { here, ..Desk::default() };
    cluster.node(node).group("desk").join_or_create(desk).await.expect("a member")
}

pub(crate) async fn members(size: usize, stage: &Arc<Stage>) -> (Cluster, Vec<DeskHandle>) {
    let cluster = Cluster::new(size).await;
    let mut members = Vec::new();
    for node in 0..size {
        members.push(join(&cluster, node, stage).await);
    }
    (cluster, members)
}

pub(crate) async fn desk(cluster: &Cluster) -> DeskClient {
    cluster.client().await.expect("connected").group("desk")
}

/// Asks in a task of its own.
pub(crate) fn ask<F>(call: F) -> JoinHandle<F::Output>
where
    F: IntoFuture,
    F::IntoFuture: Send + 'static,
    F::Output: Send + 'static,
{
    tokio::spawn(call.into_future())
}

/// Waits until this member is in a view of so many.
pub(crate) async fn view_of(member: &DeskHandle, size: usize) {
    let mut views = member.group().views();
    while views.next().await.expect("a view").size() != size {}
}

/// The number at a member, with all that is under way.
pub(crate) async fn value(member: &DeskHandle) -> u64 {
    member.group().flush().await.expect("stable");
    member.value().await.expect("a state")
}
