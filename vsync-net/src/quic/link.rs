//! One connection of a pair: its queues, and the tasks that own its streams.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use bytes::Bytes;
use quinn::{Connection, RecvStream, SendStream, VarInt};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Shared;
use super::frames::{PREFIX, Splitter, gather};
use crate::inbox::{Intake, lock};
use crate::{Class, PeerInfo};

/// Bytes that are gathered for one write.
const WRITE: usize = 1 << 20;
/// Pieces that are read at once.
const PIECES: usize = 32;

/// Why a connection is closed: the code that the other side sees, with its words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Close {
    /// This process ends (or drops its transport): nobody comes back under its identity.
    Ended = 1,
    /// The pair has another connection.
    Duplicate = 2,
    /// The peer is not wanted any more.
    Forgotten = 3,
    /// No common protocol version.
    Version = 4,
    /// A greeting that was not understood, or streams that should not be.
    Greeting = 5,
    /// A frame longer than the limit.
    TooLong = 6,
    /// Both ends are one process.
    Itself = 7,
    /// The certificate does not carry what the greeting claims.
    Impostor = 8,
    /// The peer does not take its data fast enough.
    Backlog = 9,
}

impl Close {
    pub(super) fn code(self) -> VarInt {
        VarInt::from_u32(self as u32)
    }

    pub(super) fn words(self) -> &'static [u8] {
        match self {
            Self::Ended => b"ended",
            Self::Duplicate => b"duplicate connection",
            Self::Forgotten => b"not wanted any more",
            Self::Version => b"no common protocol version",
            Self::Greeting => b"greeting not understood",
            Self::TooLong => b"frame longer than the limit",
            Self::Itself => b"connected to itself",
            Self::Impostor => b"certificate and greeting differ",
            Self::Backlog => b"too far behind",
        }
    }

    pub(super) fn close(self, connection: &Connection) {
        connection.close(self.code(), self.words());
    }
}

/// What waits to be written in one class.
#[derive(Default)]
struct Outgoing {
    queue: Mutex<VecDeque<Bytes>>,
    /// Bytes queued or taken by the writer, and not yet taken by the stack; prefixes included.
    bytes: AtomicUsize,
    ready: Notify,
}

/// A connection that is up (or has been: then `done` is cancelled).
pub(super) struct Link {
    pub(super) info: PeerInfo,
    /// Its number, given by the side that decides.
    pub(super) number: u64,
    pub(super) since: Instant,
    pub(super) connection: Connection,
    pub(super) intake: Arc<Intake>,
    outgoing: [Outgoing; 3],
    /// Tells the lower classes that control frames are through.
    calm: Notify,
    /// No frame is taken any more.
    shut: AtomicBool,
    /// Writers finish their streams when their queues are empty.
    finishing: AtomicBool,
    /// The peer's process has ended, as the liveness link found out.
    pub(super) ended: AtomicBool,
    pub(super) done: CancellationToken,
}

impl Link {
    pub(super) fn new(
        info: PeerInfo,
        number: u64,
        connection: Connection,
        inbox_bytes: usize,
    ) -> Arc<Self> {
        Arc::new(Self {
            intake: Intake::new(info.id, inbox_bytes),
            info,
            number,
            since: Instant::now(),
            connection,
            outgoing: Default::default(),
            calm: Notify::new(),
            shut: AtomicBool::new(false),
            finishing: AtomicBool::new(false),
            ended: AtomicBool::new(false),
            done: CancellationToken::new(),
        })
    }

    /// Queues a frame; false where none is taken any more.
    pub(super) fn send(&self, class: Class, frame: Bytes) -> bool {
        if self.shut.load(Ordering::Relaxed) {
            return false;
        }
        let outgoing = &self.outgoing[class.index()];
        outgoing.bytes.fetch_add(PREFIX + frame.len(), Ordering::AcqRel);
        let mut queue = lock(&outgoing.queue);
        let wake = queue.is_empty();
        queue.push_back(frame);
        drop(queue);
        if wake {
            outgoing.ready.notify_one();
        }
        true
    }

    pub(super) fn backlog(&self) -> usize {
        self.outgoing.iter().map(|outgoing| outgoing.bytes.load(Ordering::Acquire)).sum()
    }

    /// Lets the writers finish: what is queued goes out, nothing follows.
    pub(super) fn finish(&self) {
        self.shut.store(true, Ordering::Relaxed);
        self.finishing.store(true, Ordering::Release);
        for outgoing in &self.outgoing {
            outgoing.ready.notify_one();
        }
    }

    /// The frames that never left; none is taken after this.
    pub(super) fn abandon(&self) -> u64 {
        self.shut.store(true, Ordering::Relaxed);
        self.done.cancel();
        let left = |outgoing: &Outgoing| std::mem::take(&mut *lock(&outgoing.queue)).len() as u64;
        self.outgoing.iter().map(left).sum()
    }

    /// Everything that is queued, as soon as that is something; `None` when no more will come.
    async fn take(&self, class: Class) -> Option<VecDeque<Bytes>> {
        let outgoing = &self.outgoing[class.index()];
        loop {
            // Looked at first: nothing is queued after it, but perhaps just before it.
            let finishing = self.finishing.load(Ordering::Acquire);
            let frames = std::mem::take(&mut *lock(&outgoing.queue));
            if !frames.is_empty() {
                return Some(frames);
            }
            if finishing {
                return None;
            }
            tokio::select! {
                () = outgoing.ready.notified() => {}
                () = self.done.cancelled() => return None,
            }
        }
    }

    /// Waits while control frames wait. The stack has priorities too, but its send buffer is
    /// shared: without this a checkpoint could fill it and keep a view change out.
    async fn let_control_pass(&self, class: Class) {
        let control = &self.outgoing[Class::Control.index()];
        while class != Class::Control && control.bytes.load(Ordering::Acquire) > 0 {
            let mut calm = std::pin::pin!(self.calm.notified());
            calm.as_mut().enable();
            if control.bytes.load(Ordering::Acquire) > 0 {
                tokio::select! {
                    () = calm => {}
                    () = self.done.cancelled() => return,
                }
            }
        }
    }

    fn written(&self, class: Class, bytes: usize) {
        let before = self.outgoing[class.index()].bytes.fetch_sub(bytes, Ordering::AcqRel);
        if class == Class::Control && before == bytes {
            self.calm.notify_waiters();
        }
    }
}

/// Starts the tasks of a connection that has just been registered: writers, readers, and the one
/// that tells its end. The control streams have carried the greeting.
pub(super) fn run(shared: &Arc<Shared>, link: &Arc<Link>, send: SendStream, recv: RecvStream) {
    let readers = TaskTracker::new();
    readers.spawn(reader(shared.clone(), link.clone(), Class::Control, recv));
    {
        let (shared, link, tracker) = (shared.clone(), link.clone(), readers.clone());
        readers.spawn(async move {
            // Streams arrive in the order of their numbers, which is the order of the classes.
            for class in [Class::Updates, Class::Bulk] {
                match link.connection.accept_uni().await {
                    Ok(recv) => tracker.spawn(reader(shared.clone(), link.clone(), class, recv)),
                    Err(_) => return,
                };
            }
        });
    }
    shared.writers.spawn(writer(shared.clone(), link.clone(), Class::Control, Some(send)));
    {
        let (shared, link) = (shared.clone(), link.clone());
        // Tracked as a writer, so that a shutdown waits for those it starts.
        let writers = shared.writers.clone();
        writers.spawn(async move {
            for class in [Class::Updates, Class::Bulk] {
                let stream = link.connection.open_uni().await.ok();
                shared.writers.spawn(writer(shared.clone(), link.clone(), class, stream));
            }
        });
    }
    let (shared, link) = (shared.clone(), link.clone());
    let tracker = shared.tasks.clone();
    tracker.spawn(async move {
        let reason = link.connection.closed().await;
        // What has arrived is delivered before its `Down`; the readers end when they have it.
        readers.close();
        readers.wait().await;
        shared.link_closed(&link, &reason);
    });
}

async fn writer(shared: Arc<Shared>, link: Arc<Link>, class: Class, stream: Option<SendStream>) {
    let Some(mut stream) = stream else { return };
    // Falling with the class; errors only mean that the stream is gone, which the write says.
    let _ = stream.set_priority(2 - class.index() as i32);
    let mut pieces = Vec::new();
    while let Some(mut frames) = link.take(class).await {
        while !frames.is_empty() {
            pieces.clear();
            gather(&mut frames, WRITE, &mut pieces);
            if write(&link, class, &mut stream, &mut pieces).await.is_err() {
                shared.counters.dropped(frames.len() as u64);
                return;
            }
        }
    }
    if stream.finish().is_ok() {
        // Resolves when the peer has acknowledged everything, or the connection is closed.
        let _ = stream.stopped().await;
    }
}

async fn write(
    link: &Link,
    class: Class,
    stream: &mut SendStream,
    mut pieces: &mut [Bytes],
) -> Result<(), quinn::WriteError> {
    while !pieces.is_empty() {
        link.let_control_pass(class).await;
        let written = stream.write_chunks(pieces).await?;
        link.written(class, written.bytes);
        pieces = &mut pieces[written.chunks..];
    }
    Ok(())
}

async fn reader(shared: Arc<Shared>, link: Arc<Link>, class: Class, mut stream: RecvStream) {
    let mut splitter = Splitter::new(shared.config.max_frame);
    let mut pieces: [Bytes; PIECES] = std::array::from_fn(|_| Bytes::new());
    let mut frames = Vec::new();
    loop {
        if link.intake.is_full(class) {
            tokio::select! {
                () = link.intake.room(class) => {}
                // What has arrived is within the stream's window: take it whatever waits.
                _ = link.connection.closed() => {}
            }
        }
        // An end or an error: the connection's closing is what counts.
        let Ok(Some(count)) = stream.read_chunks(&mut pieces).await else {
            return;
        };
        let mut cut = Ok(());
        for piece in &mut pieces[..count] {
            cut = cut.and_then(|()| splitter.push(std::mem::take(piece), &mut frames));
        }
        shared.counters.received(class, &frames);
        shared.inbox.frames(&link.intake, class, &mut frames);
        if cut.is_err() {
            tracing::warn!(peer = %link.info.id, ?class, "a frame longer than the limit");
            shared.counters.violation();
            Close::TooLong.close(&link.connection);
            return;
        }
    }
}
