//! The queue between everything that arrives and the one consumer.
//!
//! Its frames are bounded per connection and class: whoever fills it asks [`Intake::room`] before
//! it reads more from the network, so a slow consumer slows its senders and never fills the memory.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::Notify;

use crate::{Class, Event, PeerId, PeerInfo};

/// Locks a mutex whose data is consistent between any two statements of its users, so that a panic
/// elsewhere is no reason to spread.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What one connection has in the inbox.
#[derive(Debug)]
pub(crate) struct Intake {
    peer: PeerId,
    /// How many bytes of one class may wait for the consumer.
    limit: usize,
    /// False after its `Down`. Changes only under the inbox's lock, so no frame follows a `Down`.
    live: AtomicBool,
    held: [AtomicUsize; 3],
    room: Notify,
    /// Somebody may be waiting for room: the consumer need not call out otherwise.
    crowded: AtomicBool,
}

impl Intake {
    pub(crate) fn new(peer: PeerId, limit: usize) -> Arc<Self> {
        Arc::new(Self {
            peer,
            limit,
            live: AtomicBool::new(true),
            held: Default::default(),
            room: Notify::new(),
            crowded: AtomicBool::new(false),
        })
    }

    /// Bytes of this class that the consumer has not taken yet.
    pub(crate) fn held(&self, class: Class) -> usize {
        self.held[class.index()].load(Ordering::SeqCst)
    }

    /// Whether no more of this class should be read now.
    pub(crate) fn is_full(&self, class: Class) -> bool {
        self.held(class) >= self.limit
    }

    /// Waits where the limit is reached, until half of it has been taken: so that a reader that has
    /// filled it is woken once and not for every frame.
    pub(crate) async fn room(&self, class: Class) {
        if !self.is_full(class) {
            return;
        }
        while self.held(class) > self.limit / 2 {
            let mut made = std::pin::pin!(self.room.notified());
            // Registered before the second look, else room made in between would be missed.
            made.as_mut().enable();
            self.crowded.store(true, Ordering::SeqCst);
            if self.held(class) > self.limit / 2 {
                made.await;
            }
        }
    }

    fn taken(&self, class: Class, bytes: usize) {
        let left = self.held[class.index()].fetch_sub(bytes, Ordering::SeqCst) - bytes;
        // Both sides store before they load, so one of them sees the other. Whoever is called and
        // still finds no room raises the flag again.
        if left <= self.limit / 2 && self.crowded.load(Ordering::SeqCst) {
            self.crowded.store(false, Ordering::SeqCst);
            self.room.notify_waiters();
        }
    }
}

/// Room for so many events stays when there are none.
const KEPT: usize = 256;

enum Queued {
    Frame { intake: Arc<Intake>, class: Class, frame: Bytes },
    News(Event),
}

#[derive(Default)]
struct State {
    queue: VecDeque<Queued>,
    closed: bool,
}

/// The queue. Everything is pushed without waiting.
#[derive(Default)]
pub(crate) struct Inbox {
    state: Mutex<State>,
    /// What the consumer has taken over in one go and not used up: older than what is in `state`.
    taken: Mutex<VecDeque<Queued>>,
    ready: Notify,
}

impl Inbox {
    /// A connection is up; its intake may be used from now on.
    pub(crate) fn up(&self, info: PeerInfo) {
        self.news(Event::Up(info));
    }

    /// Frames have arrived. They are dropped where the connection is down already.
    pub(crate) fn frames(&self, intake: &Arc<Intake>, class: Class, frames: &mut Vec<Bytes>) {
        if frames.is_empty() {
            return;
        }
        let mut state = lock(&self.state);
        if state.closed || !intake.live.load(Ordering::Relaxed) {
            frames.clear();
            return;
        }
        let bytes = frames.iter().map(Bytes::len).sum();
        intake.held[class.index()].fetch_add(bytes, Ordering::AcqRel);
        let queued = frames.drain(..);
        state.queue.extend(queued.map(|frame| Queued::Frame {
            intake: intake.clone(),
            class,
            frame,
        }));
        drop(state);
        self.ready.notify_one();
    }

    /// The connection is down, once: says whether it was up.
    pub(crate) fn down(&self, intake: &Intake) -> bool {
        let mut state = lock(&self.state);
        let was = intake.live.swap(false, Ordering::Relaxed);
        if was && !state.closed {
            state.queue.push_back(Queued::News(Event::Down { peer: intake.peer }));
        }
        drop(state);
        self.ready.notify_one();
        was
    }

    /// The peer has ended.
    pub(crate) fn ended(&self, peer: PeerId) {
        self.news(Event::Ended { peer });
    }

    /// Nothing more comes: what is queued can still be taken, then the consumer gets `None`.
    pub(crate) fn close(&self) {
        lock(&self.state).closed = true;
        self.ready.notify_one();
    }

    fn news(&self, event: Event) {
        let mut state = lock(&self.state);
        if !state.closed {
            state.queue.push_back(Queued::News(event));
        }
        drop(state);
        self.ready.notify_one();
    }

    /// The next event, if there is one.
    pub(crate) fn try_next(&self) -> Option<Event> {
        self.take().0
    }

    /// The next event; `None` when closed and used up.
    pub(crate) async fn next(&self) -> Option<Event> {
        loop {
            match self.take() {
                (Some(event), _) => return Some(event),
                (None, true) => {
                    // Let a second call see the end as well.
                    self.ready.notify_one();
                    return None;
                }
                (None, false) => self.ready.notified().await,
            }
        }
    }

    fn take(&self) -> (Option<Event>, bool) {
        let mut taken = lock(&self.taken);
        let mut closed = false;
        if taken.is_empty() {
            let mut state = lock(&self.state);
            std::mem::swap(&mut *taken, &mut state.queue);
            closed = state.closed;
        }
        let queued = taken.pop_front();
        if queued.is_none() && taken.capacity() > KEPT {
            // What a burst took is not needed any more.
            taken.shrink_to(KEPT);
            lock(&self.state).queue.shrink_to(KEPT);
        }
        drop(taken);
        let event = queued.map(|queued| match queued {
            Queued::News(event) => event,
            Queued::Frame { intake, class, frame } => {
                intake.taken(class, frame.len());
                Event::Frame { peer: intake.peer, class, frame }
            }
        });
        (event, closed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames(count: usize) -> Vec<Bytes> {
        vec![Bytes::from_static(b"0123456789"); count]
    }

    #[test]
    fn no_frame_follows_a_down() {
        let inbox = Inbox::default();
        let intake = Intake::new(PeerId(1), 30);
        inbox.frames(&intake, Class::Updates, &mut frames(1));
        assert!(inbox.down(&intake));
        assert!(!inbox.down(&intake));
        inbox.frames(&intake, Class::Updates, &mut frames(1));
        assert!(matches!(inbox.try_next(), Some(Event::Frame { .. })));
        assert_eq!(inbox.try_next(), Some(Event::Down { peer: PeerId(1) }));
        assert_eq!(inbox.try_next(), None);
    }

    #[tokio::test]
    async fn room_comes_with_taking() {
        let inbox = Arc::new(Inbox::default());
        let intake = Intake::new(PeerId(1), 30);
        inbox.frames(&intake, Class::Bulk, &mut frames(4));
        intake.room(Class::Updates).await;
        let waiting = {
            let intake = intake.clone();
            tokio::spawn(async move { intake.room(Class::Bulk).await })
        };
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        for _ in 0..3 {
            assert!(inbox.next().await.is_some());
        }
        waiting.await.unwrap();
        assert_eq!(intake.held(Class::Bulk), 10);
    }

    #[tokio::test]
    async fn closing_gives_what_is_queued_and_then_none() {
        let inbox = Inbox::default();
        inbox.ended(PeerId(7));
        inbox.close();
        inbox.ended(PeerId(8));
        assert_eq!(inbox.next().await, Some(Event::Ended { peer: PeerId(7) }));
        assert_eq!(inbox.next().await, None);
        assert_eq!(inbox.next().await, None);
    }
}
