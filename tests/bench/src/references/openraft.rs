//! openraft: Raft in memory. An entry of the log is a batch of one sender's updates; a
//! follower sends its batches to the leader, which writes them as they come, any number at once,
//! and says when they are applied. The first member leads: where one member sends, it is the
//! leader.

mod network;
mod storage;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Cursor;
use std::sync::Arc;
use std::time::Duration;

use openraft::{Config, EmptyNode, SnapshotPolicy};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::{Instant, sleep_until, timeout};

use self::network::{Frame, Wires, switch};
use self::storage::{Log, Machine};
use super::load::{Batch, Gauge, Load};
use super::mesh;
use crate::options::{MemberOptions, Workload};
use crate::report::{Report, memory};
use crate::seat::{self, Seat, WARM_UP};

/// The first member.
const LEADER: usize = 0;
/// openraft also gives up a call after a heartbeat's time, so it is long: on a loaded machine, too,
/// all comes in time.
const HEARTBEAT: u64 = 1000;
const ELECTION: u64 = 5000;
/// Streaming: updates in flight per sender, and updates per entry.
const WINDOW: usize = 4096;
const ENTRY: usize = 256;
/// Awaited: the most updates per entry.
const MOST: usize = 1024;
/// Entries per call to a follower, at most.
const ENTRIES: u64 = 64;
/// Updates, or entries if that is more, between snapshots, and left in the log after one.
const KEEP: usize = 256 * 1024;
const KEEP_ENTRIES: usize = 256;
/// How long to wait for a leader, or for the last updates.
const PATIENCE: Duration = Duration::from_secs(30);

openraft::declare_raft_types!(
    /// What is replicated.
    pub(crate) Types:
        D = Batch,
        R = (),
        NodeId = u64,
        Node = EmptyNode,
        SnapshotData = Cursor<Vec<u8>>,
);

type Raft = openraft::Raft<Types>;

/// What the member's own task is told.
enum Event {
    /// The batch of this member that begins with this update is committed.
    Committed(u64),
    /// Something was applied here.
    Applied,
    Ready,
    Done(u64),
}

struct Member {
    index: usize,
    others: Vec<usize>,
    raft: Raft,
    wires: Wires,
    machine: Machine,
    events: UnboundedReceiver<Event>,
    committed: tokio::sync::mpsc::UnboundedSender<Event>,
    load: Load,
    /// Whether this member sends now.
    sends: bool,
    /// Others that know the leader; others that are done, and what they have sent.
    ready: usize,
    done: usize,
    sent: u64,
}

/// Runs a member until it is told to stop.
pub(crate) fn member(options: &MemberOptions) -> Result<(), String> {
    let index = options.index;
    seat::run(options, |seat, workload| live(seat, workload, index))
}

async fn live(mut seat: Seat, workload: Workload, index: usize) -> Result<(), String> {
    let listener = mesh::Listener::bind(&workload, index).await?;
    let peers = seat.announce(&listener.address()?).await?;
    let mut member = Member::new(&workload, index, listener, &peers).await?;
    seat.go().await?;
    timeout(PATIENCE, member.elect()).await.map_err(|_| "no leader was found")??;
    let report = member.measure(&workload).await?;
    seat.report(&report).await
}

impl Member {
    async fn new(
        workload: &Workload,
        index: usize,
        listener: mesh::Listener,
        peers: &[String],
    ) -> Result<Member, String> {
        let (mesh, inbox) = mesh::connect(listener, index, peers).await?;
        let (out, outgoing) = unbounded_channel();
        let (committed, events) = unbounded_channel();
        let (wires, machine) = (Wires::new(index, out), Machine::new(committed.clone()));
        let config = Arc::new(config(workload).validate().map_err(text)?);
        let (net, log) = (wires.clone(), Log::default());
        let raft = Raft::new(index as u64, config, net, log, machine.clone()).await;
        let raft = raft.map_err(text)?;
        let switched =
            switch(mesh, inbox, outgoing, wires.clone(), raft.clone(), committed.clone());
        tokio::spawn(async move {
            if let Err(why) = switched.await {
                eprintln!("openraft: {why}");
            }
        });
        let load = match workload.in_flight {
            0 => Load::new(index, workload.size, WINDOW, (ENTRY, ENTRY)),
            window => Load::new(index, workload.size, window, (1, MOST)),
        };
        Ok(Member {
            index,
            others: (0..peers.len()).filter(|&peer| peer != index).collect(),
            raft,
            wires,
            machine,
            events,
            committed,
            load,
            sends: false,
            ready: 0,
            done: 0,
            sent: 0,
        })
    }

    /// The first member founds the cluster, and leads it; all wait until all know.
    async fn elect(&mut self) -> Result<(), String> {
        if self.index == LEADER {
            let all: BTreeSet<u64> = (0..=self.others.len() as u64).collect();
            self.raft.initialize(all).await.map_err(text)?;
        }
        let wait = self.raft.wait(Some(PATIENCE));
        wait.current_leader(LEADER as u64, "at the beginning").await.map_err(text)?;
        self.tell(|| Frame::Ready);
        while self.ready < self.others.len() {
            self.step(Instant::now() + PATIENCE).await?;
        }
        Ok(())
    }

    fn tell(&self, frame: impl Fn() -> Frame) {
        self.others.iter().for_each(|&other| self.wires.send(other, frame()));
    }

    async fn measure(&mut self, workload: &Workload) -> Result<Report, String> {
        self.sends = self.index < workload.senders();
        let begin = Instant::now() + WARM_UP;
        let end = begin + Duration::from_secs(workload.seconds);
        self.work_until(begin).await?;
        if workload.in_flight > 0 {
            self.load.measure(Instant::now());
        }
        let gauge = Gauge::begin(self.machine.updates(), self.wires.written());
        self.work_until(end).await?;
        let mut report = gauge.end(self.machine.updates(), self.wires.written());
        self.sends = false;
        match timeout(PATIENCE, self.drain()).await {
            Ok(drained) => drained?,
            Err(_) => {
                let (sent, applied) = (self.load.sent, self.machine.updates());
                return Err(format!("{sent} sent, {applied} applied, and no more"));
            }
        }
        report.sent = self.load.sent;
        report.total = self.machine.updates();
        report.memory = memory();
        report.latencies = self.load.latencies.counts();
        report.settings = settings(workload);
        Ok(report)
    }

    async fn work_until(&mut self, end: Instant) -> Result<(), String> {
        self.propose().await?;
        while Instant::now() < end {
            self.step(end).await?;
        }
        Ok(())
    }

    /// Waits until all that anybody sent is applied here.
    async fn drain(&mut self) -> Result<(), String> {
        while !self.load.idle() {
            self.step(Instant::now() + PATIENCE).await?;
        }
        let sent = self.load.sent;
        self.tell(|| Frame::Done(sent));
        while self.done < self.others.len() || self.machine.updates() < self.sent + sent {
            self.step(Instant::now() + PATIENCE).await?;
        }
        Ok(())
    }

    /// Waits for something to happen, until `end`, and does what follows from it.
    async fn step(&mut self, end: Instant) -> Result<(), String> {
        let mut events = Vec::new();
        tokio::select! {
            _ = self.events.recv_many(&mut events, 256) => (),
            () = sleep_until(end) => (),
        }
        let now = Instant::now();
        for event in events {
            match event {
                Event::Committed(first) => self.load.committed(first, now),
                Event::Applied => (),
                Event::Ready => self.ready += 1,
                Event::Done(sent) => (self.done, self.sent) = (self.done + 1, self.sent + sent),
            }
        }
        self.propose().await
    }

    /// Fills the window.
    async fn propose(&mut self) -> Result<(), String> {
        while self.sends {
            let Some(batch) = self.load.next(Instant::now())? else { break };
            if self.index == LEADER {
                let (first, committed) = (batch.first, self.committed.clone());
                let done = move || {
                    // Nobody listens at the end of a run.
                    let _ = committed.send(Event::Committed(first));
                };
                write(&self.raft, batch, done).await?;
            } else {
                self.wires.send(LEADER, Frame::Propose(batch));
            }
        }
        Ok(())
    }
}

/// Writes a batch at the leader; does `done` when it is committed and applied there.
async fn write(
    raft: &Raft,
    batch: Batch,
    done: impl FnOnce() + Send + 'static,
) -> Result<(), String> {
    let answer = raft.client_write_ff(batch).await.map_err(text)?;
    tokio::spawn(async move {
        match answer.await {
            Ok(Ok(_)) => done(),
            Ok(Err(why)) => eprintln!("openraft: {why}"),
            Err(why) => eprintln!("openraft: {why}"),
        }
    });
    Ok(())
}

fn keep(workload: &Workload) -> u64 {
    let entry = if workload.in_flight == 0 { ENTRY } else { workload.in_flight.min(MOST) };
    (KEEP / entry).max(KEEP_ENTRIES) as u64
}

fn config(workload: &Workload) -> Config {
    Config {
        heartbeat_interval: HEARTBEAT,
        election_timeout_min: ELECTION,
        election_timeout_max: 2 * ELECTION,
        max_payload_entries: ENTRIES,
        snapshot_policy: SnapshotPolicy::LogsSinceLast(keep(workload)),
        max_in_snapshot_log_to_keep: keep(workload),
        // A follower that is behind is sent entries, as long as there are any.
        replication_lag_threshold: 4 * keep(workload),
        purge_batch_size: (keep(workload) / 8).max(1),
        ..Config::default()
    }
}

fn settings(workload: &Workload) -> BTreeMap<String, String> {
    let flow = match workload.in_flight {
        0 => format!("{WINDOW} updates in flight per sender, {ENTRY} per entry of the log"),
        _ => format!("what one pass of the sender completed, up to {MOST}, per entry"),
    };
    let pairs = [
        ("version", "openraft 0.9".to_owned()),
        ("transport", mesh::transport(workload)),
        ("storage", format!("in memory, a snapshot every {} entries", keep(workload))),
        ("batches", flow),
        ("replication", format!("up to {ENTRIES} entries per call")),
        ("leader", "the first member; followers send their batches to it".to_owned()),
        ("heartbeat", format!("{HEARTBEAT} ms")),
        ("threads per member", workload.threads.to_string()),
    ];
    pairs.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

fn text(error: impl ToString) -> String {
    error.to_string()
}
