//! What members do: they join, send updates, and look after their memberships.

use std::sync::Arc;

use vsync_core::engine::{Input, Run};
use vsync_core::wire::NodeId;

use super::course::Stage;
use super::host::{Host, Phase, Replica};
use super::serving::Serving;
use super::world::{Event, World};
use crate::Replicated;
use crate::runtime::callers::Waiter;
use crate::runtime::inner::Sending;
use crate::testing::check::{Draw, Failure};
use crate::testing::stage::{GROUP, guarded};

/// What a clock of the wall shows at the beginning: some day in 2024, in microseconds.
pub(super) const EPOCH: u64 = 1_720_000_000_000_000;

/// Updates that a member submits together.
pub(super) struct Submission {
    pub(super) runs: Vec<Run>,
    pub(super) body: Vec<u8>,
    pub(super) draws: Vec<Draw>,
    /// Who waits for what they give, by their places.
    pub(super) waiters: Vec<(u64, Waiter)>,
    /// Whether somebody waits; where that is not said, it is drawn.
    pub(super) urgent: Option<bool>,
}

impl<S: Replicated> World<'_, S> {
    /// Not in the group.
    pub(super) fn replica(&self, phase: Phase) -> Replica<S> {
        let asked = self.sim.requests.is_some();
        let serving = asked.then(|| Serving::new((self.sim.start)()));
        let mut replica = Replica::new(phase);
        replica.serving = serving;
        replica
    }

    /// From now on a node wants to be a member.
    pub(super) fn want(&mut self, host: usize, soon: u64) {
        self.hosts[host].wanted = true;
        let at = self.now + 1 + self.dice.spread(soon);
        self.queue.push(at, Event::Join { host });
    }

    /// A membership is over; who still wants one asks again.
    pub(super) fn ended(&mut self, host: usize, soon: u64) {
        self.hosts[host].replica = self.replica(Phase::Out);
        if self.hosts[host].wanted {
            self.want(host, soon);
        }
    }

    /// A member sends something, and will again.
    pub(super) fn labour(&mut self, host: usize) -> Result<(), Failure> {
        let it = &self.hosts[host];
        if !it.alive || matches!(self.stage, Stage::Healed { .. } | Stage::Over) {
            return Ok(());
        }
        let ready = it.replica.phase == Phase::Member && it.replica.is_active();
        let at = self.now + 1 + self.dice.spread(self.work);
        self.queue.push(at, Event::Work { host });
        if !ready || self.stage == Stage::Boot {
            return Ok(());
        }
        if self.sim.requests.is_some() && self.dice.chance(500) {
            self.ask(host)?;
        }
        let (mut body, mut runs, mut draws) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..=self.dice.weighted(&[70, 20, 10]) {
            let update = guarded("drawing an update", || (self.sim.updates)(&mut self.draws))?;
            let draw = Draw::new::<S>(&update)?;
            if draw.method.check(S::VERSION).is_err() {
                // It has ended: a node would not send it.
                continue;
            }
            let replica = &self.hosts[host].replica;
            if (body.len() + 4 + draw.bytes.len()) as u64 > replica.credit {
                break;
            }
            body.extend(framed(&draw.bytes));
            let (class, level) = (draw.method.class, draw.method.level);
            runs.push(Run { class, level, count: 1 });
            self.called.insert(draw.method.name);
            self.story.tell(self.now, host, format!("sends {}", draw.words));
            draws.push(draw);
        }
        if runs.is_empty() {
            return Ok(());
        }
        self.seen.sent += runs.len() as u64;
        self.submit(host, Submission { runs, body, draws, waiters: Vec::new(), urgent: None })
    }

    /// A coordinator asks for the timers that are due.
    pub(super) fn fire(&mut self, host: usize) -> Result<(), Failure> {
        let wall = EPOCH + self.hosts[host].clock.local(self.now);
        while let Some(Sending { method, update: bytes }) = self.hosts[host].replica.due(wall) {
            let (class, level) = (method.class, method.level);
            let body = framed(&bytes);
            let draws = vec![Draw { method, bytes, words: "what is due".to_owned() }];
            let runs = vec![Run { class, level, count: 1 }];
            let (waiters, urgent) = (Vec::new(), None);
            self.submit(host, Submission { runs, body, draws, waiters, urgent })?;
        }
        Ok(())
    }

    pub(super) fn submit(&mut self, host: usize, sent: Submission) -> Result<(), Failure> {
        let Submission { runs, body, draws, waiters, urgent } = sent;
        let replica = &mut self.hosts[host].replica;
        replica.credit = replica.credit.saturating_sub(body.len() as u64);
        if let Some(serving) = &mut replica.serving {
            serving.submitted(draws.len() as u64, waiters);
        }
        replica.pending.extend(draws.into_iter().map(Arc::new));
        let wall = EPOCH + self.hosts[host].clock.local(self.now);
        let urgent = urgent.unwrap_or_else(|| self.dice.chance(300));
        let input = Input::Submit { group: GROUP, runs, body: body.into(), wall, urgent };
        self.step(host, input)
    }

    /// A node looks after its membership: one that it wants and has not, or one that is blocked.
    pub(super) fn look_after(&mut self, host: usize) -> Result<(), Failure> {
        let Host { alive, wanted, replica, .. } = &self.hosts[host];
        if !alive {
            return Ok(());
        }
        let nonce = match replica.phase {
            Phase::Joining(nonce) if nonce > 0 => nonce,
            Phase::Out if *wanted => {
                self.nonce += 1;
                self.nonce
            }
            Phase::Member if replica.blocked => self.nonce,
            Phase::Leaving if replica.blocked => {
                // As a shutdown that has reached its deadline.
                self.losses = true;
                self.step(host, Input::Abandon { group: GROUP })?;
                self.ended(host, 50_000);
                return Ok(());
            }
            _ => return Ok(()),
        };
        let contacts = self.contacts(host);
        if !contacts.is_empty() {
            let replica = &mut self.hosts[host].replica;
            if replica.phase == Phase::Out {
                replica.phase = Phase::Joining(nonce);
            }
            let config = self.config(host);
            self.step(host, Input::Join { group: GROUP, contacts, nonce, config })?;
        }
        let at = self.now + self.dice.between(200_000, 800_000);
        self.queue.push(at, Event::Join { host });
        Ok(())
    }

    /// Members that a directory would name.
    fn contacts(&mut self, host: usize) -> Vec<NodeId> {
        let serves = |(other, it): (usize, &Host<S>)| {
            let member = it.replica.phase == Phase::Member && it.replica.is_active();
            (other != host && it.alive && member).then_some(it.node)
        };
        let mut list: Vec<NodeId> = self.hosts.iter().enumerate().filter_map(serves).collect();
        self.dice.shuffle(&mut list);
        list.truncate(3);
        list
    }
}

/// An update in the body of a submission.
fn framed(update: &[u8]) -> Vec<u8> {
    [&(update.len() as u32).to_le_bytes(), update].concat()
}
