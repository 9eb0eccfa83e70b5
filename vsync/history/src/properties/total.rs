//! The total order: positions count from 0 without a hole at every member, and members that move on
//! together, or stay to the end, gave the same positions to the same updates.
//!
//! While a view lasts its sequencer alone gives positions, so whatever was delivered before a
//! `send` of the same view (no view change had begun there) agrees with everybody's. In a view
//! change others may get positions that a member delivered which is about to be lost. Until that
//! member is known to be gone, or to have moved, such deliveries prove nothing: the line that says
//! so may be lost, or still be to come. What was stable binds the others anyhow (`stability`).

use crate::check::Court;
use crate::event::Class;
use crate::model::{Chapter, End, Ending, Membership, Span, Step, Total, Who};

pub(super) fn judge(court: &mut Court<'_>) {
    let group = court.group;
    for membership in &group.memberships {
        for span in &membership.spans {
            positions(court, membership, span);
        }
    }
    for chapter in group.chapters() {
        during(court, chapter);
        if chapter.movers().next().is_some() {
            agree(court, chapter, |_, next| next.is_some());
        } else if court.expectations.complete && !chapter.spans().any(|(_, span, _)| closes(span)) {
            let excluded = |end: Ending| end.how == End::Excluded;
            agree(court, chapter, |member, _| !member.end.is_some_and(excluded));
        } else {
            let settled = settled(court, chapter);
            agree(court, chapter, |member, _| settled.contains(&member.who));
        }
    }
}

/// Whether a member has accepted a successor of its view: there may be a decision.
fn closes(span: &Span) -> bool {
    span.steps.iter().any(|step| matches!(step, Step::Accepted { .. }))
}

fn settled(court: &Court<'_>, chapter: Chapter<'_>) -> Vec<Who> {
    let members = chapter.spans().map(|(member, ..)| member.who);
    members.filter(|&who| court.is_settled(who)).collect()
}

/// What was delivered before any view change began agrees everywhere.
fn during(court: &mut Court<'_>, chapter: Chapter<'_>) {
    let Some((first, model, _)) = chapter.spans().max_by_key(|(_, span, _)| span.ordered) else {
        return;
    };
    for (member, span, _) in chapter.spans() {
        let totals = &span.totals[..span.ordered];
        if let Some(position) = differ(&model.totals[..model.ordered], totals) {
            blame(court, member, chapter, position, first);
        }
    }
}

/// All deliveries of some members agree.
fn agree(
    court: &mut Court<'_>,
    chapter: Chapter<'_>,
    judged: impl Fn(&Membership, Option<&Span>) -> bool,
) {
    let mut judged = chapter.spans().filter(|(member, _, next)| judged(member, *next));
    let Some((first, model, _)) = judged.next() else {
        return;
    };
    for (member, span, _) in judged {
        if let Some(position) = differ(&model.totals, &span.totals) {
            blame(court, member, chapter, position, first);
        }
    }
}

fn blame(
    court: &mut Court<'_>,
    member: &Membership,
    chapter: Chapter<'_>,
    position: u64,
    other: &Membership,
) {
    let id = court.id(other.who);
    let what = format!("position {position} is another update than at {id}");
    court.blame(member, chapter.view, what);
}

/// The first position at which two orders name different updates. Where one of them ends or has a
/// hole there is no difference.
pub(super) fn differ(one: &[Total], two: &[Total]) -> Option<u64> {
    let (mut i, mut j) = (0, 0);
    while let (Some((p, a, x)), Some((q, b, y))) = (one.get(i), two.get(j)) {
        let from = *p.max(q);
        let until = (p + x.count).min(q + y.count);
        // The same position names the same update exactly if the distances are equal.
        if from < until && (a != b || x.seq + (from - p) != y.seq + (from - q)) {
            return Some(from);
        }
        if p + x.count <= q + y.count {
            i += 1;
        } else {
            j += 1;
        }
    }
    None
}

fn positions(court: &mut Court<'_>, membership: &Membership, span: &Span) {
    let mut next = 0;
    for step in &span.steps {
        let Step::Deliver { range, position, .. } = step else {
            continue;
        };
        match (range.class, position) {
            (Class::Total, Some(position)) => {
                if *position != next {
                    let what = format!("position {position} follows position {next}");
                    court.blame(membership, span.view, what);
                }
                next = position + range.count;
            }
            (Class::Total, None) => {
                court.blame(membership, span.view, "a total without a position".into());
            }
            (_, Some(position)) => {
                let what = format!("position {position} for a {:?} update", range.class);
                court.blame(membership, span.view, what);
            }
            (_, None) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::properties::story::{accepts, rejects, rejects_complete, rejects_settled};

    const THREE: &str = "a view 1 a b c; b view 1 a b c; c view 1 a b c;
        a send 0 2 total; b send 0 1 total;
        a deliver a 0 2 total 0; a deliver b 0 1 total 2;";

    #[test]
    fn one_order_in_other_pieces() {
        accepts(&format!(
            "{THREE} b deliver a 0 1 total 0; b deliver a 1 1 total 1; b deliver b 0 1 total 2"
        ));
    }

    const OTHER: &str =
        "b deliver a 0 1 total 0; b deliver b 0 1 total 1; b deliver a 1 1 total 2;";

    #[test]
    fn two_orders() {
        rejects_complete("total", &format!("{THREE} {OTHER}"));
        rejects_settled("total", &["a", "b"], &format!("{THREE} {OTHER}"));
        let moved = "a accepted a=2 b=1 ^3; b accepted a=2 b=1 ^3; a view 2 a b; b view 2 a b";
        rejects("total", &format!("{THREE} {OTHER} {moved}"));
    }

    #[test]
    fn two_orders_before_any_view_change() {
        rejects("total", &format!("{THREE} {OTHER} a send 2 1 total; b send 1 1 total"));
    }

    #[test]
    fn a_view_change_that_nobody_has_told_of_yet() {
        accepts(&format!("{THREE} {OTHER} b send 1 1 total"));
        accepts(&format!("{THREE} {OTHER} b accepted a=2 b=1 ^3; c accepted a=2 b=1 ^3"));
    }

    #[test]
    fn who_is_gone_may_have_had_another_order() {
        accepts(&format!(
            "{THREE} b deliver b 0 1 total 0; b deliver a 0 2 total 1; a accepted a=2 b=1 ^3;
            c deliver a 0 2 total 0; c deliver b 0 1 total 2; c accepted a=2 b=1 ^3;
            a view 2 a c; c view 2 a c; b excluded"
        ));
    }

    #[test]
    fn a_position_left_out() {
        rejects("total", &format!("{THREE} b deliver a 0 1 total 0; b deliver a 1 1 total 2"));
    }

    #[test]
    fn a_total_without_a_position() {
        rejects("total", &format!("{THREE} b deliver a 0 1 total"));
    }
}
