//! [`Room`]: where the callers of a group wait for their answers, told by ranges.
//!
//! A caller takes a place at its first poll, under a lock of its own group, and makes nothing on
//! the heap for it: places are used again, the last one first, which is then still in the cache.
//! Whoever completes calls hands over all that a count of stable updates completes, under one lock,
//! and wakes their tasks after it.

use std::mem;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use super::callers::Told;
use crate::error::{GroupError, Unknown};

/// Places that are kept for whoever comes next when all are free.
const KEPT: usize = 1024;

/// A place in the room. The caller and whoever answers it have one each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ticket {
    place: u32,
    /// Never twice in a room: a word for somebody who has left is not for who has the place now.
    turn: u64,
}

#[derive(Debug, Default)]
struct Place {
    /// Of who has it, or had it last.
    turn: u64,
    what: What,
}

#[derive(Debug, Default)]
enum What {
    #[default]
    Free,
    Waits(Option<Waker>),
    Told(Told),
}

#[derive(Debug, Default)]
struct Places {
    all: Vec<Place>,
    free: Vec<u32>,
    turns: u64,
}

/// Who waits for the answers to their updates, in one group.
#[derive(Debug, Default)]
pub(crate) struct Room {
    /// Made for the first who comes.
    places: Mutex<Option<Box<Places>>>,
}

impl Places {
    fn of(&mut self, ticket: Ticket) -> Option<&mut What> {
        let place = self.all.get_mut(ticket.place as usize)?;
        (place.turn == ticket.turn).then_some(&mut place.what)
    }

    /// Takes out what is at the place of a ticket, if that is still its place; it is free then.
    fn vacate(&mut self, ticket: Ticket) -> Option<What> {
        let what = mem::take(self.of(ticket).filter(|what| !matches!(what, What::Free))?);
        self.free.push(ticket.place);
        if self.free.len() == self.all.len() && self.all.len() > KEPT {
            (self.all, self.free) = Default::default();
        }
        Some(what)
    }
}

impl Room {
    fn lock(&self) -> MutexGuard<'_, Option<Box<Places>>> {
        // Nothing panics while it is held.
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a place.
    pub(crate) fn enter(&self) -> Ticket {
        let mut places = self.lock();
        let places = places.get_or_insert_default();
        places.turns += 1;
        let (turn, what) = (places.turns, What::Waits(None));
        let place = match places.free.pop() {
            Some(place) => {
                places.all[place as usize] = Place { turn, what };
                place
            }
            None => {
                places.all.push(Place { turn, what });
                places.all.len() as u32 - 1
            }
        };
        Ticket { place, turn }
    }

    /// What there is to be told; the place is given back then. Else `cx` is woken when there is.
    pub(crate) fn poll(&self, ticket: Ticket, cx: &Context<'_>) -> Poll<Told> {
        // What it replaces is dropped last, not under the lock: it may be all that is left of a
        // task, and another call of this group in that.
        let _before;
        let mut places = self.lock();
        let Some(places) = &mut *places else {
            return Poll::Ready(Err(GroupError::Unknown(Unknown::Closed)));
        };
        if let Some(What::Waits(waker)) = places.of(ticket) {
            let same = waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker()));
            _before = if same { None } else { waker.replace(cx.waker().clone()) };
            return Poll::Pending;
        }
        Poll::Ready(match places.vacate(ticket) {
            Some(What::Told(told)) => told,
            // It was told already.
            _ => Err(GroupError::Unknown(Unknown::Closed)),
        })
    }

    /// The caller waits no longer: what it would be told is dropped.
    pub(crate) fn leave(&self, ticket: Ticket) {
        let what = self.lock().as_mut().and_then(|places| places.vacate(ticket));
        // Not under the lock: an answer is the user's, and so is what dropping it does.
        drop(what);
    }

    /// Tells them, all under one lock, and wakes those who wait. What nobody waits for any more is
    /// dropped. `words` is empty then, and keeps its room.
    pub(crate) fn tell(&self, words: &mut Vec<(Ticket, Told)>) {
        if words.is_empty() {
            return;
        }
        let mut woken = Vec::with_capacity(words.len());
        let mut unheard = Vec::new();
        let mut places = self.lock();
        for (ticket, told) in words.drain(..) {
            match places.as_mut().and_then(|places| places.of(ticket)) {
                Some(what @ What::Waits(_)) => {
                    if let What::Waits(Some(waker)) = mem::replace(what, What::Told(told)) {
                        woken.push(waker);
                    }
                }
                _ => unheard.push(told),
            }
        }
        drop(places);
        woken.into_iter().for_each(Waker::wake);
        // As in `leave`.
        drop(unheard);
    }

    /// Nobody is left who could answer: whoever waits is told that the outcome is not known.
    pub(crate) fn close(&self) {
        let mut words: Vec<(Ticket, Told)> = Vec::new();
        for (place, of) in (0..).zip(self.lock().iter().flat_map(|places| &places.all)) {
            if let What::Waits(_) = of.what {
                let closed = Err(GroupError::Unknown(Unknown::Closed));
                words.push((Ticket { place, turn: of.turn }, closed));
            }
        }
        self.tell(&mut words);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use super::*;

    /// Counts how often it is woken.
    #[derive(Default)]
    struct Bell(AtomicUsize);

    impl Wake for Bell {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn poll(room: &Room, ticket: Ticket, bell: &Arc<Bell>) -> Poll<Option<u64>> {
        let waker = Waker::from(Arc::clone(bell));
        let told = room.poll(ticket, &Context::from_waker(&waker));
        told.map(|told| told.ok().and_then(|answer| answer.downcast_ref().copied()))
    }

    fn words(told: &[(Ticket, u64)]) -> Vec<(Ticket, Told)> {
        told.iter().map(|&(ticket, value)| (ticket, Ok(Box::new(value) as _))).collect()
    }

    #[test]
    fn all_are_told_and_woken_once() {
        let (room, bell) = (Room::default(), Arc::new(Bell::default()));
        let tickets: Vec<_> = (0..3).map(|_| room.enter()).collect();
        for &ticket in &tickets[..2] {
            assert_eq!(poll(&room, ticket, &bell), Poll::Pending);
            assert_eq!(poll(&room, ticket, &bell), Poll::Pending);
        }
        room.tell(&mut words(&[(tickets[0], 10), (tickets[1], 11), (tickets[2], 12)]));
        assert_eq!(bell.0.load(Ordering::Relaxed), 2, "the third was not polled yet");
        for (&ticket, value) in tickets.iter().zip(10..) {
            assert_eq!(poll(&room, ticket, &bell), Poll::Ready(Some(value)));
        }
        assert_eq!(room.lock().as_ref().expect("somebody came").free.len(), 3);
    }

    /// Of a task that drops another call of the same group when it is dropped.
    struct Last(Arc<Room>, Ticket);

    impl Wake for Last {
        fn wake(self: Arc<Self>) {}
    }

    impl Drop for Last {
        fn drop(&mut self) {
            self.0.leave(self.1);
        }
    }

    #[test]
    fn a_waker_that_is_replaced_may_take_a_call_along() {
        let room = Arc::new(Room::default());
        let (mine, other) = (room.enter(), room.enter());
        let last = Waker::from(Arc::new(Last(Arc::clone(&room), other)));
        assert!(room.poll(mine, &Context::from_waker(&last)).is_pending());
        drop(last);
        assert!(room.poll(mine, &Context::from_waker(Waker::noop())).is_pending());
        assert_eq!(
            room.lock().as_ref().expect("somebody came").free.len(),
            1,
            "the other one has left"
        );
    }

    #[test]
    fn a_word_for_who_has_left_is_not_for_who_came_after() {
        let (room, bell) = (Room::default(), Arc::new(Bell::default()));
        let gone = room.enter();
        room.leave(gone);
        let next = room.enter();
        assert_eq!(gone.place, next.place);
        room.tell(&mut words(&[(gone, 1)]));
        assert_eq!(poll(&room, next, &bell), Poll::Pending);
        room.leave(gone);
        room.tell(&mut words(&[(next, 2)]));
        assert_eq!(poll(&room, next, &bell), Poll::Ready(Some(2)));
        assert_eq!(poll(&room, next, &bell), Poll::Ready(None), "told already");
    }

    #[test]
    fn whoever_is_left_at_the_end_is_told_so() {
        let (room, bell) = (Room::default(), Arc::new(Bell::default()));
        let (one, two) = (room.enter(), room.enter());
        room.tell(&mut words(&[(two, 2)]));
        room.close();
        assert_eq!(poll(&room, one, &bell), Poll::Ready(None));
        assert_eq!(poll(&room, two, &bell), Poll::Ready(Some(2)));
    }

    #[test]
    fn places_are_given_back() {
        let room = Room::default();
        let tickets: Vec<_> = (0..2 * KEPT).map(|_| room.enter()).collect();
        let last = tickets[2 * KEPT - 1];
        tickets.into_iter().for_each(|ticket| room.leave(ticket));
        assert!(room.lock().as_ref().expect("somebody came").all.is_empty());
        room.leave(last);
        assert!(room.lock().as_ref().expect("somebody came").free.is_empty(), "given back twice");
        let (bell, mut next) = (Arc::new(Bell::default()), room.enter());
        while next.place < last.place {
            next = room.enter();
        }
        room.tell(&mut words(&[(last, 1)]));
        assert_eq!(poll(&room, next, &bell), Poll::Pending, "that was for an earlier one");
    }
}
