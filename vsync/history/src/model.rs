//! A history as the checkers see it: members are numbers, events are sorted by membership and view.
//!
//! What every checker asks for is worked out once, while the lines are read (`sort`): what a member
//! delivered and sent in each view, its totals, and who wrote anything about a view.

use crate::event::{Class, Id, Level};

/// A member as a number: an index into [`Group::ids`].
pub(crate) type Who = usize;

/// Everything that happened in one group of one generation.
#[derive(Debug, Default)]
pub(crate) struct Group {
    /// Every member that is named anywhere.
    pub(crate) ids: Vec<Id>,
    /// The view by which each of them came in, as its id tells.
    pub(crate) entries: Vec<Option<u64>>,
    /// The process of each of them: the first member of the same one.
    pub(crate) nodes: Vec<Who>,
    /// The memberships that left lines, in the order of the logs.
    pub(crate) memberships: Vec<Membership>,
    /// Which membership a member is, if it left lines.
    pub(crate) of: Vec<Option<usize>>,
    /// Deliveries of what was not sent in their view: membership, span, step.
    pub(super) strays: Vec<(usize, usize, usize)>,
    /// Who wrote about which view, as indices: view, membership, span; ascending.
    pub(super) about: Vec<(u64, usize, usize)>,
}

/// What one member wrote.
#[derive(Debug)]
pub(crate) struct Membership {
    /// The member.
    pub(crate) who: Who,
    /// How its state came, if by a checkpoint.
    pub(crate) loaded: Vec<Loaded>,
    /// Its views, in the order of its lines.
    pub(crate) spans: Vec<Span>,
    /// How it ended, where a line says so.
    pub(crate) end: Option<Ending>,
    /// What was in memory at rest, where a line says so: bytes retained, updates queued.
    pub(crate) idle: Option<(u64, u64)>,
    /// Lines where none may be.
    pub(crate) misplaced: Vec<(Misplaced, String)>,
}

/// Why there may be no such line there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Misplaced {
    /// Before the first view, or out of the order of views.
    Outside,
    /// Updates of another view than the writer's.
    OtherView,
    /// After the end of the membership, or after its node had come back as another member.
    AfterEnd,
}

/// How a membership ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ending {
    /// By whose wish.
    pub(crate) how: End,
    /// Its last view.
    pub(crate) view: u64,
    /// How many own updates are in that view's final cut, if it was told.
    pub(crate) own: Option<u64>,
}

/// By whose wish a membership ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// By the others' decision.
    Excluded,
    /// By its own wish.
    Closed,
}

/// A checkpoint that became the state.
#[derive(Debug)]
pub(crate) struct Loaded {
    /// The label.
    pub(crate) view: u64,
    /// Size.
    pub(crate) bytes: u64,
    /// Hash.
    pub(crate) hash: String,
    /// Donor.
    pub(crate) from: Who,
    /// How many views had been installed before it.
    pub(crate) after_views: usize,
}

/// What a member wrote in one view.
#[derive(Debug, Default)]
pub(crate) struct Span {
    /// The view's number.
    pub(crate) view: u64,
    /// Its members, by rank.
    pub(crate) members: Vec<Who>,
    /// How many are active, if the active ones are the first.
    pub(crate) active: Vec<bool>,
    /// The transitional set.
    pub(crate) together: Vec<Who>,
    /// Who is new.
    pub(crate) joined: Vec<Who>,
    /// Who is gone.
    pub(crate) left: Vec<Who>,
    /// What happened in it.
    pub(crate) steps: Vec<Step>,
    /// How much of each lane was delivered in it, by rank.
    pub(crate) delivered: Vec<u64>,
    /// The runs sent in it.
    pub(crate) sends: Vec<Range>,
    /// The totals delivered in it.
    pub(crate) totals: Vec<Total>,
    /// How many of these came before the last send: no view change had begun there.
    pub(crate) ordered: usize,
    /// The counts of its marks, one after the other.
    pub(super) counts: Vec<u64>,
}

/// Totals as delivered: position of the first, rank of the sender, range.
pub(crate) type Total = (u64, usize, Range);

/// One event within a view. A rank is `None` where the member named is not in the view.
#[derive(Debug)]
pub(crate) enum Step {
    /// Own updates were handed in.
    Submit {
        /// How many.
        count: u64,
        /// Their order.
        class: Class,
    },
    /// Own updates were numbered.
    Send(Range),
    /// Updates were delivered.
    Deliver {
        /// Rank of the sender.
        sender: Option<usize>,
        /// The sender.
        who: Who,
        /// Which.
        range: Range,
        /// Position of the first.
        position: Option<u64>,
        /// Their level.
        level: Level,
    },
    /// This much survives.
    Stable(Mark),
    /// A flush was asked for.
    Flush(u64),
    /// A flush was answered.
    Flushed(u64),
    /// All of a proposal is held.
    Accepted {
        /// The proposal's hash.
        proposal: String,
        /// Its cut.
        mark: Mark,
    },
    /// A checkpoint was taken.
    Checkpoint {
        /// Size.
        bytes: u64,
        /// Hash.
        hash: String,
        /// The joiner.
        joiner: Who,
    },
    /// Digest of the state.
    State {
        /// At this cut.
        mark: Mark,
        /// The digest.
        hash: String,
    },
}

/// Updates `[seq, seq + count)` of one lane and class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Range {
    /// The first.
    pub(crate) seq: u64,
    /// How many.
    pub(crate) count: u64,
    /// Their order.
    pub(crate) class: Class,
}

/// A cut: counts by rank, kept in the span ([`Span::cut`]), and positions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    /// Where the counts begin.
    pub(super) at: usize,
    /// Positions.
    pub(crate) extent: u64,
    /// Whether it names somebody who is not in the view.
    pub(crate) stranger: bool,
}

impl Span {
    /// The rank of a member.
    pub(crate) fn rank(&self, who: Who) -> Option<usize> {
        self.members.iter().position(|&member| member == who)
    }

    /// Whether a member is active in this view.
    pub(crate) fn is_active(&self, who: Who) -> bool {
        self.rank(who).is_some_and(|rank| self.active[rank])
    }

    /// How many own updates were numbered in this view.
    pub(crate) fn sent(&self) -> u64 {
        self.sends.iter().map(Range::end).max().unwrap_or(0)
    }

    /// The counts of a mark, by rank.
    pub(crate) fn cut(&self, mark: &Mark) -> &[u64] {
        &self.counts[mark.at..mark.at + self.members.len()]
    }

    /// Whether every update of `range` was sent in this view, with its class. `from` is where to
    /// look first: what is asked next mostly lies behind.
    pub(crate) fn has_sent(&self, range: &Range, from: &mut usize) -> bool {
        let mut at = range.seq;
        if self.sends.get(*from).is_some_and(|run| run.seq > at) {
            *from = self.sends.partition_point(|run| run.end() <= at);
        }
        while self.sends.get(*from).is_some_and(|run| run.end() <= at) {
            *from += 1;
        }
        for run in self.sends.get(*from..).unwrap_or_default() {
            if at >= range.end() {
                break;
            }
            if run.seq > at || run.class != range.class {
                return false;
            }
            at = run.end();
        }
        at >= range.end()
    }
}

impl Range {
    /// The number behind the last.
    pub(crate) fn end(&self) -> u64 {
        self.seq.saturating_add(self.count)
    }
}

impl Membership {
    /// What it wrote in `view`.
    pub(crate) fn span(&self, view: u64) -> Option<&Span> {
        let at = self.spans.partition_point(|span| span.view < view);
        self.spans.get(at).filter(|span| span.view == view)
    }

    /// Its views followed by the next one it installed, if any.
    pub(crate) fn moves(&self) -> impl Iterator<Item = (&Span, Option<&Span>)> {
        (0..self.spans.len()).map(|i| (&self.spans[i], self.spans.get(i + 1)))
    }
}

/// Who wrote about one view.
#[derive(Clone, Copy)]
pub(crate) struct Chapter<'a> {
    group: &'a Group,
    /// The view.
    pub(crate) view: u64,
    about: &'a [(u64, usize, usize)],
}

impl<'a> Chapter<'a> {
    /// Everything written, with who wrote it and the view that followed there.
    pub(crate) fn spans(
        self,
    ) -> impl Iterator<Item = (&'a Membership, &'a Span, Option<&'a Span>)> {
        self.about.iter().map(move |&(_, membership, span)| {
            let membership = &self.group.memberships[membership];
            (membership, &membership.spans[span], membership.spans.get(span + 1))
        })
    }

    /// What those wrote who went on to another view, and that one.
    pub(crate) fn movers(self) -> impl Iterator<Item = (&'a Membership, &'a Span, &'a Span)> {
        self.spans().filter_map(|(member, span, next)| Some((member, span, next?)))
    }
}

impl Group {
    /// The membership of a member.
    pub(crate) fn membership(&self, who: Who) -> Option<&Membership> {
        self.of[who].map(|at| &self.memberships[at])
    }

    /// Deliveries of what was not sent in their view, with who delivered.
    pub(crate) fn strays(&self) -> impl Iterator<Item = (&Membership, &Span, Who, &Range)> {
        self.strays.iter().filter_map(|&(membership, span, step)| {
            let membership = &self.memberships[membership];
            let span = &membership.spans[span];
            match &span.steps[step] {
                Step::Deliver { who, range, .. } => Some((membership, span, *who, range)),
                _ => None,
            }
        })
    }

    /// The view in which a member sent a range, wherever that is.
    pub(crate) fn sent_in(&self, who: Who, range: &Range) -> Option<u64> {
        let spans = &self.membership(who)?.spans;
        spans.iter().find(|span| span.has_sent(range, &mut 0)).map(|span| span.view)
    }

    /// What was written about `view`.
    pub(crate) fn chapter(&self, view: u64) -> Chapter<'_> {
        let from = self.about.partition_point(|about| about.0 < view);
        let until = self.about.partition_point(|about| about.0 <= view);
        Chapter { group: self, view, about: &self.about[from..until] }
    }

    /// All views that anybody installed, ascending.
    pub(crate) fn chapters(&self) -> impl Iterator<Item = Chapter<'_>> {
        self.about.chunk_by(|one, other| one.0 == other.0).map(|about| Chapter {
            group: self,
            view: about[0].0,
            about,
        })
    }
}
