//! The liveness link: a TCP connection that nobody writes to, on the port number of QUIC.
//!
//! QUIC lives in the process and is silent when that dies; a TCP connection is closed by its kernel
//! within microseconds. A closed link is only a suspicion: it is verified by knocking once more. A
//! refusal, or an answer under another identity, means that the process is gone, provided that the
//! peer has answered there before (else only UDP may pass on the way); anything else means nothing.
//! A stopped process keeps its connections and is not taken for dead.
//!
//! Who dialled QUIC dials this link as well and holds it; the other end knocks back when it opens,
//! to learn whether it can, and when it closes.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Buf, BufMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::Shared;
use super::hello::Token;
use super::link::Link;
use crate::PeerId;

const MAGIC: [u8; 4] = *b"VSYL";
const REQUEST: usize = 4 + 1 + 8 + 16;
const ANSWER: usize = 8;
/// How long one step of a knock may take.
const STEP: Duration = Duration::from_secs(1);
/// How often a knock is repeated that was accepted but not answered: a dying process's listener may
/// be closed a moment after its connections.
const KNOCKS: u32 = 8;
/// The pause before a link that could not be opened is tried again, and how often that is done.
const AGAIN: (Duration, u32) = (Duration::from_secs(2), 5);
/// Connections whose request has not been read yet.
const STRANGERS: usize = 256;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Purpose {
    /// Keep the connection until one of us ends.
    Hold = 1,
    /// Only say who you are.
    Ask = 2,
}

/// What a knock has found.
enum Found {
    /// The peer answered; this is the connection.
    Alive(TcpStream),
    /// No process is there, or another.
    Gone,
    /// Nothing is known.
    Unclear,
}

/// Holds a liveness link to the peer of a connection, where it offers one and none is held.
pub(super) fn hold(shared: &Arc<Shared>, link: &Link, token: Option<Token>) {
    if token.is_none() || !shared.config.liveness {
        return;
    }
    let peer = link.info.id;
    let over = CancellationToken::new();
    match shared.write().entries.get_mut(&peer) {
        Some(entry) if entry.watch.is_none() => entry.watch = Some(over.clone()),
        _ => return,
    }
    let task = {
        let shared = shared.clone();
        async move { watch(&shared, peer).await }
    };
    shared.spawn(async move {
        tokio::select! {
            () = over.cancelled() => {}
            () = task => {}
        }
    });
}

async fn watch(shared: &Arc<Shared>, peer: PeerId) {
    let mut failures = 0;
    while failures < AGAIN.1 {
        match knock(shared, Purpose::Hold, peer).await {
            Found::Alive(stream) => {
                let since = Instant::now();
                closed(stream).await;
                tracing::debug!(%peer, "liveness link closed");
                // Knock again at once. But something on the way may close what it lets open.
                failures = if since.elapsed() > STEP { 0 } else { failures + 1 };
                if failures <= 1 {
                    continue;
                }
            }
            Found::Gone => return shared.died(peer),
            Found::Unclear => failures += 1,
        }
        sleep(AGAIN.0).await;
    }
    tracing::info!(%peer, "no liveness link: failures are noticed by silence only");
    if let Some(entry) = shared.write().entries.get_mut(&peer) {
        entry.watch = None;
    }
}

/// Asks whether a peer's process is still there, and reports its end if not.
pub(super) async fn suspect(shared: Arc<Shared>, peer: PeerId) {
    if !shared.config.liveness {
        return;
    }
    if let Found::Gone = knock(&shared, Purpose::Ask, peer).await {
        tracing::debug!(%peer, "its process has ended");
        shared.died(peer);
    }
}

/// Knocks at the address that a peer is known by.
async fn knock(shared: &Shared, purpose: Purpose, peer: PeerId) -> Found {
    let known = {
        let table = shared.read();
        let entry = table.entries.get(&peer);
        entry.and_then(|e| Some((e.info.as_ref()?.addr.clone(), e.token?, e.answered)))
    };
    let Some((addr, token, answered)) = known else {
        return Found::Unclear;
    };
    let mut request = Vec::with_capacity(REQUEST);
    request.put_slice(&MAGIC);
    request.put_u8(purpose as u8);
    request.put_u64(shared.local.id.0);
    request.put_slice(&token);
    for attempt in 0..KNOCKS {
        match timeout(STEP, once(&addr, &request)).await {
            Ok(Ok((stream, id))) if id == peer => {
                if let Some(entry) = shared.write().entries.get_mut(&peer) {
                    entry.answered = true;
                }
                return Found::Alive(stream);
            }
            Ok(Ok(_)) => {
                return if answered { Found::Gone } else { Found::Unclear };
            }
            Ok(Err(error)) => match error.kind() {
                io::ErrorKind::ConnectionRefused if answered => return Found::Gone,
                // Accepted and closed without an answer: the listener is being closed.
                io::ErrorKind::ConnectionReset | io::ErrorKind::UnexpectedEof => {
                    sleep(Duration::from_millis(1 << attempt)).await;
                }
                _ => return Found::Unclear,
            },
            Err(_) => return Found::Unclear,
        }
    }
    Found::Unclear
}

async fn once(addr: &str, request: &[u8]) -> io::Result<(TcpStream, PeerId)> {
    let mut stream = TcpStream::connect(addr).await?;
    stream.set_nodelay(true)?;
    stream.write_all(request).await?;
    let mut answer = [0; ANSWER];
    stream.read_exact(&mut answer).await?;
    Ok((stream, PeerId(u64::from_be_bytes(answer))))
}

/// Waits until a connection is closed from the other end.
async fn closed(mut stream: TcpStream) {
    let mut sink = [0; 64];
    while stream.read(&mut sink).await.is_ok_and(|count| count > 0) {}
}

/// Answers knocks.
pub(super) async fn listen(shared: Arc<Shared>, listener: TcpListener) {
    let strangers = Arc::new(Semaphore::new(STRANGERS));
    loop {
        let Ok(permit) = strangers.clone().acquire_owned().await else {
            return;
        };
        match listener.accept().await {
            Ok((stream, _)) => {
                let task = {
                    let shared = shared.clone();
                    async move {
                        let request = timeout(STEP, answer(&shared, stream)).await;
                        drop(permit);
                        if let Ok(Some((stream, peer))) = request {
                            // QUIC may be a moment behind this link.
                            let _ = timeout(STEP, shared.wait_up(peer, 0)).await;
                            suspect(shared.clone(), peer).await;
                            closed(stream).await;
                            tracing::debug!(%peer, "liveness link closed by the other end");
                            suspect(shared, peer).await;
                        }
                    }
                };
                shared.spawn(task);
            }
            Err(error) => {
                // Out of file descriptors, say: it passes, but not at once.
                tracing::warn!(%error, "cannot accept a liveness link");
                sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// Answers one knock; the connection and its holder where it is to be held.
async fn answer(shared: &Shared, mut stream: TcpStream) -> Option<(TcpStream, PeerId)> {
    let mut request = [0; REQUEST];
    stream.read_exact(&mut request).await.ok()?;
    let mut request = request.as_slice();
    if !request.starts_with(&MAGIC) {
        return None;
    }
    request.advance(MAGIC.len());
    let hold = request.get_u8() == Purpose::Hold as u8;
    let peer = PeerId(request.get_u64());
    stream.set_nodelay(true).ok()?;
    stream.write_all(&shared.local.id.0.to_be_bytes()).await.ok()?;
    // The token tells that the holder has been let in over QUIC.
    let known = shared.hello.token.is_some_and(|token| token == request);
    (hold && known).then_some((stream, peer))
}
