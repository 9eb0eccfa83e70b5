//! The primary chain: each view was decided by a quorum of its predecessor that held its cut.
//!
//! Two views that could both follow one would need two quorums, and any two quorums meet.

use crate::check::Court;
use crate::model::{Chapter, Membership, Span, Step};

pub(super) fn judge(court: &mut Court<'_>) {
    for chapter in court.group.chapters() {
        one_cut(court, chapter);
        // A joining member says nothing of the cut by which it left: it may have joined later.
        let moved = chapter
            .movers()
            .find(|(member, span, next)| next.view == span.view + 1 && span.is_active(member.who));
        if let Some((mover, old, _)) = moved {
            decided(court, chapter, mover, old);
        }
    }
}

/// Whether a quorum accepted the cut by which a member left its view.
fn decided(court: &mut Court<'_>, chapter: Chapter<'_>, mover: &Membership, old: &Span) {
    let (group, cut) = (court.group, &old.delivered);
    let complete = court.expectations.complete;
    let lost = |who| !complete && may_have(group.membership(who), chapter.view);
    let mut votes: Vec<bool> = old.members.iter().map(|&who| lost(who)).collect();
    for (member, span, _) in chapter.spans() {
        if let Some(rank) = old.rank(member.who) {
            votes[rank] |= holds(span, cut);
        }
    }
    if !quorum(old, &votes) {
        let what = format!("no quorum of view {} accepted the cut {cut:?}", chapter.view);
        court.blame(mover, chapter.view + 1, what);
    }
}

/// One proposal, one cut.
fn one_cut(court: &mut Court<'_>, chapter: Chapter<'_>) {
    let mut known: Vec<(&str, &[u64], u64)> = Vec::new();
    for (member, span, _) in chapter.spans() {
        for step in &span.steps {
            let Step::Accepted { proposal, mark } = step else {
                continue;
            };
            let cut = span.cut(mark);
            match known.iter().find(|(name, ..)| name == proposal) {
                Some(first) if (first.1, first.2) != (cut, mark.extent) => {
                    let what = format!("proposal {proposal} has two cuts");
                    court.blame(member, span.view, what);
                }
                Some(_) => {}
                None => known.push((proposal, cut, mark.extent)),
            }
        }
    }
}

/// Whether somebody accepted this very cut in this view.
fn holds(span: &Span, cut: &[u64]) -> bool {
    let is = |step: &Step| matches!(step, Step::Accepted { mark, .. } if span.cut(mark) == cut);
    span.steps.iter().any(is)
}

/// Whether a killed process may have lost the line that says so, and with it the install of the
/// view: only if it wrote nothing later.
fn may_have(member: Option<&Membership>, view: u64) -> bool {
    member.is_none_or(|member| {
        member.end.is_none() && member.spans.last().is_none_or(|last| last.view <= view)
    })
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
    fn who_may_have_lost_its_last_lines_may_have_accepted() {
        let lost = "a view 1 a b c; b view 1 a b c; c view 1 a b c; a accepted; b accepted;
            a view 2 a b c; b view 2 a b c; b accepted; b view 3 b c;";
        // Of c nothing is there but its first view.
        accepts(lost);
        rejects_complete("chain", lost);
        rejects("chain", &format!("{lost} c excluded; a excluded"));
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
