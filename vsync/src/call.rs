//! [`Call`]: an update on its way, and the three ways to wait for it.

use std::convert::Infallible;
use std::fmt;
use std::future::{Future, IntoFuture};
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::sync::futures::OwnedNotified;
use tokio::sync::oneshot;
use tokio::time::Sleep;

use crate::error::{CallError, GroupError, NotApplied, Unknown};
use crate::group::Group;
use crate::optimistic::{Optimistic, Outcome, declared};
use crate::replicated::Replicated;
use crate::runtime::callers::{Answer, Told, Waiter};
use crate::runtime::outbox::{Left, Letter};
use crate::runtime::stability::Stability;

/// An update that is sent when this is first polled.
///
/// `.await` waits until the update is stable: its answer is then safe to show to the world.
/// [`optimistic`](Call::optimistic) waits until it is applied here, [`send`](Call::send) until it is
/// accepted. Dropped before the first poll nothing is sent; dropped after it, the update takes
/// effect and only the answer is lost.
#[must_use = "nothing is sent before this is awaited"]
pub struct Call<S: Replicated, V, O = Infallible> {
    group: Group<S>,
    update: S::Update,
    timeout: Option<Duration>,
    answer: PhantomData<fn() -> (V, O)>,
}

impl<S: Replicated, V, O> Call<S, V, O> {
    pub(crate) fn new(group: Group<S>, update: S::Update) -> Self {
        Call { group, update, timeout: None, answer: PhantomData }
    }
}

impl<S: Replicated, V: Send + 'static, O: Outcome> Call<S, V, O> {
    /// Gives up waiting after `limit`: the outcome is then [`NotApplied`] if the update was still
    /// waiting for its turn, and [`Unknown`] if it was under way.
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.timeout = Some(limit);
        self
    }

    /// Waits until the update is applied here, at local speed where its order allows it. What is
    /// then known may still be lost with this node.
    pub fn optimistic(self) -> OptimisticCall<S, V, O> {
        OptimisticCall {
            progress: Progress::new(self.group, self.update, self.timeout),
            answer: PhantomData,
        }
    }

    /// Waits until the update is accepted: it will be sent, in order, while this node lives. This
    /// is the streaming path: it waits only where flow control asks it to.
    pub fn send(self) -> SendCall<S> {
        SendCall { progress: Progress::new(self.group, self.update, self.timeout) }
    }
}

impl<S: Replicated, V, O> fmt::Debug for Call<S, V, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let method = S::method(&self.update).name;
        f.debug_struct("Call").field("group", &self.group.name()).field("method", &method).finish()
    }
}

impl<S: Replicated, V: Send + 'static, O: Outcome> IntoFuture for Call<S, V, O> {
    type Output = Result<V, CallError<O::Refusal>>;
    type IntoFuture = CallFuture<S, V, O>;

    fn into_future(self) -> Self::IntoFuture {
        CallFuture {
            progress: Progress::new(self.group, self.update, self.timeout),
            answer: PhantomData,
        }
    }
}

/// The update on its way to the lane, and then the wait for what `T` says of it.
struct Progress<S: Replicated, T> {
    group: Group<S>,
    limit: Option<Duration>,
    deadline: Option<Pin<Box<Sleep>>>,
    stage: Stage<S, T>,
}

enum Stage<S: Replicated, T> {
    /// Not in the outbox yet.
    Waiting { update: S::Update, room: Option<Pin<Box<OwnedNotified>>>, since: Option<u64> },
    /// In the outbox or beyond.
    Under(oneshot::Receiver<Result<T, GroupError>>),
    /// Accepted, with nothing more to wait for; or over.
    Done,
}

// The update is moved out by value and never pinned; the two futures inside are boxed.
impl<S: Replicated, T> Unpin for Progress<S, T> {}

impl<S: Replicated, T> Progress<S, T> {
    fn new(group: Group<S>, update: S::Update, limit: Option<Duration>) -> Self {
        let stage = Stage::Waiting { update, room: None, since: None };
        Progress { group, limit, deadline: None, stage }
    }

    fn late(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(limit) = self.limit else { return false };
        let sleep = self.deadline.get_or_insert_with(|| Box::pin(tokio::time::sleep(limit)));
        sleep.as_mut().poll(cx).is_ready()
    }

    /// Brings the update into the outbox; `waiter` makes who is told about it, if anybody.
    fn poll_leave(
        &mut self,
        cx: &mut Context<'_>,
        waiter: impl Fn() -> Option<(Waiter, oneshot::Receiver<Result<T, GroupError>>)>,
    ) -> Poll<Result<(), GroupError>> {
        let Stage::Waiting { .. } = self.stage else { return Poll::Ready(Ok(())) };
        let Stage::Waiting { mut update, mut room, mut since } =
            std::mem::replace(&mut self.stage, Stage::Done)
        else {
            return Poll::Ready(Ok(()));
        };
        let seat = &self.group.shared.seat;
        loop {
            if let Some(line) = &mut room
                && line.as_mut().poll(cx).is_pending()
            {
                if self.late(cx) {
                    return Poll::Ready(Err(GroupError::NotApplied(NotApplied::Timeout)));
                }
                self.stage = Stage::Waiting { update, room, since };
                return Poll::Pending;
            }
            // In line before looking, so that room made in between is not missed.
            let mut line = since.map(|_| Box::pin(seat.outbox.room()));
            if let Some(line) = &mut line {
                line.as_mut().enable();
            }
            let mut listen = None;
            let letter = Letter::<S> { update, since, limit: seat.limit };
            let left = seat.outbox.leave(letter, || {
                let (waiter, receiver) = waiter()?;
                listen = Some(receiver);
                Some(waiter)
            });
            match left {
                Left::Taken(wake) => {
                    if wake {
                        seat.wake();
                    }
                    self.stage = listen.map_or(Stage::Done, Stage::Under);
                    return Poll::Ready(Ok(()));
                }
                Left::Never(why) => return Poll::Ready(Err(GroupError::NotApplied(why))),
                Left::Full(back, membership) => {
                    update = back;
                    since = since.or(Some(membership));
                    room = line;
                }
            }
        }
    }

    fn poll_told(&mut self, cx: &mut Context<'_>) -> Poll<Result<T, GroupError>> {
        let Stage::Under(listen) = &mut self.stage else {
            return Poll::Ready(Err(GroupError::Unknown(Unknown::Closed)));
        };
        if let Poll::Ready(told) = Pin::new(listen).poll(cx) {
            // A sender that vanished without a word took the whole node with it.
            return Poll::Ready(told.unwrap_or(Err(GroupError::Unknown(Unknown::Closed))));
        }
        match self.late(cx) {
            true => Poll::Ready(Err(GroupError::Unknown(Unknown::Timeout))),
            false => Poll::Pending,
        }
    }
}

/// A [`Call`] that waits for stability.
#[must_use = "futures do nothing unless polled"]
pub struct CallFuture<S: Replicated, V, O = Infallible> {
    progress: Progress<S, Answer>,
    answer: PhantomData<fn() -> (V, O)>,
}

impl<S: Replicated, V: Send + 'static, O: Outcome> Future for CallFuture<S, V, O> {
    type Output = Result<V, CallError<O::Refusal>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let waiter = || {
            let (tell, listen) = oneshot::channel::<Told>();
            Some((Waiter::Stable(tell), listen))
        };
        if let Err(error) = ready!(self.progress.poll_leave(cx, waiter)) {
            return Poll::Ready(Err(error.into()));
        }
        let answer = match ready!(self.progress.poll_told(cx)) {
            Ok(answer) => answer,
            Err(error) => return Poll::Ready(Err(error.into())),
        };
        Poll::Ready(O::settle(declared::<V, O>(answer)).map_err(CallError::Refused))
    }
}

/// A [`Call`] that waits until it is applied here.
#[must_use = "futures do nothing unless polled"]
pub struct OptimisticCall<S: Replicated, V, O = Infallible> {
    progress: Progress<S, (Answer, Stability)>,
    answer: PhantomData<fn() -> (V, O)>,
}

impl<S: Replicated, V: Send + 'static, O: Outcome> Future for OptimisticCall<S, V, O> {
    type Output = Result<Optimistic<V, O>, GroupError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let waiter = || {
            let (tell, listen) = oneshot::channel();
            Some((Waiter::Applied(tell), listen))
        };
        if let Err(error) = ready!(self.progress.poll_leave(cx, waiter)) {
            return Poll::Ready(Err(error));
        }
        Poll::Ready(match ready!(self.progress.poll_told(cx)) {
            Ok((answer, stability)) => Ok(Optimistic::new(declared::<V, O>(answer), stability)),
            Err(error) => Err(error),
        })
    }
}

/// A [`Call`] that waits until it is accepted.
#[must_use = "futures do nothing unless polled"]
pub struct SendCall<S: Replicated> {
    progress: Progress<S, Infallible>,
}

impl<S: Replicated> Future for SendCall<S> {
    type Output = Result<(), GroupError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.progress.poll_leave(cx, || None)
    }
}

impl<S: Replicated, V, O> fmt::Debug for CallFuture<S, V, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CallFuture").field("group", &self.progress.group.name()).finish()
    }
}

impl<S: Replicated, V, O> fmt::Debug for OptimisticCall<S, V, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OptimisticCall").field("group", &self.progress.group.name()).finish()
    }
}

impl<S: Replicated> fmt::Debug for SendCall<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SendCall").field("group", &self.progress.group.name()).finish()
    }
}
