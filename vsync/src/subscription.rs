//! [`Subscription`]: the events of a group, read by a client.

use std::collections::VecDeque;
use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_core::Stream;
use serde::de::DeserializeOwned;

use crate::codec;
use crate::error::ClientError;
use crate::events::{Cursor, Emits, Emitted};
use crate::remote::RemoteGroup;
use crate::replicated::Replicated;
use crate::runtime::ring::{Missed, News, Position};

/// That the events of a replicated type can be read by clients, outside the group.
///
/// Written by `#[replicated(event = E, published)]` on the struct.
#[diagnostic::on_unimplemented(
    message = "`{Self}` publishes no events of this type",
    label = "not published by `{Self}`",
    note = "say so on the struct: `#[replicated(event = MyEvent, published)]`; the events then \
            travel, and so need serde's traits"
)]
pub trait Publishes<E>: Emits<E> {}

impl<S: Replicated> RemoteGroup<S> {
    /// The [events](crate::Ctx::emit) of the group that come after `from`, or from now on: each
    /// when it is stable, read from one member, and from another one when that fails. The type
    /// says that it has them: `#[replicated(event = E, published)]`.
    ///
    /// Members keep the last events, [`event_buffer`](crate::NodeBuilder::event_buffer) bytes of
    /// them. A subscriber asks for more when it has read what it has: one that does not read costs
    /// the members nothing, and finds [`Emitted::Lagged`] when they have dropped what it has not
    /// read. Where nobody knows how much it has missed it finds [`Emitted::Gap`]: `from` is older
    /// than what is kept, or another member has to go on that does not reach back so far.
    ///
    /// Going on after a cursor, or at another member, is exact for events of total updates and of
    /// `#[on_view]`, whose cursors are the same at all members: see [`Cursor`]. Events of fifo and
    /// causal updates may then be missing or come twice.
    pub async fn events<E>(&self, from: Option<Cursor>) -> Result<Subscription<S, E>, ClientError>
    where
        S: Publishes<E>,
        E: DeserializeOwned + Clone + Send + 'static,
    {
        let mut subscription = Subscription {
            group: self.clone(),
            position: from.map(|cursor| Position { next: cursor.next(), local: (0, 0) }),
            read: VecDeque::new(),
            asking: None,
        };
        if from.is_none() {
            let news = ask(self.clone(), None).await?;
            subscription.take(news)?;
        }
        Ok(subscription)
    }
}

type Asking = Pin<Box<dyn Future<Output = Result<News, ClientError>> + Send>>;

/// The events of a group, from [`RemoteGroup::events`].
///
/// It is a [`Stream`], too, which does not end: after an error it goes on where it was when it is
/// read again.
pub struct Subscription<S: Replicated, E> {
    group: RemoteGroup<S>,
    /// Where the next question goes on.
    position: Option<Position>,
    read: VecDeque<Emitted<E>>,
    asking: Option<Asking>,
}

// Nothing in it is pinned but what is boxed.
impl<S: Replicated, E> Unpin for Subscription<S, E> {}

/// Asks a member; where it has nothing it lets one wait for a while.
async fn ask<S: Replicated>(
    group: RemoteGroup<S>,
    position: Option<Position>,
) -> Result<News, ClientError> {
    let bytes = group.asking(None).events::<S>(position).await?;
    let (news, rest): (News, _) =
        postcard::take_from_bytes(&bytes).map_err(|why| ClientError::Decode(why.to_string()))?;
    match rest.len() {
        0 => Ok(news),
        more => Err(ClientError::Decode(format!("{more} bytes after the events"))),
    }
}

impl<S, E> Subscription<S, E>
where
    S: Publishes<E> + Replicated,
    E: DeserializeOwned + Clone + Send + 'static,
{
    /// The next event, or why some are missing. An error says that no member could be asked in some
    /// ten seconds, or that what it said makes no sense; what comes next is not lost by it.
    /// Cancel-safe.
    pub async fn next(&mut self) -> Result<Emitted<E>, ClientError> {
        poll_fn(|cx| self.poll_emitted(cx)).await
    }

    fn poll_emitted(&mut self, cx: &mut Context<'_>) -> Poll<Result<Emitted<E>, ClientError>> {
        loop {
            if let Some(emitted) = self.read.pop_front() {
                return Poll::Ready(Ok(emitted));
            }
            let (group, position) = (&self.group, self.position);
            let asking = self.asking.get_or_insert_with(|| Box::pin(ask(group.clone(), position)));
            let news = ready!(asking.as_mut().poll(cx));
            self.asking = None;
            if let Err(error) = news.and_then(|news| self.take(news)) {
                return Poll::Ready(Err(error));
            }
        }
    }

    fn take(&mut self, news: News) -> Result<(), ClientError> {
        let News { missed, events, position } = news;
        let mut read = VecDeque::new();
        read.extend(missed.map(|missed| match missed {
            Missed::Lagged(count) => Emitted::Lagged(count),
            Missed::Gap => Emitted::Gap,
        }));
        for (cursor, bytes) in events {
            let mut rest: &[u8] = &bytes;
            let event = codec::read(&mut rest).map_err(ClientError::Decode)?;
            read.push_back(Emitted::Event { cursor, event });
        }
        self.read = read;
        self.position = Some(position);
        Ok(())
    }
}

impl<S, E> Stream for Subscription<S, E>
where
    S: Publishes<E> + Replicated,
    E: DeserializeOwned + Clone + Send + 'static,
{
    type Item = Result<Emitted<E>, ClientError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll_emitted(cx).map(Some)
    }
}

impl<S: Replicated, E> fmt::Debug for Subscription<S, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription")
            .field("group", &self.group.name())
            .field("position", &self.position)
            .finish_non_exhaustive()
    }
}
