//! What the members have to say.

use bytes::Bytes;
use vsync_core::engine::{Class, Input, Level, Run};
use vsync_core::wire::GroupId;

use super::event::Event;
use super::host::Run as State;
use super::judge::Submitted;
use super::seat::Phase;
use super::world::{Stage, World};

/// One flush of so many is followed by a view that nobody comes or goes by.
const RENEW: u64 = 8;
/// For how long an application lags.
const LAG: u64 = 60_000;

impl World {
    /// A member submits something, and will again.
    pub(crate) fn work(&mut self, host: usize, group: GroupId) {
        if !self.hosts[host].is_alive() || matches!(self.stage, Stage::Healed { .. }) {
            return;
        }
        let at = self.now + 1 + self.dice.spread(self.plan.work);
        self.queue.push(at, Event::Work { host, group });
        if !self.may_submit(host, group) {
            return;
        }
        let count = 1 + self.dice.weighted(&[70, 20, 10]);
        let runs: Vec<(Class, Level, u32)> = (0..count)
            .map(|_| {
                let class = self.dice.pick(&self.plan.classes);
                let stable = self.dice.chance(self.plan.stable);
                let level = if stable { Level::Stable } else { Level::Optimistic };
                (class, level, 1 + self.dice.weighted(&[60, 20, 10, 9, 1]) as u32)
            })
            .collect();
        self.submit(host, group, &runs);
        if self.dice.chance(60) {
            self.flush(host, group);
        }
    }

    fn may_submit(&mut self, host: usize, group: GroupId) -> bool {
        let up = self.hosts[host].run == State::Up;
        let seat = self.hosts[host].seat(group);
        up && seat.phase == Phase::Member && seat.is_active() && seat.credit > 0
    }

    /// Submits runs, as far as the credit goes; seldom a little more.
    pub(crate) fn submit(&mut self, host: usize, group: GroupId, runs: &[(Class, Level, u32)]) {
        let credit = self.hosts[host].seat(group).credit;
        let beyond = self.dice.chance(30);
        let (mut body, mut list, mut updates) = (Vec::new(), Vec::new(), Vec::new());
        for &(class, level, wanted) in runs {
            let mut count = 0;
            for _ in 0..wanted {
                let length = self.length();
                if (body.len() + 4 + length) as i64 > credit && !beyond {
                    break;
                }
                self.update += 1;
                body.extend_from_slice(&(length as u32).to_le_bytes());
                body.extend_from_slice(&self.update.to_le_bytes());
                body.resize(body.len() + length - 8, self.update as u8);
                let length = length as u32;
                updates.push(Submitted { id: self.update, length, class, level });
                count += 1;
            }
            if count > 0 {
                list.push(Run { class, level, count });
            }
        }
        if updates.is_empty() {
            return;
        }
        self.totals.updates += updates.len() as u64;
        let submitted = (&updates[..], body.len() as u64);
        self.hosts[host].submit(self.now, group, submitted, &mut self.books);
        let wall = self.hosts[host].clock.local(self.now);
        let urgent = self.dice.chance(300);
        let body = Bytes::from(body);
        self.step(host, Input::Submit { group, runs: list, body, wall, urgent });
    }

    fn length(&mut self) -> usize {
        if self.dice.chance(self.plan.long) {
            // Never more than a window: such an update could not be sent at all.
            let most = (self.plan.config.window as u64 / 2).min(4_000);
            self.dice.between(8, most.max(8)) as usize
        } else {
            8 + self.dice.spread(16) as usize
        }
    }

    /// Asks for a flush.
    pub(crate) fn flush(&mut self, host: usize, group: GroupId) {
        if self.hosts[host].run != State::Up {
            return;
        }
        self.totals.flushes += 1;
        let id = self.totals.flushes;
        self.hosts[host].flush(self.now, group, id, &mut self.books);
        self.step(host, Input::Flush { group, id });
        if id.is_multiple_of(RENEW) {
            // Without dice: runs in which this does not happen stay as they were.
            self.step(host, Input::Renew { group });
        }
        if id % RENEW == RENEW / 2 {
            self.step(host, Input::Hold { group, on: true });
            let end = Input::Hold { group, on: false };
            self.queue.push(self.now + LAG, Event::Input { host, input: end });
        }
    }

    /// Once all is healed: everybody says one thing of each kind, and waits for it.
    pub(crate) fn serve(&mut self) {
        for host in 0..self.hosts.len() {
            for group in (0..self.plan.groups).map(GroupId) {
                if !self.may_submit(host, group) {
                    continue;
                }
                let classes = self.plan.classes.clone();
                let runs: Vec<_> = classes
                    .into_iter()
                    .flat_map(|class| [(class, Level::Optimistic, 1), (class, Level::Stable, 1)])
                    .collect();
                self.submit(host, group, &runs);
                self.flush(host, group);
            }
        }
    }
}
