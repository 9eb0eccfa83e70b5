//! A member process's side of what [`process`](crate::process) says to it.

use std::time::Duration;

use tokio::io::{AsyncBufReadExt, BufReader, Lines, Stdin, stdin};
use vsync::{Node, NodeBuilder};

use crate::options::{MemberOptions, Workload};
use crate::report::Report;

/// Load before the measured window begins.
pub(crate) const WARM_UP: Duration = Duration::from_secs(1);

/// What the coordinator says.
pub(crate) struct Seat {
    lines: Lines<BufReader<Stdin>>,
}

impl Seat {
    /// Listens to the coordinator.
    pub(crate) fn new() -> Self {
        Seat { lines: BufReader::new(stdin()).lines() }
    }

    /// Tells where this member listens; returns where all do, in order, once they are there.
    pub(crate) async fn announce(&mut self, address: &str) -> Result<Vec<String>, String> {
        println!("{address}");
        let line = self.line().await?;
        let peers = line.strip_prefix("peers ").ok_or_else(|| format!("not peers: {line:?}"))?;
        Ok(peers.split(' ').map(str::to_owned).collect())
    }

    /// Waits until all know where all are.
    pub(crate) async fn go(&mut self) -> Result<(), String> {
        self.expect("go").await
    }

    /// Tells what was measured, and waits until all are done.
    pub(crate) async fn report(&mut self, report: &Report) -> Result<(), String> {
        println!("{}", serde_json::to_string(report).map_err(|error| error.to_string())?);
        self.expect("stop").await
    }

    async fn expect(&mut self, word: &str) -> Result<(), String> {
        let line = self.line().await?;
        if line == word { Ok(()) } else { Err(format!("expected {word:?}, got {line:?}")) }
    }

    /// The next thing that is said.
    pub(crate) async fn line(&mut self) -> Result<String, String> {
        let line = self.lines.next_line().await.map_err(|error| error.to_string())?;
        line.ok_or_else(|| "the coordinator has gone".to_owned())
    }
}

/// Of the benchmark's clusters.
pub(crate) const SECRET: &str = "the benchmark's own secret";

/// A node of the benchmark's cluster: the first one, or one that is given this seed.
pub(crate) fn node(name: impl Into<String>, seed: Option<&String>) -> NodeBuilder {
    let node = Node::builder().name(name).listen("127.0.0.1:0").secret(SECRET);
    match seed {
        Some(seed) => node.seeds([seed]),
        None => node.bootstrap(),
    }
}

/// A node that may have so many bytes under way in a group; an update may take half of them.
pub(crate) fn window(builder: NodeBuilder, bytes: u64) -> NodeBuilder {
    let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
    builder.window(bytes).max_update((bytes / 2).min(1 << 20))
}

/// Runs a member on a runtime with as many threads as the workload says.
pub(crate) fn run<F, W>(options: &MemberOptions, work: F) -> Result<(), String>
where
    F: FnOnce(Seat, Workload) -> W,
    W: Future<Output = Result<(), String>>,
{
    let workload: Workload =
        serde_json::from_str(&options.workload).map_err(|error| error.to_string())?;
    block_on(workload.threads, |seat| work(seat, workload))
}

/// Runs any member on a runtime with so many threads.
pub(crate) fn block_on<F, W>(threads: usize, work: F) -> Result<(), String>
where
    F: FnOnce(Seat) -> W,
    W: Future<Output = Result<(), String>>,
{
    let runtime = match threads {
        1 => tokio::runtime::Builder::new_current_thread().enable_all().build(),
        threads => {
            tokio::runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build()
        }
    };
    runtime.map_err(|error| error.to_string())?.block_on(work(Seat::new()))
}
