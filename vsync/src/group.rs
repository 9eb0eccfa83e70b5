//! [`Group`]: a membership, and the stream of what happens to it.

use std::fmt;
use std::future::poll_fn;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_core::Stream;
use tokio::sync::{broadcast, oneshot};

use crate::error::{GroupError, Unknown};
use crate::events::{Emits, Events};
use crate::limited::Limited;
use crate::replicated::Replicated;
use crate::runtime::Command;
use crate::runtime::replica::Shared;
use crate::runtime::seat::Seat;
use crate::view::{MemberId, Reason, View};

/// This node's membership in a group. Cheap to clone; stays valid when the node is excluded and
/// joins again.
pub struct Group<S: Replicated> {
    pub(crate) shared: Arc<Shared<S>>,
}

impl<S: Replicated> Clone for Group<S> {
    fn clone(&self) -> Self {
        Group { shared: Arc::clone(&self.shared) }
    }
}

impl<S: Replicated> fmt::Debug for Group<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Group").field("name", &self.name()).field("view", &self.view()).finish()
    }
}

impl<S: Replicated> Group<S> {
    /// The group's name.
    pub fn name(&self) -> &str {
        &self.shared.seat.name
    }

    /// The view that is installed here. `None` while the node has no membership: it was excluded
    /// and is joining again, or has left.
    pub fn view(&self) -> Option<View> {
        self.shared.seat.status().view.clone()
    }

    /// This node's membership, while it has one.
    pub fn me(&self) -> Option<MemberId> {
        self.shared.seat.status().me
    }

    /// This node's rank in the installed view.
    pub fn rank(&self) -> Option<usize> {
        let status = self.shared.seat.status();
        status.view.as_ref()?.rank_of(status.me?)
    }

    /// The share of some numbered items that falls to this node: [`View::share`] of its rank in the
    /// installed view. Empty while it is no active member.
    ///
    /// Another view divides the items anew; who acts on a share asks again after each
    /// ([`Group::views`]).
    ///
    /// ```
    /// # use vsync::{replicated, testing::Cluster};
    /// # #[replicated]
    /// # #[derive(Debug, Default)]
    /// # pub struct Empty {}
    /// # #[replicated]
    /// # impl Empty {}
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
    /// let cluster = Cluster::new(1).await;
    /// let member = cluster.node(0).group("alone").create(Empty::default()).await?;
    /// assert_eq!(member.group().my_share(0..10), 0..10);
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    pub fn my_share(&self, items: Range<usize>) -> Range<usize> {
        let status = self.shared.seat.status();
        let place = status.view.as_ref().zip(status.me);
        match place.and_then(|(view, me)| Some((view, view.rank_of(me)?))) {
            Some((view, rank)) => view.share(rank, items),
            None => items.start..items.start,
        }
    }

    /// Waits until a member is gone, and says why it is.
    ///
    /// What is watched is the membership: a node that comes back is another member. The watch
    /// begins with this call, and may be dropped at any time.
    ///
    /// ```no_run
    /// # async fn run(bank: vsync::Group<impl vsync::Replicated>) {
    /// use vsync::{Fate, Reason};
    ///
    /// let Some(view) = bank.view() else { return };
    /// let Some(first) = view.coordinator() else { return };
    /// match bank.watch(first.id).await {
    ///     Fate::Gone(Reason::Left) => println!("{} has left", first.name),
    ///     Fate::Gone(_) => println!("{} is lost", first.name),
    ///     fate => println!("{}: {fate:?}", first.name),
    /// }
    /// # }
    /// ```
    pub fn watch(&self, member: MemberId) -> impl Future<Output = Fate> + Send + 'static + use<S> {
        self.views().fate(member)
    }

    /// What happens to the membership, beginning with the installed view.
    ///
    /// A reader that lags behind by more than some thirty events misses the oldest.
    pub fn views(&self) -> Views {
        Views::of(&self.shared.seat)
    }

    /// The [events](crate::Ctx::emit) of the updates that are applied here from now on, each when
    /// it is stable, in the order in which this member applied their updates.
    ///
    /// A reader that lags behind by more than a thousand events misses the oldest, and is told so
    /// by [`Emitted::Lagged`](crate::Emitted::Lagged): it stops neither the group nor other
    /// readers. While nobody reads, events are dropped where they are emitted.
    pub fn events<E>(&self) -> Events<E>
    where
        S: Emits<E>,
        E: Clone + Send + 'static,
    {
        let events = self.shared.feed.events();
        self.shared.seat.rouse();
        events
    }

    /// How many updates have failed at this replica so far: panicked, or did not decode.
    pub fn failures(&self) -> u64 {
        self.shared.seat.failures()
    }

    /// How many replicas were found to differ from the others while this node was a member: see
    /// [`GroupBuilder::compare_every`](crate::GroupBuilder::compare_every).
    pub fn differences(&self) -> u64 {
        self.shared.seat.differences()
    }

    /// Waits until everything delivered or sent here so far is stable. An update that still waits
    /// for its turn, its [`send`](crate::Call::send) being pending, is not sent yet.
    ///
    /// ```no_run
    /// # use vsync::{Group, GroupError, Replicated};
    /// # async fn run(bank: Group<impl Replicated>) -> Result<(), GroupError> {
    /// # use std::time::Duration;
    /// bank.flush().timeout(Duration::from_secs(5)).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn flush(&self) -> Flush {
        let seat = Arc::clone(&self.shared.seat);
        let wait = async move { seat.flush()?.wait().await };
        Flush(Limited::new(&self.shared.seat, None, wait))
    }

    /// Leaves the group: takes no more calls, and is gone when the others have everything that was
    /// sent from here, or after `deadline`, as a crash that they handle.
    pub async fn leave(&self, deadline: Duration) -> Result<(), GroupError> {
        let seat = &self.shared.seat;
        let (tell, listen) = oneshot::channel();
        let group = seat.status().group.ok_or(GroupError::NoState)?;
        seat.command(Command::Leave { group, tell });
        match tokio::time::timeout(deadline, listen).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(GroupError::Unknown(Unknown::Closed)),
            Err(_) => {
                let late = seat.too_late(false);
                seat.command(Command::Abandon { group, why: "the leave took too long".to_owned() });
                Err(late)
            }
        }
    }
}

/// The wait of [`Group::flush`]. It begins with the first poll.
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub struct Flush(Limited<(), GroupError>);

impl Flush {
    /// Gives up waiting after `limit`: [`Unknown::Timeout`], if not all is stable by then, or
    /// [`Unknown::NoQuorum`].
    pub fn timeout(self, limit: Duration) -> Self {
        Flush(self.0.within(limit))
    }
}

impl Future for Flush {
    type Output = Result<(), GroupError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(cx)
    }
}

/// What became of a member that was [watched](Group::watch).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fate {
    /// It is gone, for this reason.
    Gone(Reason),
    /// It is no member, and why is not known here: it was none when the watch began, or this node
    /// was excluded itself when that one went, or lags behind by more than thirty views.
    Absent,
    /// This node's own membership is over for good.
    Closed,
}

/// Something that happened to a membership.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum GroupEvent {
    /// A view was installed.
    View(View),
    /// The group has no quorum in sight: updates wait.
    Blocked,
    /// The group goes on.
    Resumed,
    /// A replica is not like the others: an update method does not do the same everywhere. If it is
    /// this node's, [`GroupEvent::Excluded`] follows, and it comes in again with a donor's state.
    Differs(crate::Difference),
    /// The others went on without this node. Its state is void; it joins again as a new member, and
    /// a [`GroupEvent::View`] follows when it has the group's state.
    Excluded,
    /// The membership is over for good.
    Closed {
        /// Why: by an own leave, the node's end, or an error named here.
        why: String,
    },
}

/// The events of a group, oldest first.
///
/// As a [`Stream`] it gives the views, as [`next`](Views::next) does.
pub struct Views {
    first: Option<View>,
    seen: Option<u64>,
    /// The wait for the next event, with the receiver in it; `None` after the last.
    receive: Option<Receive>,
}

type Receiver = broadcast::Receiver<GroupEvent>;
type Received = Result<GroupEvent, broadcast::error::RecvError>;
type Receive = Pin<Box<dyn Future<Output = (Received, Receiver)> + Send + Sync>>;

fn receive(mut events: Receiver) -> Receive {
    Box::pin(async move { (events.recv().await, events) })
}

impl Views {
    /// Those of a seat.
    pub(crate) fn of(seat: &Seat) -> Views {
        // Subscribed first: a view installed in between comes twice, and is then skipped.
        let events = seat.events();
        let status = seat.status();
        // After the end there is nothing to wait for.
        let receive = status.trouble.closed.is_none().then(|| receive(events));
        Views { first: status.view.clone(), seen: None, receive }
    }

    /// What becomes of a member.
    pub(crate) async fn fate(mut self, member: MemberId) -> Fate {
        while let Some(view) = self.next().await {
            if let Some(left) = view.left().iter().find(|left| left.id == member) {
                return Fate::Gone(left.reason);
            }
            if view.rank_of(member).is_none() {
                return Fate::Absent;
            }
        }
        Fate::Closed
    }

    /// The next view; other events are passed over. `None` when the membership is over for good.
    /// Cancel-safe.
    pub async fn next(&mut self) -> Option<View> {
        poll_fn(|cx| self.poll_view(cx)).await
    }

    /// The next event. `None` after the last. Cancel-safe.
    pub async fn next_event(&mut self) -> Option<GroupEvent> {
        poll_fn(|cx| self.poll_event(cx)).await
    }

    fn poll_view(&mut self, cx: &mut Context<'_>) -> Poll<Option<View>> {
        loop {
            match ready!(self.poll_event(cx)) {
                Some(GroupEvent::View(view)) => return Poll::Ready(Some(view)),
                Some(_) => {}
                None => return Poll::Ready(None),
            }
        }
    }

    fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Option<GroupEvent>> {
        if let Some(view) = self.first.take() {
            self.seen = Some(view.number());
            return Poll::Ready(Some(GroupEvent::View(view)));
        }
        while let Some(waiting) = &mut self.receive {
            let (received, events) = ready!(waiting.as_mut().poll(cx));
            self.receive = match &received {
                Ok(GroupEvent::Closed { .. }) | Err(broadcast::error::RecvError::Closed) => None,
                _ => Some(receive(events)),
            };
            match received {
                Ok(GroupEvent::View(view)) if self.seen.is_some_and(|n| view.number() <= n) => {}
                Ok(event) => {
                    self.seen = None;
                    return Poll::Ready(Some(event));
                }
                Err(_) => {}
            }
        }
        Poll::Ready(None)
    }
}

impl Stream for Views {
    type Item = View;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<View>> {
        self.poll_view(cx)
    }
}

impl fmt::Debug for Views {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Views { first, seen, receive } = self;
        f.debug_struct("Views")
            .field("first", first)
            .field("seen", seen)
            .field("over", &receive.is_none())
            .finish()
    }
}
