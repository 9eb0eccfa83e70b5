//! What anybody calls stable is in every successor's history, at its position.
//!
//! Two kinds of lines say so: `stable`, and every delivery of level `stable`. They bind the others
//! even if who wrote them died at once.

use super::total::{Order, differ};
use crate::check::Court;
use crate::event::Level;
use crate::model::{Mark, Membership, Range, Span, Step, Who};

/// What one member called stable in one view.
struct Claim {
    who: Who,
    counts: Vec<u64>,
    extent: u64,
    /// What it delivered at these positions.
    order: Order,
}

pub(super) fn judge(court: &mut Court<'_>) {
    let group = court.group;
    for view in group.views() {
        let spans: Vec<_> = group.spans_of(view).collect();
        let claims: Vec<Claim> =
            spans.iter().filter_map(|(member, span, _)| claim(court, member, span)).collect();
        for (member, span, next) in &spans {
            if next.is_some() {
                hold(court, &claims, member, span);
            }
        }
        let Some(longest) = claims.iter().max_by_key(|claim| claim.extent) else {
            continue;
        };
        for claim in &claims {
            if let Some(position) = differ(&claim.order, &longest.order) {
                let id = court.id(longest.who).to_owned();
                let what = format!("stable position {position} is another update at {id}");
                court.report(claim.who, Some(view), what);
            }
        }
    }
}

/// Everything that a member called stable in a view.
fn claim(court: &mut Court<'_>, member: &Membership, span: &Span) -> Option<Claim> {
    let mut counts = vec![0; span.members.len()];
    let mut extent = 0;
    let mut said = false;
    for step in &span.steps {
        match step {
            Step::Stable(Mark { counts: cut, extent: positions, stranger }) => {
                if *stranger {
                    court.blame(member, span.view, "stable updates of a stranger".into());
                }
                if cut.iter().zip(&counts).any(|(new, old)| new < old) || *positions < extent {
                    // Deliveries of level stable may run ahead of the line, marks never fall.
                    let what = format!("stable fell to {cut:?} and {positions} positions");
                    court.blame(member, span.view, what);
                }
                raise(&mut counts, cut);
                extent = extent.max(*positions);
                said = true;
            }
            Step::Deliver { sender: Some(rank), range, position, level: Level::Stable, .. } => {
                counts[*rank] = counts[*rank].max(range.end());
                extent = extent.max(position.map_or(0, |position| position + range.count));
                said = true;
            }
            _ => {}
        }
    }
    let order = span.totals().filter_map(|total| within(total, extent)).collect();
    said.then_some(Claim { who: member.who, counts, extent, order })
}

fn raise(counts: &mut [u64], by: &[u64]) {
    for (count, by) in counts.iter_mut().zip(by) {
        *count = (*count).max(*by);
    }
}

/// The part of a run of totals that lies below a position.
fn within(total: (u64, usize, Range), extent: u64) -> Option<(u64, usize, Range)> {
    let (position, rank, range) = total;
    let count = extent.saturating_sub(position).min(range.count);
    (count > 0).then_some((position, rank, Range { count, ..range }))
}

/// Whether a member that moved on has all that was claimed.
fn hold(court: &mut Court<'_>, claims: &[Claim], member: &Membership, span: &Span) {
    let delivered = span.delivered();
    let order: Order = span.totals().collect();
    let positions = order.last().map_or(0, |(position, _, range)| position + range.count);
    for claim in claims {
        let claimant = court.id(claim.who).to_owned();
        let lacks = claim.counts.iter().zip(&delivered).position(|(must, have)| must > have);
        if let Some(rank) = lacks {
            let what = format!(
                "moves on with {} updates of {}, {} were stable at {claimant}",
                delivered[rank],
                court.id(span.members[rank]),
                claim.counts[rank],
            );
            court.blame(member, span.view, what);
        }
        if claim.extent > positions {
            let what = format!(
                "moves on with {positions} positions, {} were stable at {claimant}",
                claim.extent
            );
            court.blame(member, span.view, what);
        }
        if let Some(position) = differ(&claim.order, &order) {
            let what = format!("position {position} was stable as another update at {claimant}");
            court.blame(member, span.view, what);
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::properties::story::{accepts, rejects};

    const THREE: &str = "a view 1 a b c; b view 1 a b c; c view 1 a b c;";
    const MOVE: &str = "b view 2 b c; c view 2 b c";

    #[test]
    fn optimistic_deliveries_of_the_dead_bind_nobody() {
        accepts(&format!(
            "{THREE} a send 0 2 fifo; a deliver a 0 2 fifo; b accepted; c accepted; {MOVE}"
        ));
    }

    #[test]
    fn stable_updates_do() {
        rejects(
            "stability",
            &format!(
                "{THREE} a send 0 2 fifo; a deliver a 0 2 fifo; a stable a=1;
                b accepted; c accepted; {MOVE}"
            ),
        );
    }

    #[test]
    fn so_do_stable_deliveries() {
        rejects(
            "stability",
            &format!(
                "{THREE} a send 0 2 fifo; a deliver a 0 2 fifo stable;
                b accepted; c accepted; {MOVE}"
            ),
        );
    }

    #[test]
    fn a_stable_position_stays_what_it_was() {
        rejects(
            "stability",
            &format!(
                "{THREE} a send 0 1 total; b send 0 1 total;
                a deliver a 0 1 total 0; a stable a=1 ^1;
                b deliver b 0 1 total 0; b deliver a 0 1 total 1; b accepted a=1 b=1 ^2;
                c deliver b 0 1 total 0; c deliver a 0 1 total 1; c accepted a=1 b=1 ^2; {MOVE}"
            ),
        );
    }

    #[test]
    fn a_stable_position_is_not_lost() {
        rejects("stability", &format!("{THREE} a stable ^1; b accepted; c accepted; {MOVE}"));
    }

    #[test]
    fn stable_never_falls() {
        rejects(
            "stability",
            &format!("{THREE} a send 0 2 fifo; a deliver a 0 2 fifo; a stable a=2; a stable a=1"),
        );
    }

    #[test]
    fn stable_is_of_members() {
        rejects("stability", "a view 1 a; b view 1 b; a stable b=1");
    }
}
