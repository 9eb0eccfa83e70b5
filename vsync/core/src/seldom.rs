//! [`Seldom`]: what most groups have none of most of the time takes a pointer in each of them.

use alloc::boxed::Box;
use core::ops::Deref;

/// A value that mostly is as it was at the beginning. It takes room only while it is not.
///
/// Looking at it makes nothing: only [`Seldom::make`] does.
#[derive(Clone, Debug)]
pub(crate) struct Seldom<T>(Option<Box<T>>);

/// What has a beginning that all can look at.
pub(crate) trait Blank: Clone + 'static {
    /// The value at the beginning.
    fn blank() -> &'static Self;

    /// Whether this is no other than that: it may be given back, and made anew.
    fn is_blank(&self) -> bool;
}

impl<T> Default for Seldom<T> {
    fn default() -> Self {
        Seldom(None)
    }
}

impl<T> Seldom<T> {
    /// The value, if there is one: where that is all that matters, it takes less than looking at
    /// the blank one.
    pub(crate) fn get(&self) -> Option<&T> {
        self.0.as_deref()
    }

    /// The value, to change it, if there is one.
    pub(crate) fn made(&mut self) -> Option<&mut T> {
        self.0.as_deref_mut()
    }
}

impl<T: Blank> Seldom<T> {
    /// The value, to change it; it is made where there is none.
    pub(crate) fn make(&mut self) -> &mut T {
        self.0.get_or_insert_with(|| Box::new(T::blank().clone()))
    }

    /// Gives the room back where the value is as it was at the beginning.
    pub(crate) fn rest(&mut self) {
        if self.0.as_ref().is_some_and(|value| value.is_blank()) {
            self.0 = None;
        }
    }
}

impl<T: Blank> Deref for Seldom<T> {
    type Target = T;

    fn deref(&self) -> &T {
        match &self.0 {
            Some(value) => value,
            None => T::blank(),
        }
    }
}

/// Whether a value that was changed so is still there at rest.
#[cfg(test)]
pub(crate) fn lasts<T: Blank>(change: impl FnOnce(&mut T)) -> bool {
    let mut value = Seldom::<T>::default();
    change(value.make());
    value.rest();
    value.get().is_some()
}

#[cfg(test)]
mod tests {
    use super::{Blank, Seldom};
    use crate::group::Membership;
    use crate::ordering::Lane;

    #[derive(Clone, Debug, PartialEq)]
    struct Count(u64);

    impl Blank for Count {
        fn blank() -> &'static Self {
            &Count(0)
        }

        fn is_blank(&self) -> bool {
            self.0 == 0
        }
    }

    #[test]
    fn it_is_there_while_something_is_in_it() {
        let mut count = Seldom::<Count>::default();
        assert_eq!(*count, Count(0));
        assert_eq!(count.made(), None);
        count.make().0 = 3;
        count.rest();
        assert_eq!(*count, Count(3));
        assert_eq!(count.made(), Some(&mut Count(3)), "what counts is kept");
        count.make().0 = 0;
        assert_eq!(count.made(), Some(&mut Count(0)), "until all is at rest");
        count.rest();
        assert_eq!(count.made(), None);
        assert_eq!(*count, Count(0));
    }

    /// A node may have ten thousand groups, and more of this is more in each of them: what most of
    /// them have none of belongs into a [`Seldom`].
    #[cfg(target_pointer_width = "64")]
    #[test]
    fn what_there_is_of_each_group_stays_small() {
        assert!(size_of::<Membership>() <= 592, "{}", size_of::<Membership>());
        assert!(size_of::<Lane>() <= 24, "{}", size_of::<Lane>());
    }
}
