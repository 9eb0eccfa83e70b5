//! The bug bank: known protocol bugs that a run-time value switches on.
//!
//! Only with the feature `bug-bank`, which nothing but the project's own tests enables. Without it
//! [`Bugs::has`] is constant `false` and the branches are gone.

/// All planted bugs.
#[cfg(feature = "bug-bank")]
pub const ALL: &[Bug] = &[
    Bug::ReceiveAfterPromise,
    Bug::StableNotClosed,
    Bug::QuorumOffByOne,
    Bug::AppendByRank,
    Bug::IgnoreK,
    Bug::OrderNotRestricted,
    Bug::OptimisticCheckpoint,
    Bug::AdoptedNotVerbatim,
    Bug::JoinersVote,
    Bug::StampAtOpen,
    Bug::ForgetDecision,
    Bug::RecordsNotResent,
    Bug::NoNudge,
    Bug::NoDigest,
    Bug::NoLastAck,
    Bug::ForgetAccepted,
    Bug::AcceptWithoutHolding,
    Bug::DeliverHeld,
    Bug::IgnoreStamp,
    Bug::NoResend,
    Bug::ResumeAfterPromise,
    Bug::PositionsNotAcknowledged,
    Bug::TakeUpOldMembership,
    Bug::EvictionNotBinding,
    Bug::AcceptStaleView,
    Bug::PromotedFirst,
    Bug::NeverDissolve,
    Bug::PromoteUnloaded,
    Bug::IgnoreExclusion,
    Bug::WrongOutcome,
    Bug::TieForAnybody,
    Bug::SkipReplay,
    Bug::FreeEarly,
    Bug::LoseQueue,
    Bug::AcceptLowerBallot,
    Bug::UncountedOpenBatch,
    Bug::RecordsOnDelivery,
    Bug::ReceiveTwice,
    Bug::SkipWaitForCut,
    Bug::ProposeUnfetched,
    Bug::LabelOffByOne,
    Bug::LeaveInVain,
    Bug::AskNoStrangers,
    Bug::JoinerFreesClosed,
    Bug::IgnoreThePast,
    Bug::NeverForgive,
    Bug::NeverMakeRoom,
    Bug::RelaxedForGood,
    Bug::Impatient,
];

/// A planted bug: each drops one rule of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Bug {
    /// S1: a member that promised goes on receiving and acknowledging in the old view.
    ReceiveAfterPromise,
    /// S3: an update is called stable as soon as a quorum has it, whatever it depends on.
    StableNotClosed,
    /// S3: stability counts one member less than a quorum.
    QuorumOffByOne,
    /// S4: unordered totals are appended by rank and number, not along causality.
    AppendByRank,
    /// S5: the causal dependency of totals (`k`) is ignored when the cut is chosen.
    IgnoreK,
    /// S6: the order keeps positions whose update is outside the cut.
    OrderNotRestricted,
    /// S7: the checkpoint is taken from the state of the moment, not at an install.
    OptimisticCheckpoint,
    /// S8: an adopted proposal is formed anew with the new leader's own promises.
    AdoptedNotVerbatim,
    /// S9: joining members count for stability.
    JoinersVote,
    /// S10: the stamp of a batch is taken when it opens, not when it closes.
    StampAtOpen,
    /// L4: leavers and excluded members forget the decision at once.
    ForgetDecision,
    /// L5: a lost batch of order records is not sent again.
    RecordsNotResent,
    /// L2: a member that promised never wakes another leader.
    NoNudge,
    /// L3: heartbeats do not tell who is behind.
    NoDigest,
    /// A2: the last acknowledgement before silence is never sent.
    NoLastAck,
    /// An accepted proposal is forgotten when the next ballot comes.
    ForgetAccepted,
    /// A proposal is accepted without holding its cut.
    AcceptWithoutHolding,
    /// What is fetched for a proposal is delivered at once.
    DeliverHeld,
    /// Causal updates do not wait for their stamp.
    IgnoreStamp,
    /// After a reconnect nothing is sent again.
    NoResend,
    /// S2: a member whose change makes no progress goes on in the old view.
    ResumeAfterPromise,
    /// S3: a position counts as stable although no quorum has acknowledged it.
    PositionsNotAcknowledged,
    /// S12: a node that comes back takes up whatever membership of its a decision lists.
    TakeUpOldMembership,
    /// L1: who is evicted but promises stays.
    EvictionNotBinding,
    /// L6: a message of an older view is taken for one of the installed view.
    AcceptStaleView,
    /// L7: members become active at the front of the ranks.
    PromotedFirst,
    /// L8: somebody always stays, even if everybody leaves.
    NeverDissolve,
    /// L9: a joiner becomes active before it has the state.
    PromoteUnloaded,
    /// L10: a member that is views behind does not believe it.
    IgnoreExclusion,
    /// A1: an excluded member is told that all of its updates are in the final cut.
    WrongOutcome,
    /// Exactly half of the members is a quorum, whoever they are.
    TieForAnybody,
    /// A joiner does not replay what was closed while its checkpoint was on the way.
    SkipReplay,
    /// Buffers are freed when a quorum has their batches, not all.
    FreeEarly,
    /// What waits for its number is lost with the view.
    LoseQueue,
    /// A proposal is accepted although a higher ballot was promised.
    AcceptLowerBallot,
    /// The open batch is not counted in the promise.
    UncountedOpenBatch,
    /// Order records take effect when the sequencer's batch before them is delivered, not on
    /// receipt.
    RecordsOnDelivery,
    /// A batch that comes again, after a reconnect, is taken for a new one.
    ReceiveTwice,
    /// A decision is installed without waiting until all of its cut is here.
    SkipWaitForCut,
    /// A leader proposes what it holds itself, without fetching what the promisers have.
    ProposeUnfetched,
    /// A joiner takes its checkpoint for that of the next install.
    LabelOffByOne,
    /// A leaver that has to stay for the joiners makes one change after the other.
    LeaveInVain,
    /// A leaver whose successors are silent does not ask whoever else is there.
    AskNoStrangers,
    /// A joiner that installs a view forgets the lanes of the one before.
    JoinerFreesClosed,
    /// A node that joins anew does not say that an earlier membership of it is over.
    IgnoreThePast,
    /// The suspicion of a node that nobody watches any more does not lapse.
    NeverForgive,
    /// A view change that stands still keeps the changes of other groups from beginning.
    NeverMakeRoom,
    /// What is acknowledged later where nobody waits is not acknowledged, not even if asked for.
    RelaxedForGood,
    /// At the end of a partition, whoever is heard last is let go.
    Impatient,
}

#[cfg(feature = "bug-bank")]
impl Bug {
    /// The tag of the rule that it drops, where the protocol has one.
    pub fn rule(self) -> Option<&'static str> {
        Some(match self {
            Bug::ReceiveAfterPromise => "S1",
            Bug::ResumeAfterPromise => "S2",
            Bug::StableNotClosed | Bug::QuorumOffByOne | Bug::PositionsNotAcknowledged => "S3",
            Bug::AppendByRank => "S4",
            Bug::IgnoreK => "S5",
            Bug::OrderNotRestricted => "S6",
            Bug::OptimisticCheckpoint => "S7",
            Bug::AdoptedNotVerbatim => "S8",
            Bug::JoinersVote => "S9",
            Bug::StampAtOpen => "S10",
            Bug::TakeUpOldMembership => "S12",
            Bug::EvictionNotBinding => "L1",
            Bug::NoNudge => "L2",
            Bug::NoDigest => "L3",
            Bug::ForgetDecision | Bug::JoinerFreesClosed => "L4",
            Bug::RecordsNotResent => "L5",
            Bug::AcceptStaleView => "L6",
            Bug::PromotedFirst => "L7",
            Bug::NeverDissolve | Bug::LeaveInVain => "L8",
            Bug::PromoteUnloaded => "L9",
            Bug::IgnoreExclusion => "L10",
            Bug::WrongOutcome => "A1",
            Bug::NoLastAck => "A2",
            _ => return None,
        })
    }
}

/// Which bugs are switched on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bugs {
    #[cfg(feature = "bug-bank")]
    on: u64,
}

impl Bugs {
    /// With one bug switched on.
    #[cfg(feature = "bug-bank")]
    pub fn with(bug: Bug) -> Self {
        Bugs { on: 1 << bug as u8 }
    }

    /// Whether a bug is switched on.
    #[inline]
    pub fn has(self, bug: Bug) -> bool {
        #[cfg(feature = "bug-bank")]
        return self.on & (1 << bug as u8) != 0;
        #[cfg(not(feature = "bug-bank"))]
        {
            let _ = bug;
            false
        }
    }
}
