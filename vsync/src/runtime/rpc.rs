//! Questions and answers between nodes, and from clients: everything that is not the engine's.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch};
use tokio::time::timeout;
use vsync_net::{Class, PeerId, Transport};

pub(crate) use messages::{Answer, Ask, By, ClientQuery, Contact, ToMember};

use super::tag;

mod messages;

/// How long the news of a new connection may take from the network to here.
const NEWS: Duration = Duration::from_millis(500);

/// Most bytes of a client's query, and of its result: what surrounds them has room in a frame.
pub(crate) const LONGEST: usize = 16 << 20;

/// Most bytes of questions that may wait here, or be under way, at one time; those of members for a
/// share have as much room of their own, since others may be waiting for such an answer.
const WAITING: usize = 128 << 20;
/// Bytes of answers that are on their way to a client, or that it leaves unread: never more. Two of
/// the longest have room.
pub(crate) const UNREAD: usize = 2 * LONGEST + 2 * WORDS;
/// So much of it is for what is small: that something takes its time, or cannot be had.
const WORDS: usize = 512 << 10;
/// A question of no more bytes is counted by its number only; an answer has the room for words.
pub(crate) const SMALL: usize = 1 << 10;

#[derive(Serialize, Deserialize)]
enum Frame {
    Ask(u64, Ask),
    Answer(u64, Answer),
}

/// The number of a question, also where what is asked does not decode.
fn asked_under(frame: &[u8]) -> Option<u64> {
    match postcard::take_from_bytes::<(u32, u64)>(frame) {
        Ok(((0, id), _)) => Some(id),
        _ => None,
    }
}

/// A question that came in.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) peer: PeerId,
    /// Whether it is a node; else a client.
    pub(crate) node: bool,
    pub(crate) id: u64,
    pub(crate) ask: Ask,
    /// The room that it takes here, until it is answered.
    pub(crate) room: Option<OwnedSemaphorePermit>,
}

/// Why a question got no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Silence {
    /// The connection broke first.
    Broken,
}

/// The questions under way at this node.
pub(crate) struct Rpc {
    transport: Arc<dyn Transport>,
    next: AtomicU64,
    pending: Mutex<Pending>,
    /// Changes whenever a connection comes up.
    connected: watch::Sender<()>,
    /// Bounded: where a node is asked more than it can answer, askers are told so.
    asked: Option<mpsc::Sender<Asked>>,
    /// Held while a client is answered.
    sending: Mutex<()>,
    /// In bytes: for members' shares, and for all other questions.
    shares: Arc<Semaphore>,
    others: Arc<Semaphore>,
    /// The one in which it was made: where there is a node, the node's.
    runtime: Option<Handle>,
}

/// Who waits for which answer, and who is connected.
#[derive(Default)]
struct Pending {
    answers: HashMap<u64, (PeerId, oneshot::Sender<Answer>)>,
    up: HashSet<PeerId>,
}

impl fmt::Debug for Rpc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rpc").finish_non_exhaustive()
    }
}

impl Rpc {
    /// `asked` takes the questions that come in; a client answers none.
    pub(crate) fn new(transport: Arc<dyn Transport>, asked: Option<mpsc::Sender<Asked>>) -> Rpc {
        Rpc {
            transport,
            next: AtomicU64::new(1),
            pending: Mutex::default(),
            connected: watch::Sender::new(()),
            asked,
            sending: Mutex::default(),
            shares: Arc::new(Semaphore::new(WAITING)),
            others: Arc::new(Semaphore::new(WAITING)),
            runtime: Handle::try_current().ok(),
        }
    }

    /// Does work that others wait for, too: in the node's runtime, whoever asks.
    pub(crate) fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        match &self.runtime {
            Some(runtime) => drop(runtime.spawn(work)),
            None => drop(tokio::spawn(work)),
        }
    }

    fn pending(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks a connected peer. Cancel-safe: a question given up is forgotten.
    pub(crate) async fn ask(&self, peer: PeerId, ask: Ask) -> Result<Answer, Silence> {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let (tell, listen) = oneshot::channel();
        let mut connected = self.connected.subscribe();
        // Whoever has just dialled may ask before the news of the connection was taken in.
        let mut tell = Some(tell);
        let up = async {
            while !self.begin(peer, id, &mut tell) && connected.changed().await.is_ok() {}
        };
        timeout(NEWS, up).await.map_err(|_| Silence::Broken)?;
        let _forget = Forget(self, id);
        self.send(peer, Class::Control, &Frame::Ask(id, ask));
        listen.await.map_err(|_| Silence::Broken)
    }

    /// Answers a question of a node, or of a client. One that has not read what it was answered
    /// before is told that there is no room for more.
    pub(crate) fn answer(&self, peer: PeerId, node: bool, id: u64, answer: Answer) {
        if self.offer(peer, node, id, answer).is_some() {
            // One that does not even read such words gets none.
            drop(self.offer(peer, node, id, Answer::unread()));
        }
    }

    /// Answers a question; gives the answer back where a client has to read others first.
    pub(crate) fn offer(
        &self,
        peer: PeerId,
        node: bool,
        id: u64,
        answer: Answer,
    ) -> Option<Answer> {
        if node {
            self.send(peer, Class::Bulk, &Frame::Answer(id, answer));
            return None;
        }
        if !self.has_room(peer, answer.size()) {
            return Some(answer);
        }
        let frame = Frame::Answer(id, answer);
        let bytes = encoded(&frame)?;
        // Nothing comes in between: the bound holds.
        let sending = self.sending.lock().unwrap_or_else(PoisonError::into_inner);
        if self.has_room(peer, bytes.len()) {
            self.transport.send(peer, Class::Bulk, bytes);
            return None;
        }
        drop(sending);
        match frame {
            Frame::Answer(_, answer) => Some(answer),
            Frame::Ask(..) => None,
        }
    }

    /// Whether so many bytes more may be on their way to a client.
    fn has_room(&self, client: PeerId, bytes: usize) -> bool {
        let limit = if bytes <= SMALL { UNREAD } else { UNREAD - WORDS };
        self.transport.backlog(client).saturating_add(bytes) <= limit
    }

    /// Whether a client reads what it is answered. What one asks that does not is not even looked
    /// at.
    pub(crate) fn reads(&self, client: PeerId) -> bool {
        self.has_room(client, SMALL)
    }

    /// A frame of ours came in, without its tag, from a node or a client.
    pub(crate) fn frame(&self, peer: PeerId, node: bool, frame: &[u8]) {
        match postcard::take_from_bytes(frame) {
            Ok((Frame::Ask(id, ask), [])) => {
                let Some(asked) = &self.asked else { return };
                let room = self.room(&ask, frame.len());
                let taken = room.is_some_and(|room| {
                    asked.try_send(Asked { peer, node, id, ask, room }).is_ok()
                });
                if !taken {
                    self.answer(peer, node, id, Answer::busy());
                }
            }
            Ok((Frame::Answer(id, answer), [])) => {
                let mut pending = self.pending();
                // Only who was asked may answer.
                if pending.answers.get(&id).is_some_and(|(asked, _)| *asked == peer)
                    && let Some((_, tell)) = pending.answers.remove(&id)
                {
                    drop(tell.send(answer));
                }
            }
            Ok((_, rest)) => {
                tracing::debug!(?peer, bytes = rest.len(), "dropped a frame with bytes left over");
                self.not_understood(peer, node, frame);
            }
            Err(error) => {
                tracing::debug!(?peer, %error, "dropped a frame that does not decode");
                self.not_understood(peer, node, frame);
            }
        }
    }

    /// Who asks for what is not known here, or says more than is, is told so, and need not wait for
    /// nothing.
    fn not_understood(&self, peer: PeerId, node: bool, frame: &[u8]) {
        if let Some(id) = asked_under(frame).filter(|_| self.asked.is_some()) {
            self.answer(peer, node, id, Answer::NotUnderstood);
        }
    }

    /// Notes a question, if the peer is connected: from then on its end is told, too.
    fn begin(&self, peer: PeerId, id: u64, tell: &mut Option<oneshot::Sender<Answer>>) -> bool {
        let mut pending = self.pending();
        if !pending.up.contains(&peer) {
            return false;
        }
        pending.answers.extend(tell.take().map(|tell| (id, (peer, tell))));
        true
    }

    /// Room for a question of so many bytes; `None` if there is none.
    fn room(&self, ask: &Ask, bytes: usize) -> Option<Option<OwnedSemaphorePermit>> {
        if bytes <= SMALL {
            return Some(None);
        }
        let room = match ask {
            Ask::Member(_) => &self.shares,
            _ => &self.others,
        };
        let bytes = u32::try_from(bytes).ok()?;
        Arc::clone(room).try_acquire_many_owned(bytes).ok().map(Some)
    }

    /// The connection to `peer` is up.
    pub(crate) fn up(&self, peer: PeerId) {
        self.pending().up.insert(peer);
        self.connected.send_replace(());
    }

    /// The connection to `peer` broke: what it was asked gets no answer.
    pub(crate) fn down(&self, peer: PeerId) {
        let mut pending = self.pending();
        pending.answers.retain(|_, (asked, _)| *asked != peer);
        pending.up.remove(&peer);
    }

    fn send(&self, peer: PeerId, class: Class, frame: &Frame) {
        if let Some(bytes) = encoded(frame) {
            self.transport.send(peer, class, bytes);
        }
    }
}

/// A frame as it goes out.
fn encoded(frame: &Frame) -> Option<Bytes> {
    // Numbers, strings and bytes into a growing vector: postcard has nothing to refuse there.
    postcard::to_extend(frame, vec![tag::RPC]).map(Bytes::from).ok()
}

/// Forgets a question when whoever asked no longer waits.
struct Forget<'a>(&'a Rpc, u64);

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        self.0.pending().answers.remove(&self.1);
    }
}

#[cfg(test)]
mod tests;
