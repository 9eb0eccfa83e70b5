//! [`Call`]: an update on its way, and the three ways to wait for it.

use std::convert::Infallible;
use std::fmt;
use std::future::{Future, IntoFuture};
use std::marker::PhantomData;
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Sleep;

use crate::error::{CallError, GroupError, Unknown};
use crate::group::Group;
use crate::optimistic::{Optimistic, Outcome, declared};
use crate::replicated::Replicated;
use crate::runtime::callers::{Answer, Waiter};
use crate::runtime::outbox::{Left, Tell};
use crate::runtime::room::{Room, Ticket};
use crate::runtime::seat::Seat;
use crate::runtime::stability::Stability;

/// An update that is sent when this is first polled.
///
/// `.await` waits until the update is stable: its answer is then safe to show to the world.
/// [`optimistic`](Call::optimistic) waits until it is applied here, [`send`](Call::send) until it
/// is accepted. Dropped before the first poll nothing is sent; dropped after it, the update takes
/// effect and only the answer is lost.
///
/// The order of first polls is the order of sending. Where flow control has no room the update
/// waits for its turn inside the group, one per call, whether or not the call is polled again: a
/// call that is held unpolled stops nobody, and dropping one makes no room. To give an update up
/// that still waits for its turn use [`timeout`](Call::timeout). Memory is bounded by the number of
/// calls that are begun; awaiting each [`send`](Call::send) before the next bounds it.
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
    /// Gives up waiting after `limit`: the outcome is then [`NotApplied`](crate::NotApplied) if the
    /// update was still waiting for its turn, and [`Unknown`] if it was under way. Either says
    /// whether the group has no quorum.
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

    /// Waits until the update is accepted, its turn having come: it will be sent, in order, while
    /// this node lives. This is the streaming path: it waits only where flow control asks it to.
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

/// How a caller hears of its update.
trait Listen {
    /// What it is told if all is well.
    type Word;

    fn poll(&mut self, room: &Room, cx: &mut Context<'_>) -> Poll<Result<Self::Word, GroupError>>;

    /// It will not be polled again, though it has heard nothing.
    fn give_up(self, room: &Room);
}

impl Listen for Ticket {
    type Word = Answer;

    fn poll(&mut self, room: &Room, cx: &mut Context<'_>) -> Poll<Result<Answer, GroupError>> {
        room.poll(*self, cx)
    }

    fn give_up(self, room: &Room) {
        room.leave(self);
    }
}

impl<T> Listen for oneshot::Receiver<Result<T, GroupError>> {
    type Word = T;

    fn poll(&mut self, _: &Room, cx: &mut Context<'_>) -> Poll<Result<T, GroupError>> {
        // A sender that vanished without a word took the whole node with it.
        let closed = || Err(GroupError::Unknown(Unknown::Closed));
        Pin::new(self).poll(cx).map(|told| told.unwrap_or_else(|_| closed()))
    }

    fn give_up(self, _: &Room) {}
}

/// The update on its way to the lane, and then the wait for what is said of it.
struct Progress<S: Replicated, L: Listen> {
    group: Group<S>,
    limit: Option<Duration>,
    deadline: Option<Pin<Box<Sleep>>>,
    stage: Stage<S, L>,
}

enum Stage<S: Replicated, L> {
    /// Not polled yet.
    Unsent(S::Update),
    /// In the outbox or beyond.
    Under {
        listen: L,
        /// Its place in line, if it had to wait for its turn.
        place: Option<u64>,
    },
    /// Accepted, with nothing more to wait for; or over.
    Done,
}

/// What an optimistic caller is told, and one whose turn has come.
type Early = oneshot::Receiver<Result<(Answer, Stability), GroupError>>;
type Turn = oneshot::Receiver<Result<(), GroupError>>;

// The update is never pinned; the sleep is boxed.
impl<S: Replicated, L: Listen> Unpin for Progress<S, L> {}

impl<S: Replicated, L: Listen> Drop for Progress<S, L> {
    fn drop(&mut self) {
        self.give_up();
    }
}

impl<S: Replicated, L: Listen> Progress<S, L> {
    fn new(group: Group<S>, update: S::Update, limit: Option<Duration>) -> Self {
        Progress { group, limit, deadline: None, stage: Stage::Unsent(update) }
    }

    fn room(&self) -> &Room {
        &self.group.shared.seat.outbox.room
    }

    /// Nothing more is waited for.
    fn give_up(&mut self) {
        if let Stage::Under { listen, .. } = mem::replace(&mut self.stage, Stage::Done) {
            listen.give_up(self.room());
        }
    }

    fn late(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(limit) = self.limit else { return false };
        let sleep = self.deadline.get_or_insert_with(|| Box::pin(tokio::time::sleep(limit)));
        sleep.as_mut().poll(cx).is_ready()
    }

    /// Leaves the update in the outbox, at the first poll. From then on it is the outbox's: it goes
    /// whatever becomes of this. `who` makes who is told, if anybody; it is given whether the
    /// update has to wait for its turn.
    fn leave(
        &mut self,
        who: impl FnOnce(bool, &Room) -> Option<(Tell, L)>,
    ) -> Result<(), GroupError> {
        let Stage::Unsent(update) = &self.stage else { return Ok(()) };
        let seat = &self.group.shared.seat;
        // Versions only rise: what is not active here is not sent, and what is active here is
        // active wherever it is delivered.
        if let Some(active) = seat.version()
            && let Err(why) = S::method(update).check(active)
        {
            self.stage = Stage::Done;
            return Err(GroupError::NotApplied(why));
        }
        let mut listen = None;
        let left = seat.outbox.leave::<S>(update, seat.limit, |in_line| {
            let (tell, hears) = who(in_line, &seat.outbox.room)?;
            listen = Some(hears);
            Some(tell)
        });
        if left.wakes() {
            seat.wake();
        }
        let place = match left {
            Left::Taken { .. } => None,
            Left::InLine { place, .. } => Some(place),
            Left::Never(why) => {
                self.stage = Stage::Done;
                return Err(GroupError::NotApplied(why));
            }
        };
        self.stage = listen.map_or(Stage::Done, |listen| Stage::Under { listen, place });
        Ok(())
    }

    /// Waits for what there is to be told, no longer than the limit. What `late` is given is
    /// whether the update has been taken out of the line: it will not be sent then.
    fn poll_told(
        &mut self,
        cx: &mut Context<'_>,
        late: impl FnOnce(&Seat, bool) -> Poll<GroupError>,
    ) -> Poll<Result<L::Word, GroupError>> {
        let Stage::Under { listen, place } = &mut self.stage else {
            return Poll::Ready(Err(GroupError::Unknown(Unknown::Closed)));
        };
        let place = *place;
        match listen.poll(&self.group.shared.seat.outbox.room, cx) {
            Poll::Ready(told) => {
                self.stage = Stage::Done;
                Poll::Ready(told)
            }
            Poll::Pending if self.late(cx) => {
                let seat = &self.group.shared.seat;
                let withdrawn = place.is_some_and(|place| seat.outbox.withdraw(place));
                let error = ready!(late(seat, withdrawn));
                self.give_up();
                Poll::Ready(Err(error))
            }
            Poll::Pending => Poll::Pending,
        }
    }
}

/// What a caller that waits for an answer is told when its time is over.
fn out_of_time(seat: &Seat, withdrawn: bool) -> Poll<GroupError> {
    Poll::Ready(seat.too_late(withdrawn))
}

/// A [`Call`] that waits for stability.
#[must_use = "futures do nothing unless polled"]
pub struct CallFuture<S: Replicated, V, O = Infallible> {
    progress: Progress<S, Ticket>,
    answer: PhantomData<fn() -> (V, O)>,
}

impl<S: Replicated, V, O> CallFuture<S, V, O> {
    /// Gives up waiting after `limit`, as [`Call::timeout`] says; it counts from the first poll on.
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.progress.limit = Some(limit);
        self
    }
}

impl<S: Replicated, V: Send + 'static, O: Outcome> Future for CallFuture<S, V, O> {
    type Output = Result<V, CallError<O::Refusal>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let who = |_, room: &Room| {
            let ticket = room.enter();
            Some((Tell::Answer(Waiter::Seated(ticket)), ticket))
        };
        if let Err(error) = self.progress.leave(who) {
            return Poll::Ready(Err(error.into()));
        }
        let answer = match ready!(self.progress.poll_told(cx, out_of_time)) {
            Ok(answer) => answer,
            Err(error) => return Poll::Ready(Err(error.into())),
        };
        Poll::Ready(O::settle(declared::<V, O>(answer)).map_err(CallError::Refused))
    }
}

/// A [`Call`] that waits until it is applied here.
#[must_use = "futures do nothing unless polled"]
pub struct OptimisticCall<S: Replicated, V, O = Infallible> {
    progress: Progress<S, Early>,
    answer: PhantomData<fn() -> (V, O)>,
}

impl<S: Replicated, V, O> OptimisticCall<S, V, O> {
    /// Gives up waiting after `limit`, as [`Call::timeout`] says; it counts from the first poll on.
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.progress.limit = Some(limit);
        self
    }
}

impl<S: Replicated, V: Send + 'static, O: Outcome> Future for OptimisticCall<S, V, O> {
    type Output = Result<Optimistic<V, O>, GroupError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let who = |_, _: &Room| {
            let (tell, listen) = oneshot::channel();
            Some((Tell::Answer(Waiter::Applied(tell)), listen))
        };
        if let Err(error) = self.progress.leave(who) {
            return Poll::Ready(Err(error));
        }
        Poll::Ready(match ready!(self.progress.poll_told(cx, out_of_time)) {
            Ok((answer, stability)) => {
                let stability = stability.unasked(&self.progress.group.shared.seat);
                Ok(Optimistic::new(declared::<V, O>(answer), stability))
            }
            Err(error) => Err(error),
        })
    }
}

/// A [`Call`] that waits until it is accepted.
#[must_use = "futures do nothing unless polled"]
pub struct SendCall<S: Replicated> {
    progress: Progress<S, Turn>,
}

impl<S: Replicated> SendCall<S> {
    /// Gives up waiting after `limit`, as [`Call::timeout`] says; it counts from the first poll on.
    /// Here the outcome is never [`Unknown`]: an update is accepted or it is not.
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.progress.limit = Some(limit);
        self
    }
}

impl<S: Replicated> Future for SendCall<S> {
    type Output = Result<(), GroupError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let who = |in_line: bool, _: &Room| {
            in_line.then(oneshot::channel).map(|(turn, listen)| (Tell::Turn(turn), listen))
        };
        self.progress.leave(who)?;
        let Stage::Under { .. } = self.progress.stage else { return Poll::Ready(Ok(())) };
        self.progress.poll_told(cx, |seat, withdrawn| match withdrawn {
            true => Poll::Ready(seat.too_late(true)),
            // Its turn has come just now: the word is on its way.
            false => Poll::Pending,
        })
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
