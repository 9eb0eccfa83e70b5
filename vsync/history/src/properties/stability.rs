//! What anybody calls stable is in every successor's history, at its position.
//!
//! Two kinds of lines say so: `stable`, and every delivery of level `stable`. They bind the others
//! even if who wrote them died at once.

use super::total::differ;
use crate::check::Court;
use crate::event::Level;
use crate::model::{Membership, Span, Step, Total, Who};

/// What one member called stable in one view.
struct Claim<'a> {
    who: Who,
    counts: Vec<u64>,
    extent: u64,
    /// What it delivered, at these positions and beyond.
    order: &'a [Total],
}

pub(super) fn judge(court: &mut Court<'_>) {
    let group = court.group;
    for chapter in group.chapters() {
        let claims: Vec<Claim<'_>> =
            chapter.spans().filter_map(|(member, span, _)| claim(court, member, span)).collect();
        let Some(longest) = claims.iter().max_by_key(|claim| claim.extent) else {
            continue;
        };
        let most = most(&claims);
        for (member, span, _) in chapter.movers() {
            hold(court, &most, longest, member, span);
        }
        for claim in &claims {
            let differ = differ(claim.order, longest.order);
            if let Some(position) = differ.filter(|position| *position < claim.extent) {
                let id = court.id(longest.who).to_owned();
                let what = format!("stable position {position} is another update at {id}");
                court.report(claim.who, Some(chapter.view), what);
            }
        }
    }
}

/// Everything that a member called stable in a view.
fn claim<'a>(court: &mut Court<'_>, member: &Membership, span: &'a Span) -> Option<Claim<'a>> {
    let mut counts = vec![0; span.members.len()];
    let mut extent = 0;
    let mut said = false;
    for step in &span.steps {
        match step {
            Step::Stable(mark) => {
                let cut = span.cut(mark);
                if mark.stranger {
                    court.blame(member, span.view, "stable updates of a stranger".into());
                }
                if cut.iter().zip(&counts).any(|(new, old)| new < old) || mark.extent < extent {
                    // Deliveries of level stable may run ahead of the line, marks never fall.
                    let what = format!("stable fell to {cut:?} and {} positions", mark.extent);
                    court.blame(member, span.view, what);
                }
                raise(&mut counts, cut);
                extent = extent.max(mark.extent);
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
    said.then_some(Claim { who: member.who, counts, extent, order: &span.totals })
}

fn raise(counts: &mut [u64], by: &[u64]) {
    for (count, by) in counts.iter_mut().zip(by) {
        *count = (*count).max(*by);
    }
}

/// The most that anybody called stable of each lane, with who did.
fn most(claims: &[Claim<'_>]) -> Vec<(u64, Who)> {
    let mut most: Vec<(u64, Who)> = Vec::new();
    for claim in claims {
        most.resize(most.len().max(claim.counts.len()), (0, claim.who));
        for (most, count) in most.iter_mut().zip(&claim.counts) {
            if *count > most.0 {
                *most = (*count, claim.who);
            }
        }
    }
    most
}

/// Whether a member that moved on has all that was claimed. That the claims agree with the longest
/// one is looked at apart.
fn hold(
    court: &mut Court<'_>,
    most: &[(u64, Who)],
    longest: &Claim<'_>,
    member: &Membership,
    span: &Span,
) {
    let delivered = &span.delivered;
    let lacks = most.iter().zip(delivered).position(|((must, _), have)| must > have);
    if let Some(rank) = lacks {
        let (must, who) = most[rank];
        let what = format!(
            "moves on with {} updates of {}, {must} were stable at {}",
            delivered[rank],
            court.id(span.members[rank]),
            court.id(who),
        );
        court.blame(member, span.view, what);
    }
    let positions = span.totals.last().map_or(0, |(position, _, range)| position + range.count);
    let extent = longest.extent;
    if extent > positions {
        let id = court.id(longest.who);
        let what = format!("moves on with {positions} positions, {extent} were stable at {id}");
        court.blame(member, span.view, what);
    }
    let differ = differ(longest.order, &span.totals);
    if let Some(position) = differ.filter(|position| *position < extent) {
        let id = court.id(longest.who);
        let what = format!("position {position} was stable as another update at {id}");
        court.blame(member, span.view, what);
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
