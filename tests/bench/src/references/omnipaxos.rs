//! OmniPaxos: total order in memory. A member is one event loop around the library:
//! what came in and what is to be proposed goes in, what is decided and what is to be sent comes
//! out, and is written at once.
//!
//! An entry of the log is a batch of one sender's updates, which a follower's library forwards to
//! the leader. The first member leads: where one member sends, it is the leader.

use std::collections::BTreeMap;
use std::time::Duration;

use omnipaxos::messages::Message;
use omnipaxos::messages::sequence_paxos::{PaxosMessage, PaxosMsg};
use omnipaxos::storage::{Entry, NoSnapshot};
use omnipaxos::util::{LogEntry, NodeId};
use omnipaxos::{ClusterConfig, CompactionErr, OmniPaxos, ServerConfig};
use omnipaxos_storage::memory_storage::MemoryStorage;
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at, sleep_until, timeout};

use super::load::{Batch, Gauge, Load, Sink};
use super::mesh::{self, Inbox, Mesh};
use crate::options::{MemberOptions, Workload};
use crate::report::{Report, memory};
use crate::seat::{self, Seat, WARM_UP};

/// A round of heartbeats: so long that on a loaded machine, too, they come in time.
const HEARTBEAT: Duration = Duration::from_secs(1);
/// After so long without having become it, the first member tries again to lead.
const ELECTION: Duration = Duration::from_millis(200);
/// The first member.
const LEADER: NodeId = 1;
/// How far the slowest member may be behind before the senders wait for it: so many updates, or
/// entries if that is more. Without a limit its backlog, and all logs, would grow and grow.
const BEHIND: usize = 256 * 1024;
const BEHIND_ENTRIES: usize = 256;
/// Streaming: updates in flight per sender, and updates per entry.
const WINDOW: usize = 4096;
const ENTRY: usize = 256;
/// Awaited: the most updates per entry.
const MOST: usize = 1024;
/// How long to wait for a leader, or for the last updates.
const PATIENCE: Duration = Duration::from_secs(30);

impl Entry for Batch {
    type Snapshot = NoSnapshot;
}

/// What members send each other.
#[derive(Serialize, Deserialize)]
enum Frame {
    Paxos(Message<Batch>),
    /// The sender of this knows a leader.
    Ready,
    /// The sender of this has sent so many updates, and no more will come.
    Done(u64),
}

struct Member {
    paxos: OmniPaxos<Batch, MemoryStorage<Batch>>,
    ticks: Interval,
    mesh: Mesh<Frame>,
    inbox: Inbox<Frame>,
    received: Vec<Vec<Frame>>,
    outgoing: Vec<Message<Batch>>,
    /// Entries of the log applied so far.
    applied: usize,
    sink: Sink,
    load: Load,
    /// Entries between those that all have and those that are applied here, at most.
    limit: usize,
    /// Whether this member sends now.
    sends: bool,
    /// Others that know a leader; others that are done, and what they have sent.
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
    let (mesh, inbox) = mesh::connect(listener, index, &peers).await?;
    let mut member = Member::new(&workload, index, mesh, inbox)?;
    seat.go().await?;
    timeout(PATIENCE, member.elect()).await.map_err(|_| "no leader was found")??;
    let report = member.measure(&workload, index).await?;
    let stopped = seat.report(&report);
    tokio::pin!(stopped);
    tokio::select! {
        stopped = &mut stopped => return stopped,
        () = member.serve() => (),
    }
    stopped.await
}

impl Member {
    fn new(
        workload: &Workload,
        index: usize,
        mesh: Mesh<Frame>,
        inbox: Inbox<Frame>,
    ) -> Result<Member, String> {
        let pid = index as u64 + 1;
        let cluster = ClusterConfig {
            configuration_id: 1,
            nodes: (1..=workload.members as u64).collect(),
            flexible_quorum: None,
        };
        let server = ServerConfig {
            pid,
            buffer_size: 1024,
            leader_priority: u32::from(pid == LEADER),
            ..ServerConfig::default()
        };
        let paxos = cluster.build_for_server(server, MemoryStorage::default()).map_err(text)?;
        let load = match workload.in_flight {
            0 => Load::new(index, workload.size, WINDOW, (ENTRY, ENTRY)),
            window => Load::new(index, workload.size, window, (1, MOST)),
        };
        let mut ticks = interval_at(Instant::now() + HEARTBEAT, HEARTBEAT);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Ok(Member {
            paxos,
            ticks,
            mesh,
            inbox,
            received: Vec::new(),
            outgoing: Vec::new(),
            applied: 0,
            sink: Sink::default(),
            load,
            limit: limit(workload),
            sends: false,
            ready: 0,
            done: 0,
            sent: 0,
        })
    }

    /// The first member takes the lead; all wait until all know it.
    async fn elect(&mut self) -> Result<(), String> {
        while !self.led() {
            if self.paxos.get_pid() == LEADER {
                self.paxos.try_become_leader();
            }
            let again = Instant::now() + ELECTION;
            while !self.led() && Instant::now() < again {
                self.step(again).await?;
            }
        }
        self.mesh.broadcast(&Frame::Ready)?;
        self.mesh.flush();
        while self.ready < self.mesh.others() {
            self.step(Instant::now() + PATIENCE).await?;
        }
        Ok(())
    }

    /// Whether the first member leads, as far as this one knows.
    fn led(&self) -> bool {
        self.paxos.get_current_leader() == Some((LEADER, true))
    }

    async fn measure(&mut self, workload: &Workload, index: usize) -> Result<Report, String> {
        self.sends = index < workload.senders();
        let begin = Instant::now() + WARM_UP;
        let end = begin + Duration::from_secs(workload.seconds);
        self.work_until(begin).await?;
        if workload.in_flight > 0 {
            self.load.measure(Instant::now());
        }
        let gauge = Gauge::begin(self.sink.updates, self.mesh.wire());
        self.work_until(end).await?;
        let mut report = gauge.end(self.sink.updates, self.mesh.wire());
        self.sends = false;
        match timeout(PATIENCE, self.drain()).await {
            Ok(drained) => drained?,
            Err(_) => {
                let (sent, applied) = (self.load.sent, self.sink.updates);
                let leader = self.paxos.get_promise();
                return Err(format!("{sent} sent, {applied} applied, and no more: {leader:?}"));
            }
        }
        report.sent = self.load.sent;
        report.total = self.sink.updates;
        report.memory = memory();
        report.latencies = self.load.latencies.counts();
        report.settings = settings(workload);
        Ok(report)
    }

    async fn work_until(&mut self, end: Instant) -> Result<(), String> {
        self.propose()?;
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
        self.mesh.broadcast(&Frame::Done(self.load.sent))?;
        self.mesh.flush();
        while self.done < self.mesh.others() || self.sink.updates < self.sent + self.load.sent {
            self.step(Instant::now() + PATIENCE).await?;
        }
        Ok(())
    }

    /// Goes on for the others' sake, as long as there are any.
    async fn serve(&mut self) {
        while self.step(Instant::now() + PATIENCE).await.is_ok() {}
    }

    /// Waits for something to happen, until `end`, and does what follows from it.
    async fn step(&mut self, end: Instant) -> Result<(), String> {
        tokio::select! {
            count = self.inbox.recv_many(&mut self.received, 64) => match count {
                0 => return Err("the other members have gone".to_owned()),
                _ => self.receive()?,
            },
            () = self.mesh.writable(), if self.mesh.waits() => (),
            _ = self.ticks.tick() => self.paxos.tick(),
            () = sleep_until(end) => (),
        }
        self.apply()?;
        self.trim();
        self.propose()
    }

    fn receive(&mut self) -> Result<(), String> {
        let mut received = std::mem::take(&mut self.received);
        for frame in received.drain(..).flatten() {
            match frame {
                Frame::Paxos(message) => {
                    if trims(&message) {
                        // What goes now has to be applied before.
                        self.apply()?;
                    }
                    self.paxos.handle_incoming(message);
                }
                Frame::Ready => self.ready += 1,
                Frame::Done(sent) => (self.done, self.sent) = (self.done + 1, self.sent + sent),
            }
        }
        self.received = received;
        Ok(())
    }

    /// Applies what is decided.
    fn apply(&mut self) -> Result<(), String> {
        let Some(entries) = self.paxos.read_decided_suffix(self.applied) else { return Ok(()) };
        let now = Instant::now();
        for entry in entries {
            match entry {
                LogEntry::Decided(batch) => {
                    self.sink.apply(&batch)?;
                    if self.load.sent_this(&batch) {
                        self.load.committed(batch.first, now);
                    }
                    self.applied += 1;
                }
                other => return Err(format!("not a decided entry: {other:?}")),
            }
        }
        Ok(())
    }

    /// The leader trims what all have, now and then; the others do as it says. This also tells the
    /// senders how far the slowest is.
    fn trim(&mut self) {
        let least = self.paxos.get_compacted_idx() + self.limit / 8;
        if self.paxos.get_pid() != LEADER || self.applied < least {
            return;
        }
        if let Err(CompactionErr::NotAllDecided(all)) = self.paxos.trim(Some(self.applied))
            && all >= least
        {
            // All have it: it cannot fail, and if it did, the next one would do.
            let _ = self.paxos.trim(Some(all));
        }
    }

    /// Fills the window, and sends whatever is to be sent.
    fn propose(&mut self) -> Result<(), String> {
        if self.sends && self.applied < self.paxos.get_compacted_idx() + self.limit {
            let now = Instant::now();
            while let Some(batch) = self.load.next(now)? {
                self.paxos.append(batch).map_err(|error| format!("{error:?}"))?;
            }
        }
        self.paxos.take_outgoing_messages(&mut self.outgoing);
        for message in self.outgoing.drain(..) {
            let to = message.get_receiver() as usize - 1;
            self.mesh.send(to, &Frame::Paxos(message))?;
        }
        self.mesh.flush();
        Ok(())
    }
}

fn trims(message: &Message<Batch>) -> bool {
    let Message::SequencePaxos(PaxosMessage { msg, .. }) = message else { return false };
    matches!(msg, PaxosMsg::Compaction(_))
}

fn limit(workload: &Workload) -> usize {
    let entry = if workload.in_flight == 0 { ENTRY } else { workload.in_flight.min(MOST) };
    (BEHIND / entry).max(BEHIND_ENTRIES)
}

fn settings(workload: &Workload) -> BTreeMap<String, String> {
    let flow = match workload.in_flight {
        0 => format!("{WINDOW} updates in flight per sender, {ENTRY} per entry of the log"),
        _ => format!("what one pass of the event loop completed, up to {MOST}, per entry"),
    };
    let pairs = [
        ("version", "omnipaxos 0.2".to_owned()),
        ("transport", mesh::transport(workload)),
        ("storage", "in memory (omnipaxos_storage), trimmed where all have it".to_owned()),
        ("batches", flow),
        ("flow control", format!("{} entries ahead of the slowest member", limit(workload))),
        ("leader", "the first member; followers' proposals forwarded by the library".to_owned()),
        ("heartbeat", format!("{} ms", HEARTBEAT.as_millis())),
        ("threads per member", workload.threads.to_string()),
    ];
    pairs.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

fn text(error: impl ToString) -> String {
    error.to_string()
}
