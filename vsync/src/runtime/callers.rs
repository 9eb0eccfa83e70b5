//! Completing callers: the one place where an awaited update gets its outcome.
//!
//! An update is first *queued* (submitted, no number yet), then *numbered* (it has its place in a
//! view's lane), then *delivered* (its result is here), then stable. Whatever ends the membership
//! in between resolves it by rule A1: no caller ever hangs.

use std::any::Any;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use tokio::sync::oneshot;

use super::room::{Room, Ticket};
use super::stability::Stability;
use crate::error::{GroupError, NotApplied, Unknown};

/// A method's result, as the replica handed it over.
pub(crate) type Answer = Box<dyn Any + Send>;

/// What an awaited call is told.
pub(crate) type Told = Result<Answer, GroupError>;

/// Who waits for an update, and for what.
#[derive(Debug)]
pub(crate) enum Waiter {
    /// For the answer, once it is stable.
    Stable(oneshot::Sender<Told>),
    /// The same, in the group's [`Room`].
    Seated(Ticket),
    /// For the answer as soon as it is here; it is told about stability later.
    Applied(oneshot::Sender<Result<(Answer, Stability), GroupError>>),
}

/// A waiter whose update has its number.
#[derive(Debug)]
struct Numbered {
    seq: u64,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    Sent(Waiter),
    /// Delivered; waits for stability.
    Delivered(oneshot::Sender<Told>, Told),
    Seated(Ticket, Told),
    /// Told the answer; waits to tell about stability.
    Told(oneshot::Sender<Result<(), GroupError>>),
    Done,
}

/// How a membership ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// By the others' decision. Own updates of the view below `decided` are in its final cut; it is
    /// `None` where the decision is not known.
    Excluded {
        /// Count of own updates decided.
        decided: Option<u64>,
    },
    /// By an own leave, or at the node's end.
    Closed {
        /// Count of own updates decided.
        decided: Option<u64>,
    },
}

/// Who waits for a flush.
type Flushing = oneshot::Sender<Result<(), GroupError>>;

/// What those in the [`Room`] are told, before they are.
type Words = Vec<(Ticket, Told)>;

/// The awaited updates and flushes of one membership.
#[derive(Debug, Default)]
pub(crate) struct Callers {
    room: Arc<Room>,
    /// Updates submitted so far, and how many of them have their numbers.
    submitted: u64,
    sent: u64,
    /// The view that those belong to who wait and have their numbers.
    view: u64,
    /// Own updates of the view that are stable.
    stable: u64,
    next_flush: u64,
    /// Made when somebody first waits, and kept until a view begins with nobody there.
    waits: Option<Box<Waits>>,
}

/// Those who wait, and what is needed only with them.
#[derive(Debug)]
struct Waits {
    /// Empty but while calls are completed, which goes by ranges.
    words: Words,
    /// How many more than are `sent` have their numbers, which is told here later: they are on
    /// their way.
    ahead: u64,
    queued: VecDeque<(u64, Waiter)>,
    numbered: VecDeque<Numbered>,
    /// How many of `numbered` have been delivered: own updates are, in the order of their numbers.
    reached: usize,
    flushes: BTreeMap<u64, Vec<Flushing>>,
    /// The last flush, if nothing was submitted or delivered since.
    shared: Option<u64>,
}

impl Waits {
    const EMPTY: Waits = Waits {
        words: Vec::new(),
        ahead: 0,
        queued: VecDeque::new(),
        numbered: VecDeque::new(),
        reached: 0,
        flushes: BTreeMap::new(),
        shared: None,
    };
}

const NOBODY: &Waits = &Waits::EMPTY;

impl Waiter {
    /// Whether stability should be asked for at once.
    pub(crate) fn urgent(&self) -> bool {
        matches!(self, Waiter::Stable(_) | Waiter::Seated(_))
    }

    /// Tells that it came to nothing. Nobody listens any more where this has no effect: the caller
    /// was dropped.
    pub(crate) fn fail(self, error: GroupError, words: &mut Words) {
        match self {
            Waiter::Stable(tell) => drop(tell.send(Err(error))),
            Waiter::Seated(ticket) => words.push((ticket, Err(error))),
            Waiter::Applied(tell) => drop(tell.send(Err(error))),
        }
    }
}

impl Stage {
    fn deliver(&mut self, answer: Told) {
        *self = match std::mem::replace(self, Stage::Done) {
            Stage::Sent(Waiter::Seated(ticket)) => Stage::Seated(ticket, answer),
            Stage::Sent(Waiter::Stable(tell)) => Stage::Delivered(tell, answer),
            Stage::Sent(Waiter::Applied(tell)) => {
                let (stable, listen) = oneshot::channel();
                let told = answer.map(|answer| (answer, Stability::pending(listen)));
                if tell.send(told).is_ok() { Stage::Told(stable) } else { Stage::Done }
            }
            other => other,
        };
    }

    /// The update is stable; it has been delivered.
    fn stabilise(self, words: &mut Words) {
        match self {
            Stage::Seated(ticket, answer) => words.push((ticket, answer)),
            Stage::Delivered(tell, answer) => drop(tell.send(answer)),
            Stage::Told(tell) => drop(tell.send(Ok(()))),
            Stage::Sent(waiter) => waiter.fail(GroupError::Unknown(Unknown::NoAnswer), words),
            Stage::Done => {}
        }
    }

    fn fail(self, error: GroupError, words: &mut Words) {
        match self {
            Stage::Seated(ticket, _) => words.push((ticket, Err(error))),
            Stage::Delivered(tell, _) => drop(tell.send(Err(error))),
            Stage::Told(tell) => drop(tell.send(Err(error))),
            Stage::Sent(waiter) => waiter.fail(error, words),
            Stage::Done => {}
        }
    }
}

/// Who takes the results of own updates, in the order of their numbers.
pub(crate) trait Takes {
    /// The first awaited update at or after `seq` that is not delivered yet.
    fn wanted(&self, view: u64, seq: u64) -> Option<u64>;
    /// The own update `seq` was applied, with this answer.
    fn delivered(&mut self, view: u64, seq: u64, answer: Told);
}

impl Takes for Callers {
    fn wanted(&self, view: u64, seq: u64) -> Option<u64> {
        self.all_wanted(view, seq, u64::MAX).next()
    }

    fn delivered(&mut self, view: u64, seq: u64, answer: Told) {
        if self.wanted(view, seq) == Some(seq)
            && let Some(waits) = &mut self.waits
        {
            waits.numbered[waits.reached].stage.deliver(answer);
            waits.reached += 1;
        }
    }
}

impl Callers {
    /// Those who wait do so in this room.
    pub(crate) fn new(room: Arc<Room>) -> Callers {
        Callers { room, ..Callers::default() }
    }

    fn waits(&mut self) -> &mut Waits {
        self.waits.get_or_insert_with(|| Box::new(Waits::EMPTY))
    }

    /// `count` updates were submitted; `waiters` holds who waits, by index among them.
    pub(crate) fn submitted(&mut self, count: u64, waiters: Vec<(u64, Waiter)>) {
        let first = self.submitted;
        self.submitted += count;
        if waiters.is_empty() {
            return self.flush_anew();
        }
        let waits = self.waits();
        waits.shared = None;
        waits.queued.extend(waiters.into_iter().map(|(index, waiter)| (first + index, waiter)));
    }

    /// The next `count` submitted updates got numbers and may go out, though [`Callers::sent`] is
    /// called later: the replica is away, and what comes for it is held.
    pub(crate) fn sent_ahead(&mut self, count: u64) {
        self.waits().ahead += count;
    }

    /// The next `count` submitted updates got the numbers from `seq` on in `view`.
    pub(crate) fn sent(&mut self, view: u64, seq: u64, count: u64) {
        self.enter(view);
        let (first, end) = (self.sent, self.sent + count);
        self.sent = end;
        let Some(waits) = &mut self.waits else { return };
        waits.ahead = waits.ahead.saturating_sub(count);
        while let Some((index, waiter)) = waits.queued.pop_front_if(|(index, _)| *index < end) {
            let seq = seq + (index - first);
            waits.numbered.push_back(Numbered { seq, stage: Stage::Sent(waiter) });
        }
    }

    /// The awaited updates from `seq` to `end` that are not delivered yet.
    pub(crate) fn all_wanted(&self, view: u64, seq: u64, end: u64) -> impl Iterator<Item = u64> {
        let Waits { numbered, reached, .. } = self.waits.as_deref().unwrap_or(NOBODY);
        let reached = if view == self.view { *reached } else { numbered.len() };
        // The first of these is it, where updates are delivered in order.
        let numbers = numbered.range(reached..).map(|numbered| numbered.seq);
        numbers.skip_while(move |&next| next < seq).take_while(move |&next| next < end)
    }

    /// All own updates of the view below `count` are stable. Called after deliveries too: an
    /// update may be stable before it is delivered.
    pub(crate) fn stable(&mut self, view: u64, count: u64) {
        if view != self.view {
            return;
        }
        self.stable = self.stable.max(count);
        self.settle();
    }

    /// Completes, from the oldest on, what is both delivered and stable.
    pub(crate) fn settle(&mut self) {
        let Some(waits) = &mut self.waits else { return };
        let stable = self.stable;
        let done = |n: &mut Numbered| n.seq < stable && !matches!(n.stage, Stage::Sent(_));
        while let Some(numbered) = waits.numbered.pop_front_if(done) {
            waits.reached = waits.reached.saturating_sub(1);
            numbered.stage.stabilise(&mut waits.words);
        }
        self.room.tell(&mut waits.words);
    }

    /// A view was installed: everything delivered in earlier ones is stable.
    pub(crate) fn installed(&mut self, view: u64) {
        self.enter(view);
    }

    fn enter(&mut self, view: u64) {
        if view != self.view {
            self.view = view;
            self.stable = 0;
            let Some(waits) = &mut self.waits else { return };
            waits.reached = 0;
            let numbered = waits.numbered.drain(..);
            numbered.for_each(|numbered| numbered.stage.stabilise(&mut waits.words));
            self.room.tell(&mut waits.words);
            if waits.ahead == 0 && waits.queued.is_empty() && waits.flushes.is_empty() {
                self.waits = None;
            }
        }
    }

    /// Notes who waits for a flush; the id to ask the engine with, unless it was asked for the same
    /// already. Whoever polls a group without a quorum leaves no more than one flush there.
    pub(crate) fn flush(&mut self, tell: Flushing) -> Option<u64> {
        let waits = self.waits.get_or_insert_with(|| Box::new(Waits::EMPTY));
        if let Some(waiting) = waits.shared.and_then(|id| waits.flushes.get_mut(&id)) {
            if waiting.len() == waiting.capacity() {
                waiting.retain(|tell| !tell.is_closed());
            }
            waiting.push(tell);
            return None;
        }
        self.next_flush += 1;
        waits.flushes.insert(self.next_flush, vec![tell]);
        waits.shared = Some(self.next_flush);
        waits.shared
    }

    /// Something was delivered: who flushes from now on waits for that, too.
    pub(crate) fn flush_anew(&mut self) {
        if let Some(waits) = &mut self.waits {
            waits.shared = None;
        }
    }

    /// The engine answered a flush.
    pub(crate) fn flushed(&mut self, id: u64) {
        let told = self.waits.as_mut().and_then(|waits| waits.flushes.remove(&id));
        for tell in told.into_iter().flatten() {
            drop(tell.send(Ok(())));
        }
    }

    /// The membership is over: everybody who waits is told what is known (rule A1).
    pub(crate) fn end(&mut self, ending: Ending) {
        let (unknown, not_applied, decided) = match ending {
            Ending::Excluded { decided } => (Unknown::Excluded, NotApplied::Excluded, decided),
            Ending::Closed { decided } => (Unknown::Closed, NotApplied::Closed, decided),
        };
        if let Some(mut waits) = self.waits.take() {
            for numbered in waits.numbered.drain(..) {
                let outside = decided.is_some_and(|count| numbered.seq >= count);
                let error = match outside {
                    true => GroupError::NotApplied(not_applied.clone()),
                    false => GroupError::Unknown(unknown.clone()),
                };
                numbered.stage.fail(error, &mut waits.words);
            }
            let ahead = self.sent + waits.ahead;
            for (index, waiter) in waits.queued.drain(..) {
                let error = match index < ahead {
                    true => GroupError::Unknown(unknown.clone()),
                    false => GroupError::NotApplied(not_applied.clone()),
                };
                waiter.fail(error, &mut waits.words);
            }
            self.room.tell(&mut waits.words);
            for tell in waits.flushes.into_values().flatten() {
                drop(tell.send(Err(GroupError::Unknown(unknown.clone()))));
            }
        }
        let room = Arc::clone(&self.room);
        *self = Callers { next_flush: self.next_flush, ..Callers::new(room) };
    }

    /// How many callers wait.
    #[cfg(test)]
    pub(crate) fn waiting(&self) -> usize {
        let waits = self.waits.as_deref().unwrap_or(NOBODY);
        waits.queued.len() + waits.numbered.len() + waits.flushes.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waiter() -> (Waiter, oneshot::Receiver<Told>) {
        let (tell, listen) = oneshot::channel();
        (Waiter::Stable(tell), listen)
    }

    fn answer(value: u64) -> Told {
        Ok(Box::new(value))
    }

    fn value(listen: &mut oneshot::Receiver<Told>) -> Result<u64, GroupError> {
        let outcome = listen.try_recv().expect("resolved");
        outcome.map(|answer| *answer.downcast::<u64>().expect("a u64"))
    }

    #[test]
    fn completes_when_delivered_and_stable() {
        let mut callers = Callers::default();
        let (first, mut one) = waiter();
        let (third, mut three) = waiter();
        callers.submitted(3, vec![(0, first), (2, third)]);
        callers.sent(1, 0, 2);
        assert_eq!(callers.wanted(1, 0), Some(0));
        assert_eq!(callers.wanted(1, 1), None);
        callers.sent(1, 2, 1);
        assert_eq!(callers.wanted(1, 1), Some(2));
        callers.delivered(1, 0, answer(10));
        assert!(one.try_recv().is_err());
        callers.stable(1, 3);
        assert_eq!(value(&mut one), Ok(10));
        assert!(three.try_recv().is_err(), "stable, but not delivered here");
        callers.delivered(1, 2, answer(12));
        callers.settle();
        assert_eq!(value(&mut three), Ok(12));
        assert_eq!(callers.waiting(), 0);
    }

    #[test]
    fn an_install_completes_what_was_delivered() {
        let mut callers = Callers::default();
        let (first, mut one) = waiter();
        let (second, mut two) = waiter();
        callers.submitted(2, vec![(0, first), (1, second)]);
        callers.sent(4, 7, 1);
        callers.delivered(4, 7, answer(1));
        callers.installed(5);
        assert_eq!(value(&mut one), Ok(1));
        callers.sent(5, 0, 1);
        callers.delivered(5, 0, answer(2));
        callers.stable(5, 1);
        assert_eq!(value(&mut two), Ok(2));
    }

    #[test]
    fn an_end_resolves_everybody_by_what_is_known() {
        let mut callers = Callers::default();
        let (waiters, mut listeners): (Vec<_>, Vec<_>) = (0..3).map(|_| waiter()).unzip();
        callers.submitted(3, (0..).zip(waiters).collect());
        callers.sent(1, 0, 2);
        let (tell, mut flush) = oneshot::channel();
        callers.flush(tell);
        callers.end(Ending::Excluded { decided: Some(1) });
        assert_eq!(value(&mut listeners[0]), Err(GroupError::Unknown(Unknown::Excluded)));
        let never = Err(GroupError::NotApplied(NotApplied::Excluded));
        assert_eq!(value(&mut listeners[1]), never);
        assert_eq!(value(&mut listeners[2]), never);
        assert_eq!(flush.try_recv(), Ok(Err(GroupError::Unknown(Unknown::Excluded))));
        assert_eq!(callers.waiting(), 0);
    }

    #[test]
    fn an_optimistic_caller_is_told_twice() {
        let mut callers = Callers::default();
        let (tell, mut listen) = oneshot::channel();
        callers.submitted(1, vec![(0, Waiter::Applied(tell))]);
        callers.sent(1, 0, 1);
        callers.delivered(1, 0, answer(5));
        let (_, mut stability) = listen.try_recv().expect("told").expect("applied");
        assert_eq!(stability.now(), Ok(false));
        callers.stable(1, 1);
        assert_eq!(stability.now(), Ok(true));
    }

    #[test]
    fn nothing_is_kept_where_nobody_waits() {
        let mut callers = Callers::default();
        callers.submitted(5, Vec::new());
        callers.sent(1, 0, 5);
        callers.flush_anew();
        callers.stable(1, 5);
        callers.settle();
        assert!(callers.waits.is_none(), "nobody has waited");
        let (first, mut one) = waiter();
        callers.submitted(1, vec![(0, first)]);
        callers.sent(1, 5, 1);
        callers.delivered(1, 5, answer(1));
        callers.stable(1, 6);
        assert_eq!(value(&mut one), Ok(1));
        assert!(callers.waits.is_some(), "more will come");
        let (tell, mut flush) = oneshot::channel();
        let id = callers.flush(tell).expect("the first");
        callers.installed(2);
        callers.flushed(id);
        assert_eq!(flush.try_recv(), Ok(Ok(())));
        callers.installed(3);
        assert!(callers.waits.is_none(), "a view has begun with nobody there");
    }

    /// Nobody waited in the view before.
    #[test]
    fn what_was_stable_in_a_view_is_not_so_in_the_next() {
        let mut callers = Callers::default();
        callers.submitted(5, Vec::new());
        callers.sent(1, 0, 5);
        callers.stable(1, 5);
        callers.installed(2);
        let (first, mut one) = waiter();
        callers.submitted(1, vec![(0, first)]);
        callers.sent(2, 0, 1);
        callers.delivered(2, 0, answer(1));
        callers.settle();
        assert!(one.try_recv().is_err(), "delivered, but not stable");
        callers.stable(2, 1);
        assert_eq!(value(&mut one), Ok(1));
    }

    #[test]
    fn a_flush_is_shared_until_more_is_submitted_or_delivered() {
        let mut callers = Callers::default();
        let mut flushes = |more: fn(&mut Callers)| {
            more(&mut callers);
            let mut flush = || callers.flush(oneshot::channel().0);
            (flush(), flush())
        };
        assert_eq!(flushes(|_| {}), (Some(1), None));
        assert_eq!(flushes(|callers| callers.submitted(1, Vec::new())), (Some(2), None));
        let awaited = |callers: &mut Callers| callers.submitted(1, vec![(0, waiter().0)]);
        assert_eq!(flushes(awaited), (Some(3), None));
        assert_eq!(flushes(Callers::flush_anew), (Some(4), None));
        assert_eq!(flushes(|callers| callers.flushed(4)), (Some(5), None), "it is over");
        let end = |callers: &mut Callers| callers.end(Ending::Closed { decided: None });
        assert_eq!(flushes(end), (Some(6), None), "not one that was asked for before");
    }

    #[test]
    fn what_is_on_its_way_is_known_though_nobody_waited_for_it() {
        let mut callers = Callers::default();
        callers.submitted(2, Vec::new());
        callers.sent_ahead(2);
        callers.installed(1);
        let (waiters, mut listeners): (Vec<_>, Vec<_>) = (0..2).map(|_| waiter()).unzip();
        callers.submitted(2, (0..).zip(waiters).collect());
        callers.sent_ahead(1);
        callers.end(Ending::Excluded { decided: Some(0) });
        assert_eq!(value(&mut listeners[0]), Err(GroupError::Unknown(Unknown::Excluded)));
        let never = Err(GroupError::NotApplied(NotApplied::Excluded));
        assert_eq!(value(&mut listeners[1]), never);
    }
}
