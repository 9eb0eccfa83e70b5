//! What groups have to send by the clock, without a caller: timers that are due.

use std::time::Duration;

use tokio::time::Instant;
use vsync_core::engine::Input;
use vsync_core::wire::GroupId;

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
            let Some(slot) = self.slots.get_mut(&group) else { continue };
            slot.alarm = None;
            slot.send_due(now);
            let renew = slot.wants_view();
            self.left.add(group);
            self.set_alarm(group);
            if renew {
                self.step(Input::Renew { group });
            }
        }
    }
}
