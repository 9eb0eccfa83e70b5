//! [`Times`]: when something last happened with each of a few nodes.

use alloc::vec::Vec;

use crate::wire::{Micros, NodeId};

/// One answer serves all that is asked in so short a time.
pub(crate) const ONCE: Micros = 20_000;

/// A time for some of a view's nodes. A list: there are few, it is small, and empty it is nothing.
#[derive(Clone, Debug, Default)]
pub(crate) struct Times {
    list: Vec<(NodeId, Micros)>,
}

impl Times {
    pub(crate) const NONE: Times = Times { list: Vec::new() };

    pub(crate) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    pub(crate) fn get(&self, node: NodeId) -> Option<Micros> {
        self.list.iter().find(|(known, _)| *known == node).map(|&(_, at)| at)
    }

    pub(crate) fn insert(&mut self, node: NodeId, at: Micros) {
        match self.list.iter_mut().find(|(known, _)| *known == node) {
            Some((_, known)) => *known = at,
            None => {
                // A few more, not twice as many: in most groups no more will come.
                self.list.reserve_exact(2 + self.list.len() / 4);
                self.list.push((node, at));
            }
        }
    }

    pub(crate) fn remove(&mut self, node: NodeId) {
        self.list.retain(|(known, _)| *known != node);
    }

    /// Forgets what was no later than `at`.
    pub(crate) fn forget(&mut self, at: Micros) {
        if !self.list.is_empty() {
            self.list.retain(|(_, known)| *known > at);
            if self.list.is_empty() {
                self.list = Vec::new();
            }
        }
    }

    pub(crate) fn clear(&mut self) {
        self.list = Vec::new();
    }
}

#[cfg(test)]
mod tests {
    use super::Times;
    use crate::wire::NodeId;

    #[test]
    fn the_last_time_of_a_node_counts() {
        let mut times = Times::default();
        times.insert(NodeId(1), 5);
        times.insert(NodeId(2), 6);
        times.insert(NodeId(1), 7);
        assert_eq!((times.get(NodeId(1)), times.get(NodeId(2))), (Some(7), Some(6)));
        times.remove(NodeId(1));
        assert_eq!((times.get(NodeId(1)), times.get(NodeId(2))), (None, Some(6)));
        times.forget(5);
        assert_eq!(times.get(NodeId(2)), Some(6));
        times.forget(6);
        assert_eq!(times.list.capacity(), 0);
        times.insert(NodeId(2), 6);
        times.clear();
        assert_eq!(times.get(NodeId(2)), None);
    }
}
