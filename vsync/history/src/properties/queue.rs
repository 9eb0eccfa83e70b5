//! The queue behind a view change: what a member hands in is numbered once, in that order, across
//! views, unless the others end its membership before. Who leaves in order leaves nothing behind.
//!
//! Updates are told apart by class and count, as histories name them before they have numbers.

use std::collections::VecDeque;

use crate::check::Court;
use crate::event::Class;
use crate::model::{End, Membership, Range, Span, Step};

pub(super) fn judge(court: &mut Court<'_>) {
    let group = court.group;
    for membership in &group.memberships {
        let mut waiting = Waiting::new();
        for span in &membership.spans {
            for step in &span.steps {
                match step {
                    Step::Submit { count, class } => append(&mut waiting, *class, *count),
                    Step::Send(range) => number(court, &mut waiting, membership, span, range),
                    _ => {}
                }
            }
        }
        let left: u64 = waiting.iter().map(|(_, count)| count).sum();
        let due = match membership.end {
            Some(end) => end.how == End::Closed,
            None => court.is_settled(membership.who),
        };
        if left > 0 && due {
            let view = membership.spans.last().map(|span| span.view);
            court.report(membership.who, view, format!("{left} updates never got a number"));
        }
    }
}

/// Runs of one class that have no numbers yet, oldest first.
type Waiting = VecDeque<(Class, u64)>;

fn append(waiting: &mut Waiting, class: Class, count: u64) {
    match waiting.back_mut() {
        Some((last, length)) if *last == class => *length = length.saturating_add(count),
        _ if count > 0 => waiting.push_back((class, count)),
        _ => {}
    }
}

/// The next updates in line get numbers.
fn number(
    court: &mut Court<'_>,
    waiting: &mut Waiting,
    membership: &Membership,
    span: &Span,
    range: &Range,
) {
    let mut left = range.count;
    while left > 0 {
        let what = match waiting.front_mut() {
            Some((class, count)) if *class == range.class => {
                let taken = left.min(*count);
                (left, *count) = (left - taken, *count - taken);
                if *count == 0 {
                    waiting.pop_front();
                }
                continue;
            }
            Some((class, _)) => format!("a {class:?} update is next"),
            None => "nothing was submitted".to_owned(),
        };
        let (class, end) = (range.class, range.end());
        let what = format!("numbers {class:?} {}..{end}, {what}", end - left);
        return court.blame(membership, span.view, what);
    }
}

#[cfg(test)]
mod tests {
    use crate::properties::story::{accepts, accepts_settled, rejects, rejects_settled};

    const ONE: &str = "a view 1 a; a submit 2 fifo; a submit 1 total; a submit 1 fifo;
        a send 0 1 fifo; a deliver a 0 1 fifo; a accepted a=1; a view 2 a;";

    #[test]
    fn what_waits_goes_out_in_the_next_view() {
        accepts(&format!("{ONE} a send 0 1 fifo; a send 1 1 total; a send 2 1 fifo"));
    }

    #[test]
    fn another_order() {
        rejects("queue", &format!("{ONE} a send 0 1 total; a send 1 2 fifo"));
    }

    #[test]
    fn numbered_again() {
        rejects("queue", &format!("{ONE} a send 0 2 fifo"));
        rejects("queue", &format!("{ONE} a send 0 1 fifo; a send 1 1 total; a send 2 2 fifo"));
    }

    #[test]
    fn a_number_before_the_submission() {
        rejects("queue", "a view 1 a; a send 0 1 fifo; a submit 1 fifo");
    }

    #[test]
    fn what_is_never_numbered() {
        let rest = "a deliver a 0 1 fifo; a deliver a 1 1 total 0; a stable a=2 ^1";
        let text = format!("{ONE} a send 0 1 fifo; a send 1 1 total; {rest}");
        accepts(&text);
        accepts(&format!("{text}; a excluded"));
        rejects("queue", &format!("{text}; a closed"));
        rejects_settled("queue", &["a"], &text);
        let text = format!("{text}; a send 2 1 fifo; a deliver a 2 1 fifo; a stable a=3 ^1");
        accepts_settled(&["a"], &text);
    }
}
