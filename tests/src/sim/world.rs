//! The world of one run: hosts, network, queue, and what happens when.

use std::collections::{HashMap, HashSet};

use bytes::Bytes;
use vsync_core::bugs::Bugs;
use vsync_core::engine::{Engine, Input, Output, Refusal, Traffic};
use vsync_core::wire::{GroupId, MemberId, NodeId, decided_view};
use vsync_sim::{Both, Clock, Dice, Network, Queue};

use super::Setting;
use super::event::Event;
use super::fate::Fate;
use super::host::{Books, Effect, Host, Run};
use super::plan::{Mode, Plan};
use super::relax;
use super::report::Totals;
use super::seat::Phase;
use super::trace::Trace;
use super::traps::Trap;

/// How far a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// The first members come in.
    Boot,
    /// Trouble, until then.
    Trouble {
        /// The end of it.
        until: u64,
    },
    /// All is healed; the group has to come to rest.
    Healed {
        /// Since when.
        since: u64,
        /// Whether fresh work was given.
        served: bool,
    },
    /// It did.
    Over,
}

/// The world.
pub(crate) struct World {
    pub(crate) plan: Plan,
    pub(crate) now: u64,
    pub(crate) stage: Stage,
    pub(crate) queue: Queue<Event>,
    pub(crate) hosts: Vec<Host>,
    pub(crate) network: Network,
    pub(crate) dice: Dice,
    pub(crate) books: Books,
    pub(crate) totals: Totals,
    /// Memberships that were forgotten, or have left: nobody answers for them.
    pub(crate) gone: HashSet<MemberId>,
    /// Hosts that will crash in the middle of what they send next.
    pub(crate) marked: HashSet<usize>,
    pub(crate) doomed: Vec<usize>,
    /// Which faults happen.
    pub(crate) fate: Fate,
    /// Steps at which somebody will die.
    pub(crate) traps: Vec<Trap>,
    /// What nodes are told that may acknowledge late, in a run that has such.
    pub(crate) relaxing: Option<Dice>,
    /// Checkpoints take long: joiners stay joining.
    pub(crate) lazy: bool,
    pub(crate) nonce: u64,
    pub(crate) update: u64,
    index: HashMap<NodeId, usize>,
    effects: Vec<Effect>,
    bugs: Bugs,
}

/// More events than any run needs: beyond it something goes round in circles. (Seed 35696, two
/// groups of six under heavy load, needs more than 400,000.)
const MOST_EVENTS: u64 = 2_000_000;

/// How often somebody looks how far things are.
pub(crate) const LOOK: u64 = 50_000;

impl World {
    /// The world of a seed.
    pub(crate) fn new(seed: u64, setting: &Setting) -> Self {
        let mut dice = Dice::new(seed);
        let plan = Plan::new(&mut dice);
        let mut world = World {
            network: Network::new(plan.weather),
            now: 0,
            stage: Stage::Boot,
            queue: Queue::default(),
            hosts: Vec::new(),
            dice,
            books: Books { trace: Trace::new(setting.text), ..Books::default() },
            totals: Totals { seeds: 1, large: u64::from(plan.large), ..Totals::default() },
            fate: Fate::new(seed, setting.only.clone()),
            traps: Vec::new(),
            relaxing: relax::dice(seed),
            gone: HashSet::new(),
            marked: HashSet::new(),
            doomed: Vec::new(),
            lazy: false,
            nonce: 0,
            update: 0,
            index: HashMap::new(),
            effects: Vec::new(),
            bugs: setting.bugs,
            plan,
        };
        world.books.trace.note(0, format_args!("{:?}", world.plan));
        world.boot();
        world.relax();
        world
    }

    /// Runs to the end.
    pub(crate) fn run(&mut self) {
        while self.advance() {}
        self.conclude();
    }

    /// Lets the next thing happen; `false` if there is nothing left, or something is wrong.
    pub(crate) fn advance(&mut self) -> bool {
        if self.stage == Stage::Over || !self.books.judge.failures().is_empty() {
            return false;
        }
        let Some((at, event)) = self.queue.pop() else {
            return false;
        };
        self.now = at;
        self.totals.events += 1;
        if self.totals.events > MOST_EVENTS {
            let what = format!("{MOST_EVENTS} events in {} ms", self.now / 1000);
            self.books.judge.fail("livelock", what);
        }
        self.happen(event);
        true
    }

    /// Writes something into the time line, with the fault that it comes from.
    pub(crate) fn note(&mut self, what: std::fmt::Arguments<'_>) {
        match self.fate.current {
            Some(fault) => self.books.trace.note(self.now, format_args!("[{fault}] {what}")),
            None => self.books.trace.note(self.now, what),
        }
    }

    fn boot(&mut self) {
        for _ in 0..self.plan.members {
            self.spawn();
        }
        for group in 0..self.plan.groups {
            let group = GroupId(group);
            let first = group.0 as usize % self.plan.members;
            let config = self.plan.config.clone();
            self.hosts[first].seat(group).phase = Phase::Joining(0);
            self.feed(first, Input::Create { group, config });
            for host in 0..self.plan.members {
                if host != first {
                    self.want(host, group, 5_000);
                }
            }
        }
        self.queue.push(LOOK, Event::Look);
    }

    /// A new process, connected to all others.
    pub(crate) fn spawn(&mut self) -> usize {
        let host = self.hosts.len();
        // Random where it may matter, the index where it helps to read a trace.
        let node = NodeId(((self.dice.word() & 0xff) << 8) | host as u64);
        let engine = Engine::new(self.plan.engine(node, self.bugs));
        let speed = self.dice.pick(&[1024, 1024, 1000, 1050, 930]);
        let clock = Clock { start: self.dice.below(1 << 40), speed };
        let window = self.plan.config.window;
        self.hosts.push(Host::new(host, engine, clock, self.plan.groups, window));
        self.books.recorder.start(host, node, self.now);
        self.index.insert(node, host);
        self.network.grow();
        for other in 0..host {
            if self.hosts[other].is_alive() {
                self.mend(other, host);
            }
        }
        for group in 0..self.plan.groups {
            let at = self.now + self.dice.spread(self.plan.work);
            self.queue.push(at, Event::Work { host, group: GroupId(group) });
        }
        host
    }

    /// From now on a host wants to be a member.
    pub(crate) fn want(&mut self, host: usize, group: GroupId, soon: u64) {
        self.hosts[host].seat(group).wanted = true;
        let at = self.now + 1 + self.dice.spread(soon);
        self.queue.push(at, Event::Join { host, group });
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Frame { way, traffic, connection, frame } => {
                if self.network.arrives(self.now, way, traffic, connection) {
                    let peer = self.hosts[way.0].node;
                    self.feed(way.1, Input::Frame { peer, frame });
                }
            }
            Event::Input { host, input } => self.feed(host, input),
            Event::Wake { host } => self.wake(host),
            Event::Close { host } => {
                self.hosts[host].closing = false;
                if self.hosts[host].run == Run::Up {
                    self.step(host, Input::Close);
                }
            }
            Event::Work { host, group } => self.work(host, group),
            Event::Join { host, group } => self.look_after(host, group),
            Event::Resume { host } => self.resume(host),
            Event::Cut { a, b, back } => {
                if matches!(self.stage, Stage::Trouble { .. }) {
                    self.cut(a, b, 300, back);
                }
            }
            Event::Mend { a, b } => self.mend(a, b),
            Event::Fault => self.fault(),
            Event::Doom => self.doom(),
            Event::Relax => self.relax(),
            Event::Look => self.look(),
        }
    }

    /// Gives a host an input, now or when its pause is over.
    pub(crate) fn feed(&mut self, host: usize, input: Input) {
        match self.hosts[host].run {
            Run::Up => self.step(host, input),
            Run::Paused { .. } => self.hosts[host].inbox.push(input),
            Run::Dead => {}
        }
    }

    fn wake(&mut self, host: usize) {
        if self.hosts[host].wake != Some(self.now) || self.hosts[host].run != Run::Up {
            return;
        }
        self.hosts[host].wake = None;
        self.tick(host);
        self.arm(host);
    }

    /// Ticks if the deadline has come.
    pub(crate) fn tick(&mut self, host: usize) {
        let it = &self.hosts[host];
        if it.engine.deadline().is_some_and(|deadline| it.clock.local(self.now) >= deadline) {
            self.step(host, Input::Tick);
        }
    }

    /// Plans to wake a host at its engine's deadline.
    pub(crate) fn arm(&mut self, host: usize) {
        let it = &mut self.hosts[host];
        if it.run != Run::Up {
            return;
        }
        let Some(deadline) = it.engine.deadline() else {
            return;
        };
        let at = it.clock.moment(deadline).max(self.now + 1);
        if it.wake.is_none_or(|wake| at < wake || wake <= self.now) {
            it.wake = Some(at);
            self.queue.push(at, Event::Wake { host });
        }
    }

    /// One input of a host that is up, with all that follows at once.
    pub(crate) fn step(&mut self, host: usize, input: Input) {
        let close = matches!(input, Input::Close);
        self.hosts[host].handle(self.now, input, &mut self.books.trace);
        let limit = self.limit(host);
        let mut effects = std::mem::take(&mut self.effects);
        let most = limit.as_ref().map_or(usize::MAX, |(most, _)| *most);
        self.hosts[host].absorb(self.now, most, &mut self.books, &mut effects);
        for effect in effects.drain(..) {
            self.effect(host, effect);
        }
        self.effects = effects;
        if let Some((_, hear)) = limit {
            self.totals.cut_short += 1;
            self.kill(host, &hear);
            return;
        }
        if !close {
            self.close_soon(host);
        }
        self.arm(host);
        if self.hosts[host].steps.is_multiple_of(64) {
            self.memory(host);
        }
    }

    /// Where in its outputs a host crashes, if it is to, and who still hears all of it.
    fn limit(&mut self, host: usize) -> Option<(usize, Vec<NodeId>)> {
        if let Some(most) = self.spring(host) {
            return Some((most, Vec::new()));
        }
        let outputs = self.hosts[host].outputs();
        let sends = outputs.iter().filter(|output| matches!(output, Output::Send { .. })).count();
        if sends == 0 || !matches!(self.stage, Stage::Trouble { .. }) {
            return None;
        }
        let marked = self.marked.contains(&host) && sends > 1;
        let telling = self.plan.mode == Mode::Assassin && self.is_telling(outputs);
        if !marked && !telling {
            return None;
        }
        let parting = self.parting(outputs);
        let odds = if parting.is_empty() { 250 } else { 600 };
        let dies = marked || (self.dice.chance(odds) && self.may_crash(host));
        let crashes = dies && (marked || self.fate.kills());
        if !crashes {
            return None;
        }
        self.marked.remove(&host);
        let count = self.hosts[host].outputs().len();
        if telling && !parting.is_empty() && self.dice.chance(700) {
            return Some((count, parting));
        }
        Some((self.dice.below(count as u64 + 1) as usize, Vec::new()))
    }

    /// Who is not in the view that a host is about to tell of: they may be the only ones to hear.
    fn parting(&self, outputs: &[Output]) -> Vec<NodeId> {
        let left = outputs.iter().filter_map(|output| match output {
            Output::Install(install) => Some(&install.left),
            _ => None,
        });
        left.flatten().map(|left| left.id.node).collect()
    }

    /// Whether a host is about to tell a decision, or a vote.
    fn is_telling(&self, outputs: &[Output]) -> bool {
        outputs.iter().any(|output| match output {
            Output::Accepted { .. } => true,
            Output::Install(install) => {
                let newest = self.books.judge.newest(install.group);
                newest.is_none_or(|newest| newest.number < install.view.number)
            }
            _ => false,
        })
    }

    /// Hands a checkpoint in after a while: whole, or piece by piece as it is made.
    fn hand_in(&mut self, host: usize, group: GroupId, label: u64, mut bytes: Bytes) {
        let slow = self.lazy || self.dice.chance(50);
        let mut at = self.now;
        let mut pieces = if self.dice.chance(300) { self.dice.below(4) } else { 0 };
        loop {
            at += 1 + self.dice.spread(if slow { 400_000 } else { 2_000 });
            let last = pieces == 0;
            let length = bytes.len() as u64;
            let end = if last { length } else { self.dice.below(length + 1) } as usize;
            let input = Input::Checkpoint { group, label, bytes: bytes.split_to(end), last };
            self.queue.push(at, Event::Input { host, input });
            if last {
                return;
            }
            pieces -= 1;
        }
    }

    fn effect(&mut self, host: usize, effect: Effect) {
        match effect {
            Effect::Send { peer, traffic, frame } => {
                if traffic == Traffic::Control
                    && let Some((group, view)) = decided_view(&frame)
                {
                    self.books.judge.decided(group, view);
                }
                let Some(&to) = self.index.get(&peer) else {
                    return self.books.judge.fail("outputs", format!("n{host} sends to {peer:?}"));
                };
                if to == host {
                    return self.books.judge.fail("outputs", format!("n{host} sends to itself"));
                }
                let way = (host, to);
                let sent = self.network.send(self.now, way, traffic, &mut self.dice);
                if let Some((at, connection)) = sent {
                    self.queue.push(at, Event::Frame { way, traffic, connection, frame });
                }
            }
            Effect::Checkpoint { group, label, bytes } => {
                self.hand_in(host, group, label, bytes);
            }
            Effect::Load { group } => {
                // Some cannot keep up for a while.
                if self.dice.chance(30) {
                    for on in [true, false] {
                        let at = self.now + 1 + self.dice.spread(20_000) + 20_000 * u64::from(!on);
                        let input = Input::HoldTransfer { group, on };
                        self.queue.push(at, Event::Input { host, input });
                    }
                }
            }
            Effect::Installed { fresh } => self.totals.views += u64::from(fresh),
            Effect::Blocked { group } => {
                // As the runtime does: perhaps the group has gone on elsewhere.
                self.queue.push(self.now + 1_000_000, Event::Join { host, group });
            }
            Effect::Excluded { group } => {
                self.totals.rejoins += 1;
                if self.hosts[host].seat(group).wanted {
                    self.want(host, group, 50_000);
                }
            }
            Effect::Left { group, member, view } => {
                self.totals.leaves += 1;
                self.gone.extend(member.filter(|&member| self.is_free(group, member, view)));
            }
            Effect::Refused { group, reason } => {
                if reason != Refusal::UnknownGroup {
                    self.books.judge.fail("refused", format!("n{host}: {reason:?}"));
                }
                if self.hosts[host].seat(group).wanted {
                    self.want(host, group, 100_000);
                }
            }
        }
    }

    /// Lets a host close its batches before long, as a driver does that has drained its inputs.
    pub(crate) fn close_soon(&mut self, host: usize) {
        if !self.hosts[host].closing {
            self.hosts[host].closing = true;
            let at = self.now + 1 + self.dice.spread(self.plan.close);
            self.queue.push(at, Event::Close { host });
        }
    }

    /// A host looks after a membership: one that it wants and does not have yet, or one that is
    /// blocked, perhaps because the group has gone on without it.
    fn look_after(&mut self, host: usize, group: GroupId) {
        let seat = self.hosts[host].seat(group);
        let (phase, wanted, blocked) = (seat.phase, seat.wanted, seat.blocked);
        let nonce = match phase {
            Phase::Joining(nonce) => nonce,
            Phase::Out if wanted => {
                self.nonce += 1;
                self.nonce
            }
            Phase::Member if blocked => self.nonce,
            Phase::Leaving if blocked => {
                // As a shutdown that has reached its deadline.
                return self.forget(host, group, false);
            }
            _ => return,
        };
        if !self.hosts[host].is_alive() {
            return;
        }
        let contacts = self.contacts(host, group);
        if self.hosts[host].run == Run::Up && !contacts.is_empty() {
            if phase == Phase::Out {
                self.totals.joins += 1;
                self.hosts[host].seat(group).reset(Phase::Joining(nonce));
            }
            let config = self.plan.config.clone();
            self.step(host, Input::Join { group, contacts, nonce, config });
        }
        let at = self.now + self.dice.between(200_000, 800_000);
        self.queue.push(at, Event::Join { host, group });
    }

    /// Members that a directory would name, sometimes an outdated one first.
    fn contacts(&mut self, host: usize, group: GroupId) -> Vec<NodeId> {
        let serves = |other: &&Host| {
            let seat = &other.seats[group.0 as usize];
            other.index != host
                && other.is_alive()
                && seat.phase == Phase::Member
                && seat.is_active()
        };
        let mut list: Vec<NodeId> = self.hosts.iter().filter(serves).map(|it| it.node).collect();
        self.dice.shuffle(&mut list);
        list.truncate(3);
        if !list.is_empty() && !matches!(self.stage, Stage::Healed { .. }) && self.dice.chance(150)
        {
            let any = self.dice.below(self.hosts.len() as u64) as usize;
            if any != host {
                list.insert(0, self.hosts[any].node);
            }
        }
        list
    }

    /// Connects a pair, if both live.
    pub(crate) fn mend(&mut self, a: usize, b: usize) {
        if !self.hosts[a].is_alive() || !self.hosts[b].is_alive() {
            return;
        }
        if let Some(both) = self.network.mend(self.now, a, b, &mut self.dice) {
            self.tell(both, |peer| Input::Connected { peer });
        }
    }

    /// Tells both ends of a link something about the other.
    pub(crate) fn tell(&mut self, both: Both, what: impl Fn(NodeId) -> Input) {
        for ((host, at), (other, _)) in [(both[0], both[1]), (both[1], both[0])] {
            let input = what(self.hosts[other].node);
            self.queue.push(at, Event::Input { host, input });
        }
    }

    /// Memory is bounded by the windows, whatever happens.
    fn memory(&mut self, host: usize) {
        for group in 0..self.plan.groups {
            let Some(status) = self.hosts[host].engine.status(GroupId(group)) else {
                continue;
            };
            let members = status.view.as_ref().map_or(1, |view| view.members.len()).max(1);
            // Two windows per sender, for the view and the one before it, and what a batch may
            // overshoot by. A member whose state is still on its way also holds whole views to be
            // replayed: as many bytes as it may, and then it asks to start over (seed 442337).
            let replayed = if status.loaded { 0 } else { self.plan.config.join_buffer };
            let bound = members * (2 * self.plan.config.window + 16 * 1024) + replayed;
            if status.retained > bound {
                let what = format!("n{host} retains {} bytes, bound {bound}", status.retained);
                self.books.judge.fail("memory", what);
            }
        }
    }
}
