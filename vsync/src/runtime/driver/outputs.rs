//! What comes out of the engine, group by group.

#[cfg(test)]
mod tests;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Instant;

use vsync_core::engine::{Input, Install, Output};
use vsync_core::wire::{GroupId, NodeId};
use vsync_history::event::Event as Line;
use vsync_net::PeerId;

use super::{Driver, HELD, SLICE};
use crate::group::GroupEvent;
use crate::runtime::replica::{Broken, Encoding, Installed, panic_text};
use crate::runtime::slot::{Held, Record, Slot};
use crate::runtime::{Command, Notice, Outcome, Point, Progress};

impl Driver {
    /// Takes what the engine says just now.
    pub(super) fn heard(&mut self, now: u64, output: Output) {
        self.see(&output);
        self.output(now, output);
    }

    /// Whether a group has a quorum is known at once, also while its replica is away: who gives up
    /// meanwhile is told what is so then.
    fn see(&mut self, output: &Output) {
        let (group, blocked) = match output {
            Output::Blocked { group } => (*group, true),
            Output::Resumed { group } | Output::Excluded { group, .. } => (*group, false),
            _ => return,
        };
        let Some(slot) = self.slots.get(&group) else { return };
        let sight = blocked.then(|| self.engine.in_sight(group).unwrap_or_default().into());
        slot.seat.status().blocked = sight;
        match blocked {
            true => self.blocked.insert(group),
            false => self.blocked.remove(&group),
        };
    }

    fn output(&mut self, now: u64, output: Output) {
        let mut record = Record { writer: self.history.as_mut(), now };
        let group = group_of(&output);
        let slot = self.slots.get_mut(&group);
        let away = slot.is_some_and(|slot| slot.holds(&output));
        if away && !of_the_node(&output) {
            return self.hold(group, output);
        }
        let slot = self.slots.get_mut(&group);
        if slot.as_ref().is_some_and(|slot| slot.given_up) && !of_the_node(&output) {
            return;
        }
        let done = match (output, slot) {
            (Output::Send { peer, traffic, frame }, _) => {
                self.frames.push(PeerId(peer.0), traffic, frame);
                Ok(())
            }
            (Output::Dropped { peer, reason }, _) => {
                self.dropped.count(reason);
                tracing::trace!(?peer, ?reason, "dropped");
                Ok(())
            }
            (_, None) => Ok(()),
            (Output::Sent { view, seq, run, .. }, Some(slot)) => {
                slot.sent(view, seq, run, &mut record);
                Ok(())
            }
            (Output::Deliver(range), Some(slot)) if slot.is_slow(&range) => {
                let job = slot.depart(range, &mut record);
                self.begin_work(group, move || Outcome::Applied(job.run()));
                Ok(())
            }
            (Output::Deliver(range), Some(slot)) => {
                let done = slot.deliver(&range, &mut record);
                if slot.due() != slot.alarm {
                    self.set_alarm(group);
                }
                done
            }
            (Output::Install(install), Some(_)) => self.install(install, now),
            (Output::TakeCheckpoint { label, joiners, .. }, Some(slot)) => {
                let save = slot.saving(label, joiners);
                if let Some(to) = self.handing(group, label) {
                    self.begin_transfer_work(group, move || save(to));
                }
                Ok(())
            }
            (Output::Load { label, donor, offset, bytes, .. }, Some(_)) => {
                self.load(group, (label, donor), offset, bytes);
                Ok(())
            }
            (Output::Loaded { .. }, Some(_)) => {
                self.transferred(group);
                Ok(())
            }
            (Output::Stable { view, cut, .. }, Some(slot)) => {
                slot.stable(view, cut, &mut record);
                Ok(())
            }
            (other, Some(slot)) => {
                let excluded = matches!(other, Output::Excluded { .. });
                let before = if excluded { slot.nodes() } else { Vec::new() };
                let notice = lifecycle(slot, other, &mut record);
                self.unlist(&before);
                self.settle(group, notice);
                Ok(())
            }
        };
        if let Err(Broken(why)) = done {
            self.broken(group, &why);
        }
    }

    /// Keeps an output for a replica that is away.
    fn hold(&mut self, group: GroupId, output: Output) {
        let Some(slot) = self.slots.get_mut(&group) else { return };
        if let Output::Sent { run, .. } = &output {
            // It goes out, whatever becomes of the replica: its caller must not hear otherwise.
            slot.callers.sent_ahead(run.count.into());
        }
        let Some(held) = &mut slot.held else { return };
        let bytes = held.push(output);
        self.held += bytes;
        if self.held > HELD && bytes > 0 && !held.holds {
            held.holds = true;
            self.later.push_back(Input::Hold { group, on: true });
        }
        if held.has_end() {
            slot.abandon_load();
        }
    }

    /// Lets a replica work away from the driver, which goes on: a large state takes seconds to save
    /// or to load, an update takes as long as it likes, and a node that says nothing for so long
    /// would be suspected. What comes for the group in the meantime is held.
    pub(super) fn begin_work(
        &mut self,
        group: GroupId,
        work: impl FnOnce() -> Outcome + Send + 'static,
    ) {
        if let Some(run) = self.depart(group, work) {
            tokio::task::spawn_blocking(run);
        }
    }

    /// The same, for a checkpoint.
    pub(super) fn begin_transfer_work(
        &mut self,
        group: GroupId,
        work: impl FnOnce() -> Outcome + Send + 'static,
    ) {
        if let Some(run) = self.depart(group, work) {
            self.threads.run(run);
        }
    }

    /// A replica goes away with this work: until it is back, what comes for the group is held.
    fn depart(
        &mut self,
        group: GroupId,
        work: impl FnOnce() -> Outcome + Send + 'static,
    ) -> Option<impl FnOnce() + Send + 'static> {
        let slot = self.slots.get_mut(&group)?;
        self.work += 1;
        slot.held = Some(Box::new(Held::new(self.work)));
        self.working.insert(self.work, group);
        let (name, seat) = (self.work, Arc::clone(&slot.seat));
        Some(move || {
            let outcome = outcome_of(work);
            seat.command(Command::Worked { work: name, outcome });
        })
    }

    /// Wakes a replica that sleeps, if somebody needs it.
    pub(super) fn rouse(&mut self, group: GroupId) {
        let slot = self.slots.get_mut(&group);
        if let Some(job) = slot.and_then(|slot| slot.depart_to_wake()) {
            self.begin_work(group, move || Outcome::Applied(job.run()));
        }
    }

    /// A copy of the state is encoded while the group goes on.
    fn encode(&mut self, group: GroupId, point: Point, encode: Encoding) {
        let Some(to) = self.handing(group, point.label) else { return };
        let Some(slot) = self.slots.get_mut(&group) else { return };
        self.work += 1;
        slot.encoding.insert(self.work);
        self.working.insert(self.work, group);
        let (name, seat) = (self.work, Arc::clone(&slot.seat));
        self.threads.run(move || {
            let mut copy = None;
            let outcome = outcome_of(|| {
                let (saved, rest) = encode(to);
                copy = Some(rest);
                Outcome::Saved(point, saved)
            });
            seat.command(Command::Worked { work: name, outcome });
            // A large one takes its time, and the joiners need not wait for that.
            if let Err(panic) = catch_unwind(AssertUnwindSafe(|| drop(copy))) {
                let why = format!("it panicked at work: {}", panic_text(panic.as_ref()));
                seat.command(Command::Abandon { group, why });
            }
        });
    }

    /// A replica is back: what was held for it is done now.
    pub(super) fn worked(&mut self, work: u64, outcome: Outcome) {
        let now = self.clock.now();
        let Some(group) = self.working.remove(&work) else { return };
        // Otherwise the membership has ended in the meantime.
        let Some(slot) = self.slots.get_mut(&group) else { return };
        let mut held = match slot.held.as_ref().is_some_and(|held| held.work == work) {
            true => slot.release(),
            false if slot.encoding.remove(&work) => None,
            false => return,
        };
        self.held -= held.as_ref().map_or(0, |held| held.bytes);
        let void = held.is_some() && slot.starts_over();
        let loaded = !void && matches!(outcome, Outcome::Loaded(_));
        if loaded && self.load_instead(group, &mut held) {
            return;
        }
        let mut record = Record { writer: self.history.as_mut(), now };
        let Some(slot) = self.slots.get_mut(&group) else { return };
        let done = match outcome {
            void_outcome if void => slot.started_over(void_outcome),
            Outcome::Copied(point, encoding) => {
                self.encode(group, point, encoding);
                Ok(())
            }
            Outcome::Saved(point, Ok(sealed)) => {
                slot.saved(&point, &sealed, &mut record);
                let (label, bytes) = (point.label, sealed.rest);
                self.later.push_back(Input::Checkpoint { group, label, bytes, last: true });
                Ok(())
            }
            Outcome::Saved(_, Err(error)) => Err(Broken(format!("a checkpoint: {error}"))),
            Outcome::Loaded(loaded) => slot.load_ended(loaded, &mut record),
            Outcome::Applied(applied) => slot.back(applied),
            Outcome::Entered(entered) => {
                let done = slot.entered(entered);
                self.installed.push(group);
                done
            }
            Outcome::Panicked(why) => Err(Broken(format!("it panicked at work: {why}"))),
        };
        match done {
            Ok(()) if held.is_some() => self.ring_for(group),
            // The replica may be away with something else.
            Ok(()) => {}
            Err(Broken(why)) => self.broken(group, &why),
        }
        if let Some(held) = held {
            let holds = held.holds;
            self.catch_up(group, now, *held);
            self.go_on(group, holds);
        }
        self.rouse(group);
        self.activated();
        while let Some(input) = self.later.pop_front() {
            self.step(input);
        }
    }

    /// Does what was held for a replica, until that goes away again: with the next range, however
    /// quick that is, where the driver has caught up for long enough in this turn, for this group
    /// or others. What a joiner was sent during its transfer takes tens of milliseconds, and
    /// meanwhile the others may wait for its word.
    fn catch_up(&mut self, group: GroupId, now: u64, mut waiting: Held) {
        let (begun, before) = (Instant::now(), self.caught_up);
        while let Some(output) = waiting.pop() {
            if let Some(slot) = self.slots.get_mut(&group) {
                slot.gives_way = self.caught_up > SLICE;
            }
            self.output(now, output);
            self.caught_up = before + begun.elapsed();
            let Some(slot) = self.slots.get_mut(&group) else { continue };
            if slot.held.is_none() {
                continue;
            }
            if slot.incoming.is_some() {
                for output in waiting.take_transfer() {
                    self.output(now, output);
                }
            }
            let Some(slot) = self.slots.get_mut(&group) else { continue };
            if waiting.has_end() {
                slot.abandon_load();
            }
            if let Some(held) = &mut slot.held {
                self.held += waiting.bytes;
                held.put_before(waiting);
            }
            break;
        }
        if let Some(slot) = self.slots.get_mut(&group) {
            slot.gives_way = false;
        }
    }

    /// Where the others were told to wait for a replica, they need not once it is back, or half of
    /// what was held is done.
    fn go_on(&mut self, group: GroupId, holds: bool) {
        let away = self.slots.get_mut(&group).and_then(|slot| slot.held.as_mut());
        if !holds || (away.is_some() && self.held > HELD / 2) {
            return;
        }
        if let Some(held) = away {
            held.holds = false;
        }
        self.later.push_back(Input::Hold { group, on: false });
    }

    /// The replica cannot go on: the membership ends as a crash would end it.
    fn broken(&mut self, group: GroupId, why: &str) {
        if self.slots.get(&group).is_some_and(|slot| slot.differs()) {
            return self.quarantine(group, why);
        }
        if let Some(slot) = self.slots.get(&group) {
            tracing::error!(group = &*slot.seat.name, why, "this node's membership ends");
        }
        if let Some(slot) = self.slots.get_mut(&group)
            && let Some(progress) = slot.progress.take()
        {
            drop(progress.send(Progress::Broken(why.to_owned())));
        }
        self.close(group, None, why);
        self.later.push_back(Input::Abandon { group });
    }

    /// The replica is not like the others: its membership ends, and it comes in again with a
    /// donor's state.
    fn quarantine(&mut self, group: GroupId, why: &str) {
        let Some(slot) = self.slots.get_mut(&group) else { return };
        tracing::error!(group = &*slot.seat.name, why, "this node joins again");
        let before = slot.nodes();
        let view = slot.view().map_or(0, |view| view.number);
        let mut record = Record { writer: self.history.as_mut(), now: self.clock.now() };
        slot.excluded(view, None, &mut record);
        slot.given_up = true;
        self.unlist(&before);
        self.set_alarm(group);
        self.later.push_back(Input::Abandon { group });
        self.settle(group, After::Excluded);
    }

    fn settle(&mut self, group: GroupId, after: After) {
        match after {
            After::Nothing => {}
            After::Excluded => {
                let Some(slot) = self.slots.get(&group) else { return };
                if !slot.leaving.is_empty() {
                    return self.close(group, None, "excluded while leaving");
                }
                if slot.progress.is_none() {
                    self.tell(Notice::Excluded(Arc::clone(&slot.seat)));
                }
            }
            After::Left { decided } => self.close(group, Some(decided), "left"),
        }
    }

    /// A view with these nodes is a group's no more.
    pub(super) fn unlist(&mut self, nodes: &[NodeId]) {
        for node in nodes {
            if let Some(count) = self.listed.get_mut(node) {
                *count -= 1;
                if *count == 0 {
                    self.listed.remove(node);
                }
            }
        }
    }

    /// Tells the replica of a view, here or away.
    fn enter(&mut self, group: GroupId, installed: Installed) -> Result<(), Broken> {
        let Some(slot) = self.slots.get_mut(&group) else { return Ok(()) };
        let long = slot.is_long(&installed);
        let entering = slot.depart_for(installed);
        if long {
            self.begin_work(group, move || Outcome::Entered(entering.run()));
            return Ok(());
        }
        slot.entered(entering.run())?;
        self.installed.push(group);
        Ok(())
    }

    fn install(&mut self, install: Install, now: u64) -> Result<(), Broken> {
        let mut record = Record { writer: self.history.as_mut(), now };
        let Some(slot) = self.slots.get_mut(&install.group) else { return Ok(()) };
        let coordinates = install.rank == 0;
        let directory = install.group == GroupId(0);
        let gone: Vec<_> = install.left.iter().map(|left| left.id.node).collect();
        let group = install.group;
        let before = slot.nodes();
        let installed = slot.install(install, &mut record);
        let view = installed.view.clone();
        for node in slot.nodes() {
            *self.listed.entry(node).or_default() += 1;
        }
        let seat = Arc::clone(&slot.seat);
        self.unlist(&before);
        let entered = self.enter(group, installed);
        self.set_alarm(group);
        entered?;
        let me = self.transport.local().id;
        for member in view.members().iter().filter(|member| member.id.node.0 != me.0) {
            self.transport.want(PeerId(member.id.node.0), &member.address);
        }
        let listed = |node: &NodeId| self.listed.contains_key(node);
        let gone: Vec<_> = gone.into_iter().filter(|node| !listed(node)).collect();
        if !gone.is_empty() {
            self.tell(Notice::Gone(gone));
        }
        if directory {
            self.tell(Notice::Directory(view));
        } else if coordinates {
            self.tell(Notice::Coordinates { seat, view });
        }
        Ok(())
    }
}

/// Runs work, which may have a panic of the user's in it: whoever waits for it is told in any case.
fn outcome_of(work: impl FnOnce() -> Outcome) -> Outcome {
    catch_unwind(AssertUnwindSafe(work))
        .unwrap_or_else(|panic| Outcome::Panicked(panic_text(panic.as_ref()).to_owned()))
}

/// What is left to do after a group's output, beyond the group.
enum After {
    Nothing,
    Excluded,
    Left { decided: u64 },
}

/// The outputs that say how the membership itself goes.
fn lifecycle(slot: &mut Slot, output: Output, record: &mut Record<'_>) -> After {
    match output {
        Output::Flushed { id, .. } => {
            slot.note(|_| Line::Flushed { id }, record);
            slot.callers.flushed(id);
        }
        Output::Credit { bytes, .. } => slot.seat.grant(bytes),
        Output::Accepted { view, ballot, proposal, cut, .. } => {
            slot.accepted(view, ballot, proposal, &cut, record);
        }
        Output::Frozen { view, .. } => slot.counts.frozen(&slot.seat.name, view),
        Output::Blocked { .. } => {
            slot.counts.blocked = true;
            slot.note(|_| Line::Blocked { reason: "no quorum in sight".into() }, record);
            slot.seat.event(GroupEvent::Blocked);
        }
        Output::Resumed { .. } => {
            slot.counts.blocked = false;
            slot.note(|_| Line::Resumed { reason: "a quorum is in sight".into() }, record);
            slot.seat.event(GroupEvent::Resumed);
        }
        Output::Excluded { view, decided, .. } => {
            slot.excluded(view, decided, record);
            if let Some(progress) = &slot.progress {
                drop(progress.send(Progress::Ended));
            }
            return After::Excluded;
        }
        Output::Left { decided, .. } => return After::Left { decided },
        Output::Refused { reason, .. } => {
            if let Some(progress) = &slot.progress {
                drop(progress.send(Progress::Refused(reason)));
            }
        }
        _ => {}
    }
    After::Nothing
}

/// Whether it concerns no replica.
fn of_the_node(output: &Output) -> bool {
    matches!(output, Output::Send { .. } | Output::Dropped { .. })
}

fn group_of(output: &Output) -> GroupId {
    match output {
        Output::Deliver(range) => range.group,
        Output::Install(install) => install.group,
        Output::Sent { group, .. }
        | Output::TakeCheckpoint { group, .. }
        | Output::Load { group, .. }
        | Output::Loaded { group, .. }
        | Output::Stable { group, .. }
        | Output::Flushed { group, .. }
        | Output::Credit { group, .. }
        | Output::Frozen { group, .. }
        | Output::Accepted { group, .. }
        | Output::Blocked { group }
        | Output::Resumed { group }
        | Output::Excluded { group, .. }
        | Output::Left { group, .. }
        | Output::Refused { group, .. } => *group,
        Output::Send { .. } | Output::Dropped { .. } => GroupId(0),
    }
}
