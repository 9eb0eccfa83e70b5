//! Questions and answers between nodes, and from clients: everything that is not the engine's.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch};
use tokio::time::timeout;
use vsync_core::wire::MemberId;
use vsync_net::{Class, PeerId, Transport};

use super::ring::Position;
use super::sessions::Committed;
use super::tag;
use crate::ask::{Missing, Target};
use crate::error::Sight;
use crate::gateway::Request;
use crate::seen::Seen;

/// How long the news of a new connection may take from the network to here.
const NEWS: Duration = Duration::from_millis(500);

/// Most bytes of a client's query, and of its result: what surrounds them has room in a frame.
pub(crate) const LONGEST: usize = 16 << 20;

/// Most bytes of questions that may wait here, or be under way, at one time; those of members for a
/// share have as much room of their own, since others may be waiting for such an answer.
const WAITING: usize = 128 << 20;
/// Bytes of answers that a client may leave unread; beyond that it gets none.
pub(crate) const UNREAD: usize = 32 << 20;
/// A question of no more bytes is counted by its number only.
const SMALL: usize = 1 << 10;

/// A node as others reach it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Contact {
    /// Its node id.
    pub(crate) node: u64,
    /// Its advertised address.
    pub(crate) address: String,
}

/// A question.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Ask {
    /// Who is in the directory's group?
    Cluster,
    /// Will you join the cluster that I form, and nobody else's?
    Vote,
    /// What is the type of a group?
    Card {
        /// The group's name.
        group: String,
    },
    /// Answer a query of a group from stable state.
    Query {
        /// The group's name.
        group: String,
        /// Identity of the type that the client expects.
        schema: u64,
        /// Hash of the query's line in the client's card.
        line: u64,
        /// Method id and arguments.
        #[serde(with = "serde_bytes")]
        query: Vec<u8>,
        /// What the state has to have in it.
        seen: Option<Seen>,
        /// Who is to answer it, if not whoever is asked.
        at: Option<Target>,
    },
    /// Something else that a client wants of a group.
    Request {
        /// The group's name.
        group: String,
        /// Identity of the type that the client expects.
        schema: u64,
        /// Hash of the update's line in the client's card; 0 where it wants none.
        line: u64,
        /// What it wants.
        request: Request,
    },
    /// Do a share of a query, as this member of a group: only nodes ask so.
    Member(ToMember),
    /// What a group has emitted from a position on, or where its next event will be.
    Events {
        /// The group's name.
        group: String,
        /// Identity of the type that the client expects.
        schema: u64,
        /// Hash of the events' line in the client's card.
        line: u64,
        /// Where to go on.
        position: Option<Position>,
    },
    /// Who are the active members of a group, by rank?
    View {
        /// The group's name.
        group: String,
        /// Identity of the type that the client expects.
        schema: u64,
        /// The view is to be at least as new as this.
        seen: Option<Seen>,
    },
    /// Have one member do a share of a query, as a client wants it.
    Share {
        /// The group's name.
        group: String,
        /// Identity of the type that the client expects.
        schema: u64,
        /// Hash of the query's line in the client's card, with whether it is scattered.
        line: u64,
        /// Method id and arguments.
        #[serde(with = "serde_bytes")]
        query: Vec<u8>,
        /// What the state has to have in it.
        seen: Option<Seen>,
        /// Who is to answer it.
        member: MemberId,
        /// The share's number, and how many there are.
        share: (u32, u32),
    },
    /// Answer a query from a state that has in it all that was completed before it was asked.
    Linearizable {
        /// The group's name.
        group: String,
        /// Identity of the type that the client expects.
        schema: u64,
        /// Hash of the query's line in the client's card.
        line: u64,
        /// Method id and arguments.
        #[serde(with = "serde_bytes")]
        query: Vec<u8>,
        /// What the state has to have in it besides.
        seen: Option<Seen>,
        /// Who is to answer it, if not whoever is asked.
        at: Option<Target>,
    },
    /// How far does your state go, as this member of a group? Only nodes ask so.
    Seen {
        /// The group's name.
        group: String,
        /// Who is asked.
        member: MemberId,
    },
}

/// A share of a query, asked of one member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ToMember {
    /// The group's name.
    pub(crate) group: String,
    /// Identity of the type.
    pub(crate) schema: u64,
    /// Who is asked.
    pub(crate) member: MemberId,
    /// The share's number, and how many there are.
    pub(crate) share: (u32, u32),
    /// Hash of the query's line in the asker's card.
    pub(crate) line: u64,
    /// What the state has to have in it.
    pub(crate) after: Option<Seen>,
    /// Method id and arguments.
    #[serde(with = "serde_bytes")]
    pub(crate) query: Vec<u8>,
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Answer {
    /// The active members of the directory's group; nobody while this node is in no cluster yet.
    Cluster {
        /// Them.
        members: Vec<Contact>,
        /// Whether too many of them are gone: the group has no quorum there.
        blocked: bool,
        /// Which cluster it is; `None` while that is not known there.
        cluster: Option<u64>,
    },
    /// The type of the group.
    Card {
        /// The card's text.
        card: String,
        /// The version that is active.
        active: u32,
        /// What the member sees where it sees no quorum.
        blocked: Option<Sight>,
    },
    /// The encoded result of a query, or what a group has emitted.
    Result {
        /// It.
        #[serde(with = "serde_bytes")]
        bytes: Vec<u8>,
        /// What the state has in it.
        seen: Seen,
    },
    /// Ask these: they are active members.
    Elsewhere(Vec<Contact>),
    /// There is no group of this name.
    NoSuchGroup,
    /// The group replicates another type.
    Type {
        /// In words.
        there: String,
    },
    /// The type has no such query or update.
    UnknownQuery {
        /// The method id asked for.
        id: u32,
    },
    /// The arguments do not decode, or the result does not encode.
    BadQuery(String),
    /// Whether the vote is given.
    Vote(bool),
    /// Not now, and without effect.
    Unavailable(String),
    /// The result is longer than an answer may be.
    TooLarge {
        /// Its bytes.
        size: u64,
        /// Bytes allowed.
        limit: u64,
    },
    /// What became of a request, by agreement, and stable.
    Committed {
        /// It.
        committed: Committed,
        /// What the state has in it.
        seen: Seen,
    },
    /// The request may be carried out still, or may have been.
    UnderWay(String),
    /// The request is under way: ask again for its answer, of members that are known by then.
    Pending(Seen),
    /// The node asked is not that member, or no longer.
    NotThisMember,
    /// The view has nobody who is meant by this.
    NoSuchMember(Target),
    /// A member gives no answer, and no other may be asked in its place.
    Missing {
        /// Which.
        member: MemberId,
        /// Why.
        why: Missing,
    },
    /// The active members of the group, by rank.
    View {
        /// Them.
        members: Vec<MemberId>,
        /// How far the state goes there.
        seen: Seen,
    },
    /// How far the state of the member asked goes.
    Seen(Seen),
    /// The question does not decode there: it may be one of a later release.
    NotUnderstood,
}

impl Answer {
    /// There is no room for more questions.
    pub(crate) fn busy() -> Answer {
        Answer::Unavailable("too many questions".to_owned())
    }
}

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
    /// In bytes: for members' shares, and for all other questions.
    shares: Arc<Semaphore>,
    others: Arc<Semaphore>,
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
            shares: Arc::new(Semaphore::new(WAITING)),
            others: Arc::new(Semaphore::new(WAITING)),
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

    /// Answers a question of a node, or of a client that reads its answers.
    pub(crate) fn answer(&self, peer: PeerId, node: bool, id: u64, answer: Answer) {
        if node || self.reads(peer) {
            self.send(peer, Class::Bulk, &Frame::Answer(id, answer));
        }
    }

    /// Whether a client reads what it is answered. One that does not is answered nothing more, not
    /// even that there is no room for its question.
    pub(crate) fn reads(&self, client: PeerId) -> bool {
        self.transport.backlog(client) <= UNREAD
    }

    /// A frame of ours came in, without its tag, from a node or a client.
    pub(crate) fn frame(&self, peer: PeerId, node: bool, frame: &[u8]) {
        match postcard::take_from_bytes(frame) {
            Ok((_, rest)) if !rest.is_empty() => {
                tracing::debug!(?peer, "dropped a frame with bytes left over");
            }
            Ok((Frame::Ask(id, ask), _)) => {
                let Some(asked) = &self.asked else { return };
                let room = self.room(&ask, frame.len());
                let taken = room.is_some_and(|room| {
                    asked.try_send(Asked { peer, node, id, ask, room }).is_ok()
                });
                if !taken {
                    self.answer(peer, node, id, Answer::busy());
                }
            }
            Ok((Frame::Answer(id, answer), _)) => {
                let mut pending = self.pending();
                // Only who was asked may answer.
                if pending.answers.get(&id).is_some_and(|(asked, _)| *asked == peer)
                    && let Some((_, tell)) = pending.answers.remove(&id)
                {
                    drop(tell.send(answer));
                }
            }
            Err(error) => {
                tracing::debug!(?peer, %error, "dropped a frame that does not decode");
                // Who asks for what is not known here is told so, and need not wait for nothing.
                if let Some(id) = asked_under(frame).filter(|_| self.asked.is_some()) {
                    self.answer(peer, node, id, Answer::NotUnderstood);
                }
            }
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
        // Numbers, strings and bytes into a growing vector: postcard has nothing to refuse there.
        if let Ok(bytes) = postcard::to_extend(frame, vec![tag::RPC]) {
            self.transport.send(peer, class, Bytes::from(bytes));
        }
    }
}

/// Forgets a question when whoever asked no longer waits.
struct Forget<'a>(&'a Rpc, u64);

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        self.0.pending().answers.remove(&self.1);
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Waker};

    use vsync_net::MemoryNet;

    use super::*;

    use crate::runtime::sessions::{Commit, RequestId};

    const PEER: PeerId = PeerId(7);

    fn rpc(asked: Option<mpsc::Sender<Asked>>) -> Rpc {
        Rpc::new(Arc::new(MemoryNet::new().endpoint("here")), asked)
    }

    /// The news that the connection is down comes while somebody begins to ask: a question that is
    /// noted after it would wait for ever.
    #[tokio::test]
    async fn nobody_waits_for_a_peer_that_is_gone() {
        const ROUNDS: u64 = 20_000;
        let rpc = rpc(None);
        let (begun, ended) = (AtomicU64::new(0), AtomicU64::new(0));
        let mut waiting = 0;
        std::thread::scope(|threads| {
            threads.spawn(|| {
                for round in 1..=ROUNDS {
                    while begun.load(Ordering::SeqCst) < round {
                        std::thread::yield_now();
                    }
                    rpc.down(PEER);
                    ended.store(round, Ordering::SeqCst);
                }
            });
            for round in 1..=ROUNDS {
                rpc.up(PEER);
                let mut asking = pin!(rpc.ask(PEER, Ask::Cluster));
                begun.store(round, Ordering::SeqCst);
                drop(asking.as_mut().poll(&mut Context::from_waker(Waker::noop())));
                while ended.load(Ordering::SeqCst) < round {
                    std::thread::yield_now();
                }
                waiting += rpc.pending().answers.len();
            }
        });
        assert_eq!(waiting, 0, "they wait for a peer that is down");
    }

    /// What a later release may ask is not known here: who asks is told, and an answer is not.
    #[tokio::test]
    async fn a_question_that_is_not_known_is_answered() {
        let net = MemoryNet::new();
        let (node, client) = (net.endpoint("node"), net.client("client"));
        let (tell, _asked) = mpsc::channel(1);
        client.connect(&node.local().addr).await.expect("connected");
        let asker = client.local().id;
        let rpc = Rpc::new(Arc::new(node), Some(tell));
        let question = postcard::to_stdvec(&(0_u32, 300_u64, 99_u32)).unwrap();
        rpc.frame(asker, false, &postcard::to_stdvec(&(1_u32, 300_u64, 99_u32)).unwrap());
        rpc.frame(asker, false, &[0]);
        rpc.frame(asker, false, &question);
        let frame = loop {
            match client.next().await.expect("an event") {
                vsync_net::Event::Frame { frame, .. } => break frame,
                _ => continue,
            }
        };
        let answer = postcard::to_stdvec(&Frame::Answer(300, Answer::NotUnderstood)).unwrap();
        assert_eq!((frame[0], &frame[1..]), (tag::RPC, &answer[..]));
        assert!(client.try_next().is_none(), "only the question is answered");
    }

    /// The attribute changes how fast bytes are written, not what is.
    #[test]
    fn bytes_are_on_the_wire_as_numbers_in_a_row() {
        #[derive(Serialize, Deserialize)]
        enum Plain {
            Result { bytes: Vec<u8>, seen: Seen },
        }
        #[derive(Serialize, Deserialize)]
        struct Events {
            missed: Option<crate::runtime::ring::Missed>,
            events: Vec<(crate::Cursor, Vec<u8>)>,
            position: Position,
        }
        #[derive(Serialize, Deserialize)]
        struct Update {
            id: RequestId,
            update: Vec<u8>,
        }
        let same = |one: &[u8], other: &[u8]| assert_eq!(one, other);
        for length in [0, 1, 127, 128, 300, 70_000_usize] {
            let bytes: Vec<u8> = (0..length).map(|index| index as u8).collect();
            let seen = Seen::default();
            let answer = Answer::Result { bytes: bytes.clone(), seen: seen.clone() };
            let answer = postcard::to_stdvec(&answer).unwrap();
            let plain = Plain::Result { bytes: bytes.clone(), seen };
            // The number of the variant is one byte in both.
            same(&answer[1..], &postcard::to_stdvec(&plain).unwrap()[1..]);
            let Ok(Answer::Result { bytes: read, .. }) = postcard::from_bytes(&answer) else {
                panic!("it is what it was")
            };
            assert_eq!(read, bytes);
            let id = RequestId::Key(vec![1, 2]);
            let commit = Commit { id: id.clone(), update: bytes.clone() };
            let update = Update { id, update: bytes.clone() };
            let commit = postcard::to_stdvec(&commit).unwrap();
            same(&commit, &postcard::to_stdvec(&update).unwrap());
            let cursor = crate::Cursor { view: 1, index: 2 };
            let position = Position { next: cursor, local: (3, 4) };
            let news = crate::runtime::ring::News {
                missed: None,
                events: vec![(cursor, bytes.clone().into())],
                position,
            };
            let events = Events { missed: None, events: vec![(cursor, bytes)], position };
            let news = postcard::to_stdvec(&news).unwrap();
            same(&news, &postcard::to_stdvec(&events).unwrap());
        }
    }

    #[tokio::test]
    async fn questions_are_bounded_by_their_bytes() {
        let (tell, mut asked) = mpsc::channel(1 << 10);
        let rpc = rpc(Some(tell));
        let frame = |ask| postcard::to_stdvec(&Frame::Ask(1, ask)).unwrap();
        let group = "group".to_owned();
        let query = vec![0; 1 << 20];
        let large = frame(Ask::Query {
            group: group.clone(),
            schema: 1,
            line: 1,
            query: query.clone(),
            seen: None,
            at: None,
        });
        let fit = WAITING / large.len();
        for _ in 0..fit + 10 {
            rpc.frame(PEER, false, &large);
        }
        assert_eq!(asked.len(), fit, "the rest is refused");
        rpc.frame(PEER, false, &frame(Ask::Card { group: group.clone() }));
        assert_eq!(asked.len(), fit + 1, "small ones have room");
        let member = MemberId { node: vsync_core::wire::NodeId(1), entry: 1 };
        let share = (0, 1);
        let share = ToMember { group, schema: 1, member, share, line: 1, after: None, query };
        rpc.frame(PEER, true, &frame(Ask::Member(share)));
        assert_eq!(asked.len(), fit + 2, "and so have members' shares");
        drop(asked.recv().await);
        rpc.frame(PEER, false, &large);
        rpc.frame(PEER, false, &large);
        assert_eq!(asked.len(), fit + 2, "one is done, and one more is taken");
    }
}
