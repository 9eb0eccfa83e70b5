//! Which groups may change their view now, so that the death of a node that was in ten thousand
//! groups does not freeze them all at once.

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::wire::{GroupId, Micros};

/// The groups whose view changes this node leads, and those that wait to begin.
///
/// A group that waits is not frozen: it goes on in its view. Only the beginning waits: a change
/// that is under way is never held up, whoever began it.
#[derive(Clone, Debug)]
pub(crate) struct Changes {
    /// Most of them at once.
    limit: usize,
    /// Since when each is under way.
    begun: BTreeMap<GroupId, Micros>,
    queue: VecDeque<GroupId>,
    queued: BTreeSet<GroupId>,
}

impl Changes {
    pub(crate) fn new(limit: usize) -> Self {
        Changes {
            limit: limit.max(1),
            begun: BTreeMap::new(),
            queue: VecDeque::new(),
            queued: BTreeSet::new(),
        }
    }

    /// Whether a group may begin now. If not, it is called when it may.
    pub(crate) fn begin(&mut self, group: GroupId, now: Micros) -> bool {
        let free = self.begun.len() < self.limit || self.begun.contains_key(&group);
        if free {
            self.begun.insert(group, now);
        } else if self.queued.insert(group) {
            self.queue.push_back(group);
        }
        free
    }

    /// Since when a group's change is under way, as far as it counts.
    pub(crate) fn since(&self, group: GroupId) -> Option<Micros> {
        self.begun.get(&group).copied()
    }

    /// It counts no more.
    pub(crate) fn end(&mut self, group: GroupId) {
        self.begun.remove(&group);
    }

    /// The next group to ask whether it still wants to begin, if there is room.
    pub(crate) fn next(&mut self) -> Option<GroupId> {
        let group = (self.begun.len() < self.limit).then(|| self.queue.pop_front()).flatten()?;
        self.queued.remove(&group);
        Some(group)
    }
}

#[cfg(test)]
mod tests {
    use super::Changes;
    use crate::wire::GroupId;

    #[test]
    fn groups_wait_in_line() {
        let mut changes = Changes::new(1);
        let (one, two, three) = (GroupId(1), GroupId(2), GroupId(3));
        assert!(changes.begin(two, 5));
        assert!(changes.begin(two, 6), "it has its place");
        assert!(!changes.begin(three, 6) && !changes.begin(one, 7) && !changes.begin(three, 8));
        assert_eq!((changes.since(two), changes.since(one), changes.next()), (Some(6), None, None));
        changes.end(two);
        assert_eq!(changes.next(), Some(three));
        assert!(changes.begin(three, 9));
        assert_eq!(changes.next(), None);
        changes.end(three);
        assert_eq!((changes.next(), changes.next()), (Some(one), None));
    }
}
