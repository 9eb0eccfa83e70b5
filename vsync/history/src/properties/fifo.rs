//! Sender order, whatever the classes: what a member delivers of another is a prefix of what that
//! one sent in the view.

use crate::check::Court;
use crate::model::Step;

pub(super) fn judge(court: &mut Court<'_>) {
    let group = court.group;
    for membership in &group.memberships {
        for span in &membership.spans {
            let mut next = vec![0; span.members.len()];
            for step in &span.steps {
                let Step::Deliver { sender: Some(rank), range, .. } = step else {
                    continue;
                };
                if range.seq > next[*rank] {
                    let id = court.id(span.members[*rank]).to_owned();
                    let what = format!("delivers {} of {id} before {}", range.seq, next[*rank]);
                    court.blame(membership, span.view, what);
                }
                next[*rank] = next[*rank].max(range.end());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::properties::story::{accepts, rejects};

    const TWO: &str = "a view 1 a b; b view 1 a b;
        a send 0 1 total; a send 1 1 fifo; a deliver a 0 1 total 0; a deliver a 1 1 fifo;";

    #[test]
    fn one_after_the_other() {
        accepts(&format!("{TWO} b deliver a 0 1 total 0; b deliver a 1 1 fifo"));
    }

    #[test]
    fn a_fifo_update_overtakes_a_total_one() {
        rejects("fifo", &format!("{TWO} b deliver a 1 1 fifo; b deliver a 0 1 total 0"));
    }
}
