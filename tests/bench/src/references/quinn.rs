//! Raw quinn, every member to every other. Streaming it is the ceiling of encrypted fan-out: bytes
//! in writes of 16 KiB, which receivers count and do not decode; with two members, one of which
//! sends, the rate of a single stream. Awaited it is the floor of a stable update: a message to
//! all and back from each, until a majority, with the sender, has it.

mod mesh;
mod rounds;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use quinn::{RecvStream, SendStream};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::latency::Latencies;
use crate::options::{MemberOptions, Workload};
use crate::report::{Report, cpu, memory};
use crate::seat::{self, Seat, WARM_UP};
use mesh::{Listener, Mesh};

/// Bytes before each update: its length.
const PREFIX: usize = 4;
/// Bytes of one write, at least; smaller ones cost more each.
const WRITE: usize = 16 << 10;
/// Writes to one peer before it is the next one's turn.
const WRITES: usize = 4;
/// Pieces that are read at once.
const PIECES: usize = 32;
/// How long what is under way at the end may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Runs a member until it is told to stop.
pub(crate) fn member(options: &MemberOptions) -> Result<(), String> {
    let index = options.index;
    seat::run(options, |seat, workload| live(seat, workload, index))
}

async fn live(mut seat: Seat, workload: Workload, index: usize) -> Result<(), String> {
    if workload.members < 2 {
        return Err("quinn needs two members: there is nothing to send to oneself".to_owned());
    }
    rounds::check(&workload)?;
    let listener = Listener::new(&workload.tuning)?;
    let mut settings = listener.settings.clone();
    settings.insert("threads per member".to_owned(), workload.threads.to_string());
    let (name, how) = match workload.in_flight {
        0 => (
            "stream",
            format!("one per sender and peer, {WRITES} writes of {} bytes each", write(&workload)),
        ),
        _ => ("round", rounds::describe(&workload)),
    };
    settings.insert(name.to_owned(), how);
    let peers = seat.announce(&listener.address).await?;
    let mesh = listener.connect(&peers, index).await?;
    seat.go().await?;
    let report = Report { settings, ..measure(&workload, index, &mesh).await? };
    seat.report(&report).await
}

/// What has been done here so far.
#[derive(Default)]
struct Counts {
    /// Bytes that have come from others, prefixes included.
    received: AtomicU64,
    /// Updates from here that count as applied here.
    own: AtomicU64,
}

impl Counts {
    fn applied(&self, workload: &Workload) -> u64 {
        let update = (PREFIX + workload.size) as u64;
        self.received.load(Relaxed) / update + self.own.load(Relaxed)
    }
}

async fn measure(workload: &Workload, index: usize, mesh: &Mesh) -> Result<Report, String> {
    let start = Instant::now();
    let end = start + WARM_UP + Duration::from_secs(workload.seconds);
    let counts = Arc::new(Counts::default());
    let senders = workload.senders();
    let mut receivers = JoinSet::new();
    for connection in &mesh.connections {
        let (connection, counts) = (connection.clone(), counts.clone());
        match workload.in_flight {
            0 => receivers.spawn(receive(connection, counts)),
            _ => receivers.spawn(rounds::answer(connection, workload.size, counts)),
        };
    }
    let sender = (index < senders).then(|| {
        let (connections, workload) = (mesh.connections.clone(), workload.clone());
        let counts = counts.clone();
        tokio::spawn(async move {
            match workload.in_flight {
                0 => stream(&connections, &workload, end, &counts).await.map(|()| Latencies::new()),
                _ => rounds::run(&connections, &workload, (start, end), &counts).await,
            }
        })
    });
    sleep(WARM_UP).await;
    let (begun, cpu_before) = (Instant::now(), cpu());
    let (before, wire_before) = (counts.applied(workload), mesh.wire());
    sleep_until(end).await;
    let seconds = begun.elapsed().as_secs_f64();
    let (after, wire, cpu) = (counts.applied(workload), mesh.wire(), cpu() - cpu_before);
    let latencies = match sender {
        Some(task) => timeout(PATIENCE, task).await.map_err(text)?.map_err(text)??,
        None => Latencies::new(),
    };
    // Those that do not send open no stream to wait for.
    let streams = senders - usize::from(index < senders);
    for _ in 0..streams {
        let ended = timeout(PATIENCE, receivers.join_next()).await.map_err(text)?;
        ended.ok_or("a receiver is missing")?.map_err(text)??;
    }
    Ok(Report {
        seconds,
        applied: after - before,
        sent: counts.own.load(Relaxed),
        wire: wire - wire_before,
        cpu,
        memory: memory(),
        latencies: latencies.counts(),
        total: counts.applied(workload),
        reliable: true,
        ..Report::default()
    })
}

fn write(workload: &Workload) -> usize {
    workload.tuning.write.map_or(WRITE, |bytes| bytes as usize)
}

fn text(error: impl ToString) -> String {
    error.to_string()
}

/// So many updates in one piece.
fn updates(number: usize, size: usize) -> Result<Bytes, String> {
    let length = u32::try_from(size).map_err(text)?;
    let mut piece = BytesMut::with_capacity(number * (PREFIX + size));
    for _ in 0..number {
        piece.put_u32(length);
        piece.put_bytes(b'x', size);
    }
    Ok(piece.freeze())
}

/// Sends as much as the peers take. All are sent the same: none runs ahead of the others by more
/// than the stack holds for it.
async fn stream(
    connections: &[quinn::Connection],
    workload: &Workload,
    end: Instant,
    counts: &Counts,
) -> Result<(), String> {
    let mut streams: Vec<SendStream> = Vec::new();
    for connection in connections {
        streams.push(connection.open_uni().await.map_err(text)?);
    }
    let number = write(workload).div_ceil(PREFIX + workload.size);
    let piece = updates(number, workload.size)?;
    while Instant::now() < end {
        for stream in &mut streams {
            for _ in 0..WRITES {
                stream.write_chunk(piece.clone()).await.map_err(text)?;
            }
        }
        counts.own.fetch_add((WRITES * number) as u64, Relaxed);
    }
    for stream in &mut streams {
        stream.finish().map_err(text)?;
    }
    Ok(())
}

/// Counts what one peer streams, until it ends.
async fn receive(connection: quinn::Connection, counts: Arc<Counts>) -> Result<(), String> {
    let mut stream: RecvStream = connection.accept_uni().await.map_err(text)?;
    let mut pieces: [Bytes; PIECES] = std::array::from_fn(|_| Bytes::new());
    while let Some(count) = stream.read_chunks(&mut pieces).await.map_err(text)? {
        let bytes: usize = pieces.iter_mut().take(count).map(|p| std::mem::take(p).len()).sum();
        counts.received.fetch_add(bytes as u64, Relaxed);
    }
    Ok(())
}
