//! Whatever happens to a membership, everybody who called is told once, and the truth (rule A1).

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use proptest::prelude::*;
use tokio::sync::oneshot;
use tokio::sync::oneshot::error::TryRecvError;

use super::callers::{Callers, Ending, Takes, Told, Waiter};
use super::room::{Room, Ticket};
use crate::error::{GroupError, NotApplied, Unknown};

/// What happens next.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// Updates are submitted; of each bit that is set somebody awaits one.
    Submit { count: u8, awaited: u8 },
    /// Some of them get their numbers; while the replica is away that is told here later.
    Number { count: u8, away: bool },
    /// Some of those are delivered.
    Deliver { count: u8 },
    /// Some of those are stable.
    Stabilise { count: u8 },
    /// The next view begins: all that has a number is delivered.
    Install,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => (1..8u8, any::<u8>()).prop_map(|(count, awaited)| Step::Submit { count, awaited }),
        2 => (1..8u8).prop_map(|count| Step::Submit { count, awaited: 0 }),
        3 => (1..8u8, prop::bool::weighted(0.3))
            .prop_map(|(count, away)| Step::Number { count, away }),
        3 => (1..8u8).prop_map(|count| Step::Deliver { count }),
        3 => (1..8u8).prop_map(|count| Step::Stabilise { count }),
        1 => Just(Step::Install),
    ]
}

/// An update that somebody awaits.
struct Call {
    /// The view in which it has its number, and that; none while it waits for one.
    place: Option<(u64, u64)>,
    /// Whether that is not told yet.
    held: bool,
    told: bool,
    listen: Listen,
}

/// How it hears of it: both ways are told the same.
enum Listen {
    Channel(oneshot::Receiver<Told>),
    Room(Ticket),
}

impl Listen {
    fn told(&mut self, room: &Room) -> Option<Told> {
        let listen = match self {
            Listen::Room(ticket) => {
                let cx = Context::from_waker(Waker::noop());
                return match room.poll(*ticket, &cx) {
                    Poll::Ready(told) => Some(told),
                    Poll::Pending => None,
                };
            }
            Listen::Channel(listen) => listen,
        };
        match listen.try_recv() {
            Ok(told) => Some(told),
            Err(TryRecvError::Empty) => None,
            Err(TryRecvError::Closed) => panic!("dropped without a word"),
        }
    }
}

/// One membership, and what must come of the calls.
struct Play {
    room: Arc<Room>,
    callers: Callers,
    view: u64,
    /// Of the view: how many have numbers, are delivered, are stable.
    numbered: u64,
    delivered: u64,
    stable: u64,
    /// Updates without a number; the awaited ones by their place among the calls.
    waiting: VecDeque<Option<usize>>,
    /// Those of the view that have one.
    places: Vec<Option<usize>>,
    /// Numbers that are told when the replica is back: the first, and how many.
    held: VecDeque<(u64, u64)>,
    calls: Vec<Call>,
}

impl Play {
    fn new() -> Play {
        let room = Arc::new(Room::default());
        let mut callers = Callers::new(Arc::clone(&room));
        callers.installed(1);
        Play {
            room,
            callers,
            view: 1,
            numbered: 0,
            delivered: 0,
            stable: 0,
            waiting: VecDeque::new(),
            places: Vec::new(),
            held: VecDeque::new(),
            calls: Vec::new(),
        }
    }

    fn play(&mut self, step: Step) {
        if let Step::Deliver { .. } | Step::Stabilise { .. } | Step::Install = step {
            self.back();
        }
        match step {
            Step::Submit { count, awaited } => self.submit(count, awaited),
            Step::Number { count, away } => self.number(u64::from(count), away),
            Step::Deliver { count } => self.deliver(self.delivered + u64::from(count)),
            Step::Stabilise { count } => {
                self.stable = (self.stable + u64::from(count)).min(self.delivered);
                self.callers.stable(self.view, self.stable);
            }
            Step::Install => {
                self.deliver(self.numbered);
                self.view += 1;
                (self.numbered, self.delivered, self.stable) = (0, 0, 0);
                self.places.clear();
                self.callers.installed(self.view);
            }
        }
    }

    fn submit(&mut self, count: u8, awaited: u8) {
        let mut waiters = Vec::new();
        for index in 0..count {
            let call = (awaited >> index & 1 == 1).then(|| {
                let (waiter, listen) = if index % 2 == 0 {
                    let ticket = self.room.enter();
                    (Waiter::Seated(ticket), Listen::Room(ticket))
                } else {
                    let (tell, listen) = oneshot::channel();
                    (Waiter::Stable(tell), Listen::Channel(listen))
                };
                waiters.push((u64::from(index), waiter));
                self.calls.push(Call { place: None, held: false, told: false, listen });
                self.calls.len() - 1
            });
            self.waiting.push_back(call);
        }
        self.callers.submitted(u64::from(count), waiters);
    }

    /// The replica is back, and what was held for it is done.
    fn back(&mut self) {
        for (seq, count) in self.held.drain(..) {
            self.callers.sent(self.view, seq, count);
        }
        self.calls.iter_mut().for_each(|call| call.held = false);
    }

    fn number(&mut self, count: u64, away: bool) {
        let count = count.min(self.waiting.len() as u64);
        if count == 0 {
            return;
        }
        let held = away || !self.held.is_empty();
        for seq in self.numbered..self.numbered + count {
            let call = self.waiting.pop_front().flatten();
            if let Some(call) = call {
                self.calls[call].place = Some((self.view, seq));
                self.calls[call].held = held;
            }
            self.places.push(call);
        }
        if held {
            self.callers.sent_ahead(count);
            self.held.push_back((self.numbered, count));
        } else {
            self.callers.sent(self.view, self.numbered, count);
        }
        self.numbered += count;
    }

    fn deliver(&mut self, to: u64) {
        for seq in self.delivered..to.min(self.numbered) {
            let wanted = self.callers.wanted(self.view, seq) == Some(seq);
            assert_eq!(wanted, self.places[seq as usize].is_some(), "who awaits {seq}");
            if wanted {
                self.callers.delivered(self.view, seq, Ok(Box::new((self.view, seq))));
            }
            self.callers.settle();
        }
        self.delivered = self.delivered.max(to.min(self.numbered));
    }

    /// Holds every call against what is known of it; `end` is how many updates of the last view are
    /// decided to be delivered, where the membership is over.
    fn judge(&mut self, end: Option<Option<u64>>) {
        for call in self.calls.iter_mut().filter(|call| !call.told) {
            let told = call.listen.told(&self.room);
            call.told = told.is_some();
            let sure = call.place.is_some_and(|(view, seq)| view < self.view || seq < self.stable);
            match (told, call.place, end) {
                (Some(Ok(answer)), Some(place), _) => {
                    assert!(sure, "{place:?} is not stable");
                    assert_eq!(answer.downcast_ref(), Some(&place), "another one's answer");
                }
                (None, place, None) => assert!(!sure, "nobody was told of {place:?}"),
                (Some(Err(error)), place, Some(decided)) => {
                    assert!(!sure, "{place:?} is stable: {error:?}");
                    let out = place.is_none_or(|(_, seq)| decided.is_some_and(|end| seq >= end));
                    // Which number it has is not known here then.
                    let out = out && !call.held;
                    let expected = match out {
                        true => GroupError::NotApplied(NotApplied::Excluded),
                        false => GroupError::Unknown(Unknown::Excluded),
                    };
                    assert_eq!(error, expected, "{place:?}");
                }
                (told, place, end) => panic!("{place:?} at {end:?}: {told:?}"),
            }
        }
    }
}

proptest! {
    #[test]
    fn everybody_is_told_once_and_the_truth(
        steps in prop::collection::vec(step(), 0..60),
        decided in prop::option::of(0..20u64),
    ) {
        let mut run = Play::new();
        for step in steps {
            run.play(step);
            run.judge(None);
        }
        // What is stable is in every cut, and nothing is that has no number.
        let decided = decided.map(|count| count.clamp(run.stable, run.numbered));
        run.callers.end(Ending::Excluded { decided });
        run.judge(Some(decided));
        for call in &run.calls {
            assert!(call.told, "somebody hangs: {:?}", call.place);
        }
        prop_assert_eq!(run.callers.waiting(), 0);
    }
}
