//! Members come and go under load; afterwards the histories are judged.
//!
//! `VSYNC_CHURN=200` makes it longer than the few rounds that a test run takes.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};
use vsync::testing::Cluster;
use vsync::{CallError, Ctx, replicated};
use vsync_history::History;

/// A log of everything.
#[replicated]
#[derive(Debug, Default)]
pub struct Journal {
    totals: Vec<(u64, u64)>,
    weak: u64,
}

#[replicated]
impl Journal {
    /// In one order for all.
    #[update(order = "total")]
    pub fn total(&mut self, ctx: &Ctx<Self>, number: u64) -> usize {
        self.totals.push((ctx.sender().node.0, number));
        self.totals.len()
    }

    /// In sender order.
    #[update(order = "fifo")]
    pub fn fifo(&mut self) {
        self.weak += 1;
    }

    /// After its causes.
    #[update(order = "causal")]
    pub fn causal(&mut self) {
        self.weak += 1;
    }

    /// Everything.
    #[query]
    pub fn all(&self) -> (Vec<(u64, u64)>, u64) {
        (self.totals.clone(), self.weak)
    }
}

/// What a caller was told of its update: how often it may be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Told {
    Applied,
    NotApplied,
    Unknown,
}

/// By node and number. Each number is used once.
type Outcomes = BTreeMap<(u64, u64), Told>;

/// A member and the load that it makes.
struct Loaded {
    index: usize,
    handle: JournalHandle,
    stop: Arc<AtomicBool>,
    load: JoinHandle<Outcomes>,
}

impl Loaded {
    async fn start(cluster: &Cluster, index: usize) -> Loaded {
        let joined = cluster.node(index).group("journal").join_or_create(Journal::default()).await;
        let handle = joined.expect("a member");
        let stop = Arc::new(AtomicBool::new(false));
        let node = cluster.node(index).id();
        let load = tokio::spawn(load(node, handle.clone(), Arc::clone(&stop)));
        Loaded { index, handle, stop, load }
    }

    /// Ends the load; what became of its totals.
    async fn rest(self) -> Outcomes {
        self.stop.store(true, Ordering::Relaxed);
        let limit = Duration::from_secs(20);
        timeout(limit, self.load).await.expect("no call hangs").expect("no panic")
    }
}

/// Sends until it is told to stop; what its totals were told.
async fn load(node: u64, handle: JournalHandle, stop: Arc<AtomicBool>) -> Outcomes {
    let mut outcomes = Outcomes::new();
    for number in 0.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        // Errors of fire and forget show in the awaited call that follows.
        for _ in 0..8 {
            drop(handle.fifo().send().await);
            drop(handle.causal().send().await);
        }
        let told = match handle.total(number).await {
            Ok(_) => Told::Applied,
            Err(CallError::NotApplied(_)) => Told::NotApplied,
            Err(CallError::Unknown(_)) => Told::Unknown,
            Err(error) => panic!("{error}"),
        };
        outcomes.insert((node, number), told);
        if told != Told::Applied {
            // Closed for good, or about to join again.
            sleep(Duration::from_millis(1)).await;
        }
    }
    outcomes
}

/// What callers were told is the truth (rule A1), whatever became of their nodes.
fn judge(outcomes: &Outcomes, totals: &[(u64, u64)]) {
    let mut there: BTreeMap<(u64, u64), usize> = BTreeMap::new();
    totals.iter().for_each(|total| *there.entry(*total).or_default() += 1);
    for (total, told) in outcomes {
        let times = there.remove(total).unwrap_or(0);
        let right = match told {
            Told::Applied => times == 1,
            Told::NotApplied => times == 0,
            Told::Unknown => times <= 1,
        };
        assert!(right, "{total:?} was told {told:?} and is there {times} times");
    }
    assert!(there.is_empty(), "nobody sent {there:?}");
}

/// A small generator: the schedule is a function of its seed.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 33) % sides
    }
}

/// Waits until all are active members of one view, of the directory's group too: a crash then
/// leaves a quorum.
async fn settle(cluster: &Cluster, members: &[Loaded]) {
    let whole = |index: usize| {
        let member = members.iter().find(|member| member.index == index);
        let view = member.and_then(|member| member.handle.group().view());
        let known = cluster.node(index).cluster_size();
        view.is_some_and(|view| view.size() == members.len()) && known == members.len()
    };
    while !members.iter().all(|member| whole(member.index)) {
        sleep(Duration::from_millis(5)).await;
    }
}

async fn round(
    cluster: &mut Cluster,
    members: &mut Vec<Loaded>,
    outcomes: &mut Outcomes,
    dice: &mut Dice,
) {
    settle(cluster, members).await;
    sleep(Duration::from_millis(dice.roll(60))).await;
    let victim = dice.roll(members.len() as u64) as usize;
    match dice.roll(5) {
        0 | 1 if members.len() >= 4 => {
            let victim = members.swap_remove(victim);
            cluster.kill(victim.index);
            outcomes.append(&mut victim.rest().await);
        }
        2 if members.len() >= 4 => {
            let leaver = members.swap_remove(victim);
            let left = leaver.handle.group().leave(Duration::from_secs(10)).await;
            left.expect("an orderly leave");
            let node = cluster.take(leaver.index).expect("it runs");
            outcomes.append(&mut leaver.rest().await);
            node.shutdown(Duration::from_secs(10)).await;
        }
        3 => {
            let other = (victim + 1) % members.len();
            let (a, b) = (members[victim].index, members[other].index);
            cluster.cut(a, b);
            sleep(Duration::from_millis(dice.roll(100))).await;
            cluster.heal(a, b);
        }
        4 if members.len() >= 4 => {
            // Long enough to be excluded; it joins again by itself.
            let lone = members[victim].index;
            let others: Vec<_> = members.iter().map(|m| m.index).filter(|i| *i != lone).collect();
            others.iter().for_each(|other| cluster.cut(lone, *other));
            sleep(Duration::from_millis(500 + dice.roll(500))).await;
            others.iter().for_each(|other| cluster.heal(lone, *other));
        }
        _ if members.len() < 6 => {
            let index = cluster.add().await.expect("started");
            members.push(Loaded::start(cluster, index).await);
        }
        _ => {}
    }
}

/// All live members come to the same state.
async fn converge(members: &[Loaded]) -> Vec<(u64, u64)> {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let mut states = Vec::new();
        for member in members {
            drop(member.handle.group().flush().await);
            if let Ok(state) = member.handle.all().await {
                states.push(state);
            }
        }
        let same = states.windows(2).all(|pair| pair[0] == pair[1]);
        if states.len() == members.len() && same {
            return states.remove(0).0;
        }
        assert!(Instant::now() < deadline, "the members do not come to one state");
        sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_come_and_go_under_load() {
    let rounds = std::env::var("VSYNC_CHURN").ok().and_then(|v| v.parse().ok()).unwrap_or(12);
    let seed = std::env::var("VSYNC_SEED").ok().and_then(|v| v.parse().ok()).unwrap_or(1);
    let dir: PathBuf = std::env::temp_dir().join(format!("vsync-churn-{}", std::process::id()));
    let histories = dir.clone();
    let mut cluster = Cluster::with(4, move |builder| builder.history(histories.clone())).await;
    let mut members = Vec::new();
    for index in 0..4 {
        members.push(Loaded::start(&cluster, index).await);
    }
    let mut outcomes = Outcomes::new();
    let mut dice = Dice(seed);
    for number in 0..rounds {
        let limit = Duration::from_secs(30);
        let done =
            timeout(limit, round(&mut cluster, &mut members, &mut outcomes, &mut dice)).await;
        assert!(done.is_ok(), "round {number} hangs");
    }
    for member in &members {
        member.stop.store(true, Ordering::Relaxed);
    }
    // Whoever still sends changes the states, so the loads end first.
    for member in &mut members {
        let load = std::mem::replace(&mut member.load, tokio::spawn(async { Outcomes::new() }));
        let done = timeout(Duration::from_secs(20), load).await.expect("no call hangs");
        outcomes.append(&mut done.expect("no panic"));
    }
    let totals = converge(&members).await;
    judge(&outcomes, &totals);
    let told = |what| outcomes.values().filter(|told| **told == what).count();
    assert!(told(Told::Applied) > 0, "nothing was sent");
    // What correct nodes never send was never dropped, whatever else was.
    for dropped in cluster.nodes().map(vsync::Node::dropped) {
        use vsync::DropReason::{Invalid, Malformed, WrongGeneration};
        let wrong = [Malformed, Invalid, WrongGeneration].map(|reason| dropped.get(&reason));
        assert_eq!(wrong, [None; 3], "{dropped:?}");
    }
    drop(members);
    cluster.shutdown(Duration::from_secs(10)).await;
    let history = History::read_dir(&dir).expect("readable histories");
    let violations = vsync_history::check(&history);
    assert!(violations.is_empty(), "{violations:#?} in {dir:?}");
    std::fs::remove_dir_all(&dir).expect("removed");
}
