//! No call is left hanging: every flush is answered once, when all that was delivered or submitted
//! there before it is stable: inside a `stable` line of its view, or of an earlier view.

use crate::check::Court;
use crate::model::{Membership, Range, Step};

/// What was there when a flush was asked for.
struct Wait {
    id: u64,
    view: u64,
    delivered: Vec<u64>,
    submitted: u64,
}

impl Wait {
    /// What was there and is not stable, with this much stable in a view and of own updates.
    fn lacks(&self, view: u64, stable: &[u64], own: u64) -> Option<String> {
        let covered = self.delivered.iter().zip(stable).all(|(count, stable)| count <= stable);
        if self.view == view && !covered {
            Some(format!("{:?} delivered, {stable:?} of that", self.delivered))
        } else if self.submitted > own {
            Some(format!("{} submitted, {own} of that", self.submitted))
        } else {
            None
        }
    }
}

pub(super) fn judge(court: &mut Court<'_>) {
    let group = court.group;
    for membership in &group.memberships {
        let flushes = |step: &Step| matches!(step, Step::Flush(_) | Step::Flushed(_));
        if membership.spans.iter().flat_map(|span| &span.steps).any(flushes) {
            answers(court, membership);
        }
    }
}

/// Goes through one membership's lines.
fn answers(court: &mut Court<'_>, membership: &Membership) {
    let mut open: Vec<Wait> = Vec::new();
    let mut asked = Vec::new();
    let (mut submitted, mut before) = (0_u64, 0_u64);
    for span in &membership.spans {
        let rank = span.rank(membership.who);
        let mut delivered = vec![0; span.members.len()];
        let mut stable = vec![0; span.members.len()];
        for step in &span.steps {
            match step {
                Step::Submit { count, .. } => submitted = submitted.saturating_add(*count),
                Step::Deliver { sender: Some(rank), range, .. } => {
                    delivered[*rank] = delivered[*rank].max(range.end());
                }
                Step::Stable(mark) => stable.copy_from_slice(span.cut(mark)),
                Step::Flush(id) if asked.contains(id) => {
                    court.blame(membership, span.view, format!("flush {id} is asked for again"));
                }
                Step::Flush(id) => {
                    asked.push(*id);
                    let delivered = delivered.clone();
                    open.push(Wait { id: *id, view: span.view, delivered, submitted });
                }
                Step::Flushed(id) => {
                    let Some(at) = open.iter().position(|wait| wait.id == *id) else {
                        let what = format!("flush {id} is answered, and nobody waits for it");
                        court.blame(membership, span.view, what);
                        continue;
                    };
                    let wait = open.swap_remove(at);
                    let own = before + rank.map_or(0, |rank| stable[rank]);
                    if let Some(lacks) = wait.lacks(span.view, &stable, own) {
                        let what = format!("flush {id} is answered too early: {lacks} stable");
                        court.blame(membership, span.view, what);
                    }
                }
                _ => {}
            }
        }
        // The view is over for this member if there is another one.
        before += span.sends.iter().map(Range::end).max().unwrap_or(0);
    }
    if membership.end.is_none() && court.is_settled(membership.who) {
        for wait in open {
            let what = format!("flush {} is never answered", wait.id);
            court.blame(membership, wait.view, what);
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::properties::story::{accepts, accepts_settled, rejects, rejects_settled};

    const TWO: &str = "a view 1 a b; b view 1 a b; b send 0 1 fifo; a send 0 2 fifo;
        a deliver a 0 2 fifo; a deliver b 0 1 fifo;";

    #[test]
    fn an_answer_when_all_is_stable() {
        accepts(&format!("{TWO} a stable a=1 b=1; a flush 1; a stable a=2 b=1; a flushed 1"));
        accepts(&format!("{TWO} a stable a=2 b=1; a flush 1; a flushed 1"));
    }

    #[test]
    fn an_answer_in_the_next_view() {
        accepts(&format!(
            "{TWO} a flush 1; b deliver b 0 1 fifo; b deliver a 0 2 fifo; a accepted a=2 b=1;
            b accepted a=2 b=1; a view 2 a b; a flushed 1"
        ));
    }

    #[test]
    fn an_answer_too_early() {
        rejects("calls", &format!("{TWO} a flush 1; a stable a=1 b=1; a flushed 1"));
        rejects("calls", &format!("{TWO} a flush 1; a stable a=2; a flushed 1"));
    }

    #[test]
    fn an_answer_before_what_was_submitted_is_stable() {
        let queued = "a view 1 a; a submit 1 fifo; a flush 1;";
        rejects("calls", &format!("{queued} a flushed 1"));
        rejects("calls", &format!("{queued} a accepted; a view 2 a; a flushed 1"));
        accepts(&format!(
            "{queued} a accepted; a view 2 a; a send 0 1 fifo; a deliver a 0 1 fifo; a stable a=1;
            a flushed 1"
        ));
    }

    #[test]
    fn two_answers_or_two_questions() {
        rejects("calls", "a view 1 a; a flush 1; a flushed 1; a flushed 1");
        rejects("calls", "a view 1 a; a flush 1; a flushed 1; a flush 1; a flushed 1");
    }

    #[test]
    fn an_answer_to_nobody() {
        rejects("calls", "a view 1 a; a flushed 1");
    }

    #[test]
    fn no_answer() {
        accepts("a view 1 a; a flush 1");
        accepts("a view 1 a; a flush 1; a excluded");
        rejects_settled("calls", &["a"], "a view 1 a; a flush 1");
        accepts_settled(&["a"], "a view 1 a; a flush 1; a flushed 1");
    }
}
