//! Times that a sector gives to flights from outside: an aircraft has one at a time.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::zones::Minute;

/// How long a slot is.
const LONG: Minute = 30;

/// A flight that somebody outside would like to make.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Wish {
    /// Names it.
    pub(crate) key: u32,
    /// The aircraft.
    pub(crate) tail: String,
    /// Not earlier.
    pub(crate) from: Minute,
}

/// What becomes of slots: an event of the sector.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum SlotNews {
    /// A wish has its time.
    Taken {
        /// The wish.
        key: u32,
        /// Its time.
        at: Minute,
    },
    /// A time is free again.
    Released {
        /// Whose it was.
        key: u32,
    },
}

/// The slots of a sector.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Slots {
    taken: BTreeMap<u32, (String, Minute)>,
    /// Wishes that came although they had a time: none, as each request takes effect once.
    twice: u32,
}

impl Slots {
    /// The first time at which a wish's aircraft is free.
    pub(crate) fn first_free(&self, wish: &Wish) -> Minute {
        let others = self.taken.values().filter(|(tail, _)| *tail == wish.tail);
        let mut times: Vec<Minute> = others.map(|(_, at)| *at).collect();
        times.sort_unstable();
        let mut from = wish.from;
        for at in times {
            if at < from + LONG && from < at + LONG {
                from = at + LONG;
            }
        }
        from
    }

    /// Gives a wish its time.
    pub(crate) fn take(&mut self, wish: &Wish) -> Minute {
        let at = self.first_free(wish);
        self.twice += u32::from(self.taken.contains_key(&wish.key));
        self.taken.insert(wish.key, (wish.tail.clone(), at));
        at
    }

    /// Gives a time back; `false` if there is none.
    pub(crate) fn release(&mut self, key: u32) -> bool {
        self.taken.remove(&key).is_some()
    }

    /// The time of a wish.
    pub(crate) fn of(&self, key: u32) -> Option<Minute> {
        self.taken.get(&key).map(|(_, at)| *at)
    }

    /// How often a wish came twice.
    pub(crate) fn twice(&self) -> u32 {
        self.twice
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wish(key: u32, tail: &str, from: Minute) -> Wish {
        Wish { key, tail: tail.into(), from }
    }

    #[test]
    fn an_aircraft_has_one_slot_at_a_time() {
        let mut slots = Slots::default();
        assert_eq!(slots.take(&wish(1, "A", 100)), 100);
        assert_eq!(slots.take(&wish(2, "A", 129)), 130);
        assert_eq!(slots.take(&wish(3, "A", 80)), 160, "before the first there is too little");
        assert_eq!(slots.take(&wish(4, "A", 70)), 70);
        assert_eq!(slots.take(&wish(5, "B", 100)), 100, "another aircraft");
        assert!(slots.release(2) && !slots.release(2));
        assert_eq!((slots.of(2), slots.of(3)), (None, Some(160)));
        assert_eq!(slots.take(&wish(6, "A", 110)), 130);
        assert_eq!(slots.twice(), 0);
        slots.take(&wish(6, "A", 110));
        assert_eq!(slots.twice(), 1);
    }
}
