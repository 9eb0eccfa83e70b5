//! [`Encoded`]: copies of the state that are being encoded beside delivery.

use std::collections::BTreeSet;

use super::Slot;
use crate::runtime::seldom::Blank;

/// What is being encoded, by the names of the work.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Encoded(BTreeSet<u64>);

static NONE: Encoded = Encoded(BTreeSet::new());

impl Blank for Encoded {
    fn blank() -> &'static Self {
        &NONE
    }
}

impl Encoded {
    pub(super) fn contains(&self, work: u64) -> bool {
        self.0.contains(&work)
    }
}

impl Slot {
    /// A copy of the state is being encoded under this name.
    pub(crate) fn encodes(&mut self, work: u64) {
        self.encoding.0.insert(work);
    }

    /// This work is done; whether it was that of encoding a copy for this membership.
    pub(crate) fn has_encoded(&mut self, work: u64) -> bool {
        let was = self.encoding.made().is_some_and(|encoding| encoding.0.remove(&work));
        self.encoding.give_back();
        was
    }
}
