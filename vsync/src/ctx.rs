//! [`Ctx`]: what an update may know besides the state.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use vsync_core::engine::Level;
use vsync_core::wire::{GroupId, MemberId, NodeId};

use crate::error::NotApplied;
use crate::events::Emits;
use crate::rng::{self, Rng};
use crate::runtime::seldom::Seldom;
use crate::runtime::timers::{Saved, Timer, Timers};
use crate::timer::{TimerError, TimerId};
use crate::view::Time;
use crate::{Replicated, State, View};

/// The number of what nobody sent.
const NO_UPDATE: u64 = u64::MAX;
/// Who sent that.
const NOBODY: MemberId = MemberId { node: NodeId(0), entry: 0 };

/// What every replica agrees on while it applies one update.
///
/// It has nothing that differs between replicas: no own name, rank or clock. A method that needs
/// none of it may leave the parameter out.
pub struct Ctx<S> {
    group: GroupId,
    /// The update's number in its sender's lane.
    seq: u64,
    /// The generator, and whether this update has used it.
    words: rng::Kept,
    drawn: Cell<bool>,
    /// How many events there were in this view so far.
    emitted: Cell<u64>,
    /// Whether anybody reads them.
    read: bool,
    kept: RefCell<Vec<Kept>>,
    /// Whether it is a total.
    total: bool,
    timers: RefCell<Seldom<Timers>>,
    /// When the view was installed here: it differs between replicas, and is for timers only.
    began: Time,
    /// The version of the type that is active; 0 for the type's own.
    version: u32,
    /// The version that is agreed on for the next view.
    next_version: Cell<Option<u32>>,
    time: Time,
    sender: MemberId,
    rank: usize,
    view: View,
    state: PhantomData<fn() -> S>,
}

/// An event of an update, which is not stable yet.
pub(crate) struct Kept {
    /// The update's number in its sender's lane.
    pub(crate) seq: u64,
    pub(crate) index: u64,
    pub(crate) event: Box<dyn Any + Send>,
}

impl<S> Ctx<S> {
    /// For the updates delivered in `view`; [`Ctx::deliver`] comes before each range of them, and
    /// [`Ctx::next`] before each one.
    ///
    /// As it is made it serves [`Replicated::on_view`](crate::Replicated::on_view).
    pub(crate) fn new(group: GroupId, view: View) -> Self {
        let coordinator = view.coordinator().map(|member| member.id);
        Ctx {
            group,
            seq: NO_UPDATE,
            words: rng::Kept::new(),
            drawn: Cell::new(false),
            emitted: Cell::new(0),
            read: false,
            kept: RefCell::default(),
            total: true,
            timers: RefCell::default(),
            began: 0,
            version: 0,
            next_version: Cell::new(None),
            time: 0,
            sender: coordinator.unwrap_or(NOBODY),
            rank: 0,
            view,
            state: PhantomData,
        }
    }

    /// What follows was sent by `sender` at `time`.
    pub(crate) fn deliver(&mut self, sender: MemberId, rank: usize, time: Time, total: bool) {
        self.total = total;
        self.sender = sender;
        self.rank = rank;
        self.time = time;
    }

    /// What follows is the sender's update of this number.
    pub(crate) fn next(&mut self, seq: u64) {
        self.seq = seq;
        self.drawn.set(false);
    }

    /// These timers are set; the view is installed here at `now`.
    pub(crate) fn begin(&mut self, timers: Seldom<Timers>, now: Time) {
        self.timers = RefCell::new(timers);
        self.began = now;
    }

    /// This version of the type is active in the view.
    pub(crate) fn has_version(&mut self, version: u32) {
        self.version = version;
    }

    /// Agrees on a version for the next view, if all members of this one have it; else names those
    /// that do not. Gives the view's number.
    pub(crate) fn agree_on(&self, version: u32) -> Result<u64, Vec<String>> {
        let lacking = lacking(&self.view, version);
        if !lacking.is_empty() {
            return Err(lacking);
        }
        let agreed = self.next_version.get().max(Some(version));
        self.next_version.set(agreed.filter(|version| *version > self.version));
        Ok(self.view.number())
    }

    /// The version that is agreed on for the next view.
    pub(crate) fn next_version(&self) -> Option<u32> {
        self.next_version.get()
    }

    /// The timers, for the next view.
    pub(crate) fn into_timers(self) -> Seldom<Timers> {
        self.timers.into_inner()
    }

    /// The timers, for a checkpoint.
    pub(crate) fn saved_timers(&self) -> Saved {
        self.timers.borrow().saved()
    }

    /// When the first timer is due that this node has not asked for.
    pub(crate) fn due(&self) -> Option<Time> {
        self.timers.borrow().due()
    }

    /// The next timer that is due, and whether it is stable: it is asked for now.
    pub(crate) fn ask(&mut self, now: Time) -> Option<(u64, bool)> {
        self.timers.get_mut().made()?.ask(now)
    }

    /// The update of a timer that fires.
    pub(crate) fn fire(&self, timer: u64) -> Option<Vec<u8>> {
        self.timers.borrow_mut().made()?.take(TimerId(timer))
    }

    /// The update's number in its sender's lane.
    pub(crate) fn seq(&self) -> u64 {
        self.seq
    }

    /// The group's number.
    pub(crate) fn group(&self) -> GroupId {
        self.group
    }

    /// Whether events are read from now on, by anybody.
    pub(crate) fn read(&mut self, read: bool) {
        self.read = read;
    }

    /// How many events there were in this view so far.
    pub(crate) fn emitted(&self) -> u64 {
        self.emitted.get()
    }

    /// This many events there were in this view, at another replica.
    pub(crate) fn had_emitted(&mut self, count: u64) {
        self.emitted.set(count);
    }

    /// Takes the events since this was last asked.
    pub(crate) fn kept(&mut self) -> Vec<Kept> {
        std::mem::take(self.kept.get_mut())
    }

    /// When the update was sent, by its sender's clock: microseconds since the Unix epoch.
    ///
    /// Updates that were sent in one batch have one time. Among total updates it never goes back;
    /// fifo and causal updates of several senders may be delivered in another order than their
    /// times. In an `#[on_view]` method, which nobody sent, it is 0.
    pub fn time(&self) -> Time {
        self.time
    }

    /// The member that sent the update; in an `#[on_view]` method the view's coordinator.
    pub fn sender(&self) -> MemberId {
        self.sender
    }

    /// The sender's rank in the view.
    pub fn sender_rank(&self) -> usize {
        self.rank
    }

    /// The view that the update is delivered in. What members do not agree on is left out of it:
    /// [`View::together`] is empty here.
    pub fn view(&self) -> &View {
        &self.view
    }

    /// How many active members the view has.
    pub fn size(&self) -> usize {
        self.view.size()
    }

    /// Random numbers, the same at every replica.
    ///
    /// All that one update draws is one sequence, however often it asks for the generator.
    pub fn rng(&self) -> Rng<'_> {
        let sender = if self.seq == NO_UPDATE { NOBODY } else { self.sender };
        Rng::new(
            &self.words,
            &self.drawn,
            [self.group.0, self.view.number(), sender.node.0, sender.entry, self.seq],
        )
    }
}

/// The members of a view whose programs do not have a version of the type.
pub(crate) fn lacking(view: &View, version: u32) -> Vec<String> {
    let lacking = view.members().iter().filter(|member| member.version < version);
    lacking.map(|member| format!("{} (version {})", member.name, member.version)).collect()
}

impl<S: State> Ctx<S> {
    /// Tells the world, as soon as that is safe: every member shows the event to those who read its
    /// [`Group::events`](crate::Group::events) when the update that emitted it is stable. If that
    /// never comes to be, because this replica is excluded with updates that nobody else has, it is
    /// never shown.
    ///
    /// What the events are is said on the struct:
    ///
    /// ```
    /// use vsync::{Ctx, replicated};
    ///
    /// #[derive(Clone, Debug, PartialEq)]
    /// pub enum Sale {
    ///     SoldOut { buyer: String },
    /// }
    ///
    /// #[replicated(event = Sale)]
    /// #[derive(Default)]
    /// struct Shop {
    ///     left: u32,
    /// }
    ///
    /// #[replicated]
    /// impl Shop {
    ///     #[update(order = "total")]
    ///     fn buy(&mut self, ctx: &Ctx<Self>, buyer: String) {
    ///         self.left = self.left.saturating_sub(1);
    ///         if self.left == 0 {
    ///             ctx.emit(Sale::SoldOut { buyer });
    ///         }
    ///     }
    /// }
    /// ```
    /// Without it there is nothing to emit:
    /// ```compile_fail,E0277
    /// # use vsync::{Ctx, replicated};
    /// #[replicated]
    /// struct Silent {}
    ///
    /// #[replicated]
    /// impl Silent {
    ///     #[update(order = "total")]
    ///     fn speak(&mut self, ctx: &Ctx<Self>) {
    ///         ctx.emit("a word");
    ///     }
    /// }
    /// ```
    pub fn emit<E>(&self, event: E)
    where
        S: Emits<E>,
        E: Send + 'static,
    {
        let index = self.emitted.get();
        self.emitted.set(index + 1);
        if self.read {
            self.kept.borrow_mut().push(Kept { seq: self.seq, index, event: Box::new(event) });
        }
    }

    /// The update's number among those that its [`sender`](Ctx::sender) has sent in this
    /// [view](Ctx::view), from 0 on: the three together name it, at all replicas and in recorded
    /// histories. Not every number is an update of the type's: the runtime sends some of its own.
    /// What a request changes has one number, that of its `Commit`. `None` in `#[on_view]`.
    pub fn number(&self) -> Option<u64> {
        Some(self.seq).filter(|seq| *seq != NO_UPDATE)
    }

    /// The version of the type that is active in the group: the same at all members, and in all of
    /// a view. It is what a method that behaves otherwise in another version goes by, where
    /// programs of several versions are members; it rises by
    /// [`Group::activate`](crate::Group::activate).
    pub fn version(&self) -> u32 {
        if self.version == 0 { S::VERSION } else { self.version }
    }
}

impl<S: Replicated> Ctx<S> {
    /// Lets an update come after `delay`: it is applied at the same point of the order at every
    /// replica, once, whoever fails in the meantime. Its [`sender`](Ctx::sender) is the member that
    /// has fired it, its [`time`](Ctx::time) when it did.
    ///
    /// The timer is part of the group's state, as what the struct holds: a joiner gets it, too. The
    /// view's coordinator fires it when it is due by its own clock, so clocks that differ make it
    /// that much earlier or later after a failure; and it waits while the group has no quorum, and
    /// behind what flow control holds up. In `#[on_view]` each member counts from when it installed
    /// the view. The update is applied as a total, whatever its method's order.
    ///
    /// ```
    /// use std::collections::BTreeMap;
    /// use std::time::Duration;
    /// use vsync::{Ctx, TimerError, TimerId, replicated};
    ///
    /// #[replicated]
    /// #[derive(Default)]
    /// struct Leases {
    ///     held: BTreeMap<String, TimerId>,
    /// }
    ///
    /// #[replicated]
    /// impl Leases {
    ///     #[update(order = "total")]
    ///     fn renew(&mut self, ctx: &Ctx<Self>, who: String) -> Result<(), TimerError> {
    ///         if let Some(timer) = self.held.remove(&who) {
    ///             ctx.cancel(timer)?;
    ///         }
    ///         let expire = LeasesUpdate::Expire { who: who.clone() };
    ///         self.held.insert(who, ctx.after(Duration::from_secs(10), expire)?);
    ///         Ok(())
    ///     }
    ///
    ///     #[update(order = "total")]
    ///     fn expire(&mut self, who: String) {
    ///         self.held.remove(&who);
    ///     }
    /// }
    /// ```
    ///
    /// # Errors
    /// [`TimerError::NotTotal`] in a fifo or causal update; [`TimerError::Full`] beyond 65,536
    /// timers of a group, or 16 MiB of their updates; [`TimerError::Encode`];
    /// [`TimerError::NotYetActive`] and [`TimerError::Retired`], if the active version does not
    /// have the method. (If it ends before the timer fires, nothing is applied.) Every replica
    /// meets the same error at the same point.
    pub fn after(&self, delay: Duration, update: S::Update) -> Result<TimerId, TimerError> {
        let set_at = self.timing()?;
        match S::method(&update).check(self.version()) {
            Ok(()) => {}
            Err(NotApplied::Retired { until, active, .. }) => {
                return Err(TimerError::Retired { until, active });
            }
            Err(_) => {
                let (since, active) = (S::method(&update).since, self.version());
                return Err(TimerError::NotYetActive { since, active });
            }
        }
        let mut bytes = Vec::new();
        S::encode(&update, &mut bytes).map_err(|why| TimerError::Encode(why.to_string()))?;
        let timer = Timer {
            set_at,
            delay: delay.as_micros().try_into().unwrap_or(Time::MAX),
            stable: S::method(&update).level == Level::Stable,
            update: bytes,
        };
        self.timers.borrow_mut().set(timer, self.began)
    }

    /// Takes a timer back. `false` if it has fired, or was cancelled before.
    ///
    /// # Errors
    /// [`TimerError::NotTotal`] in a fifo or causal update.
    pub fn cancel(&self, timer: TimerId) -> Result<bool, TimerError> {
        self.timing()?;
        Ok(self.timers.borrow_mut().take(timer).is_some())
    }

    /// The time that timers set now count from, if all agree on it.
    fn timing(&self) -> Result<Option<Time>, TimerError> {
        match (self.seq, self.total) {
            (NO_UPDATE, _) => Ok(None),
            (_, true) => Ok(Some(self.time)),
            (_, false) => Err(TimerError::NotTotal),
        }
    }
}

impl<S> fmt::Debug for Ctx<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ctx")
            .field("time", &self.time)
            .field("sender", &self.sender)
            .field("sender_rank", &self.rank)
            .field("view", &self.view)
            .finish()
    }
}
