//! Views: each member's own sequence of views makes sense, and one number means one list.
//!
//! Self-inclusion; numbers grow by one; active members come first and keep their order; what a view
//! says of who is new and who is gone is the difference of two lists; nothing happens outside a view.

use crate::check::Court;
use crate::model::{Membership, Span, Who};

pub(super) fn judge(court: &mut Court<'_>) {
    let group = court.group;
    for membership in &group.memberships {
        for what in &membership.misplaced {
            court.report(membership.who, None, what.clone());
        }
        for (span, next) in membership.moves() {
            alone(court, membership, span);
            if let Some(next) = next {
                step(court, membership, span, next);
            }
        }
    }
    for view in group.views() {
        same(court, view);
    }
}

/// What one view says by itself.
fn alone(court: &mut Court<'_>, membership: &Membership, span: &Span) {
    if span.rank(membership.who).is_none() {
        court.blame(membership, span.view, "is not in its own view".into());
    }
    let mut sorted = span.members.clone();
    sorted.sort_unstable();
    sorted.dedup();
    if sorted.len() != span.members.len() {
        court.blame(membership, span.view, "a member is listed twice".into());
    }
    if span.active.is_sorted_by(|a, b| a >= b) {
        if !span.active.first().copied().unwrap_or(false) {
            court.blame(membership, span.view, "no member is active".into());
        }
    } else {
        court.blame(membership, span.view, "a joining member ranks before an active one".into());
    }
    for &who in &span.members {
        match entry(court.id(who)) {
            Some(entry) if entry <= span.view => {}
            _ => {
                let id = court.id(who).to_owned();
                court.blame(membership, span.view, format!("lists {id}, which came in later"));
            }
        }
    }
}

/// The view by which a member came in, as its id tells.
pub(super) fn entry(id: &str) -> Option<u64> {
    id.rsplit_once('@')?.1.parse().ok()
}

/// What a view says about its predecessor.
fn step(court: &mut Court<'_>, membership: &Membership, old: &Span, new: &Span) {
    if new.view != old.view + 1 {
        court.blame(membership, new.view, format!("follows view {}", old.view));
        return;
    }
    let not_in = |list: &[Who], other: &[Who]| -> Vec<Who> {
        let mut rest: Vec<Who> = list.iter().copied().filter(|who| !other.contains(who)).collect();
        rest.sort_unstable();
        rest
    };
    let sorted = |list: &[Who]| {
        let mut list = list.to_vec();
        list.sort_unstable();
        list
    };
    if not_in(&new.members, &old.members) != sorted(&new.joined) {
        court.blame(membership, new.view, "`joined` is not what is new".into());
    }
    if not_in(&old.members, &new.members) != sorted(&new.left) {
        court.blame(membership, new.view, "`left` is not what is gone".into());
    }
    let stayed = |span: &Span, other: &Span| -> Vec<Who> {
        let both = |who: &Who| old.is_active(*who) && other.rank(*who).is_some();
        span.members.iter().copied().filter(both).collect()
    };
    let kept = stayed(old, new);
    if kept.iter().any(|&who| !new.is_active(who)) {
        court.blame(membership, new.view, "an active member became a joining one".into());
    }
    if kept != stayed(new, old) {
        court.blame(membership, new.view, "active members changed their order".into());
    } else if !new.members.starts_with(&kept) {
        let what = "a member became active before the active ones".into();
        court.blame(membership, new.view, what);
    }
    for &who in &not_in(&new.members, &old.members) {
        if entry(court.id(who)) != Some(new.view) || new.is_active(who) {
            let id = court.id(who).to_owned();
            court.blame(membership, new.view, format!("{id} is new, but not as a joining member"));
        }
    }
}

/// One number, one list.
fn same(court: &mut Court<'_>, view: u64) {
    let group = court.group;
    let mut spans = group.spans_of(view);
    let Some((_, first, _)) = spans.next() else {
        return;
    };
    let others: Vec<&Membership> = spans
        .filter(|(_, span, _)| span.members != first.members || span.active != first.active)
        .map(|(membership, _, _)| membership)
        .collect();
    for membership in others {
        court.blame(membership, view, "another member installed another list".into());
    }
}

#[cfg(test)]
mod tests {
    use crate::properties::story::{accepts, rejects};

    #[test]
    fn a_plain_run_passes() {
        accepts(
            "a view 1 a; a accepted; a view 2 a +b; a point b 9 7;
            b load 2 a 9 7; b view 2 a +b",
        );
    }

    #[test]
    fn a_view_without_its_writer() {
        rejects("views", "a view 1 b");
    }

    #[test]
    fn a_view_number_left_out() {
        rejects("views", "a view 1 a b; b view 1 a b; a view 3 a b");
    }

    #[test]
    fn a_view_number_again() {
        rejects("views", "a view 1 a b; a view 1 a b");
    }

    #[test]
    fn two_lists_for_one_number() {
        rejects("views", "a view 1 a b c; b view 1 a b c; a view 2 a b; b view 2 a b c");
    }

    #[test]
    fn a_joining_member_before_an_active_one() {
        rejects("views", "a view 1 +b a");
    }

    #[test]
    fn an_active_member_that_joins_again() {
        rejects("views", "a view 1 a b; a view 2 a +b");
    }

    #[test]
    fn ranks_that_change() {
        rejects("views", "a view 1 a b c; a view 2 b a c");
    }

    #[test]
    fn a_promotion_to_the_front() {
        rejects("views", "a view 2 a b +c; a view 3 c a b");
        accepts("a view 2 a b +c; a accepted; b view 2 a b +c; b accepted; a view 3 a b c");
    }

    #[test]
    fn something_before_the_first_view() {
        rejects("views", "a send 0 1 fifo; a view 1 a");
    }

    #[test]
    fn something_after_the_end() {
        rejects("views", "a view 1 a; a closed; a send 0 1 fifo");
    }
}
