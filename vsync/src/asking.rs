//! Asking a group from outside: one member after the other, until one answers or the time is over.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout, timeout_at};
use vsync_net::PeerInfo;
use xxhash_rust::xxh3::xxh3_64;

use crate::ask::{Missing, Told};
use crate::card::Card;
use crate::client::Connection;
use crate::error::ClientError;
use crate::gateway::Request;
use crate::replicated::Replicated;
use crate::runtime::replica::schema;
use crate::runtime::ring::Position;
use crate::runtime::rpc::{Answer, Ask, By, ClientQuery, Contact, LONGEST};
use crate::runtime::sessions::{Commit, Committed, KEY, Recorded, Refusal, RequestId};
use crate::seen::Seen;
use crate::session::{Route, Ticket};
use crate::view::MemberId;

/// How long one member may take before another is asked.
const ATTEMPT: Duration = Duration::from_secs(3);
/// How long one dial may take.
const DIAL: Duration = Duration::from_secs(2);
/// The pause after all members known have failed.
const PAUSE: Duration = Duration::from_millis(50);

/// A group, as one call of a client asks it.
pub(crate) struct Asking<'a> {
    pub(crate) connection: &'a Connection,
    pub(crate) route: &'a Route,
    pub(crate) group: &'a str,
    /// The type as the client knows it.
    pub(crate) card: &'a Card,
    pub(crate) deadline: Instant,
}

/// What is known of the attempts of one call.
#[derive(Debug)]
pub(crate) struct Attempts {
    /// One has ended without a word on what became of it.
    pub(crate) unknown: bool,
    /// One is under way.
    pub(crate) under_way: bool,
    /// What the last one met.
    last: String,
}

impl Attempts {
    pub(crate) fn new() -> Attempts {
        Attempts { unknown: false, under_way: false, last: "nobody was asked".to_owned() }
    }

    /// The last one was without effect.
    fn without_effect(&mut self, why: String) {
        self.under_way = false;
        self.last = why;
    }

    /// Nobody knows what the last one has done.
    fn lost(&mut self, why: String) {
        self.unknown = true;
        self.without_effect(why);
    }
}

/// An update that gave no reply.
#[derive(Debug)]
pub(crate) struct NoReply {
    /// Whether it may have been carried out, or may be still.
    pub(crate) unknown: bool,
    pub(crate) why: ClientError,
}

impl From<ClientError> for NoReply {
    fn from(why: ClientError) -> NoReply {
        NoReply { unknown: false, why }
    }
}

/// A name of the application's own is not too long.
pub(crate) fn check_key(key: Option<&[u8]>) -> Result<(), ClientError> {
    match key.map(<[u8]>::len).filter(|size| *size > KEY) {
        Some(size) => Err(ClientError::KeyTooLong { size, limit: KEY }),
        None => Ok(()),
    }
}

/// What one member made of it.
enum Met {
    Answer(Answer),
    Elsewhere(Vec<Contact>),
    Nothing,
}

impl Asking<'_> {
    /// Has a query answered from a state that has all of `seen` in it, by whom `by` means.
    pub(crate) async fn query<S: Replicated>(
        &self,
        query: Vec<u8>,
        seen: Option<Seen>,
        by: By,
    ) -> Result<(Vec<u8>, Seen), ClientError> {
        self.fits(&query)?;
        self.in_time()?;
        let (group, schema) = (self.group.to_owned(), schema::<S>());
        let line = line(&query, |id| self.card.query(id));
        let asked = query.clone();
        let ask = Ask::Query(ClientQuery { group, schema, line, query: asked, seen, by });
        let mut attempts = Attempts::new();
        match self.until_answered::<S>(&ask, &mut attempts).await? {
            Answer::Result { bytes, seen } => Ok((bytes, seen)),
            other => Err(self.error::<S>(other, &query)),
        }
    }

    /// The active members, by rank, in a view that is as new as `seen`; and how far the state goes
    /// where that is known.
    pub(crate) async fn members<S: Replicated>(
        &self,
        seen: Option<Seen>,
    ) -> Result<(Vec<MemberId>, Seen), ClientError> {
        self.in_time()?;
        let (group, schema) = (self.group.to_owned(), schema::<S>());
        let ask = Ask::View { group, schema, seen };
        match self.until_answered::<S>(&ask, &mut Attempts::new()).await? {
            Answer::View { members, seen } => Ok((members, seen)),
            other => Err(self.error::<S>(other, &[])),
        }
    }

    /// Has one member do its share of a query, and nobody in its place.
    pub(crate) async fn share<S: Replicated>(
        &self,
        query: &[u8],
        seen: Option<Seen>,
        (member, share): (MemberId, (u32, u32)),
    ) -> Result<Told, ClientError> {
        let (group, schema) = (self.group.to_owned(), schema::<S>());
        let line = line(query, |id| self.card.share(id));
        let (asked, by) = (query.to_vec(), By::Share(member, share));
        let ask = Ask::Query(ClientQuery { group, schema, line, query: asked, seen, by });
        let answer = match self.until_answered::<S>(&ask, &mut Attempts::new()).await {
            // The deadline is that of all shares: this one has none.
            Err(ClientError::Timeout { .. }) => return Ok(Told::Never(Missing::Late)),
            answer => answer?,
        };
        match answer {
            Answer::Result { bytes, seen } => Ok(Told::Answer(bytes, seen)),
            Answer::Missing { why, .. } => Ok(Told::Never(why)),
            Answer::NoSuchMember(_) => Ok(Told::Never(Missing::Gone)),
            unread @ Answer::Unread { .. } => {
                Ok(Told::Never(Missing::Refused(self.error::<S>(unread, query).to_string())))
            }
            Answer::Type { there } if there != S::NAME => {
                let here = method(query).and_then(|id| self.card.share(id)).unwrap_or_default();
                Err(ClientError::Type { name: self.group.to_owned(), here, there })
            }
            other => Err(self.error::<S>(other, query)),
        }
    }

    /// Asks for what the group has emitted from a position on; the answer is that of one member,
    /// encoded. From then on this client's queries read states that have these events in them.
    pub(crate) async fn events<S: Replicated>(
        &self,
        position: Option<Position>,
    ) -> Result<Vec<u8>, ClientError> {
        let (group, schema) = (self.group.to_owned(), schema::<S>());
        let line = self.card.event().map_or(0, |line| hash(&line));
        let ask = Ask::Events { group, schema, line, position };
        match self.until_answered::<S>(&ask, &mut Attempts::new()).await? {
            Answer::Result { bytes, .. } => Ok(bytes),
            Answer::Type { there } if there != S::NAME => {
                let (name, here) = (self.group.to_owned(), self.card.event().unwrap_or_default());
                Err(ClientError::Type { name, here, there })
            }
            other => Err(self.error::<S>(other, &[])),
        }
    }

    /// Has an update carried out once, under `key` or in this client's session.
    pub(crate) async fn update<S: Replicated>(
        &self,
        update: Vec<u8>,
        key: Option<Vec<u8>>,
    ) -> Result<Recorded, NoReply> {
        check_key(key.as_deref())?;
        if update.len() > LONGEST {
            return Err(ClientError::TooLarge { size: update.len(), limit: LONGEST }.into());
        }
        self.in_time()?;
        loop {
            let ticket = match key {
                None => Some(self.ticket::<S>().await?),
                Some(_) => None,
            };
            let id = match (&ticket, &key) {
                (Some(ticket), _) => ticket.id(),
                (None, key) => RequestId::Key(key.clone().unwrap_or_default()),
            };
            let request = Request::Commit(Commit { id, update: update.clone() });
            let mut attempts = Attempts::new();
            let answer = self.until_answered::<S>(&self.request::<S>(request), &mut attempts).await;
            let unknown = attempts.unknown || attempts.under_way;
            let refusal = match answer {
                Ok(Answer::Committed { committed: Committed::Recorded(recorded), .. }) => {
                    return Ok(recorded);
                }
                Ok(Answer::Committed { committed: Committed::Refused(why), .. }) => why,
                Ok(Answer::UnknownQuery { id }) => {
                    return Err(NoReply { unknown, why: ClientError::UnknownUpdate { id } });
                }
                Ok(other) => return Err(NoReply { unknown, why: self.error::<S>(other, &update) }),
                Err(why) => return Err(NoReply { unknown, why }),
            };
            if refusal == Refusal::Expired
                && let Some(ticket) = ticket
            {
                self.route.expired(ticket.session());
                if !unknown {
                    continue;
                }
            }
            // Under another content's name this one was never carried out.
            let unknown = unknown && refusal != Refusal::OtherContent;
            return Err(NoReply { unknown, why: refused(refusal) });
        }
    }

    /// An error if a query is too long to be asked.
    pub(crate) fn fits(&self, query: &[u8]) -> Result<(), ClientError> {
        match query.len() {
            0..=LONGEST => Ok(()),
            size => Err(ClientError::TooLarge { size, limit: LONGEST }),
        }
    }

    /// An error if the deadline is over before anything was asked.
    fn in_time(&self) -> Result<(), ClientError> {
        match Instant::now() < self.deadline {
            true => Ok(()),
            false => Err(ClientError::Timeout { last: "it had passed already".to_owned() }),
        }
    }

    /// A number in the session, which is opened if there is none.
    pub(crate) async fn ticket<S: Replicated>(&self) -> Result<Ticket, ClientError> {
        let late = |_| ClientError::Timeout { last: "too many calls are under way".to_owned() };
        let opening = timeout_at(self.deadline, self.route.opening.lock()).await.map_err(late)?;
        if self.route.session().is_none() {
            let request = self.request::<S>(Request::Open(self.connection.lease()));
            match self.until_answered::<S>(&request, &mut Attempts::new()).await? {
                Answer::Committed { committed: Committed::Opened(id), .. } => self.route.opened(id),
                Answer::Committed { committed: Committed::Refused(why), .. } => {
                    return Err(refused(why));
                }
                other => return Err(self.error::<S>(other, &[])),
            }
        }
        drop(opening);
        let Some(session) = self.route.session() else {
            return Err(ClientError::Expired);
        };
        timeout_at(self.deadline, session.ticket()).await.map_err(late)
    }

    pub(crate) fn request<S: Replicated>(&self, request: Request) -> Ask {
        let line = line(request.update(), |id| self.card.update(id));
        Ask::Request { group: self.group.to_owned(), schema: schema::<S>(), line, request }
    }

    /// Asks until somebody answers or the deadline comes.
    pub(crate) async fn until_answered<S: Replicated>(
        &self,
        ask: &Ask,
        attempts: &mut Attempts,
    ) -> Result<Answer, ClientError> {
        let answered = async {
            loop {
                if let Some(answer) = self.round::<S>(ask, attempts).await {
                    return answer;
                }
                sleep(PAUSE).await;
            }
        };
        if let Ok(answer) = timeout_at(self.deadline, answered).await {
            if let Answer::Result { seen, .. }
            | Answer::Committed { seen, .. }
            | Answer::View { seen, .. }
            | Answer::Pending(seen) = &answer
            {
                self.route.raise(seen);
            }
            return Ok(answer);
        }
        Err(ClientError::Timeout { last: std::mem::take(&mut attempts.last) })
    }

    /// Asks each member that is known. `None` if none could answer.
    async fn round<S: Replicated>(&self, ask: &Ask, attempts: &mut Attempts) -> Option<Answer> {
        if let Some(gateway) = self.route.gateway()
            && !self.route.is_old()
        {
            match self.ask(&gateway, ask, attempts).await {
                Met::Answer(answer) => return Some(answer),
                Met::Elsewhere(members) => self.route.learn(members),
                Met::Nothing => {}
            }
        }
        if let Some(answer) = self.refresh::<S>(attempts).await {
            return Some(answer);
        }
        let (client, transport) = (self.connection.id(), self.connection.transport());
        for member in self.route.ranked(client, self.group) {
            let dialled = timeout(DIAL, transport.connect(&member.address)).await;
            let Ok(Ok(peer)) = dialled else {
                self.route.failed(member.node);
                attempts.last = format!("{}: not reached", member.address);
                continue;
            };
            match self.ask(&peer, ask, attempts).await {
                Met::Answer(answer) => return Some(answer),
                Met::Elsewhere(_) => self.route.failed(member.node),
                Met::Nothing => {}
            }
        }
        // Where members are not reached as they say, one may be as a seed.
        let seed = self.connection.dial().await.ok()?;
        match self.ask(&seed, ask, attempts).await {
            Met::Answer(answer) => Some(answer),
            Met::Elsewhere(members) => {
                self.route.learn(members);
                None
            }
            Met::Nothing => {
                self.connection.remember(None);
                None
            }
        }
    }

    /// Learns who the members are, if that may have changed. An answer if there is nothing to ask.
    async fn refresh<S: Replicated>(&self, attempts: &mut Attempts) -> Option<Answer> {
        match self.route.is_old() {
            true => self.route.once(self.learn::<S>(attempts)).await,
            false => None,
        }
    }

    async fn learn<S: Replicated>(&self, attempts: &mut Attempts) -> Option<Answer> {
        let request = self.request::<S>(Request::Members);
        let mut about = Attempts::new();
        if let Some(gateway) = self.route.gateway() {
            match self.ask(&gateway, &request, &mut about).await {
                Met::Elsewhere(members) => {
                    self.route.learn(members);
                    return None;
                }
                Met::Answer(answer) => return Some(answer),
                Met::Nothing => {}
            }
        }
        let seed = match self.connection.dial().await {
            Ok(seed) => seed,
            Err(error) => {
                attempts.last = error.to_string();
                return None;
            }
        };
        match self.ask(&seed, &request, &mut about).await {
            Met::Elsewhere(members) => self.route.learn(members),
            Met::Answer(answer) => return Some(answer),
            Met::Nothing => {
                self.connection.remember(None);
                attempts.last = about.last;
            }
        }
        None
    }

    async fn ask(&self, peer: &PeerInfo, ask: &Ask, attempts: &mut Attempts) -> Met {
        attempts.under_way = true;
        let rpc = self.connection.rpc();
        let at = |why: &str| format!("{}: {why}", peer.addr);
        let mut asked = timeout(ATTEMPT, rpc.ask(peer.id, ask.clone())).await;
        // As long as it says so it is waited for: another would have to begin anew.
        while let Ok(Ok(Answer::Working(number))) = asked {
            attempts.last = at("it is at work on the answer");
            self.route.answered(peer.clone());
            asked = timeout(ATTEMPT, rpc.ask(peer.id, Ask::Again(number))).await;
        }
        match asked {
            Ok(Ok(Answer::Elsewhere(members))) => {
                attempts.without_effect(at("it is no member, or no longer"));
                return Met::Elsewhere(members);
            }
            Ok(Ok(Answer::Unavailable(why))) => attempts.without_effect(at(&why)),
            Ok(Ok(Answer::UnderWay(why))) => attempts.lost(at(&why)),
            // Another member may have room. A query would only have to be answered again there.
            Ok(Ok(Answer::Unread { .. })) if !matches!(ask, Ask::Query(_)) => {
                attempts.lost(at("no room for the answer before others are read"));
            }
            Ok(Ok(answer)) => {
                attempts.under_way = false;
                if let Answer::Result { .. }
                | Answer::Committed { .. }
                | Answer::View { .. }
                | Answer::Pending(_) = &answer
                {
                    self.route.answered(peer.clone());
                }
                return Met::Answer(answer);
            }
            Ok(Err(_)) => attempts.lost(at("the connection broke")),
            Err(_) => attempts.lost(at("no answer in time")),
        }
        self.route.failed(peer.id.0);
        Met::Nothing
    }

    /// What is wrong where the answer is none.
    pub(crate) fn error<S: Replicated>(&self, answer: Answer, call: &[u8]) -> ClientError {
        let name = self.group.to_owned();
        match answer {
            Answer::NoSuchGroup => ClientError::NoSuchGroup { name },
            Answer::Type { there } => {
                // The whole type is another one, or the method is.
                let method = method(call).and_then(|id| {
                    let (query, update) = (self.card.query(id), self.card.update(id));
                    [query, update].into_iter().flatten().find(|line| kind(line) == kind(&there))
                });
                let here = method.unwrap_or_else(|| S::NAME.to_owned());
                ClientError::Type { name, here, there }
            }
            Answer::UnknownQuery { id } => ClientError::UnknownQuery { id },
            Answer::BadQuery(why) => ClientError::Decode(why),
            Answer::NoSuchMember(target) => ClientError::NoSuchMember(target),
            Answer::Missing { member, why } => ClientError::NoAnswer { member, why },
            Answer::NotUnderstood => ClientError::NotUnderstood,
            Answer::Unread { limit } => ClientError::Unread { limit: size(limit) },
            Answer::TooLarge { size: bytes, limit } => {
                ClientError::TooLarge { size: size(bytes), limit: size(limit) }
            }
            _ => ClientError::Decode("an answer to nothing".to_owned()),
        }
    }
}

/// A size as it travels.
fn size(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

/// The method that is called.
fn method(call: &[u8]) -> Option<u32> {
    postcard::take_from_bytes(call).ok().map(|(id, _)| id)
}

/// Hash of a method's line in a card.
pub(crate) fn line(call: &[u8], of: impl FnOnce(u32) -> Option<String>) -> u64 {
    let line = method(call).and_then(of);
    line.map_or(0, |line| hash(&line))
}

/// The line of the method that is called, if there is one here and it is not the one of this hash.
pub(crate) fn another(
    call: &[u8],
    hashed: u64,
    of: impl FnOnce(u32) -> Option<String>,
) -> Option<String> {
    method(call).and_then(of).filter(|there| hash(there) != hashed)
}

/// Hash of a line in a card.
pub(crate) fn hash(line: &str) -> u64 {
    xxh3_64(line.as_bytes())
}

/// How a method's line begins; a type's name alone has no such word.
fn kind(line: &str) -> Option<&str> {
    line.split_once(' ').map(|(kind, _)| kind)
}

pub(crate) fn refused(why: Refusal) -> ClientError {
    match why {
        Refusal::Expired | Refusal::Acknowledged => ClientError::Expired,
        Refusal::OtherContent => ClientError::OtherContent,
        Refusal::Full => ClientError::Full,
        Refusal::Key => ClientError::KeyTooLong { size: KEY + 1, limit: KEY },
    }
}
