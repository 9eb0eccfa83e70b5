//! Whether a proposal can be the successor of a view at all: what every rule of
//! [`super::successor`] keeps, whoever promised.

use crate::wire::View;
use crate::wire::messages::Proposal;

/// Number, members, ranks and cut against the view that is left. The old members that stay keep
/// their order, active ones stay active, whoever is new comes last; all others have left.
pub(crate) fn succeeds(old: &View, proposal: &Proposal) -> bool {
    let Proposal { view, left, cut, tail, .. } = proposal;
    let mut next = 0;
    let ranked = view.members.iter().enumerate().all(|(rank, member)| {
        let active = rank < view.active;
        if rank == view.active {
            // Those still joining keep their order, too, but may be senior to one that is loaded.
            next = 0;
        }
        if member.id.entry == view.number {
            next = old.members.len();
            return true;
        }
        let Some(before) = old.rank_of(member.id).filter(|&before| before >= next) else {
            return false;
        };
        next = before + 1;
        if active { member.transfer.is_none() } else { before >= old.active }
    });
    let mut departed = old.members.iter().filter(|member| view.rank_of(member.id).is_none());
    view.number == old.number + 1
        && cut.len() == old.members.len()
        && cut[old.active..].iter().all(|&count| count == 0)
        && tail.iter().all(|record| (record.rank as usize) < old.active)
        && ranked
        && left.iter().all(|gone| departed.next().is_some_and(|member| member.id == gone.id))
        && departed.next().is_none()
}
