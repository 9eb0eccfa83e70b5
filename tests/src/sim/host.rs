//! A host: one engine with its clock, and the seats of its application.

use std::collections::BTreeMap;

use bytes::Bytes;
use vsync_core::engine::{DropReason, Engine, Input, Output, Outputs, Refusal, Traffic};
use vsync_core::wire::{GroupId, MemberId, NodeId};
use vsync_history::event::Event;
use vsync_sim::Clock;

use super::judge::{Judge, Submitted};
use super::record::Recorder;
use super::seat::{Desk, Phase, Seat};
use super::trace::Trace;

/// Whether a host runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Run {
    /// It does.
    Up,
    /// It stands still until then; what arrives waits.
    Paused {
        /// The moment.
        until: u64,
    },
    /// It crashed.
    Dead,
}

/// One process.
pub(crate) struct Host {
    /// Its index.
    pub(crate) index: usize,
    /// Its node.
    pub(crate) node: NodeId,
    /// The protocol.
    pub(crate) engine: Engine,
    /// Its clock.
    pub(crate) clock: Clock,
    /// Whether it runs.
    pub(crate) run: Run,
    /// Its part in each group.
    pub(crate) seats: Vec<Seat>,
    /// What arrived while it was paused.
    pub(crate) inbox: Vec<Input>,
    /// When it is woken next.
    pub(crate) wake: Option<u64>,
    /// Whether it will be told to close its batches.
    pub(crate) closing: bool,
    /// How many inputs it took.
    pub(crate) steps: u64,
    /// What it dropped, by reason.
    pub(crate) dropped: BTreeMap<DropReason, u64>,
    /// Bytes of a group's window, for the check of credits.
    pub(crate) window: usize,
    out: Outputs,
}

/// What the world has to do after an input.
#[derive(Debug)]
pub(crate) enum Effect {
    /// Carry a frame.
    Send {
        /// To whom.
        peer: NodeId,
        /// How.
        traffic: Traffic,
        /// What.
        frame: Bytes,
    },
    /// Hand in a checkpoint after a while.
    Checkpoint {
        /// The group.
        group: GroupId,
        /// The label.
        label: u64,
        /// The state at that point.
        bytes: Bytes,
    },
    /// A piece of a checkpoint has come.
    Load {
        /// The group.
        group: GroupId,
    },
    /// A view was installed.
    Installed {
        /// Whether nobody had it before.
        fresh: bool,
    },
    /// There is no quorum.
    Blocked {
        /// The group.
        group: GroupId,
    },
    /// The membership ended by the others' decision.
    Excluded {
        /// The group.
        group: GroupId,
    },
    /// The membership ended as asked.
    Left {
        /// The group.
        group: GroupId,
        /// The member.
        member: Option<MemberId>,
        /// Its last view.
        view: u64,
    },
    /// The join was refused.
    Refused {
        /// The group.
        group: GroupId,
        /// Why.
        reason: Refusal,
    },
}

/// The books of the world that hosts write into.
#[derive(Debug, Default)]
pub(crate) struct Books {
    /// The oracle.
    pub(crate) judge: Judge,
    /// The history.
    pub(crate) recorder: Recorder,
    /// The trace.
    pub(crate) trace: Trace,
}

impl Host {
    /// A fresh process.
    pub(crate) fn new(
        index: usize,
        engine: Engine,
        clock: Clock,
        groups: u64,
        window: usize,
    ) -> Self {
        Host {
            index,
            node: engine.config().node,
            engine,
            clock,
            run: Run::Up,
            seats: (0..groups).map(|group| Seat::new(GroupId(group))).collect(),
            inbox: Vec::new(),
            wake: None,
            closing: false,
            steps: 0,
            dropped: BTreeMap::new(),
            window,
            out: Outputs::new(),
        }
    }

    /// Its part in a group.
    pub(crate) fn seat(&mut self, group: GroupId) -> &mut Seat {
        &mut self.seats[group.0 as usize]
    }

    /// Whether its process exists.
    pub(crate) fn is_alive(&self) -> bool {
        self.run != Run::Dead
    }

    /// Gives the engine an input. The outputs wait for [`Host::absorb`].
    pub(crate) fn handle(&mut self, now: u64, input: Input, trace: &mut Trace) {
        self.steps += 1;
        trace.input(now, self.index, &input);
        self.engine.handle(self.clock.local(now), input, &mut self.out);
    }

    /// What the engine wants done now.
    pub(crate) fn outputs(&self) -> &[Output] {
        self.out.as_slice()
    }

    /// Does the first `limit` of what the engine wants done; a crash takes the rest away.
    pub(crate) fn absorb(
        &mut self,
        now: u64,
        limit: usize,
        books: &mut Books,
        effects: &mut Vec<Effect>,
    ) {
        let mut out = std::mem::take(&mut self.out);
        for output in out.drain().take(limit) {
            books.trace.output(now, self.index, &output);
            self.output(now, output, books, effects);
        }
        self.out = out;
    }

    fn output(&mut self, now: u64, output: Output, books: &mut Books, effects: &mut Vec<Effect>) {
        let (window, t) = (self.window, now);
        let Books { judge, recorder, .. } = books;
        let desk = &mut Desk { host: self.index, node: self.node, t, judge, recorder };
        match output {
            Output::Send { peer, traffic, frame } => {
                effects.push(Effect::Send { peer, traffic, frame });
            }
            Output::Dropped { reason, .. } => {
                *self.dropped.entry(reason).or_default() += 1;
                if let DropReason::Malformed | DropReason::Invalid | DropReason::WrongGeneration =
                    reason
                {
                    desk.judge.fail("foreign", format!("n{} dropped: {reason:?}", self.index));
                }
            }
            Output::Sent { group, view, seq, run } => {
                self.seat(group).on_sent(desk, view, seq, run)
            }
            Output::Deliver(delivery) => self.seat(delivery.group).on_deliver(desk, &delivery),
            Output::Install(install) => {
                let fresh = self.seat(install.group).on_install(desk, &install);
                effects.push(Effect::Installed { fresh });
            }
            Output::TakeCheckpoint { group, label, joiners } => {
                let seat = self.seat(group);
                seat.on_checkpoint(desk, label, &joiners);
                effects.push(Effect::Checkpoint { group, label, bytes: seat.app.save() });
            }
            Output::Load { group, label, donor, offset, bytes } => {
                self.seat(group).on_load(desk, (label, donor), offset, &bytes);
                effects.push(Effect::Load { group });
            }
            Output::Loaded { group, label, donor } => {
                self.seat(group).on_loaded(desk, label, donor);
            }
            Output::Stable { group, view, cut } => self.seat(group).on_stable(desk, view, &cut),
            Output::Flushed { group, id } => self.seat(group).on_flushed(desk, id),
            Output::Credit { group, bytes } => self.seat(group).on_credit(desk, bytes, window),
            ending => self.ending(desk, ending, effects),
        }
    }

    /// The rarer outputs: those about the membership as a whole.
    fn ending(&mut self, desk: &mut Desk<'_>, output: Output, effects: &mut Vec<Effect>) {
        match output {
            Output::Accepted { group, view, ballot, proposal, cut } => {
                let seat = self.seat(group);
                let counts = seat.view.as_ref().map(|view| desk.recorder.cut(view, &cut));
                seat.on_accepted(desk, view, || Event::Accepted {
                    view,
                    ballot: format!("{}.{}", ballot.n, ballot.leader),
                    proposal: format!("{proposal:016x}"),
                    cut: counts.unwrap_or_default(),
                    extent: cut.extent,
                });
            }
            Output::Blocked { group } => {
                let seat = self.seat(group);
                seat.blocked = true;
                seat.write(desk, Event::Blocked { reason: "quorum".into() });
                effects.push(Effect::Blocked { group });
            }
            Output::Resumed { group } => {
                let seat = self.seat(group);
                seat.blocked = false;
                seat.write(desk, Event::Resumed { reason: "quorum".into() });
            }
            Output::Excluded { group, view, decided } => {
                let event = Event::Excluded { view, own: decided };
                self.seat(group).on_end(desk, view, decided, event);
                effects.push(Effect::Excluded { group });
            }
            Output::Left { group, view, decided } => {
                let seat = self.seat(group);
                let member = seat.me;
                let event = Event::Closed { view, own: Some(decided) };
                seat.on_end(desk, view, Some(decided), event);
                effects.push(Effect::Left { group, member, view });
            }
            Output::Refused { group, reason } => {
                let seat = self.seat(group);
                if matches!(seat.phase, Phase::Joining(_)) {
                    seat.reset(Phase::Out);
                }
                effects.push(Effect::Refused { group, reason });
            }
            // The others went to `output`.
            _ => {}
        }
    }

    /// Its part in a group, and where that writes.
    fn at_desk<'a>(
        &'a mut self,
        now: u64,
        group: GroupId,
        books: &'a mut Books,
    ) -> (&'a mut Seat, Desk<'a>) {
        let Books { judge, recorder, .. } = books;
        let desk = Desk { host: self.index, node: self.node, t: now, judge, recorder };
        (&mut self.seats[group.0 as usize], desk)
    }

    /// Updates are about to be handed to the engine.
    pub(crate) fn submit(
        &mut self,
        now: u64,
        group: GroupId,
        (updates, bytes): (&[Submitted], u64),
        books: &mut Books,
    ) {
        let (seat, mut desk) = self.at_desk(now, group, books);
        seat.submit(&mut desk, updates, bytes);
    }

    /// A flush is about to be asked for.
    pub(crate) fn flush(&mut self, now: u64, group: GroupId, id: u64, books: &mut Books) {
        let (seat, mut desk) = self.at_desk(now, group, books);
        seat.flush(&mut desk, id);
    }

    /// Writes where the host stands at rest: the digest of its state, and what is left in memory.
    pub(crate) fn write_state(&mut self, now: u64, group: GroupId, books: &mut Books) {
        let status = self.engine.status(group);
        let (seat, mut desk) = self.at_desk(now, group, books);
        let Some(view) = &seat.view else { return };
        let mut cut = seat.stable.clone();
        cut.counts.clone_from(&seat.delivered);
        let event = Event::State {
            view: view.number,
            extent: cut.extent,
            cut: desk.recorder.cut(view, &cut),
            hash: format!("{:016x}", seat.app.digest()),
        };
        seat.write(&mut desk, event);
        if let Some(status) = status {
            let (retained, queued) = (status.retained as u64, status.queued as u64);
            seat.write(&mut desk, Event::Idle { retained, queued });
        }
    }

    /// The members it believes in.
    pub(crate) fn member(&self, group: GroupId) -> Option<MemberId> {
        self.seats[group.0 as usize].me
    }
}
