//! Same-view delivery: an update is delivered, by whoever delivers it, in the view it was sent in.

use crate::check::Court;
use crate::model::Misplaced;

pub(super) fn judge(court: &mut Court<'_>) {
    let group = court.group;
    for membership in &group.memberships {
        for (why, what) in &membership.misplaced {
            if *why == Misplaced::OtherView {
                court.report(membership.who, None, what.clone());
            }
        }
    }
    // What nobody sent at all is judged by `integrity`.
    for (membership, span, who, range) in group.strays() {
        if let Some(view) = group.sent_in(who, range) {
            let (class, seq, end, id) = (range.class, range.seq, range.end(), court.id(who));
            let what = format!("delivers {class:?} {seq}..{end} of {id}, sent in view {view}");
            court.blame(membership, span.view, what);
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::properties::story::{accepts, rejects};

    const TWO: &str = "a view 1 a b; b view 1 a b; a send 0 3 fifo; a deliver a 0 3 fifo;";
    const ACCEPTED: &str = "a accepted a=3; b accepted a=3;";

    #[test]
    fn all_of_a_view_in_the_view() {
        accepts(&format!(
            "{TWO} b deliver a 0 3 fifo; {ACCEPTED} a view 2 a b; b view 2 a b; a send 0 1 fifo;
            b deliver a 0 1 fifo"
        ));
    }

    #[test]
    fn a_delivery_in_a_later_view() {
        rejects("sameview", &format!("{TWO} {ACCEPTED} b view 2 a b; b deliver a 0 3 fifo"));
    }

    #[test]
    fn a_delivery_that_names_another_view() {
        rejects("sameview", &format!("{TWO} {ACCEPTED} b view 2 a b; b deliver a 0 3 fifo in=1"));
        rejects("sameview", &format!("{TWO} b deliver a 0 3 fifo in=2"));
    }

    #[test]
    fn a_send_that_names_another_view() {
        rejects("sameview", "a view 1 a b; b view 1 a b; a send 0 1 fifo in=2");
    }
}
