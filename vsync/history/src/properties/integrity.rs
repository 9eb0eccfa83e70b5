//! Integrity: every delivery has one send of the same class; nothing comes twice.
//!
//! In which view it was sent is judged by `sameview`.

use crate::check::Court;
use crate::model::{Membership, Range, Span, Step, Who};

pub(super) fn judge(court: &mut Court<'_>) {
    let group = court.group;
    for membership in &group.memberships {
        for span in &membership.spans {
            sends(court, membership, span);
            deliveries(court, membership, span);
        }
    }
    for (membership, span, who, range) in group.strays() {
        if span.rank(who).is_some() && group.sent_in(who, range).is_none() {
            let what = format!("delivers {}, which was not sent", name(court, range, who));
            court.blame(membership, span.view, what);
        }
    }
}

/// The sends of one member in one view: numbered from 0 without a hole, by active members only.
fn sends(court: &mut Court<'_>, membership: &Membership, span: &Span) {
    let mut next = 0;
    for range in &span.sends {
        if range.seq != next || range.count == 0 {
            let what = format!("sends {} updates from {}, not from {next}", range.count, range.seq);
            court.blame(membership, span.view, what);
        }
        next = range.end();
    }
    if !span.sends.is_empty() && !span.is_active(membership.who) {
        court.blame(membership, span.view, "sends, but is not active".into());
    }
}

fn deliveries(court: &mut Court<'_>, membership: &Membership, span: &Span) {
    let mut next = vec![0; span.members.len()];
    let mut own = 0;
    for step in &span.steps {
        let (rank, who, range) = match step {
            Step::Send(range) => {
                own = range.end();
                continue;
            }
            Step::Deliver { sender: Some(rank), who, range, .. } => (*rank, *who, range),
            Step::Deliver { sender: None, who, .. } => {
                let id = court.id(*who).to_owned();
                court.blame(membership, span.view, format!("delivers from {id}, no member"));
                continue;
            }
            _ => continue,
        };
        if range.seq < next[rank] {
            let what = format!("delivers {} again", name(court, range, who));
            court.blame(membership, span.view, what);
        }
        next[rank] = next[rank].max(range.end());
        if range.count == 0 {
            court.blame(membership, span.view, "delivers nothing".into());
        } else if who == membership.who && range.end() > own && span.has_sent(range, &mut 0) {
            let what = format!("delivers {} before its own send", name(court, range, who));
            court.blame(membership, span.view, what);
        }
    }
}

/// Updates, as a message names them.
fn name(court: &Court<'_>, range: &Range, who: Who) -> String {
    format!("{:?} {}..{} of {}", range.class, range.seq, range.end(), court.id(who))
}

#[cfg(test)]
mod tests {
    use crate::properties::story::{accepts, rejects};

    const TWO: &str = "a view 1 a b; b view 1 a b;";

    #[test]
    fn ranges_may_be_cut_anywhere() {
        accepts(&format!(
            "{TWO} a send 0 3 fifo; a send 3 2 fifo; a deliver a 0 5 fifo;
            b deliver a 0 2 fifo; b deliver a 2 2 fifo; b deliver a 4 1 fifo"
        ));
    }

    #[test]
    fn a_delivery_without_a_send() {
        rejects("integrity", &format!("{TWO} a send 0 3 fifo; b deliver a 0 4 fifo"));
    }

    #[test]
    fn a_delivery_of_another_class() {
        rejects("integrity", &format!("{TWO} a send 0 3 fifo; b deliver a 0 3 causal"));
    }

    #[test]
    fn a_delivery_again() {
        rejects(
            "integrity",
            &format!("{TWO} a send 0 3 fifo; b deliver a 0 3 fifo; b deliver a 2 1 fifo"),
        );
    }

    #[test]
    fn a_delivery_from_outside() {
        rejects("integrity", "a view 1 a b; b view 1 a b; b view 2 b; b deliver a 0 1 fifo");
    }

    #[test]
    fn numbers_left_out_or_used_twice() {
        rejects("integrity", &format!("{TWO} a send 1 3 fifo"));
        rejects("integrity", &format!("{TWO} a send 0 3 fifo; a send 2 1 fifo"));
    }

    #[test]
    fn an_own_delivery_before_its_send() {
        rejects("integrity", &format!("{TWO} a deliver a 0 1 fifo; a send 0 1 fifo"));
    }

    #[test]
    fn a_joining_member_that_sends() {
        rejects("integrity", "a view 1 a +b; b view 1 a +b; b send 0 1 fifo");
    }
}
