//! Finding the cluster through seeds, and forming one where all of them wait for it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, timeout, timeout_at};
use vsync_net::{ConnectError, PeerId};

use super::QUESTION;
use super::core::Core;
use crate::runtime::rpc::{Answer, Ask, Contact};

/// How long the other seeds are waited for once one has told of a cluster: one of them may tell of
/// another.
const GRACE: Duration = Duration::from_millis(250);

/// Why a seed did not help.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    pub(crate) why: String,
    pub(crate) kind: FailureKind,
}

/// What may still come of a seed that did not help.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FailureKind {
    /// Trying again may help.
    Passing,
    /// Trying again will not help.
    Lasting,
    /// It waits for a cluster, as this node does.
    Waiting,
    /// It is in a cluster, which has not let this node in so far.
    Inside,
    /// It is in a cluster of so many nodes, and another seed is in another.
    Apart { nodes: usize },
    /// It has answered that its cluster has no quorum.
    Blocked,
}

impl Failure {
    /// Nothing has come from this address so far.
    pub(crate) fn unreached() -> Failure {
        Failure::passing("nobody answers there")
    }

    /// It is connected, and has not answered so far.
    fn unanswered() -> Failure {
        Failure::passing("is there, but has not answered in time")
    }

    fn passing(why: impl Into<String>) -> Failure {
        Failure { why: why.into(), kind: FailureKind::Passing }
    }

    fn apart(cluster: &Cluster) -> Failure {
        let nodes = cluster.members.len();
        let why = "is in another cluster of the same secret".to_owned();
        Failure { why, kind: FailureKind::Apart { nodes } }
    }

    fn waiting() -> Failure {
        Failure { why: "is in no cluster yet".to_owned(), kind: FailureKind::Waiting }
    }

    /// It knows a cluster, in which this node is not yet: for this reason.
    pub(super) fn outside(waiting: &str) -> Failure {
        let why = format!("is in a cluster, which has not let this node in: {waiting}");
        Failure { why, kind: FailureKind::Inside }
    }

    /// It is in a cluster that can let nobody in.
    fn no_quorum(kind: FailureKind) -> Failure {
        Failure { why: "is in a cluster that has no quorum of its nodes".to_owned(), kind }
    }

    /// It is this node.
    pub(crate) fn itself() -> Failure {
        Failure { why: "is this node itself".to_owned(), kind: FailureKind::Lasting }
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
        let kind = if lasting { FailureKind::Lasting } else { FailureKind::Passing };
        Failure { why: error.to_string(), kind }
    }
}

/// What a node says of its cluster.
#[derive(Debug)]
pub(crate) struct Cluster {
    pub(super) peer: PeerId,
    /// The active members of the directory's group; nobody where it is in no cluster.
    pub(crate) members: Vec<Contact>,
    blocked: bool,
    /// Which it is.
    pub(super) id: Option<u64>,
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

impl Survey {
    /// Takes the members of the cluster that the seeds are in, if it is one.
    fn decide(&mut self, found: Vec<(String, Cluster)>) {
        let ids: BTreeSet<u64> = found.iter().filter_map(|(_, cluster)| cluster.id).collect();
        if ids.len() > 1 {
            let apart = found.iter().map(|(seed, cluster)| (seed.clone(), Failure::apart(cluster)));
            self.failed.extend(apart);
            return;
        }
        let (blocked, open): (Vec<_>, Vec<_>) =
            found.into_iter().partition(|(_, cluster)| cluster.blocked);
        // Where others see a quorum, who does not is cut off from it.
        let kind = if open.is_empty() { FailureKind::Blocked } else { FailureKind::Passing };
        let failure = |(seed, _): &(String, _)| (seed.clone(), Failure::no_quorum(kind));
        self.failed.extend(blocked.iter().map(failure));
        if let Some((teller, cluster)) = open.into_iter().next() {
            self.members = cluster.members;
            self.teller = Some(teller);
        } else if let Some((_, cluster)) = blocked.into_iter().next() {
            self.members = cluster.members;
        }
    }
}

/// What the next question has come to, in time.
async fn next<T: 'static>(
    questions: &mut JoinSet<T>,
    until: Option<Instant>,
) -> Option<Result<T, JoinError>> {
    match until {
        Some(at) => timeout_at(at, questions.join_next()).await.ok().flatten(),
        None => questions.join_next().await,
    }
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
                let asked = core.ask_cluster(&address).await;
                (address, asked)
            });
        }
        let mut survey = Survey::default();
        let mut found: Vec<(String, Cluster)> = Vec::new();
        let mut until = None;
        while let Some(asked) = next(&mut questions, until).await {
            match asked {
                Ok((address, Ok(cluster))) if cluster.members.is_empty() => {
                    survey.failed.insert(address, Failure::waiting());
                    survey.waiting.insert(cluster.peer);
                }
                Ok((address, Ok(cluster))) => match (self.cluster.get(), cluster.id) {
                    (Some(own), Some(other)) if *own != other => {
                        self.strangers.meet(&address, cluster.peer, cluster.members.len());
                        let why = "is in another cluster than this node was";
                        survey.failed.insert(address, Failure::passing(why));
                    }
                    (own, _) => {
                        if !cluster.blocked {
                            let grace = if own.is_some() { Duration::ZERO } else { GRACE };
                            until.get_or_insert(Instant::now() + grace);
                        }
                        found.push((address, cluster));
                    }
                },
                Ok((address, Err(failure))) => drop(survey.failed.insert(address, failure)),
                Err(error) => tracing::error!(%error, "a question to a seed failed"),
            }
        }
        survey.decide(found);
        survey
    }

    /// Who answers at this address, before long, and whom it knows in the directory's group.
    pub(crate) async fn ask_cluster(&self, address: &str) -> Result<Cluster, Failure> {
        let deadline = Instant::now() + QUESTION;
        let connected = timeout_at(deadline, self.transport.connect(address)).await;
        let peer = connected.map_err(|_| Failure::unreached())??;
        let answer = timeout_at(deadline, self.rpc.ask(peer.id, Ask::Cluster)).await;
        match answer.map_err(|_| Failure::unanswered())? {
            Ok(Answer::Cluster { members, blocked, cluster: id }) => {
                Ok(Cluster { peer: peer.id, members, blocked, id })
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
    pub(crate) expect: Option<usize>,
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

    /// What a seed says that is in a cluster, if one of this number.
    fn cluster(id: Option<u64>, members: u64, blocked: bool) -> Cluster {
        let contact = |node| Contact { node, address: format!("n{node}") };
        let members = (0..members).map(contact).collect();
        Cluster { peer: PeerId(1), members, blocked, id }
    }

    fn decided<const N: usize>(found: [Cluster; N]) -> Survey {
        let mut survey = Survey::default();
        survey.decide((0..).map(|seed| format!("s{seed}")).zip(found).collect());
        survey
    }

    fn kinds(survey: &Survey) -> Vec<(&str, FailureKind)> {
        survey.failed.iter().map(|(seed, failure)| (seed.as_str(), failure.kind)).collect()
    }

    #[test]
    fn two_clusters_are_two_though_one_of_them_has_no_quorum() {
        let apart = |nodes| FailureKind::Apart { nodes };
        for blocked in [[false, false], [false, true], [true, false], [true, true]] {
            let [one, two] = blocked;
            let survey = decided([cluster(Some(7), 3, one), cluster(Some(8), 5, two)]);
            assert!(survey.members.is_empty() && survey.teller.is_none(), "{blocked:?}");
            assert_eq!(kinds(&survey), [("s0", apart(3)), ("s1", apart(5))], "{blocked:?}");
        }
    }

    #[test]
    fn who_is_cut_off_from_its_cluster_is_asked_only_where_nobody_else_is() {
        let cut_off = || cluster(Some(7), 3, true);
        for found in [[cut_off(), cluster(Some(7), 2, false)], [cut_off(), cluster(None, 2, false)]]
        {
            let survey = decided(found);
            assert_eq!((survey.members.len(), survey.teller.as_deref()), (2, Some("s1")));
            assert_eq!(kinds(&survey), [("s0", FailureKind::Passing)]);
        }
        let survey = decided([cut_off(), cut_off()]);
        assert_eq!((survey.members.len(), &survey.teller), (3, &None));
        let both = [("s0", FailureKind::Blocked), ("s1", FailureKind::Blocked)];
        assert_eq!(kinds(&survey), both);
    }
}
