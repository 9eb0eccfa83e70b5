//! State transfer: what a joiner loads is the checkpoint that its donor took at the install of the
//! label, before any delivery in it; views and deliveries follow from there.

use crate::check::Court;
use crate::model::{Loaded, Membership, Span, Step};

pub(super) fn judge(court: &mut Court<'_>) {
    let group = court.group;
    for membership in &group.memberships {
        for span in &membership.spans {
            taken(court, membership, span);
        }
        arrival(court, membership);
        for loaded in &membership.loaded {
            from_donor(court, membership, loaded);
        }
    }
}

/// Checkpoints are taken before any delivery in the view, for joining members.
fn taken(court: &mut Court<'_>, membership: &Membership, span: &Span) {
    let mut delivered = false;
    for step in &span.steps {
        match step {
            Step::Deliver { .. } => delivered = true,
            Step::Checkpoint { joiner, .. } => {
                let id = court.id(*joiner).to_owned();
                if delivered {
                    let what = format!("takes the checkpoint for {id} after a delivery");
                    court.blame(membership, span.view, what);
                }
                if span.rank(*joiner).is_none() || span.is_active(*joiner) {
                    let what = format!("takes a checkpoint for {id}, which is not joining");
                    court.blame(membership, span.view, what);
                }
                if !span.is_active(membership.who) {
                    let what = format!("takes a checkpoint for {id}, but is not active");
                    court.blame(membership, span.view, what);
                }
            }
            _ => {}
        }
    }
}

/// A history starts with what was loaded, then the label; only who made the group has no donor.
fn arrival(court: &mut Court<'_>, membership: &Membership) {
    let Some(first) = membership.spans.first() else {
        return;
    };
    match &membership.loaded[..] {
        [] => {
            if first.view != 1 && !first.is_active(membership.who) {
                court.blame(membership, first.view, "joins without a checkpoint".into());
            }
        }
        [loaded] => {
            if loaded.after_views > 0 {
                court.blame(membership, loaded.view, "loads a checkpoint in its middle".into());
            } else if loaded.view != first.view {
                let what = format!("loads the label {}, starts in {}", loaded.view, first.view);
                court.blame(membership, first.view, what);
            }
        }
        [_, again, ..] => {
            court.blame(membership, again.view, "loads a second checkpoint".into());
        }
    }
}

/// The same bytes that the donor took.
fn from_donor(court: &mut Court<'_>, membership: &Membership, loaded: &Loaded) {
    let group = court.group;
    let from = court.id(loaded.from).to_owned();
    let donor = group.membership(loaded.from);
    let span = donor.and_then(|donor| donor.span(loaded.view));
    let steps = span.map_or(&[][..], |span| &span.steps);
    let found = steps.iter().find_map(|step| match step {
        Step::Checkpoint { bytes, hash, joiner } if *joiner == membership.who => {
            Some((*bytes, hash.as_str()))
        }
        _ => None,
    });
    match found {
        Some(found) if found == (loaded.bytes, loaded.hash.as_str()) => {}
        Some((bytes, hash)) => {
            let what = format!(
                "loaded {} bytes {} from {from}, which took {bytes} bytes {hash}",
                loaded.bytes, loaded.hash
            );
            court.blame(membership, loaded.view, what);
        }
        // A donor that was killed may have lost the line.
        None if court.expectations.complete || wrote_on(donor, loaded.view) => {
            let what = format!("loaded a checkpoint that {from} did not take for it");
            court.blame(membership, loaded.view, what);
        }
        None => {}
    }
}

/// Whether a member wrote anything that comes after the checkpoints of a view.
fn wrote_on(donor: Option<&Membership>, view: u64) -> bool {
    donor.is_some_and(|donor| {
        donor.end.is_some()
            || donor.spans.last().is_some_and(|last| {
                let delivered = || last.steps.iter().any(|it| matches!(it, Step::Deliver { .. }));
                last.view > view || (last.view == view && delivered())
            })
    })
}

#[cfg(test)]
mod tests {
    use crate::properties::story::{accepts, rejects, rejects_complete};

    #[test]
    fn a_joiner_goes_on_from_its_label() {
        accepts(
            "a view 1 a; a accepted; a view 2 a +b; a point b 9 77; a send 0 1 total;
            a deliver a 0 1 total 0; a accepted a=1 ^1; a view 3 a b;
            b load 2 a 9 77; b view 2 a +b; b deliver a 0 1 total 0; b view 3 a b",
        );
    }

    #[test]
    fn a_checkpoint_may_be_written_beside_delivery() {
        let story = |point: &str| {
            format!(
                "a view 1 a; a accepted; a view 2 a +b; a send 0 1 total; a deliver a 0 1 total 0;
                a accepted a=1 ^1; a view 3 a +b; {point};
                b load 2 a 9 77; b view 2 a +b; b deliver a 0 1 total 0; b view 3 a +b"
            )
        };
        accepts(&story("a point b 9 77 0 2"));
        rejects("join", &story("a point b 9 77 1 2"));
    }

    #[test]
    fn other_bytes() {
        rejects(
            "join",
            "a view 1 a; a accepted; a view 2 a +b; a point b 9 77; b load 2 a 9 78; b view 2 a +b",
        );
    }

    #[test]
    fn another_label() {
        rejects(
            "join",
            "a view 1 a; a accepted; a view 2 a +b; a point b 9 77; a accepted; a view 3 a +b;
            b load 2 a 9 77; b view 3 a +b",
        );
    }

    #[test]
    fn a_checkpoint_after_a_delivery() {
        rejects(
            "join",
            "a view 1 a; a accepted; a view 2 a +b; a send 0 1 fifo; a deliver a 0 1 fifo;
            a point b 9 77",
        );
    }

    #[test]
    fn a_checkpoint_nobody_took() {
        rejects_complete(
            "join",
            "a view 1 a; a accepted; a view 2 a +b; b load 2 a 9 7; b view 2 a +b",
        );
        // The donor's last lines may be lost.
        accepts("a view 1 a; a accepted; a view 2 a +b; b load 2 a 9 7; b view 2 a +b");
    }

    #[test]
    fn a_joiner_without_a_checkpoint() {
        rejects("join", "a view 1 a; a accepted; a view 2 a +b; b view 2 a +b");
    }

    #[test]
    fn loading_twice() {
        rejects(
            "join",
            "a view 1 a; a accepted; a view 2 a +b; a point b 9 7; b load 2 a 9 7; b load 2 a 9 7;
            b view 2 a +b",
        );
    }
}
