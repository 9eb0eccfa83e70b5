//! Sorting the lines of a history by group, membership and view.

use std::collections::HashMap;
use std::sync::Arc;

use crate::event::{Counts, Event, Gone, Id, Line};
use crate::model::{
    End, Ending, Group, Loaded, Mark, Membership, Misplaced, Range, Span, Step, Who,
};
use crate::read::History;

/// Everything of `history`, by group and generation.
pub(crate) fn groups(history: &History) -> Vec<(String, Group)> {
    let mut groups: Vec<((Id, u32), Sorter)> = Vec::new();
    for log in &history.logs {
        let mut last = 0;
        for line in &log.lines {
            let Some(name) = &line.group else { continue };
            let generation = line.generation.unwrap_or(0);
            let is = |(key, _): &((Id, u32), Sorter)| key.1 == generation && same(&key.0, name);
            if !groups.get(last).is_some_and(is) {
                last = groups.iter().position(is).unwrap_or_else(|| {
                    groups.push(((name.clone(), generation), Sorter::default()));
                    groups.len() - 1
                });
            }
            groups[last].1.add(line);
        }
    }
    let label = |(name, generation): (Id, u32)| format!("{name}/{generation}");
    groups.into_iter().map(|(key, sorter)| (label(key), sorter.finish())).collect()
}

/// Whether two names are the same. Where one writer made both they mostly share their bytes.
fn same(one: &Id, two: &Id) -> bool {
    Arc::ptr_eq(one, two) || one == two
}

/// How many ids are looked through before they are hashed: a writer in memory shares their bytes.
const FEW: usize = 64;

/// A group whose lines are being sorted.
#[derive(Default)]
struct Sorter {
    group: Group,
    numbers: HashMap<Id, Who>,
    /// The newest membership of each node, by the node's first member.
    newest: HashMap<Who, usize>,
}

impl Sorter {
    fn finish(self) -> Group {
        let mut group = self.group;
        for (at, membership) in group.memberships.iter().enumerate() {
            let spans = membership.spans.iter().enumerate();
            group.about.extend(spans.map(|(span, it)| (it.view, at, span)));
        }
        group.about.sort_unstable();
        let all = group.memberships.iter().enumerate();
        group.strays = all.flat_map(|(at, membership)| strays(&group, at, membership)).collect();
        group
    }

    fn number(&mut self, id: &Id) -> Who {
        let ids = &self.group.ids;
        if let Some(who) = ids.iter().take(FEW).position(|known| Arc::ptr_eq(known, id)) {
            return who;
        }
        if let Some(&who) = self.numbers.get(id) {
            return who;
        }
        let who = ids.len();
        let node = node(id);
        let first = ids.iter().position(|known| self::node(known) == node);
        self.group.nodes.push(first.unwrap_or(who));
        self.group.entries.push(entry(id));
        self.group.ids.push(id.clone());
        self.group.of.push(None);
        self.numbers.insert(id.clone(), who);
        who
    }

    fn all<'a>(&mut self, ids: impl IntoIterator<Item = &'a Id>) -> Vec<Who> {
        ids.into_iter().map(|id| self.number(id)).collect()
    }

    /// The membership of a writer; a fresh one with its first line.
    fn membership(&mut self, who: Who) -> usize {
        if let Some(at) = self.group.of[who] {
            return at;
        }
        let at = self.group.memberships.len();
        self.group.memberships.push(Membership {
            who,
            loaded: Vec::new(),
            spans: Vec::new(),
            end: None,
            idle: None,
            misplaced: Vec::new(),
        });
        self.group.of[who] = Some(at);
        self.newest.insert(self.group.nodes[who], at);
        at
    }

    fn add(&mut self, line: &Line) {
        let who = self.number(&line.node);
        let at = self.membership(who);
        let ended = self.group.memberships[at].end.is_some();
        if ended || self.is_replaced(at) {
            let why = if ended { "after the end" } else { "after its node came back" };
            let what = format!("{} {why}", kind(&line.event));
            return self.misplace(at, Misplaced::AfterEnd, what);
        }
        match &line.event {
            Event::View { .. } => self.add_view(at, &line.event),
            Event::Loaded { view, bytes, hash, from } => {
                let from = self.number(from);
                let membership = &mut self.group.memberships[at];
                let after_views = membership.spans.len();
                let hash = hash.clone();
                let loaded = Loaded { view: *view, bytes: *bytes, hash, from, after_views };
                membership.loaded.push(loaded);
            }
            Event::Excluded { view, own } => self.end(at, End::Excluded, *view, *own),
            Event::Closed { view, own } => self.end(at, End::Closed, *view, *own),
            Event::Idle { retained, queued } => {
                self.group.memberships[at].idle = Some((*retained, *queued));
            }
            Event::Start { .. }
            | Event::Blocked { .. }
            | Event::Resumed { .. }
            | Event::Leaving { .. }
            | Event::Request { .. }
            | Event::Reply { .. } => {}
            Event::Submit { .. } | Event::Flush { .. } | Event::Flushed { .. } => {
                self.add_step(at, None, &line.event);
            }
            Event::Send { view, .. }
            | Event::Deliver { view, .. }
            | Event::Stable { view, .. }
            | Event::Accepted { view, .. }
            | Event::Checkpoint { view, delivered: None, .. }
            | Event::State { view, .. } => self.add_step(at, Some(*view), &line.event),
            Event::Checkpoint { view, delivered: Some(delivered), .. } => {
                self.add_checkpoint(at, *view, *delivered, &line.event);
            }
        }
    }

    /// Whether the node of a membership has come back as another member. Nodes of one group that
    /// never come back are all there is in most runs.
    fn is_replaced(&self, at: usize) -> bool {
        let memberships = &self.group.memberships;
        let first = self.group.nodes[memberships[at].who];
        at + 1 < memberships.len() && self.newest.get(&first) != Some(&at)
    }

    fn misplace(&mut self, at: usize, why: Misplaced, what: String) {
        self.group.memberships[at].misplaced.push((why, what));
    }

    fn end(&mut self, at: usize, how: End, view: u64, own: Option<u64>) {
        self.group.memberships[at].end = Some(Ending { how, view, own });
    }

    fn add_view(&mut self, at: usize, event: &Event) {
        let Event::View { view, members, together, joined, left } = event else {
            return;
        };
        let span = Span {
            view: *view,
            delivered: vec![0; members.len()],
            members: self.all(members.iter().map(|member| &member.id)),
            active: members.iter().map(|member| member.active).collect(),
            together: self.all(together),
            joined: self.all(joined),
            left: self.all(left.iter().map(|Gone { id, .. }| id)),
            ..Span::default()
        };
        match self.group.memberships[at].spans.last().map(|last| last.view) {
            // Look-ups by number rely on this order.
            Some(last) if last >= *view => {
                self.misplace(at, Misplaced::Outside, format!("view {view} after view {last}"));
            }
            _ => self.group.memberships[at].spans.push(span),
        }
    }

    fn add_step(&mut self, at: usize, view: Option<u64>, event: &Event) {
        let current = self.group.memberships[at].spans.last().map(|span| span.view);
        match (current, view) {
            (None, _) => {
                let what = format!("{} before the first view", kind(event));
                self.misplace(at, Misplaced::Outside, what);
            }
            (Some(current), Some(view)) if current != view => {
                let why = match event {
                    Event::Send { .. } | Event::Deliver { .. } => Misplaced::OtherView,
                    _ => Misplaced::Outside,
                };
                let what = format!("{} of view {view} while in view {current}", kind(event));
                self.misplace(at, why, what);
            }
            _ => {
                if let Some(step) = self.step(at, event)
                    && let Some(span) = self.group.memberships[at].spans.last_mut()
                {
                    note(span, &step);
                    span.steps.push(step);
                }
            }
        }
    }

    /// A checkpoint belongs where it was taken, not where it was written.
    fn add_checkpoint(&mut self, at: usize, view: u64, delivered: u64, event: &Event) {
        let spans = &self.group.memberships[at].spans;
        let Some(index) = spans.iter().position(|span| span.view == view) else {
            return self.add_step(at, Some(view), event);
        };
        let Some(step) = self.step(at, event) else { return };
        let span = &mut self.group.memberships[at].spans[index];
        let mut before = 0;
        let after = |step: &Step| {
            if let Step::Deliver { range, .. } = step {
                before += range.count;
            }
            before > delivered
        };
        let place = span.steps.iter().position(after).unwrap_or(span.steps.len());
        span.steps.insert(place, step);
    }

    fn step(&mut self, at: usize, event: &Event) -> Option<Step> {
        Some(match event {
            Event::Submit { count, class } => Step::Submit { count: *count, class: *class },
            Event::Flush { id } => Step::Flush(*id),
            Event::Flushed { id } => Step::Flushed(*id),
            Event::Send { seq, count, class, .. } => {
                Step::Send(Range { seq: *seq, count: *count, class: *class })
            }
            Event::Deliver { sender, seq, count, class, position, level, .. } => {
                let who = self.number(sender);
                Step::Deliver {
                    sender: self.group.memberships[at].spans.last()?.rank(who),
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
        let ids = &self.group.ids;
        let span = self.group.memberships[at].spans.last_mut()?;
        let (from, members) = (span.counts.len(), span.members.len());
        span.counts.resize(from + members, 0);
        let mut mark = Mark { at: from, extent, stranger: false };
        for (place, (id, count)) in cut.iter().enumerate() {
            // Writers name the members by rank, as a rule.
            let direct = span.members.get(place).filter(|&&who| Arc::ptr_eq(&ids[who], id));
            let rank = match direct {
                Some(_) => Some(place),
                None => self.numbers.get(id).and_then(|&who| span.rank(who)),
            };
            match rank {
                Some(rank) => span.counts[from + rank] = *count,
                None => mark.stranger |= *count > 0,
            }
        }
        Some(mark)
    }
}

/// The deliveries of one member that its senders did not send in that view.
fn strays(group: &Group, at: usize, membership: &Membership) -> Vec<(usize, usize, usize)> {
    let mut strays = Vec::new();
    let mut lanes: Vec<(Option<&Span>, usize)> = Vec::new();
    for (number, span) in membership.spans.iter().enumerate() {
        lanes.clear();
        let senders = span.members.iter().map(|&who| group.membership(who));
        lanes.extend(senders.map(|sender| (sender.and_then(|it| it.span(span.view)), 0)));
        for (place, step) in span.steps.iter().enumerate() {
            let Step::Deliver { sender, range, .. } = step else {
                continue;
            };
            let lane = sender.map(|rank| &mut lanes[rank]);
            let sent = lane
                .is_some_and(|(lane, from)| lane.is_some_and(|lane| lane.has_sent(range, from)));
            if !sent {
                strays.push((at, number, place));
            }
        }
    }
    strays
}

/// What a step adds to what is known of its view.
fn note(span: &mut Span, step: &Step) {
    match step {
        Step::Send(range) => {
            span.sends.push(*range);
            span.ordered = span.totals.len();
        }
        Step::Deliver { sender: Some(rank), range, position, .. } => {
            span.delivered[*rank] = span.delivered[*rank].max(range.end());
            span.totals.extend(position.map(|position| (position, *rank, *range)));
        }
        _ => {}
    }
}

/// The view by which a member came in, as its id tells.
fn entry(id: &str) -> Option<u64> {
    id.rsplit_once('@')?.1.parse().ok()
}

/// The process of a member, as its id tells.
fn node(id: &str) -> &str {
    id.rsplit_once('@').map_or(id, |(node, _)| node)
}

/// The event's name in the file.
fn kind(event: &Event) -> &'static str {
    match event {
        Event::Start { .. } => "start",
        Event::View { .. } => "view",
        Event::Submit { .. } => "submit",
        Event::Send { .. } => "send",
        Event::Deliver { .. } => "deliver",
        Event::Stable { .. } => "stable",
        Event::Flush { .. } => "flush",
        Event::Flushed { .. } => "flushed",
        Event::Idle { .. } => "idle",
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
