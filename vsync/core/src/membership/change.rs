//! The decision of a view's successor: single-decree consensus among the view's active members.
//!
//! Paxos (Lamport, *The Part-Time Parliament*) with ballots `(n, rank of the leader)`, at most one
//! proposal a ballot; a promise also freezes its member in the view (S1).

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use crate::bugs::{Bug, Bugs};
use crate::seldom::Blank;
use crate::wire::messages::{Acceptance, Promise, Proposal};
use crate::wire::{Ballot, Rank, View};

use super::is_quorum;

/// One member's part in deciding its view's successor.
#[derive(Clone, Debug)]
pub(crate) struct Change {
    /// The highest ballot promised; the default before the first.
    pub(crate) promised: Ballot,
    /// Whether the application was told that this member has stopped.
    pub(crate) told: bool,
    /// The proposal of the highest ballot accepted.
    pub(crate) accepted: Option<Box<Acceptance>>,
    /// The highest ballot number seen.
    pub(crate) highest: u64,
    /// The ballot that this member leads.
    pub(crate) lead: Option<Box<Lead>>,
    /// A proposal to accept, as soon as all of its cut is here.
    pub(crate) holding: Option<Box<(Ballot, Bytes, Proposal)>>,
    /// The decision, to be installed as soon as all of its cut is here.
    pub(crate) installing: Option<Box<(Bytes, Proposal)>>,
    /// How many ballots led here were overtaken.
    pub(crate) overtaken: u64,
}

/// A ballot under way.
#[derive(Clone, Debug)]
pub(crate) struct Lead {
    pub(crate) ballot: Ballot,
    /// Ranks that must go (L1).
    pub(crate) evict: BTreeSet<Rank>,
    pub(crate) phase: Phase,
}

/// How far a ballot has come.
#[derive(Clone, Debug)]
pub(crate) enum Phase {
    /// Waiting for promises, then for what promisers have and the leader lacks.
    Promising { promises: BTreeMap<Rank, Promise> },
    /// The one proposal of this ballot is out.
    Proposing { proposal: Bytes, accepted: BTreeSet<Rank> },
}

static NONE: Change = Change {
    promised: Ballot { n: 0, leader: 0 },
    told: false,
    accepted: None,
    highest: 0,
    lead: None,
    holding: None,
    installing: None,
    overtaken: 0,
};

impl Blank for Change {
    fn blank() -> &'static Self {
        &NONE
    }

    fn is_blank(&self) -> bool {
        let Change { promised, told, accepted, highest, lead, holding, installing, overtaken } =
            self;
        *promised == Ballot::default()
            && !told
            && accepted.is_none()
            && *highest == 0
            && lead.is_none()
            && holding.is_none()
            && installing.is_none()
            && *overtaken == 0
    }
}

impl Change {
    /// Whether this member has stopped taking part in the view, for ever (S1, S2).
    pub(crate) fn is_frozen(&self) -> bool {
        self.promised != Ballot::default() || self.installing.is_some()
    }

    /// Somebody knows of a ballot.
    pub(crate) fn saw(&mut self, ballot: Ballot) {
        self.highest = self.highest.max(ballot.n);
    }

    /// Promises a ballot, unless a higher one was promised.
    pub(crate) fn promise(&mut self, ballot: Ballot, bugs: Bugs) -> bool {
        self.saw(ballot);
        if ballot < self.promised && !bugs.has(Bug::AcceptLowerBallot) {
            return false;
        }
        if ballot > self.promised {
            self.holding = None;
            if bugs.has(Bug::ForgetAccepted) {
                self.accepted = None;
            }
        }
        self.promised = ballot;
        true
    }

    /// The ballot that this member leads and that nobody has overtaken here.
    pub(crate) fn leading(&mut self) -> Option<&mut Lead> {
        let promised = self.promised;
        self.lead.as_deref_mut().filter(|lead| lead.ballot == promised)
    }

    /// Records that this member holds a proposal and has accepted it.
    pub(crate) fn accept(&mut self, ballot: Ballot, proposal: Bytes) {
        self.accepted = Some(Box::new(Acceptance { ballot, proposal }));
    }
}

impl Lead {
    /// Whether enough members have promised: a quorum, and everybody who is not gone.
    pub(crate) fn has_promises(
        &self,
        view: &View,
        bugs: Bugs,
        gone: impl Fn(Rank) -> bool,
    ) -> bool {
        let Phase::Promising { promises } = &self.phase else {
            return false;
        };
        is_quorum(view, bugs, |rank| promises.contains_key(&rank))
            && (0..view.members.len()).all(|rank| {
                promises.contains_key(&rank) || gone(rank) || self.evict.contains(&rank)
            })
    }

    /// The accepted proposal of the highest ballot among the promises: it is proposed again byte
    /// for byte, whoever has died or turned up since (S8).
    pub(crate) fn adopted(&self) -> Option<Acceptance> {
        let Phase::Promising { promises } = &self.phase else {
            return None;
        };
        promises
            .values()
            .filter_map(|promise| promise.accepted.as_ref())
            .max_by_key(|acceptance| acceptance.ballot)
            .cloned()
    }

    /// Whether only half of the members have accepted: rank 0 decides.
    pub(crate) fn is_tied(&self, view: &View) -> bool {
        match &self.phase {
            Phase::Promising { .. } => false,
            Phase::Proposing { accepted, .. } => {
                2 * accepted.iter().filter(|&&rank| view.is_active(rank)).count() == view.active
            }
        }
    }

    /// Whether a quorum has accepted: the proposal is decided.
    pub(crate) fn is_decided(&self, view: &View, bugs: Bugs) -> bool {
        match &self.phase {
            Phase::Promising { .. } => false,
            Phase::Proposing { accepted, .. } => {
                is_quorum(view, bugs, |rank| accepted.contains(&rank))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;
    use crate::seldom::lasts;

    /// What was promised or accepted is never forgotten while the view lasts, nor what else there
    /// is.
    #[test]
    fn nothing_of_a_change_is_given_back() {
        let (ballot, bytes) = (Ballot { n: 1, leader: 0 }, Bytes::new());
        let view = View { number: 2, members: Vec::new(), active: 0 };
        let (left, cut, tail) = (Vec::new(), Vec::new(), Vec::new());
        let proposal = || Proposal {
            view: view.clone(),
            left: left.clone(),
            cut: cut.clone(),
            base: 0,
            tail: tail.clone(),
            time: 0,
        };
        let lead = || {
            let phase = Phase::Promising { promises: BTreeMap::new() };
            Lead { ballot, evict: BTreeSet::new(), phase }
        };
        let accepted = || Acceptance { ballot, proposal: bytes.clone() };
        assert!(!lasts::<Change>(|_| ()));
        assert!(lasts::<Change>(|change| change.promised = ballot));
        assert!(lasts::<Change>(|change| change.told = true));
        assert!(lasts::<Change>(|change| change.accepted = Some(Box::new(accepted()))));
        assert!(lasts::<Change>(|change| change.saw(ballot)));
        assert!(lasts::<Change>(|change| change.lead = Some(Box::new(lead()))));
        let holding = || Box::new((ballot, bytes.clone(), proposal()));
        assert!(lasts::<Change>(|change| change.holding = Some(holding())));
        let installing = || Box::new((bytes.clone(), proposal()));
        assert!(lasts::<Change>(|change| change.installing = Some(installing())));
        assert!(lasts::<Change>(|change| change.overtaken = 1));
    }
}
