//! Causality, judged by the order of lines: whoever delivers a causal or total update has delivered
//! before it what its sender had delivered before sending it.
//!
//! A fifo update promises its sender's order only. In a group without causal updates a total one
//! promises only that the totals which its sender had delivered come before it. What was delivered
//! in earlier views needs no check here: all who are in a view agree on them.

use crate::check::Court;
use crate::event::Class;
use crate::model::{Group, Membership, Span, Step};

pub(super) fn judge(court: &mut Court<'_>) {
    let group = court.group;
    let tracked = has_causal(group);
    for chapter in group.chapters() {
        let Some((_, first, _)) = chapter.spans().next() else {
            continue;
        };
        let mut pasts: Vec<Past> = Vec::new();
        pasts.resize_with(first.members.len(), Past::default);
        for (membership, span, _) in chapter.spans() {
            // Lists that differ are a violation of `views`.
            if let Some(rank) = first.rank(membership.who)
                && span.members == first.members
            {
                pasts[rank] = past(membership, span, tracked);
            }
        }
        if pasts.iter().all(|past| past.seen.is_empty()) {
            continue;
        }
        for (membership, span, _) in chapter.spans() {
            if span.members == first.members {
                deliveries(court, &pasts, membership, span);
            }
        }
    }
}

/// Whether the group's type has causal updates, as far as this run shows.
fn has_causal(group: &Group) -> bool {
    let spans = group.memberships.iter().flat_map(|membership| &membership.spans);
    spans.flat_map(|span| &span.sends).any(|range| range.class == Class::Causal)
}

/// What came before each run that one member sent in one view.
#[derive(Default)]
struct Past {
    /// Where each run ends, and where in `seen` its past begins; fifo runs have none.
    runs: Vec<(u64, Option<usize>)>,
    /// Counts by rank, one past after the other.
    seen: Vec<u64>,
}

fn past(membership: &Membership, span: &Span, tracked: bool) -> Past {
    let mut past = Past::default();
    if span.sends.iter().all(|range| range.class == Class::Fifo) {
        return past;
    }
    let mut seen = vec![0; span.members.len()];
    let mut at = None;
    for step in &span.steps {
        match step {
            Step::Deliver { sender: Some(rank), who, range, .. } => {
                let matters = tracked || range.class == Class::Total;
                if matters && *who != membership.who {
                    seen[*rank] = seen[*rank].max(range.end());
                    at = None;
                }
            }
            Step::Send(range) if range.class == Class::Fifo => past.runs.push((range.end(), None)),
            Step::Send(range) => {
                let at = *at.get_or_insert_with(|| {
                    past.seen.extend_from_slice(&seen);
                    past.seen.len() - seen.len()
                });
                past.runs.push((range.end(), Some(at)));
            }
            _ => {}
        }
    }
    past
}

fn deliveries(court: &mut Court<'_>, pasts: &[Past], membership: &Membership, span: &Span) {
    let mut have = vec![0; span.members.len()];
    // For each lane the run to look at next, and the past last found covered: it stays so.
    let mut places: Vec<(usize, Option<usize>)> = vec![(0, None); span.members.len()];
    for step in &span.steps {
        let Step::Deliver { sender: Some(rank), who, range, .. } = step else {
            continue;
        };
        let past = &pasts[*rank];
        let (place, covered) = &mut places[*rank];
        while past.runs.get(*place).is_some_and(|(end, _)| *end <= range.seq) {
            *place += 1;
        }
        for (end, at) in past.runs.get(*place..).unwrap_or_default() {
            if at.is_some() && at != covered {
                match lacking(past, *at, &have) {
                    None => *covered = *at,
                    Some((lacks, must)) => {
                        let what = format!(
                            "delivers {:?} {}..{} of {} with {} of {}, its sender had {must}",
                            range.class,
                            range.seq,
                            range.end(),
                            court.id(*who),
                            have[lacks],
                            court.id(span.members[lacks]),
                        );
                        court.blame(membership, span.view, what);
                    }
                }
            }
            if *end >= range.end() {
                break;
            }
        }
        have[*rank] = have[*rank].max(range.end());
    }
}

/// A lane of which there is not yet what a past has of it, and how much that is.
fn lacking(past: &Past, at: Option<usize>, have: &[u64]) -> Option<(usize, u64)> {
    let must = &past.seen[at?..];
    let rank = must.iter().zip(have).position(|(must, have)| must > have)?;
    Some((rank, must[rank]))
}

#[cfg(test)]
mod tests {
    use crate::properties::story::{accepts, rejects};

    const THREE: &str = "a view 1 a b c; b view 1 a b c; c view 1 a b c;
        a send 0 1 fifo; a deliver a 0 1 fifo; b deliver a 0 1 fifo;";

    #[test]
    fn an_answer_after_what_it_answers() {
        accepts(&format!(
            "{THREE} b send 0 1 causal; b deliver b 0 1 causal;
            c deliver a 0 1 fifo; c deliver b 0 1 causal"
        ));
    }

    #[test]
    fn an_answer_before_what_it_answers() {
        rejects(
            "causal",
            &format!("{THREE} b send 0 1 causal; b deliver b 0 1 causal; c deliver b 0 1 causal"),
        );
    }

    #[test]
    fn what_came_later_is_no_cause() {
        accepts(
            "a view 1 a b c; b view 1 a b c; c view 1 a b c; b send 0 1 causal;
            a send 0 1 fifo; a deliver a 0 1 fifo; b deliver a 0 1 fifo; b deliver b 0 1 causal;
            c deliver b 0 1 causal",
        );
    }

    #[test]
    fn a_fifo_update_has_no_past() {
        accepts(&format!("{THREE} b send 0 1 fifo; b deliver b 0 1 fifo; c deliver b 0 1 fifo"));
    }

    #[test]
    fn a_total_has_the_past_of_its_sender_where_there_are_causal_ones() {
        let tail = "b send 0 1 total; b deliver b 0 1 total 0; c deliver b 0 1 total 0";
        rejects("causal", &format!("{THREE} {tail}; c send 0 1 causal"));
        accepts(&format!("{THREE} {tail}; c send 0 1 fifo"));
    }

    #[test]
    fn totals_follow_totals_even_without_stamps() {
        rejects(
            "causal",
            "a view 1 a b c; b view 1 a b c; c view 1 a b c; a send 0 1 total;
            a deliver a 0 1 total 0; b deliver a 0 1 total 0; b send 0 1 total;
            b deliver b 0 1 total 1; c deliver b 0 1 total 0",
        );
    }

    #[test]
    fn a_past_that_grew_in_the_middle_of_a_run() {
        rejects(
            "causal",
            "a view 1 a b c; b view 1 a b c; c view 1 a b c; a send 0 1 fifo; b send 0 1 causal;
            b deliver a 0 1 fifo; b send 1 1 causal; c deliver b 0 2 causal",
        );
    }
}
