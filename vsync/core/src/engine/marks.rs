//! Rare branches: a run that never takes one proves nothing about it.

/// Declares the marks once: their fields, their names for a report, and their sum.
macro_rules! marks {
    ($($(#[doc = $doc:literal])+ $field:ident: $name:literal,)+) => {
        /// How often rare branches were taken so far.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Marks {
            $($(#[doc = $doc])+ pub $field: u64,)+
        }

        impl Marks {
            /// Adds another engine's marks.
            pub fn add(&mut self, other: &Marks) {
                $(self.$field += other.$field;)+
            }

            /// All marks with their names.
            pub fn rows(&self) -> alloc::vec::Vec<(&'static str, u64)> {
                alloc::vec![$(($name, self.$field),)+]
            }
        }
    };
}

marks! {
    /// Views installed.
    views: "installs",
    /// Ballots led.
    ballots: "ballots",
    /// Ballots given up for a higher one.
    overtaken: "ballots overtaken",
    /// Members whose ballots were overtaken a second time in one view.
    overtaken_twice: "overtaken twice in a view",
    /// Proposals adopted from an earlier ballot.
    adopted: "adopted proposals",
    /// Leaders that gave an adopted proposal up, since nobody had its cut.
    given_up: "adopted proposals given up",
    /// Promisers that died before the leader had fetched what only they held.
    lost_promises: "promises lost with their holder",
    /// Proposals decided by exactly half of the members, with rank 0.
    ties: "decisions by half with rank 0",
    /// Order positions dropped because nobody holds their update.
    dropped_positions: "dropped positions",
    /// Updates held by somebody but left out of the cut, since their stamp is beyond it.
    causal_gaps: "updates beyond a causal gap",
    /// The same in groups without stamps, by the order (`k`).
    order_gaps: "updates beyond an order gap",
    /// Totals that got their position from the view change.
    appended: "appended positions",
    /// Batches fetched in a view change.
    fetched: "fetched batches",
    /// Acknowledgements that went to those alone who waited for them.
    answers: "acknowledgements to who waits",
    /// View changes that waited until this node led fewer of them.
    queued: "changes that waited for their turn",
    /// Ranges sent again after a break.
    resent: "resent ranges",
    /// Order records sent again after a break.
    resent_records: "resent records",
    /// Ranges that were here already when they came again.
    known: "ranges received again",
    /// Messages of a view that was not installed yet.
    early: "early messages",
    /// Decisions that were known before all of their cut was here.
    late_installs: "installs that waited for the cut",
    /// Memberships that ended by exclusion.
    excluded: "exclusions",
    /// The same, by the word of others that are views ahead, or that left when the group ended.
    excluded_late: "exclusions views later",
    /// Members evicted.
    evicted: "evictions",
    /// Decisions told by a membership that is over.
    told_after: "decisions told after the end",
    /// Groups dissolved by a decision.
    dissolved: "groups dissolved",
    /// Leavers that had to stay for the joiners.
    stayed: "leavers that stayed",
    /// Loaded joiners that had to wait for their promotion.
    capped: "promotions put off",
    /// Checkpoints loaded.
    loaded: "checkpoints loaded",
    /// Views replayed on a checkpoint.
    replayed: "views replayed",
    /// Transfers that started over.
    restarts: "transfers restarted",
    /// Times that a sender's window had no room left.
    full: "full windows",
    /// Times that an application could not keep up, and nothing was acknowledged for a while.
    holds: "applications that lagged",
    /// Times that no quorum was in sight, and came back.
    resumed: "quorums lost and found",
    /// Suspicions that another node's word ended or prevented.
    vouched: "vouched for by others",
}
