//! What nodes and clients ask each other, and what they answer.

use serde::{Deserialize, Serialize};
use vsync_core::wire::MemberId;

use crate::ask::{Missing, Target};
use crate::error::Sight;
use crate::gateway::Request;
use crate::runtime::ring::Position;
use crate::runtime::sessions::Committed;
use crate::seen::Seen;

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
    Query(ClientQuery),
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
    /// Go on with the work of this number: what came of it is still wanted.
    Again(u64),
    /// How far does your state go, as this member of a group? Only nodes ask so.
    Seen {
        /// The group's name.
        group: String,
        /// Who is asked.
        member: MemberId,
    },
}

/// A query of a client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ClientQuery {
    /// The group's name.
    pub(crate) group: String,
    /// Identity of the type that the client expects.
    pub(crate) schema: u64,
    /// Hash of the query's line in the client's card; of a share with whether it is scattered.
    pub(crate) line: u64,
    /// Method id and arguments.
    #[serde(with = "serde_bytes")]
    pub(crate) query: Vec<u8>,
    /// What the state has to have in it.
    pub(crate) seen: Option<Seen>,
    /// By whom it is to be answered.
    pub(crate) by: By,
}

/// By whom a client's query is to be answered, and from which state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum By {
    /// Whoever is asked, or this one.
    Any(Option<Target>),
    /// The same, from a state that has in it all that was completed before it was asked.
    Latest(Option<Target>),
    /// This member: for a share, by its number, of so many.
    Share(MemberId, (u32, u32)),
}

impl By {
    /// Whether that is perhaps another than the member that is asked.
    pub(crate) fn is_another(&self) -> bool {
        !matches!(self, By::Any(None) | By::Latest(None))
    }
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
    /// A query is being worked on: it is asked for again under this number, of the same node.
    Working(u64),
    /// There is no room for the answer, of so many bytes of answers that this client has not read.
    Unread {
        /// Bytes that may be on their way to it.
        limit: u64,
    },
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

    /// There is no room for the answer.
    pub(crate) fn unread() -> Answer {
        Answer::Unread { limit: super::UNREAD as u64 }
    }

    /// About as many bytes as it has: of what may be long, the long part.
    pub(crate) fn size(&self) -> usize {
        match self {
            Answer::Result { bytes, .. } => bytes.len(),
            _ => 0,
        }
    }
}
