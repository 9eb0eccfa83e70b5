//! Virtual synchrony: members that go from one view to the same next view delivered the same set in
//! it, and the next view names exactly those that moved together.

use crate::check::Court;
use crate::model::{Membership, Span, Who};

pub(super) fn judge(court: &mut Court<'_>) {
    let mut went: Vec<Who> = Vec::new();
    for chapter in court.group.chapters() {
        let Some((first, old, _)) = chapter.movers().next() else {
            continue;
        };
        let cut = &old.delivered;
        went.clear();
        for (member, span, _) in chapter.movers() {
            went.push(member.who);
            let other = &span.delivered;
            if other != cut {
                let id = court.id(first.who);
                let what = format!("leaves with {other:?} delivered, {id} with {cut:?}");
                court.blame(member, chapter.view, what);
            }
        }
        for (member, old, new) in chapter.movers() {
            together(court, &went, member, old, new);
        }
    }
}

/// The transitional set: all of the old view that the new one lists. A member that crashed on the
/// way may be named; one that moved must be.
fn together(court: &mut Court<'_>, went: &[Who], member: &Membership, old: &Span, new: &Span) {
    let named = |who: Who| new.together.contains(&who);
    for &who in &new.together {
        if old.rank(who).is_none() || new.rank(who).is_none() {
            let what = format!("{} did not come along", court.id(who));
            court.blame(member, new.view, what);
        }
    }
    for &who in &old.members {
        let stays = new.rank(who).is_some();
        if (stays || went.contains(&who)) && !named(who) {
            let what = format!("{} came along, but is not named", court.id(who));
            court.blame(member, new.view, what);
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::properties::story::{accepts, rejects};

    const THREE: &str = "a view 1 a b c; b view 1 a b c; c view 1 a b c; a send 0 2 fifo;
        a deliver a 0 2 fifo; b deliver a 0 2 fifo;
        a accepted a=2; b accepted a=2; c accepted a=2;";

    #[test]
    fn who_stays_behind_may_differ() {
        accepts(&format!("{THREE} c deliver a 0 1 fifo; a view 2 a b; b view 2 a b"));
    }

    #[test]
    fn who_moves_together_may_not() {
        rejects(
            "synchrony",
            &format!(
                "{THREE} c deliver a 0 1 fifo; a view 2 a b c; b view 2 a b c; c view 2 a b c"
            ),
        );
    }

    #[test]
    fn a_transitional_set_with_too_few() {
        rejects(
            "synchrony",
            &format!("{THREE} a view 2 a b together=a; b view 2 a b together=a,b"),
        );
    }

    #[test]
    fn a_transitional_set_with_too_many() {
        rejects(
            "synchrony",
            &format!("{THREE} a view 2 a b together=a,b,c; b view 2 a b together=a,b"),
        );
    }
}
