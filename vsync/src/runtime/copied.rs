//! Queries of a copy of the state (`#[query(snapshot)]`): the state is held no longer than `Clone`
//! takes, and what is asked is computed from the copy, on a thread of the node's own. Those are not
//! those of checkpoints, which a query that takes long would keep from joiners.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread;

use tokio::sync::oneshot;

use super::replica::{Cell, Read, Shared, Unanswered};
use super::seat::Seat;
use super::stability::Stability;
use crate::error::{GroupError, NotApplied};
use crate::query_ctx::QueryCtx;
use crate::replicated::{QueryError, Replicated};
use crate::seen::Seen;

/// The state as it was between two ranges.
pub(crate) struct Copied<S, N> {
    pub(crate) state: S,
    /// What was noted of that moment.
    pub(crate) noted: N,
    /// When what was copied is stable.
    pub(crate) stability: Stability,
}

/// What came of reading a copy, or the panic of the method or of `Clone`.
type Done<R> = thread::Result<Result<(R, Stability), GroupError>>;

impl<S: Replicated> Shared<S> {
    /// Copies the state between two ranges, and notes what is to be known of the moment.
    pub(crate) fn copy<N>(
        &self,
        note: impl FnOnce(&Seat) -> Result<N, GroupError>,
    ) -> Result<Copied<S, N>, GroupError> {
        self.copy_in(&self.lock(), note)
    }

    fn copy_in<N>(
        &self,
        state: &Cell<S>,
        note: impl FnOnce(&Seat) -> Result<N, GroupError>,
    ) -> Result<Copied<S, N>, GroupError> {
        let both = |live: &S| note(&self.seat).map(|noted| (live.copied(), noted));
        let (both, stability) = self.read_in(state, both)?;
        let (state, noted) = both?;
        Ok(Copied { state, noted, stability })
    }

    /// Reads a copy on a thread of the node's own, as soon as nobody else holds the state. Where
    /// nobody waits for it any more, nothing is copied, or what came of it is dropped.
    pub(crate) async fn read_copy<N, R>(
        self: &Arc<Self>,
        note: impl Fn(&Seat) -> Result<N, GroupError> + Copy + Send + 'static,
        read: impl FnOnce(&S, N) -> R + Send + 'static,
    ) -> Done<R>
    where
        R: Send + 'static,
    {
        let mut read = read;
        loop {
            // So that no thread waits for as long as somebody else reads. Who waits besides is told
            // that it is free: this one may be given up before it lets go of it again.
            self.free.when(|| self.try_lock_awake().map(drop)).await;
            let (tell, told) = oneshot::channel();
            let shared = Arc::clone(self);
            self.seat.queries().run(move || shared.read_copy_here(note, read, tell));
            read = match told.await {
                Ok(Ok(done)) => return done,
                Ok(Err(again)) => again,
                // The node's threads end with its process.
                Err(_) => return Ok(Err(GroupError::NotApplied(NotApplied::Closed))),
            };
        }
    }

    /// The same on this thread. What is to be read is given back if the state sleeps again.
    fn read_copy_here<N, R, F>(
        self: Arc<Self>,
        note: impl FnOnce(&Seat) -> Result<N, GroupError>,
        read: F,
        tell: oneshot::Sender<Result<Done<R>, F>>,
    ) where
        F: FnOnce(&S, N) -> R,
    {
        if tell.is_closed() {
            return;
        }
        // It was free just now. The place of this thread is not given up for what came between: it
        // would be waited for with the state held.
        let state = self.lock();
        if let Cell::Asleep(..) = &*state {
            state.quietly();
            drop(tell.send(Err(read)));
            return;
        }
        let copied = catch_unwind(AssertUnwindSafe(|| self.copy_in(&state, note)));
        drop(state);
        // Whoever asked may have left meanwhile, and the group with him.
        drop(self);
        let (state, noted, stability) = match copied {
            Ok(Ok(Copied { state, noted, stability })) => (state, noted, stability),
            Ok(Err(error)) => return drop(tell.send(Ok(Ok(Err(error))))),
            Err(panic) => return drop(tell.send(Ok(Err(panic)))),
        };
        if tell.is_closed() {
            return;
        }
        let value = catch_unwind(AssertUnwindSafe(|| read(&state, noted)));
        drop(tell.send(Ok(value.map(|value| Ok((value, stability))))));
        // And only then the copy, which may be large.
    }

    /// Answers a share of an encoded query from a copy.
    pub(super) async fn answer_copy(
        self: Arc<Self>,
        query: Vec<u8>,
        share: (u32, u32),
    ) -> Result<Read, Unanswered> {
        let note = move |seat: &Seat| {
            let ctx = seat.query_ctx(share).ok_or(GroupError::NoState)?;
            Ok((ctx, seat.seen().ok_or(GroupError::NoState)?))
        };
        let read = move |state: &S, (ctx, seen): (QueryCtx, Seen)| {
            let mut out = Vec::new();
            let done: Result<(), QueryError> = state.query(&ctx, &query, &mut out);
            done.map(|()| (out, seen))
        };
        match self.read_copy(note, read).await {
            Ok(Ok((Ok((answer, seen)), stability))) => Ok((answer, seen, stability)),
            Ok(Ok((Err(error), _))) => Err(Unanswered::Query(error)),
            Ok(Err(error)) => Err(Unanswered::Group(error)),
            Err(_) => Err(Unanswered::panicked()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::sync::mpsc::channel;
    use std::task::{Context, Waker};

    use tokio::sync::mpsc;

    use super::*;
    use crate::directory::Directory;

    /// It is the first that hears of the state being free, and then nobody waits for it any more.
    #[tokio::test]
    async fn who_gives_up_keeps_the_state_from_nobody() {
        let seat = Arc::new(Seat::new("group".into(), 100, mpsc::unbounded_channel().0));
        let shared = Arc::new(Shared::new(Arc::clone(&seat), Directory::default()));
        let (go_on, goes_on) = channel::<()>();
        let goes_on = Arc::new(std::sync::Mutex::new(goes_on));
        // Nothing is begun meanwhile, however many places there are.
        for _ in 0..1000 {
            let goes_on = Arc::clone(&goes_on);
            seat.queries().run(move || {
                let _ = goes_on.lock().expect("not poisoned").recv();
            });
        }
        let mut context = Context::from_waker(Waker::noop());
        let held = shared.lock();
        let mut first = Box::pin(shared.read_copy(|_| Ok(()), |_, ()| ()));
        let mut second = pin!(shared.read_when_free(|_| ()));
        assert!(first.as_mut().poll(&mut context).is_pending());
        assert!(second.as_mut().poll(&mut context).is_pending());
        drop(held);
        assert!(first.as_mut().poll(&mut context).is_pending(), "it has no thread yet");
        drop(first);
        assert!(second.as_mut().poll(&mut context).is_ready(), "nobody else is there");
        drop(go_on);
    }
}
