//! What goes wrong between hosts: breaks, partitions, silence, delays.

use vsync_core::engine::{Input, Traffic};

use super::event::Event;
use super::world::World;

/// What a slow way often means: control still gets through.
pub(crate) const UPDATES: &[Traffic] = &[Traffic::Updates, Traffic::Bulk];
/// Everything.
pub(crate) const ALL: &[Traffic] = &[Traffic::Control, Traffic::Updates, Traffic::Bulk];

impl World {
    /// Breaks a connection; it comes back by itself.
    pub(crate) fn cut(&mut self, a: usize, b: usize, keep: u64, back: u64) {
        if let Some(both) = self.network.cut(self.now, a, b, keep, &mut self.dice) {
            self.totals.cuts += 1;
            let back = back.max(both[0].1.max(both[1].1) + 1);
            self.note(format_args!("n{a} - n{b} breaks until {}", back / 1000));
            self.tell(both, |peer| Input::Disconnected { peer });
            self.queue.push(back, Event::Mend { a, b });
        }
    }

    /// Any other host.
    fn other(&mut self, host: usize) -> Option<usize> {
        let other = self.dice.below(self.hosts.len() as u64) as usize;
        (other != host).then_some(other)
    }

    /// All pairs of hosts.
    fn pairs(&self) -> Vec<(usize, usize)> {
        (0..self.hosts.len()).flat_map(|a| (0..a).map(move |b| (a, b))).collect()
    }

    pub(crate) fn cut_one(&mut self, host: usize) {
        if let Some(other) = self.other(host) {
            let long = self.dice.chance(100);
            let back = self.now + 1 + self.dice.spread(if long { 1_500_000 } else { 20_000 });
            let keep = self.dice.pick(&[0, 500, 900]);
            self.cut(host, other, keep, back);
        }
    }

    pub(crate) fn cut_all(&mut self, host: usize) {
        let back = self.now + 1 + self.dice.spread(100_000);
        for other in 0..self.hosts.len() {
            if other != host {
                self.cut(host, other, 300, back);
            }
        }
    }

    /// A connection that breaks and comes back, again and again.
    pub(crate) fn flap(&mut self, host: usize) {
        let Some(other) = self.other(host) else { return };
        self.totals.flaps += 1;
        let (times, up) = (self.dice.between(3, 8), self.dice.pick(&[200, 3_000, 60_000]));
        let mut at = self.now;
        for _ in 0..times {
            let back = at + 1 + self.dice.spread(up);
            self.queue.push(at, Event::Cut { a: host, b: other, back });
            at = back + 1 + self.dice.spread(up);
        }
    }

    /// One link is gone for longer than its ends bear, while others reach both.
    pub(crate) fn lose_link(&mut self, host: usize) {
        let Some(other) = self.other(host) else { return };
        self.totals.lost_links += 1;
        let lasts = self.plan.engine.link_timeout + self.dice.between(500_000, 2_500_000);
        self.cut(host, other, 0, self.now + lasts);
    }

    /// Some hosts lose the others for a while: all pairs between the sides, or only some.
    pub(crate) fn partition(&mut self) {
        self.totals.partitions += 1;
        let side: Vec<bool> = (0..self.hosts.len()).map(|_| self.dice.chance(400)).collect();
        let partial = self.dice.chance(400);
        let back = self.now + self.while_apart();
        for (a, b) in self.pairs() {
            if side[a] != side[b] && !(partial && self.dice.chance(500)) {
                let back = back + self.dice.spread(20_000);
                self.cut(a, b, 200, back);
            }
        }
    }

    fn while_apart(&mut self) -> u64 {
        self.dice.between(50_000, 1_500_000) * self.dice.pick(&[1, 1, 1, 4])
    }

    /// Only one host is connected to all, and nobody else to anybody.
    pub(crate) fn hub(&mut self, host: usize) {
        self.totals.partitions += 1;
        self.totals.hubs += 1;
        let back = self.now + self.while_apart();
        for (a, b) in self.pairs() {
            if a != host && b != host {
                let back = back + self.dice.spread(20_000);
                self.cut(a, b, 200, back);
            }
        }
    }

    /// Every connection breaks: nobody has a quorum until they are back.
    pub(crate) fn shatter(&mut self) {
        self.totals.shatters += 1;
        let back = self.now + self.while_apart();
        for (a, b) in self.pairs() {
            let back = back + self.dice.spread(50_000);
            self.cut(a, b, 200, back);
        }
    }

    /// Nothing from or to a host gets through for a while, but no connection breaks.
    pub(crate) fn go_silent(&mut self, host: usize) {
        self.totals.silences += 1;
        let until = self.now + self.dice.between(50_000, 1_500_000);
        let both = self.dice.chance(600);
        let ways = if both { "" } else { ", but hears" };
        self.note(format_args!("n{host} silent until {}{ways}", until / 1000));
        for other in 0..self.hosts.len() {
            if other != host {
                self.network.hold(host, other, until);
                if both {
                    self.network.hold(other, host, until);
                }
            }
        }
    }

    /// One direction between two hosts is slow for a while.
    pub(crate) fn slow_way(&mut self, host: usize) {
        let Some(other) = self.other(host) else { return };
        self.totals.slow += 1;
        let (extra, lasts) = (self.dice.spread(150_000), self.dice.between(50_000, 800_000));
        let streams = if self.dice.chance(600) { UPDATES } else { ALL };
        self.note(format_args!("n{host} to n{other} slow by {extra}"));
        self.network.slow(host, other, streams, extra, self.now + lasts);
    }

    /// All that goes to a host is slow for long: the others' windows fill.
    pub(crate) fn slow_member(&mut self, host: usize) {
        self.totals.slow_hosts += 1;
        let (extra, lasts) =
            (self.dice.pick(&[100_000, 400_000]), self.dice.between(500_000, 2_500_000));
        self.note(format_args!("all to n{host} slow by {extra}"));
        for other in 0..self.hosts.len() {
            if other != host {
                self.network.slow(other, host, UPDATES, extra, self.now + lasts);
            }
        }
    }
}
