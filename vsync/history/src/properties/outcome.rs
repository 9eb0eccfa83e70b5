//! Outcomes: who is told how many of its updates are in the final cut of its last view is told what
//! those who moved on delivered of it. Who leaves in order loses none of them.

use crate::check::Court;
use crate::model::End;

pub(super) fn judge(court: &mut Court<'_>) {
    let group = court.group;
    for membership in &group.memberships {
        let Some(end) = membership.end else { continue };
        let Some(own) = end.own else { continue };
        let sent = membership.span(end.view).map_or(own, |span| span.sent());
        if own > sent || (own < sent && end.how == End::Closed) {
            let what = format!("is told that {own} of its {sent} updates survive");
            court.blame(membership, end.view, what);
        }
        let mut movers = group.chapter(end.view).movers();
        let Some((mover, span, next)) = movers.next() else { continue };
        let delivered = span.rank(membership.who).map(|rank| span.delivered[rank]);
        if next.view == end.view + 1 && delivered != Some(own) {
            let what = format!(
                "is told that {own} of its updates survive, {} delivered {}",
                court.id(mover.who),
                delivered.unwrap_or(0)
            );
            court.blame(membership, end.view, what);
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::properties::story::{accepts, rejects};

    const THREE: &str = "a view 1 a b c; b view 1 a b c; c view 1 a b c; c send 0 3 fifo;
        c deliver c 0 3 fifo; a deliver c 0 2 fifo; b deliver c 0 2 fifo; a accepted c=2;
        b accepted c=2;";
    const MOVE: &str = "a view 2 a b; b view 2 a b;";

    #[test]
    fn the_truth_or_nothing() {
        accepts(&format!("{THREE} {MOVE} c excluded own=2"));
        accepts(&format!("{THREE} {MOVE} c excluded"));
        // Nobody who could tell has moved on yet.
        accepts(&format!("{THREE} c excluded own=2"));
    }

    #[test]
    fn too_many_or_too_few() {
        rejects("outcome", &format!("{THREE} {MOVE} c excluded own=3"));
        rejects("outcome", &format!("{THREE} {MOVE} c excluded own=1"));
        rejects("outcome", &format!("{THREE} {MOVE} c closed own=3"));
    }

    #[test]
    fn more_than_were_sent() {
        rejects("outcome", &format!("{THREE} c excluded own=4"));
    }

    #[test]
    fn a_leaver_that_loses_some() {
        accepts(&format!("{THREE} c closed own=3"));
        rejects("outcome", &format!("{THREE} c closed own=2"));
    }
}
