//! [`Latest`]: values of which a node's thousands of groups have the same few.

use std::borrow::Borrow;
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// Most values to look through.
const LATEST: usize = 32;

/// The values that were made last, as long as somebody has them: who makes an equal one gets that.
pub(crate) struct Latest<T: ?Sized>(Mutex<Vec<Weak<T>>>);

impl<T: PartialEq + ?Sized> Latest<T> {
    pub(crate) const fn new() -> Latest<T> {
        Latest(Mutex::new(Vec::new()))
    }

    /// This value, or an equal one that is there already.
    pub(crate) fn share<V: Borrow<T> + Into<Arc<T>>>(&self, value: V) -> Arc<T> {
        let mut latest = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        latest.retain(|known| known.strong_count() > 0);
        let mut known = latest.iter().rev().filter_map(Weak::upgrade);
        if let Some(known) = known.find(|known| **known == *value.borrow()) {
            return known;
        }
        let value = value.into();
        if latest.len() == LATEST {
            latest.remove(0);
        }
        latest.push(Arc::downgrade(&value));
        value
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::{LATEST, Latest};

    #[test]
    fn equal_values_are_one_as_long_as_somebody_has_it() {
        let latest = Latest::<str>::new();
        let (one, other) = (latest.share("one"), latest.share("other"));
        assert!(Arc::ptr_eq(&one, &latest.share("one")));
        assert!(!Arc::ptr_eq(&one, &other));
        drop(other);
        drop(latest.share("another"));
        assert_eq!(latest.0.lock().expect("whole").len(), 2, "the dead make room");
        let all: Vec<_> = (0..2 * LATEST).map(|number| latest.share(number.to_string())).collect();
        assert_eq!(latest.0.lock().expect("whole").len(), LATEST);
        assert!(Arc::ptr_eq(&all[2 * LATEST - 1], &latest.share((2 * LATEST - 1).to_string())));
    }
}
