//! What goes wrong in a simulation.

use vsync_core::engine::Input;

use super::course::Stage;
use super::host::Phase;
use super::world::{Event, World};
use crate::Replicated;
use crate::testing::check::Failure;
use crate::testing::stage::GROUP;

/// Nodes beyond the first members, at most, in all and at a time.
const MORE: usize = 10;
const MORE_ALIVE: usize = 3;

impl<S: Replicated> World<'_, S> {
    /// Something goes wrong, and something will again.
    pub(super) fn fault(&mut self) -> Result<(), Failure> {
        if !matches!(self.stage, Stage::Trouble { .. }) {
            return Ok(());
        }
        let at = self.now + 1 + self.dice.spread(self.pace);
        self.queue.push(at, Event::Fault);
        let faults = self.sim.faults;
        let odds = [
            (faults.breaks, 30),
            (faults.partitions, 15),
            (faults.silences, 12),
            (faults.crashes, 18),
            (faults.joins, 15),
            (faults.leaves, 10),
        ];
        let odds = odds.map(|(happens, weight)| if happens { weight } else { 0 });
        if odds.iter().sum::<u64>() == 0 {
            return Ok(());
        }
        let kind = self.dice.weighted(&odds);
        let host = self.dice.below(self.hosts.len() as u64) as usize;
        if !self.hosts[host].alive {
            return Ok(());
        }
        match kind {
            0 => self.break_one(host),
            1 => self.partition(),
            2 => self.go_silent(host),
            3 => self.crash(host),
            4 => self.come(),
            _ => return self.leave(host),
        }
        Ok(())
    }

    fn befell(&mut self, kind: &'static str) {
        self.seen.befell(kind, 1);
    }

    /// Breaks a connection; it comes back by itself.
    fn cut(&mut self, a: usize, b: usize, back: u64) {
        let keep = self.dice.pick(&[0, 500, 900]);
        if let Some(both) = self.network.cut(self.now, a, b, keep, &mut self.dice) {
            let back = back.max(both[0].1.max(both[1].1) + 1);
            self.inform(both, |peer| Input::Disconnected { peer });
            self.queue.push(back, Event::Mend { a, b });
        }
    }

    fn break_one(&mut self, host: usize) {
        let other = self.dice.below(self.hosts.len() as u64) as usize;
        if other == host || !self.hosts[other].alive {
            return;
        }
        let long = self.dice.chance(100);
        let back = self.now + 1 + self.dice.spread(if long { 1_000_000 } else { 20_000 });
        self.story.tell(self.now, None, format!("n{host} and n{other} lose their connection"));
        self.befell("breaks");
        self.cut(host, other, back);
    }

    /// Some nodes lose the others for a while.
    fn partition(&mut self) {
        let side: Vec<bool> = (0..self.hosts.len()).map(|_| self.dice.chance(400)).collect();
        let back = self.now + self.dice.between(50_000, 1_200_000);
        let away: Vec<String> = (0..side.len())
            .filter(|&host| side[host] && self.hosts[host].alive)
            .map(|host| format!("n{host}"))
            .collect();
        let (away, until) = (away.join(" "), back / 1000);
        self.story.tell(self.now, None, format!("{away} lose the others until {until}"));
        self.befell("partitions");
        for a in 0..side.len() {
            for b in (0..a).filter(|&b| side[a] != side[b]) {
                let back = back + self.dice.spread(20_000);
                self.cut(a, b, back);
            }
        }
    }

    /// Nothing from or to a node gets through for a while, but no connection breaks.
    fn go_silent(&mut self, host: usize) {
        let until = self.now + self.dice.between(50_000, 1_200_000);
        self.story.tell(self.now, host, format!("is not heard until {}", until / 1000));
        self.befell("silences");
        for other in (0..self.hosts.len()).filter(|&other| other != host) {
            self.network.hold(host, other, until);
            self.network.hold(other, host, until);
        }
    }

    /// Whether the group can do without a node: a majority of the newest view lives without it and
    /// is in that view.
    fn may_go(&self, host: usize) -> bool {
        let Some(newest) = self.judge.newest() else { return false };
        let lives = |other: &usize| {
            let it = &self.hosts[*other];
            let member = it.replica.phase == Phase::Member && it.replica.is_active();
            it.alive && member && it.replica.number() == newest.number && *other != host
        };
        2 * (0..self.hosts.len()).filter(lives).count() > newest.active
    }

    /// A node is gone at once; another one comes for it. The others are told, or find out by its
    /// silence.
    fn crash(&mut self, host: usize) {
        if !self.may_go(host) {
            return;
        }
        self.losses = true;
        self.befell("crashes");
        self.story.tell(self.now, host, "crashes".to_owned());
        self.hosts[host].alive = false;
        let (peer, told, keep) =
            (self.hosts[host].node, self.dice.chance(750), self.dice.pick(&[0, 300, 900]));
        for other in 0..self.hosts.len() {
            if other == host || !self.hosts[other].alive {
                continue;
            }
            let both = self.network.cut(self.now, host, other, keep, &mut self.dice);
            let found = both.and_then(|both| both.into_iter().find(|end| end.0 == other));
            let mut at = found.map_or(self.now, |end| end.1);
            if !told {
                at = at.max(self.now + self.dice.between(800_000, 2_000_000));
            }
            let input = Input::Disconnected { peer };
            self.queue.push(at, Event::Input { host: other, input });
            if told {
                let at = at + 1 + self.dice.spread(2_000);
                self.queue.push(at, Event::Input { host: other, input: Input::Ended { peer } });
            }
        }
        if self.hosts.len() < self.sim.members + MORE {
            let another = self.spawn();
            self.want(another, 200_000);
        }
    }

    /// One more node comes and joins.
    fn come(&mut self) {
        let alive = self.hosts.iter().filter(|it| it.alive).count();
        if self.hosts.len() >= self.sim.members + MORE || alive >= self.sim.members + MORE_ALIVE {
            return;
        }
        self.befell("joins");
        let host = self.spawn();
        self.story.tell(self.now, host, "comes".to_owned());
        self.want(host, 20_000);
    }

    /// A member leaves, and comes back as another one or does not.
    fn leave(&mut self, host: usize) -> Result<(), Failure> {
        let replica = &self.hosts[host].replica;
        if replica.phase != Phase::Member || !replica.is_active() || !self.may_go(host) {
            return Ok(());
        }
        self.losses = true;
        self.befell("leaves");
        self.story.tell(self.now, host, "leaves".to_owned());
        self.hosts[host].replica.phase = Phase::Leaving;
        self.hosts[host].wanted = self.dice.chance(500);
        self.step(host, Input::Leave { group: GROUP })
    }
}
