//! [`Typed`]: the driver's end of a replica, which knows the type.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use bytes::Bytes;
use vsync_core::engine::{Class, Delivery};
use vsync_core::wire::{MemberId, Micros};

use super::apply::{Walk, panicked};
use super::attempts::{self, Attempts};
use super::callers::Takes;
use super::checkpoint::Beside;
use super::clock::wall;
use super::compare::{self, Comparison, Digest};
use super::emitted::Unstable;
use super::inner::{Inner, Sending};
use super::replica::{Broken, Cell, Installed, Loading, Replica, Saving, Shared};
use super::seldom::Seldom;
use super::sessions::Sessions;
use super::timers::Timers;
use super::verdicts::{Place, Verdicts};
use crate::Ctx;
use crate::ctx::lacking;
use crate::events::{Cursor, Emitted};
use crate::replicated::Replicated;
use crate::state::CheckpointError;
use crate::view::View;

/// The driver's end of a [`Shared`].
pub(crate) struct Typed<S: Replicated> {
    shared: Arc<Shared<S>>,
    /// Once a view is installed.
    ctx: Option<Ctx<S>>,
    /// Until then: the timers that were loaded.
    timers: Seldom<Timers>,
    sessions: Seldom<Sessions>,
    /// The handlers of requests that run here, once there are requests.
    attempts: Option<Box<Attempts<S>>>,
    /// How many events the view's beginning has emitted.
    emitted: u64,
    /// Whether this node is the view's coordinator.
    coordinates: bool,
    /// The version of the type that is active in the group.
    active: u32,
    /// Whether this node has asked for the view in which the next one is.
    asked: bool,
    verdicts: Verdicts,
    comparison: Comparison,
    /// This replica is not like the others.
    differs: bool,
    unstable: Unstable<S::Event>,
}

impl<S: Replicated> Typed<S> {
    /// Compared with the others' after each `compare` updates; never at 0.
    pub(crate) fn new(shared: Arc<Shared<S>>, compare: u64) -> Typed<S> {
        Typed {
            shared,
            ctx: None,
            timers: Seldom::default(),
            sessions: Seldom::default(),
            attempts: None,
            emitted: 0,
            coordinates: false,
            active: S::VERSION,
            asked: false,
            verdicts: Verdicts::default(),
            comparison: Comparison::new(compare),
            differs: false,
            unstable: Unstable::new(),
        }
    }

    /// Whether this member is to say something of what was applied, or runs requests.
    pub(super) fn is_busy(&self) -> bool {
        let me = self.shared.seat.status().me;
        let coordinates = |me| self.sessions.pending.loads().contains_key(&me);
        self.verdicts.is_open() || self.verdicts.is_sending() || me.is_some_and(coordinates)
    }

    /// This version of the type is active.
    fn activated(&mut self, version: u32) {
        self.active = version;
        self.shared.seat.activated(version);
    }

    /// The version that was agreed on in the view `before` becomes active, unless somebody has come
    /// with `view` who does not have it.
    fn change_version(&mut self, before: &Ctx<S>, view: &View) {
        if let Some(version) = before.next_version()
            && lacking(view, version).is_empty()
        {
            tracing::info!(group = &*self.shared.seat.name, version, "a version is active");
            self.activated(version);
        }
    }

    /// Whether this node is to ask for the next view.
    fn is_to_ask(&self) -> bool {
        let agreed = self.ctx.as_ref().is_some_and(|ctx| ctx.next_version().is_some());
        agreed && self.coordinates && !self.asked
    }

    /// What a checkpoint holds beside the state.
    fn beside(&self) -> Beside {
        let timers = self.ctx.as_ref().map_or_else(|| self.timers.saved(), Ctx::saved_timers);
        let (sessions, pending) = (self.sessions.saved(), self.sessions.pending.saved());
        Beside { emitted: self.emitted, timers, active: self.active, sessions, pending }
    }

    /// Updates of a range have failed here, and its sender has spoken of others.
    fn note(&mut self, range: &Delivery, walk: Walk<'_>) -> Result<(), String> {
        let Walk { failed, heard, digests, taken, .. } = walk;
        for (place, digest) in taken {
            self.comparison.took(place, digest);
        }
        for (place, digest) in digests {
            self.compare(range.sender, place, digest)?;
        }
        let rank = u32::try_from(range.rank).unwrap_or(u32::MAX);
        for seq in failed {
            self.verdicts.failed(Place { view: range.view, update: Some((rank, seq)) })?;
        }
        for (place, verdict) in heard {
            let applied = self.has_applied(place);
            // It was there when the range was applied.
            let Some(ctx) = &self.ctx else { break };
            self.verdicts.heard(range.sender, ctx.view(), place, verdict, applied)?;
        }
        self.verdicts.applied(range.rank, range.seq + u64::from(range.count))
    }

    /// Tells who is not like the others. An error if it is this replica.
    fn compare(&mut self, from: MemberId, place: Place, digest: Digest) -> Result<(), String> {
        let seat = &self.shared.seat;
        let me = seat.status().me;
        let Some(ctx) = &self.ctx else { return Ok(()) };
        let mut own = None;
        for difference in self.comparison.heard(from, ctx.view(), place, digest) {
            seat.differs(&difference);
            if Some(difference.member) == me {
                own = Some(difference);
            }
        }
        seat.compared(self.comparison.take_complete());
        // A donor's state mends that. Where a method fails at this member alone (see `Verdicts`),
        // it would not: that would fail again.
        self.differs |= own.is_some();
        own.map_or(Ok(()), |difference| Err(difference.to_string()))
    }

    fn has_applied(&self, place: Place) -> bool {
        let status = self.shared.seat.status();
        place.update.is_none_or(|(rank, seq)| seq < status.delivered.count(rank as usize))
    }

    /// Runs the `#[on_view]` method, if there is one, and shows the view to this node's handles. If
    /// it panics, what it has changed stays, as after an update.
    fn begin_view(&mut self, ctx: &Ctx<S>, installed: &Installed) -> Result<(), Broken> {
        let view = ctx.view();
        if !S::ON_VIEW || !installed.told {
            self.show(installed);
            return Ok(());
        }
        let shared = Arc::clone(&self.shared);
        let mut state = shared.lock();
        // Under the state's lock: a query knows the view that it reads the beginning of.
        self.show(installed);
        let Cell::Live(live) = &mut *state else {
            return Err(Broken("a view without a state".to_owned()));
        };
        let done = catch_unwind(AssertUnwindSafe(|| live.on_view(ctx, view)));
        drop(state);
        let Err(panic) = done else { return Ok(()) };
        self.shared.seat.failed(&panicked(panic.as_ref()));
        self.verdicts.failed(Place { view: view.number(), update: None }).map_err(Broken)
    }

    fn show(&self, installed: &Installed) {
        self.shared.seat.installed(installed.view.clone(), installed.me);
    }

    /// A view has begun, with `told` in which the state is that of the view before.
    fn begin_comparison(&mut self, view: &View, told: bool) {
        self.comparison.installed();
        let (shared, active) = (Arc::clone(&self.shared), self.active);
        if !self.comparison.is_on() || !told {
            return;
        }
        let timers = self.ctx.as_ref().map(Ctx::saved_timers).unwrap_or_default();
        let beside = (self.sessions.agreed(), &timers);
        if let Cell::Live(live) = &*shared.lock()
            && let Ok(Some(digest)) =
                catch_unwind(AssertUnwindSafe(|| compare::whole(live, beside, active)))
        {
            let place = Place { view: view.number(), update: None };
            self.comparison.took(place, digest);
        }
    }
}

impl<S: Replicated> Replica for Typed<S> {
    fn deliver(&mut self, range: &Delivery, takes: Option<&mut dyn Takes>) -> Result<(), Broken> {
        let Some(mut ctx) = self.ctx.take() else {
            return Err(Broken("an update before the first view".to_owned()));
        };
        let total = range.class == Class::Total;
        ctx.deliver(range.sender, range.rank, range.time, total);
        ctx.read(self.shared.feed.is_read());
        let mut walk = Walk::new(range);
        let walked = {
            let mut state = self.shared.lock();
            match &mut *state {
                Cell::Live(live) => {
                    let (seat, sessions) = (&self.shared.seat, &mut self.sessions);
                    let walked = walk.all(live, &mut ctx, takes, seat, sessions);
                    // Under the state's lock: a query knows how far what it reads goes.
                    self.shared.seat.applied(range);
                    walked
                }
                _ => Err("an update without a state".to_owned()),
            }
        };
        let kept = ctx.kept();
        self.ctx = Some(ctx);
        if !kept.is_empty() {
            self.unstable.keep(range.view, range.rank, kept);
            self.stabilised();
        }
        if self.sessions.pending.has_news() {
            let attempts =
                self.attempts.get_or_insert_with(|| Box::new(Attempts::new(&self.shared)));
            attempts.follow(&mut self.sessions.pending, &self.shared.seat, range.rank);
        }
        walked.map_err(Broken)?;
        self.comparison.applied::<S>(range.count.into(), self.coordinates);
        if walk.is_plain() && !self.verdicts.is_open() {
            return Ok(());
        }
        self.note(range, walk).map_err(Broken)
    }

    fn is_read(&self) -> bool {
        self.shared.is_held()
    }

    fn compares(&self) -> bool {
        self.comparison.is_on()
    }

    fn differs(&self) -> bool {
        self.differs
    }

    fn is_long(&self, installed: &Installed) -> bool {
        installed.told && (self.comparison.is_on() || (S::ON_VIEW && self.shared.is_held()))
    }

    fn install(&mut self, installed: Installed) -> Result<(), Broken> {
        let (view, told) = (&installed.view.agreed(), installed.told);
        let (group, rank) = (installed.group, installed.rank);
        self.coordinates = rank == 0;
        if rank < view.size() {
            self.shared.belongs();
        }
        let timers = match self.ctx.take() {
            Some(before) => {
                self.change_version(&before, view);
                before.into_timers()
            }
            None => std::mem::take(&mut self.timers),
        };
        self.asked = false;
        let mut ctx = Ctx::new(group, view.clone());
        ctx.begin(timers, wall());
        ctx.has_version(self.active);
        ctx.read(self.shared.feed.is_read());
        if let Some(sessions) = self.sessions.made() {
            sessions.installed();
        }
        self.unstable.release_all(&self.shared.feed);
        let index = if told { 0 } else { self.emitted };
        self.shared.feed.begin(Cursor { view: view.number(), index });
        if !told || view.number() == 1 {
            self.verdicts.begin(view.number());
        }
        let agreed = self.verdicts.installed(view);
        if !told {
            ctx.had_emitted(self.emitted);
        }
        let done = self.begin_view(&ctx, &installed);
        self.shared.seat.decided(view.number());
        self.emitted = ctx.emitted();
        // The view is decided, and so is what its beginning has emitted.
        self.unstable.keep(view.number(), 0, ctx.kept());
        self.unstable.release_all(&self.shared.feed);
        self.ctx = Some(ctx);
        match self.sessions.made() {
            Some(sessions) => {
                let attempts =
                    self.attempts.get_or_insert_with(|| Box::new(Attempts::new(&self.shared)));
                attempts.hand_over(&mut sessions.pending, &self.shared.seat, view);
            }
            None => {
                self.attempts = None;
                attempts::never(&self.shared.seat);
            }
        }
        self.begin_comparison(view, told);
        done.and(agreed.map_err(Broken))
    }

    fn save(&self) -> Result<Bytes, CheckpointError> {
        self.shared.save(&self.beside())
    }

    fn saving(&self) -> Saving {
        let (shared, beside) = (Arc::clone(&self.shared), self.beside());
        Box::new(move |to| shared.take(beside, to))
    }

    fn loading(&mut self) -> Loading {
        self.attempts = None;
        self.ctx = None;
        let shared = Arc::clone(&self.shared);
        Box::new(move |from| shared.load(from))
    }

    fn loaded(&mut self, beside: Beside) {
        self.activated(beside.active);
        self.emitted = beside.emitted;
        self.timers = beside.timers.timers(wall()).into();
        let pending = beside.pending.pending();
        self.sessions = beside.sessions.sessions(pending).into();
    }

    fn stabilised(&mut self) {
        if !self.unstable.is_empty() {
            let status = self.shared.seat.status();
            self.unstable.release(&status.stable, &self.shared.feed);
        }
        if let Some(desk) = self.shared.seat.has_desk().filter(|desk| desk.is_waiting()) {
            let stable = self.shared.seat.status().stable.clone();
            desk.stable(&stable);
        }
    }

    fn due(&self) -> Option<Micros> {
        if self.verdicts.is_sending() || self.comparison.is_sending() || self.is_to_ask() {
            return Some(0);
        }
        let timer = self.ctx.as_ref().filter(|_| self.coordinates)?.due();
        timer.into_iter().chain(self.sessions.due()).min()
    }

    fn send_due(&mut self, now: Micros) -> Option<Sending> {
        if let Some(sending) = self.verdicts.send().or_else(|| self.comparison.send()) {
            return Some(sending);
        }
        let ctx = self.ctx.as_mut().filter(|_| self.coordinates)?;
        if let Some((timer, stable)) = ctx.ask(now) {
            return Inner::Fire(timer).sending(stable);
        }
        self.sessions.made()?.ask(now).then_some(Inner::Expire)?.sending(false)
    }

    fn wants_view(&mut self) -> bool {
        let asks = self.is_to_ask();
        self.asked |= asks;
        asks
    }

    fn create(&mut self) {
        self.activated(S::VERSION);
        self.shared.create();
    }

    fn void(&mut self) {
        self.shared.void();
        self.ctx = None;
        self.timers = Seldom::default();
        self.sessions = Seldom::default();
        self.attempts = None;
        self.emitted = 0;
        self.coordinates = false;
        self.verdicts.begin(0);
        self.comparison.forget();
        self.differs = false;
        self.unstable.forget();
        self.shared.feed.show(Emitted::Gap);
    }
}

impl<S: Replicated> Drop for Typed<S> {
    fn drop(&mut self) {
        self.shared.feed.close();
        self.attempts = None;
        self.shared.seat.forget_requests();
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc;

    use super::*;
    use crate::codec::pieces::CheckpointReader;
    use crate::directory::Directory;
    use crate::runtime::seat::Seat;
    use crate::runtime::timers::Timer;

    /// This node was excluded, and makes the group anew.
    #[test]
    fn what_another_group_had_beside_its_state_is_not_of_the_one_that_is_made() {
        let seat = Arc::new(Seat::new("group".into(), 100, mpsc::unbounded_channel().0));
        let mut typed = Typed::new(Arc::new(Shared::new(seat, Directory::default())), 0);
        typed.create();
        let saved = typed.save().expect("a state");
        let left: [fn(&mut Typed<Directory>); 2] = [
            |typed| {
                let timer = Timer { set_at: Some(1), delay: 1, stable: false, update: vec![1] };
                typed.timers.set(timer, 0).expect("room");
            },
            |typed| drop(typed.sessions.open(1, 100, 0)),
        ];
        for leave in left {
            leave(&mut typed);
            typed.attempts = Some(Box::new(Attempts::new(&typed.shared)));
            typed.differs = true;
            assert_ne!(typed.save().expect("a state"), saved);
            typed.void();
            assert!(typed.attempts.is_none(), "handlers of its requests go on");
            assert!(!typed.differs(), "whatever is wrong from here on, it would join again");
            typed.create();
            assert_eq!(typed.save().expect("a state"), saved);
        }
    }

    #[test]
    fn who_is_excluded_before_it_has_a_state_can_still_load_one() {
        let seat = Arc::new(Seat::new("group".into(), 100, mpsc::unbounded_channel().0));
        let shared = || Arc::new(Shared::new(Arc::clone(&seat), Directory::default()));
        let mut donor = Typed::new(shared(), 0);
        donor.create();
        let checkpoint = donor.save().expect("saved");
        let mut joiner = Typed::new(shared(), 0);
        for _ in 0..2 {
            joiner.void();
            assert!(joiner.save().is_err(), "there is no state");
            let mut from = CheckpointReader::whole(checkpoint.clone());
            let opened = joiner.loading()(&mut from).expect("loaded");
            joiner.loaded(opened.beside);
            assert_eq!(joiner.save().expect("saved"), checkpoint);
        }
    }
}
