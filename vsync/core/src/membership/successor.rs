//! Who is in the next view.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use crate::bugs::{Bug, Bugs};
use crate::wire::messages::{JoinRequest, Promise};
use crate::wire::{Left, LeftReason, Member, MemberId, Rank, Transfer, View, ViewNumber};

/// Forms the successor of a view from the promises of its members.
///
/// Members: promisers − leavers − evicted + joiners. Active: active promisers, and joining
/// promisers whose own promise says loaded (L9), but no more of these than active members are kept.
/// If none would be active the lowest leaver stays while there are joiners; else the successor has
/// no members and the group is dissolved (L8).
pub(crate) fn successor(
    view: &View,
    promises: &BTreeMap<Rank, Promise>,
    evict: &BTreeSet<Rank>,
    joins: &[JoinRequest],
    bugs: Bugs,
) -> (View, Vec<Left>) {
    let number = view.number + 1;
    // A node that wants in anew has forgotten its old membership, whatever it promised.
    let again = |rank: Rank| joins.iter().any(|join| join.node == view.members[rank].id.node);
    let could = |rank: Rank| promises.contains_key(&rank) && !evict.contains(&rank) && !again(rank);
    let stays =
        |rank: Rank| could(rank) && promises.get(&rank).is_some_and(|promise| !promise.leaving);
    let mut active: Vec<Rank> = (0..view.active).filter(|&rank| stays(rank)).collect();
    let waiting: Vec<Rank> = (view.active..view.members.len()).filter(|&r| stays(r)).collect();
    let needed = !(waiting.is_empty() && joins.is_empty()) || bugs.has(Bug::NeverDissolve);
    if active.is_empty() && needed {
        active.extend((0..view.active).find(|&rank| could(rank)));
    }
    let cap = active.len();
    let loaded = |rank: &Rank| {
        promises.get(rank).is_some_and(|promise| promise.loaded || bugs.has(Bug::PromoteUnloaded))
    };
    let promoted: Vec<Rank> = waiting.iter().copied().filter(loaded).take(cap).collect();
    let mut members: Vec<Member> = Vec::new();
    let mut ranks: Vec<Rank> = active.iter().chain(&promoted).copied().collect();
    if bugs.has(Bug::PromotedFirst) {
        ranks.rotate_left(active.len());
    }
    for rank in ranks {
        members.push(Member { transfer: None, ..view.members[rank].clone() });
    }
    let kept = members.len();
    if kept > 0 {
        let still = waiting.iter().filter(|rank| !promoted.contains(rank));
        members.extend(still.map(|&rank| view.members[rank].clone()));
        members.extend(joins.iter().map(|join| Member {
            id: MemberId { node: join.node, entry: number },
            meta: join.meta.clone(),
            nonce: join.nonce,
            transfer: None,
        }));
    }
    let restarts = |id: MemberId| {
        let promise = view.rank_of(id).and_then(|rank| promises.get(&rank));
        promise.is_some_and(|promise| promise.restart)
    };
    let is_loaded = |id: MemberId| view.rank_of(id).is_some_and(|rank| loaded(&rank));
    assign_donors(&mut members, kept, number, restarts, is_loaded);
    let left = departures(view, &members, promises, evict);
    (View { number, members, active: kept }, left)
}

/// The donor is a function of the view: active ranks from 1 on, by the joiner's index modulo their
/// number; rank 0 only if it is the only one. A running transfer from a member that is still there
/// goes on under its label.
fn assign_donors(
    members: &mut [Member],
    active: usize,
    number: ViewNumber,
    restarts: impl Fn(MemberId) -> bool,
    loaded: impl Fn(MemberId) -> bool,
) {
    let donors: Vec<MemberId> = members[..active].iter().map(|member| member.id).collect();
    for (index, joiner) in members[active..].iter_mut().enumerate() {
        let runs =
            joiner.transfer.as_ref().is_some_and(|transfer| donors.contains(&transfer.donor));
        if loaded(joiner.id) || (runs && !restarts(joiner.id)) {
            continue;
        }
        let donor = if active == 1 { donors[0] } else { donors[1 + index % (active - 1)] };
        joiner.transfer = Some(Box::new(Transfer { donor, label: number }));
    }
}

fn departures(
    view: &View,
    members: &[Member],
    promises: &BTreeMap<Rank, Promise>,
    evict: &BTreeSet<Rank>,
) -> Vec<Left> {
    let gone = view.members.iter().enumerate();
    let gone = gone.filter(|(_, old)| !members.iter().any(|member| member.id == old.id));
    gone.map(|(rank, old)| {
        let reason = match promises.get(&rank) {
            _ if evict.contains(&rank) => LeftReason::Evicted,
            Some(_) => LeftReason::Left,
            None => LeftReason::Failed,
        };
        Left { id: old.id, reason }
    })
    .collect()
}
