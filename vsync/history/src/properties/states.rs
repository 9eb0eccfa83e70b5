//! States: digests taken at the same cut of the same view are equal.
//!
//! For types whose concurrent updates do not commute only totals make states equal; a run of such a
//! type is not judged by this (`Expectations::divergent`).

use std::collections::HashMap;

use crate::check::Court;
use crate::model::Step;

pub(super) fn judge(court: &mut Court<'_>) {
    if court.expectations.divergent {
        return;
    }
    let group = court.group;
    let mut known = HashMap::new();
    for membership in &group.memberships {
        for span in &membership.spans {
            for step in &span.steps {
                let Step::State { mark, hash } = step else {
                    continue;
                };
                let cut = span.cut(mark);
                let key = (span.view, cut, mark.extent);
                let (first, other) = *known.entry(key).or_insert((membership.who, hash));
                if other != hash {
                    let id = court.id(first).to_owned();
                    let what = format!("state {hash} at {cut:?}, {id} has {other}");
                    court.blame(membership, span.view, what);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::properties::story::{accepts, rejects};

    const TWO: &str = "a view 1 a b; b view 1 a b; a send 0 2 fifo; a deliver a 0 2 fifo;
        b deliver a 0 1 fifo;";

    #[test]
    fn other_cuts_other_states() {
        accepts(&format!("{TWO} a state 12 a=2; b state 13 a=1"));
    }

    #[test]
    fn one_cut_two_states() {
        rejects("states", &format!("{TWO} a state 12 a=1; b state 13 a=1"));
    }
}
