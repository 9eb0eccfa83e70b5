//! [`Moment`]: a time that may not be set, in no more room than a time.

use crate::wire::Micros;

/// A time on this node's clock, or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Moment(Micros);

impl Moment {
    /// No clock gets there.
    pub(crate) const NONE: Moment = Moment(Micros::MAX);

    pub(crate) fn at(time: Micros) -> Moment {
        Moment(time.min(Micros::MAX - 1))
    }

    pub(crate) fn get(self) -> Option<Micros> {
        (self != Moment::NONE).then_some(self.0)
    }

    pub(crate) fn is_none(self) -> bool {
        self == Moment::NONE
    }

    pub(crate) fn is_some_and(self, test: impl FnOnce(Micros) -> bool) -> bool {
        self.get().is_some_and(test)
    }

    /// This or the given time: the earlier one.
    pub(crate) fn or_earlier(self, time: Micros) -> Moment {
        Moment(self.0.min(Moment::at(time).0))
    }
}

#[cfg(test)]
mod tests {
    use super::Moment;

    #[test]
    fn none_is_no_time() {
        assert_eq!(Moment::NONE.get(), None);
        assert!(Moment::NONE.is_none() && !Moment::NONE.is_some_and(|_| true));
        for time in [0, 7, u64::MAX - 1] {
            assert_eq!(Moment::at(time).get(), Some(time));
            assert_eq!(Moment::NONE.or_earlier(time), Moment::at(time));
        }
        assert!(!Moment::at(u64::MAX).is_none(), "as far off as it can be");
        assert_eq!(Moment::at(7).or_earlier(8), Moment::at(7));
        assert_eq!(Moment::at(7).or_earlier(6), Moment::at(6));
    }
}
