//! [`Typed`]: the driver's end of a replica, which knows the type.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use bytes::Bytes;
use vsync_core::engine::{Class, Delivery};
use vsync_core::wire::Micros;

use super::callers::{Answer, Callers};
use super::checkpoint::{self, Beside};
use super::clock::wall;
use super::emitted::Unstable;
use super::inner::{Inner, Sending};
use super::replica::{Broken, Cell, Installed, Loading, Replica, Saving, Shared, panic_text};
use super::timers::Timers;
use crate::Ctx;
use crate::events::Emitted;
use crate::replicated::{Replicated, Reply};

/// The driver's end of a [`Shared`].
pub(crate) struct Typed<S: Replicated> {
    shared: Arc<Shared<S>>,
    /// Once a view is installed.
    ctx: Option<Ctx<S>>,
    /// Until then: the timers that were loaded.
    timers: Timers,
    /// How many events the view's beginning has emitted.
    emitted: u64,
    /// Whether this node is the view's coordinator.
    coordinates: bool,
    unstable: Unstable<S::Event>,
}

impl<S: Replicated> Typed<S> {
    pub(crate) fn new(shared: Arc<Shared<S>>) -> Typed<S> {
        Typed {
            shared,
            ctx: None,
            timers: Timers::default(),
            emitted: 0,
            coordinates: false,
            unstable: Unstable::new(),
        }
    }

    /// What a checkpoint holds beside the state.
    fn beside(&self) -> Beside {
        let timers = self.ctx.as_ref().map_or_else(|| self.timers.saved(), Ctx::saved_timers);
        Beside { emitted: self.emitted, timers }
    }

    /// Runs a method of the user's on the live state. If it panics or fails the state may be
    /// changed half way, so it is void from then on.
    fn change<R>(
        &self,
        what: &str,
        run: impl FnOnce(&mut S) -> Result<R, String>,
    ) -> Result<R, Broken> {
        let mut state = self.shared.lock();
        let Cell::Live(live) = &mut *state else {
            return Err(Broken(format!("{what} without a state")));
        };
        let why = match catch_unwind(AssertUnwindSafe(|| run(live))) {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(why)) => why,
            Err(panic) => format!("panicked: {}", panic_text(panic.as_ref())),
        };
        *state = Cell::Void;
        Err(Broken(format!("{what}: {why}")))
    }
}

impl<S: Replicated> Replica for Typed<S> {
    fn deliver(
        &mut self,
        range: &Delivery,
        mut callers: Option<&mut Callers>,
    ) -> Result<(), Broken> {
        let Some(mut ctx) = self.ctx.take() else {
            return Err(Broken("an update before the first view".to_owned()));
        };
        let total = range.class == Class::Total;
        ctx.deliver(range.sender, range.rank, range.time, total);
        ctx.read(self.shared.feed.is_read());
        let seat = &self.shared.seat;
        let applied = self.change("an update", |state| {
            apply_range(state, &mut ctx, range, &mut callers)?;
            // Under the state's lock: a query knows how far what it reads goes.
            seat.applied(range);
            Ok(())
        });
        let kept = ctx.kept();
        self.ctx = Some(ctx);
        if !kept.is_empty() {
            self.unstable.keep(range.view, range.rank, kept);
            self.stabilised();
        }
        applied
    }

    fn install(&mut self, installed: Installed<'_>) -> Result<(), Broken> {
        let Installed { group, view, rank, told } = installed;
        self.coordinates = rank == 0;
        let timers = match self.ctx.take() {
            Some(before) => before.into_timers(),
            None => std::mem::take(&mut self.timers),
        };
        let mut ctx = Ctx::new(group, view.clone());
        ctx.begin(timers, wall());
        ctx.read(self.shared.feed.is_read());
        self.unstable.release_all(&self.shared.feed);
        let done = match told {
            true => self.change("a view", |state| {
                state.on_view(&ctx, view);
                Ok(())
            }),
            false => {
                ctx.had_emitted(self.emitted);
                Ok(())
            }
        };
        self.emitted = ctx.emitted();
        // The view is decided, and so is what its beginning has emitted.
        self.unstable.keep(view.number(), 0, ctx.kept());
        self.unstable.release_all(&self.shared.feed);
        self.ctx = Some(ctx);
        done
    }

    fn save(&self) -> Result<Bytes, Broken> {
        self.shared.save(&self.beside())
    }

    fn saving(&self) -> Saving {
        let (shared, beside) = (Arc::clone(&self.shared), self.beside());
        Box::new(move || shared.save(&beside))
    }

    fn loading(&mut self, checkpoint: Bytes) -> Loading {
        let (state, beside) = match checkpoint::split(checkpoint) {
            Ok(parts) => parts,
            Err(why) => return Box::new(move || Err(Broken(why))),
        };
        self.emitted = beside.emitted;
        self.timers = beside.timers.timers(wall());
        self.ctx = None;
        let shared = Arc::clone(&self.shared);
        Box::new(move || shared.load(&state))
    }

    fn stabilised(&mut self) {
        if !self.unstable.is_empty() {
            let status = self.shared.seat.status();
            self.unstable.release(&status.stable, &self.shared.feed);
        }
    }

    fn due(&self) -> Option<Micros> {
        self.ctx.as_ref().filter(|_| self.coordinates)?.due()
    }

    fn send_due(&mut self, now: Micros) -> Option<Sending> {
        let ctx = self.ctx.as_mut().filter(|_| self.coordinates)?;
        let (timer, stable) = ctx.ask(now)?;
        Inner::Fire(timer).sending(stable)
    }

    fn create(&mut self) {
        let mut state = self.shared.lock();
        if let Cell::Local(_) = &*state
            && let Cell::Local(initial) = std::mem::replace(&mut *state, Cell::Void)
        {
            *state = Cell::Live(initial);
        }
    }

    fn void(&mut self) {
        let mut state = self.shared.lock();
        if let Cell::Live(old) = std::mem::replace(&mut *state, Cell::Void) {
            *state = Cell::Local(old);
        }
        drop(state);
        self.ctx = None;
        self.timers = Timers::default();
        self.emitted = 0;
        self.coordinates = false;
        self.unstable.forget();
        self.shared.feed.show(Emitted::Gap);
    }
}

impl<S: Replicated> Drop for Typed<S> {
    fn drop(&mut self) {
        self.shared.feed.close();
    }
}

/// Applies each update of a range; only results that somebody awaits are kept.
fn apply_range<S: Replicated>(
    state: &mut S,
    ctx: &mut Ctx<S>,
    range: &Delivery,
    callers: &mut Option<&mut Callers>,
) -> Result<(), String> {
    let mut wanted = callers.as_ref().and_then(|c| c.wanted(range.view, range.seq));
    let mut body: &[u8] = &range.body;
    for seq in range.seq..range.seq + u64::from(range.count) {
        let (update, rest) = split(body).ok_or("a range that is shorter than its count")?;
        body = rest;
        ctx.next(seq);
        if wanted != Some(seq) {
            apply(state, ctx, update, &mut Reply::none())?;
            continue;
        }
        let mut answer: Option<Answer> = None;
        apply(state, ctx, update, &mut Reply::slot(&mut answer))?;
        if let Some(callers) = callers {
            callers.delivered(range.view, seq, answer);
            wanted = callers.wanted(range.view, seq + 1);
        }
    }
    Ok(())
}

/// Applies one update, the user's or the runtime's.
fn apply<S: Replicated>(
    state: &mut S,
    ctx: &Ctx<S>,
    update: &[u8],
    reply: &mut Reply<'_>,
) -> Result<(), String> {
    let Err(error) = state.apply(ctx, update, reply) else { return Ok(()) };
    match Inner::read(update) {
        None => Err(error.to_string()),
        Some(Inner::Fire(timer)) => {
            // It may have fired already: a coordinator that failed has asked for it, too.
            let Some(update) = ctx.fire(timer) else { return Ok(()) };
            state.apply(ctx, &update, reply).map_err(|error| error.to_string())
        }
    }
}

/// The first update of a body, and the rest.
fn split(body: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = body.split_first_chunk::<4>()?;
    rest.split_at_checked(u32::from_le_bytes(*length) as usize)
}
