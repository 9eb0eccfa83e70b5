//! What the groups of a node wait for, so that an input costs the same whether the node has one
//! group or ten thousand.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use crate::wire::{GroupId, Micros};

/// Groups that one call of the engine looks after because they are due: so many take some
/// milliseconds, after which a heartbeat may be due, or have come.
const MOST: usize = 512;

/// When groups want to be called, and which of them have been.
#[derive(Clone, Debug, Default)]
pub(crate) struct Agenda {
    due: BTreeSet<(Micros, GroupId)>,
    at: BTreeMap<GroupId, Micros>,
    /// Groups that this call of the engine has run anything on.
    visited: Vec<GroupId>,
    /// Groups that something has happened to since their batches were last closed.
    unclosed: BTreeSet<GroupId>,
}

impl Agenda {
    /// Something is run on this group.
    pub(crate) fn visit(&mut self, group: GroupId) {
        if self.visited.last() != Some(&group) {
            self.visited.push(group);
        }
    }

    /// The groups visited since this was last asked.
    pub(crate) fn visited(&mut self) -> Vec<GroupId> {
        core::mem::take(&mut self.visited)
    }

    /// Gives the room of the list back for the next call.
    pub(crate) fn recycle(&mut self, mut visited: Vec<GroupId>) {
        visited.clear();
        self.visited = visited;
    }

    /// A group that was visited wants to be called at `at`; its batch may be open.
    pub(crate) fn set(&mut self, group: GroupId, at: Option<Micros>) {
        self.unclosed.insert(group);
        let before = match at {
            Some(at) => self.at.insert(group, at),
            None => self.at.remove(&group),
        };
        if before == at {
            return;
        }
        if let Some(before) = before {
            self.due.remove(&(before, group));
        }
        if let Some(at) = at {
            self.due.insert((at, group));
        }
    }

    /// A group is over.
    pub(crate) fn forget(&mut self, group: GroupId) {
        self.set(group, None);
        self.unclosed.remove(&group);
    }

    /// When the first is due.
    pub(crate) fn first(&self) -> Option<Micros> {
        self.due.first().map(|&(at, _)| at)
    }

    /// Groups that are due, in the order of their numbers: of very many those that have been for
    /// the longest. The others are due all the same.
    pub(crate) fn due(&self, now: Micros) -> BTreeSet<GroupId> {
        let due = self.due.iter().take_while(|(at, _)| *at <= now);
        due.take(MOST).map(|&(_, group)| group).collect()
    }

    /// The batch of a group was closed in this call.
    pub(crate) fn closed(&mut self, group: GroupId) {
        self.unclosed.remove(&group);
    }

    /// The groups whose batches may be open; each is to be run now.
    pub(crate) fn unclosed(&mut self) -> BTreeSet<GroupId> {
        core::mem::take(&mut self.unclosed)
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::{Agenda, MOST};
    use crate::wire::GroupId;

    #[test]
    fn groups_are_due_when_they_say_so() {
        let mut agenda = Agenda::default();
        let (one, two, three) = (GroupId(1), GroupId(2), GroupId(3));
        agenda.set(three, Some(5));
        agenda.set(one, Some(5));
        agenda.set(two, Some(9));
        assert_eq!(agenda.first(), Some(5));
        assert_eq!(agenda.due(5).into_iter().collect::<Vec<_>>(), [one, three]);
        agenda.set(one, Some(20));
        agenda.set(three, None);
        assert_eq!(agenda.first(), Some(9));
        agenda.forget(two);
        assert_eq!(agenda.first(), Some(20));
        agenda.closed(one);
        assert_eq!(agenda.unclosed().into_iter().collect::<Vec<_>>(), [three]);
        assert!(agenda.unclosed().is_empty());
    }
    #[test]
    fn of_very_many_those_are_first_that_have_waited_for_longest() {
        let mut agenda = Agenda::default();
        let all = 2 * MOST as u64 + 1;
        (0..all).for_each(|group| agenda.set(GroupId(group), Some(all - group)));
        let mut served = Vec::new();
        for rest in [MOST + 1, 1, 0] {
            let due = agenda.due(all);
            assert_eq!(agenda.first(), Some(1 + served.len() as u64), "whoever is left is due");
            served.extend(due.iter().copied());
            due.into_iter().for_each(|group| agenda.set(group, None));
            assert_eq!(served.len() + rest, all as usize);
        }
        assert_eq!(served[0], GroupId(all - MOST as u64), "in the order of their numbers");
        assert!(agenda.due(all).is_empty());
    }
}
