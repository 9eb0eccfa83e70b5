//! Writing down what this node does (the book's chapter on histories says what): off by default,
//! and free when off.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::sync::Arc;

use vsync_core::engine::{Class, Delivery, Install, Level, Run};
use vsync_core::wire::{Ballot, Cut, LeftReason, MemberId, Micros, NodeId, View};
use vsync_history::event::{self, Counts, Event, Id, Line};
use xxhash_rust::xxh3::xxh3_64;

use super::clock;
use super::seldom::Blank;
use crate::view::Meta;

/// Version of the protocol, as the first line says it.
const PROTOCOL: u32 = 1;

/// The open history file of a node.
#[derive(Debug)]
pub(crate) struct Writer {
    file: BufWriter<File>,
    /// A `send` line waits: it must be with the kernel before a byte of its batch leaves.
    urgent: bool,
    failed: bool,
}

/// Who writes a line, and of what group.
#[derive(Clone, Debug)]
pub(crate) struct Subject {
    /// The group's name.
    pub(crate) group: Id,
    /// Its generation.
    pub(crate) generation: u32,
    /// The writer's membership.
    pub(crate) me: Id,
}

impl Writer {
    /// A new file for this process in `dir`.
    pub(crate) fn create(dir: &Path, name: &str, node: NodeId) -> io::Result<Writer> {
        std::fs::create_dir_all(dir)?;
        let clean: String = name
            .chars()
            .map(|c| if c.is_alphanumeric() || "-_.".contains(c) { c } else { '_' })
            .collect();
        let path = dir.join(format!("{clean}-{:x}.jsonl", node.0));
        let mut writer =
            Writer { file: BufWriter::new(File::create_new(path)?), urgent: false, failed: false };
        let start = Event::Start { wall_us: clock::wall(), protocol: PROTOCOL };
        let line = Line {
            t: 0,
            node: format!("{name}#{:x}", node.0).into(),
            group: None,
            generation: None,
            event: start,
        };
        serde_json::to_writer(&mut writer.file, &line)?;
        writer.file.write_all(b"\n")?;
        writer.file.flush()?;
        Ok(writer)
    }

    /// Writes one line.
    pub(crate) fn write(&mut self, t: Micros, subject: &Subject, event: Event) {
        self.urgent |= matches!(event, Event::Send { .. });
        let line = Line {
            t,
            node: Arc::clone(&subject.me),
            group: Some(Arc::clone(&subject.group)),
            generation: Some(subject.generation),
            event,
        };
        let written = serde_json::to_writer(&mut self.file, &line)
            .map_err(io::Error::from)
            .and_then(|()| self.file.write_all(b"\n"));
        self.note(written);
    }

    /// Hands `send` lines to the kernel, before their batch leaves.
    pub(crate) fn before_sending(&mut self) {
        if self.urgent {
            self.flush();
        }
    }

    /// Hands all lines to the kernel.
    pub(crate) fn flush(&mut self) {
        self.urgent = false;
        let flushed = self.file.flush();
        self.note(flushed);
    }

    fn note(&mut self, result: io::Result<()>) {
        if let Err(error) = result
            && !std::mem::replace(&mut self.failed, true)
        {
            tracing::error!(%error, "the history file cannot be written");
        }
    }
}

/// The names of a view's members as histories write them, by rank.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Names {
    members: Vec<(MemberId, Id)>,
}

static NONE: Names = Names { members: Vec::new() };

impl Blank for Names {
    fn blank() -> &'static Self {
        &NONE
    }
}

impl Names {
    /// The members of `view`, and those that have just left it, whose names `before` knows.
    pub(crate) fn new(view: &View) -> Names {
        let members = view.members.iter().map(|member| {
            let name = Meta::decode(member.id.node, &member.meta).name;
            (member.id, spell(&name, member.id))
        });
        Names { members: members.collect() }
    }

    /// The id of a member; one that is in no view known gets its node's number for a name.
    pub(crate) fn id(&self, member: MemberId) -> Id {
        self.members
            .iter()
            .find(|(id, _)| *id == member)
            .map_or_else(|| spell("?", member), |(_, name)| Arc::clone(name))
    }

    fn counts(&self, cut: &Cut) -> Counts {
        let members = self.members.iter().enumerate();
        members.map(|(rank, (_, name))| (Arc::clone(name), cut.count(rank))).collect()
    }
}

/// A member id as histories write it.
pub(crate) fn spell(name: &str, member: MemberId) -> Id {
    format!("{name}#{:x}@{}", member.node.0, member.entry).into()
}

/// The digest of a checkpoint.
pub(crate) fn hash(checkpoint: u64) -> String {
    format!("{checkpoint:016x}")
}

/// The line of an install; `before` are the names of the view that is left.
pub(crate) fn view(install: &Install, names: &Names, before: &Names) -> Event {
    let members = install.view.members.iter().enumerate().map(|(rank, member)| event::Member {
        id: names.id(member.id),
        active: install.view.is_active(rank),
    });
    let left = install.left.iter().map(|left| event::Gone {
        id: before.id(left.id),
        reason: match left.reason {
            LeftReason::Left => event::Reason::Left,
            LeftReason::Failed => event::Reason::Failed,
            LeftReason::Evicted => event::Reason::Evicted,
        },
    });
    Event::View {
        view: install.view.number,
        members: members.collect(),
        together: install.together.iter().map(|id| names.id(*id)).collect(),
        joined: install.joined.iter().map(|id| names.id(*id)).collect(),
        left: left.collect(),
    }
}

/// The line of own updates of one class that have no numbers yet.
pub(crate) fn submit(runs: &[Run]) -> Event {
    let count = runs.iter().map(|run| u64::from(run.count)).sum();
    Event::Submit { count, class: runs.first().map_or(event::Class::Fifo, |run| class(run.class)) }
}

/// The line of own updates that got their numbers.
pub(crate) fn send(view: u64, seq: u64, run: Run) -> Event {
    Event::Send { view, seq, count: run.count.into(), class: class(run.class) }
}

/// The line of a delivered range.
pub(crate) fn deliver(range: &Delivery, names: &Names) -> Event {
    Event::Deliver {
        view: range.view,
        sender: names.id(range.sender),
        seq: range.seq,
        count: range.count.into(),
        class: class(range.class),
        position: range.position,
        level: match range.level {
            Level::Optimistic => event::Level::Optimistic,
            Level::Stable => event::Level::Stable,
        },
    }
}

/// The line of a stable cut that has grown.
pub(crate) fn stable(view: u64, cut: &Cut, names: &Names) -> Event {
    Event::Stable { view, cut: names.counts(cut), extent: cut.extent }
}

/// The line of a proposal that is held and accepted.
pub(crate) fn accepted(
    view: u64,
    ballot: Ballot,
    proposal: u64,
    cut: &Cut,
    names: &Names,
) -> Event {
    Event::Accepted {
        view,
        ballot: format!("{}.{}", ballot.n, ballot.leader),
        proposal: format!("{proposal:016x}"),
        cut: names.counts(cut),
        extent: cut.extent,
    }
}

/// The line of the state at the end.
pub(crate) fn state(view: u64, cut: &Cut, checkpoint: &[u8], names: &Names) -> Event {
    let hash = hash(xxh3_64(checkpoint));
    Event::State { view, cut: names.counts(cut), extent: cut.extent, hash }
}

fn class(class: Class) -> event::Class {
    match class {
        Class::Fifo => event::Class::Fifo,
        Class::Causal => event::Class::Causal,
        Class::Total => event::Class::Total,
    }
}
