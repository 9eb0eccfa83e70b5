//! Checkpoints, piece by piece: from the thread that makes one to the engine, and from the engine
//! to the thread that loads one.

use std::sync::Arc;

use bytes::Bytes;
use vsync_core::engine::Input;
use vsync_core::wire::{GroupId, MemberId};

use super::Driver;
use crate::runtime::checkpoint::Opened;
use crate::runtime::replica::Broken;
use crate::runtime::slot::{Held, Record, Slot};
use crate::runtime::transfer::{Handing, Incoming, Source};
use crate::runtime::{Outcome, Progress};
use crate::state::CheckpointError;

impl Driver {
    /// How the pieces of a checkpoint come here that the next work takes.
    pub(super) fn handing(&self, group: GroupId, label: u64) -> Option<Handing> {
        let slot = self.slots.get(&group)?;
        Some(Handing { seat: Arc::clone(&slot.seat), work: self.work + 1, label })
    }

    /// The next piece of a checkpoint was made. Where the membership has ended, it is nobody's.
    pub(super) fn piece(&mut self, work: u64, label: u64, bytes: Bytes) {
        if let Some(group) = self.whose(work) {
            self.step(Input::Checkpoint { group, label, bytes, last: false });
        }
    }

    /// The group for which this work is done, if it still waits for that.
    fn whose(&self, work: u64) -> Option<GroupId> {
        let group = *self.working.get(&work)?;
        self.slots.get(&group)?.is_at(work).then_some(group)
    }

    /// The next piece of this member's checkpoint is here.
    pub(super) fn load(&mut self, group: GroupId, of: (u64, MemberId), offset: u64, bytes: Bytes) {
        if offset == 0 {
            self.begin_transfer(group, of);
        }
        if let Some(incoming) = self.slots.get_mut(&group).and_then(|slot| slot.incoming.as_mut())
            && incoming.push(bytes)
        {
            incoming.holds = true;
            self.later.push_back(Input::HoldTransfer { group, on: true });
        }
    }

    /// A transfer begins; what came of another before is void.
    fn begin_transfer(&mut self, group: GroupId, of: (u64, MemberId)) {
        let Some(slot) = self.slots.get_mut(&group) else { return };
        // Nothing else has this name.
        self.work += 1;
        let incoming = Incoming::new(self.work, Arc::clone(&slot.seat), group, of);
        let before = slot.incoming.replace(Box::new(incoming));
        if before.is_some_and(|before| before.holds) {
            self.later.push_back(Input::HoldTransfer { group, on: false });
        }
        // Otherwise whoever loads what came before is still to be waited for.
        if self.slots.get(&group).is_some_and(|slot| slot.held.is_none()) {
            self.begin_load(group);
        }
    }

    /// Lets the replica load what comes.
    fn begin_load(&mut self, group: GroupId) {
        let Some(slot) = self.slots.get_mut(&group) else { return };
        let Some(incoming) = &mut slot.incoming else { return };
        let (label, source) = (incoming.label(), incoming.begin());
        let Some(source) = source else { return };
        let load = slot.loading(label);
        let run = move |source: Source| load(&mut source.reader());
        self.begin_transfer_work(group, move || Outcome::Loaded(run(source)));
    }

    /// All of this member's checkpoint is here.
    pub(super) fn transferred(&mut self, group: GroupId) {
        // The view is not installed for the application yet.
        let status = self.engine.status(group);
        let status = status.and_then(|status| status.me.zip(status.view));
        if let Some(incoming) = self.slots.get_mut(&group).and_then(|slot| slot.incoming.as_mut()) {
            incoming.end(status);
        }
    }

    /// What is read of a checkpoint has made room. Where another transfer has begun since, that
    /// says nothing of it.
    pub(super) fn room(&mut self, group: GroupId, transfer: u64) {
        let incoming = self.slots.get_mut(&group).and_then(|slot| slot.incoming.as_mut());
        if let Some(incoming) = incoming.filter(|incoming| incoming.is(transfer))
            && std::mem::take(&mut incoming.holds)
        {
            self.step(Input::HoldTransfer { group, on: false });
        }
    }

    /// The group is given up for another of its name, which is joined or made instead.
    pub(super) fn start_over(&mut self, slot: &mut Slot) {
        if let Some(view) = slot.view().map(|view| view.number) {
            let before = slot.nodes();
            let mut record = Record { writer: self.history.as_mut(), now: self.clock.now() };
            slot.excluded(view, None, &mut record);
            self.unlist(&before);
        }
        self.held -= slot.start_over();
    }

    /// Where another transfer has begun while one was loaded that is void by now, that is loaded
    /// instead; `false` where it is not so.
    pub(super) fn load_instead(&mut self, group: GroupId, held: &mut Option<Box<Held>>) -> bool {
        let incoming = self.slots.get(&group).and_then(|slot| slot.incoming.as_ref());
        if !incoming.is_some_and(|incoming| incoming.is_waiting()) {
            return false;
        }
        self.begin_load(group);
        if let Some(older) = held.take()
            && let Some(held) = self.slots.get_mut(&group).and_then(|slot| slot.held.as_mut())
        {
            self.held += older.bytes;
            held.put_before(*older);
        }
        true
    }
}

impl Slot {
    /// A load has ended.
    pub(super) fn load_ended(
        &mut self,
        loaded: Result<Opened, CheckpointError>,
        record: &mut Record<'_>,
    ) -> Result<(), Broken> {
        // Nobody waits for it where the membership has ended.
        let Some(incoming) = self.incoming.take() else { return Ok(()) };
        match loaded {
            Ok(opened) => {
                self.loaded(&incoming, opened, record);
                Ok(())
            }
            Err(error) => {
                let why = format!("the group's checkpoint: {error}");
                if let Some(progress) = self.progress.take() {
                    drop(progress.send(Progress::Checkpoint(error)));
                }
                Err(Broken(why))
            }
        }
    }

    /// The membership ends: a checkpoint of which not all is here will never be.
    pub(super) fn abandon_load(&mut self) {
        if self.incoming.as_ref().is_some_and(|incoming| !incoming.has_ended()) {
            self.incoming = None;
        }
    }
}

#[cfg(test)]
mod tests;
