//! A member of `parallel`. It does what it is told, a step at a time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, sleep};
use vsync::Node;

use super::work::{Dear, DearHandle};
use crate::latency::{Counts, Latencies};
use crate::options::{Asked, ParallelMemberOptions};
use crate::report::cpu;
use crate::seat::{self, Seat};

/// Load before what is measured.
const WARM_UP: Duration = Duration::from_millis(300);
/// How often it is looked whether something has happened.
const LOOK: Duration = Duration::from_millis(1);

/// What a member is told.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Step {
    /// Become a member of so many groups, each of this many members.
    Join { groups: usize, size: usize, patience: u64 },
    /// The first member sends updates that compute for so many rounds to so many groups, each so
    /// many at a time; all say what they applied.
    Apply { groups: usize, rounds: u64, in_flight: usize, seconds: u64 },
    /// The first member awaits one update after the other in the first group, and asks this beside
    /// it, in that group or in the next.
    Beside { asked: Asked, elsewhere: bool, rounds: u64, seconds: u64 },
    /// Wait until so many updates have been applied here in all.
    Settle { total: u64, patience: u64 },
}

/// What it answers.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Done {
    /// How long was measured.
    pub(crate) seconds: f64,
    /// Updates that were applied here in that time, and seconds of CPU.
    pub(crate) applied: u64,
    pub(crate) cpu: f64,
    /// Updates sent from here, the warm-up's too, and applied here since the start.
    pub(crate) sent: u64,
    pub(crate) total: u64,
    /// Queries answered in that time.
    pub(crate) queries: u64,
    /// How long awaited updates took that began in that time.
    pub(crate) latencies: Counts,
}

struct Member {
    first: bool,
    node: Node,
    applied: Arc<AtomicU64>,
    groups: Vec<DearHandle>,
}

/// Runs a member until the coordinator has gone.
pub(crate) fn run(options: &ParallelMemberOptions) -> Result<(), String> {
    seat::block_on(options.threads, |seat| live(options.clone(), seat))
}

async fn live(options: ParallelMemberOptions, mut seat: Seat) -> Result<(), String> {
    let name = format!("m{}", options.index);
    let node =
        seat::node(name, options.seed.as_ref()).start().await.map_err(|error| error.to_string())?;
    seat.announce(node.address()).await?;
    let (first, applied) = (options.index == 0, Arc::default());
    let mut member = Member { first, node, applied, groups: Vec::new() };
    loop {
        let step: Step =
            serde_json::from_str(&seat.line().await?).map_err(|error| error.to_string())?;
        let mut done = member.step(step).await?;
        done.total = member.applied.load(Ordering::Relaxed);
        println!("{}", serde_json::to_string(&done).map_err(|error| error.to_string())?);
    }
}

impl Member {
    async fn step(&mut self, step: Step) -> Result<Done, String> {
        match step {
            Step::Join { groups, size, patience } => {
                let end = Instant::now() + Duration::from_secs(patience);
                self.join(groups, size, end).await
            }
            Step::Apply { groups, rounds, in_flight, seconds } => {
                let groups = &self.groups[..groups];
                let callers = groups.iter().flat_map(|group| vec![group; in_flight]);
                self.measure(callers, rounds, None, seconds).await
            }
            Step::Beside { asked, elsewhere, rounds, seconds } => {
                let asks = self.first.then(|| &self.groups[usize::from(elsewhere)]);
                let asks = asks.map(|group| (group.clone(), asked, rounds));
                self.measure(self.groups.iter().take(1), 0, asks, seconds).await
            }
            Step::Settle { total, patience } => {
                let end = Instant::now() + Duration::from_secs(patience);
                while self.applied.load(Ordering::Relaxed) < total && Instant::now() < end {
                    sleep(LOOK).await;
                }
                Ok(Done::default())
            }
        }
    }

    async fn join(&mut self, groups: usize, size: usize, end: Instant) -> Result<Done, String> {
        for number in 0..groups {
            let group = self.node.group(format!("g{number}"));
            let left = end.saturating_duration_since(Instant::now());
            let joined = group.timeout(left).join_or_create(Dear::counted(&self.applied)).await;
            self.groups.push(joined.map_err(|error| error.to_string())?);
        }
        let all = |group: &DearHandle| group.group().view().is_some_and(|view| view.size() == size);
        while !self.groups.iter().all(all) {
            if Instant::now() >= end {
                return Err(format!("not all groups have {size} members in time"));
            }
            sleep(LOOK).await;
        }
        Ok(Done::default())
    }

    /// The first member has a caller for each of these, one update after the other; what happens
    /// after the warm-up counts.
    async fn measure<'a>(
        &self,
        callers: impl Iterator<Item = &'a DearHandle>,
        rounds: u64,
        asks: Option<(DearHandle, Asked, u64)>,
        seconds: u64,
    ) -> Result<Done, String> {
        let run = Arc::new(Run::default());
        let mut calling = JoinSet::new();
        if self.first {
            for group in callers {
                calling.spawn(call(group.clone(), rounds, Arc::clone(&run)));
            }
        }
        let asking = asks.map(|(group, asked, rounds)| {
            tokio::spawn(ask(group, asked, rounds, Arc::clone(&run)))
        });
        sleep(WARM_UP).await;
        let begun = (Instant::now(), self.applied.load(Ordering::Relaxed), cpu());
        let asked = run.answered.load(Ordering::Relaxed);
        run.counts.store(true, Ordering::Relaxed);
        sleep(Duration::from_secs(seconds)).await;
        let mut done = Done {
            seconds: begun.0.elapsed().as_secs_f64(),
            applied: self.applied.load(Ordering::Relaxed) - begun.1,
            cpu: cpu() - begun.2,
            queries: run.answered.load(Ordering::Relaxed) - asked,
            ..Done::default()
        };
        run.over.store(true, Ordering::Relaxed);
        let mut latencies = Latencies::new();
        for called in calling.join_all().await {
            let (sent, times) = called?;
            done.sent += sent;
            latencies.add(&times);
        }
        done.latencies = latencies.counts();
        finished(asking).await?;
        Ok(done)
    }
}

/// What a measured time and those that are at work in it share.
#[derive(Debug, Default)]
struct Run {
    /// The warm-up is over.
    counts: AtomicBool,
    over: AtomicBool,
    answered: AtomicU64,
}

impl Run {
    fn goes_on(&self) -> bool {
        !self.over.load(Ordering::Relaxed)
    }
}

/// Awaits one update after the other.
async fn call(group: DearHandle, rounds: u64, run: Arc<Run>) -> Result<(u64, Counts), String> {
    let (mut sent, mut latencies) = (0, Latencies::new());
    while run.goes_on() {
        let (begun, counts) = (Instant::now(), run.counts.load(Ordering::Relaxed));
        group.work(rounds).await.map_err(|error| error.to_string())?;
        sent += 1;
        if counts {
            latencies.record(begun.elapsed());
        }
    }
    Ok((sent, latencies.counts()))
}

/// Asks one query after the other.
async fn ask(group: DearHandle, asked: Asked, rounds: u64, run: Arc<Run>) -> Result<(), String> {
    while run.goes_on() {
        let query = match asked {
            Asked::None => return Ok(()),
            Asked::Plain => group.plain(rounds),
            Asked::Snapshot => group.snapshot(rounds),
        };
        query.await.map_err(|error| error.to_string())?;
        run.answered.fetch_add(1, Ordering::Relaxed);
        // The one that asks shares its thread with the member that answers.
        tokio::task::yield_now().await;
    }
    Ok(())
}

async fn finished(asking: Option<JoinHandle<Result<(), String>>>) -> Result<(), String> {
    match asking {
        Some(asking) => asking.await.map_err(|error| error.to_string())?,
        None => Ok(()),
    }
}
