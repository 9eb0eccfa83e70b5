//! The world of one seed: nodes, network, queue, and what happens when.

use std::collections::BTreeSet;

use bytes::Bytes;
use vsync_core::engine::{
    Class, DropReason, Engine, EngineConfig, GroupConfig, Input, Output, Outputs, Refusal, Traffic,
};
use vsync_core::wire::NodeId;
use vsync_sim::{Both, Clock, Dice, Network, Queue, Weather};

use super::asks::Asks;
use super::course::{LOOK, Stage};
use super::host::{Desk, Host, Phase};
use super::judge::{Judge, protocol};
use super::members::EPOCH;
use super::story::Story;
use super::{Simulated, Simulation};
use crate::Replicated;
use crate::testing::check::Failure;
use crate::testing::stage::{GROUP, guarded, meta};

/// More events than any run needs.
const MOST_EVENTS: u64 = 5_000_000;

/// Something that will happen.
pub(super) enum Event {
    Frame { way: (usize, usize), traffic: Traffic, connection: u32, frame: Bytes },
    Input { host: usize, input: Input },
    Wake { host: usize },
    Close { host: usize },
    Work { host: usize },
    Join { host: usize },
    Serve { host: usize },
    Mend { a: usize, b: usize },
    Fault,
    Look,
}

/// The world.
pub(super) struct World<'a, S: Replicated> {
    pub(super) sim: &'a Simulation<S>,
    pub(super) now: u64,
    pub(super) stage: Stage,
    pub(super) queue: Queue<Event>,
    pub(super) hosts: Vec<Host<S>>,
    pub(super) network: Network,
    pub(super) dice: Dice,
    pub(super) judge: Judge,
    pub(super) story: Story,
    pub(super) seen: Simulated,
    /// Whether members have gone for good: then the group may be lost with what they knew.
    pub(super) losses: bool,
    /// Mean time between faults.
    pub(super) pace: u64,
    /// Dice for the updates alone: what else happens does not change what is drawn.
    pub(super) draws: Dice,
    pub(super) called: BTreeSet<&'static str>,
    /// What is asked for, where requests are.
    pub(super) asks: Asks,
    /// Members at which something has happened that their tasks may wait for.
    pub(super) touched: Vec<usize>,
    config: GroupConfig,
    engine: EngineConfig,
    /// Mean time between two submissions of a member.
    pub(super) work: u64,
    pub(super) nonce: u64,
    events: u64,
}

impl<'a, S: Replicated> World<'a, S> {
    /// The world of a seed.
    pub(super) fn new(sim: &'a Simulation<S>, seed: u64) -> Result<Self, Failure> {
        let mut dice = Dice::new(seed);
        let draws = Dice::new(dice.word());
        let base = dice.pick(&[40, 200, 1_000]);
        let weather = Weather {
            base,
            jitter: base * dice.pick(&[1, 4, 15]),
            late: dice.pick(&[0, 10, 50]),
            lateness: dice.pick(&[5_000, 50_000]),
        };
        let config = GroupConfig {
            generation: 1,
            schema: 1,
            causal: S::UPDATES.iter().any(|method| method.class == Class::Causal),
            meta: Bytes::new(),
            window: 1 << 18,
            join_buffer: 1 << 22,
        };
        let mut engine = EngineConfig::new(NodeId(0));
        engine.silence = dice.pick(&[200_000, 400_000]);
        engine.heartbeat = engine.silence / 5;
        engine.ack_delay = dice.pick(&[500, 2_000, 20_000]);
        engine.chunk = dice.pick(&[16, 300, 256 * 1024]);
        let trouble = sim.lasting.unwrap_or(dice.between(600_000, 2_000_000));
        let work = (trouble * sim.members as u64 / sim.length.max(1) as u64).max(200);
        let pace = dice.pick(&[40_000, 100_000, 250_000]);
        let mut world = World {
            sim,
            now: 0,
            stage: Stage::Boot,
            queue: Queue::default(),
            hosts: Vec::new(),
            network: Network::new(weather),
            dice,
            judge: Judge::default(),
            story: Story::default(),
            seen: Simulated { seeds: 1, ..Simulated::default() },
            losses: false,
            pace,
            draws,
            called: BTreeSet::new(),
            asks: Asks::default(),
            touched: Vec::new(),
            config,
            engine,
            work,
            nonce: 0,
            events: 0,
        };
        for host in 0..sim.members {
            world.spawn();
            if host > 0 {
                world.want(host, 5_000);
            }
        }
        world.queue.push(LOOK, Event::Look);
        Ok(world)
    }

    /// Runs to the end.
    pub(super) fn run(&mut self) -> Result<(), Failure> {
        self.hosts[0].wanted = true;
        self.hosts[0].replica.phase = Phase::Joining(0);
        self.hosts[0].replica.state = Some(guarded("making a state", || (self.sim.start)())?);
        let config = self.config(0);
        self.step(0, Input::Create { group: GROUP, config })?;
        while self.stage != Stage::Over {
            let Some((at, event)) = self.queue.pop() else { break };
            self.now = at;
            self.events += 1;
            if self.events > MOST_EVENTS {
                return protocol(format!("{MOST_EVENTS} events, and no end"));
            }
            self.happen(event)?;
            while let Some(host) = self.touched.pop() {
                self.serve(host)?;
            }
        }
        Ok(())
    }

    /// What the run has seen, and the methods that were called.
    pub(super) fn seen(self) -> (Simulated, Vec<&'static str>) {
        let Judge { compared, views, .. } = self.judge;
        (Simulated { compared, views, ..self.seen }, self.called.into_iter().collect())
    }

    /// What happened last.
    pub(super) fn story(&self) -> String {
        self.story.text()
    }

    /// A new node, connected to all others.
    pub(super) fn spawn(&mut self) -> usize {
        let host = self.hosts.len();
        let node = NodeId(host as u64);
        let engine = Engine::new(EngineConfig { node, ..self.engine.clone() });
        let speed = self.dice.pick(&[1024, 1024, 1000, 1050]);
        let clock = Clock { start: self.dice.below(1 << 30), speed };
        let replica = self.replica(Phase::Out);
        self.hosts.push(Host {
            node,
            engine,
            out: Outputs::new(),
            clock,
            alive: true,
            wake: None,
            closing: false,
            wanted: false,
            replica,
        });
        self.network.grow();
        for other in 0..host {
            self.mend(other, host);
        }
        let at = self.now + self.dice.spread(self.work);
        self.queue.push(at, Event::Work { host });
        host
    }

    pub(super) fn config(&self, host: usize) -> GroupConfig {
        GroupConfig { meta: meta(host), ..self.config.clone() }
    }

    fn happen(&mut self, event: Event) -> Result<(), Failure> {
        match event {
            Event::Frame { way, traffic, connection, frame } => {
                if self.network.arrives(self.now, way, traffic, connection) {
                    let peer = self.hosts[way.0].node;
                    return self.step(way.1, Input::Frame { peer, frame });
                }
            }
            Event::Input { host, input } => return self.step(host, input),
            Event::Wake { host } => return self.wake(host),
            Event::Close { host } => {
                self.hosts[host].closing = false;
                return self.step(host, Input::Close);
            }
            Event::Work { host } => return self.labour(host),
            Event::Join { host } => return self.look_after(host),
            Event::Serve { host } => self.touched.push(host),
            Event::Mend { a, b } => self.mend(a, b),
            Event::Fault => return self.fault(),
            Event::Look => return self.look(),
        }
        Ok(())
    }

    fn wake(&mut self, host: usize) -> Result<(), Failure> {
        let it = &mut self.hosts[host];
        if it.wake != Some(self.now) {
            return Ok(());
        }
        it.wake = None;
        let due = it.engine.deadline().is_some_and(|at| it.clock.local(self.now) >= at);
        if due {
            self.step(host, Input::Tick)?;
        }
        self.arm(host);
        Ok(())
    }

    /// Plans to wake a node at its engine's deadline.
    fn arm(&mut self, host: usize) {
        let it = &mut self.hosts[host];
        let Some(deadline) = it.engine.deadline().filter(|_| it.alive) else { return };
        let at = it.clock.moment(deadline).max(self.now + 1);
        if it.wake.is_none_or(|wake| at < wake || wake <= self.now) {
            it.wake = Some(at);
            self.queue.push(at, Event::Wake { host });
        }
    }

    /// One input of a node, with all that follows at once.
    pub(super) fn step(&mut self, host: usize, input: Input) -> Result<(), Failure> {
        if !self.hosts[host].alive {
            return Ok(());
        }
        let close = matches!(input, Input::Close);
        let it = &mut self.hosts[host];
        it.engine.handle(it.clock.local(self.now), input, &mut it.out);
        let mut out = std::mem::take(&mut it.out);
        for output in out.drain() {
            self.output(host, output)?;
        }
        self.hosts[host].out = out;
        if self.sim.requests.is_some() {
            self.touched.push(host);
        }
        if !close && !self.hosts[host].closing {
            self.hosts[host].closing = true;
            let at = self.now + 1 + self.dice.spread(300);
            self.queue.push(at, Event::Close { host });
        }
        self.arm(host);
        Ok(())
    }

    fn output(&mut self, host: usize, output: Output) -> Result<(), Failure> {
        let World { sim, now, hosts, judge, story, seen, .. } = self;
        let (start, invariants) = (&*sim.start, &*sim.invariants);
        let wall = EPOCH + hosts[host].clock.local(*now);
        let replica = &mut hosts[host].replica;
        let mut desk = Desk { host, now: *now, wall, start, invariants, judge, story };
        match output {
            Output::Send { peer, traffic, frame } => {
                self.send((host, peer.0 as usize), traffic, frame)
            }
            Output::Sent { view, seq, run, .. } => {
                let Some(me) = replica.me else {
                    return protocol(format!("n{host} sends before its first view"));
                };
                let count = replica.pending.len().min(run.count as usize);
                desk.judge.number(view, me, run, replica.pending.drain(..count))?;
                if let Some(serving) = &mut replica.serving {
                    serving.sent(view, seq, u64::from(run.count));
                }
            }
            Output::Deliver(range) => seen.applied += replica.deliver(&range, &mut desk)?,
            Output::Install(install) => replica.install(install, &mut desk)?,
            Output::TakeCheckpoint { label, .. } => {
                let bytes = replica.checkpoint(&mut desk)?;
                let slow = self.dice.chance(100);
                let at = self.now + 1 + self.dice.spread(if slow { 200_000 } else { 2_000 });
                let input = Input::Checkpoint { group: GROUP, label, bytes };
                self.queue.push(at, Event::Input { host, input });
            }
            Output::Loaded { label, bytes, .. } => {
                replica.load(label, bytes, &mut desk)?;
                seen.loaded += 1;
            }
            Output::Stable { view, cut, .. } => {
                desk.judge.report(host, view, &cut);
                replica.stable(view, &cut);
            }
            Output::Flushed { id, .. } => {
                if let Some(serving) = &mut replica.serving {
                    serving.flushed(id);
                }
            }
            Output::Credit { bytes, .. } => replica.credit += bytes,
            Output::Resumed { .. } => replica.blocked = false,
            Output::Blocked { .. } => {
                replica.blocked = true;
                desk.tell("has no quorum in sight".to_owned());
                self.queue.push(self.now + 1_000_000, Event::Join { host });
            }
            Output::Excluded { view, .. } => {
                desk.tell(format!("is excluded after view {view}"));
                self.ended(host, 50_000);
            }
            Output::Left { view, .. } => {
                desk.tell(format!("has left after view {view}"));
                self.ended(host, 50_000);
            }
            Output::Refused { reason: Refusal::UnknownGroup, .. } => {
                if matches!(replica.phase, Phase::Joining(_)) {
                    self.ended(host, 100_000);
                }
            }
            Output::Refused { reason, .. } => {
                return protocol(format!("n{host} is refused: {reason:?}"));
            }
            Output::Dropped {
                reason: reason @ (DropReason::Malformed | DropReason::Invalid),
                ..
            } => return protocol(format!("n{host} dropped a frame: {reason:?}")),
            Output::Dropped { .. } | Output::Frozen { .. } | Output::Accepted { .. } => {}
        }
        Ok(())
    }

    fn send(&mut self, way: (usize, usize), traffic: Traffic, frame: Bytes) {
        let sent = self.network.send(self.now, way, traffic, &mut self.dice);
        if let Some((at, connection)) = sent {
            self.queue.push(at, Event::Frame { way, traffic, connection, frame });
        }
    }

    /// Connects a pair, if both live.
    pub(super) fn mend(&mut self, a: usize, b: usize) {
        if !self.hosts[a].alive || !self.hosts[b].alive {
            return;
        }
        if let Some(both) = self.network.mend(self.now, a, b, &mut self.dice) {
            self.inform(both, |peer| Input::Connected { peer });
        }
    }

    /// Tells both ends of a link something about the other.
    pub(super) fn inform(&mut self, both: Both, what: impl Fn(NodeId) -> Input) {
        for ((host, at), (other, _)) in [(both[0], both[1]), (both[1], both[0])] {
            let input = what(self.hosts[other].node);
            self.queue.push(at, Event::Input { host, input });
        }
    }
}
