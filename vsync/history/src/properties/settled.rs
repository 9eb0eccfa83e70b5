//! Liveness: members that were connected and idle at the end share one view, are active in it, have
//! delivered all that any of them sent, and call all of it stable.
//!
//! Only members that the caller vouches for are judged (`Expectations::settled`).

use crate::check::Court;
use crate::model::{Membership, Span, Step};

pub(super) fn judge(court: &mut Court<'_>) {
    let group = court.group;
    let settled: Vec<&Membership> =
        group.memberships.iter().filter(|member| court.is_settled(member.who)).collect();
    let newest = settled.iter().filter_map(|member| Some(member.spans.last()?.view)).max();
    let Some(view) = newest else { return };
    for &member in &settled {
        match member.spans.last() {
            _ if member.end.is_some() => court.blame(member, view, "is gone".into()),
            Some(span) if span.view == view => at_rest(court, &settled, member, span),
            Some(span) => {
                let what = format!("stays in view {} for ever", span.view);
                court.blame(member, view, what);
            }
            None => court.blame(member, view, "never came in".into()),
        }
    }
}

fn at_rest(court: &mut Court<'_>, settled: &[&Membership], member: &Membership, span: &Span) {
    if !span.is_active(member.who) {
        court.blame(member, span.view, "never became active".into());
    }
    let delivered = &span.delivered;
    let mark = span.steps.iter().rev().find_map(|step| match step {
        Step::Stable(mark) => Some(span.cut(mark)),
        _ => None,
    });
    for sender in settled {
        let sent = sender.span(span.view).map_or(0, Span::sent);
        let Some(rank) = span.rank(sender.who) else {
            let what = format!("{} is not in its view", court.id(sender.who));
            court.blame(member, span.view, what);
            continue;
        };
        let id = court.id(sender.who).to_owned();
        if delivered[rank] < sent {
            let what = format!("delivered {} of {sent} updates of {id}", delivered[rank]);
            court.blame(member, span.view, what);
        }
        let stable = mark.map_or(0, |cut| cut[rank]);
        if stable < sent {
            let what = format!("{stable} of {sent} updates of {id} became stable");
            court.blame(member, span.view, what);
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::properties::story::{accepts_settled, rejects_settled};

    const TWO: &str = "a view 1 a b; b view 1 a b; a send 0 2 fifo; a deliver a 0 2 fifo;
        a stable a=2; a accepted a=2; b accepted a=2;";

    #[test]
    fn all_at_rest() {
        accepts_settled(&["a", "b"], &format!("{TWO} b deliver a 0 2 fifo; b stable a=2"));
    }

    #[test]
    fn something_undelivered() {
        rejects_settled(
            "settled",
            &["a", "b"],
            &format!("{TWO} b deliver a 0 1 fifo; b stable a=2"),
        );
    }

    #[test]
    fn something_unstable() {
        rejects_settled(
            "settled",
            &["a", "b"],
            &format!("{TWO} b deliver a 0 2 fifo; b stable a=1"),
        );
    }

    #[test]
    fn two_views() {
        rejects_settled(
            "settled",
            &["a", "b"],
            "a view 1 a b; b view 1 a b; a accepted; a view 2 a",
        );
    }

    #[test]
    fn a_joiner_that_never_becomes_active() {
        rejects_settled(
            "settled",
            &["a", "b"],
            "a view 1 a; a accepted; a view 2 a +b; a point b 1 2; b load 2 a 1 2; b view 2 a +b",
        );
    }
}
