//! Real engines on a network whose every delay is given, and the history they leave.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};

use bytes::Bytes;
use vsync_core::engine::{
    Class, Delivery, Engine, EngineConfig, GroupConfig, Input, Install, Level, Output, Outputs, Run,
};
use vsync_core::wire::{Cut, GroupId, LeftReason, MemberId, Micros, NodeId, View};
use vsync_history::event::{self, Event, Gone, Id, Line, Member, Reason};
use vsync_history::{History, Log};
use xxhash_rust::xxh3::xxh3_64;

const GROUP: GroupId = GroupId(1);
/// How big a checkpoint is.
const STATE: usize = 20_000;

/// How long a frame takes: sender, receiver, how many went before it on this link.
pub(crate) type Delay = fn(u64, u64, u64) -> Micros;

/// What happens to a process from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Act {
    /// It starts and makes the group.
    Create,
    /// It starts and joins.
    Join,
    /// It sends an update.
    Send,
    /// It dies; what it sent last still reaches this one alone.
    Crash(u64),
    /// The end of this process becomes known.
    Notice(u64),
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum What {
    Act(Act),
    Frame(u64, Bytes),
}

/// A process.
#[derive(Debug)]
struct Seat {
    engine: Engine,
    log: usize,
    view: Option<View>,
    me: Option<MemberId>,
    loaded: Option<Event>,
    /// The checkpoint as far as it has come.
    pieces: Vec<u8>,
    /// A state to which the order of concurrent updates does not matter.
    sum: u64,
}

/// The world.
#[derive(Debug)]
pub(crate) struct Stage {
    now: Micros,
    delay: Delay,
    class: Class,
    seats: BTreeMap<u64, Seat>,
    queue: BinaryHeap<Reverse<(Micros, u64, u64, What)>>,
    links: BTreeMap<(u64, u64), (u64, Micros)>,
    queued: u64,
    sent: u64,
    dead: BTreeSet<u64>,
    /// The history so far.
    pub(crate) history: History,
}

impl Stage {
    pub(crate) fn new(class: Class, delay: Delay, script: &[(Micros, u64, Act)]) -> Stage {
        let mut stage = Stage {
            now: 0,
            delay,
            class,
            seats: BTreeMap::new(),
            queue: BinaryHeap::new(),
            links: BTreeMap::new(),
            queued: 0,
            sent: 0,
            dead: BTreeSet::new(),
            history: History::default(),
        };
        for &(t, node, act) in script {
            stage.push(t, node, What::Act(act));
        }
        stage
    }

    /// Runs until this time. All survivors are in one state then.
    pub(crate) fn run(&mut self, until: Micros) {
        loop {
            let due = |(&node, seat): (&u64, &Seat)| Some((seat.engine.deadline()?, node));
            let tick = self.seats.iter().filter_map(due).min();
            let tick = tick.map(|(due, node)| (due.max(self.now), node));
            let head = self.queue.peek().map(|Reverse((t, ..))| *t);
            let next = head.into_iter().chain(tick.map(|(due, _)| due)).min();
            let Some(next) = next.filter(|next| *next <= until) else { break };
            let before = std::mem::replace(&mut self.now, next);
            assert!(before <= next, "time goes backwards");
            if head.is_some_and(|head| head <= next) {
                if let Some(Reverse((_, _, node, what))) = self.queue.pop() {
                    self.happen(node, what);
                }
            } else if let Some((_, node)) = tick {
                self.input(node, Input::Tick);
                self.input(node, Input::Close);
            }
        }
        let sums: BTreeSet<u64> = self.seats.values().map(|seat| seat.sum).collect();
        assert_eq!(sums.len(), 1, "one state at the end");
    }

    fn push(&mut self, t: Micros, node: u64, what: What) {
        self.queued += 1;
        self.queue.push(Reverse((t, self.queued, node, what)));
    }

    fn happen(&mut self, node: u64, what: What) {
        match what {
            What::Frame(from, frame) => {
                self.input(node, Input::Frame { peer: NodeId(from), frame });
            }
            What::Act(Act::Create) => {
                self.start(node);
                self.input(node, Input::Create { group: GROUP, config: config() });
            }
            What::Act(Act::Join) => {
                let contacts = self.seats.keys().map(|&node| NodeId(node)).collect();
                self.start(node);
                let config = config();
                self.input(node, Input::Join { group: GROUP, contacts, nonce: 1, config });
            }
            What::Act(Act::Send) => self.send(node),
            What::Act(Act::Crash(heir)) => self.crash(node, heir),
            What::Act(Act::Notice(dead)) => {
                self.input(node, Input::Disconnected { peer: NodeId(dead) });
                self.input(node, Input::Ended { peer: NodeId(dead) });
            }
        }
        self.input(node, Input::Close);
    }

    fn start(&mut self, node: u64) {
        let log = self.history.logs.len();
        let event = Event::Start { wall_us: self.now, protocol: 1 };
        let id: Id = format!("{}#{node:x}", name(node)).into();
        let line = Line { t: 0, node: id, group: None, generation: None, event };
        self.history.logs.push(Log { name: format!("{}.jsonl", name(node)), lines: vec![line] });
        let engine = Engine::new(EngineConfig::new(NodeId(node)));
        let others: Vec<u64> = self.seats.keys().copied().collect();
        let seat =
            Seat { engine, log, view: None, me: None, loaded: None, pieces: Vec::new(), sum: 0 };
        self.seats.insert(node, seat);
        for other in others {
            self.input(node, Input::Connected { peer: NodeId(other) });
            self.input(other, Input::Connected { peer: NodeId(node) });
        }
    }

    fn send(&mut self, node: u64) {
        self.sent += 1;
        let run = Run { class: self.class, level: Level::Optimistic, count: 1 };
        let mut body = 8_u32.to_le_bytes().to_vec();
        body.extend_from_slice(&self.sent.to_le_bytes());
        let (runs, body) = (vec![run], Bytes::from(body));
        let input = Input::Submit { group: GROUP, runs, body, wall: self.now, urgent: false };
        self.input(node, input);
    }

    fn crash(&mut self, node: u64, heir: u64) {
        self.seats.remove(&node);
        self.dead.insert(node);
        self.queue.retain(|Reverse((_, _, to, what))| match what {
            What::Frame(from, _) => *from != node || *to == heir,
            What::Act(_) => true,
        });
        let last = self.queue.iter().filter_map(|Reverse((t, _, _, what))| match what {
            What::Frame(from, _) if *from == node => Some(*t),
            _ => None,
        });
        let known = last.max().unwrap_or(self.now).max(self.now) + 1_500;
        for other in self.seats.keys().copied().collect::<Vec<_>>() {
            self.push(known, other, What::Act(Act::Notice(node)));
        }
    }

    fn input(&mut self, node: u64, input: Input) {
        if let Input::Submit { runs, .. } = &input {
            for run in runs {
                let (count, class) = (run.count.into(), class(run.class));
                self.write(node, Event::Submit { count, class });
            }
        }
        let mut out = Outputs::new();
        let Some(seat) = self.seats.get_mut(&node) else { return };
        seat.engine.handle(self.now, input, &mut out);
        for output in out.drain() {
            self.output(node, output);
        }
    }

    fn output(&mut self, node: u64, output: Output) {
        match output {
            Output::Send { peer, frame, .. } => self.post(node, peer.0, frame),
            Output::Sent { view, seq, run, .. } => {
                let (count, class) = (run.count.into(), class(run.class));
                self.write(node, Event::Send { view, seq, count, class });
            }
            Output::Deliver(delivery) => self.deliver(node, &delivery),
            Output::Install(install) => self.install(node, install),
            Output::TakeCheckpoint { group, label, joiners } => {
                let bytes = self.checkpoint(node);
                for joiner in joiners {
                    let (hash, r#for) = (hash(&bytes), id(joiner));
                    let bytes = bytes.len() as u64;
                    self.write(
                        node,
                        Event::Checkpoint { view: label, delivered: None, bytes, hash, r#for },
                    );
                }
                self.input(node, Input::Checkpoint { group, label, bytes, last: true });
            }
            Output::Load { offset, bytes, .. } => {
                let Some(seat) = self.seats.get_mut(&node) else { return };
                seat.pieces.truncate(offset as usize);
                seat.pieces.extend_from_slice(&bytes);
            }
            Output::Loaded { label, donor, .. } => {
                let Some(seat) = self.seats.get_mut(&node) else { return };
                let bytes = std::mem::take(&mut seat.pieces);
                let (size, hash, from) = (bytes.len() as u64, hash(&bytes), id(donor));
                let head = bytes.first_chunk().expect("a checkpoint of ours");
                seat.sum = u64::from_le_bytes(*head);
                seat.loaded = Some(Event::Loaded { view: label, bytes: size, hash, from });
            }
            Output::Stable { view, cut, .. } => {
                let extent = cut.extent;
                if let Some(cut) = self.counts(node, view, &cut) {
                    self.write(node, Event::Stable { view, cut, extent });
                }
            }
            Output::Accepted { view, ballot, proposal, cut, .. } => {
                let extent = cut.extent;
                let ballot = format!("{}.{}", ballot.n, ballot.leader);
                let proposal = format!("{proposal:016x}");
                if let Some(cut) = self.counts(node, view, &cut) {
                    self.write(node, Event::Accepted { view, ballot, proposal, cut, extent });
                }
            }
            _ => {}
        }
    }

    /// Frames of one link arrive in order.
    fn post(&mut self, from: u64, to: u64, frame: Bytes) {
        if self.dead.contains(&to) {
            return;
        }
        let link = self.links.entry((from, to)).or_default();
        let arrival = (self.now + (self.delay)(from, to, link.0)).max(link.1 + 1);
        *link = (link.0 + 1, arrival);
        self.push(arrival, to, What::Frame(from, frame));
    }

    fn checkpoint(&self, node: u64) -> Bytes {
        let sum = self.seats.get(&node).map_or(0, |seat| seat.sum);
        let mut bytes = sum.to_le_bytes().to_vec();
        bytes.resize(STATE, 0);
        Bytes::from(bytes)
    }

    fn deliver(&mut self, node: u64, delivery: &Delivery) {
        let Some(seat) = self.seats.get_mut(&node) else { return };
        seat.sum = seat.sum.wrapping_add(xxh3_64(&delivery.body));
        let event = Event::Deliver {
            view: delivery.view,
            sender: id(delivery.sender),
            seq: delivery.seq,
            count: delivery.count.into(),
            class: class(delivery.class),
            position: delivery.position,
            level: event::Level::Optimistic,
        };
        self.write(node, event);
    }

    fn install(&mut self, node: u64, install: Install) {
        let Some(seat) = self.seats.get_mut(&node) else { return };
        seat.me = Some(install.view.members[install.rank].id);
        seat.view = Some((*install.view).clone());
        if let Some(loaded) = seat.loaded.take() {
            self.write(node, loaded);
        }
        let members = install.view.members.iter().enumerate();
        let members = members.map(|(rank, member)| Member {
            id: id(member.id),
            active: install.view.is_active(rank),
        });
        let left = install.left.iter().map(|left| Gone {
            id: id(left.id),
            reason: match left.reason {
                LeftReason::Left => Reason::Left,
                LeftReason::Failed => Reason::Failed,
                LeftReason::Evicted => Reason::Evicted,
            },
        });
        let event = Event::View {
            view: install.view.number,
            members: members.collect(),
            together: install.together.iter().copied().map(id).collect(),
            joined: install.joined.iter().copied().map(id).collect(),
            left: left.collect(),
        };
        self.write(node, event);
    }

    /// A cut by names; `None` where the application has not come to that view.
    fn counts(&self, node: u64, number: u64, cut: &Cut) -> Option<event::Counts> {
        let view = self.seats.get(&node)?.view.as_ref()?;
        let members = view.members.iter().zip(&cut.counts);
        (view.number == number)
            .then(|| members.map(|(member, &count)| (id(member.id), count)).collect())
    }

    fn write(&mut self, node: u64, event: Event) {
        let Some((log, me)) = self.seats.get(&node).and_then(|seat| Some((seat.log, seat.me?)))
        else {
            return;
        };
        let log = &mut self.history.logs[log];
        let start = match log.lines[0].event {
            Event::Start { wall_us, .. } => wall_us,
            _ => 0,
        };
        let (group, generation) = (Some("figure".into()), Some(1));
        log.lines.push(Line { t: self.now - start, node: id(me), group, generation, event });
    }
}

fn config() -> GroupConfig {
    GroupConfig {
        generation: 1,
        schema: 1,
        causal: true,
        meta: Bytes::new(),
        window: 1 << 20,
        join_buffer: 1 << 20,
    }
}

/// The processes of the literature: p, q, r, …
fn name(node: u64) -> char {
    char::from(b'o' + node as u8)
}

fn id(member: MemberId) -> Id {
    format!("{}#{:x}@{}", name(member.node.0), member.node.0, member.entry).into()
}

fn hash(bytes: &[u8]) -> String {
    format!("{:016x}", xxh3_64(bytes))
}

fn class(class: Class) -> event::Class {
    match class {
        Class::Fifo => event::Class::Fifo,
        Class::Causal => event::Class::Causal,
        Class::Total => event::Class::Total,
    }
}
