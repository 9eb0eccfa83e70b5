//! Waiting for a replica without a thread: an update, a checkpoint or another query may hold the
//! state for seconds, and there are no more threads than processors, the driver's among them.

use std::ops::{Deref, DerefMut};
use std::sync::MutexGuard;
use std::sync::atomic::{AtomicUsize, Ordering, fence};

use tokio::sync::Notify;

/// Who waits for a state to be let go of.
#[derive(Debug, Default)]
pub(crate) struct Free {
    waiting: AtomicUsize,
    freed: Notify,
}

impl Free {
    /// Makes attempts until one has a result, the next whenever the state is let go of.
    pub(crate) async fn when<R>(&self, mut attempt: impl FnMut() -> Option<R>) -> R {
        if let Some(done) = attempt() {
            return done;
        }
        self.waiting.fetch_add(1, Ordering::Relaxed);
        let _count = Waiting(&self.waiting);
        loop {
            let mut freed = std::pin::pin!(self.freed.notified());
            freed.as_mut().enable();
            // Counted before it is tried, as the lock is let go of before the count is read:
            // whoever lets go sees this waiting, or this finds the state free.
            fence(Ordering::SeqCst);
            if let Some(done) = attempt() {
                return done;
            }
            // One at a time is woken. If it is given up, the next one is in its place.
            freed.await;
        }
    }

    fn tell(&self) {
        fence(Ordering::SeqCst);
        if self.waiting.load(Ordering::Relaxed) > 0 {
            self.freed.notify_one();
        }
    }
}

/// One who waits.
struct Waiting<'a>(&'a AtomicUsize);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A state that is held. Letting go of it wakes who waits for it.
pub(super) struct Holding<'a, T> {
    // Fields are dropped in this order.
    guard: MutexGuard<'a, T>,
    tell: Tell<'a>,
}

impl<'a, T> Holding<'a, T> {
    pub(super) fn new(guard: MutexGuard<'a, T>, free: &'a Free) -> Self {
        Holding { guard, tell: Tell(free) }
    }
}

impl<T> Holding<'_, T> {
    /// Lets go of it without waking anybody.
    pub(super) fn quietly(self) {
        let Holding { guard, tell } = self;
        drop(guard);
        std::mem::forget(tell);
    }
}

impl<T> Deref for Holding<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.guard
    }
}

impl<T> DerefMut for Holding<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.guard
    }
}

struct Tell<'a>(&'a Free);

impl Drop for Tell<'_> {
    fn drop(&mut self) {
        self.0.tell();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[tokio::test]
    async fn whoever_waits_is_woken_one_after_the_other() {
        let (free, state) = (Free::default(), Mutex::new(0));
        let count = || {
            let mut held = Holding::new(state.try_lock().ok()?, &free);
            *held += 1;
            Some(*held)
        };
        let held = Holding::new(state.lock().unwrap(), &free);
        let given_up = async {
            tokio::select! {
                biased;
                _ = free.when(count) => panic!("it is held"),
                () = tokio::task::yield_now() => {}
            }
        };
        given_up.await;
        let all = async {
            tokio::join!(free.when(count), free.when(count), free.when(count), async {
                tokio::task::yield_now().await;
                drop(held);
            })
        };
        let (one, two, three, ()) = all.await;
        assert_eq!([one, two, three], [1, 2, 3]);
        assert_eq!(free.waiting.load(Ordering::Relaxed), 0);
    }
}
