//! Exclusion and coming back: a membership that is over is over for ever. A node that comes back is
//! another member with a later view of entry, and no view lists two of one node.

use std::collections::HashMap;

use crate::check::Court;
use crate::model::{Chapter, Group, Misplaced, Who};

pub(super) fn judge(court: &mut Court<'_>) {
    let group = court.group;
    // The last membership of each node so far, by its first member.
    let mut last: HashMap<Who, Who> = HashMap::new();
    for membership in &group.memberships {
        for (why, what) in &membership.misplaced {
            if *why == Misplaced::AfterEnd {
                court.report(membership.who, None, what.clone());
            }
        }
        let who = membership.who;
        if let Some(before) = last.insert(group.nodes[who], who)
            && group.entries[who] <= group.entries[before]
        {
            let what = format!("comes back after {}", court.id(before));
            court.report(who, None, what);
        }
    }
    for chapter in group.chapters() {
        members(court, group, chapter);
    }
}

/// Who is listed by a view. That all write the same list is judged by `views`.
fn members(court: &mut Court<'_>, group: &Group, chapter: Chapter<'_>) {
    let Some((writer, span, _)) = chapter.spans().next() else {
        return;
    };
    for (rank, &who) in span.members.iter().enumerate() {
        let twin = |other: &&Who| **other != who && group.nodes[**other] == group.nodes[who];
        if let Some(&other) = span.members[..rank].iter().find(twin) {
            let what = format!("lists {} and {}, of one node", court.id(other), court.id(who));
            court.blame(writer, chapter.view, what);
        }
        let end = group.membership(who).and_then(|membership| membership.end);
        if let Some(end) = end.filter(|end| end.own.is_some() && end.view < chapter.view) {
            let what = format!("lists {}, decided out after view {}", court.id(who), end.view);
            court.blame(writer, chapter.view, what);
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::properties::story::{accepts, rejects};

    const OUT: &str = "a view 1 a b; b view 1 a b; a accepted; a view 2 a;";
    const BACK: &str = "a accepted; a view 3 a +b'; a point b' 9 7;";

    #[test]
    fn another_member_comes_back() {
        accepts(&format!("{OUT} b excluded own=0; {BACK} b' load 3 a 9 7; b' view 3 a +b'"));
        // Its process may never have been told.
        accepts(&format!("{OUT} {BACK} b' load 3 a 9 7; b' view 3 a +b'"));
    }

    #[test]
    fn something_after_the_end() {
        rejects("rejoin", "a view 1 a; a closed; a send 0 1 fifo");
        rejects("rejoin", "a view 1 a; a excluded; a view 2 a");
        rejects("rejoin", "a view 1 a; a excluded; a closed");
    }

    #[test]
    fn the_old_member_after_the_new_one() {
        let text = format!("{OUT} {BACK} b' load 3 a 9 7; b' view 3 a +b'");
        rejects("rejoin", &format!("{text}; b stable"));
    }

    #[test]
    fn the_same_entry_or_an_earlier_one() {
        rejects("rejoin", "a view 1 a; a view 2 a +b; b view 2 a +b; b excluded; b' view 1 b'");
    }

    #[test]
    fn two_of_one_node() {
        rejects("rejoin", "a view 1 a b; a accepted; b accepted; a view 2 a b +b'");
    }

    #[test]
    fn listed_although_decided_out() {
        let two = "a view 1 a b; b view 1 a b; a accepted; b accepted; a view 2 a b;";
        rejects("rejoin", &format!("{two} b excluded own=0"));
        // Not told of any decision it may have missed its own view.
        accepts(&format!("{two} b excluded"));
    }
}
