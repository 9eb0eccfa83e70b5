//! A history as the checkers see it: members are numbers, events are sorted by membership and view.

use std::collections::HashMap;

use crate::event::{Class, Counts, Event, Gone, Id, Level, Line};
use crate::read::History;

/// A member as a number: an index into [`Group::ids`].
pub(crate) type Who = usize;

/// Everything that happened in one group of one generation.
#[derive(Debug, Default)]
pub(crate) struct Group {
    /// Every member that is named anywhere.
    pub(crate) ids: Vec<Id>,
    /// The memberships that left lines, in the order of the logs.
    pub(crate) memberships: Vec<Membership>,
    /// Which membership a member is, if it left lines.
    pub(crate) of: Vec<Option<usize>>,
    numbers: HashMap<Id, Who>,
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
    pub(crate) end: Option<End>,
    /// Lines where none may be: before the first view, after the end, or for another view.
    pub(crate) misplaced: Vec<String>,
}

/// How a membership ended.
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
#[derive(Debug)]
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
}

/// One event within a view. A rank is `None` where the member named is not in the view.
#[derive(Debug)]
pub(crate) enum Step {
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

/// A cut: counts by rank, and positions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Mark {
    /// Updates, by rank.
    pub(crate) counts: Vec<u64>,
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

    /// How much of each lane was delivered in this view, at its end.
    pub(crate) fn delivered(&self) -> Vec<u64> {
        let mut counts = vec![0; self.members.len()];
        for step in &self.steps {
            if let Step::Deliver { sender: Some(rank), range, .. } = step {
                counts[*rank] = counts[*rank].max(range.end());
            }
        }
        counts
    }

    /// The totals delivered in this view: position of the first, rank of the sender, range.
    pub(crate) fn totals(&self) -> impl Iterator<Item = (u64, usize, Range)> + '_ {
        self.steps.iter().filter_map(|step| match step {
            Step::Deliver { sender: Some(rank), range, position: Some(position), .. } => {
                Some((*position, *rank, *range))
            }
            _ => None,
        })
    }

    /// How many own updates were numbered in this view.
    pub(crate) fn sent(&self) -> u64 {
        let ends = self.steps.iter().map(|step| match step {
            Step::Send(range) => range.end(),
            _ => 0,
        });
        ends.max().unwrap_or(0)
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

impl Group {
    /// Everything of `history`, by group and generation.
    pub(crate) fn of(history: &History) -> Vec<(String, Group)> {
        let mut groups: Vec<((Id, u32), Group)> = Vec::new();
        for log in &history.logs {
            let mut last = 0;
            for line in &log.lines {
                let Some(name) = &line.group else { continue };
                let generation = line.generation.unwrap_or(0);
                let is = |(key, _): &((Id, u32), Group)| key.0 == *name && key.1 == generation;
                if !groups.get(last).is_some_and(is) {
                    last = groups.iter().position(is).unwrap_or_else(|| {
                        groups.push(((name.clone(), generation), Group::default()));
                        groups.len() - 1
                    });
                }
                groups[last].1.add(line);
            }
        }
        let label = |(name, generation): (Id, u32)| format!("{name}/{generation}");
        groups.into_iter().map(|(key, group)| (label(key), group)).collect()
    }

    /// The membership of a member.
    pub(crate) fn membership(&self, who: Who) -> Option<&Membership> {
        self.of[who].map(|at| &self.memberships[at])
    }

    /// All that was written about `view`, with who wrote it and the view that followed.
    pub(crate) fn spans_of(
        &self,
        view: u64,
    ) -> impl Iterator<Item = (&Membership, &Span, Option<&Span>)> {
        self.memberships.iter().filter_map(move |membership| {
            let at = membership.spans.partition_point(|span| span.view < view);
            let span = membership.spans.get(at).filter(|span| span.view == view)?;
            Some((membership, span, membership.spans.get(at + 1)))
        })
    }

    /// The numbers of all views that anybody installed, ascending.
    pub(crate) fn views(&self) -> Vec<u64> {
        let spans = self.memberships.iter().flat_map(|membership| &membership.spans);
        let mut views: Vec<u64> = spans.map(|span| span.view).collect();
        views.sort_unstable();
        views.dedup();
        views
    }

    fn number(&mut self, id: &Id) -> Who {
        if let Some(&who) = self.numbers.get(id) {
            return who;
        }
        let who = self.ids.len();
        self.ids.push(id.clone());
        self.of.push(None);
        self.numbers.insert(id.clone(), who);
        who
    }

    fn add(&mut self, line: &Line) {
        let who = self.number(&line.node);
        let at = *self.of[who].get_or_insert_with(|| {
            self.memberships.push(Membership {
                who,
                loaded: Vec::new(),
                spans: Vec::new(),
                end: None,
                misplaced: Vec::new(),
            });
            self.memberships.len() - 1
        });
        match &line.event {
            Event::View { .. } => self.add_view(at, &line.event),
            Event::Loaded { view, bytes, hash, from } => {
                let from = self.number(from);
                let membership = &mut self.memberships[at];
                let after_views = membership.spans.len();
                let hash = hash.clone();
                let loaded = Loaded { view: *view, bytes: *bytes, hash, from, after_views };
                membership.loaded.push(loaded);
            }
            Event::Excluded { .. } => self.memberships[at].end = Some(End::Excluded),
            Event::Closed { .. } => self.memberships[at].end = Some(End::Closed),
            Event::Start { .. }
            | Event::Blocked { .. }
            | Event::Resumed { .. }
            | Event::Leaving { .. }
            | Event::Request { .. }
            | Event::Reply { .. } => {}
            Event::Send { view, .. }
            | Event::Deliver { view, .. }
            | Event::Stable { view, .. }
            | Event::Accepted { view, .. }
            | Event::Checkpoint { view, .. }
            | Event::State { view, .. } => self.add_step(at, *view, &line.event),
        }
    }

    fn add_view(&mut self, at: usize, event: &Event) {
        let Event::View { view, members, together, joined, left } = event else {
            return;
        };
        let span = Span {
            view: *view,
            members: members.iter().map(|member| self.number(&member.id)).collect(),
            active: members.iter().map(|member| member.active).collect(),
            together: together.iter().map(|id| self.number(id)).collect(),
            joined: joined.iter().map(|id| self.number(id)).collect(),
            left: left.iter().map(|Gone { id, .. }| self.number(id)).collect(),
            steps: Vec::new(),
        };
        let membership = &mut self.memberships[at];
        if membership.end.is_some() {
            membership.misplaced.push(format!("view {view} after the end"));
        }
        match membership.spans.last() {
            // Look-ups by number rely on this order.
            Some(last) if last.view >= *view => {
                membership.misplaced.push(format!("view {view} after view {}", last.view));
            }
            _ => membership.spans.push(span),
        }
    }

    fn add_step(&mut self, at: usize, view: u64, event: &Event) {
        let step = self.step(at, event);
        let membership = &mut self.memberships[at];
        let what = || format!("{} in view {view}", kind(event));
        let ended = membership.end.is_some() && !matches!(event, Event::State { .. });
        match membership.spans.last_mut() {
            Some(_) if ended => membership.misplaced.push(what() + " after the end"),
            None => membership.misplaced.push(what() + " before the first view"),
            Some(last) if last.view != view => {
                let current = last.view;
                membership.misplaced.push(format!("{} while in view {current}", what()));
            }
            Some(last) => last.steps.extend(step),
        }
    }

    fn step(&mut self, at: usize, event: &Event) -> Option<Step> {
        // A count of zero says nothing, and would make ranges empty.
        Some(match event {
            Event::Send { seq, count, class, .. } => {
                Step::Send(Range { seq: *seq, count: *count, class: *class })
            }
            Event::Deliver { sender, seq, count, class, position, level, .. } => {
                let who = self.number(sender);
                Step::Deliver {
                    sender: self.memberships[at].spans.last()?.rank(who),
                    who,
                    range: Range { seq: *seq, count: *count, class: *class },
                    position: *position,
                    level: *level,
                }
            }
            Event::Stable { cut, extent, .. } => Step::Stable(self.mark(at, cut, *extent)?),
            Event::Accepted { proposal, cut, extent, .. } => {
                Step::Accepted { proposal: proposal.clone(), mark: self.mark(at, cut, *extent)? }
            }
            Event::Checkpoint { bytes, hash, r#for, .. } => {
                Step::Checkpoint { bytes: *bytes, hash: hash.clone(), joiner: self.number(r#for) }
            }
            Event::State { cut, extent, hash, .. } => {
                Step::State { mark: self.mark(at, cut, *extent)?, hash: hash.clone() }
            }
            _ => return None,
        })
    }

    fn mark(&mut self, at: usize, cut: &Counts, extent: u64) -> Option<Mark> {
        let span = self.memberships[at].spans.last()?;
        let mut mark = Mark { counts: vec![0; span.members.len()], extent, stranger: false };
        for (id, &count) in cut {
            match self.numbers.get(id).and_then(|&who| span.rank(who)) {
                Some(rank) => mark.counts[rank] = count,
                None => mark.stranger |= count > 0,
            }
        }
        Some(mark)
    }
}

/// The event's name in the file.
fn kind(event: &Event) -> &'static str {
    match event {
        Event::Start { .. } => "start",
        Event::View { .. } => "view",
        Event::Send { .. } => "send",
        Event::Deliver { .. } => "deliver",
        Event::Stable { .. } => "stable",
        Event::Accepted { .. } => "accepted",
        Event::Checkpoint { .. } => "checkpoint",
        Event::Loaded { .. } => "loaded",
        Event::State { .. } => "state",
        Event::Blocked { .. } => "blocked",
        Event::Resumed { .. } => "resumed",
        Event::Excluded { .. } => "excluded",
        Event::Leaving { .. } => "leaving",
        Event::Closed { .. } => "closed",
        Event::Request { .. } => "request",
        Event::Reply { .. } => "reply",
    }
}
