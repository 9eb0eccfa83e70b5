//! A member of many groups. It does what it is told, a step at a time.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use vsync::{Node, replicated};

use crate::options::GroupsMemberOptions;
use crate::report::{cpu, resident};
use crate::seat::{self, Seat, WARM_UP};

/// How often it is looked whether something has happened.
const LOOK: Duration = Duration::from_millis(1);
/// Updates between two turns of the others on this thread.
const TURN: usize = 64;

/// One of many: a number, and what all of them at this node have applied.
#[replicated]
#[derive(Debug, Default)]
pub(crate) struct Tally {
    bytes: u64,
    #[local]
    applied: Arc<AtomicU64>,
}

#[replicated]
impl Tally {
    /// In one order for all.
    #[update(order = "total")]
    pub(crate) fn add(&mut self, payload: String) {
        self.bytes += payload.len() as u64;
        self.applied.fetch_add(1, Ordering::Relaxed);
    }
}

/// What a member is told.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Step {
    /// Become a member of the groups up to this number, so many at a time.
    Join { groups: usize, joining: usize, patience: f64 },
    /// Wait until all groups have this many members, and say how long it took.
    Views { size: usize, patience: f64 },
    /// Do nothing.
    Idle { seconds: u64 },
    /// Send to the first so many groups in turn, so many updates at a time.
    Stream { groups: usize, burst: usize, size: usize, seconds: u64 },
    /// Wait until so many updates have been applied here in all.
    Applied { total: u64, patience: f64 },
}

/// What it answers.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Done {
    /// How long it took, or was measured.
    pub(crate) seconds: f64,
    /// Groups that this is true for.
    pub(crate) groups: usize,
    /// When the first and the last of them were seen so, in seconds since the Unix epoch.
    pub(crate) first: f64,
    pub(crate) last: f64,
    /// Resident bytes at the end.
    pub(crate) memory: u64,
    /// Bytes on the wire, frames of each class, and seconds of CPU.
    pub(crate) wire: u64,
    pub(crate) frames: [u64; 3],
    pub(crate) cpu: f64,
    /// Updates applied in the measured time, sent in all, and applied in all.
    pub(crate) applied: u64,
    pub(crate) sent: u64,
    pub(crate) total: u64,
    /// The longest time that the sender waited for its turn on the thread, in seconds.
    pub(crate) stall: f64,
    /// What the protocol has dropped here since the start, by reason.
    pub(crate) dropped: BTreeMap<String, u64>,
    /// Groups whose view says of somebody that it is gone, by reason.
    pub(crate) left: BTreeMap<String, u64>,
    /// What went wrong, if something did.
    pub(crate) why: String,
}

struct Member {
    node: Arc<Node>,
    applied: Arc<AtomicU64>,
    groups: Vec<TallyHandle>,
}

/// Runs a member until the coordinator has gone.
pub(crate) fn run(options: &GroupsMemberOptions) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| error.to_string())?.block_on(live(options))
}

async fn live(options: &GroupsMemberOptions) -> Result<(), String> {
    let name = format!("m{}", options.index);
    let node =
        seat::node(name, options.seed.as_ref()).start().await.map_err(|error| error.to_string())?;
    let mut seat = Seat::new();
    seat.announce(node.address()).await?;
    let mut member = Member { node: Arc::new(node), applied: Arc::default(), groups: Vec::new() };
    loop {
        let step: Step =
            serde_json::from_str(&seat.line().await?).map_err(|error| error.to_string())?;
        let mut done = member.step(step).await?;
        done.memory = resident();
        println!("{}", serde_json::to_string(&done).map_err(|error| error.to_string())?);
    }
}

impl Member {
    async fn step(&mut self, step: Step) -> Result<Done, String> {
        let begun = Instant::now();
        let until = |patience: f64| begun + Duration::from_secs_f64(patience);
        let (cpu_before, before) = (cpu(), self.node.network());
        let mut done = match step {
            Step::Join { groups, joining, patience } => {
                self.join(groups, joining, until(patience)).await?
            }
            Step::Views { size, patience } => self.views(size, until(patience)).await,
            Step::Idle { seconds } => {
                sleep(Duration::from_secs(seconds)).await;
                Done::default()
            }
            Step::Stream { groups, burst, size, seconds } => {
                self.stream(groups, burst, size, seconds).await?
            }
            Step::Applied { total, patience } => self.all_applied(total, until(patience)).await,
        };
        if done.seconds == 0.0 {
            done.seconds = begun.elapsed().as_secs_f64();
        }
        done.cpu = cpu() - cpu_before;
        let after = self.node.network();
        done.wire = after.wire_sent - before.wire_sent;
        let frames = after.classes.iter().zip(&before.classes);
        for (all, (after, before)) in done.frames.iter_mut().zip(frames) {
            *all = after.frames_sent - before.frames_sent;
        }
        let dropped = self.node.dropped().into_iter();
        done.dropped = dropped.map(|(reason, count)| (format!("{reason:?}"), count)).collect();
        for view in self.groups.iter().filter_map(|group| group.group().view()) {
            for left in view.left() {
                *done.left.entry(format!("{:?}", left.reason)).or_default() += 1;
            }
        }
        done.total = self.applied.load(Ordering::Relaxed);
        Ok(done)
    }

    /// Joins what it is not yet in; those that failed or were late are left out.
    async fn join(&mut self, groups: usize, joining: usize, end: Instant) -> Result<Done, String> {
        let (mut tasks, mut joined) = (JoinSet::new(), Vec::new());
        let mut next = self.groups.len();
        let mut why = String::new();
        loop {
            while next < groups && tasks.len() < joining && Instant::now() < end {
                let (node, applied) = (Arc::clone(&self.node), Arc::clone(&self.applied));
                let number = next;
                tasks.spawn(async move {
                    let state = Tally { bytes: 0, applied };
                    let group = node.group(format!("g{number}"));
                    let left = end.saturating_duration_since(Instant::now());
                    (number, group.timeout(left).join_or_create(state).await)
                });
                next += 1;
            }
            match tasks.join_next().await {
                Some(Ok((number, Ok(handle)))) => joined.push((number, handle)),
                Some(Ok((_, Err(error)))) => why = error.to_string(),
                Some(Err(error)) => return Err(error.to_string()),
                None => break,
            }
        }
        joined.sort_by_key(|(number, _)| *number);
        self.groups.extend(joined.into_iter().map(|(_, handle)| handle));
        Ok(Done { groups: self.groups.len(), why, ..Done::default() })
    }

    /// In turn: what is at the front keeps the others waiting, so that a look costs the same
    /// however many there are.
    async fn views(&self, size: usize, end: Instant) -> Done {
        let mut waiting: VecDeque<&TallyHandle> = self.groups.iter().collect();
        let mut done = Done::default();
        while Instant::now() < end {
            let there =
                |group: &&TallyHandle| group.group().view().is_some_and(|view| view.size() == size);
            while waiting.pop_front_if(|group| there(group)).is_some() {
                done.last = now();
                if done.groups == 0 {
                    done.first = done.last;
                }
                done.groups += 1;
            }
            if waiting.is_empty() {
                break;
            }
            sleep(LOOK).await;
        }
        done
    }

    /// Sends as fast as flow control lets it; what is applied counts after the warm-up.
    async fn stream(
        &self,
        groups: usize,
        burst: usize,
        size: usize,
        seconds: u64,
    ) -> Result<Done, String> {
        let payload = "x".repeat(size);
        let (begin, mut begun, mut before) = (Instant::now() + WARM_UP, None, 0);
        let end = begin + Duration::from_secs(seconds);
        let (mut sent, mut now) = (0, Instant::now());
        let (mut turn, mut stall) = (0, 0.0_f64);
        for group in self.groups.iter().take(groups).cycle() {
            for _ in 0..burst {
                let sending = group.add(payload.clone()).send();
                sending.await.map_err(|error| error.to_string())?;
            }
            sent += burst as u64;
            turn += burst;
            if turn < TURN {
                continue;
            }
            turn = 0;
            now = Instant::now();
            if now >= end {
                break;
            }
            if begun.is_none() && now >= begin {
                (begun, before) = (Some(now), self.applied.load(Ordering::Relaxed));
            }
            // The sender shares its thread with the member that it feeds.
            tokio::task::yield_now().await;
            stall = stall.max(now.elapsed().as_secs_f64());
        }
        let applied = self.applied.load(Ordering::Relaxed) - before;
        let begun = begun.ok_or("no turn after the warm-up: everything was blocked")?;
        Ok(Done { seconds: (now - begun).as_secs_f64(), applied, sent, stall, ..Done::default() })
    }

    async fn all_applied(&self, total: u64, end: Instant) -> Done {
        while Instant::now() < end && self.applied.load(Ordering::Relaxed) < total {
            sleep(LOOK).await;
        }
        // Should there be more than was sent, it comes now.
        sleep(LOOK * 50).await;
        Done::default()
    }
}

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}
