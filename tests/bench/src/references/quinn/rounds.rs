//! Messages that are answered: the floor of a stable update.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll};

use bytes::Bytes;
use quinn::{Connection, RecvStream, SendStream};
use tokio::time::Instant;

use super::mesh::stream_window;
use super::{Counts, PIECES, PREFIX, text, updates};
use crate::latency::Latencies;
use crate::options::Workload;
use crate::seat::WARM_UP;

/// Bytes of an answer, which says that the message is here: room for a number, as any system needs.
const ANSWER: usize = 8;

/// Others whose answers make, with the sender, a majority.
fn quorum(members: usize) -> usize {
    members / 2
}

/// What cannot be run.
pub(super) fn check(workload: &Workload) -> Result<(), String> {
    // All are written before an answer is read: no more than there is room for.
    let room = stream_window(&workload.tuning) as usize / ANSWER;
    match workload.in_flight > room {
        true => Err(format!("quinn: at most {room} in flight, for their answers' sake")),
        false => Ok(()),
    }
}

/// For the settings.
pub(super) fn describe(workload: &Workload) -> String {
    format!(
        "one stream per sender and peer, both ways; answers of {ANSWER} bytes; done when {} came",
        quorum(workload.members),
    )
}

/// Answers what one peer sends, until it ends.
pub(super) async fn answer(
    connection: Connection,
    size: usize,
    counts: Arc<Counts>,
) -> Result<(), String> {
    let (mut send, mut receive) = connection.accept_bi().await.map_err(text)?;
    let message = PREFIX + size;
    let answers = Bytes::from(vec![b'y'; ANSWER * (1 << 10)]);
    let mut pieces: [Bytes; PIECES] = std::array::from_fn(|_| Bytes::new());
    let mut part = 0;
    while let Some(count) = receive.read_chunks(&mut pieces).await.map_err(text)? {
        let bytes: usize = pieces.iter_mut().take(count).map(|p| std::mem::take(p).len()).sum();
        counts.received.fetch_add(bytes as u64, Relaxed);
        part += bytes;
        let mut bytes = part / message * ANSWER;
        part %= message;
        while bytes > 0 {
            let now = bytes.min(answers.len());
            send.write_chunk(answers.slice(..now)).await.map_err(text)?;
            bytes -= now;
        }
    }
    send.finish().map_err(text)
}

/// The sender's end of the stream to one peer.
struct Peer {
    send: SendStream,
    receive: RecvStream,
    /// Bytes of answers that have come.
    bytes: usize,
}

/// Keeps rounds in flight until the end; how long each took.
pub(super) async fn run(
    connections: &[Connection],
    workload: &Workload,
    (start, end): (Instant, Instant),
    counts: &Counts,
) -> Result<Latencies, String> {
    let mut peers = Vec::new();
    for connection in connections {
        let (send, receive) = connection.open_bi().await.map_err(text)?;
        peers.push(Peer { send, receive, bytes: 0 });
    }
    let message = PREFIX + workload.size;
    let all = updates(workload.in_flight, workload.size)?;
    let (mut latencies, mut under_way) = (Latencies::new(), VecDeque::new());
    let (mut begun, mut done) = (0, 0);
    let mut now = Instant::now();
    loop {
        let next = if now < end { workload.in_flight - under_way.len() } else { 0 };
        if next > 0 {
            for peer in &mut peers {
                let piece = all.slice(..next * message);
                peer.send.write_chunk(piece).await.map_err(text)?;
            }
            under_way.extend(std::iter::repeat_n(now, next));
            begun += next;
        }
        if peers.iter().all(|peer| peer.bytes == begun * ANSWER) && now >= end {
            break;
        }
        poll_fn(|context| poll(&mut peers, context)).await?;
        now = Instant::now();
        let mut answered: Vec<usize> = peers.iter().map(|peer| peer.bytes / ANSWER).collect();
        answered.sort_unstable_by(|a, b| b.cmp(a));
        let stable = answered[quorum(workload.members) - 1];
        for before in under_way.drain(..stable - done) {
            if before >= start + WARM_UP {
                latencies.record(now - before);
            }
        }
        counts.own.fetch_add((stable - done) as u64, Relaxed);
        done = stable;
    }
    for peer in &mut peers {
        peer.send.finish().map_err(text)?;
    }
    Ok(latencies)
}

/// Takes the answers that are there, of all peers; ready if there were any. One task for all of
/// them: a round waits for no other.
fn poll(peers: &mut [Peer], context: &mut Context<'_>) -> Poll<Result<(), String>> {
    let mut buffer = [0; 16 << 10];
    let mut any = false;
    for peer in peers {
        while let Poll::Ready(read) = peer.receive.poll_read(context, &mut buffer) {
            match read.map_err(text)? {
                0 => return Poll::Ready(Err("a member has ended its answers".to_owned())),
                bytes => peer.bytes += bytes,
            }
            any = true;
        }
    }
    if any { Poll::Ready(Ok(())) } else { Poll::Pending }
}
