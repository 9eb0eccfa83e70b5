//! A node of a simulation: the engine, its clock, and the replica that its outputs change.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use vsync_core::engine::{Class, Delivery, Engine, Install, Outputs};
use vsync_core::wire::{Cut, MemberId, NodeId, View};
use vsync_sim::Clock;

use super::judge::{Judge, Table, protocol};
use super::serving::{Serving, travelled};
use super::story::Story;
use crate::codec::pieces::CheckpointReader;
use crate::error::{GroupError, Unknown};
use crate::runtime::apply::{self, Stop};
use crate::runtime::callers::Answer;
use crate::runtime::checkpoint::{self, Beside, Opened};
use crate::runtime::inner::{Inner, Sending};
use crate::runtime::seldom::Seldom;
use crate::runtime::sessions::Sessions;
use crate::runtime::timers::{Saved, Timers};
use crate::testing::check::{Draw, Failure, Kind};
use crate::testing::stage::{GROUP, does_not_load, guarded, snapshot};
use crate::watch::{Seen, watch};
use crate::{Ctx, Replicated, Reply, view};

/// How far a node is with the group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Not in it.
    Out,
    /// Asked to come in, with this nonce.
    Joining(u64),
    /// In a view.
    Member,
    /// Asked to leave.
    Leaving,
}

/// One node.
pub(super) struct Host<S: Replicated> {
    pub(super) node: NodeId,
    pub(super) engine: Engine,
    pub(super) out: Outputs,
    pub(super) clock: Clock,
    pub(super) alive: bool,
    /// When it is woken next.
    pub(super) wake: Option<u64>,
    /// Whether it will be told to close its batches.
    pub(super) closing: bool,
    /// Whether it wants to be a member.
    pub(super) wanted: bool,
    pub(super) replica: Replica<S>,
}

/// A membership and its state.
pub(super) struct Replica<S: Replicated> {
    pub(super) phase: Phase,
    /// The member, from its first view on.
    pub(super) me: Option<MemberId>,
    pub(super) view: Option<View>,
    pub(super) rank: usize,
    /// The state, from the checkpoint on.
    pub(super) state: Option<S>,
    /// Delivered in this view, by rank.
    pub(super) delivered: Vec<u64>,
    /// The same, in order: rank and number.
    pub(super) applied: Vec<(usize, u64)>,
    /// Bytes that may be submitted.
    pub(super) credit: u64,
    /// Submitted, without a number yet.
    pub(super) pending: VecDeque<Arc<Draw>>,
    /// Whether there is no quorum.
    pub(super) blocked: bool,
    /// Where requests are asked for: who runs them and waits for them here.
    pub(super) serving: Option<Serving<S>>,
    /// What was asked for and what came of it, as all agree.
    sessions: Seldom<Sessions>,
    ctx: Option<Ctx<S>>,
    /// Until there is a view: the timers of the checkpoint.
    timers: Seldom<Timers>,
    /// How many events the beginning of the view has emitted, as the checkpoint says.
    emitted: u64,
    /// The view of the checkpoint that the state was loaded from.
    label: u64,
    /// The checkpoint as far as it has come.
    pub(super) pieces: Vec<u8>,
}

/// What the type must hold to, and where it is written down.
pub(super) struct Desk<'a, S> {
    pub(super) host: usize,
    pub(super) now: u64,
    /// The clock of the wall.
    pub(super) wall: u64,
    pub(super) start: &'a dyn Fn() -> S,
    pub(super) invariants: &'a [Invariant<S>],
    pub(super) judge: &'a mut Judge,
    pub(super) story: &'a mut Story,
}

/// Something that must be true of every state.
pub(super) type Invariant<S> = (&'static str, Box<dyn Fn(&S) -> bool>);

impl<S> Desk<'_, S> {
    pub(super) fn tell(&mut self, what: String) {
        self.story.tell(self.now, self.host, what);
    }

    /// Whether a state is as it must be.
    fn inspect(&self, state: &S, after: impl FnOnce() -> String) -> Result<(), Failure> {
        for (name, holds) in self.invariants {
            if !guarded(name, || holds(state))? {
                let report = format!("at n{}, \"{name}\" is not true {}", self.host, after());
                return Err(Failure::new(Kind::Invariant, report));
            }
        }
        Ok(())
    }
}

impl<S: Replicated> Replica<S> {
    /// Not in the group.
    pub(super) fn new(phase: Phase) -> Self {
        Replica {
            phase,
            me: None,
            view: None,
            rank: 0,
            state: None,
            delivered: Vec::new(),
            applied: Vec::new(),
            credit: 0,
            pending: VecDeque::new(),
            blocked: false,
            serving: None,
            sessions: Seldom::default(),
            ctx: None,
            timers: Seldom::default(),
            emitted: 0,
            label: 0,
            pieces: Vec::new(),
        }
    }

    /// The number of its view; 0 before the first.
    pub(super) fn number(&self) -> u64 {
        self.view.as_ref().map_or(0, |view| view.number)
    }

    /// Whether it is active in its view.
    pub(super) fn is_active(&self) -> bool {
        self.view.as_ref().is_some_and(|view| view.is_active(self.rank))
    }

    /// Applies a range.
    pub(super) fn deliver(
        &mut self,
        range: &Delivery,
        desk: &mut Desk<'_, S>,
    ) -> Result<u64, Failure> {
        let host = desk.host;
        let (Some(mut ctx), Some(mut state)) = (self.ctx.take(), self.state.take()) else {
            return protocol(format!("n{host} delivers before it has a state"));
        };
        if self.delivered.get(range.rank) != Some(&range.seq) || self.number() != range.view {
            return protocol(format!("n{host} delivers {range:?} after {:?}", self.delivered));
        }
        ctx.deliver(range.sender, range.rank, range.time, range.class == Class::Total);
        let mut body: &[u8] = &range.body;
        for seq in range.seq..range.seq + u64::from(range.count) {
            let sent = desk.judge.update(range.view, range.sender, seq).cloned();
            let (Some((update, rest)), Some(draw)) = (split(body), sent) else {
                return protocol(format!("n{host} delivers what nobody sent: {range:?}"));
            };
            body = rest;
            if update != draw.bytes {
                return protocol(format!("n{host} delivers {} as other bytes", draw.words));
            }
            let words = &draw.words;
            desk.tell(format!("applies {words} of n{}", range.sender.node.0));
            ctx.next(seq);
            self.apply((&mut state, &ctx), update, (range, seq), &draw, host)?;
            self.delivered[range.rank] += 1;
            self.applied.push((range.rank, seq));
            desk.inspect(&state, || format!("after {words} of n{}", range.sender.node.0))?;
        }
        (self.ctx, self.state) = (Some(ctx), Some(state));
        if let Some(serving) = &mut self.serving {
            serving.delivered(range, &mut self.sessions.pending, desk.wall);
        }
        desk.judge.compare(host, self, desk.start)?;
        Ok(u64::from(range.count))
    }

    /// Applies one update, the user's or the runtime's, as a node does.
    fn apply(
        &mut self,
        (state, ctx): (&mut S, &Ctx<S>),
        update: &[u8],
        (range, seq): (&Delivery, u64),
        draw: &Draw,
        host: usize,
    ) -> Result<(), Failure> {
        let own = self.serving.as_mut().filter(|_| range.rank == self.rank);
        let own = own.filter(|serving| serving.wants(range.view, seq));
        let mut answer: Option<Answer> = None;
        let mut reply = match own {
            Some(_) => Reply::slot(&mut answer),
            None => Reply::none(),
        };
        let (sessions, mut broken) = (&mut self.sessions, Seen::default());
        let run = || match state.apply(ctx, update, &mut reply) {
            Ok(()) => Ok(()),
            Err(error) => match Inner::read(update) {
                Some(inner) => {
                    let carry_out = || apply::carry_out(state, ctx, inner, &mut reply, sessions);
                    let (done, seen) = watch(carry_out);
                    broken = seen;
                    done
                }
                None => Err(Stop::from(error)),
            },
        };
        let words = &draw.words;
        let done = guarded(words, run)?;
        travelled(words, &broken)?;
        if let Err(stop) = done {
            let report = format!("n{host} cannot apply {words}: {stop}");
            let panicked = matches!(stop, Stop::Failed(GroupError::Panicked(_)));
            let kind = if panicked { Kind::Panicked } else { Kind::Wire };
            return Err(Failure::new(kind, report));
        }
        if let Some(serving) = own {
            let answer = answer.ok_or(GroupError::Unknown(Unknown::NoAnswer));
            serving.gave(range.view, seq, answer);
        }
        Ok(())
    }

    /// Installs a view.
    pub(super) fn install(
        &mut self,
        install: Install,
        desk: &mut Desk<'_, S>,
    ) -> Result<(), Failure> {
        let host = desk.host;
        desk.judge.close(host, self, &install)?;
        let view = view::View::new(&install.view, &[], &install.joined, &install.left);
        let number = install.view.number;
        let names = install.view.members.iter().map(|member| format!("n{}", member.id.node.0));
        let names: Vec<String> = names.collect();
        let active = install.view.active;
        desk.tell(format!(
            "installs view {number}: {} active, {} joining",
            names[..active].join(" "),
            if active == names.len() { "nobody".to_owned() } else { names[active..].join(" ") },
        ));
        let timers = match self.ctx.take() {
            Some(before) => before.into_timers(),
            None => std::mem::take(&mut self.timers),
        };
        let mut ctx = Ctx::new(GROUP, view.clone());
        ctx.begin(timers, desk.wall);
        let Some(state) = &mut self.state else {
            return protocol(format!("n{host} installs view {number} without a state"));
        };
        // A checkpoint is taken after its view was told.
        if number > self.label {
            guarded("the `#[on_view]` method", || state.on_view(&ctx, &view))?;
        } else {
            ctx.had_emitted(self.emitted);
        }
        self.ctx = Some(ctx);
        self.me = install.view.members.get(install.rank).map(|member| member.id);
        self.rank = install.rank;
        self.delivered = vec![0; install.view.members.len()];
        self.applied.clear();
        self.view = Some((*install.view).clone());
        if matches!(self.phase, Phase::Joining(_)) {
            self.phase = Phase::Member;
        }
        desk.inspect(state, || format!("in view {number}"))?;
        self.sessions.installed();
        if let Some(serving) = &mut self.serving {
            serving.installed(&view, self.me, &mut self.sessions.pending, desk.wall);
        }
        desk.judge.compare(host, self, desk.start)
    }

    /// The checkpoint, for a member that joins.
    pub(super) fn checkpoint(&self, desk: &mut Desk<'_, S>) -> Result<Bytes, Failure> {
        let Some(state) = &self.state else {
            return protocol(format!("n{} is to give a state that it has not", desk.host));
        };
        desk.tell("takes a checkpoint".to_owned());
        let emitted = self.ctx.as_ref().map_or(0, Ctx::emitted);
        let beside = Beside {
            emitted,
            timers: self.saved_timers(),
            active: S::VERSION,
            sessions: self.sessions.saved(),
            pending: self.sessions.pending.saved(),
        };
        snapshot(state)?;
        checkpoint::whole(state, &beside)
            .map_err(|why| Failure::new(Kind::Checkpoint, why.to_string()))
    }

    /// The timers that are set.
    pub(super) fn saved_timers(&self) -> Saved {
        self.ctx.as_ref().map_or_else(|| self.timers.saved(), Ctx::saved_timers)
    }

    /// What was asked for and what came of it, where anything may be.
    pub(super) fn table(&self) -> Option<Table> {
        self.serving.as_ref().map(|_| (self.sessions.saved(), self.sessions.pending.saved()))
    }

    /// A cut is stable.
    pub(super) fn stable(&mut self, view: u64, cut: &Cut) {
        if let Some(serving) = &mut self.serving {
            serving.stable(view, cut, self.rank);
        }
    }

    /// What a coordinator sends for the next timer that is due, or for what is late.
    pub(super) fn due(&mut self, wall: u64) -> Option<Sending> {
        let coordinates = self.phase == Phase::Member && self.rank == 0 && self.is_active();
        let ctx = self.ctx.as_mut().filter(|_| coordinates)?;
        if let Some((timer, stable)) = ctx.ask(wall) {
            return Inner::Fire(timer).sending(stable);
        }
        self.sessions.ask(wall).then_some(Inner::Expire)?.sending(false)
    }

    /// The state is that of a checkpoint.
    pub(super) fn load(
        &mut self,
        label: u64,
        checkpoint: Bytes,
        desk: &mut Desk<'_, S>,
    ) -> Result<(), Failure> {
        desk.tell(format!("loads the checkpoint of view {label}"));
        let mut state = (desk.start)();
        let mut from = CheckpointReader::whole(checkpoint.clone());
        let opened = guarded("loading", || checkpoint::read(&mut state, &mut from))?;
        let Opened { beside, .. } = opened.map_err(|error| does_not_load::<S>(&error))?;
        let again = snapshot(&state)?;
        if checkpoint::whole(&state, &beside).as_ref() != Ok(&checkpoint) {
            let report = format!(
                "a checkpoint that n{} has loaded, saved again, is another one; `checkpointed` \
                 says more. It has become:\n{}",
                desk.host,
                again.lines()
            );
            return Err(Failure::new(Kind::Checkpoint, report));
        }
        (self.emitted, self.timers) = (beside.emitted, beside.timers.timers(desk.wall).into());
        self.sessions = beside.sessions.sessions(beside.pending.pending()).into();
        desk.inspect(&state, || format!("in the checkpoint of view {label}"))?;
        (self.state, self.label) = (Some(state), label);
        Ok(())
    }

    /// Whether nothing is under way here.
    pub(super) fn at_rest(&self, judge: &Judge) -> Result<(), String> {
        let Some(view) = &self.view else {
            return Err("is in no view".to_owned());
        };
        if !self.is_active() || self.phase != Phase::Member {
            return Err(format!("is {:?} in view {}", self.phase, view.number));
        }
        if self.blocked || !self.pending.is_empty() {
            let waiting = self.pending.len();
            return Err(format!("is blocked ({}), {waiting} updates wait", self.blocked));
        }
        for (rank, member) in view.members.iter().enumerate() {
            let (sent, delivered) = (judge.count(view.number, member.id), self.delivered[rank]);
            if sent != delivered {
                return Err(format!("has delivered {delivered} of {sent} of member {rank}"));
            }
        }
        Ok(())
    }
}

/// The first update of a body, and the rest.
pub(super) fn split(body: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = body.split_first_chunk::<4>()?;
    rest.split_at_checked(u32::from_le_bytes(*length) as usize)
}
