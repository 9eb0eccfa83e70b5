//! [`Counts`]: what a group has gone through at this node, for whoever watches it.

use std::time::{Duration, Instant};

use tracing::Span;

use super::seldom::{Blank, Seldom};
use crate::report::{BOUNDS, Moved, Spells, class_of};

/// Since this node began to enter the group. Counted in ranges and events, never per update.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    /// Updates applied.
    pub(crate) applied: u64,
    /// Own updates that got their number.
    pub(crate) sent: u64,
    /// Views installed.
    pub(crate) views: u64,
    /// How often the others went on without this node.
    pub(crate) exclusions: u64,
    /// How long view changes held up the group.
    changes: Changes,
    /// Checkpoints taken.
    pub(crate) saved: Seldom<Moved>,
    /// Checkpoints loaded.
    pub(crate) loaded: Seldom<Moved>,
    /// No quorum is in sight.
    pub(crate) blocked: bool,
    /// The change that is under way.
    change: Option<Box<(Instant, Span)>>,
    /// The checkpoint that is being loaded.
    load: Option<Box<(Instant, Span)>>,
}

static NONE: Moved = Moved { count: 0, bytes: 0, time: Duration::ZERO };

impl Blank for Moved {
    fn blank() -> &'static Self {
        &NONE
    }
}

/// View changes, as [`Spells`] tells of them, in half the room. Nobody lives to see four thousand
/// million of one class.
#[derive(Debug, Default)]
struct Changes {
    nanos: u64,
    /// Those that took longer than the last bound come last.
    classes: [u32; BOUNDS.len() + 1],
}

impl Changes {
    fn count(&mut self, time: Duration) {
        self.nanos = self.nanos.saturating_add(time.as_nanos().try_into().unwrap_or(u64::MAX));
        let class = &mut self.classes[class_of(time)];
        *class = class.saturating_add(1);
    }
}

impl Counts {
    /// How long view changes held up the group.
    pub(crate) fn spells(&self) -> Spells {
        let Changes { nanos, classes } = self.changes;
        let mut spells = Spells { sum: Duration::from_nanos(nanos), ..Spells::default() };
        spells.count = classes.iter().copied().map(u64::from).sum();
        for (all, class) in spells.classes.iter_mut().zip(classes) {
            *all = class.into();
        }
        spells
    }

    /// A change of this view has begun.
    pub(crate) fn frozen(&mut self, group: &str, view: u64) {
        let span = tracing::info_span!("view_change", group, view, next = tracing::field::Empty);
        self.change = Some(Box::new((Instant::now(), span)));
    }

    /// A view was installed.
    pub(crate) fn installed(&mut self, view: u64) {
        self.views += 1;
        if let Some(change) = self.change.take() {
            let (begun, span) = *change;
            span.record("next", view);
            self.changes.count(begun.elapsed());
        }
    }

    /// The others went on without this node.
    pub(crate) fn excluded(&mut self) {
        self.exclusions += 1;
        self.blocked = false;
        self.change = None;
        self.load = None;
    }

    /// A checkpoint begins to be loaded, as its first piece is here.
    pub(crate) fn loading(&mut self, group: &str, view: u64) {
        let bytes = tracing::field::Empty;
        let span = tracing::info_span!("load_checkpoint", group, view, bytes);
        self.load = Some(Box::new((Instant::now(), span)));
    }

    /// It is the state now.
    pub(crate) fn loaded(&mut self, bytes: u64) {
        if let Some(load) = self.load.take() {
            let (begun, span) = *load;
            span.record("bytes", bytes);
            self.loaded.count(bytes, begun.elapsed());
        }
    }

    /// A checkpoint of so many bytes was taken in this time.
    pub(crate) fn saved(&mut self, bytes: u64, time: Duration) {
        self.saved.count(bytes, time);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_counted_in_the_class_that_holds_them() {
        let mut counts = Counts::default();
        let mut count = |millis| counts.changes.count(Duration::from_millis(millis));
        [1, 2, 10_000, 1_000_000].into_iter().for_each(&mut count);
        let spells = counts.spells();
        assert_eq!(spells.classes, [1, 1, 0, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!((spells.count, spells.sum), (4, Duration::from_millis(1_010_003)));
    }
}
