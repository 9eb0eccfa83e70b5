//! [`Policy`]: who coordinates a request, as all members agree.

use std::collections::BTreeMap;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use xxhash_rust::xxh3::xxh3_64;

use crate::view::{Member, MemberId, View};

/// Who coordinates the requests of a type: `#[replicated(requests = "…")]` on its struct; and one
/// request otherwise: `#[request(policy = "…")]` on its method.
///
/// Each is a function of what all members agree on, so nobody has to ask anybody. A request keeps
/// its coordinator while that is an active member ([`Named`](Policy::Named) is asked anew in each
/// view): what has been begun is not thrown away because somebody joins.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub enum Policy {
    /// The first by rendezvous hash of the request, or of its `key`: even, and a failure moves only
    /// the requests of whoever failed. The default.
    #[default]
    Rendezvous,
    /// The member of rank 0, for all requests: one primary, and all others are its backups, warm
    /// ones unless they are [cold](crate::GroupBuilder::cold).
    Primary,
    /// Who has the fewest requests when this one is ordered.
    Load,
    /// Every active member runs every request, and the first `Commit` in the order wins: a failure
    /// costs no time. Handlers that ask the world outside ask it several times.
    Active,
    /// The member of the rank that this function gives; the rendezvous one if there is none of that
    /// rank, or if it panics. It must give the same at all members, from these arguments alone.
    Named(fn(&RequestInfo<'_>, &View) -> usize),
}

/// What a [`Policy::Named`] chooses by.
#[derive(Clone, Copy, Debug)]
pub struct RequestInfo<'a> {
    pub(crate) method: &'a str,
    pub(crate) hash: u64,
    pub(crate) key: Option<u64>,
    pub(crate) loads: &'a BTreeMap<MemberId, usize>,
}

impl RequestInfo<'_> {
    /// The request's method.
    pub fn method(&self) -> &str {
        self.method
    }

    /// A hash of the request's name: what its client calls it.
    pub fn hash(&self) -> u64 {
        self.hash
    }

    /// A hash of the argument that `#[request(key = …)]` names.
    pub fn key(&self) -> Option<u64> {
        self.key
    }

    /// How many requests this member coordinates.
    pub fn load(&self, member: MemberId) -> usize {
        self.loads.get(&member).copied().unwrap_or_default()
    }

    /// What the request goes by: its key if it has one.
    fn place(&self) -> u64 {
        self.key.unwrap_or(self.hash)
    }
}

impl fmt::Display for Policy {
    /// As it is in a schema card.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Policy::Rendezvous => "rendezvous",
            Policy::Primary => "primary",
            Policy::Load => "load",
            Policy::Active => "active",
            Policy::Named(_) => "named",
        })
    }
}

impl Policy {
    /// Whether more than one member runs a request at a time.
    pub(crate) fn is_active(self) -> bool {
        matches!(self, Policy::Active)
    }

    /// The member that coordinates a request in this view: of the active ones, the best placed.
    /// `before` did so far. Nobody where there is no member, or all are to run it.
    pub(crate) fn choose(
        self,
        info: &RequestInfo<'_>,
        view: &View,
        before: Option<MemberId>,
    ) -> Option<MemberId> {
        let is_there = |member: &MemberId| view.active().iter().any(|other| other.id == *member);
        let first = match self {
            Policy::Active => return None,
            Policy::Named(named) => {
                let rank = catch_unwind(AssertUnwindSafe(|| named(info, view))).ok();
                rank.and_then(|rank| view.active().get(rank)).map(|member| member.id)
            }
            _ if before.is_some_and(|before| is_there(&before)) => before,
            Policy::Primary => view.coordinator().map(|member| member.id),
            Policy::Load => {
                let load = |member: &Member| (info.load(member.id), weight(info.place(), member));
                view.active().iter().min_by_key(|member| load(member)).map(|member| member.id)
            }
            Policy::Rendezvous => None,
        };
        first.or_else(|| ranked(info.place(), view).first().map(|member| member.id))
    }
}

/// The active members by rendezvous hash of a place: whoever is first without one of them was the
/// second before, or stays the first.
pub(crate) fn ranked(place: u64, view: &View) -> Vec<&Member> {
    let mut members: Vec<&Member> = view.active().iter().collect();
    members.sort_by_key(|member| weight(place, member));
    members
}

/// Smallest wins.
fn weight(place: u64, member: &Member) -> (u64, u64) {
    let node = member.id.node.0;
    let bytes = [place.to_le_bytes(), node.to_le_bytes()].concat();
    (xxh3_64(&bytes), node)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use vsync_core::wire::{self, NodeId};

    use super::*;

    fn view(nodes: &[u64], joining: usize) -> View {
        let member = |node: &u64| wire::Member {
            id: MemberId { node: NodeId(*node), entry: 1 },
            meta: bytes::Bytes::new(),
            nonce: 0,
            transfer: None,
        };
        let members: Vec<_> = nodes.iter().map(member).collect();
        let active = members.len() - joining;
        View::new(&wire::View { number: 1, active, members }, &[], &[], &[])
    }

    fn info(loads: &BTreeMap<MemberId, usize>, hash: u64) -> RequestInfo<'_> {
        RequestInfo { method: "price", hash, key: None, loads }
    }

    fn chosen(policy: Policy, hash: u64, view: &View) -> u64 {
        let loads = BTreeMap::new();
        policy.choose(&info(&loads, hash), view, None).expect("somebody").node.0
    }

    proptest! {
        /// Who is gone takes only its own requests along, and each of those goes to the next in
        /// the cohort.
        #[test]
        fn a_failure_moves_no_more_than_it_has_to(
            nodes in prop::collection::btree_set(any::<u64>(), 2..9),
            gone in any::<prop::sample::Index>(),
            hashes in prop::collection::vec(any::<u64>(), 1..200),
        ) {
            let nodes: Vec<u64> = nodes.into_iter().collect();
            let gone = nodes[gone.index(nodes.len())];
            let left: Vec<u64> = nodes.iter().copied().filter(|node| *node != gone).collect();
            let (before, after) = (view(&nodes, 0), view(&left, 0));
            for hash in hashes {
                let first = chosen(Policy::Rendezvous, hash, &before);
                let then = chosen(Policy::Rendezvous, hash, &after);
                if first == gone {
                    prop_assert_eq!(then, ranked(hash, &before)[1].id.node.0);
                } else {
                    prop_assert_eq!(then, first);
                }
            }
        }

        /// The order of the members in the view makes no difference.
        #[test]
        fn ranks_do_not_matter(
            nodes in prop::collection::btree_set(any::<u64>(), 1..9),
            hash in any::<u64>(),
        ) {
            let up: Vec<u64> = nodes.iter().copied().collect();
            let down: Vec<u64> = nodes.iter().rev().copied().collect();
            let there = |nodes: &[u64]| chosen(Policy::Rendezvous, hash, &view(nodes, 0));
            prop_assert_eq!(there(&up), there(&down));
        }
    }

    #[test]
    fn requests_spread_evenly_and_never_to_joiners() {
        let view = view(&[1, 2, 3, 4, 5], 1);
        let mut shares = BTreeMap::<u64, u32>::new();
        for hash in 0..4000 {
            *shares
                .entry(chosen(Policy::Rendezvous, xxh3_64(&[hash as u8]) ^ hash, &view))
                .or_default() += 1;
        }
        assert_eq!(shares.len(), 4, "{shares:?}");
        assert!(shares.values().all(|share| (800..1200).contains(share)), "{shares:?}");
    }

    #[test]
    fn who_has_begun_goes_on_while_it_is_there() {
        let loads = BTreeMap::new();
        let (small, large) = (view(&[1, 2], 0), view(&[1, 2, 3, 4, 5, 6, 7, 8], 0));
        for policy in [Policy::Rendezvous, Policy::Primary, Policy::Load] {
            for hash in 0..50 {
                let first = policy.choose(&info(&loads, hash), &small, None);
                assert_eq!(policy.choose(&info(&loads, hash), &large, first), first);
                let gone = Some(MemberId { node: NodeId(99), entry: 1 });
                assert_eq!(policy.choose(&info(&loads, hash), &small, gone), first);
            }
        }
    }

    #[test]
    fn each_policy_chooses_as_it_says() {
        let view = view(&[30, 20, 10], 0);
        let id = |node| MemberId { node: NodeId(node), entry: 1 };
        let loads = BTreeMap::from([(id(30), 2), (id(20), 1), (id(10), 2)]);
        for hash in 0..20 {
            let choose = |policy: Policy| policy.choose(&info(&loads, hash), &view, None);
            assert_eq!(choose(Policy::Primary), Some(id(30)), "the first rank");
            assert_eq!(choose(Policy::Load), Some(id(20)), "the fewest");
            assert_eq!(choose(Policy::Active), None, "everybody");
            assert_eq!(choose(Policy::Named(|_, view| view.size() - 1)), Some(id(10)));
            let rendezvous = choose(Policy::Rendezvous);
            assert_eq!(choose(Policy::Named(|_, _| 3)), rendezvous, "there is no such rank");
            assert_eq!(choose(Policy::Named(|_, _| panic!("no"))), rendezvous);
        }
        let keyed = |hash| RequestInfo { key: Some(7), ..info(&loads, hash) };
        let by_key = |hash| Policy::Rendezvous.choose(&keyed(hash), &view, None);
        assert!((0..20).all(|hash| by_key(hash) == by_key(0)), "the key decides");
    }
}
