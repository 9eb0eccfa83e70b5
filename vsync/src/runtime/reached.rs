//! Those who wait until something is applied here.

use std::sync::{Mutex, PoisonError};

use tokio::sync::oneshot;
use vsync_core::wire::Cut;

/// What in a group's stream is waited for: this much of the view of that number.
#[derive(Debug)]
struct Awaited {
    view: u64,
    cut: Cut,
    tell: oneshot::Sender<()>,
}

/// Who waits for what.
#[derive(Debug, Default)]
pub(super) struct Reached(Mutex<Vec<Awaited>>);

impl Reached {
    /// One more.
    pub(super) fn add(&self, view: u64, cut: Cut) -> oneshot::Receiver<()> {
        let (tell, listen) = oneshot::channel();
        self.list(|list| list.push(Awaited { view, cut, tell }));
        listen
    }

    /// Tells those whose wait is over, now that this much of that view is applied; whether there
    /// are others. What was applied anywhere in an earlier view is applied here.
    pub(super) fn applied(&self, view: u64, cut: &Cut) -> bool {
        self.list(|list| {
            let over =
                |it: &mut Awaited| it.view < view || (it.view == view && cut.covers(&it.cut));
            // Who waits may have given up.
            list.extract_if(.., over).for_each(|it| _ = it.tell.send(()));
            // Who has given up needs no place.
            list.retain(|it| !it.tell.is_closed());
            !list.is_empty()
        })
    }

    /// Nothing more will be applied: whoever waits is told by the end of its channel.
    pub(super) fn end(&self) {
        self.list(Vec::clear);
    }

    fn list<R>(&self, with: impl FnOnce(&mut Vec<Awaited>) -> R) -> R {
        with(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot::error::TryRecvError;

    use super::*;

    fn cut(counts: &[u64], extent: u64) -> Cut {
        Cut { counts: counts.to_vec(), extent }
    }

    #[test]
    fn a_wait_ends_when_all_of_it_is_applied_or_a_later_view_is_there() {
        let reached = Reached::default();
        let mut both = reached.add(3, cut(&[2, 1], 1));
        let mut later = reached.add(4, cut(&[9], 0));
        assert!(reached.applied(3, &cut(&[2, 0], 1)));
        assert_eq!(both.try_recv(), Err(TryRecvError::Empty));
        assert!(reached.applied(3, &cut(&[2, 1], 1)), "one waits still");
        assert_eq!(both.try_recv(), Ok(()));
        assert_eq!(later.try_recv(), Err(TryRecvError::Empty));
        assert!(!reached.applied(5, &cut(&[], 0)));
        assert_eq!(later.try_recv(), Ok(()));
    }

    #[test]
    fn who_waits_when_the_membership_ends_is_told_and_who_gives_up_is_forgotten() {
        let reached = Reached::default();
        let mut waits = reached.add(3, cut(&[1], 0));
        drop(reached.add(3, cut(&[1], 0)));
        assert!(reached.applied(3, &cut(&[0], 0)));
        reached.end();
        assert_eq!(waits.try_recv(), Err(TryRecvError::Closed));
        assert!(!reached.applied(3, &cut(&[0], 0)));
    }
}
