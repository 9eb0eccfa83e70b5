//! What the driver does in a turn with what callers have left: when it goes, and what else is due.

#[cfg(test)]
mod tests;

use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;
use vsync_core::engine::Input;
use vsync_core::wire::{GroupId, Micros};

use super::Driver;
use crate::runtime::clock::wall;
use crate::runtime::outbox::{Outbox, Wait};
use crate::runtime::slot::Record;

/// A peer whose backlog is below this has room for the next batch.
const ROOM: usize = 256 * 1024;
/// Microseconds by which what is due may be late at a node that is busy.
const LATE: Micros = 4_000;
/// So much of what has come is taken in at once before somebody is missed.
const BACKLOG: usize = 4_096;
/// How soon to look again when no peer has room.
const LOOK_AGAIN: Duration = Duration::from_millis(1);

impl Driver {
    /// Submits what callers have left, and closes the open batches, where the network has room.
    /// Where it has none, only what somebody waits for is submitted: the wait may be for no more
    /// than that it is applied here.
    pub(super) fn let_out(&mut self, behind: bool, busy: bool) {
        let room = self.has_room();
        if self.pile.has(Wait::Here) {
            self.submit_for(Wait::Here);
        }
        if !room {
            self.left.has_no_room();
            if self.pile.has(Wait::Others) {
                self.submit_for(Wait::Others);
                // It goes as soon as there is room, and gathers no more.
                self.left.hurry();
            }
            return;
        }
        let pressed = self.pile.is_pressed();
        let awaited = pressed || self.pile.has(Wait::Others) || self.left.is_hurried();
        if self.left.is_dear() && awaited {
            self.submit_for(Wait::Others);
            self.step(Input::Close);
            self.left.closed();
        }
        if self.left.gathers(busy, behind, &self.pile, Instant::now().into_std()) {
            if self.engine.is_waited_for() {
                self.step(Input::Close);
                self.left.closed();
            }
            return;
        }
        let before = self.frames.len();
        for group in self.left.take() {
            self.submit(group);
        }
        self.step(Input::Close);
        self.left.gone(self.frames.len() - before);
        self.relax();
    }

    /// Where batches are far apart acknowledgements wait for the next one, and so may the driver.
    fn relax(&mut self) {
        self.pile.sleep_on(self.left.is_dear());
        let patience = self.left.patience();
        if patience.abs_diff(self.relaxed) > self.relaxed / 4 {
            self.relaxed = patience;
            self.step(Input::Relax { acks: patience.as_micros() as Micros });
        }
    }

    /// Submits for the groups in which that is waited for. Who waits for credit does so for others:
    /// what is left there is all that it may hold, and has to be with them.
    fn submit_for(&mut self, wait: Wait) {
        let waits = |group: GroupId| {
            let outbox = self.slots.get(&group).map(|slot| &slot.seat.outbox);
            let pressed = |outbox: &Outbox| wait == Wait::Others && outbox.is_pressed();
            outbox.is_some_and(|outbox| outbox.wait() == wait || pressed(outbox))
        };
        for group in self.left.take_if(waits) {
            self.submit(group);
        }
    }

    pub(super) fn submit(&mut self, group: GroupId) {
        if let Some(input) = self.submission(group) {
            self.step(input);
        }
    }

    /// What callers have left in a group, for the engine.
    fn submission(&mut self, group: GroupId) -> Option<Input> {
        let slot = self.slots.get_mut(&group)?;
        let parcel = slot.seat.outbox.take();
        if parcel.count == 0 {
            return None;
        }
        let mut record = Record { writer: self.history.as_mut(), now: self.clock.now() };
        slot.submitted(&parcel.runs, &mut record);
        // An update that needs nobody else comes after those that do.
        let behind = parcel.wait == Wait::Here && self.engine.has_undelivered(group);
        let urgent = parcel.urgent() || behind;
        if behind {
            self.left.hurry();
        }
        slot.callers.submitted(parcel.count, parcel.waiters);
        self.left.submitted(parcel.body.len());
        Some(Input::Submit {
            group,
            runs: parcel.runs,
            body: Bytes::from(parcel.body),
            wall: wall(),
            urgent,
        })
    }

    /// Lets the engine do what is due.
    pub(super) fn tick(&mut self, busy: bool) {
        if self.tick_at(busy).is_some_and(|due| due <= self.clock.now()) {
            self.hear_out();
            self.step(Input::Tick);
        }
    }

    /// Nobody is missed whose sign of life is here already: this node may have stood still for a
    /// while, or have more to take in than it can.
    fn hear_out(&mut self) {
        if self.engine.verdict_due().is_none_or(|due| due > self.clock.now()) {
            return;
        }
        self.take_in(BACKLOG);
    }

    /// When that is. While updates gather, or there is more to take in, it may be a little late:
    /// most of it is acknowledgements, and they ride on the batch that comes.
    fn tick_at(&self, busy: bool) -> Option<Micros> {
        let patience = if busy || self.left.is_gathering() { LATE } else { 0 };
        self.engine.deadline().map(|due| due + patience)
    }

    pub(super) fn has_room(&self) -> bool {
        self.peers.is_empty() || self.peers.iter().any(|peer| self.transport.backlog(*peer) < ROOM)
    }

    pub(super) fn wake_at(&self, full: bool) -> Option<Instant> {
        let deadline = self.tick_at(false).map(|at| self.clock.instant(at));
        let look = full.then(|| Instant::now() + LOOK_AGAIN);
        let gathered = self.left.due().map(Instant::from_std);
        [deadline, look, self.alarm_at(), gathered].into_iter().flatten().min()
    }
}
