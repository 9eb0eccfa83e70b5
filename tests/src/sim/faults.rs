//! What goes wrong: the next fault, and those that befall hosts. Links are in `links.rs`.

use vsync_core::engine::Input;
use vsync_core::wire::{GroupId, NodeId, View};

use super::event::Event;
use super::host::Run;
use super::plan::Mode;
use super::seat::Phase;
use super::traps::{STEPS, Step, Trap};
use super::world::{Stage, World};

/// The planned faults, and how often each comes in a kind of trouble: quiet, usual (and doomed),
/// assassin, crowd.
const FAULTS: [(Fault, [u64; 4]); 19] = [
    (Fault::Crash, [0, 12, 5, 8]),
    (Fault::CrashTwo, [0, 4, 3, 2]),
    (Fault::Trap, [0, 10, 14, 8]),
    (Fault::CutOne, [80, 18, 10, 20]),
    (Fault::CutAll, [10, 5, 4, 5]),
    (Fault::Flap, [10, 4, 3, 3]),
    (Fault::LoseLink, [0, 3, 1, 1]),
    (Fault::Partition, [0, 9, 8, 4]),
    (Fault::Hub, [0, 2, 2, 1]),
    (Fault::Shatter, [0, 2, 2, 1]),
    (Fault::Silence, [5, 8, 10, 5]),
    (Fault::SlowWay, [5, 11, 12, 8]),
    (Fault::SlowMember, [0, 3, 2, 2]),
    (Fault::Pause, [0, 11, 16, 6]),
    (Fault::Come, [0, 6, 9, 20]),
    (Fault::Leave, [0, 4, 16, 12]),
    (Fault::Transfer, [0, 3, 2, 8]),
    (Fault::Crowd, [0, 2, 2, 8]),
    (Fault::Abandon, [0, 2, 2, 3]),
];

#[derive(Clone, Copy)]
enum Fault {
    Crash,
    CrashTwo,
    Trap,
    CutOne,
    CutAll,
    Flap,
    LoseLink,
    Partition,
    Hub,
    Shatter,
    Silence,
    SlowWay,
    SlowMember,
    Pause,
    Come,
    Leave,
    Transfer,
    Crowd,
    Abandon,
}

impl World {
    /// Trouble begins.
    pub(crate) fn trouble(&mut self) {
        let until = self.now + self.plan.trouble;
        self.stage = Stage::Trouble { until };
        self.note(format_args!("trouble until {}", until / 1000));
        if self.plan.mode == Mode::Doomed {
            self.plan_doom();
        }
        self.next_fault();
    }

    fn next_fault(&mut self) {
        let at = self.now + 1 + self.fate.times.spread(self.plan.faults);
        self.queue.push(at, Event::Fault);
    }

    /// The next fault, and when the one after it comes.
    pub(crate) fn fault(&mut self) {
        if !matches!(self.stage, Stage::Trouble { .. }) {
            return;
        }
        self.next_fault();
        let Some(dice) = self.fate.next() else { return };
        let dice = std::mem::replace(&mut self.dice, dice);
        let column = match self.plan.mode {
            Mode::Quiet => 0,
            Mode::Usual | Mode::Doomed => 1,
            Mode::Assassin => 2,
            Mode::Crowd => 3,
        };
        let weights = FAULTS.map(|(_, weights)| weights[column]);
        let (fault, _) = FAULTS[self.dice.weighted(&weights)];
        if let Some(host) = self.any_host() {
            self.totals.faults += 1;
            self.befall(fault, host);
        }
        self.dice = dice;
        self.fate.current = None;
    }

    fn befall(&mut self, fault: Fault, host: usize) {
        match fault {
            Fault::Crash => self.crash(host),
            Fault::CrashTwo => {
                self.crash(host);
                if let Some(other) = self.any_host() {
                    self.crash(other);
                }
            }
            Fault::Trap => self.set_trap(),
            Fault::CutOne => self.cut_one(host),
            Fault::CutAll => self.cut_all(host),
            Fault::Flap => self.flap(host),
            Fault::LoseLink => self.lose_link(host),
            Fault::Partition => self.partition(),
            Fault::Hub => self.hub(host),
            Fault::Shatter => self.shatter(),
            Fault::Silence => self.go_silent(host),
            Fault::SlowWay => self.slow_way(host),
            Fault::SlowMember => self.slow_member(host),
            Fault::Pause => self.pause(host),
            Fault::Come => self.come(),
            Fault::Leave => self.leave(host),
            Fault::Transfer => self.trap_transfer(),
            Fault::Crowd => self.crowd(),
            Fault::Abandon => self.abandon(host),
        }
    }

    /// Somebody dies at the next step of a kind, and often the one who takes its place, too.
    fn set_trap(&mut self) {
        // Some steps are rare: a trap for them is seldom sprung.
        let weights = STEPS.map(|(step, _)| if step == Step::Exclude { 6 } else { 1 });
        let (step, name) = STEPS[self.dice.weighted(&weights)];
        let (after, victims) = (self.dice.pick(&[0, 0, 1, 3]), self.dice.pick(&[1, 1, 2]));
        let after = if step == Step::Exclude { 0 } else { after };
        self.note(format_args!("a trap for {victims} {name}, after {after}"));
        self.traps.push(Trap { step, after, victims });
    }

    /// Somebody comes, and its donor or itself dies in the middle of the transfer.
    fn trap_transfer(&mut self) {
        self.come();
        let step = self.dice.pick(&[
            Step::Checkpoint,
            Step::Chunk,
            Step::Chunk,
            Step::ChunkAck,
            Step::Load,
        ]);
        let after = self.dice.pick(&[0, 1, 2, 4]);
        self.note(format_args!("a trap in a transfer: {step:?} after {after}"));
        self.traps.push(Trap { step, after, victims: 1 });
    }

    /// Several join and leave at the same moment.
    fn crowd(&mut self) {
        self.totals.crowds += 1;
        for _ in 0..self.dice.between(2, 5) {
            match self.dice.chance(500) {
                true => self.come(),
                false => {
                    if let Some(host) = self.any_host() {
                        self.leave(host);
                    }
                }
            }
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
        self.count_transfers(host);
        self.note(format_args!("n{host} crashes, told: {told}"));
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
            // Under the same name: only the incarnation tells them apart.
            self.totals.returns += 1;
            self.come();
        }
    }

    /// Counts a crash in the middle of a state transfer, at either end.
    fn count_transfers(&mut self, host: usize) {
        let node = self.hosts[host].node;
        for group in (0..self.plan.groups).map(GroupId) {
            let Some(View { members, active, .. }) = self.books.judge.newest(group) else {
                continue;
            };
            let joining = &members[*active..];
            let donor = |donor: NodeId| donor == node;
            let gives =
                joining.iter().any(|it| it.transfer.as_ref().is_some_and(|t| donor(t.donor.node)));
            self.totals.donors += u64::from(gives);
            self.totals.joiners += u64::from(joining.iter().any(|it| it.id.node == node));
        }
    }

    /// A host stands still; often longer than the others have patience.
    fn pause(&mut self, host: usize) {
        if self.hosts[host].run != Run::Up {
            return;
        }
        self.totals.pauses += 1;
        let until = self.now + self.dice.between(10_000, 200_000) * self.dice.pick(&[1, 1, 10]);
        self.note(format_args!("n{host} stops until {}", until / 1000));
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
        self.note(format_args!("n{host} goes on"));
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
            self.totals.abandoned += 1;
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
}
