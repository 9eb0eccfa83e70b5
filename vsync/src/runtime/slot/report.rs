//! What a group says of itself to whoever watches the node.

use vsync_core::engine::GroupStatus;
use vsync_core::wire::Cut;

use super::Slot;
use crate::report::{GroupReport, Moved, Standing};

impl Slot {
    /// How it is, with what the engine says of it.
    pub(crate) fn report(&self, engine: &GroupStatus) -> GroupReport {
        let view = self.view();
        let standing = match (view, self.rank()) {
            (Some(view), Some(rank)) if !view.is_active(rank) => Standing::Joining,
            (Some(_), Some(_)) if self.counts.blocked => Standing::Blocked,
            (Some(_), Some(_)) => Standing::Active,
            _ => Standing::Entering,
        };
        let sum = |cut: &Cut| cut.counts.iter().sum::<u64>();
        let status = self.seat.status();
        let unstable = sum(&status.delivered).saturating_sub(sum(&status.stable));
        drop(status);
        let counts = &self.counts;
        GroupReport {
            name: self.seat.name.to_string(),
            standing,
            view: view.map_or(0, |view| view.number),
            members: view.map_or(0, |view| view.members.len()),
            active: view.map_or(0, |view| view.active),
            rank: self.rank(),
            version: self.seat.version(),
            applied: counts.applied,
            sent: counts.sent,
            unstable,
            waiting: self.seat.outbox.in_line() + engine.queued,
            retained: engine.retained,
            held: self.held.as_ref().map_or(0, |held| held.bytes),
            working: self.held.is_some(),
            unapplied: self.seat.kept(),
            views: counts.views,
            exclusions: counts.exclusions,
            failures: self.seat.failures(),
            differences: self.seat.differences(),
            comparisons: self.seat.comparisons(),
            changes: counts.spells(),
            saved: Moved::clone(&counts.saved),
            loaded: Moved::clone(&counts.loaded),
        }
    }
}
