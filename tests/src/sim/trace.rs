//! What a run was: a hash to compare two runs by, and a time line to read.

use std::fmt::{Arguments, Write};

use bytes::Bytes;
use vsync_core::engine::{Input, Output};
use vsync_core::wire::FrameKind;
use xxhash_rust::xxh3::xxh3_64;

use super::app::mix;

/// How much of a run is told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Text {
    /// Nothing.
    #[default]
    Silent,
    /// What goes wrong, views, ends of memberships: a page.
    TimeLine,
    /// Every input and output.
    Everything,
}

/// The trace of a run.
#[derive(Debug, Default)]
pub(crate) struct Trace {
    hash: u64,
    level: Text,
    text: String,
}

impl Trace {
    /// A trace that keeps the text too, if asked to.
    pub(crate) fn new(level: Text) -> Self {
        Trace { hash: 0, level, text: String::new() }
    }

    /// The hash of everything so far.
    pub(crate) fn hash(&self) -> u64 {
        self.hash
    }

    /// The time line.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// Something that is no input of an engine.
    pub(crate) fn note(&mut self, now: u64, what: Arguments<'_>) {
        self.fold(now);
        if self.level != Text::Silent {
            let _ = writeln!(self.text, "{:>10.3} {what}", now as f64 / 1000.0);
        }
    }

    /// An input.
    pub(crate) fn input(&mut self, now: u64, host: usize, input: &Input) {
        self.fold(now);
        self.fold(host as u64);
        if let Input::Frame { frame, .. } = input {
            self.fold(xxh3_64(frame));
        }
        if self.level == Text::Everything {
            let text = &mut self.text;
            let _ = write!(text, "{:>10.3} n{host} < ", now as f64 / 1000.0);
            let _ = match input {
                Input::Frame { peer, frame } => writeln!(text, "{peer:?} {}", brief(frame)),
                Input::Submit { runs, body, .. } => {
                    writeln!(text, "Submit {runs:?} {} bytes", body.len())
                }
                Input::Checkpoint { label, bytes, last, .. } => {
                    let end = if *last { ", the last" } else { "" };
                    writeln!(text, "Checkpoint {label} {} bytes{end}", bytes.len())
                }
                Input::Join { group, contacts, nonce, .. } => {
                    writeln!(text, "Join {group:?} {contacts:?} {nonce}")
                }
                other => writeln!(text, "{other:?}"),
            };
        }
    }

    /// An output.
    pub(crate) fn output(&mut self, now: u64, host: usize, output: &Output) {
        match output {
            Output::Send { frame, .. } => self.fold(xxh3_64(frame)),
            Output::Deliver(delivery) => self.fold(mix(delivery.seq) ^ delivery.sender.node.0),
            Output::Install(install) => self.fold(install.view.number),
            _ => self.fold(1),
        }
        match self.level {
            Text::Silent => {}
            Text::TimeLine => self.mention(now, host, output),
            Text::Everything => self.write_out(host, output),
        }
    }

    /// A line for what changes the membership.
    fn mention(&mut self, now: u64, host: usize, output: &Output) {
        let what = match output {
            Output::Install(i) => {
                let members: Vec<_> = i.view.members.iter().map(|member| member.id).collect();
                let active = i.view.active;
                format!("installs {}: {members:?}, {active} active", i.view.number)
            }
            Output::Excluded { view, decided, .. } => format!("excluded after {view}: {decided:?}"),
            Output::Left { view, .. } => format!("has left after {view}"),
            Output::Loaded { label, donor, .. } => format!("loads {label} from {donor:?}"),
            Output::Blocked { .. } => "is blocked".into(),
            Output::Resumed { .. } => "goes on".into(),
            Output::Refused { reason, .. } => format!("is refused: {reason:?}"),
            _ => return,
        };
        let _ = writeln!(self.text, "{:>10.3} n{host} {what}", now as f64 / 1000.0);
    }

    fn write_out(&mut self, host: usize, output: &Output) {
        let text = &mut self.text;
        let _ = match output {
            Output::Send { peer, traffic, frame } => {
                writeln!(text, "{:>14} n{host} > {peer:?} {traffic:?} {}", "", brief(frame))
            }
            Output::Deliver(d) => writeln!(
                text,
                "{:>14} n{host} > Deliver {} {:?} {}+{} {:?} {:?} at {:?}",
                "", d.view, d.sender, d.seq, d.count, d.class, d.level, d.position
            ),
            Output::Install(i) => {
                let members: Vec<_> = i.view.members.iter().map(|member| member.id).collect();
                writeln!(
                    text,
                    "{:>14} n{host} > Install {} {members:?} active {} cut {:?}",
                    "", i.view.number, i.view.active, i.cut
                )
            }
            Output::Load { label, donor, offset, bytes, .. } => {
                let end = offset + bytes.len() as u64;
                writeln!(text, "{:>14} n{host} > Load {label} {donor:?} {offset}..{end}", "")
            }
            other => writeln!(text, "{:>14} n{host} > {other:?}", ""),
        };
    }

    fn fold(&mut self, word: u64) {
        self.hash = mix(self.hash ^ word);
    }
}

/// A frame in a few words.
fn brief(frame: &Bytes) -> String {
    let kind = FrameKind::of(frame).map_or("no frame".into(), |kind| format!("{kind:?}"));
    format!("{kind} ({} bytes)", frame.len())
}
