//! [`Client`]: a process that is no member, and asks those that are.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, sleep, timeout, timeout_at};
use vsync_net::{Event, PeerInfo, Quic, QuicConfig, Secret, Transport};

use crate::error::ClientError;
use crate::remote::{Remote, RemoteGroup};
use crate::replicated::Replicated;
use crate::runtime::replica::{schema, type_name};
use crate::runtime::ring::Position;
use crate::runtime::rpc::{Answer, Ask, Contact, LONGEST, Rpc};
use crate::runtime::tag;

/// The role that a client's transport announces.
pub(crate) const CLIENT: u8 = 1;
/// How long a client tries, unless told otherwise.
const DEADLINE: Duration = Duration::from_secs(10);
/// How long one member may take before another is asked.
const ATTEMPT: Duration = Duration::from_secs(6);
/// How long one dial may take.
const DIAL: Duration = Duration::from_secs(2);
/// The pause after all members known have failed.
const PAUSE: Duration = Duration::from_millis(50);

/// A process outside all groups. It knows some nodes of the cluster and finds the members of a
/// group through them. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Client {
    connection: Arc<Connection>,
}

impl Client {
    /// Connects to the first of these addresses that answers. `secret` is the cluster's.
    pub async fn connect<A: Into<String>>(
        seeds: impl IntoIterator<Item = A>,
        secret: impl AsRef<[u8]>,
    ) -> Result<Client, ClientError> {
        let network = |error: vsync_net::StartError| ClientError::Network(Box::new(error));
        let secret = Secret::new(secret.as_ref()).map_err(|e| network(e.into()))?;
        let mut config = QuicConfig::new("client", "0.0.0.0:0", secret);
        config.role = CLIENT;
        let transport = Quic::start(config).await.map_err(network)?;
        Client::over(Arc::new(transport), seeds.into_iter().map(Into::into).collect()).await
    }

    /// A client over a transport that is open already.
    pub(crate) async fn over(
        transport: Arc<dyn Transport>,
        seeds: Vec<String>,
    ) -> Result<Client, ClientError> {
        let rpc = Arc::new(Rpc::new(Arc::clone(&transport), None));
        let listener = tokio::spawn(listen(Arc::clone(&transport), Arc::clone(&rpc)));
        let listener = listener.abort_handle();
        let current = Mutex::default();
        let connection = Connection { transport, rpc, seeds, current, listener };
        connection.dial().await?;
        Ok(Client { connection: Arc::new(connection) })
    }

    /// The group of this name, by its client handle: `client.group::<SectorClient>("atc/paris")`.
    /// Whether it exists shows with the first question.
    pub fn group<C: Remote>(&self, name: &str) -> C {
        C::from(RemoteGroup::new(name.into(), Arc::clone(&self.connection)))
    }
}

/// What all handles of a client share.
pub(crate) struct Connection {
    transport: Arc<dyn Transport>,
    rpc: Arc<Rpc>,
    seeds: Vec<String>,
    /// Whom the last question went to.
    current: Mutex<Option<PeerInfo>>,
    listener: AbortHandle,
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("seeds", &self.seeds).finish_non_exhaustive()
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.listener.abort();
    }
}

/// Passes answers to who waits for them.
async fn listen(transport: Arc<dyn Transport>, rpc: Arc<Rpc>) {
    while let Some(event) = transport.next().await {
        match event {
            Event::Frame { peer, frame, .. } if frame.first() == Some(&tag::RPC) => {
                rpc.frame(peer, true, &frame[1..]);
            }
            Event::Down { peer } | Event::Ended { peer } => rpc.down(peer),
            Event::Up(peer) => rpc.up(peer.id),
            Event::Frame { .. } => {}
        }
    }
}

/// What one member made of a question.
enum Asked {
    Done(Result<Vec<u8>, ClientError>),
    Elsewhere(Vec<Contact>),
    Failed(String),
}

impl Connection {
    fn current(&self) -> Option<PeerInfo> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn remember(&self, peer: Option<PeerInfo>) {
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = peer;
    }

    /// A connection to a node: the one that answered last, else the first seed that answers.
    async fn dial(&self) -> Result<PeerInfo, ClientError> {
        if let Some(peer) = self.current() {
            return Ok(peer);
        }
        let mut failed = Vec::new();
        let mut dials = JoinSet::new();
        for seed in self.seeds.iter().cloned() {
            let transport = Arc::clone(&self.transport);
            dials.spawn(async move {
                let dialled = timeout(DIAL, transport.connect(&seed)).await;
                (seed, dialled)
            });
        }
        while let Some(Ok((seed, dialled))) = dials.join_next().await {
            match dialled {
                Ok(Ok(peer)) => {
                    self.remember(Some(peer.clone()));
                    return Ok(peer);
                }
                Ok(Err(error)) => failed.push((seed, error.to_string())),
                Err(_) => failed.push((seed, "no answer in time".to_owned())),
            }
        }
        Err(ClientError::Unreachable { seeds: failed })
    }

    /// Asks one member after the other, until one answers or the deadline comes.
    pub(crate) async fn query<S: Replicated>(
        &self,
        group: &str,
        query: Vec<u8>,
    ) -> Result<Vec<u8>, ClientError> {
        if query.len() > LONGEST {
            return Err(ClientError::TooLarge { size: query.len(), limit: LONGEST });
        }
        let ask = Ask::Query { group: group.to_owned(), schema: schema::<S>(), query };
        self.until_answered::<S>(group, ask).await
    }

    /// Asks for events; the answer is that of one member, encoded.
    pub(crate) async fn events<S: Replicated>(
        &self,
        group: &str,
        position: Option<Position>,
    ) -> Result<Vec<u8>, ClientError> {
        let ask = Ask::Events { group: group.to_owned(), schema: schema::<S>(), position };
        self.until_answered::<S>(group, ask).await
    }

    async fn until_answered<S: Replicated>(
        &self,
        group: &str,
        ask: Ask,
    ) -> Result<Vec<u8>, ClientError> {
        let deadline = Instant::now() + DEADLINE;
        let mut last = "nobody was asked".to_owned();
        loop {
            match timeout_at(deadline, self.round::<S>(group, &ask, &mut last)).await {
                Ok(Some(done)) => return done,
                Ok(None) => sleep(PAUSE).await,
                Err(_) => return Err(ClientError::Timeout { last }),
            }
        }
    }

    /// Asks a node that is known, and then whom it names. `None` if nobody could answer.
    async fn round<S: Replicated>(
        &self,
        group: &str,
        ask: &Ask,
        last: &mut String,
    ) -> Option<Result<Vec<u8>, ClientError>> {
        let first = match self.dial().await {
            Ok(peer) => peer,
            Err(error) => {
                *last = error.to_string();
                return None;
            }
        };
        let mut members = match self.ask_one::<S>(group, &first, ask).await {
            Asked::Done(done) => return Some(done),
            Asked::Elsewhere(members) => VecDeque::from(members),
            Asked::Failed(why) => {
                *last = format!("{}: {why}", first.addr);
                self.remember(None);
                return None;
            }
        };
        while let Some(member) = members.pop_front() {
            let dialled = timeout(DIAL, self.transport.connect(&member.address)).await;
            let Ok(Ok(peer)) = dialled else {
                *last = format!("{}: not reached", member.address);
                continue;
            };
            match self.ask_one::<S>(group, &peer, ask).await {
                Asked::Done(done) => {
                    self.remember(Some(peer));
                    return Some(done);
                }
                Asked::Elsewhere(_) => *last = format!("{}: no longer a member", peer.addr),
                Asked::Failed(why) => *last = format!("{}: {why}", peer.addr),
            }
        }
        None
    }

    async fn ask_one<S: Replicated>(&self, group: &str, peer: &PeerInfo, ask: &Ask) -> Asked {
        let asked = timeout(ATTEMPT, self.rpc.ask(peer.id, ask.clone())).await;
        let answer = match asked {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => return Asked::Failed("the connection broke".to_owned()),
            Err(_) => return Asked::Failed("no answer in time".to_owned()),
        };
        let name = group.to_owned();
        Asked::Done(Err(match answer {
            Answer::Result(bytes) => return Asked::Done(Ok(bytes)),
            Answer::Elsewhere(members) => return Asked::Elsewhere(members),
            Answer::Unavailable(why) => return Asked::Failed(why),
            Answer::NoSuchGroup => ClientError::NoSuchGroup { name },
            Answer::Type { there } => ClientError::Type { name, here: type_name::<S>(), there },
            Answer::UnknownQuery { id } => ClientError::UnknownQuery { id },
            Answer::BadQuery(why) => ClientError::Decode(why),
            Answer::TooLarge { size, limit } => ClientError::TooLarge {
                size: usize::try_from(size).unwrap_or(usize::MAX),
                limit: usize::try_from(limit).unwrap_or(usize::MAX),
            },
            Answer::Cluster { .. } | Answer::Vote(_) | Answer::NotThisMember => {
                ClientError::Decode("an answer to nothing".to_owned())
            }
        }))
    }
}
