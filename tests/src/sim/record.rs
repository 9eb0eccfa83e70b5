//! Writes the history of a simulated run, in memory, as the runtime writes it to files.

use std::collections::HashMap;

use vsync_core::engine::{Class, Delivery, Install, Level, Run};
use vsync_core::wire::{Cut, GroupId, LeftReason, MemberId, NodeId, View};
use vsync_history::event::{self, Counts, Event, Gone, Id, Line, Member, Reason};
use vsync_history::{Expectations, History, Log, check_with};

/// The history so far.
#[derive(Debug, Default)]
pub(crate) struct Recorder {
    history: History,
    /// The logs of all lines, in the order in which they were written.
    order: Vec<u32>,
    ids: HashMap<MemberId, Id>,
    groups: HashMap<GroupId, Id>,
    /// When each host started.
    born: Vec<u64>,
}

/// Who writes a line, and when.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pen {
    /// Index of the host: one log each.
    pub(crate) host: usize,
    /// In the world's time: the hosts' own clocks drift far more than real ones, and a drawing
    /// could not put them side by side.
    pub(crate) t: u64,
    /// The group.
    pub(crate) group: GroupId,
    /// The member.
    pub(crate) member: MemberId,
}

impl Recorder {
    /// What is known of a run that is still under way.
    pub(crate) const PREFIX: Expectations =
        Expectations { complete: true, divergent: false, settled: Vec::new() };

    /// The first line after which a property does not hold; `None` where only the end shows it.
    pub(crate) fn first_step(&self, property: &str) -> Option<String> {
        let breaks = |lines: usize| {
            let found = check_with(&self.prefix(lines), &Self::PREFIX);
            found.iter().any(|violation| violation.property == property)
        };
        if !breaks(self.lines()) {
            return None;
        }
        let (mut holds, mut broken) = (0, self.lines());
        while broken - holds > 1 {
            let middle = holds + (broken - holds) / 2;
            if breaks(middle) { broken = middle } else { holds = middle }
        }
        self.last_of(broken)
    }

    /// Begins the log of a host that starts now.
    pub(crate) fn start(&mut self, host: usize, node: NodeId, now: u64) {
        let name: Id = format!("n#{:x}", node.0).into();
        let event = Event::Start { wall_us: now, protocol: 1 };
        let line = Line { t: 0, node: name, group: None, generation: None, event };
        self.history.logs.push(Log { name: format!("n{host}.jsonl"), lines: vec![line] });
        self.born.push(now);
        debug_assert_eq!(self.history.logs.len(), host + 1);
        self.order.push(host as u32);
    }

    /// The history.
    pub(crate) fn history(&self) -> &History {
        &self.history
    }

    /// How many lines there are.
    pub(crate) fn lines(&self) -> usize {
        self.order.len()
    }

    /// The history as it was after so many lines.
    pub(crate) fn prefix(&self, lines: usize) -> History {
        let mut counts = vec![0; self.history.logs.len()];
        for &log in &self.order[..lines] {
            counts[log as usize] += 1;
        }
        let logs =
            self.history.logs.iter().zip(counts).map(|(log, count)| Log {
                name: log.name.clone(),
                lines: log.lines[..count].to_vec(),
            });
        History { logs: logs.collect() }
    }

    /// The line that a prefix of so many ends with, and where it stands.
    pub(crate) fn last_of(&self, lines: usize) -> Option<String> {
        let log = *self.order[..lines].last()?;
        let at = self.order[..lines].iter().filter(|&&other| other == log).count();
        let Log { name, lines } = &self.history.logs[log as usize];
        Some(format!("{name}:{at}: {:?}", lines.get(at - 1)?.event))
    }

    /// Writes a line.
    pub(crate) fn write(&mut self, pen: Pen, event: Event) {
        let group = self.groups.entry(pen.group);
        let group = group.or_insert_with(|| format!("g{}", pen.group.0).into()).clone();
        let line = Line {
            t: pen.t - self.born[pen.host],
            node: self.id(pen.member),
            group: Some(group),
            generation: Some(1),
            event,
        };
        self.history.logs[pen.host].lines.push(line);
        self.order.push(pen.host as u32);
    }

    /// The name of a member.
    pub(crate) fn id(&mut self, member: MemberId) -> Id {
        let id = self.ids.entry(member);
        // One name for all processes: what tells them apart is the incarnation.
        id.or_insert_with(|| format!("n#{:x}@{}", member.node.0, member.entry).into()).clone()
    }

    /// A view.
    pub(crate) fn view(&mut self, pen: Pen, install: &Install) {
        let event = Event::View {
            view: install.view.number,
            members: install
                .view
                .members
                .iter()
                .enumerate()
                .map(|(rank, member)| Member {
                    id: self.id(member.id),
                    active: install.view.is_active(rank),
                })
                .collect(),
            together: install.together.iter().map(|&id| self.id(id)).collect(),
            joined: install.joined.iter().map(|&id| self.id(id)).collect(),
            left: install
                .left
                .iter()
                .map(|left| Gone { id: self.id(left.id), reason: reason(left.reason) })
                .collect(),
        };
        self.write(pen, event);
    }

    /// A run of own updates.
    pub(crate) fn send(&mut self, pen: Pen, view: u64, seq: u64, run: Run) {
        let (count, class) = (u64::from(run.count), class(run.class));
        self.write(pen, Event::Send { view, seq, count, class });
    }

    /// A delivery.
    pub(crate) fn deliver(&mut self, pen: Pen, delivery: &Delivery) {
        let event = Event::Deliver {
            view: delivery.view,
            sender: self.id(delivery.sender),
            seq: delivery.seq,
            count: u64::from(delivery.count),
            class: class(delivery.class),
            position: delivery.position,
            level: match delivery.level {
                Level::Optimistic => event::Level::Optimistic,
                Level::Stable => event::Level::Stable,
            },
        };
        self.write(pen, event);
    }

    /// A cut of a view, by names.
    pub(crate) fn cut(&mut self, view: &View, cut: &Cut) -> Counts {
        let members = view.members.iter().zip(&cut.counts);
        members.map(|(member, &count)| (self.id(member.id), count)).collect()
    }
}

fn class(class: Class) -> event::Class {
    match class {
        Class::Fifo => event::Class::Fifo,
        Class::Causal => event::Class::Causal,
        Class::Total => event::Class::Total,
    }
}

fn reason(reason: LeftReason) -> Reason {
    match reason {
        LeftReason::Left => Reason::Left,
        LeftReason::Failed => Reason::Failed,
        LeftReason::Evicted => Reason::Evicted,
    }
}
