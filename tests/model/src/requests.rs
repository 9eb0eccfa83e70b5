//! Rule S11: what may be deduplicated of a request that is carried out twice.
//!
//! A client books a seat. The handler of its request has two steps, each of which reads or writes
//! replicated state: it takes the cheapest free seat that it sees, then charges for that seat. Its
//! coordinator begins, is displaced (a view change chooses another one, or its member crashes), and
//! the next one carries out the same request from the start. What the first had already submitted
//! comes in the one total order anywhere among what the second submits: a survivor's queued updates
//! go out in the next view (protocol, section 3).
//!
//! How it is counted. The first attempt, A, gets no further than its first `k` steps, the second,
//! B, through all of its steps; an interleaving is an order of A's `k` steps and B's steps. With
//! two steps there are 1 + 3 + 6 for `k` = 0, 1, 2: ten. Before them seat 0, which was another
//! client's, has become free; A had looked before, and B looks after it, so they want different
//! seats ([`Looks::Apart`]). The outcome is bad if the client holds anything but nothing unpaid and
//! uncharged, or one seat and has paid for exactly that: nine of ten without a table, three with an
//! id for each step, none with one Commit. (With one Commit the steps of an attempt are its own
//! affair, and its Commit stands in the order where its last step does; as orders of Commits these
//! ten are three.)
//!
//! [`Looks::Anywhere`] is less of a set-up: when each attempt looks, and when the seat becomes
//! free, are events of the order, too. All of it is enumerated: there is nothing to merge in spaces
//! this small, and the ways are what is counted.

use std::fmt;

/// What makes a second attempt harmless, or does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// Nothing: each step is applied.
    NoTable,
    /// Each step has an id, and the first with an id is applied.
    StepIds,
    /// The same, and the result of a step is kept: an attempt waits for it and goes on from there.
    StepResults,
    /// Steps are collected; the last submits `Commit(id, steps, answer)`, and the first is applied.
    OneCommit,
}

/// All schemes, in the order in which they are told.
pub const SCHEMES: [Scheme; 4] =
    [Scheme::NoTable, Scheme::StepIds, Scheme::StepResults, Scheme::OneCommit];

/// When the attempts look at the seats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Looks {
    /// A before a seat becomes free, B after that, and both before any step is applied.
    Apart,
    /// Anywhere in the order before their first step; the seat becomes free anywhere, too.
    Anywhere,
}

/// What was found for one scheme.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// Interleavings.
    pub all: usize,
    /// Those after which the client's seats and payments do not fit.
    pub bad: usize,
    /// Those after which an attempt that came to its end tells the client a seat that it does not
    /// hold.
    pub misled: usize,
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Count { all, bad, misled } = self;
        write!(f, "{all:>4} interleavings, {bad:>4} bad, {misled:>4} with a wrong answer")
    }
}

const STEPS: usize = 2;
const PRICES: [u32; 3] = [5, 7, 9];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seat {
    Free,
    Client,
    Other,
}

/// Who carries the request out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Who {
    A,
    B,
}

/// What happens next in the total order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Event {
    /// Another client gives seat 0 back.
    Freed,
    /// An attempt chooses the cheapest seat that is free where it is.
    Look(Who),
    /// A step of an attempt is applied.
    Step(Who, usize),
}

/// The replicated state, and what each attempt has in mind.
#[derive(Clone, Debug)]
struct World {
    scheme: Scheme,
    seats: [Seat; PRICES.len()],
    paid: u32,
    /// What each attempt wants; none where nothing is free.
    wants: [Option<usize>; 2],
    /// By step: the seat with which it was applied. With one Commit only the last step is.
    table: [Option<Option<usize>>; STEPS],
    /// What the client is told by an attempt that came to its end.
    answers: Vec<Option<usize>>,
}

impl World {
    fn new(scheme: Scheme) -> Self {
        let seats = [Seat::Other, Seat::Free, Seat::Free];
        let (table, wants) = ([None; STEPS], [None; 2]);
        World { scheme, seats, paid: 0, wants, table, answers: Vec::new() }
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Freed => self.seats[0] = Seat::Free,
            Event::Look(who) => {
                self.wants[who as usize] = self.seats.iter().position(|&seat| seat == Seat::Free);
            }
            Event::Step(who, step) => self.step(who, step),
        }
    }

    fn step(&mut self, who: Who, step: usize) {
        let last = step + 1 == STEPS;
        let want = self.wants[who as usize];
        let known = self.table[step].is_some();
        match self.scheme {
            Scheme::NoTable => self.apply(step, want),
            Scheme::StepIds | Scheme::StepResults if !known => {
                self.apply(step, want);
                self.table[step] = Some(want);
            }
            Scheme::StepIds => {}
            Scheme::StepResults => self.wants[who as usize] = self.table[step].flatten(),
            Scheme::OneCommit if last && !known => {
                (0..STEPS).for_each(|step| self.apply(step, want));
                self.table[step] = Some(want);
            }
            Scheme::OneCommit => {}
        }
        if last {
            let answer = match self.scheme {
                Scheme::OneCommit => self.table[step].flatten(),
                _ => self.wants[who as usize],
            };
            self.answers.push(answer);
        }
    }

    /// What a step does to the state: takes the seat if it is free, charges if the client holds it.
    fn apply(&mut self, step: usize, seat: Option<usize>) {
        let Some(seat) = seat else { return };
        match step {
            0 if self.seats[seat] == Seat::Free => self.seats[seat] = Seat::Client,
            1 if self.seats[seat] == Seat::Client => self.paid += PRICES[seat],
            _ => {}
        }
    }

    /// Whether it is as if the request was carried out once, or refused.
    fn is_sound(&self) -> bool {
        let mut held = (0..PRICES.len()).filter(|&seat| self.seats[seat] == Seat::Client);
        let price = held.next().map_or(0, |seat| PRICES[seat]);
        held.next().is_none() && self.paid == price
    }

    fn misleads(&self) -> bool {
        let held = |seat: usize| self.seats[seat] == Seat::Client;
        self.answers.iter().flatten().any(|&seat| !held(seat))
    }
}

/// Calls `found` with every order of events that keeps each sequence in its own order.
fn interleave(rest: &mut [&[Event]], order: &mut Vec<Event>, found: &mut dyn FnMut(&[Event])) {
    if rest.iter().all(|sequence| sequence.is_empty()) {
        return found(order);
    }
    for index in 0..rest.len() {
        let Some((&event, after)) = rest[index].split_first() else { continue };
        let before = std::mem::replace(&mut rest[index], after);
        order.push(event);
        interleave(rest, order, found);
        order.pop();
        rest[index] = before;
    }
}

/// An attempt that gets through its first `steps` steps.
fn attempt(who: Who, steps: usize) -> Vec<Event> {
    let begins = (steps > 0).then_some(Event::Look(who));
    begins.into_iter().chain((0..steps).map(|step| Event::Step(who, step))).collect()
}

/// Goes through all interleavings.
pub fn count(scheme: Scheme, looks: Looks) -> Count {
    let mut count = Count::default();
    for steps in 0..=STEPS {
        let (a, b) = (attempt(Who::A, steps), attempt(Who::B, STEPS));
        // An attempt that has submitted nothing may have looked all the same: it changes nothing.
        let before = [Event::Look(Who::A), Event::Freed, Event::Look(Who::B)];
        let mut found = |order: &[Event]| {
            let mut world = World::new(scheme);
            if looks == Looks::Apart {
                before.iter().for_each(|&event| world.happen(event));
            }
            order.iter().for_each(|&event| world.happen(event));
            count.all += 1;
            count.bad += usize::from(!world.is_sound());
            count.misled += usize::from(world.misleads());
        };
        match looks {
            Looks::Apart => {
                let a = a.get(1..).unwrap_or_default();
                interleave(&mut [a, &b[1..]], &mut Vec::new(), &mut found);
            }
            Looks::Anywhere => {
                interleave(&mut [&a, &b, &[Event::Freed]], &mut Vec::new(), &mut found);
            }
        }
    }
    count
}
