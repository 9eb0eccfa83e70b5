//! [`Outbox`]: where callers leave updates for the driver, encoded, against credit.

use std::collections::VecDeque;
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;
use vsync_core::engine::{Class, Level, Run};

use super::callers::Waiter;
use super::pile::Pile;
use super::room::Room;
use crate::error::{GroupError, NotApplied};
use crate::replicated::{Method, Replicated};

/// The farthest that somebody waits for, of those who have left something.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Wait {
    /// Nobody waits.
    #[default]
    Nobody,
    /// For what is applied here, which takes nobody else.
    Here,
    /// For what other members do with it.
    Others,
}

/// What callers have left since the driver last looked.
#[derive(Debug, Default)]
pub(crate) struct Parcel {
    /// The classes, run after run.
    pub(crate) runs: Vec<Run>,
    /// Length and bytes of each update.
    pub(crate) body: Vec<u8>,
    /// How many updates.
    pub(crate) count: u64,
    /// Who waits for an answer: index of the update within this parcel, in rising order.
    pub(crate) waiters: Vec<(u64, Waiter)>,
    /// What is waited for.
    pub(crate) wait: Wait,
}

impl Parcel {
    /// Whether somebody waits for others: for stability, or for a position, which the sequencer
    /// must know.
    pub(crate) fn urgent(&self) -> bool {
        self.wait == Wait::Others
    }
}

/// Who is told about an update.
#[derive(Debug)]
pub(crate) enum Tell {
    /// Who waits for its answer.
    Answer(Waiter),
    /// Who waits only until its turn has come.
    Turn(oneshot::Sender<Result<(), GroupError>>),
}

/// An update that waits for its turn.
#[derive(Debug)]
struct Letter {
    /// Its name in line: they grow towards the end.
    place: u64,
    method: &'static Method,
    /// Length and bytes.
    body: Vec<u8>,
    tell: Option<Tell>,
}

#[derive(Debug, Default)]
struct State {
    parcel: Parcel,
    /// What came when there was no credit, oldest first. Empty while there is credit.
    line: VecDeque<Letter>,
    /// The next place in line.
    next: u64,
    /// Where what the batch holds is counted.
    pile: Arc<Pile>,
    /// Some stand in line behind a batch that is not empty, and are counted there.
    pressed: bool,
    /// Bytes that may still be left here. Below zero by one update at most.
    credit: i64,
    closed: bool,
}

/// The open batch of one group, filled by callers and emptied by the driver.
///
/// Updates are encoded straight into the batch under a short lock. Without credit they wait here in
/// line, encoded, and move into the batch in the order in which they came as credit is granted:
/// whether their callers are polled, or still there, makes no difference. The batch is bounded by
/// the group's window; the line holds one letter per call that was begun without credit.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    state: Mutex<State>,
    /// Where callers wait for what becomes of their updates.
    pub(crate) room: Arc<Room>,
}

/// What came of leaving an update.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Left {
    /// It is in; `wake` if the driver must be woken because the batch was empty.
    Taken { wake: bool },
    /// No credit: it goes when its turn comes, unless this place in line is given up.
    InLine(u64),
    /// It will never be sent.
    Never(NotApplied),
}

impl Outbox {
    fn lock(&self) -> MutexGuard<'_, State> {
        // An update that panics while it is encoded leaves no trace, so the state is whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Leaves one update of at most `limit` bytes. Who is told is asked only when the update is
    /// taken; the argument says whether it has to stand in line.
    pub(crate) fn leave<S: Replicated>(
        &self,
        update: &S::Update,
        limit: usize,
        who: impl FnOnce(bool) -> Option<Tell>,
    ) -> Left {
        let mut state = self.lock();
        if state.closed {
            return Left::Never(NotApplied::Closed);
        }
        let method = S::method(update);
        if state.credit <= 0 {
            let mut body = Vec::new();
            if let Err(why) = append::<S>(&mut body, update, method, limit) {
                return Left::Never(why);
            }
            let place = state.next;
            state.next += 1;
            state.line.push_back(Letter { place, method, body, tell: who(true) });
            state.press();
            return Left::InLine(place);
        }
        let size = match append::<S>(&mut state.parcel.body, update, method, limit) {
            Ok(size) => size,
            Err(why) => return Left::Never(why),
        };
        let wake = state.parcel.count == 0;
        let turn = state.count(method, size, who(false));
        drop(state);
        turn_has_come(turn);
        Left::Taken { wake }
    }

    /// Leaves an update of the runtime's own.
    pub(crate) fn leave_inner(
        &self,
        method: &'static Method,
        update: &[u8],
        tell: Option<Tell>,
    ) -> Left {
        let mut state = self.lock();
        if state.closed {
            return Left::Never(NotApplied::Closed);
        }
        let length = (update.len() as u32).to_le_bytes();
        let body = [&length[..], update].concat();
        if state.credit <= 0 {
            let place = state.next;
            state.next += 1;
            state.line.push_back(Letter { place, method, body, tell });
            state.press();
            return Left::InLine(place);
        }
        let wake = state.parcel.count == 0;
        state.parcel.body.extend_from_slice(&body);
        let turn = state.count(method, body.len(), tell);
        drop(state);
        turn_has_come(turn);
        Left::Taken { wake }
    }

    /// Gives up a place in line. `true` if the update was still there: it will never be sent.
    pub(crate) fn withdraw(&self, place: u64) -> bool {
        let mut state = self.lock();
        let Ok(at) = state.line.binary_search_by_key(&place, |letter| letter.place) else {
            return false;
        };
        let letter = state.line.remove(at);
        state.press();
        drop(state);
        letter.is_some()
    }

    /// What is left here is counted in this pile from now on. The driver says so before it grants
    /// credit, so that nothing is there yet.
    pub(crate) fn count_in(&self, pile: &Arc<Pile>) {
        let mut state = self.lock();
        let parcel = state.take();
        state.pile = Arc::clone(pile);
        state.pile.left(parcel.body.len(), Wait::Nobody, parcel.wait);
        state.parcel = parcel;
        state.press();
    }

    /// Takes what callers have left.
    pub(crate) fn take(&self) -> Parcel {
        self.lock().take()
    }

    /// How many bytes have been left.
    #[cfg(feature = "testing")]
    pub(crate) fn bytes(&self) -> usize {
        self.lock().parcel.body.len()
    }

    /// What is waited for.
    pub(crate) fn wait(&self) -> Wait {
        self.lock().parcel.wait
    }

    /// Whether updates wait for credit behind what has been left.
    pub(crate) fn is_pressed(&self) -> bool {
        self.lock().pressed
    }

    /// How many updates wait for credit.
    pub(crate) fn in_line(&self) -> usize {
        self.lock().line.len()
    }

    /// More may be left here; what is in line goes first. `true` if the driver must be woken
    /// because the batch was empty and no longer is.
    pub(crate) fn grant(&self, bytes: u64) -> bool {
        let mut turns = Vec::new();
        let mut state = self.lock();
        state.credit = state.credit.saturating_add(i64::try_from(bytes).unwrap_or(i64::MAX));
        let was_empty = state.parcel.count == 0;
        while state.credit > 0
            && let Some(letter) = state.line.pop_front()
        {
            state.parcel.body.extend_from_slice(&letter.body);
            turns.extend(state.count(letter.method, letter.body.len(), letter.tell));
        }
        state.press();
        let wake = was_empty && state.parcel.count > 0;
        drop(state);
        turns.into_iter().for_each(|turn| turn_has_come(Some(turn)));
        wake
    }

    /// The membership is over and credit is void. What was left and not yet taken was never sent,
    /// whether it is in the batch or in line: whoever waits for it is told.
    pub(crate) fn reset(&self, why: &NotApplied) {
        let mut state = self.lock();
        state.credit = 0;
        let parcel = state.take();
        let line = mem::take(&mut state.line);
        drop(state);
        let mut words = Vec::new();
        for (_, waiter) in parcel.waiters {
            waiter.fail(GroupError::NotApplied(why.clone()), &mut words);
        }
        self.room.tell(&mut words);
        self.never_sent(line, why);
    }

    /// Nothing more may be left, for ever. The batch may still be taken; what is in line was never
    /// sent.
    pub(crate) fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        let line = mem::take(&mut state.line);
        state.press();
        drop(state);
        self.never_sent(line, &NotApplied::Closed);
    }

    fn never_sent(&self, line: VecDeque<Letter>, why: &NotApplied) {
        let mut words = Vec::new();
        for letter in line {
            let error = GroupError::NotApplied(why.clone());
            match letter.tell {
                Some(Tell::Answer(waiter)) => waiter.fail(error, &mut words),
                Some(Tell::Turn(turn)) => drop(turn.send(Err(error))),
                None => {}
            }
        }
        self.room.tell(&mut words);
    }

    /// Bytes that may still be left; for tests.
    #[cfg(test)]
    pub(crate) fn credit(&self) -> i64 {
        self.lock().credit
    }
}

impl State {
    fn take(&mut self) -> Parcel {
        let parcel = mem::take(&mut self.parcel);
        self.pile.taken(parcel.body.len(), parcel.wait);
        self.press();
        parcel
    }

    /// Keeps the count of those who stand in line behind a batch.
    fn press(&mut self) {
        let pressed = self.parcel.count > 0 && !self.line.is_empty();
        if mem::replace(&mut self.pressed, pressed) != pressed {
            self.pile.press(pressed);
        }
    }

    /// The update at the end of the batch, `size` bytes with its length, is part of it. Returns who
    /// waited only for that.
    fn count(
        &mut self,
        method: &Method,
        size: usize,
        tell: Option<Tell>,
    ) -> Option<oneshot::Sender<Result<(), GroupError>>> {
        let parcel = &mut self.parcel;
        parcel.add_run(method);
        let index = parcel.count;
        parcel.count += 1;
        self.credit -= size as i64;
        let before = parcel.wait;
        let turn = match tell {
            Some(Tell::Answer(waiter)) => {
                // What was sent before and needs a position comes first.
                let after = parcel.runs.iter().any(|run| run.class == Class::Total);
                let wait = if after { Wait::Others } else { wait(method, &waiter) };
                parcel.wait = parcel.wait.max(wait);
                parcel.waiters.push((index, waiter));
                None
            }
            Some(Tell::Turn(turn)) => Some(turn),
            None => None,
        };
        self.pile.left(size, before, parcel.wait);
        turn
    }
}

/// A position comes from the sequencer, stability from a quorum; all else happens here.
fn wait(method: &Method, waiter: &Waiter) -> Wait {
    let here = method.class != Class::Total && method.level == Level::Optimistic;
    if here && !waiter.urgent() { Wait::Here } else { Wait::Others }
}

/// Tells whoever waits for it, if anybody still does. Not under the lock: it wakes a task.
fn turn_has_come(turn: Option<oneshot::Sender<Result<(), GroupError>>>) {
    if let Some(turn) = turn {
        drop(turn.send(Ok(())));
    }
}

/// The end of a batch, which is cut off again unless the update there is complete.
struct Tail<'a> {
    body: &'a mut Vec<u8>,
    start: usize,
    complete: bool,
}

impl Drop for Tail<'_> {
    fn drop(&mut self) {
        if !self.complete {
            self.body.truncate(self.start);
        }
    }
}

/// Appends length and bytes of an update; returns how many that is. On an error, and where
/// encoding panics, the batch is as before.
fn append<S: Replicated>(
    body: &mut Vec<u8>,
    update: &S::Update,
    method: &Method,
    limit: usize,
) -> Result<usize, NotApplied> {
    let start = body.len();
    let tail = &mut Tail { body, start, complete: false };
    tail.body.extend_from_slice(&[0; 4]);
    S::encode(update, tail.body).map_err(|why| NotApplied::Encode(why.to_string()))?;
    let whole = tail.body.len() - start;
    let size = whole - 4;
    let length = u32::try_from(size).ok().filter(|_| size <= limit);
    let length = length.ok_or(NotApplied::TooLarge { size, limit })?;
    // One that does not decode would end the membership of all.
    if !method.plain {
        S::decode(&tail.body[start + 4..]).map_err(|why| NotApplied::Decode(why.to_string()))?;
    }
    tail.body[start..start + 4].copy_from_slice(&length.to_le_bytes());
    tail.complete = true;
    Ok(whole)
}

impl Parcel {
    fn add_run(&mut self, method: &Method) {
        match self.runs.last_mut() {
            Some(run) if run.class == method.class && run.level == method.level => run.count += 1,
            _ => self.runs.push(Run { class: method.class, level: method.level, count: 1 }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::directory::{Directory, DirectoryUpdate};
    use crate::runtime::callers::Told;

    fn update(name: &str) -> DirectoryUpdate {
        DirectoryUpdate::Lookup { name: name.to_owned() }
    }

    /// As a caller that waits for nothing.
    fn leave(outbox: &Outbox, name: &str) -> Left {
        outbox.leave::<Directory>(&update(name), 100, |_| None)
    }

    /// As `.send()`.
    fn send(outbox: &Outbox, name: &str) -> (Left, oneshot::Receiver<Result<(), GroupError>>) {
        let (turn, listen) = oneshot::channel();
        let tell = |in_line: bool| in_line.then_some(Tell::Turn(turn));
        (outbox.leave::<Directory>(&update(name), 100, tell), listen)
    }

    /// As `.await`.
    fn call(outbox: &Outbox, name: &str) -> (Left, oneshot::Receiver<Told>) {
        let (tell, listen) = oneshot::channel();
        let tell = |_| Some(Tell::Answer(Waiter::Stable(tell)));
        (outbox.leave::<Directory>(&update(name), 100, tell), listen)
    }

    /// The names in a parcel's updates: the last byte of each.
    fn names(parcel: &Parcel) -> String {
        let mut body = parcel.body.as_slice();
        let mut names = String::new();
        while let Some((length, rest)) = body.split_first_chunk::<4>() {
            let (update, rest) = rest.split_at(u32::from_le_bytes(*length) as usize);
            names.push(char::from(*update.last().expect("not empty")));
            body = rest;
        }
        assert_eq!(names.len() as u64, parcel.count);
        assert_eq!(parcel.runs.iter().map(|run| u64::from(run.count)).sum::<u64>(), parcel.count);
        names
    }

    #[test]
    fn only_the_first_of_a_batch_wakes_the_driver() {
        let outbox = Outbox::default();
        assert!(!outbox.grant(1000), "nothing is in line");
        assert_eq!(leave(&outbox, "a"), Left::Taken { wake: true });
        assert_eq!(leave(&outbox, "b"), Left::Taken { wake: false });
        let parcel = outbox.take();
        assert_eq!((parcel.runs.len(), parcel.runs[0].count), (1, 2));
        assert_eq!(names(&parcel), "ab");
        assert_eq!(outbox.credit(), 1000 - parcel.body.len() as i64);
        assert_eq!(leave(&outbox, "c"), Left::Taken { wake: true });
    }

    #[test]
    fn an_update_over_the_limit_leaves_no_trace() {
        let outbox = Outbox::default();
        outbox.grant(1000);
        assert_eq!(leave(&outbox, "a"), Left::Taken { wake: true });
        let before = outbox.credit();
        let long = "x".repeat(200);
        let left = leave(&outbox, &long);
        assert!(matches!(left, Left::Never(NotApplied::TooLarge { size: 200.., limit: 100 })));
        assert_eq!(outbox.credit(), before);
        assert_eq!(names(&outbox.take()), "a");
        outbox.reset(&NotApplied::Excluded);
        let left = leave(&outbox, &long);
        assert!(matches!(left, Left::Never(NotApplied::TooLarge { .. })), "not in line, either");
    }

    #[test]
    fn a_call_in_line_that_nobody_polls_blocks_nobody() {
        let outbox = Outbox::default();
        let (held, mut unpolled) = call(&outbox, "a");
        let (_, mut behind) = send(&outbox, "b");
        assert_eq!(held, Left::InLine(0));
        assert!(behind.try_recv().is_err(), "its turn has not come");
        assert!(outbox.grant(1000), "the driver is woken for what was in line");
        assert_eq!(behind.try_recv(), Ok(Ok(())));
        assert_eq!(leave(&outbox, "c"), Left::Taken { wake: false });
        let parcel = outbox.take();
        assert_eq!(names(&parcel), "abc");
        assert!(parcel.urgent());
        assert_eq!(parcel.waiters.iter().map(|(index, _)| *index).collect::<Vec<_>>(), [0]);
        assert!(unpolled.try_recv().is_err(), "its answer is still to come");
    }

    /// An optimistic call, too, waits for the sequencer where its update needs a position.
    #[test]
    fn a_position_that_is_waited_for_is_urgent() {
        let outbox = Outbox::default();
        outbox.grant(1000);
        assert_eq!(leave(&outbox, "a"), Left::Taken { wake: true });
        assert!(!outbox.take().urgent(), "nobody waits");
        let (tell, _listen) = oneshot::channel();
        let who = |_| Some(Tell::Answer(Waiter::Applied(tell)));
        outbox.leave::<Directory>(&update("b"), 100, who);
        let parcel = outbox.take();
        assert_eq!(parcel.runs[0].class, Class::Total);
        assert!(parcel.urgent());
    }

    #[test]
    fn what_was_left_by_a_caller_that_is_gone_is_sent() {
        let outbox = Outbox::default();
        drop(send(&outbox, "a"));
        drop(call(&outbox, "b"));
        assert_eq!(outbox.take().count, 0);
        assert!(outbox.grant(1000));
        assert_eq!(names(&outbox.take()), "ab");
    }

    #[test]
    fn the_line_moves_in_order_as_far_as_credit_goes() {
        let outbox = Outbox::default();
        outbox.grant(1);
        assert_eq!(leave(&outbox, "a"), Left::Taken { wake: true });
        let mut turns: Vec<_> = ["b", "c", "d"].map(|name| send(&outbox, name).1).into();
        let debt = outbox.credit().unsigned_abs();
        assert!(!outbox.grant(debt), "no credit yet");
        assert_eq!(names(&outbox.take()), "a");
        assert!(outbox.grant(1));
        assert!(!outbox.grant(outbox.credit().unsigned_abs() + 1), "woken already");
        assert_eq!(names(&outbox.take()), "bc");
        let came: Vec<_> = turns.iter_mut().map(|turn| turn.try_recv().is_ok()).collect();
        assert_eq!(came, [true, true, false]);
        assert!(matches!(leave(&outbox, "e"), Left::InLine(_)), "not past those in line");
        outbox.grant(1000);
        assert_eq!(names(&outbox.take()), "de");
    }

    #[test]
    fn a_place_in_line_can_be_given_up() {
        let outbox = Outbox::default();
        let places = ["a", "b", "c"].map(|name| match send(&outbox, name).0 {
            Left::InLine(place) => place,
            left => panic!("there is no credit: {left:?}"),
        });
        assert!(outbox.withdraw(places[1]));
        assert!(!outbox.withdraw(places[1]), "gone already");
        outbox.grant(1000);
        assert!(!outbox.withdraw(places[0]), "under way");
        assert_eq!(names(&outbox.take()), "ac");
    }

    #[test]
    fn whatever_waits_at_the_end_of_a_membership_was_never_sent() {
        let outbox = Outbox::default();
        outbox.grant(1);
        let (_, mut taken) = call(&outbox, "a");
        let (_, mut in_line) = call(&outbox, "b");
        let (_, mut turn) = send(&outbox, "c");
        outbox.reset(&NotApplied::Excluded);
        let excluded = GroupError::NotApplied(NotApplied::Excluded);
        for listen in [&mut taken, &mut in_line] {
            assert_eq!(listen.try_recv().expect("told").err(), Some(excluded.clone()));
        }
        assert_eq!(turn.try_recv(), Ok(Err(excluded)));
        assert!(!outbox.grant(1000), "nothing is left of them");
        assert_eq!(leave(&outbox, "d"), Left::Taken { wake: true });
    }

    #[test]
    fn after_the_close_the_batch_is_still_taken_and_nothing_else() {
        let outbox = Outbox::default();
        outbox.grant(1);
        leave(&outbox, "a");
        let (_, mut turn) = send(&outbox, "b");
        outbox.close();
        assert_eq!(turn.try_recv(), Ok(Err(GroupError::NotApplied(NotApplied::Closed))));
        assert_eq!(leave(&outbox, "c"), Left::Never(NotApplied::Closed));
        assert!(!outbox.grant(1000));
        assert_eq!(names(&outbox.take()), "a");
    }
}
