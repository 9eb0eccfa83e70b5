//! One member: a process of its own, which the coordinator commands through its standard input.

use std::time::Duration;

use tokio::io::{AsyncBufReadExt, BufReader, Lines, Stdin, stdin};
use tokio::time::{Instant, sleep};
use vsync::{Node, replicated};

use crate::options::Options;
use crate::report::{Report, cpu, memory};

const SECRET: &str = "the benchmark's own secret";

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
    async fn join(node: &Node, order: &str) -> Result<Handle, String> {
        let group = node.group("bench");
        let joined = match order {
            "causal" => group.join_or_create(CausalSink::default()).await.map(Handle::Causal),
            _ => group.join_or_create(Sink::default()).await.map(Handle::Sink),
        };
        joined.map_err(|error| error.to_string())
    }

    async fn send(&self, order: &str, payload: String) -> Result<(), String> {
        let sent = match self {
            Handle::Causal(sink) => sink.causal(payload).send().await,
            Handle::Sink(sink) if order == "fifo" => sink.fifo(payload).send().await,
            Handle::Sink(sink) => sink.total(payload).send().await,
        };
        sent.map_err(|error| error.to_string())
    }

    async fn call(&self, order: &str, payload: String) -> Result<(), String> {
        let done = match self {
            Handle::Causal(sink) => sink.causal(payload).await,
            Handle::Sink(sink) if order == "fifo" => sink.fifo(payload).await,
            Handle::Sink(sink) => sink.total(payload).await,
        };
        done.map_err(|error| error.to_string())
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

/// Runs a member until it is told to stop.
pub(crate) fn run(options: &Options) -> Result<(), String> {
    let runtime = match options.threads {
        1 => tokio::runtime::Builder::new_current_thread().enable_all().build(),
        threads => {
            tokio::runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build()
        }
    };
    runtime.map_err(|error| error.to_string())?.block_on(live(options))
}

async fn live(options: &Options) -> Result<(), String> {
    let mut commands = BufReader::new(stdin()).lines();
    let mut builder =
        Node::builder().name(format!("m{}", options.index)).listen("127.0.0.1:0").secret(SECRET);
    builder = match &options.seed {
        Some(seed) => builder.seeds([seed.clone()]),
        None => builder.bootstrap(),
    };
    if let Some(history) = &options.history {
        builder = builder.history(history);
    }
    let node = builder.start().await.map_err(|error| error.to_string())?;
    let handle = Handle::join(&node, &options.order).await?;
    println!("{}", node.address());
    expect(&mut commands, "go").await?;
    let report = measure(options, &node, &handle).await?;
    println!("{}", serde_json::to_string(&report).map_err(|error| error.to_string())?);
    expect(&mut commands, "stop").await?;
    node.shutdown(Duration::from_secs(5)).await;
    Ok(())
}

async fn expect(commands: &mut Lines<BufReader<Stdin>>, word: &str) -> Result<(), String> {
    match commands.next_line().await {
        Ok(Some(line)) if line == word => Ok(()),
        other => Err(format!("expected {word:?}, got {other:?}")),
    }
}

async fn measure(options: &Options, node: &Node, handle: &Handle) -> Result<Report, String> {
    while handle.members() < options.members {
        sleep(Duration::from_millis(10)).await;
    }
    let warm_up = Duration::from_secs(1);
    let start = Instant::now();
    let end = start + warm_up + Duration::from_secs(options.seconds);
    let sender = (options.index < options.senders).then(|| {
        let (handle, order) = (handle.clone(), options.order.clone());
        let payload = "x".repeat(options.size);
        let in_flight = options.in_flight;
        tokio::spawn(async move {
            match in_flight {
                0 => Ok((stream(&handle, &order, &payload, end).await?, Vec::new())),
                _ => calls(&handle, &order, &payload, in_flight, end).await,
            }
        })
    });
    sleep(warm_up).await;
    let (begun, cpu_before) = (Instant::now(), cpu());
    let (before, wire_before) = (handle.updates(), node.network().wire_sent);
    tokio::time::sleep_until(end).await;
    let seconds = begun.elapsed().as_secs_f64();
    let (after, wire, cpu) = (handle.updates(), node.network().wire_sent, cpu() - cpu_before);
    let (sent, latencies) = match sender {
        Some(task) => task.await.map_err(|error| error.to_string())??,
        None => (0, Vec::new()),
    };
    handle.flush().await?;
    Ok(Report {
        seconds,
        applied: after - before,
        sent,
        wire: wire - wire_before,
        cpu,
        memory: memory(),
        latency: percentiles(latencies),
        total: settled(handle).await,
    })
}

/// Sends as fast as flow control lets it.
async fn stream(handle: &Handle, order: &str, payload: &str, end: Instant) -> Result<u64, String> {
    let mut sent = 0;
    loop {
        for _ in 0..64 {
            handle.send(order, payload.to_owned()).await?;
            sent += 1;
        }
        if Instant::now() >= end {
            return Ok(sent);
        }
        // The sender shares its thread with the member that it feeds.
        tokio::task::yield_now().await;
    }
}

/// Awaits stable calls, `in_flight` at a time; how many they were, and how long each took.
async fn calls(
    handle: &Handle,
    order: &str,
    payload: &str,
    in_flight: usize,
    end: Instant,
) -> Result<(u64, Vec<Duration>), String> {
    let mut callers = tokio::task::JoinSet::new();
    for _ in 0..in_flight {
        let (handle, order, payload) = (handle.clone(), order.to_owned(), payload.to_owned());
        callers.spawn(async move {
            let mut latencies = Vec::new();
            while Instant::now() < end {
                let start = Instant::now();
                handle.call(&order, payload.clone()).await?;
                latencies.push(start.elapsed());
            }
            Ok::<_, String>(latencies)
        });
    }
    let mut all = Vec::new();
    for latencies in callers.join_all().await {
        all.append(&mut latencies?);
    }
    Ok((all.len() as u64, all))
}

/// Median and 99th percentile in microseconds.
fn percentiles(mut latencies: Vec<Duration>) -> Option<(f64, f64)> {
    latencies.sort_unstable();
    let at = |part: usize| {
        let latency = latencies.get(latencies.len() * part / 100)?;
        Some(latency.as_secs_f64() * 1e6)
    };
    Some((at(50)?, at(99)?))
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
