//! Integrity: every delivery has one send of the same class, in the same view; nothing comes twice.

use std::collections::HashMap;

use crate::check::Court;
use crate::model::{Membership, Range, Span, Step, Who};

/// The runs that a member sent in a view, by number.
type Sent = HashMap<(Who, u64), Vec<Range>>;

pub(super) fn judge(court: &mut Court<'_>) {
    let group = court.group;
    let mut sent = Sent::new();
    for membership in &group.memberships {
        for span in &membership.spans {
            let runs = sends(court, membership, span);
            if !runs.is_empty() {
                sent.insert((membership.who, span.view), runs);
            }
        }
    }
    for membership in &group.memberships {
        for span in &membership.spans {
            deliveries(court, &sent, membership, span);
        }
    }
}

/// The sends of one member in one view: numbered from 0 without a hole, by active members only.
fn sends(court: &mut Court<'_>, membership: &Membership, span: &Span) -> Vec<Range> {
    let mut runs: Vec<Range> = Vec::new();
    for step in &span.steps {
        let Step::Send(range) = step else { continue };
        let next = runs.last().map_or(0, Range::end);
        if range.seq != next || range.count == 0 {
            let what = format!("sends {} updates from {}, not from {next}", range.count, range.seq);
            court.blame(membership, span.view, what);
        } else {
            runs.push(*range);
        }
    }
    if !runs.is_empty() && !span.is_active(membership.who) {
        court.blame(membership, span.view, "sends, but is not active".into());
    }
    runs
}

fn deliveries(court: &mut Court<'_>, sent: &Sent, membership: &Membership, span: &Span) {
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
        let Range { seq, count, class } = *range;
        let what = format!("{class:?} {seq}..{} of {}", range.end(), court.id(who));
        if seq < next[rank] {
            court.blame(membership, span.view, format!("delivers {what} again"));
        }
        next[rank] = next[rank].max(range.end());
        let runs = sent.get(&(who, span.view)).map_or(&[][..], Vec::as_slice);
        if count == 0 || !covers(runs, range) {
            court.blame(membership, span.view, format!("delivers {what}, which was not sent"));
        } else if who == membership.who && range.end() > own {
            court.blame(membership, span.view, format!("delivers {what} before its own send"));
        }
    }
}

/// Whether every update of `range` was sent, with its class.
fn covers(runs: &[Range], range: &Range) -> bool {
    let mut at = range.seq;
    let first = runs.partition_point(|run| run.end() <= at);
    for run in &runs[first..] {
        if at >= range.end() {
            break;
        }
        if run.seq > at || run.class != range.class {
            return false;
        }
        at = run.end();
    }
    at >= range.end()
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
    fn a_delivery_in_a_later_view() {
        rejects("integrity", &format!("{TWO} a send 0 3 fifo; b view 2 a b; b deliver a 0 3 fifo"));
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
