//! etcd as Debian ships it: a member of the cluster per member of the workload, each with a log on
//! the disk; clients put values, each under a key of its own.
//!
//! An update is a put. Every put is one revision of the store, so that a member's revision tells
//! how many it has applied.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

use super::daemon::{self, Daemon, Directory};
use super::grpc::{self, Channel, Value};
use crate::latency::Latencies;
use crate::options::{System, Workload};
use crate::report::{Outcome, Report, cpu_of};
use crate::seat::WARM_UP;

/// Clients in all when nothing else is asked for: the best count of an earlier measurement, which
/// tried no more than these.
const CLIENTS: usize = 1024;
/// Clients that share a connection.
const CLIENTS_PER_CONNECTION: usize = 64;

/// A member of the cluster.
struct Node {
    daemon: Daemon,
    /// For clients.
    address: String,
}

/// What a member says of itself.
struct Status {
    revision: u64,
    version: String,
    leads: bool,
    /// When it said so.
    at: Instant,
}

/// Runs a cluster under the workload.
pub(crate) fn run(workload: &Workload) -> Result<Outcome, String> {
    let program = daemon::find("etcd", &[], "etcd-server")?;
    let directory = Directory::new("etcd")?;
    let nodes = start(&program, workload.members, directory.path())?;
    let mut runtime = match workload.threads {
        1 => tokio::runtime::Builder::new_current_thread(),
        _ => tokio::runtime::Builder::new_multi_thread(),
    };
    let runtime = runtime.worker_threads(workload.threads).enable_all().build();
    let runtime = runtime.map_err(|error| error.to_string())?;
    let disk = directory.file_system();
    let reports = runtime.block_on(measure(workload, nodes, &disk))?;
    Outcome::of(System::Etcd, workload, reports)
}

fn start(program: &Path, members: usize, directory: &Path) -> Result<Vec<Node>, String> {
    let ports = daemon::free_ports(2 * members)?;
    let url = |port: u16| format!("http://127.0.0.1:{port}");
    let (clients, peers) = ports.split_at(members);
    let cluster: Vec<String> =
        peers.iter().enumerate().map(|(index, &port)| format!("m{index}={}", url(port))).collect();
    let cluster = cluster.join(",");
    let nodes = clients.iter().zip(peers).enumerate().map(|(index, (&client, &peer))| {
        let name = format!("m{index}");
        let mut command = daemon::bound("KILL", &[], program)?;
        command.args(["--name", &name, "--data-dir"]).arg(directory.join(&name));
        command.args(["--listen-client-urls", &url(client)]);
        command.args(["--advertise-client-urls", &url(client)]);
        command.args(["--listen-peer-urls", &url(peer)]);
        command.args(["--initial-advertise-peer-urls", &url(peer)]);
        command.args(["--initial-cluster", &cluster, "--initial-cluster-state", "new"]);
        command.args(["--logger", "zap", "--log-level", "warn"]);
        let daemon = Daemon::start(command, directory.join(format!("{name}.log")))?;
        Ok(Node { daemon, address: format!("127.0.0.1:{client}") })
    });
    nodes.collect()
}

async fn measure(
    workload: &Workload,
    mut nodes: Vec<Node>,
    disk: &str,
) -> Result<Vec<Report>, String> {
    let mut channels = Vec::new();
    for node in &mut nodes {
        channels.push(ready(node).await?);
    }
    let at_first = statuses(&mut channels).await?;
    let leader = at_first.iter().position(|status| status.leads).ok_or("there is no leader")?;
    let clients = match workload.in_flight {
        0 => (CLIENTS / workload.senders()).max(1),
        some => some,
    };
    let start = Instant::now();
    let end = start + WARM_UP + Duration::from_secs(workload.seconds);
    let mut senders = Vec::new();
    for sender in 0..workload.senders() {
        let load = Load { size: workload.size, sender, clients, start, end };
        senders.push(tokio::spawn(load.send(nodes[leader].address.clone())));
    }
    sleep_until(start + WARM_UP).await;
    let cpu = |nodes: &[Node]| -> Vec<f64> {
        nodes.iter().map(|node| cpu_of(&node.daemon.pid().to_string())).collect()
    };
    let (cpu_before, before) = (cpu(&nodes), statuses(&mut channels).await?);
    sleep_until(end).await;
    let (cpu_after, after) = (cpu(&nodes), statuses(&mut channels).await?);
    let mut sent = Vec::new();
    for sender in senders {
        sent.push(sender.await.map_err(|error| error.to_string())??);
    }
    let puts = sent.iter().map(|(puts, _)| puts).sum();
    let at_last = settled(&mut channels, at_first[leader].revision, puts).await?;
    let settings = settings(&at_first[leader].version, clients * workload.senders(), disk);
    let reports = nodes.iter().enumerate().map(|(index, node)| {
        let (sent, latencies) = sent.get(index).cloned().unwrap_or((0, Latencies::new()));
        Report {
            seconds: (after[index].at - before[index].at).as_secs_f64(),
            applied: after[index].revision - before[index].revision,
            sent,
            cpu: cpu_after[index] - cpu_before[index],
            memory: daemon::memory_of(node.daemon.pid()),
            latencies: latencies.counts(),
            total: at_last[index] - at_first[index].revision,
            settings: settings.clone(),
            reliable: true,
            ..Report::default()
        }
    });
    Ok(reports.collect())
}

fn settings(version: &str, clients: usize, disk: &str) -> BTreeMap<String, String> {
    let mut settings: BTreeMap<String, String> = BTreeMap::new();
    let mut set = |name: &str, value: String| settings.insert(name.to_owned(), value);
    set("version", version.to_owned());
    set("transport", "TCP, no encryption".to_owned());
    set("durability", format!("log synced to {disk} before an answer, as shipped"));
    set("clients", format!("{clients} in all, all of the leader, one put at a time each"));
    set("connections", format!("HTTP/2, one per {CLIENTS_PER_CONNECTION} clients of a sender"));
    set("an answer means", "committed by a majority, applied at the leader".to_owned());
    set("applied", "revision of each member".to_owned());
    set("CPU", "of the daemons, without the clients".to_owned());
    settings
}

/// Waits until a member answers and has a leader.
async fn ready(node: &mut Node) -> Result<Channel, String> {
    let limit = Instant::now() + Duration::from_secs(20);
    loop {
        node.daemon.check()?;
        let answer = async {
            let mut channel = Channel::open(&node.address).await?;
            // Is agreed upon, and so is not answered without a leader.
            let all = grpc::message(&[(1, b"none")]);
            channel.call("/etcdserverpb.KV/Range", &all).await?;
            Ok::<_, String>(channel)
        };
        match tokio::time::timeout(Duration::from_secs(5), answer).await {
            Ok(Ok(channel)) => return Ok(channel),
            Ok(Err(why)) if Instant::now() > limit => return Err(format!("etcd: {why}")),
            Err(_) if Instant::now() > limit => return Err("etcd does not answer".to_owned()),
            _ => sleep(Duration::from_millis(100)).await,
        }
    }
}

async fn status(mut channel: Channel) -> Result<Status, String> {
    let answer = channel.call("/etcdserverpb.Maintenance/Status", &grpc::message(&[])).await?;
    let at = Instant::now();
    let number = |message, place| match grpc::field(message, place) {
        Some(Value::Number(number)) => number,
        // Zero is left out.
        _ => 0,
    };
    let bytes = |place| match grpc::field(&answer, place) {
        Some(Value::Bytes(bytes)) => bytes,
        _ => &[],
    };
    let header = bytes(1);
    Ok(Status {
        revision: number(header, 3),
        version: String::from_utf8_lossy(bytes(2)).into_owned(),
        leads: number(header, 2) == number(&answer, 4),
        at,
    })
}

async fn statuses(channels: &mut [Channel]) -> Result<Vec<Status>, String> {
    let asked: Vec<_> =
        channels.iter().map(|channel| tokio::spawn(status(channel.clone()))).collect();
    let mut all = Vec::new();
    for status in asked {
        all.push(status.await.map_err(|error| error.to_string())??);
    }
    Ok(all)
}

/// The members' revisions when all have applied so many puts, or after a while without.
async fn settled(channels: &mut [Channel], first: u64, puts: u64) -> Result<Vec<u64>, String> {
    let limit = Instant::now() + Duration::from_secs(10);
    loop {
        let now: Vec<u64> =
            statuses(channels).await?.iter().map(|status| status.revision).collect();
        if now.iter().all(|&revision| revision == first + puts) || Instant::now() > limit {
            return Ok(now);
        }
        sleep(Duration::from_millis(50)).await;
    }
}

/// What one sender does.
struct Load {
    size: usize,
    sender: usize,
    clients: usize,
    start: Instant,
    end: Instant,
}

impl Load {
    /// Puts, as many at a time as there are clients; how many, and how long each took.
    async fn send(self, address: String) -> Result<(u64, Latencies), String> {
        let value = "x".repeat(self.size);
        let mut channels = Vec::new();
        for _ in 0..self.clients.div_ceil(CLIENTS_PER_CONNECTION) {
            channels.push(Channel::open(&address).await?);
        }
        let mut clients = JoinSet::new();
        for client in 0..self.clients {
            let channel = channels[client % channels.len()].clone();
            let key = format!("{}/{client}", self.sender);
            let put = grpc::message(&[(1, key.as_bytes()), (2, value.as_bytes())]);
            clients.spawn(puts(channel, put, self.start + WARM_UP, self.end));
        }
        let (mut all, mut latencies) = (0, Latencies::new());
        for done in clients.join_all().await {
            let (sent, times) = done?;
            all += sent;
            times.into_iter().for_each(|time| latencies.record(time));
        }
        Ok((all, latencies))
    }
}

async fn puts(
    mut channel: Channel,
    put: Bytes,
    measured: Instant,
    end: Instant,
) -> Result<(u64, Vec<Duration>), String> {
    let (mut sent, mut times) = (0, Vec::new());
    let mut before = Instant::now();
    while before < end {
        channel.call("/etcdserverpb.KV/Put", &put).await?;
        let after = Instant::now();
        if before >= measured {
            times.push(after - before);
        }
        (sent, before) = (sent + 1, after);
    }
    Ok((sent, times))
}
