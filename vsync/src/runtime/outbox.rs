//! [`Outbox`]: where callers leave updates for the driver, encoded, against credit.

use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio::sync::futures::OwnedNotified;
use vsync_core::engine::Run;

use super::callers::Waiter;
use crate::error::NotApplied;
use crate::replicated::{Method, Replicated};

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
    /// Whether somebody waits for stability.
    pub(crate) urgent: bool,
}

#[derive(Debug, Default)]
struct State {
    parcel: Parcel,
    /// Bytes that may still be left here. Below zero by one update at most.
    credit: i64,
    /// Counts the memberships: who waited for room in an earlier one was never sent.
    membership: u64,
    closed: bool,
}

/// The open batch of one group, filled by callers and emptied by the driver.
///
/// Updates are encoded straight into the batch under a short lock. Without credit callers wait,
/// so that memory stays bounded by the group's window.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    state: Mutex<State>,
    room: Arc<Notify>,
}

/// What came of an attempt to leave an update.
pub(crate) enum Left<U> {
    /// It is in; `true` if the driver must be woken because the batch was empty.
    Taken(bool),
    /// No credit: come back when [`Outbox::room`] says so, with the same membership.
    Full(U, u64),
    /// It will never be sent.
    Never(NotApplied),
}

/// An update on its way into the outbox.
pub(crate) struct Letter<S: Replicated> {
    /// The update.
    pub(crate) update: S::Update,
    /// The membership that the caller began to wait in, if it has waited.
    pub(crate) since: Option<u64>,
    /// Most bytes of one update.
    pub(crate) limit: usize,
}

impl Outbox {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing here can panic half way; a poisoned lock still guards a whole state.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Leaves one update, if there is credit. The waiter is only made when the update is taken.
    pub(crate) fn leave<S: Replicated>(
        &self,
        letter: Letter<S>,
        waiter: impl FnOnce() -> Option<Waiter>,
    ) -> Left<S::Update> {
        let mut state = self.lock();
        if state.closed {
            return Left::Never(NotApplied::Closed);
        }
        if letter.since.is_some_and(|since| since != state.membership) {
            return Left::Never(NotApplied::Excluded);
        }
        if state.credit <= 0 {
            return Left::Full(letter.update, state.membership);
        }
        let size = match append(&mut state.parcel.body, &letter) {
            Ok(size) => size,
            Err(why) => return Left::Never(why),
        };
        let was_empty = state.parcel.count == 0;
        state.parcel.add_run(S::method(&letter.update));
        if let Some(waiter) = waiter() {
            state.parcel.urgent |= waiter.urgent();
            let index = state.parcel.count;
            state.parcel.waiters.push((index, waiter));
        }
        state.parcel.count += 1;
        state.credit -= size as i64 + 4;
        if letter.since.is_some() && state.credit > 0 {
            // Whoever was woken and found room passes the rest on to the next in line.
            self.room.notify_one();
        }
        Left::Taken(was_empty)
    }

    /// Resolves when a caller in line should try again.
    pub(crate) fn room(&self) -> OwnedNotified {
        Arc::clone(&self.room).notified_owned()
    }

    /// Takes what callers have left.
    pub(crate) fn take(&self) -> Parcel {
        mem::take(&mut self.lock().parcel)
    }

    /// More may be left here.
    pub(crate) fn grant(&self, bytes: u64) {
        let mut state = self.lock();
        state.credit = state.credit.saturating_add(i64::try_from(bytes).unwrap_or(i64::MAX));
        if state.credit > 0 {
            self.room.notify_one();
        }
    }

    /// The membership is over: what was left and not yet taken is given back, credit is void, and
    /// who waits for room learns that it was never sent.
    pub(crate) fn reset(&self) -> Parcel {
        let mut state = self.lock();
        state.credit = 0;
        state.membership += 1;
        self.room.notify_waiters();
        mem::take(&mut state.parcel)
    }

    /// Nothing more may be left, for ever.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.room.notify_waiters();
    }

    /// Bytes that may still be left; for tests.
    #[cfg(test)]
    pub(crate) fn credit(&self) -> i64 {
        self.lock().credit
    }
}

/// Appends length and bytes of an update; on an error the batch is as before.
fn append<S: Replicated>(body: &mut Vec<u8>, letter: &Letter<S>) -> Result<usize, NotApplied> {
    let start = body.len();
    body.extend_from_slice(&[0; 4]);
    if let Err(why) = S::encode(&letter.update, body) {
        body.truncate(start);
        return Err(NotApplied::Encode(why.to_string()));
    }
    let size = body.len() - start - 4;
    let length = u32::try_from(size).ok().filter(|_| size <= letter.limit);
    let Some(length) = length else {
        body.truncate(start);
        return Err(NotApplied::TooLarge { size, limit: letter.limit });
    };
    body[start..start + 4].copy_from_slice(&length.to_le_bytes());
    Ok(size)
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
    use tokio::sync::oneshot;

    use super::*;
    use crate::directory::{Directory, DirectoryUpdate};

    fn letter(name: &str, since: Option<u64>, limit: usize) -> Letter<Directory> {
        let update = DirectoryUpdate::Lookup { name: name.to_owned() };
        Letter { update, since, limit }
    }

    fn leave(outbox: &Outbox, letter: Letter<Directory>) -> Left<DirectoryUpdate> {
        outbox.leave(letter, || None)
    }

    #[test]
    fn only_the_first_of_a_batch_wakes_the_driver() {
        let outbox = Outbox::default();
        outbox.grant(1000);
        assert!(matches!(leave(&outbox, letter("a", None, 100)), Left::Taken(true)));
        assert!(matches!(leave(&outbox, letter("b", None, 100)), Left::Taken(false)));
        let parcel = outbox.take();
        assert_eq!((parcel.count, parcel.runs.len(), parcel.runs[0].count), (2, 1, 2));
        assert_eq!(outbox.credit(), 1000 - parcel.body.len() as i64);
        assert!(matches!(leave(&outbox, letter("c", None, 100)), Left::Taken(true)));
    }

    #[test]
    fn an_update_over_the_limit_leaves_no_trace() {
        let outbox = Outbox::default();
        outbox.grant(1000);
        assert!(matches!(leave(&outbox, letter("a", None, 100)), Left::Taken(true)));
        let before = outbox.credit();
        let long = "x".repeat(200);
        let left = leave(&outbox, letter(&long, None, 100));
        assert!(matches!(left, Left::Never(NotApplied::TooLarge { size: 200.., limit: 100 })));
        assert_eq!(outbox.credit(), before);
        assert_eq!(outbox.take().count, 1);
    }

    #[test]
    fn without_credit_callers_wait_until_more_is_granted() {
        let outbox = Outbox::default();
        outbox.grant(1);
        assert!(matches!(leave(&outbox, letter("over", None, 100)), Left::Taken(true)));
        let Left::Full(_, since) = leave(&outbox, letter("b", None, 100)) else {
            panic!("there is no credit");
        };
        outbox.grant(100);
        assert!(matches!(leave(&outbox, letter("b", Some(since), 100)), Left::Taken(false)));
    }

    #[test]
    fn who_waited_for_an_earlier_membership_was_never_sent() {
        let outbox = Outbox::default();
        let Left::Full(_, since) = leave(&outbox, letter("a", None, 100)) else {
            panic!("there is no credit");
        };
        outbox.grant(1000);
        let (tell, _listen) = oneshot::channel();
        let left = outbox.leave(letter("b", None, 100), || Some(Waiter::Stable(tell)));
        assert!(matches!(left, Left::Taken(true)));
        assert_eq!(outbox.reset().waiters.len(), 1);
        outbox.grant(1000);
        let late = leave(&outbox, letter("a", Some(since), 100));
        assert!(matches!(late, Left::Never(NotApplied::Excluded)));
        outbox.close();
        let closed = leave(&outbox, letter("c", None, 100));
        assert!(matches!(closed, Left::Never(NotApplied::Closed)));
    }
}
