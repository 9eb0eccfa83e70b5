//! [`Counts`]: what a group has gone through at this node, for whoever watches it.

use std::time::{Duration, Instant};

use tracing::Span;

use crate::report::{Moved, Spells};

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
    pub(crate) changes: Spells,
    /// Checkpoints taken.
    pub(crate) saved: Moved,
    /// Checkpoints loaded.
    pub(crate) loaded: Moved,
    /// No quorum is in sight.
    pub(crate) blocked: bool,
    /// The change that is under way.
    change: Option<Box<(Instant, Span)>>,
    /// The checkpoint that is being loaded.
    load: Option<Box<(Instant, Span)>>,
}

impl Counts {
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
