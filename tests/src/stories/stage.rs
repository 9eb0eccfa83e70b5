//! Where stories are played: real engines, links that flow when they are told to.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::Write;

use bytes::Bytes;
use vsync_core::bugs::Bugs;
use vsync_core::engine::{Class, Engine, EngineConfig, GroupConfig, Input, Level, Run, Traffic};
use vsync_core::wire::{GroupId, NodeId};
use vsync_history::{Expectations, check_with};
use vsync_sim::Clock;

use super::words::{describe, number, numbers};

use crate::sim::host::{Books, Effect, Host, Run as Running};
use crate::sim::judge::Submitted;
use crate::sim::seat::{Phase, Seat};

const STREAMS: [Traffic; 3] = [Traffic::Control, Traffic::Updates, Traffic::Bulk];

/// How long a healed story may take to come to rest.
const PATIENCE: u64 = 20_000;

/// More frames than any story has in one millisecond: they go round in a circle.
const CIRCLE: usize = 20_000;

/// The stage.
pub(crate) struct Stage {
    bugs: Bugs,
    now: u64,
    hosts: Vec<Host>,
    under_way: BTreeMap<(usize, usize, usize), VecDeque<Bytes>>,
    broken: BTreeSet<(usize, usize)>,
    /// Links on which nothing moves by itself.
    stalled: BTreeSet<(usize, usize, usize)>,
    /// Checkpoints asked for, and not handed in.
    asked: Vec<(usize, Input)>,
    /// Whether checkpoints are handed in at once.
    prompt: bool,
    books: Books,
    printed: String,
    wrong: Vec<String>,
    config: GroupConfig,
    /// Most bytes of one checkpoint chunk, where the story says so.
    chunk: Option<usize>,
    /// Which group the commands are about.
    group: GroupId,
    updates: u64,
    nonce: u64,
}

impl Stage {
    pub(crate) fn new(bugs: Bugs) -> Self {
        Stage {
            bugs,
            now: 1_000,
            hosts: Vec::new(),
            under_way: BTreeMap::new(),
            broken: BTreeSet::new(),
            stalled: BTreeSet::new(),
            asked: Vec::new(),
            prompt: true,
            books: Books::default(),
            printed: String::new(),
            wrong: Vec::new(),
            config: GroupConfig {
                generation: 1,
                schema: 7,
                causal: false,
                meta: Bytes::new(),
                window: 1 << 16,
                join_buffer: 1 << 20,
            },
            chunk: None,
            group: GroupId(0),
            updates: 0,
            nonce: 0,
        }
    }

    /// What was printed since the last time.
    pub(crate) fn printed(&mut self) -> String {
        std::mem::take(&mut self.printed)
    }

    /// Everything that is wrong with the run.
    pub(crate) fn wrong(&self) -> Vec<String> {
        self.wrong.clone()
    }

    /// Plays one command.
    pub(crate) fn play(&mut self, line: &str) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let Some((&command, words)) = words.split_first() else { return };
        match command {
            "nodes" => self.nodes(words),
            "in" => self.group = GroupId(number(words[0]) as u64),
            "group" => self.group(words),
            "join" => self.join(words),
            "submit" => self.submit(words),
            "close" => numbers(words).for_each(|host| self.give(host, Input::Close)),
            "renew" => {
                let group = self.group;
                numbers(words).for_each(|host| self.give(host, Input::Renew { group }));
            }
            "leave" => numbers(words).for_each(|host| {
                self.hosts[host].seat(self.group).phase = Phase::Leaving;
                self.give(host, Input::Leave { group: self.group });
            }),
            "flush" => numbers(words).for_each(|host| {
                self.updates += 1;
                self.hosts[host].flush(self.now, self.group, self.updates, &mut self.books);
                self.give(host, Input::Flush { group: self.group, id: self.updates });
            }),
            "flow" | "lose" => self.links(words, command == "flow"),
            "show" => self.show(words),
            "stall" => {
                let links = self.matching(words);
                self.stalled.extend(links);
            }
            "hold" => self.prompt = false,
            "checkpoint" => numbers(words).for_each(|host| self.hand_in(Some(host))),
            "run" => self.run_for(words),
            "cut" | "mend" => words.iter().for_each(|link| self.connect(link, command == "mend")),
            "crash" => self.crash(words),
            "pause" => numbers(words).for_each(|host| {
                self.hosts[host].run = Running::Paused { until: u64::MAX };
            }),
            "thaw" => numbers(words).for_each(|host| self.thaw(host)),
            "abandon" => numbers(words).for_each(|host| {
                self.give(host, Input::Abandon { group: self.group });
                self.hosts[host].seat(self.group).reset(Phase::Out);
            }),
            "heal" => self.heal(words),
            other => panic!("no command of a story: {other}"),
        }
    }

    fn nodes(&mut self, words: &[&str]) {
        let option = |name| words.iter().find_map(|word| word.strip_prefix(name)).map(number);
        let groups = option("groups=").map_or(1, |groups| groups as u64);
        let changes = option("changes=");
        self.config.causal = words.contains(&"causal");
        self.config.window = option("window=").unwrap_or(self.config.window);
        self.chunk = option("chunk=");
        let count = number(words[0]);
        for index in 0..count {
            let mut config = EngineConfig::new(NodeId(index as u64));
            config.bugs = self.bugs;
            config.chunk = self.chunk.unwrap_or(config.chunk);
            config.changes = changes.unwrap_or(config.changes);
            let clock = Clock { start: 0, speed: 1024 };
            let window = self.config.window;
            self.hosts.push(Host::new(index, Engine::new(config), clock, groups, window));
            self.books.recorder.start(index, NodeId(index as u64), 0);
        }
        for a in 0..count {
            for b in (0..count).filter(|&b| b != a) {
                self.give(a, Input::Connected { peer: NodeId(b as u64) });
            }
        }
        self.printed.clear();
    }

    fn seat_of(&self, host: usize) -> &Seat {
        self.in_group(&self.hosts[host])
    }

    fn in_group<'a>(&self, host: &'a Host) -> &'a Seat {
        &host.seats[self.group.0 as usize]
    }

    /// Forms a group the ordinary way: one makes it, the others join.
    fn group(&mut self, words: &[&str]) {
        let split = words.iter().position(|word| *word == "joining").unwrap_or(words.len());
        let active: Vec<usize> = numbers(&words[..split]).collect();
        let joining: Vec<usize> = numbers(&words[split..]).collect();
        let first = active[0];
        self.hosts[first].seat(self.group).phase = Phase::Joining(0);
        self.give(first, Input::Create { group: self.group, config: self.config.clone() });
        for &host in &active[1..] {
            self.ask(host, &[first]);
            self.pass(2_000, &[], |stage| stage.seat_of(host).is_active());
        }
        self.prompt = joining.is_empty();
        for &host in &joining {
            self.ask(host, &[first]);
        }
        self.pass(1_000, &[], |_| false);
        self.printed.clear();
        let view = self.seat_of(first).view.clone();
        let names = |list: &[vsync_core::wire::Member]| -> String {
            list.iter().map(|member| format!(" {:?}", member.id)).collect()
        };
        if let Some(view) = view {
            let (active, joining) = view.members.split_at(view.active);
            let _ = writeln!(self.printed, "view {}:{}", view.number, names(active));
            if !joining.is_empty() {
                let _ = writeln!(self.printed, "joining:{}", names(joining));
            }
        }
    }

    fn join(&mut self, words: &[&str]) {
        let host = number(words[0]);
        let contacts: Vec<usize> = numbers(&words[2..]).collect();
        self.ask(host, &contacts);
    }

    fn ask(&mut self, host: usize, contacts: &[usize]) {
        self.nonce += 1;
        let nonce = self.nonce;
        self.hosts[host].seat(self.group).reset(Phase::Joining(nonce));
        let contacts = contacts.iter().map(|&host| NodeId(host as u64)).collect();
        let config = self.config.clone();
        self.give(host, Input::Join { group: self.group, contacts, nonce, config });
    }

    fn submit(&mut self, words: &[&str]) {
        let host = number(words[0]);
        let class = match words[1] {
            "fifo" => Class::Fifo,
            "causal" => Class::Causal,
            "total" => Class::Total,
            other => panic!("no class: {other}"),
        };
        let stable = words.contains(&"stable");
        let level = if stable { Level::Stable } else { Level::Optimistic };
        let times = words.iter().find_map(|word| word.strip_prefix('x'));
        let count = times.map_or(1, number);
        let (mut body, mut updates) = (Vec::new(), Vec::new());
        for _ in 0..count {
            self.updates += 1;
            body.extend_from_slice(&8u32.to_le_bytes());
            body.extend_from_slice(&self.updates.to_le_bytes());
            updates.push(Submitted { id: self.updates, length: 8, class, level });
        }
        let submitted = (&updates[..], body.len() as u64);
        self.hosts[host].submit(self.now, self.group, submitted, &mut self.books);
        let runs = vec![Run { class, level, count: count as u32 }];
        let (body, wall) = (Bytes::from(body), self.now);
        self.give(host, Input::Submit { group: self.group, runs, body, wall, urgent: false });
    }

    /// The links that some words name, by stream.
    fn matching(&self, words: &[&str]) -> Vec<(usize, usize, usize)> {
        let stream = words.iter().find_map(|word| match *word {
            "control" => Some(Traffic::Control),
            "updates" => Some(Traffic::Updates),
            "bulk" => Some(Traffic::Bulk),
            _ => None,
        });
        let end = |name: &str| (name != "*").then(|| number(name));
        let ends = words.iter().filter_map(|word| word.split_once("->"));
        let ends: Vec<_> = ends.map(|(from, to)| (end(from), end(to))).collect();
        let mut found = Vec::new();
        for (from, to) in ends {
            let fits = |name: Option<usize>, host: usize| name.is_none_or(|name| name == host);
            for a in (0..self.hosts.len()).filter(|&a| fits(from, a)) {
                for b in (0..self.hosts.len()).filter(|&b| b != a && fits(to, b)) {
                    let kinds = (0..STREAMS.len())
                        .filter(|&kind| stream.is_none_or(|stream| STREAMS[kind] == stream));
                    found.extend(kinds.map(|kind| (a, b, kind)));
                }
            }
        }
        found
    }

    /// What is under way on some links arrives, or is lost: all that is there, or the first few.
    fn links(&mut self, words: &[&str], arrive: bool) {
        let most = words.iter().find_map(|word| word.strip_prefix('x')).map_or(usize::MAX, number);
        for key in self.matching(words) {
            // What an arrival brings about goes out later.
            let Some(frames) = self.under_way.get_mut(&key) else { continue };
            let frames: Vec<Bytes> = frames.drain(..most.min(frames.len())).collect();
            self.under_way.retain(|_, frames| !frames.is_empty());
            for frame in frames.into_iter().filter(|_| arrive) {
                self.give(key.1, Input::Frame { peer: NodeId(key.0 as u64), frame });
            }
        }
    }

    /// Prints what is under way on some links.
    fn show(&mut self, words: &[&str]) {
        for (from, to, kind) in self.matching(words) {
            if let Some(frames) = self.under_way.get(&(from, to, kind)) {
                let (count, stream) = (frames.len(), STREAMS[kind]);
                let _ = writeln!(self.printed, "n{from}->n{to} {stream:?}: {count} under way");
            }
        }
    }

    /// Breaks a connection, with all that is under way on it, or makes it anew.
    fn connect(&mut self, link: &str, up: bool) {
        let Some((a, b)) = link.split_once('-') else { panic!("no link: {link}") };
        let (a, b) = (number(a), number(b));
        let pair = (a.min(b), a.max(b));
        if up {
            self.broken.remove(&pair);
        } else {
            self.broken.insert(pair);
            self.under_way.retain(|&(from, to, _), _| (from.min(to), from.max(to)) != pair);
        }
        for (host, other) in [(a, b), (b, a)] {
            let peer = NodeId(other as u64);
            let input = if up { Input::Connected { peer } } else { Input::Disconnected { peer } };
            self.give(host, input);
        }
    }

    fn crash(&mut self, words: &[&str]) {
        let gone: Vec<usize> = numbers(words).collect();
        for &host in &gone {
            self.hosts[host].run = Running::Dead;
            self.under_way.retain(|&(from, to, _), _| from != host && to != host);
        }
        for &host in &gone {
            let peer = NodeId(host as u64);
            for other in 0..self.hosts.len() {
                self.give(other, Input::Disconnected { peer });
                self.give(other, Input::Ended { peer });
            }
        }
    }

    /// A paused host goes on, with all that has arrived meanwhile.
    fn thaw(&mut self, host: usize) {
        self.hosts[host].run = Running::Up;
        for input in std::mem::take(&mut self.hosts[host].inbox) {
            self.give(host, input);
        }
        self.give(host, Input::Close);
    }

    /// Time passes, and all flows between some hosts.
    fn run_for(&mut self, words: &[&str]) {
        let time = number(words[0]) as u64;
        let at = |name: &str| words.iter().position(|word| *word == name);
        let until = at("until").map(|at| number(words[at + 1]));
        let end = at("until").unwrap_or(words.len());
        let among: Vec<usize> =
            at("among").map_or(Vec::new(), |at| numbers(&words[at + 1..end]).collect());
        let before = until.map(|host| self.seat_of(host).number());
        self.pass(time, &among, |stage| {
            until.is_some_and(|host| Some(stage.seat_of(host).number()) != before)
        });
    }

    /// Lets everything flow between some hosts (all, if none are named) for some milliseconds,
    /// until something is so.
    fn pass(&mut self, time: u64, among: &[usize], done: impl Fn(&Stage) -> bool) {
        let end = self.now + time * 1_000;
        let joins = |host: usize| among.is_empty() || among.contains(&host);
        let mut frames = 0;
        while self.now < end && !done(self) {
            let next = self
                .under_way
                .iter()
                .find(|(key, _)| joins(key.0) && joins(key.1) && !self.stalled.contains(key));
            if let Some((&key, _)) = next {
                frames += 1;
                assert!(frames < CIRCLE, "messages without an end");
                let frame = self.under_way.get_mut(&key).and_then(VecDeque::pop_front);
                self.under_way.retain(|_, frames| !frames.is_empty());
                if let Some(frame) = frame {
                    self.give(key.1, Input::Frame { peer: NodeId(key.0 as u64), frame });
                    if !done(self) {
                        self.give(key.1, Input::Close);
                    }
                }
                continue;
            }
            if self.prompt && !self.asked.is_empty() {
                self.hand_in(None);
                continue;
            }
            (frames, self.now) = (0, self.now + 1_000);
            for host in 0..self.hosts.len() {
                let due = self.hosts[host].engine.deadline().is_some_and(|due| due <= self.now);
                if due && self.hosts[host].run == Running::Up {
                    self.give(host, Input::Tick);
                    self.give(host, Input::Close);
                }
            }
        }
    }

    /// Hands checkpoints in: all, or those of one host, as the story says.
    fn hand_in(&mut self, of: Option<usize>) {
        let asked = std::mem::take(&mut self.asked);
        for (host, input) in asked {
            if of.is_some_and(|of| of != host) {
                self.asked.push((host, input));
                continue;
            }
            if let (Some(_), Input::Checkpoint { bytes, .. }) = (of, &input) {
                let _ = writeln!(self.printed, "n{host} hands in {} bytes", bytes.len());
            }
            self.give(host, input);
        }
    }

    /// Everything flows until nothing is left to do, and the run is judged.
    fn heal(&mut self, words: &[&str]) {
        self.prompt = true;
        self.stalled.clear();
        let before = self.newest();
        let end = match *words {
            [] => {
                self.pass(PATIENCE, &[], |stage| stage.rest().is_ok());
                self.rest().map(|()| format!("at rest in view {}", self.newest()))
            }
            ["dissolved"] => {
                self.pass(PATIENCE, &[], |stage| stage.dissolved().is_ok());
                self.dissolved().map(|()| "dissolved".into())
            }
            ["stuck"] => {
                self.pass(PATIENCE, &[], |_| false);
                self.stuck(before).map(|()| format!("stuck in view {before}"))
            }
            _ => panic!("no end of a story: {words:?}"),
        };
        match end {
            Ok(end) => {
                let _ = writeln!(self.printed, "{end}");
            }
            Err(why) => self.wrong.push(format!("liveness: {why}")),
        }
        self.books.judge.conclude();
        let failures = self.books.judge.failures().iter();
        self.wrong.extend(failures.map(|failure| format!("{}: {}", failure.check, failure.what)));
        let mut settled = Vec::new();
        for host in self.hosts.iter_mut().filter(|host| host.is_alive()) {
            host.write_state(self.now, self.group, &mut self.books);
            let me = host.member(self.group).filter(|_| words.is_empty());
            settled.extend(me.map(|me| self.books.recorder.id(me).to_string()));
        }
        let expectations = Expectations { complete: true, divergent: false, settled };
        let found = check_with(self.books.recorder.history(), &expectations);
        self.wrong.extend(found.iter().map(ToString::to_string));
        for wrong in &self.wrong {
            let _ = writeln!(self.printed, "WRONG {wrong}");
        }
    }

    fn newest(&self) -> u64 {
        self.books.judge.newest(self.group).map_or(0, |view| view.number)
    }

    /// Whether all have left, and nothing of the group is left on any host.
    fn dissolved(&self) -> Result<(), String> {
        for host in self.hosts.iter().filter(|host| host.is_alive()) {
            let seat = self.in_group(host);
            if seat.phase != Phase::Out || host.engine.status(self.group).is_some() {
                return Err(format!("n{}: {:?} in view {}", host.index, seat.phase, seat.number()));
            }
        }
        Ok(())
    }

    /// Whether members are left, none of them sees a quorum, and no view has come since `before`.
    fn stuck(&self, before: u64) -> Result<(), String> {
        let member = |host: &&Host| host.is_alive() && self.in_group(host).phase == Phase::Member;
        let mut left = self.hosts.iter().filter(member).peekable();
        if left.peek().is_none() {
            return Err("nobody is left".into());
        }
        if self.newest() != before {
            return Err(format!("goes on to view {}", self.newest()));
        }
        match left.find(|host| !self.in_group(host).blocked) {
            Some(host) => Err(format!("n{} is not blocked", host.index)),
            None => Ok(()),
        }
    }

    /// Whether nothing is under way, and the group still has members.
    fn rest(&self) -> Result<(), String> {
        let serves = |host: &Host| host.is_alive() && self.in_group(host).phase == Phase::Member;
        if !self.hosts.iter().any(serves) {
            return Err("nobody is left".into());
        }
        let newest = self.newest();
        for host in self.hosts.iter().filter(|host| host.is_alive()) {
            let seat = self.in_group(host);
            if seat.phase == Phase::Out {
                continue;
            }
            let named = |why: String| format!("n{}: {why}", host.index);
            if seat.phase != Phase::Member || seat.number() != newest {
                return Err(named(format!("{:?} in view {}", seat.phase, seat.number())));
            }
            seat.at_rest(&self.books.judge).map_err(named)?;
            let status = host.engine.status(self.group);
            if status.is_none_or(|status| status.frozen || status.retained > 0) {
                return Err(named("is frozen, or retains something".into()));
            }
        }
        Ok(())
    }

    /// One input of a host that lives.
    fn give(&mut self, host: usize, input: Input) {
        if !self.hosts[host].is_alive() {
            return;
        }
        if self.hosts[host].run != Running::Up {
            if !matches!(input, Input::Close) {
                self.hosts[host].inbox.push(input);
            }
            return;
        }
        self.hosts[host].handle(self.now, input, &mut self.books.trace);
        for output in self.hosts[host].outputs() {
            if let Some(text) = describe(output) {
                let _ = writeln!(self.printed, "n{host} {text}");
            }
        }
        let mut effects = Vec::new();
        self.hosts[host].absorb(self.now, usize::MAX, &mut self.books, &mut effects);
        for effect in effects {
            match effect {
                Effect::Send { peer, traffic, frame } => {
                    let to = peer.0 as usize;
                    let kind = STREAMS.iter().position(|&stream| stream == traffic);
                    let broken = self.broken.contains(&(host.min(to), host.max(to)));
                    if self.hosts[to].is_alive() && !broken {
                        let key = (host, to, kind.unwrap_or_default());
                        self.under_way.entry(key).or_default().push_back(frame);
                    }
                }
                Effect::Checkpoint { group, label, bytes } => {
                    self.asked.push((host, Input::Checkpoint { group, label, bytes, last: true }));
                }
                _ => {}
            }
        }
    }
}
