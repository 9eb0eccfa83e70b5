//! Finding the cluster through seeds, and forming one where all of them wait for it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::task::JoinSet;
use tokio::time::timeout;
use vsync_net::{ConnectError, PeerId};

use super::QUESTION;
use super::core::Core;
use crate::runtime::rpc::{Answer, Ask, Contact};

/// Why a seed did not help.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    pub(crate) why: String,
    /// Trying again will not help.
    pub(crate) lasting: bool,
    /// Whether it has answered that its cluster has no quorum.
    pub(crate) blocked: bool,
}

impl Failure {
    /// The seed has not answered so far.
    pub(crate) fn unanswered() -> Failure {
        Failure::passing("no answer in time")
    }

    fn passing(why: impl Into<String>) -> Failure {
        Failure { why: why.into(), lasting: false, blocked: false }
    }

    /// It knows a cluster, in which this node is not yet: for this reason.
    pub(super) fn outside(waiting: &str) -> Failure {
        Failure::passing(format!("is in a cluster, which has not let this node in: {waiting}"))
    }

    /// It is in a cluster that can let nobody in.
    fn no_quorum() -> Failure {
        let why = "is in a cluster that has no quorum of its nodes";
        Failure { blocked: true, ..Failure::passing(why) }
    }

    /// It is this node.
    pub(crate) fn itself() -> Failure {
        Failure { lasting: true, ..Failure::passing("is this node itself") }
    }
}

impl From<ConnectError> for Failure {
    fn from(error: ConnectError) -> Failure {
        let lasting = matches!(
            error,
            ConnectError::WrongSecret { .. }
                | ConnectError::ProtocolVersion { .. }
                | ConnectError::BadAddress { .. }
                | ConnectError::Itself { .. }
        );
        Failure { why: error.to_string(), lasting, blocked: false }
    }
}

/// What a node says of its cluster.
#[derive(Debug)]
pub(crate) struct Cluster {
    peer: PeerId,
    /// The active members of the directory's group; nobody where it is in no cluster.
    pub(crate) members: Vec<Contact>,
    blocked: bool,
}

/// What the seeds say.
#[derive(Debug, Default)]
pub(crate) struct Survey {
    /// The active members of the directory's group, as the first one knows them that has any; of
    /// those that see no quorum only if there is no other.
    pub(crate) members: Vec<Contact>,
    /// Who has told them.
    pub(crate) teller: Option<String>,
    /// Why the others did not help, by address.
    pub(crate) failed: BTreeMap<String, Failure>,
    /// Who is in no cluster either.
    pub(crate) waiting: BTreeSet<PeerId>,
}

impl Core {
    /// Asks the nodes known and the seeds, all at once, who is in the directory's group.
    pub(crate) async fn survey(self: &Arc<Core>) -> Survey {
        let mut addresses: BTreeSet<String> =
            self.known().iter().map(|contact| contact.address.clone()).collect();
        addresses.extend(self.seeds.iter().cloned());
        addresses.remove(&self.transport.local().addr);
        let mut questions = JoinSet::new();
        for address in addresses {
            let core = Arc::clone(self);
            questions.spawn(async move {
                let asked = timeout(QUESTION, core.ask_cluster(&address)).await;
                (address, asked.unwrap_or_else(|_| Err(Failure::unanswered())))
            });
        }
        let mut survey = Survey::default();
        while let Some(asked) = questions.join_next().await {
            match asked {
                Ok((address, Ok(Cluster { members, blocked, .. }))) if !members.is_empty() => {
                    survey.members = members;
                    if blocked {
                        survey.failed.insert(address, Failure::no_quorum());
                        continue;
                    }
                    survey.teller = Some(address);
                    // Others may be cut off from the quorum, but it is there.
                    survey.failed.values_mut().for_each(|failure| failure.blocked = false);
                    return survey;
                }
                Ok((address, Ok(Cluster { peer, .. }))) => {
                    survey.failed.insert(address, Failure::passing("is in no cluster yet"));
                    survey.waiting.insert(peer);
                }
                Ok((address, Err(failure))) => drop(survey.failed.insert(address, failure)),
                Err(error) => tracing::error!(%error, "a question to a seed failed"),
            }
        }
        survey
    }

    /// Who answers at this address, and whom it knows in the directory's group.
    pub(crate) async fn ask_cluster(&self, address: &str) -> Result<Cluster, Failure> {
        let peer = self.transport.connect(address).await?;
        match self.rpc.ask(peer.id, Ask::Cluster).await {
            Ok(Answer::Cluster { members, blocked }) => {
                Ok(Cluster { peer: peer.id, members, blocked })
            }
            Ok(other) => Err(Failure::passing(format!("answered {other:?}"))),
            Err(_) => Err(Failure::passing("the connection broke")),
        }
    }

    /// Whether this node is the one that forms the cluster: as many nodes as expected wait for it,
    /// this one has the lowest id of them, and all of them give it their only vote.
    pub(crate) async fn forms(&self, waiting: &BTreeSet<PeerId>) -> bool {
        let Some(expect) = self.votes.expect else { return false };
        let me = self.transport.local().id;
        let lowest = waiting.iter().all(|peer| me < *peer);
        // Who has been in a cluster, and was excluded from it, never forms another.
        let fresh = self.directory.get().is_none();
        if !fresh || waiting.len() + 1 < expect || !lowest || !self.votes.give(me) {
            return false;
        }
        let mut votes = 1;
        for peer in waiting {
            let asked = timeout(QUESTION, self.rpc.ask(*peer, Ask::Vote)).await;
            votes += usize::from(matches!(asked, Ok(Ok(Answer::Vote(true)))));
        }
        votes >= expect
    }
}

/// A node's one vote on who forms the cluster. It is given once per process: a candidate that dies
/// after it was elected leaves the others waiting, which an operator sees, never two clusters.
#[derive(Debug)]
pub(crate) struct Votes {
    expect: Option<usize>,
    given: Mutex<Option<PeerId>>,
}

impl Votes {
    /// `expect` nodes form the cluster; without it this node neither votes nor forms one.
    pub(crate) fn new(expect: Option<usize>) -> Votes {
        Votes { expect, given: Mutex::default() }
    }

    /// Whether the vote goes to `candidate`.
    pub(crate) fn give(&self, candidate: PeerId) -> bool {
        let mut given = self.given.lock().unwrap_or_else(PoisonError::into_inner);
        self.expect.is_some() && *given.get_or_insert(candidate) == candidate
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vote_is_given_once() {
        let votes = Votes::new(Some(3));
        assert!(votes.give(PeerId(7)));
        assert!(!votes.give(PeerId(5)));
        assert!(votes.give(PeerId(7)));
        assert!(!Votes::new(None).give(PeerId(7)));
    }
}
