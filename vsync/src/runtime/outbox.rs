//! [`Outbox`]: where callers leave updates for the driver, encoded, against credit.

#[cfg(test)]
mod tests;

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
    /// It is in.
    Taken { wake: bool },
    /// No credit: it goes when its turn comes, unless this place in line is given up.
    InLine { place: u64, wake: bool },
    /// It will never be sent.
    Never(NotApplied),
}

impl Left {
    /// Whether the driver must be woken: the batch was empty, or the driver may sleep while it
    /// gathers, and somebody waits now.
    pub(crate) fn wakes(&self) -> bool {
        match self {
            Left::Taken { wake } | Left::InLine { wake, .. } => *wake,
            Left::Never(_) => false,
        }
    }
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
            return state.stand_in_line(method, body, who(true));
        }
        let size = match append::<S>(&mut state.parcel.body, update, method, limit) {
            Ok(size) => size,
            Err(why) => return Left::Never(why),
        };
        let (turn, wake) = state.count(method, size, who(false));
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
            return state.stand_in_line(method, body, tell);
        }
        state.parcel.body.extend_from_slice(&body);
        let (turn, wake) = state.count(method, body.len(), tell);
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

    /// More may be left here; what is in line goes first. `true` if the driver must be woken, as by
    /// those who leave it.
    pub(crate) fn grant(&self, bytes: u64) -> bool {
        let mut turns = Vec::new();
        let mut state = self.lock();
        state.credit = state.credit.saturating_add(i64::try_from(bytes).unwrap_or(i64::MAX));
        let mut wake = false;
        while state.credit > 0
            && let Some(letter) = state.line.pop_front()
        {
            state.parcel.body.extend_from_slice(&letter.body);
            let (turn, wakes) = state.count(letter.method, letter.body.len(), letter.tell);
            turns.extend(turn);
            wake |= wakes;
        }
        // Who is still in line stood there before, and has woken it.
        state.press();
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

    /// Keeps the count of those who stand in line behind a batch. Whether that is so, and was not.
    fn press(&mut self) -> bool {
        let pressed = self.parcel.count > 0 && !self.line.is_empty();
        let changed = mem::replace(&mut self.pressed, pressed) != pressed;
        if changed {
            self.pile.press(pressed);
        }
        changed && pressed
    }

    /// There is no credit for this update.
    fn stand_in_line(
        &mut self,
        method: &'static Method,
        body: Vec<u8>,
        tell: Option<Tell>,
    ) -> Left {
        let place = self.next;
        self.next += 1;
        self.line.push_back(Letter { place, method, body, tell });
        let wake = self.press() && self.pile.is_slept_on();
        Left::InLine { place, wake }
    }

    /// The update at the end of the batch, `size` bytes with its length, is part of it. Returns who
    /// waited only for that, and whether the driver must be woken.
    fn count(
        &mut self,
        method: &Method,
        size: usize,
        tell: Option<Tell>,
    ) -> (Option<oneshot::Sender<Result<(), GroupError>>>, bool) {
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
        // After it is counted: either the driver has not slept yet and sees it, or it is woken.
        let rose = parcel.wait > before && self.pile.is_slept_on();
        (turn, index == 0 || rose)
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
