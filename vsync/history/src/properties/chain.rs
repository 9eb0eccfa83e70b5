//! The primary chain: each view was decided by a quorum of its predecessor that held its cut.
//!
//! Two views that could both follow one would need two quorums, and any two quorums meet.

use crate::check::Court;
use crate::model::{Mark, Membership, Span, Step, Who};

pub(super) fn judge(court: &mut Court<'_>) {
    let group = court.group;
    for view in group.views() {
        let spans: Vec<_> = group.spans_of(view).collect();
        one_cut(court, &spans);
        // A joining member says nothing of the cut by which it left: it may have joined later.
        let moved = spans.iter().find(|(member, span, next)| {
            next.is_some_and(|next| next.view == view + 1) && span.is_active(member.who)
        });
        let Some((mover, old, _)) = moved else {
            continue;
        };
        let cut = old.delivered();
        let held: Vec<Who> = spans
            .iter()
            .filter(|(member, span, _)| {
                holds(span, &cut) || (!court.expectations.complete && may_have(member, span))
            })
            .map(|(member, _, _)| member.who)
            .collect();
        let silent = |who: Who| {
            !court.expectations.complete && group.membership(who).is_none_or(|m| m.spans.is_empty())
        };
        let votes: Vec<bool> =
            old.members.iter().map(|&who| held.contains(&who) || silent(who)).collect();
        if !quorum(old, &votes) {
            let what = format!("no quorum of view {view} accepted the cut {cut:?}");
            court.blame(mover, view + 1, what);
        }
    }
}

/// One proposal, one cut.
fn one_cut(court: &mut Court<'_>, spans: &[(&Membership, &Span, Option<&Span>)]) {
    let mut known: Vec<(&str, &Mark)> = Vec::new();
    for (member, span, _) in spans {
        for step in &span.steps {
            let Step::Accepted { proposal, mark } = step else {
                continue;
            };
            match known.iter().find(|(name, _)| name == proposal) {
                Some((_, first)) if *first != mark => {
                    let what = format!("proposal {proposal} has two cuts");
                    court.blame(member, span.view, what);
                }
                Some(_) => {}
                None => known.push((proposal, mark)),
            }
        }
    }
}

/// Whether somebody accepted this very cut in this view.
fn holds(span: &Span, cut: &[u64]) -> bool {
    span.steps.iter().any(|step| matches!(step, Step::Accepted { mark, .. } if mark.counts == cut))
}

/// Whether a killed process may have lost the line that says so: only if it wrote nothing later.
fn may_have(member: &Membership, span: &Span) -> bool {
    let last = member.spans.last().is_some_and(|last| last.view == span.view);
    last && member.end.is_none()
}

/// More than half of the active members, or half with the lowest-ranked.
fn quorum(span: &Span, votes: &[bool]) -> bool {
    let active = span.active.iter().filter(|&&active| active).count();
    let count = votes.iter().take(active).filter(|&&vote| vote).count();
    2 * count > active || (2 * count == active && votes.first() == Some(&true))
}

#[cfg(test)]
mod tests {
    use crate::properties::story::{accepts, rejects, rejects_complete};

    const THREE: &str = "a view 1 a b c; b view 1 a b c; c view 1 a b c;";

    #[test]
    fn a_quorum_accepted() {
        accepts(&format!(
            "{THREE} a send 0 2 fifo; a deliver a 0 2 fifo; b deliver a 0 2 fifo;
            a accepted a=2; b accepted a=2; a view 2 a b; b view 2 a b"
        ));
    }

    #[test]
    fn one_of_three_is_no_quorum() {
        rejects_complete("chain", &format!("{THREE} a accepted; a view 2 a b; b view 2 a b"));
    }

    #[test]
    fn another_cut_does_not_count() {
        rejects(
            "chain",
            &format!(
                "{THREE} a send 0 2 fifo; a deliver a 0 2 fifo; b deliver a 0 2 fifo;
                a accepted a=1; b accepted a=2; c accepted a=1; a view 2 a b c; b view 2 a b c;
                c view 2 a b c"
            ),
        );
    }

    #[test]
    fn one_proposal_with_two_cuts() {
        rejects(
            "chain",
            &format!(
                "{THREE} a send 0 2 fifo; a deliver a 0 2 fifo; b deliver a 0 2 fifo;
                a accepted a=2 #f; b accepted a=1 #f"
            ),
        );
    }

    #[test]
    fn half_counts_only_with_the_first() {
        let two = "a view 1 a b; b view 1 a b;";
        accepts(&format!("{two} a accepted; a view 2 a"));
        rejects_complete("chain", &format!("{two} b accepted; b view 2 b"));
    }
}
