//! [`Sessions`]: which requests of clients were carried out, and what came of each, as a part of
//! the replicated state.
//!
//! A client's update travels as one [`Commit`], a total update with a name of its own. All replicas
//! look it up here at the same point of the order: the first of its name is carried out, and
//! whatever comes after it under the same name gets the recorded reply. What keeps this table
//! finite is what the client has acknowledged and, where it no longer speaks, the end of a lease,
//! which is an ordered update, too.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use vsync_core::wire::Micros;

use super::pending::{ANSWER, Name, Pending};
use super::seldom::Blank;

/// Most sessions of a group, and most keys.
pub(crate) const SESSIONS: usize = 65_536;
/// Most replies of one session that its client has not acknowledged.
pub(crate) const REPLIES: usize = 1024;
/// Most bytes of one reply.
pub(crate) const REPLY: usize = 1 << 20;
/// Most bytes of all replies and keys of a group.
const BYTES: usize = 64 << 20;
/// Most bytes of a key.
pub(crate) const KEY: usize = 256;
/// How long a key is known.
const KEY_LEASE: Micros = 3_600_000_000;
/// The longest lease of a session.
const LONGEST_LEASE: Micros = 86_400_000_000;
/// What a session, a reply or a key is counted as beyond its bytes.
const ENTRY: usize = 64;

/// A session of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SessionId {
    /// The group's number: another group of the same name knows nothing of the session.
    pub(crate) group: u64,
    /// Never used for another session of the group.
    pub(crate) number: u64,
}

/// What a request is called, however often it is sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum RequestId {
    /// By its session.
    Numbered {
        session: SessionId,
        /// From 1 on.
        number: u64,
        /// The client asks for none up to this one any more.
        acknowledged: u64,
    },
    /// By the application.
    Key(Vec<u8>),
}

/// A client's update.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Commit {
    pub(crate) id: RequestId,
    /// The user's update, encoded.
    #[serde(with = "serde_bytes")]
    pub(crate) update: Vec<u8>,
}

/// What came of an update that was carried out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Recorded {
    /// Its encoded result.
    Result(#[serde(with = "serde_bytes")] Vec<u8>),
    /// It has a result of so many bytes, which is not kept.
    TooLarge(u64),
    /// Its result could not be encoded.
    Unencodable(String),
    /// It panicked half way.
    Panicked(String),
    /// The handler of a request panicked, and nothing was applied.
    HandlerPanicked(String),
    /// A request was not answered before its deadline.
    Late,
    /// Somebody has cancelled the request.
    Cancelled,
    /// What a request would have done cannot be applied.
    NotApplied(String),
}

impl Recorded {
    /// What is kept of a result.
    pub(crate) fn of(encoded: Option<Result<Vec<u8>, String>>) -> Recorded {
        match encoded {
            Some(Ok(bytes)) if bytes.len() <= REPLY => Recorded::Result(bytes),
            Some(Ok(bytes)) => Recorded::TooLarge(bytes.len() as u64),
            Some(Err(why)) => Recorded::Unencodable(why),
            None => Recorded::Unencodable("the method has given none".to_owned()),
        }
    }

    fn bytes(&self) -> usize {
        ENTRY
            + match self {
                Recorded::Result(bytes) => bytes.len(),
                Recorded::TooLarge(_) | Recorded::Late | Recorded::Cancelled => 0,
                Recorded::Unencodable(text)
                | Recorded::Panicked(text)
                | Recorded::HandlerPanicked(text)
                | Recorded::NotApplied(text) => text.len(),
            }
    }
}

/// Why a request was not carried out, by agreement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Refusal {
    /// There is no such session any more.
    Expired,
    /// The client has said that it will not ask for this one again.
    Acknowledged,
    /// Something else was asked for under this name.
    OtherContent,
    /// The table is full.
    Full,
    /// The key is too long.
    Key,
}

/// What became of what a client has asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Committed {
    Opened(SessionId),
    Recorded(Recorded),
    Refused(Refusal),
    /// The request is under way: what comes of it is told later.
    Pending,
    /// Whether the request was still under way.
    Cancelled(bool),
}

/// What is to be done with a request.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Begun {
    /// It is the first of its name.
    CarryOut,
    Known(Recorded),
    /// It is a request that is under way.
    Pending,
    Refused(Refusal),
}

/// The table as it is in a checkpoint.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Saved {
    /// The last number of a session.
    last: u64,
    sessions: BTreeMap<u64, Session>,
    keys: BTreeMap<Vec<u8>, Keyed>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Session {
    lease: Micros,
    ends: Micros,
    acknowledged: u64,
    replies: BTreeMap<u64, Done>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Keyed {
    ends: Micros,
    done: Done,
}

/// A request that was carried out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Done {
    /// Of what was asked for.
    hash: u128,
    recorded: Recorded,
}

/// The table.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Sessions {
    saved: Saved,
    bytes: usize,
    /// The requests that are under way.
    pub(crate) pending: Pending,
    /// When the leases end.
    ends: BTreeSet<(Micros, u64)>,
    key_ends: BTreeSet<(Micros, Vec<u8>)>,
    /// This node has asked for what is over to be forgotten.
    asked: bool,
}

static NONE: Sessions = Sessions {
    saved: Saved { last: 0, sessions: BTreeMap::new(), keys: BTreeMap::new() },
    bytes: 0,
    pending: Pending::NONE,
    ends: BTreeSet::new(),
    key_ends: BTreeSet::new(),
    asked: false,
};

impl Blank for Sessions {
    fn blank() -> &'static Self {
        &NONE
    }
}

impl Sessions {
    /// A new session, with a lease from `now` on that each request renews.
    pub(crate) fn open(&mut self, group: u64, lease: Micros, now: Micros) -> Committed {
        if self.saved.sessions.len() >= SESSIONS || self.bytes + ENTRY > BYTES {
            return Committed::Refused(Refusal::Full);
        }
        self.saved.last += 1;
        let (number, lease) = (self.saved.last, lease.min(LONGEST_LEASE));
        let ends = now.saturating_add(lease);
        let session = Session { lease, ends, acknowledged: 0, replies: BTreeMap::new() };
        self.saved.sessions.insert(number, session);
        self.ends.insert((ends, number));
        self.bytes += ENTRY;
        Committed::Opened(SessionId { group, number })
    }

    /// What is to be done with this request, whose content has this hash.
    pub(crate) fn begin(&mut self, id: &RequestId, hash: u128, group: u64, now: Micros) -> Begun {
        let done = match id {
            RequestId::Numbered { session, number, acknowledged } => {
                if session.group == group {
                    self.renew(session.number, *acknowledged, now);
                }
                let named = self.saved.sessions.get(&session.number);
                let Some(session) = named.filter(|_| session.group == group) else {
                    return Begun::Refused(Refusal::Expired);
                };
                match session.replies.get(number) {
                    None if *number <= session.acknowledged => {
                        return Begun::Refused(Refusal::Acknowledged);
                    }
                    None if session.replies.len() >= REPLIES => {
                        return Begun::Refused(Refusal::Full);
                    }
                    done => done,
                }
            }
            RequestId::Key(key) if key.len() > KEY => return Begun::Refused(Refusal::Key),
            RequestId::Key(key) => match self.saved.keys.get(key) {
                None if self.saved.keys.len() >= SESSIONS => {
                    return Begun::Refused(Refusal::Full);
                }
                keyed => keyed.map(|keyed| &keyed.done),
            },
        };
        match done {
            Some(done) if done.hash == hash => Begun::Known(done.recorded.clone()),
            Some(_) => Begun::Refused(Refusal::OtherContent),
            None => match self.pending.get(&Name::from(id)) {
                Some(pending) if pending.hash == hash => Begun::Pending,
                Some(_) => Begun::Refused(Refusal::OtherContent),
                // Whatever its result is, there must be room for it.
                None if !self.has_room(REPLY + KEY) => Begun::Refused(Refusal::Full),
                None => Begun::CarryOut,
            },
        }
    }

    /// Whether so many bytes more can be kept.
    pub(crate) fn has_room(&self, bytes: usize) -> bool {
        self.bytes + self.pending.bytes() + bytes + ENTRY <= BYTES
    }

    /// What can be kept of a request's answer: a short one always, for which room was kept free.
    pub(crate) fn fitting(&self, recorded: Recorded) -> Recorded {
        match recorded {
            Recorded::Result(bytes) if bytes.len() > ANSWER && !self.has_room(bytes.len()) => {
                Recorded::TooLarge(bytes.len() as u64)
            }
            other => other,
        }
    }

    /// The lease of a session begins anew, and what its client has acknowledged is forgotten.
    fn renew(&mut self, name: u64, acknowledged: u64, now: Micros) {
        let Some(session) = self.saved.sessions.get_mut(&name) else { return };
        self.ends.remove(&(session.ends, name));
        session.ends = session.ends.max(now.saturating_add(session.lease));
        self.ends.insert((session.ends, name));
        session.acknowledged = session.acknowledged.max(acknowledged);
        while let Some(first) = session.replies.first_entry()
            && *first.key() <= session.acknowledged
        {
            self.bytes -= first.remove().recorded.bytes();
        }
    }

    /// A request was carried out.
    pub(crate) fn record(&mut self, id: &RequestId, hash: u128, recorded: Recorded, now: Micros) {
        let bytes = recorded.bytes();
        let done = Done { hash, recorded };
        match id {
            RequestId::Numbered { session, number, .. } => {
                // What is acknowledged already, nobody waits for any more.
                if let Some(session) = self.saved.sessions.get_mut(&session.number)
                    && *number > session.acknowledged
                {
                    session.replies.insert(*number, done);
                    self.bytes += bytes;
                }
            }
            RequestId::Key(key) => {
                let ends = now.saturating_add(KEY_LEASE);
                self.key_ends.insert((ends, key.clone()));
                self.bytes += bytes + key.len();
                self.saved.keys.insert(key.clone(), Keyed { ends, done });
            }
        }
    }

    /// Forgets whose lease has ended at `now`; gives the sessions.
    pub(crate) fn expire(&mut self, now: Micros) -> Vec<u64> {
        self.asked = false;
        let mut over = Vec::new();
        while let Some(name) = ended(&mut self.ends, now) {
            if let Some(session) = self.saved.sessions.remove(&name) {
                self.bytes -= session.bytes();
                over.push(name);
            }
        }
        while let Some(key) = ended(&mut self.key_ends, now) {
            if let Some(keyed) = self.saved.keys.remove(&key) {
                self.bytes -= keyed.done.recorded.bytes() + key.len();
            }
        }
        over
    }

    /// When the first lease or deadline ends that this node has not asked to be ended.
    pub(crate) fn due(&self) -> Option<Micros> {
        if self.asked {
            return None;
        }
        let session = self.ends.first().map(|(ends, _)| *ends);
        let key = self.key_ends.first().map(|(ends, _)| *ends);
        session.into_iter().chain(key).chain(self.pending.due()).min()
    }

    /// Whether a lease or a deadline has ended at `now`, which is asked for from here on.
    pub(crate) fn ask(&mut self, now: Micros) -> bool {
        let due = self.due().is_some_and(|due| due <= now);
        self.asked |= due;
        due
    }

    /// Another view has begun: what this node has asked for may have gone with the one before.
    pub(crate) fn installed(&mut self) {
        self.asked = false;
    }

    /// What all replicas agree on.
    pub(crate) fn agreed(&self) -> &Saved {
        &self.saved
    }

    /// For a checkpoint.
    pub(crate) fn saved(&self) -> Saved {
        self.saved.clone()
    }
}

/// Takes off what has ended first, if it has at `now`.
fn ended<T: Ord>(ends: &mut BTreeSet<(Micros, T)>, now: Micros) -> Option<T> {
    ends.first().filter(|(ends, _)| *ends <= now)?;
    ends.pop_first().map(|(_, name)| name)
}

impl Session {
    fn bytes(&self) -> usize {
        ENTRY + self.replies.values().map(|done| done.recorded.bytes()).sum::<usize>()
    }
}

impl Saved {
    /// The table of a checkpoint, with the requests that were under way.
    pub(crate) fn sessions(self, pending: Pending) -> Sessions {
        let sessions = self.sessions.iter();
        let ends = sessions.map(|(number, session)| (session.ends, *number)).collect();
        let keys = self.keys.iter();
        let key_ends = keys.map(|(key, keyed)| (keyed.ends, key.clone())).collect();
        let keyed = |(key, keyed): (&Vec<u8>, &Keyed)| keyed.done.recorded.bytes() + key.len();
        let bytes = self.sessions.values().map(Session::bytes).sum::<usize>()
            + self.keys.iter().map(keyed).sum::<usize>();
        Sessions { saved: self, bytes, ends, key_ends, pending, asked: false }
    }
}

#[cfg(test)]
#[path = "sessions/tests.rs"]
mod tests;
