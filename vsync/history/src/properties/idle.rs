//! Back to idle: where all is at rest, nothing is kept in buffers and nothing waits.
//!
//! Only members that the caller vouches for are judged (`Expectations::settled`), and of those the
//! ones that say what they keep.

use crate::check::Court;

pub(super) fn judge(court: &mut Court<'_>) {
    let group = court.group;
    for membership in &group.memberships {
        let Some((retained, queued)) = membership.idle else {
            continue;
        };
        if (retained, queued) != (0, 0) && court.is_settled(membership.who) {
            let view = membership.spans.last().map(|span| span.view);
            let what = format!("keeps {retained} bytes and {queued} updates at rest");
            court.report(membership.who, view, what);
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::properties::story::{accepts, accepts_settled, rejects_settled};

    #[test]
    fn nothing_is_left() {
        accepts_settled(&["a"], "a view 1 a; a idle 0 0");
    }

    #[test]
    fn who_may_not_be_at_rest_may_keep_something() {
        accepts("a view 1 a; a idle 7 1");
    }

    #[test]
    fn bytes_or_updates_are_left() {
        rejects_settled("idle", &["a"], "a view 1 a; a idle 7 0");
        rejects_settled("idle", &["a"], "a view 1 a; a idle 0 1");
    }
}
