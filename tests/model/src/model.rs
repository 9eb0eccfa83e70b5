//! The state space: three real engines, the frames between them, and what may go wrong.

use std::collections::HashMap;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, RwLock};

use stateright::{Model, Property};
use vsync_core::bugs::Bugs;
use vsync_core::wire::NodeId;
use xxhash_rust::xxh3::Xxh3;

use crate::bound::Bound;
use crate::frame::{Frame, STREAMS};
use crate::member::{Happening, Member, Sending};
use crate::properties;
use crate::setup::{Setup, node};

/// How many members the first view has.
pub const MEMBERS: usize = 3;

const LINKS: usize = MEMBERS * MEMBERS * STREAMS;

/// Frames under way: one queue for each pair of members, direction and stream.
#[derive(Clone, Debug, Default, Hash, PartialEq, Eq)]
pub struct Network {
    queues: [Vec<Frame>; LINKS],
}

fn link(from: usize, to: usize, stream: usize) -> usize {
    (from * MEMBERS + to) * STREAMS + stream
}

impl Network {
    /// Puts frames under way.
    pub fn send(&mut self, from: usize, sent: impl IntoIterator<Item = Sending>) {
        for (peer, stream, frame) in sent {
            self.queues[link(from, rank(peer), stream)].push(frame);
        }
    }

    /// Takes the head of a queue.
    pub fn take(&mut self, from: usize, to: usize, stream: usize) -> Option<Frame> {
        let queue = &mut self.queues[link(from, to, stream)];
        (!queue.is_empty()).then(|| queue.remove(0))
    }

    /// The queues that hold something: from, to, stream.
    pub fn busy(&self) -> impl Iterator<Item = (usize, usize, usize)> + '_ {
        let busy = self.queues.iter().enumerate().filter(|(_, queue)| !queue.is_empty());
        busy.map(|(at, _)| (at / STREAMS / MEMBERS, at / STREAMS % MEMBERS, at % STREAMS))
    }

    /// Loses everything that is under way from one member to another.
    fn lose(&mut self, from: usize, to: usize) {
        (0..STREAMS).for_each(|stream| self.queues[link(from, to, stream)].clear());
    }

    fn queues_to(&mut self, to: usize) -> impl Iterator<Item = &mut Vec<Frame>> {
        let queues = self.queues.iter_mut().enumerate();
        queues.filter(move |(at, _)| at / STREAMS % MEMBERS == to).map(|(_, queue)| queue)
    }

    fn is_busy(&self, from: usize, to: usize) -> bool {
        (0..STREAMS).any(|stream| !self.queues[link(from, to, stream)].is_empty())
    }

    fn head(&self, from: usize, to: usize, stream: usize) -> Option<&Frame> {
        self.queues[link(from, to, stream)].first()
    }
}

fn rank(node: NodeId) -> usize {
    node.0 as usize - 1
}

/// What has gone wrong so far.
#[derive(Clone, Copy, Debug, Default, Hash, PartialEq, Eq)]
pub struct Spent {
    /// Silences.
    pub suspicions: u8,
    /// Retries.
    pub retries: u8,
    /// Broken connections.
    pub breaks: u8,
}

/// One state of the whole.
#[derive(Clone)]
pub struct State {
    /// The members by their rank in the first view; shared between states.
    pub members: [Arc<Member>; MEMBERS],
    /// Who has crashed.
    pub crashed: [bool; MEMBERS],
    /// Frames under way.
    pub network: Network,
    /// What has gone wrong.
    pub spent: Spent,
    /// Who has been told that a crashed member has ended.
    told: [bool; MEMBERS],
}

impl Hash for State {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.members.iter().for_each(|member| state.write_u128(member.digest()));
        (self.crashed, &self.network, self.spent, self.told).hash(state);
    }
}

impl PartialEq for State {
    fn eq(&self, other: &Self) -> bool {
        let digests = |state: &State| state.members.each_ref().map(|member| member.digest());
        digests(self) == digests(other)
            && (self.crashed, self.spent, self.told) == (other.crashed, other.spent, other.told)
            && self.network == other.network
    }
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (rank, member) in self.members.iter().enumerate() {
            writeln!(f, "{rank}{}: {:?}", if self.crashed[rank] { "†" } else { "" }, member.log)?;
        }
        write!(f, "{:?}", self.spent)
    }
}

/// What can happen next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// The head of a stream arrives.
    Deliver {
        /// The sender's rank.
        from: usize,
        /// The receiver's rank.
        to: usize,
        /// Which stream.
        stream: usize,
    },
    /// The connection between two members breaks, what was under way is lost, and it comes back.
    Break(usize, usize),
    /// A member crashes. What it has sent may still arrive.
    Crash(usize),
    /// A member learns that the crashed one has ended; what was still under way from it is lost.
    Ended {
        /// Who learns it.
        observer: usize,
        /// The crashed one.
        gone: usize,
    },
    /// A member suspects everybody, until it hears them again.
    Suspect(usize),
    /// A member's retry timers fire.
    Retry(usize),
    /// A member's open batch is sent.
    Close(usize),
}

/// What a happening made of a member.
type Step = (Arc<Member>, Arc<[Sending]>);

/// The model.
pub struct ViewChange {
    bound: Bound,
    first: State,
    /// A member's step is a function of its state and of what happens to it, and the same few meet
    /// in very many states of the whole.
    steps: RwLock<HashMap<(u128, u64), Step>>,
}

impl ViewChange {
    /// The model with a bound, and perhaps a planted bug. `None`: the first state cannot be
    /// reached.
    pub fn new(bound: Bound, bugs: Bugs) -> Option<Self> {
        let setup = Setup::new(bugs, bound.traffic);
        if !setup.is_complete() {
            return None;
        }
        let mut members = setup.members.into_iter().map(Arc::new);
        let first = State {
            members: [members.next()?, members.next()?, members.next()?],
            crashed: [false; MEMBERS],
            network: setup.network,
            spent: Spent::default(),
            told: [false; MEMBERS],
        };
        Some(ViewChange { bound, first, steps: RwLock::default() })
    }

    /// How many different steps of single members were made.
    pub fn steps(&self) -> usize {
        self.steps.read().map(|steps| steps.len()).unwrap_or_default()
    }

    fn step(&self, member: &Member, happening: &Happening) -> Step {
        let key = (member.digest(), digest(happening));
        if let Ok(steps) = self.steps.read()
            && let Some(step) = steps.get(&key)
        {
            return step.clone();
        }
        let mut next = member.clone();
        let sent = next.happen(happening);
        let step = (Arc::new(next), sent.into());
        if let Ok(mut steps) = self.steps.write() {
            return steps.entry(key).or_insert(step).clone();
        }
        step
    }

    /// Lets something happen to a member. Returns whether it made a difference.
    fn happen(&self, state: &mut State, at: usize, happening: &Happening) -> bool {
        let (next, sent) = self.step(&state.members[at], happening);
        let news = !sent.is_empty() || next.digest() != state.members[at].digest();
        let moved = next.view() != state.members[at].view();
        state.members[at] = next;
        if moved && !self.bound.late {
            let view = state.members[at].view();
            state.network.queues_to(at).for_each(|queue| queue.retain(|f| !f.is_before(view)));
        }
        let alive = sent.iter().filter(|(peer, _, frame)| {
            !state.crashed[rank(*peer)]
                && (self.bound.late
                    || !frame.is_confirmation()
                        && !frame.is_before(state.members[rank(*peer)].view()))
        });
        // Who knows that a peer has ended has no connection to it; and a crashed one reads nothing.
        state.network.send(at, alive.cloned());
        news
    }

    /// A caption for an action in its state.
    pub fn caption(state: &State, action: Action) -> String {
        match action {
            Action::Deliver { from, to, stream } => {
                let name = state.network.head(from, to, stream).map_or("?", Frame::name);
                format!("{from} -> {to} {name}")
            }
            action => format!("{action:?}"),
        }
    }
}

fn digest(happening: &Happening) -> u64 {
    let mut hasher = Xxh3::new();
    happening.hash(&mut hasher);
    hasher.finish()
}

impl Model for ViewChange {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![self.first.clone()]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        if state.members.iter().any(|member| member.log.broken.is_some()) {
            // A finding: nothing that comes after it means anything.
            return;
        }
        let deliver = |(from, to, stream)| Action::Deliver { from, to, stream };
        actions.extend(state.network.busy().map(deliver));
        let alive = |&at: &usize| !state.crashed[at];
        let crashes = (0..MEMBERS).filter(|&at| state.crashed[at]).count() as u8;
        for at in (0..MEMBERS).filter(alive) {
            actions.push(Action::Close(at));
            if crashes < self.bound.crashes {
                actions.push(Action::Crash(at));
            }
            if state.spent.suspicions < self.bound.suspicions {
                actions.push(Action::Suspect(at));
            }
            if state.spent.retries < self.bound.retries {
                actions.push(Action::Retry(at));
            }
            let gone = (0..MEMBERS).find(|&gone| state.crashed[gone]);
            if let Some(gone) = gone.filter(|_| !state.told[at]) {
                actions.push(Action::Ended { observer: at, gone });
            }
            if state.spent.breaks < self.bound.breaks {
                let others = (at + 1..MEMBERS).filter(alive);
                let busy =
                    |&to: &usize| state.network.is_busy(at, to) || state.network.is_busy(to, at);
                actions.extend(others.filter(busy).map(|to| Action::Break(at, to)));
            }
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut next = last.clone();
        match action {
            Action::Deliver { from, to, stream } => {
                let frame = next.network.take(from, to, stream)?;
                self.happen(&mut next, to, &Happening::Frame(node(from), frame));
            }
            Action::Break(a, b) => {
                next.spent.breaks += 1;
                next.network.lose(a, b);
                next.network.lose(b, a);
                self.happen(&mut next, a, &Happening::Reconnected(node(b)));
                self.happen(&mut next, b, &Happening::Reconnected(node(a)));
            }
            Action::Crash(at) => {
                next.crashed[at] = true;
                (0..MEMBERS).for_each(|from| next.network.lose(from, at));
            }
            Action::Ended { observer, gone } => {
                next.told[observer] = true;
                next.network.lose(gone, observer);
                self.happen(&mut next, observer, &Happening::Ended(node(gone)));
            }
            Action::Suspect(at) => {
                next.spent.suspicions += 1;
                self.happen(&mut next, at, &Happening::Silence).then_some(())?;
            }
            Action::Retry(at) => {
                next.spent.retries += 1;
                self.happen(&mut next, at, &Happening::Retry).then_some(())?;
            }
            Action::Close(at) => {
                self.happen(&mut next, at, &Happening::Close).then_some(())?;
            }
        }
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        properties::all()
    }

    fn format_action(&self, action: &Action) -> String {
        format!("{action:?}")
    }
}
