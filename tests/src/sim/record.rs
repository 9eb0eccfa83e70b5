//! Writes the history of a simulated run, in memory, as the runtime writes it to files.

use vsync_core::engine::{Class, Delivery, Install, Level, Run};
use vsync_core::wire::{Cut, GroupId, LeftReason, MemberId, NodeId, View};
use vsync_history::event::{self, Counts, Event, Gone, Id, Line, Member, Reason};
use vsync_history::{Expectations, History, Log, check_with};

/// The history so far.
#[derive(Debug, Default)]
pub(crate) struct Recorder {
    history: History,
    /// The hosts of all lines, in the order in which the world wrote them.
    order: Vec<u32>,
    /// Names of members and groups. A world has few, and the newest are asked for most.
    ids: Vec<(MemberId, Id)>,
    groups: Vec<(GroupId, Id)>,
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
        let group = named(&mut self.groups, pen.group, |group| format!("g{}", group.0));
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
        // One name for all processes: what tells them apart is the incarnation.
        let spell = |member: MemberId| format!("n#{:x}@{}", member.node.0, member.entry);
        named(&mut self.ids, member, spell)
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

    /// A run of own updates that has no numbers yet.
    pub(crate) fn submit(&mut self, pen: Pen, count: u64, of: Class) {
        self.write(pen, Event::Submit { count, class: class(of) });
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

/// The name of something, which is spelled once.
fn named<T: Copy + PartialEq>(
    names: &mut Vec<(T, Id)>,
    what: T,
    spell: impl FnOnce(T) -> String,
) -> Id {
    if let Some((_, name)) = names.iter().rev().find(|(known, _)| *known == what) {
        return name.clone();
    }
    let name: Id = spell(what).into();
    names.push((what, name.clone()));
    name
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

#[cfg(test)]
mod tests {
    use vsync_history::event::{Event, Line};
    use vsync_history::{Expectations, History, check, check_with};

    use crate::sim::Setting;
    use crate::sim::world::World;

    /// Every process is killed, and loses some of its lines after the last `send`.
    fn lose(history: &mut History, seed: usize) {
        for (index, log) in history.logs.iter_mut().enumerate() {
            let sent = |line: &Line| matches!(line.event, Event::Send { .. } | Event::Start { .. });
            let durable = log.lines.iter().rposition(sent).map_or(0, |last| last + 1);
            let rest = log.lines.len() - durable;
            log.lines.truncate(durable + rest * ((seed * (index + 7) + index * 3) % 6) / 5);
        }
    }

    /// A run that stops anywhere has broken nothing yet, whatever lines are lost then.
    #[test]
    fn no_prefix_of_a_good_run_is_a_violation() {
        for seed in 0..12 {
            let mut world = World::new(seed, &Setting::default());
            world.run();
            assert!(world.failures().is_empty(), "seed {seed}: {:#?}", world.failures());
            let recorder = &world.books.recorder;
            let all = recorder.lines();
            for part in 1..40 {
                let length = all * part / 40 + (seed as usize + part) % 7;
                let mut history = recorder.prefix(length.min(all));
                for complete in [true, false] {
                    let expectations = Expectations { complete, ..Expectations::default() };
                    let found = check_with(&history, &expectations);
                    assert!(found.is_empty(), "seed {seed}, {length} of {all} lines: {found:#?}");
                }
                lose(&mut history, part);
                let found = check(&history);
                assert!(found.is_empty(), "seed {seed}, {length} of {all} lines: {found:#?}");
            }
        }
    }
}
