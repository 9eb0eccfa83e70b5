//! What goes wrong.

use vsync_core::engine::{Input, Traffic};
use vsync_core::wire::{GroupId, MemberId, NodeId};

use super::host::{Host, Run};
use super::plan::Mode;
use super::queue::Event;
use super::seat::Phase;
use super::world::{Stage, World};

const UPDATES: &[Traffic] = &[Traffic::Updates, Traffic::Bulk];
const ALL: &[Traffic] = &[Traffic::Control, Traffic::Updates, Traffic::Bulk];

impl World {
    /// Trouble begins.
    pub(crate) fn trouble(&mut self) {
        let until = self.now + self.plan.trouble;
        self.stage = Stage::Trouble { until };
        self.books.trace.note(self.now, format_args!("trouble until {}", until / 1000));
        if self.plan.mode == Mode::Doomed {
            self.plan_doom();
        }
        self.next_fault();
    }

    fn next_fault(&mut self) {
        let at = self.now + 1 + self.dice.spread(self.plan.faults);
        self.queue.push(at, Event::Fault);
    }

    /// The next fault, and when the one after it comes.
    pub(crate) fn fault(&mut self) {
        if !matches!(self.stage, Stage::Trouble { .. }) {
            return;
        }
        self.next_fault();
        let weights: [u64; 11] = match self.plan.mode {
            Mode::Quiet => [0, 0, 80, 10, 0, 5, 5, 0, 0, 0, 0],
            Mode::Crowd => [8, 2, 20, 5, 5, 5, 8, 6, 25, 14, 2],
            Mode::Assassin => [6, 3, 12, 4, 10, 10, 14, 16, 10, 16, 2],
            Mode::Usual | Mode::Doomed => [14, 5, 22, 6, 12, 8, 14, 12, 7, 4, 2],
        };
        let kind = self.dice.weighted(&weights);
        let Some(host) = self.any_host() else { return };
        self.totals.faults += 1;
        match kind {
            0 => self.crash(host),
            1 => {
                self.crash(host);
                if let Some(other) = self.any_host() {
                    self.crash(other);
                }
            }
            2 => self.cut_one(host),
            3 => self.cut_all(host),
            4 => self.partition(),
            5 => self.go_silent(host),
            6 => self.slow_way(host),
            7 => self.pause(host),
            8 => self.come(),
            9 => self.leave(host),
            _ => self.abandon(host),
        }
    }

    /// Any host that lives.
    fn any_host(&mut self) -> Option<usize> {
        let alive: Vec<usize> =
            (0..self.hosts.len()).filter(|&host| self.hosts[host].is_alive()).collect();
        (!alive.is_empty()).then(|| self.dice.pick(&alive))
    }

    /// Whether a crash leaves every group its quorum, as far as one can see; sometimes it need not.
    pub(crate) fn may_crash(&mut self, host: usize) -> bool {
        if self.totals.crashes as usize >= self.plan.crashes {
            return false;
        }
        let groups = (0..self.plan.groups).map(GroupId);
        let keeps = groups.into_iter().all(|group| self.has_quorum(group, &[host]));
        keeps || self.dice.chance(40)
    }

    fn crash(&mut self, host: usize) {
        if !self.may_crash(host) {
            return;
        }
        if self.dice.chance(350) {
            // In the middle of what it sends next.
            self.marked.insert(host);
        } else {
            self.kill(host, &[]);
        }
    }

    /// A host is gone at once. The others may be told, or find out by its silence. If there are
    /// nodes that still hear all that it has sent, the others hear nothing of it.
    pub(crate) fn kill(&mut self, host: usize, hear: &[NodeId]) {
        let told = !self.dice.chance(250);
        let keep = self.dice.pick(&[0, 300, 900]);
        self.totals.crashes += 1;
        self.books.trace.note(self.now, format_args!("n{host} crashes, told: {told}"));
        self.hosts[host].run = Run::Dead;
        self.hosts[host].inbox.clear();
        let peer = self.hosts[host].node;
        for other in 0..self.hosts.len() {
            if other == host || !self.hosts[other].is_alive() {
                continue;
            }
            let keep = match hear {
                [] => keep,
                hear if hear.contains(&self.hosts[other].node) => 1000,
                _ => 0,
            };
            let both = self.network.cut(self.now, host, other, keep, &mut self.dice);
            let found = both.map(|both| both.into_iter().find(|end| end.0 == other));
            let mut at = found.flatten().map_or(self.now, |end| end.1);
            if !told {
                at = at.max(self.now + self.dice.between(800_000, 3_000_000));
            }
            let input = Input::Disconnected { peer };
            self.queue.push(at, Event::Input { host: other, input });
            if told && self.dice.chance(850) {
                let at = at + 1 + self.dice.spread(2_000);
                self.queue.push(at, Event::Input { host: other, input: Input::Ended { peer } });
            }
        }
        if self.hosts.len() < self.plan.most && self.dice.chance(500) {
            self.come();
        }
    }

    /// Breaks a connection; it comes back by itself.
    fn cut(&mut self, a: usize, b: usize, keep: u64, back: u64) {
        if let Some(both) = self.network.cut(self.now, a, b, keep, &mut self.dice) {
            self.totals.cuts += 1;
            self.books.trace.note(self.now, format_args!("n{a} - n{b} breaks"));
            self.tell(both, |peer| Input::Disconnected { peer });
            let found = both[0].1.max(both[1].1);
            self.queue.push(back.max(found + 1), Event::Mend { a, b });
        }
    }

    fn cut_one(&mut self, host: usize) {
        let other = self.dice.below(self.hosts.len() as u64) as usize;
        if other != host {
            let long = self.dice.chance(100);
            let back = self.now + 1 + self.dice.spread(if long { 1_500_000 } else { 20_000 });
            let keep = self.dice.pick(&[0, 500, 900]);
            self.cut(host, other, keep, back);
        }
    }

    fn cut_all(&mut self, host: usize) {
        let back = self.now + 1 + self.dice.spread(100_000);
        for other in 0..self.hosts.len() {
            if other != host {
                self.cut(host, other, 300, back);
            }
        }
    }

    /// Some hosts lose the others for a while: all pairs between the sides, or only some.
    fn partition(&mut self) {
        self.totals.partitions += 1;
        let side: Vec<bool> = (0..self.hosts.len()).map(|_| self.dice.chance(400)).collect();
        let partial = self.dice.chance(400);
        let lasts = self.dice.between(50_000, 1_500_000) * self.dice.pick(&[1, 1, 1, 4]);
        let back = self.now + lasts;
        for a in 0..self.hosts.len() {
            for b in 0..a {
                if side[a] != side[b] && !(partial && self.dice.chance(500)) {
                    let back = back + self.dice.spread(20_000);
                    self.cut(a, b, 200, back);
                }
            }
        }
    }

    /// Nothing from or to a host gets through for a while, but no connection breaks.
    fn go_silent(&mut self, host: usize) {
        self.totals.partitions += 1;
        let until = self.now + self.dice.between(50_000, 1_500_000);
        let both = self.dice.chance(600);
        self.books.trace.note(self.now, format_args!("n{host} silent until {}", until / 1000));
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
    fn slow_way(&mut self, host: usize) {
        let other = self.dice.below(self.hosts.len() as u64) as usize;
        if other == host {
            return;
        }
        self.totals.slow += 1;
        let (extra, lasts) = (self.dice.spread(150_000), self.dice.between(50_000, 800_000));
        let streams = if self.dice.chance(600) { UPDATES } else { ALL };
        self.books.trace.note(self.now, format_args!("n{host} to n{other} slow by {extra}"));
        self.network.slow(host, other, streams, extra, self.now + lasts);
    }

    /// A host stands still; often longer than the others have patience.
    fn pause(&mut self, host: usize) {
        if self.hosts[host].run != Run::Up {
            return;
        }
        self.totals.pauses += 1;
        let until = self.now + self.dice.between(10_000, 200_000) * self.dice.pick(&[1, 1, 10]);
        self.books.trace.note(self.now, format_args!("n{host} stops until {}", until / 1000));
        self.hosts[host].run = Run::Paused { until };
        self.queue.push(until, Event::Resume { host });
    }

    /// A pause is over: what arrived comes in one burst.
    pub(crate) fn resume(&mut self, host: usize) {
        let due = match self.hosts[host].run {
            Run::Paused { until } => until <= self.now,
            _ => false,
        };
        if !due {
            return;
        }
        self.books.trace.note(self.now, format_args!("n{host} goes on"));
        self.hosts[host].run = Run::Up;
        self.hosts[host].wake = None;
        let inbox = std::mem::take(&mut self.hosts[host].inbox);
        if self.dice.chance(500) {
            self.tick(host);
        }
        for input in inbox {
            self.feed(host, input);
        }
        self.close_soon(host);
        self.arm(host);
    }

    /// A new process, or one that is out, wants to be a member.
    fn come(&mut self) {
        let group = GroupId(self.dice.below(self.plan.groups));
        let idle: Vec<usize> = (0..self.hosts.len())
            .filter(|&host| {
                let seat = &self.hosts[host].seats[group.0 as usize];
                self.hosts[host].is_alive() && !seat.wanted && seat.phase == Phase::Out
            })
            .collect();
        let host = if !idle.is_empty() && self.dice.chance(500) {
            self.dice.pick(&idle)
        } else if self.hosts.len() < self.plan.most {
            self.spawn()
        } else {
            return;
        };
        self.want(host, group, 20_000);
    }

    fn leave(&mut self, host: usize) {
        let group = GroupId(self.dice.below(self.plan.groups));
        let alone = self.books.judge.newest(group).is_none_or(|view| view.active < 2);
        let seat = &self.hosts[host].seats[group.0 as usize];
        let may =
            self.hosts[host].run == Run::Up && seat.phase == Phase::Member && seat.is_active();
        if may && (!alone || self.dice.chance(100)) {
            let seat = self.hosts[host].seat(group);
            (seat.wanted, seat.phase) = (false, Phase::Leaving);
            self.step(host, Input::Leave { group });
        }
    }

    /// A membership is dropped, as by a crash, but its process lives.
    fn abandon(&mut self, host: usize) {
        let group = GroupId(self.dice.below(self.plan.groups));
        let seat = &self.hosts[host].seats[group.0 as usize];
        let (me, joining) = (seat.me, matches!(seat.phase, Phase::Joining(_)));
        let may = joining || (me.is_some() && self.may_crash(host));
        if self.hosts[host].run == Run::Up && may {
            self.totals.crashes += u64::from(me.is_some());
            let again = self.dice.chance(500);
            self.forget(host, group, again);
        }
    }

    /// Gives a membership up without a word.
    pub(crate) fn forget(&mut self, host: usize, group: GroupId, again: bool) {
        if self.hosts[host].run != Run::Up {
            return;
        }
        self.gone.extend(self.hosts[host].member(group));
        self.step(host, Input::Abandon { group });
        self.hosts[host].seat(group).reset(Phase::Out);
        self.hosts[host].seat(group).wanted = again;
        if again {
            self.want(host, group, 50_000);
        }
    }

    /// Some members hear all, but what they say beyond their circle is lost, until they go.
    fn plan_doom(&mut self) {
        let view = self.books.judge.newest(GroupId(0));
        let active: Vec<MemberId> = view.map_or(Vec::new(), |view| {
            view.members[..view.active].iter().map(|member| member.id).collect()
        });
        let host = |member: &MemberId| {
            let of = |host: &&Host| host.is_alive() && host.member(GroupId(0)) == Some(*member);
            self.hosts.iter().find(of).map(|host| host.index)
        };
        let mut circle: Vec<usize> = active.iter().filter_map(host).collect();
        // The sequencer, of lowest rank, often is one of them: it knows the most.
        let kept = usize::from(self.dice.chance(500)).min(circle.len());
        self.dice.shuffle(&mut circle[kept..]);
        circle.truncate((active.len().saturating_sub(1)) / 2);
        let at = self.now + self.dice.between(20_000, 400_000);
        for _ in 0..self.plan.guests {
            // They come in, but do not get their checkpoint before the end.
            self.lazy = true;
            let host = self.spawn();
            self.want(host, GroupId(0), 2_000);
            circle.push(host);
        }
        let streams = if self.dice.chance(800) { UPDATES } else { ALL };
        // Or: only what the sequencer says is lost, and who heard it goes with it.
        let sequencer = active.first().map(|first| first.node);
        let order_only = self.dice.chance(400);
        for &from in &circle {
            let silent = !order_only || Some(self.hosts[from].node) == sequencer;
            for to in 0..self.hosts.len() {
                if to != from && !circle.contains(&to) && silent && self.dice.chance(850) {
                    self.network.slow(from, to, streams, 2_000_000, at);
                }
            }
        }
        self.books.trace.note(self.now, format_args!("doomed: {circle:?} at {}", at / 1000));
        self.doomed = circle;
        self.queue.push(at, Event::Doom);
    }

    /// The doomed go together, or lose what they have not told.
    pub(crate) fn doom(&mut self) {
        self.lazy = false;
        let soft = self.dice.chance(300);
        let doomed = std::mem::take(&mut self.doomed);
        self.totals.faults += 1;
        for &host in &doomed {
            let back = self.now + 1 + self.dice.spread(300_000);
            for other in 0..self.hosts.len() {
                if other != host && !doomed.contains(&other) {
                    self.cut(host, other, 0, back);
                }
            }
        }
        for &host in &doomed {
            let spared = soft && self.dice.chance(600);
            if !spared && self.hosts[host].is_alive() {
                self.kill(host, &[]);
            }
        }
    }
}
