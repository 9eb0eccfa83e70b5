//! Views: each member's own sequence of views makes sense, and one number means one list.
//!
//! Self-inclusion; numbers grow by one; active members come first and keep their order; what a view
//! says of who is new and who is gone is the difference of two lists; nothing happens outside a
//! view.

use crate::check::Court;
use crate::model::{Chapter, Membership, Misplaced, Span, Who};

pub(super) fn judge(court: &mut Court<'_>) {
    let group = court.group;
    for membership in &group.memberships {
        for (why, what) in &membership.misplaced {
            if *why == Misplaced::Outside {
                court.report(membership.who, None, what.clone());
            }
        }
        for (span, next) in membership.moves() {
            alone(court, membership, span);
            if let Some(next) = next {
                step(court, membership, span, next);
            }
        }
    }
    for chapter in group.chapters() {
        same(court, chapter);
    }
}

/// What one view says by itself.
fn alone(court: &mut Court<'_>, membership: &Membership, span: &Span) {
    if span.rank(membership.who).is_none() {
        court.blame(membership, span.view, "is not in its own view".into());
    }
    let members = &span.members;
    if members.iter().enumerate().any(|(rank, who)| members[..rank].contains(who)) {
        court.blame(membership, span.view, "a member is listed twice".into());
    }
    if span.active.is_sorted_by(|a, b| a >= b) {
        if !span.active.first().copied().unwrap_or(false) {
            court.blame(membership, span.view, "no member is active".into());
        }
    } else {
        court.blame(membership, span.view, "a joining member ranks before an active one".into());
    }
    for &who in members {
        if court.group.entries[who].is_none_or(|entry| entry > span.view) {
            let id = court.id(who).to_owned();
            court.blame(membership, span.view, format!("lists {id}, which came in later"));
        }
    }
}

/// What a view says about its predecessor.
fn step(court: &mut Court<'_>, membership: &Membership, old: &Span, new: &Span) {
    if new.view != old.view + 1 {
        court.blame(membership, new.view, format!("follows view {}", old.view));
        return;
    }
    if !is_rest(&new.joined, &new.members, &old.members) {
        court.blame(membership, new.view, "`joined` is not what is new".into());
    }
    if !is_rest(&new.left, &old.members, &new.members) {
        court.blame(membership, new.view, "`left` is not what is gone".into());
    }
    let kept = || stayed(old, old, new);
    if kept().any(|who| !new.is_active(who)) {
        court.blame(membership, new.view, "an active member became a joining one".into());
    }
    if !kept().eq(stayed(new, old, old)) {
        court.blame(membership, new.view, "active members changed their order".into());
    } else if !kept().eq(new.members.iter().copied().take(kept().count())) {
        let what = "a member became active before the active ones".into();
        court.blame(membership, new.view, what);
    }
    for &who in new.members.iter().filter(|who| !old.members.contains(who)) {
        if court.group.entries[who] != Some(new.view) || new.is_active(who) {
            let id = court.id(who).to_owned();
            court.blame(membership, new.view, format!("{id} is new, but not as a joining member"));
        }
    }
}

/// Whether `named` are exactly those of `list` that are not in `other`. (No list names one twice:
/// that is a violation of its own.)
fn is_rest(named: &[Who], list: &[Who], other: &[Who]) -> bool {
    let mut rest = 0;
    let all = list.iter().filter(|who| !other.contains(who)).all(|who| {
        rest += 1;
        named.contains(who)
    });
    all && rest == named.len()
}

/// The members of `list` that were active in `old` and are in `other`, too.
fn stayed(list: &Span, old: &Span, other: &Span) -> impl Iterator<Item = Who> {
    let both = |who: &Who| old.is_active(*who) && other.rank(*who).is_some();
    list.members.iter().copied().filter(both)
}

/// One number, one list.
fn same(court: &mut Court<'_>, chapter: Chapter<'_>) {
    let mut spans = chapter.spans();
    let Some((_, first, _)) = spans.next() else {
        return;
    };
    for (membership, span, _) in spans {
        if span.members != first.members || span.active != first.active {
            court.blame(membership, chapter.view, "another member installed another list".into());
        }
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
}
