//! A member of ours that does what it is told, step by step: what `failures` and `joins` are played
//! with.
//!
//! It prints its address once it is in the cluster. From then on each line that it is told is an
//! [`Ask`] as JSON, which it answers with one line: a `Result` as JSON. It ends by being killed, or
//! when its coordinator has gone.

pub(crate) mod load;
pub(crate) mod state;

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::time::{Instant, sleep, timeout};
use vsync::{GroupEvent, Node};

use crate::options::ActorOptions;
use crate::samples::Sample;
use crate::seat::{self, Seat};
use load::{Load, Sender, Source};
use state::{Ballast, BallastHandle, METER, Mark, Summary, wall};

/// How long an actor lives at most: a run that hangs ends by itself.
const LIFE: Duration = Duration::from_secs(600);
/// How long a view, or a flush, is waited for.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long the join of a large state may take.
const JOIN: Duration = Duration::from_secs(180);

/// What all actors of a run know.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Plan {
    pub(crate) threads: usize,
    /// Bytes of payload per update.
    pub(crate) size: usize,
    /// Milliseconds of silence until a member is suspected, if not as shipped.
    pub(crate) failure_timeout: Option<u64>,
    /// Bytes that a member may have under way, if not as shipped.
    pub(crate) window: Option<u64>,
    /// Whose updates the samples leave out.
    pub(crate) ignored: Option<usize>,
    /// Microseconds from one sample to the next.
    pub(crate) every: u64,
    /// Whether a copy of the state shares nothing with it.
    pub(crate) deep: bool,
    pub(crate) history: Option<String>,
}

/// What an actor is asked.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) enum Ask {
    /// Join the group, or make it. Answer: [`Joined`].
    Join,
    /// Make the state so many bytes larger.
    Fill(u64),
    /// Send so much from now on.
    Load(Load),
    /// Begin to sample.
    Watch,
    /// Wait for a view with so many active members.
    Size(usize),
    /// Wait for a view without this member after one with it.
    Gone(usize),
    /// Leave the group. Answer: [`Joined`].
    Leave,
    /// Answer: a [`Sample`].
    Now,
    /// Answer: a [`Count`].
    Count,
    /// Answer: a [`Record`].
    Record,
}

/// When a join or leave was called, and when it returned.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Joined {
    pub(crate) called: u64,
    pub(crate) done: u64,
    /// How long the node took to be in the cluster, before.
    pub(crate) started_ms: f64,
    /// Updates that went out from here so far.
    pub(crate) sent: u64,
}

/// The state of the moment.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Count {
    pub(crate) state: Summary,
    /// Updates that went out from here.
    pub(crate) sent: u64,
    /// What ended the load, if not the end that it was told.
    pub(crate) broken: Option<String>,
}

/// A view as it was told here.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Told {
    pub(crate) at: u64,
    pub(crate) number: u64,
    /// Indexes of the active members.
    pub(crate) active: Vec<usize>,
    /// Why members are gone.
    pub(crate) left: Vec<String>,
}

/// All that was noted here.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) samples: Vec<Sample>,
    pub(crate) views: Vec<Told>,
    pub(crate) marks: Vec<Mark>,
}

/// Runs an actor.
pub(crate) fn run(options: &ActorOptions) -> Result<(), String> {
    let plan: Plan = serde_json::from_str(&options.plan).map_err(text)?;
    let (index, seed) = (options.index, options.seed.clone());
    seat::block_on(plan.threads, |seat| async move {
        let life = timeout(LIFE, live(seat, plan, index, seed)).await;
        life.map_err(|_| "an actor outlived its run".to_owned())?
    })
}

async fn live(
    mut seat: Seat,
    plan: Plan,
    index: usize,
    seed: Option<String>,
) -> Result<(), String> {
    let mut builder = seat::node(format!("m{index}"), seed.as_ref());
    if let Some(history) = &plan.history {
        builder = builder.history(history);
    }
    if let Some(silence) = plan.failure_timeout {
        builder = builder.failure_timeout(Duration::from_millis(silence));
    }
    if let Some(window) = plan.window {
        builder = seat::window(builder, window);
    }
    if let Some(ignored) = plan.ignored {
        METER.ignore(ignored as u64);
    }
    if plan.deep {
        METER.copy_deep();
    }
    let begun = Instant::now();
    let node = builder.start().await.map_err(text)?;
    let started_ms = begun.elapsed().as_secs_f64() * 1e3;
    println!("{}", node.address());
    let index = u8::try_from(index).map_err(text)?;
    let sent = Arc::default();
    let mut actor = Actor { node, plan, index, started_ms, sent, member: None, sender: None };
    loop {
        let ask: Ask = serde_json::from_str(&seat.line().await?).map_err(text)?;
        let answer = actor.answer(ask).await;
        println!("{}", serde_json::to_string(&answer).map_err(text)?);
    }
}

struct Actor {
    node: Node,
    plan: Plan,
    index: u8,
    started_ms: f64,
    sent: Arc<AtomicU64>,
    member: Option<Member>,
    sender: Option<Sender>,
}

/// What there is once the group is joined.
#[derive(Clone)]
struct Member {
    handle: BallastHandle,
    views: Shared<Told>,
    samples: Shared<Sample>,
    /// What ended the load.
    broken: Option<String>,
}

type Shared<T> = Arc<Mutex<Vec<T>>>;

fn lock<T>(shared: &Shared<T>) -> MutexGuard<'_, Vec<T>> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Actor {
    async fn answer(&mut self, ask: Ask) -> Result<Value, String> {
        match ask {
            Ask::Join => return value(self.join().await?),
            Ask::Leave => return value(self.leave().await?),
            _ => {}
        }
        let member = self.member.as_mut().ok_or("not a member")?;
        match ask {
            Ask::Fill(bytes) => {
                for (pieces, size) in state::fills(bytes) {
                    member.handle.fill(pieces, size).await.map_err(text)?;
                }
            }
            Ask::Load(load) => {
                if let Some(sender) = self.sender.take()
                    && let Err(why) = sender.stop().await
                {
                    member.broken = Some(why);
                }
                let source = Source {
                    handle: member.handle.clone(),
                    index: self.index,
                    payload: "x".repeat(self.plan.size),
                    sent: Arc::clone(&self.sent),
                };
                self.sender = Sender::start(source, load);
            }
            Ask::Watch => member.sample(self.plan.every)?,
            Ask::Size(members) => member.size(members).await?,
            Ask::Gone(index) => member.gone(index).await?,
            Ask::Now => return value(Sample(wall(), METER.applied())),
            Ask::Count => return value(member.count(self.sent.load(Relaxed)).await?),
            Ask::Record => {
                return value(Record {
                    samples: lock(&member.samples).clone(),
                    views: lock(&member.views).clone(),
                    marks: METER.marks().clone(),
                });
            }
            Ask::Join | Ask::Leave => {}
        }
        Ok(Value::Null)
    }

    async fn join(&mut self) -> Result<Joined, String> {
        let group = self.node.group("bench").timeout(JOIN);
        let called = wall();
        let handle = group.join_or_create(Ballast::default()).await.map_err(text)?;
        let done = wall();
        let member =
            Member { views: listen(&handle), handle, samples: Arc::default(), broken: None };
        self.member = Some(member);
        let sent = 0;
        Ok(Joined { called, done, started_ms: self.started_ms, sent })
    }

    /// Sends no more, and leaves at once: what is under way goes out first.
    async fn leave(&mut self) -> Result<Joined, String> {
        if let Some(sender) = self.sender.take() {
            sender.stop().await?;
        }
        let member = self.member.as_ref().ok_or("not a member")?;
        let called = wall();
        member.handle.group().leave(PATIENCE).await.map_err(text)?;
        let (done, sent) = (wall(), self.sent.load(Relaxed));
        Ok(Joined { called, done, started_ms: self.started_ms, sent })
    }
}

impl Member {
    /// Reads the count in a thread of its own: the member's is busy.
    fn sample(&self, every: u64) -> Result<(), String> {
        let samples = Arc::clone(&self.samples);
        let work = move || {
            loop {
                lock(&samples).push(Sample(wall(), METER.applied()));
                std::thread::sleep(Duration::from_micros(every));
            }
        };
        std::thread::Builder::new().spawn(work).map(drop).map_err(text)
    }

    async fn size(&self, members: usize) -> Result<(), String> {
        let there = || self.handle.group().view().is_some_and(|view| view.size() == members);
        wait(there).await.map_err(|()| format!("no view of {members} active members"))
    }

    async fn gone(&self, index: usize) -> Result<(), String> {
        let gone = || gone(&lock(&self.views), index).is_some();
        wait(gone).await.map_err(|()| format!("no view without member {index}"))
    }

    async fn count(&self, sent: u64) -> Result<Count, String> {
        let now = self.handle.summary().optimistic().map_err(text)?;
        let state = now.into_unstable("a measurement, repeated until it is what it must be");
        Ok(Count { state, sent, broken: self.broken.clone() })
    }
}

/// The first view without a member after one with it.
pub(crate) fn gone(views: &[Told], index: usize) -> Option<&Told> {
    let with = views.iter().position(|view| view.active.contains(&index))?;
    views[with..].iter().find(|view| !view.active.contains(&index))
}

async fn wait(until: impl Fn() -> bool) -> Result<(), ()> {
    let end = Instant::now() + PATIENCE;
    while !until() {
        if Instant::now() > end {
            return Err(());
        }
        sleep(Duration::from_millis(5)).await;
    }
    Ok(())
}

/// Notes the views as they are told.
fn listen(handle: &BallastHandle) -> Shared<Told> {
    let told = Shared::default();
    let (mut views, all) = (handle.group().views(), Arc::clone(&told));
    tokio::spawn(async move {
        while let Some(event) = views.next_event().await {
            let at = wall();
            let GroupEvent::View(view) = event else { continue };
            let index = |member: &vsync::Member| member.name.strip_prefix('m')?.parse().ok();
            lock(&all).push(Told {
                at,
                number: view.number(),
                active: view.active().iter().filter_map(index).collect(),
                left: view.left().iter().map(|left| format!("{:?}", left.reason)).collect(),
            });
        }
    });
    told
}

fn value(answer: impl Serialize) -> Result<Value, String> {
    serde_json::to_value(answer).map_err(text)
}

fn text(error: impl ToString) -> String {
    error.to_string()
}
