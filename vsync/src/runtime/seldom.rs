//! [`Seldom`]: what most groups never have takes a pointer in each of them.

use std::ops::{Deref, DerefMut};

/// A value that mostly is as it was at the beginning: it is made when it is first changed.
///
/// Looking at it makes nothing; whoever borrows it to change it makes it.
#[derive(Clone, Debug)]
pub(crate) struct Seldom<T>(Option<Box<T>>);

/// What has a beginning that all can look at.
pub(crate) trait Blank: Default + PartialEq + 'static {
    /// The value at the beginning.
    fn blank() -> &'static Self;
}

impl<T> Default for Seldom<T> {
    fn default() -> Self {
        Seldom(None)
    }
}

impl<T: Blank> From<T> for Seldom<T> {
    fn from(value: T) -> Self {
        Seldom((value != *T::blank()).then(|| Box::new(value)))
    }
}

impl<T: Blank> Seldom<T> {
    /// Keeps nothing of it, if it is as it was at the beginning again.
    pub(crate) fn give_back(&mut self) {
        if **self == *T::blank() {
            self.0 = None;
        }
    }
}

impl<T> Seldom<T> {
    /// The value, if it was ever changed.
    pub(crate) fn made(&mut self) -> Option<&mut T> {
        self.0.as_deref_mut()
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

impl<T: Blank> DerefMut for Seldom<T> {
    fn deref_mut(&mut self) -> &mut T {
        self.0.get_or_insert_default()
    }
}

#[cfg(test)]
mod tests {
    use super::{Blank, Seldom};
    use crate::directory::Directory;
    use crate::runtime::seat::Seat;
    use crate::runtime::slot::Slot;
    use crate::runtime::typed::Typed;

    #[derive(Debug, Default, PartialEq)]
    struct Count(u64);

    impl Blank for Count {
        fn blank() -> &'static Self {
            &Count(0)
        }
    }

    #[test]
    fn it_is_made_when_it_is_changed() {
        let mut count = Seldom::<Count>::default();
        assert_eq!(*count, Count(0));
        assert_eq!(count.made(), None);
        *count = Count(3);
        assert_eq!(*count, Count(3));
        let mut other = Seldom::from(Count(0));
        assert_eq!(other.made(), None);
        *other = Count(1);
        other.give_back();
        assert_eq!(other.made(), Some(&mut Count(1)));
        *other = Count(0);
        other.give_back();
        assert_eq!(other.made(), None);
    }

    /// A node may have ten thousand groups, and more of these is more in each of them: what most
    /// groups never have belongs into a [`Seldom`].
    #[cfg(target_pointer_width = "64")]
    #[test]
    fn what_there_is_of_each_group_stays_small() {
        assert!(size_of::<Slot>() <= 344, "{}", size_of::<Slot>());
        assert!(size_of::<Seat>() <= 392, "{}", size_of::<Seat>());
        assert!(size_of::<Typed<Directory>>() <= 272, "{}", size_of::<Typed<Directory>>());
    }
}
