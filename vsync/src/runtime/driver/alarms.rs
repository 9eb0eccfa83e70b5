//! What groups have to send by the clock, without a caller: timers that are due.

use std::time::Duration;

use tokio::time::Instant;
use vsync_core::engine::Input;
use vsync_core::wire::{GroupId, Micros};

use super::Driver;
use crate::runtime::clock::wall;

/// How soon the wall clock is looked at again, which may be set in the meantime.
const LOOK: Duration = Duration::from_secs(1);

impl Driver {
    /// Notes when a group has something to send. Nothing is kept for groups that have nothing.
    pub(super) fn set_alarm(&mut self, group: GroupId) {
        let Some(slot) = self.slots.get_mut(&group) else { return };
        let due = slot.due();
        if slot.alarm == due {
            return;
        }
        if let Some(before) = std::mem::replace(&mut slot.alarm, due) {
            self.alarms.remove(&(before, group));
        }
        if let Some(due) = due {
            self.alarms.insert((due, group));
        }
    }

    /// When to look at the groups that have something to send.
    pub(super) fn alarm_at(&self) -> Option<Instant> {
        let (due, _) = self.alarms.first()?;
        let wait = Duration::from_micros(due.saturating_sub(wall()));
        Some(Instant::now() + wait.min(LOOK))
    }

    /// Leaves what is due with what callers have left.
    pub(super) fn ring(&mut self) {
        if self.alarms.is_empty() {
            return;
        }
        let now = wall();
        while let Some(&(due, group)) = self.alarms.first().filter(|(due, _)| *due <= now) {
            self.alarms.remove(&(due, group));
            if self.leave_due(group, now) {
                self.step(Input::Renew { group });
            }
        }
    }

    /// The same for a replica that is back from work: it may be away again with what was held for
    /// it before the driver looks at the clock, and again the next time, for as long as it has a
    /// backlog.
    pub(super) fn ring_for(&mut self, group: GroupId) {
        self.set_alarm(group);
        let due = self.slots.get(&group).and_then(|slot| slot.alarm);
        let now = wall();
        if let Some(due) = due.filter(|due| *due <= now) {
            self.alarms.remove(&(due, group));
            if self.leave_due(group, now) {
                // What was held comes first.
                self.later.push_back(Input::Renew { group });
            }
        }
    }

    /// Leaves what is due in a group whose alarm has gone off; whether it wants a new view.
    fn leave_due(&mut self, group: GroupId, now: Micros) -> bool {
        let Some(slot) = self.slots.get_mut(&group) else { return false };
        slot.alarm = None;
        slot.send_due(now);
        let renew = slot.wants_view();
        self.left.add(group);
        self.set_alarm(group);
        renew
    }
}
