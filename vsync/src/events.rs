//! Events: what replicated code tells the world, once it is stable.

use std::fmt;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};

use futures_core::Stream;
use serde::{Deserialize, Serialize};
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};

use crate::runtime::replica::panic_text;
use crate::runtime::ring::Ring;
use crate::state::State;

/// How many events a reader may lag behind.
const BUFFER: usize = 1024;

/// That a replicated type emits events of the type `E`.
///
/// Written by `#[replicated(event = E)]` on the struct.
#[diagnostic::on_unimplemented(
    message = "`{Self}` emits no events of this type",
    label = "not an event of `{Self}`",
    note = "say on the struct what its events are: `#[replicated(event = MyEvent)]`"
)]
pub trait Emits<E>: State<Event = E> {}

/// The events of a type that has none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoEvents {}

/// The place of an event in what a group has emitted.
///
/// `view` is the view that it was emitted in, `index` how many events this replica had emitted in
/// that view before. Cursors grow along each member's stream.
///
/// Where events are emitted by total updates and `#[on_view]` only, they are also the same at all
/// members: a program that goes on at another member after a failure knows by them what it has
/// seen already. Members deliver concurrent fifo and causal updates in different orders, so for
/// those the index of an event is another at each; only the view is the same.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
pub struct Cursor {
    /// The view's number.
    pub view: u64,
    /// How many events came before it in that view.
    pub index: u64,
}

impl Cursor {
    /// The place behind it.
    pub(crate) fn next(self) -> Cursor {
        Cursor { index: self.index.saturating_add(1), ..self }
    }
}

/// What comes out of a group's [`Events`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Emitted<E> {
    /// An event. What emitted it is stable.
    Event {
        /// Its place.
        cursor: Cursor,
        /// What was given to [`Ctx::emit`](crate::Ctx::emit).
        event: E,
    },
    /// The reader was too slow: it has missed the oldest, so many of them.
    Lagged(u64),
    /// The node was excluded and is to join again as another member. What the group emits until
    /// then is not seen here.
    Gap,
}

/// What goes from the replica to the readers.
#[derive(Clone)]
enum Item<E> {
    Emitted(Emitted<E>),
    /// The membership is over for good.
    End,
}

/// The replica's end: there is nothing here until somebody reads.
pub(crate) struct Feed<E> {
    sender: OnceLock<broadcast::Sender<Item<E>>>,
    closed: AtomicBool,
    /// Where they are kept for clients, if the type publishes them, and how they are encoded.
    published: Option<(Arc<Ring>, Encode<E>)>,
}

/// Encodes an event.
pub(crate) type Encode<E> = fn(&E) -> Result<Vec<u8>, String>;

impl<E: Clone + Send + 'static> Feed<E> {
    pub(crate) fn new() -> Feed<E> {
        Feed { sender: OnceLock::new(), closed: AtomicBool::new(false), published: None }
    }

    /// One that is also kept for clients.
    pub(crate) fn published(ring: Arc<Ring>, encode: Encode<E>) -> Feed<E> {
        Feed { published: Some((ring, encode)), ..Feed::new() }
    }

    /// Where clients read, if the type lets them.
    pub(crate) fn ring(&self) -> Option<&Arc<Ring>> {
        self.published.as_ref().map(|(ring, _)| ring)
    }

    /// A view has begun: the next event has this place at least.
    pub(crate) fn begin(&self, next: Cursor) {
        if let Some(ring) = self.ring() {
            ring.begin(next);
        }
    }

    /// Whether anybody reads.
    pub(crate) fn is_read(&self) -> bool {
        self.published.is_some()
            || self.sender.get().is_some_and(|sender| sender.receiver_count() > 0)
    }

    /// Shows something to whoever reads.
    pub(crate) fn show(&self, emitted: Emitted<E>) {
        match (&self.published, &emitted) {
            (Some((ring, encode)), Emitted::Event { cursor, event }) => {
                // A `Serialize` of the user's that panics must not end the driver.
                let encoded = catch_unwind(AssertUnwindSafe(|| encode(event)));
                let encoded = encoded.unwrap_or_else(|panic| {
                    Err(format!("its `Serialize` panicked: {}", panic_text(panic.as_ref())))
                });
                if let Err(why) = &encoded {
                    tracing::error!(?cursor, %why, "an event cannot be encoded for clients");
                }
                ring.append(*cursor, encoded.ok());
            }
            (Some((ring, _)), Emitted::Gap) => ring.lose(),
            _ => {}
        }
        self.send(Item::Emitted(emitted));
    }

    /// Nothing more will come.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.send(Item::End);
    }

    fn send(&self, item: Item<E>) {
        if let Some(sender) = self.sender.get() {
            // Nobody may be reading any more.
            drop(sender.send(item));
        }
    }

    /// What comes from now on.
    pub(crate) fn events(&self) -> Events<E> {
        let receiver = self.sender.get_or_init(|| broadcast::channel(BUFFER).0).subscribe();
        // Closed since, the end is in the channel.
        let over = self.closed.load(Ordering::Acquire);
        Events { receiver: (!over).then_some(receiver), wait: None }
    }
}

impl<E> fmt::Debug for Feed<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Feed").finish_non_exhaustive()
    }
}

/// The events of a group, as this member emits them, from
/// [`Group::events`](crate::Group::events).
///
/// It is a [`Stream`], too.
pub struct Events<E> {
    /// `None` while it is in the wait, and after the end.
    receiver: Option<broadcast::Receiver<Item<E>>>,
    wait: Option<Wait<E>>,
}

type Received<E> = Result<Item<E>, RecvError>;
type Wait<E> =
    Pin<Box<dyn Future<Output = (Received<E>, broadcast::Receiver<Item<E>>)> + Send + Sync>>;

fn wait<E>(mut receiver: broadcast::Receiver<Item<E>>) -> Wait<E>
where
    E: Clone + Send + 'static,
{
    Box::pin(async move { (receiver.recv().await, receiver) })
}

impl<E: Clone + Send + 'static> Events<E> {
    /// The next event, or why some are missing. `None` when the membership is over for good.
    /// Cancel-safe.
    pub async fn next(&mut self) -> Option<Emitted<E>> {
        poll_fn(|cx| self.poll_emitted(cx)).await
    }

    fn poll_emitted(&mut self, cx: &mut Context<'_>) -> Poll<Option<Emitted<E>>> {
        loop {
            if let Some(wait) = &mut self.wait {
                let (received, receiver) = ready!(wait.as_mut().poll(cx));
                self.wait = None;
                self.receiver = Some(receiver);
                return Poll::Ready(self.give(received));
            }
            let Some(receiver) = &mut self.receiver else { return Poll::Ready(None) };
            let received = match receiver.try_recv() {
                Ok(item) => Ok(item),
                Err(TryRecvError::Lagged(missed)) => Err(RecvError::Lagged(missed)),
                Err(TryRecvError::Closed) => Err(RecvError::Closed),
                Err(TryRecvError::Empty) => {
                    self.wait = self.receiver.take().map(wait);
                    continue;
                }
            };
            return Poll::Ready(self.give(received));
        }
    }

    fn give(&mut self, received: Received<E>) -> Option<Emitted<E>> {
        match received {
            Ok(Item::Emitted(emitted)) => Some(emitted),
            Err(RecvError::Lagged(missed)) => Some(Emitted::Lagged(missed)),
            Ok(Item::End) | Err(RecvError::Closed) => {
                self.receiver = None;
                None
            }
        }
    }
}

impl<E: Clone + Send + 'static> Stream for Events<E> {
    type Item = Emitted<E>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Emitted<E>>> {
        self.poll_emitted(cx)
    }
}

impl<E> fmt::Debug for Events<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let over = self.receiver.is_none() && self.wait.is_none();
        f.debug_struct("Events").field("over", &over).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(index: u64) -> Emitted<u64> {
        Emitted::Event { cursor: Cursor { view: 1, index }, event: index }
    }

    #[tokio::test]
    async fn nothing_is_kept_for_nobody() {
        let feed = Feed::new();
        assert!(!feed.is_read());
        feed.show(event(0));
        let mut events = feed.events();
        assert!(feed.is_read());
        feed.show(event(1));
        assert_eq!(events.next().await, Some(event(1)));
        drop(events);
        assert!(!feed.is_read());
    }

    #[tokio::test]
    async fn a_slow_reader_is_told_how_much_it_missed() {
        let feed = Feed::new();
        let mut events = feed.events();
        let more = 7;
        for index in 0..BUFFER as u64 + more {
            feed.show(event(index));
        }
        assert_eq!(events.next().await, Some(Emitted::Lagged(more)));
        for index in more..BUFFER as u64 + more {
            assert_eq!(events.next().await, Some(event(index)));
        }
        feed.close();
        assert_eq!(events.next().await, None);
        assert_eq!(events.next().await, None, "and stays at its end");
        assert_eq!(feed.events().next().await, None, "and begins there");
    }

    #[tokio::test]
    async fn a_wait_that_is_given_up_loses_nothing() {
        let feed = Feed::new();
        let mut events = feed.events();
        assert!(poll_fn(|cx| Poll::Ready(events.poll_emitted(cx).is_pending())).await);
        feed.show(event(0));
        feed.show(Emitted::Gap);
        assert_eq!(events.next().await, Some(event(0)));
        assert_eq!(events.next().await, Some(Emitted::Gap));
    }
}
