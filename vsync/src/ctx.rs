//! [`Ctx`]: what an update may know besides the state.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::fmt;
use std::marker::PhantomData;

use vsync_core::wire::{GroupId, MemberId, NodeId};

use crate::events::Emits;
use crate::rng::{Rng, Words};
use crate::view::Time;
use crate::{State, View};

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
    /// The generator that this update has used.
    words: Cell<Option<Words>>,
    /// How many events there were in this view so far.
    emitted: Cell<u64>,
    /// Whether anybody reads them.
    read: bool,
    kept: RefCell<Vec<Kept>>,
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
            words: Cell::new(None),
            emitted: Cell::new(0),
            read: false,
            kept: RefCell::default(),
            time: 0,
            sender: coordinator.unwrap_or(NOBODY),
            rank: 0,
            view,
            state: PhantomData,
        }
    }

    /// What follows was sent by `sender` at `time`.
    pub(crate) fn deliver(&mut self, sender: MemberId, rank: usize, time: Time) {
        self.sender = sender;
        self.rank = rank;
        self.time = time;
    }

    /// What follows is the sender's update of this number.
    pub(crate) fn next(&mut self, seq: u64) {
        self.seq = seq;
        self.words.set(None);
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
            [self.group.0, self.view.number(), sender.node.0, sender.entry, self.seq],
        )
    }
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

    /// The version of the type that is active in the group.
    pub fn version(&self) -> u32 {
        S::VERSION
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
