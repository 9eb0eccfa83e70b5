//! The total order: positions count from 0 without a hole at every member, and members that move on
//! together, or stay to the end, gave the same positions to the same updates.
//!
//! What a member delivered that crashed or was excluded is judged by `stability`: only what was
//! stable binds the others.

use crate::check::Court;
use crate::event::Class;
use crate::model::{End, Ending, Membership, Span, Step, Total};

pub(super) fn judge(court: &mut Court<'_>) {
    let group = court.group;
    for membership in &group.memberships {
        for span in &membership.spans {
            positions(court, membership, span);
        }
    }
    for chapter in group.chapters() {
        let moved = chapter.movers().next().is_some();
        let excluded = |end: Ending| end.how == End::Excluded;
        let mut judged = chapter.spans().filter(|(member, _, next)| match moved {
            true => next.is_some(),
            false => !member.end.is_some_and(excluded),
        });
        let Some((first, model, _)) = judged.next() else {
            continue;
        };
        for (member, span, _) in judged {
            if let Some(position) = differ(&model.totals, &span.totals) {
                let id = court.id(first.who);
                let what = format!("position {position} is another update than at {id}");
                court.blame(member, chapter.view, what);
            }
        }
    }
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
    use crate::properties::story::{accepts, rejects};

    const THREE: &str = "a view 1 a b c; b view 1 a b c; c view 1 a b c;
        a send 0 2 total; b send 0 1 total;
        a deliver a 0 2 total 0; a deliver b 0 1 total 2;";

    #[test]
    fn one_order_in_other_pieces() {
        accepts(&format!(
            "{THREE} b deliver a 0 1 total 0; b deliver a 1 1 total 1; b deliver b 0 1 total 2"
        ));
    }

    #[test]
    fn two_orders() {
        rejects(
            "total",
            &format!(
                "{THREE} b deliver a 0 1 total 0; b deliver b 0 1 total 1; b deliver a 1 1 total 2"
            ),
        );
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
