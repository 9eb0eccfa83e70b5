//! Histories: what a replica is taken through, how it looks afterwards, and what of it can be left
//! out.

use std::sync::Arc;

use vsync_core::engine::Class;
use vsync_sim::Dice;

use super::pool::{Draw, Pool};
use super::{Check, Failure};
use crate::Replicated;
use crate::testing::stage::{FIRST, Said, Stage};
use crate::view::Time;

/// One thing that happens to a replica.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// An update is applied.
    Update(Sent),
    /// A view of these members is installed.
    View(Vec<usize>),
}

/// An update as it was sent.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    pub(crate) draw: Arc<Draw>,
    pub(crate) sender: usize,
    pub(crate) time: Time,
}

/// The beginning of the replicated time of all histories: some day in 2024, in microseconds.
const EPOCH: Time = 1_720_000_000_000_000;

/// Who is in the view, while a history is made.
pub(crate) struct Author<'a> {
    pub(crate) pool: &'a Pool,
    pub(crate) dice: &'a mut Dice,
    members: Vec<usize>,
    next: usize,
    time: Time,
}

impl<'a> Author<'a> {
    /// One that begins with the first view.
    pub(crate) fn new(pool: &'a Pool, dice: &'a mut Dice) -> Self {
        Author { pool, dice, members: (0..FIRST).collect(), next: FIRST, time: EPOCH }
    }

    /// A history of so many steps.
    pub(crate) fn history(&mut self, length: usize) -> Vec<Step> {
        (0..length).map(|_| self.step()).collect()
    }

    fn step(&mut self) -> Step {
        if !self.dice.chance(120) {
            let draw = self.pool.any(self.dice);
            let sender = self.dice.pick(&self.members);
            return Step::Update(self.sent(draw, sender));
        }
        // Somebody goes, somebody comes; two always stay.
        if self.members.len() > 2 && self.dice.chance(500) {
            let gone = self.dice.below(self.members.len() as u64) as usize;
            self.members.remove(gone);
        } else {
            self.members.push(self.next);
            self.next += 1;
        }
        Step::View(self.members.clone())
    }

    /// An update, sent now.
    pub(crate) fn sent(&mut self, draw: Arc<Draw>, sender: usize) -> Sent {
        self.time += 1 + self.dice.spread(20_000);
        Sent { draw, sender, time: self.time }
    }

    /// Two members of the view.
    pub(crate) fn two(&mut self) -> (usize, usize) {
        let mut members = self.members.clone();
        self.dice.shuffle(&mut members);
        (members[0], members[1])
    }
}

impl<S: Replicated> Stage<S> {
    /// Takes the state through one step.
    pub(crate) fn step(&mut self, step: &Step) -> Result<Said, Failure> {
        match step {
            Step::Update(sent) => {
                self.fire(sent.time)?;
                self.send(sent)
            }
            Step::View(members) => self.install(members).map(|()| None),
        }
    }

    /// Applies an update, and leaves timers alone.
    pub(crate) fn send(&mut self, sent: &Sent) -> Result<Said, Failure> {
        let total = sent.draw.method.class == Class::Total;
        self.apply(&sent.draw.bytes, sent.sender, (sent.time, total)).map_err(|mut failure| {
            failure.report = format!("{}: {}", sent.draw.words, failure.report);
            failure
        })
    }
}

/// The state after a history.
pub(crate) fn after<S: Replicated>(
    check: &Check<S>,
    history: &[Step],
) -> Result<Stage<S>, Failure> {
    let mut stage = Stage::new((check.start)())?;
    for (index, step) in history.iter().enumerate() {
        stage.step(step).map_err(|failure| at(failure, &history[..=index]))?;
    }
    Ok(stage)
}

/// Says after which history something failed.
pub(crate) fn at(mut failure: Failure, history: &[Step]) -> Failure {
    failure.report += &format!("\n\nin this history:\n{}", lines(history));
    failure
}

/// A history to read.
pub(crate) fn lines(history: &[Step]) -> String {
    if history.is_empty() {
        return "  (nothing: the state that it begins with, in its first view)\n".to_owned();
    }
    let mut text = String::new();
    for (index, step) in history.iter().enumerate() {
        let what = match step {
            Step::Update(sent) => format!("member {}: {}", sent.sender, sent.draw.words),
            Step::View(members) => format!("a view of the members {members:?}"),
        };
        text += &format!("  {}. {what}\n", index + 1);
    }
    text
}

/// Leaves steps out as long as it still fails.
pub(crate) fn shrink(history: Vec<Step>, mut fails: impl FnMut(&[Step]) -> bool) -> Vec<Step> {
    let mut rest = history;
    loop {
        let before = rest.len();
        // Halves first, then smaller parts, then single steps.
        let mut part = rest.len().div_ceil(2).max(1);
        loop {
            let mut from = 0;
            while from < rest.len() {
                let to = (from + part).min(rest.len());
                let shorter: Vec<Step> = [&rest[..from], &rest[to..]].concat();
                if fails(&shorter) {
                    rest = shorter;
                } else {
                    from = to;
                }
            }
            if part == 1 {
                break;
            }
            part /= 2;
        }
        if rest.len() == before {
            return rest;
        }
    }
}
