//! The course of a run: the first members come in, then trouble, then all is healed and must
//! come to rest.

use super::host::Phase;
use super::judge::protocol;
use super::world::{Event, World};
use crate::Replicated;
use crate::testing::check::Failure;

/// How often somebody looks how far things are.
pub(super) const LOOK: u64 = 50_000;

/// How long the first members may take to come in before trouble begins anyway.
const BOOT: u64 = 4_000_000;

/// How long the trouble lasts at most.
const TROUBLE: u64 = 10_000_000;

/// How long a healed group may take to come to rest.
const PATIENCE: u64 = 30_000_000;

/// How far a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    Boot,
    Trouble { since: u64 },
    Healed { since: u64 },
    Over,
}

impl<S: Replicated> World<'_, S> {
    /// Looks how far things are.
    pub(super) fn look(&mut self) -> Result<(), Failure> {
        self.queue.push(self.now + LOOK, Event::Look);
        for host in 0..self.hosts.len() {
            if self.hosts[host].alive {
                self.fire(host)?;
            }
        }
        match self.stage {
            Stage::Boot => {
                let active = self.judge.newest().map_or(0, |view| view.active);
                if active == self.sim.members || self.now > BOOT {
                    self.stage = Stage::Trouble { since: self.now };
                    self.story.tell(self.now, None, "trouble begins".to_owned());
                    self.queue.push(self.now + self.dice.spread(self.pace), Event::Fault);
                }
            }
            Stage::Trouble { since } => {
                let said = self.seen.sent >= self.sim.length as u64;
                let lasts = self.sim.lasting.is_none_or(|lasting| self.now >= since + lasting);
                if (said && lasts) || self.now > since + self.sim.lasting.unwrap_or(0) + TROUBLE {
                    self.heal();
                }
            }
            Stage::Healed { .. } if self.sim.requests.is_some() && self.asks.open().is_some() => {
                self.ask_again();
                return self.wait_for_answers();
            }
            Stage::Healed { since } => match self.rest() {
                Ok(()) => {
                    self.seen.healed += 1;
                    self.stage = Stage::Over;
                }
                Err(_) if self.now < since + PATIENCE => {}
                // Those who are gone may have known what nobody else does.
                Err(_) if self.losses => self.stage = Stage::Over,
                Err(why) => return protocol(format!("the group does not come to rest: {why}")),
            },
            Stage::Over => {}
        }
        Ok(())
    }

    /// Some requests are not answered yet: they are waited for as rest is.
    fn wait_for_answers(&mut self) -> Result<(), Failure> {
        let Stage::Healed { since } = self.stage else { return Ok(()) };
        if self.now < since + PATIENCE {
            return Ok(());
        }
        match self.rest() {
            Ok(()) => self.answered(),
            Err(_) if self.losses => {
                self.stage = Stage::Over;
                Ok(())
            }
            Err(why) => protocol(format!("the group does not come to rest: {why}")),
        }
    }

    /// Ends all trouble: what lives is connected.
    fn heal(&mut self) {
        self.stage = Stage::Healed { since: self.now };
        self.story.tell(self.now, None, "all is healed".to_owned());
        self.network.calm(self.now);
        for host in 0..self.hosts.len() {
            for other in 0..host {
                self.mend(host, other);
            }
            if self.hosts[host].wanted {
                self.queue.push(self.now + 2, Event::Join { host });
            }
        }
    }

    /// Whether all who want to be are members of one view, with nothing under way.
    fn rest(&self) -> Result<(), String> {
        let newest = self.judge.newest().map_or(0, |view| view.number);
        for (host, it) in self.hosts.iter().enumerate().filter(|(_, it)| it.alive) {
            let replica = &it.replica;
            if !it.wanted && replica.phase == Phase::Out {
                continue;
            }
            if replica.number() != newest {
                return Err(format!("n{host} is in view {}, not {newest}", replica.number()));
            }
            replica.at_rest(&self.judge).map_err(|why| format!("n{host} {why}"))?;
        }
        Ok(())
    }
}
