//! One member of ours: a process of its own, through the public API.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep};
use vsync::{Node, replicated};
use vsync_net::{QuicConfig, Secret};

use crate::latency::Latencies;
use crate::options::{Level, MemberOptions, Order, Workload};
use crate::pace::paced;
use crate::report::{Report, cpu, memory};
use crate::seat::{self, SECRET, Seat, WARM_UP};

/// Counts what it is sent.
#[replicated]
#[derive(Debug, Default)]
pub(crate) struct Sink {
    updates: u64,
    bytes: u64,
}

#[replicated]
impl Sink {
    /// In one order for all.
    #[update(order = "total")]
    pub(crate) fn total(&mut self, payload: String) {
        self.take(&payload);
    }

    /// In sender order.
    #[update(order = "fifo")]
    pub(crate) fn fifo(&mut self, payload: String) {
        self.take(&payload);
    }

    /// How many updates.
    #[query]
    pub(crate) fn updates(&self) -> u64 {
        self.updates
    }

    fn take(&mut self, payload: &str) {
        self.updates += 1;
        self.bytes += payload.len() as u64;
    }
}

/// The same with causal updates: a type without them carries no stamps.
#[replicated]
#[derive(Debug, Default)]
pub(crate) struct CausalSink {
    updates: u64,
    bytes: u64,
}

#[replicated]
impl CausalSink {
    /// After its causes.
    #[update(order = "causal")]
    pub(crate) fn causal(&mut self, payload: String) {
        self.updates += 1;
        self.bytes += payload.len() as u64;
    }

    /// How many updates.
    #[query]
    pub(crate) fn updates(&self) -> u64 {
        self.updates
    }
}

/// A member of either group.
#[derive(Clone)]
enum Handle {
    Sink(SinkHandle),
    Causal(CausalSinkHandle),
}

impl Handle {
    async fn join(node: &Node, order: Order) -> Result<Handle, String> {
        let group = node.group("bench");
        let joined = match order {
            Order::Causal => group.join_or_create(CausalSink::default()).await.map(Handle::Causal),
            _ => group.join_or_create(Sink::default()).await.map(Handle::Sink),
        };
        joined.map_err(|error| error.to_string())
    }

    async fn send(&self, order: Order, payload: String) -> Result<(), String> {
        let sent = match self {
            Handle::Causal(sink) => sink.causal(payload).send().await,
            Handle::Sink(sink) if order == Order::Fifo => sink.fifo(payload).send().await,
            Handle::Sink(sink) => sink.total(payload).send().await,
        };
        sent.map_err(|error| error.to_string())
    }

    async fn call(&self, order: Order, level: Level, payload: String) -> Result<(), String> {
        let done = match (self, level) {
            (Handle::Causal(sink), Level::Stable) => return text(sink.causal(payload).await),
            (Handle::Sink(sink), Level::Stable) => match order {
                Order::Fifo => return text(sink.fifo(payload).await),
                _ => return text(sink.total(payload).await),
            },
            (Handle::Causal(sink), Level::Optimistic) => sink.causal(payload).optimistic().await,
            (Handle::Sink(sink), Level::Optimistic) => match order {
                Order::Fifo => sink.fifo(payload).optimistic().await,
                _ => sink.total(payload).optimistic().await,
            },
        };
        text(done.map(drop))
    }

    fn updates(&self) -> u64 {
        let now = match self {
            Handle::Sink(sink) => sink.updates().optimistic(),
            Handle::Causal(sink) => sink.updates().optimistic(),
        };
        now.map_or(0, |count| count.into_unstable("a measurement"))
    }

    async fn flush(&self) -> Result<(), String> {
        let flushed = match self {
            Handle::Sink(sink) => sink.group().flush().await,
            Handle::Causal(sink) => sink.group().flush().await,
        };
        flushed.map_err(|error| error.to_string())
    }

    fn members(&self) -> usize {
        let view = match self {
            Handle::Sink(sink) => sink.group().view(),
            Handle::Causal(sink) => sink.group().view(),
        };
        view.map_or(0, |view| view.size())
    }
}

fn text<T, E: ToString>(result: Result<T, E>) -> Result<T, String> {
    result.map_err(|error| error.to_string())
}

/// Runs a member until it is told to stop.
pub(crate) fn run(options: &MemberOptions) -> Result<(), String> {
    let (index, seed) = (options.index, options.seed.clone());
    seat::run(options, |seat, workload| live(seat, workload, index, seed))
}

async fn live(
    mut seat: Seat,
    workload: Workload,
    index: usize,
    seed: Option<String>,
) -> Result<(), String> {
    let mut builder = seat::node(format!("m{index}"), seed.as_ref());
    if let Some(history) = &workload.history {
        builder = builder.history(history);
    }
    if let Some(window) = workload.window {
        builder = seat::window(builder, window);
    }
    let node = builder.start().await.map_err(|error| error.to_string())?;
    let handle = Handle::join(&node, workload.order).await?;
    seat.announce(node.address()).await?;
    seat.go().await?;
    let report = measure(&workload, index, &node, &handle).await?;
    seat.report(&report).await?;
    node.shutdown(Duration::from_secs(5)).await;
    Ok(())
}

async fn measure(
    workload: &Workload,
    index: usize,
    node: &Node,
    handle: &Handle,
) -> Result<Report, String> {
    while handle.members() < workload.members {
        sleep(Duration::from_millis(10)).await;
    }
    let start = Instant::now();
    let end = start + WARM_UP + Duration::from_secs(workload.seconds);
    let besides = (workload.besides > 0.0).then(|| {
        let (handle, workload) = (handle.clone(), workload.clone());
        tokio::spawn(async move { besides(&handle, &workload, end).await })
    });
    let sender = workload.sends(index).then(|| {
        let (handle, workload) = (handle.clone(), workload.clone());
        tokio::spawn(async move {
            match workload.in_flight {
                0 => Ok((stream(&handle, &workload, end).await?, Latencies::new())),
                _ => calls(&handle, &workload, start, end).await,
            }
        })
    });
    sleep(WARM_UP).await;
    let (begun, cpu_before) = (Instant::now(), cpu());
    let (before, net_before) = (handle.updates(), node.network());
    tokio::time::sleep_until(end).await;
    let seconds = begun.elapsed().as_secs_f64();
    let (after, net, cpu) = (handle.updates(), node.network(), cpu() - cpu_before);
    let frames =
        |stats: &vsync::NetworkStats| stats.classes.iter().map(|c| c.frames_sent).sum::<u64>();
    let (mut sent, latencies) = match sender {
        Some(task) => task.await.map_err(|error| error.to_string())??,
        None => (0, Latencies::new()),
    };
    if let Some(task) = besides {
        sent += task.await.map_err(|error| error.to_string())??;
    }
    handle.flush().await?;
    Ok(Report {
        seconds,
        applied: after - before,
        sent,
        wire: net.wire_sent - net_before.wire_sent,
        frames: frames(&net) - frames(&net_before),
        sends: net.sends - net_before.sends,
        cpu,
        memory: memory(),
        latencies: latencies.counts(),
        total: settled(handle).await,
        settings: settings(workload)?,
        reliable: true,
    })
}

/// How ours is set up: as shipped, but for what the workload says.
fn settings(workload: &Workload) -> Result<BTreeMap<String, String>, String> {
    let secret = text(Secret::new(SECRET))?;
    let network = QuicConfig::new("member", "127.0.0.1:0", secret).described();
    let window = match workload.window {
        Some(bytes) => format!("{} KiB", bytes >> 10),
        None => "as shipped: 8 MiB at most, of it what keeps all busy".to_owned(),
    };
    let own = [
        ("threads per member", workload.threads.to_string()),
        ("pinned", "no".to_owned()),
        ("window of a sender", window),
        ("quorum", "a majority".to_owned()),
        ("failure timeout", "as shipped".to_owned()),
    ];
    Ok(network.into_iter().chain(own).map(|(name, value)| (name.to_owned(), value)).collect())
}

/// Sends as fast as flow control lets it.
async fn stream(handle: &Handle, workload: &Workload, end: Instant) -> Result<u64, String> {
    let payload = "x".repeat(workload.size);
    let mut sent = 0;
    loop {
        for _ in 0..64 {
            handle.send(workload.order, payload.clone()).await?;
            sent += 1;
        }
        if Instant::now() >= end {
            return Ok(sent);
        }
        // The sender shares its thread with the member that it feeds.
        tokio::task::yield_now().await;
    }
}

/// Sends this member's share of what goes besides.
async fn besides(handle: &Handle, workload: &Workload, end: Instant) -> Result<u64, String> {
    let payload = "x".repeat(workload.size);
    let send = |number| {
        let payload = &payload;
        async move {
            for _ in 0..number {
                handle.send(workload.order, payload.clone()).await?;
            }
            Ok(())
        }
    };
    paced(workload.besides / workload.members as f64, || Instant::now() < end, send).await
}

/// Awaits calls, so many at a time; how many they were, and how long each took. All callers note
/// their times in one place: a list of each caller's own is a cache line of its own per call, which
/// took a tenth of what the whole call did.
async fn calls(
    handle: &Handle,
    workload: &Workload,
    start: Instant,
    end: Instant,
) -> Result<(u64, Latencies), String> {
    let payload: Arc<str> = "x".repeat(workload.size).into();
    let latencies = Arc::new(Mutex::new(Latencies::new()));
    let mut callers = tokio::task::JoinSet::new();
    for _ in 0..workload.in_flight {
        let (handle, payload, latencies) = (handle.clone(), payload.clone(), latencies.clone());
        let (order, level) = (workload.order, workload.level);
        callers.spawn(async move {
            let (mut sent, mut before) = (0, Instant::now());
            while before < end {
                handle.call(order, level, payload.to_string()).await?;
                let after = Instant::now();
                if before >= start + WARM_UP {
                    lock(&latencies).record(after - before);
                }
                (sent, before) = (sent + 1, after);
            }
            Ok::<_, String>(sent)
        });
    }
    let mut all = 0;
    for done in callers.join_all().await {
        all += done?;
    }
    let latencies = lock(&latencies).clone();
    Ok((all, latencies))
}

fn lock(latencies: &Mutex<Latencies>) -> MutexGuard<'_, Latencies> {
    latencies.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The count when nothing comes any more.
async fn settled(handle: &Handle) -> u64 {
    let mut last = handle.updates();
    loop {
        sleep(Duration::from_millis(300)).await;
        let now = handle.updates();
        if now == last {
            return now;
        }
        last = now;
    }
}
