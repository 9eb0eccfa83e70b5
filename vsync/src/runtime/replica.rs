//! The replica: the state of one group at this node, and the only code that changes it.

use std::any::Any;
use std::fmt;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, TryLockError};

use bytes::Bytes;
use vsync_core::engine::{Class, Delivery, Level};
use vsync_core::wire::{GroupId, Micros};
use xxhash_rust::xxh3::xxh3_64;

use super::callers::Takes;
use super::checkpoint::{self, Beside, Opened, Sealed};
use super::free::{Free, Holding};
use super::inner::Sending;
use super::ring::Ring;
use super::seat::Seat;
use super::stability::Stability;
use super::threads::waiting;
use super::transfer::Handing;
use crate::__private::Parameters;
use crate::card::Card;
use crate::codec::pieces::CheckpointReader;
use crate::error::GroupError;
use crate::events::Feed;
use crate::replicated::{ApplyError, QueryError, Replicated};
use crate::seen::Seen;
use crate::state::{CheckpointError, State};
use crate::view::{MemberId, View};

/// Bytes of events that are kept for clients unless a node is configured otherwise.
pub(crate) const RING: usize = 1 << 20;

/// What the handles of a group share: the seat, and the state behind a lock that queries take
/// between two ranges of updates.
pub(crate) struct Shared<S: Replicated> {
    pub(crate) seat: Arc<Seat>,
    pub(crate) feed: Feed<S::Event>,
    card: OnceLock<Arc<Card>>,
    state: Mutex<Cell<S>>,
    pub(super) free: Free,
    /// The state is void, and whoever holds it next makes it so.
    voided: AtomicBool,
    brought: Mutex<Brought>,
}

/// What the user has brought, of which a load leaves only what is `#[local]`: it may still become
/// the state of a new group, where the one that was joined is no more.
enum Brought {
    /// It is the state.
    Here,
    /// It was this.
    Kept(Vec<u8>),
    /// It has had its time.
    Gone,
}

/// The state of a replica.
pub(super) enum Cell<S> {
    /// Not the group's state: only its `#[local]` parts count, until a checkpoint is loaded.
    Local(S),
    /// The group's state.
    Live(S),
    /// The group's state at an earlier point, as its checkpoint, and what is local to this node.
    Asleep(Vec<u8>, S),
    /// Nothing: a checkpoint is being loaded, or what slept could not be woken.
    Void,
}

/// Why a replica cannot go on: its membership ends here.
#[derive(Debug)]
pub(crate) struct Broken(pub(crate) String);

/// Why a client's query got no answer.
#[derive(Debug)]
pub(crate) enum Unanswered {
    /// There is no state here, or it did not become stable.
    Group(GroupError),
    /// The query itself cannot be answered.
    Query(QueryError),
}

impl Unanswered {
    pub(super) fn panicked() -> Unanswered {
        let why = "the query panicked".to_owned();
        Unanswered::Query(QueryError::Result { method: "query", why })
    }
}

/// The encoded result of a query, what the state had in it, and when that is stable.
pub(crate) type Read = (Vec<u8>, Seen, Stability);

/// What comes of a query that is answered from a copy of the state.
pub(crate) type Answered = Pin<Box<dyn Future<Output = Result<Read, Unanswered>> + Send>>;

/// Takes a checkpoint, or a copy of the state that it is made of.
pub(crate) type Saving = Box<dyn FnOnce(Handing) -> Taken + Send>;

/// Makes the checkpoint of a copy; what is left of that is let go of when nobody waits for it.
pub(crate) type Encoding = Box<dyn FnOnce(Handing) -> (Encoded, Box<dyn Any + Send>) + Send>;

/// What came of a checkpoint.
pub(crate) type Encoded = Result<Sealed, CheckpointError>;

/// Loads a checkpoint.
pub(crate) type Loading =
    Box<dyn FnOnce(&mut CheckpointReader) -> Result<Opened, CheckpointError> + Send>;

/// What there is of a checkpoint when the state is no longer needed for it.
pub(crate) enum Taken {
    /// All of it.
    Checkpoint(Encoded),
    /// The state is of a type that can be copied: updates go on while the copy is encoded.
    Copy(Encoding),
}

/// The install of a view, as a replica has to know it.
pub(crate) struct Installed {
    pub(crate) group: GroupId,
    /// As this node has it; code of the user's gets what all members agree on.
    pub(crate) view: View,
    /// This node.
    pub(crate) me: Option<MemberId>,
    /// This node's rank.
    pub(crate) rank: usize,
    /// Whether the state does not know it yet.
    pub(crate) told: bool,
}

/// A replica without its type, for the driver.
pub(crate) trait Replica: Send {
    /// Applies a range; the results of own updates that are awaited go to `takes`.
    fn deliver(&mut self, range: &Delivery, takes: Option<&mut dyn Takes>) -> Result<(), Broken>;
    /// Applies what it has kept instead, if it has.
    fn rouse(&mut self) -> Result<(), Broken> {
        Ok(())
    }
    /// Whether it keeps what it would apply.
    fn is_asleep(&self) -> bool {
        false
    }
    /// Whether somebody reads the state just now, perhaps for long.
    fn is_read(&self) -> bool;
    /// Whether it is compared with the others', for which checkpoints are taken.
    fn compares(&self) -> bool;
    /// Whether it was found not to be like the others: a donor's state can mend that.
    fn differs(&self) -> bool;
    /// Whether the install of a view may take long: there is something to do for it, and somebody
    /// reads the state just now, or it is to be compared.
    fn is_long(&self, installed: &Installed) -> bool;
    /// A view was installed.
    fn install(&mut self, installed: Installed) -> Result<(), Broken>;
    /// The checkpoint of the state as it is.
    fn save(&self) -> Result<Bytes, CheckpointError>;
    /// Takes the checkpoint, wherever that is run.
    fn saving(&self) -> Saving;
    /// Replaces the state by a checkpoint, wherever that is run; `#[local]` parts are kept.
    fn loading(&mut self) -> Loading;
    /// What was beside the state that was loaded.
    fn loaded(&mut self, beside: Beside);
    /// More of what was delivered is stable.
    fn stabilised(&mut self);
    /// When there is something to send that nobody has called for, by the wall clock.
    fn due(&self) -> Option<Micros>;
    /// The next of what is to be sent at `now`.
    fn send_due(&mut self, now: Micros) -> Option<Sending>;
    /// Whether it is for this node to ask for a new view, now and not again.
    fn wants_view(&mut self) -> bool;
    /// What this node has becomes the state of a new group.
    fn create(&mut self);
    /// The state is void, until a checkpoint is loaded.
    fn void(&mut self);
}

/// A replica without its type, for clients' queries.
pub(crate) trait Answering: Send + Sync {
    /// Answers a share of an encoded query, `share` being its number and how many there are, and
    /// says what the state had in it; the answer may be given away when it is stable. `None` while
    /// somebody else holds the state.
    fn query(&self, query: &[u8], share: (u32, u32)) -> Option<Result<Read, Unanswered>>;
    /// Whether it is answered from a copy of the state.
    fn is_of_copy(&self, query: &[u8]) -> bool;
    /// Answers a share of such a query, on a thread of the node's own.
    fn query_copy(self: Arc<Self>, query: Vec<u8>, share: (u32, u32)) -> Answered;
    /// By which the state is waited for.
    fn free(&self) -> &Free;
    /// Whether the members divide the work of this encoded query.
    fn scatters(&self, query: &[u8]) -> bool;
    /// Makes one answer to an encoded query of those of its shares.
    fn gather(&self, query: &[u8], shares: &[Vec<u8>]) -> Result<Vec<u8>, QueryError>;
    /// Whether all updates of the type are totals.
    fn is_total(&self) -> bool;
    /// Where its events are kept for clients, if it publishes them.
    fn ring(&self) -> Option<&Arc<Ring>>;
    /// The level of an encoded update, if this type can carry it out.
    fn level(&self, update: &[u8]) -> Result<Level, ApplyError>;
    /// Whether this type can begin an encoded request now.
    fn request(&self, call: &[u8]) -> Result<(), ApplyError>;
    /// Identity of the type.
    fn schema(&self) -> u64;
    /// The type as it is here.
    fn card(&self) -> &Card;
}

/// Identity of a replicated type, in all its versions. What else programs must agree on they find
/// out by their cards.
pub(crate) fn schema<S: State>() -> u64 {
    xxh3_64(S::NAME.as_bytes())
}

impl<S: Replicated> Shared<S> {
    /// A replica that has no state yet, only the parts of it that are local to this node.
    pub(crate) fn new(seat: Arc<Seat>, local: S) -> Shared<S> {
        let feed = match S::PUBLISHED {
            // Another one for each ring, wherever it is.
            true => {
                let number = RandomState::new().build_hasher().finish();
                Feed::published(Arc::new(Ring::new(number, RING)), S::publish)
            }
            false => Feed::new(),
        };
        Shared {
            seat,
            feed,
            card: OnceLock::new(),
            state: Mutex::new(Cell::Local(local)),
            free: Free::default(),
            voided: AtomicBool::new(false),
            brought: Mutex::new(Brought::Here),
        }
    }

    pub(super) fn lock(&self) -> Holding<'_, Cell<S>> {
        // A query that panicked changed nothing; what an update that panicked has changed stays.
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        self.settle(&mut state);
        Holding::new(state, &self.free)
    }

    /// The same, unless somebody holds it just now.
    fn try_lock(&self) -> Option<Holding<'_, Cell<S>>> {
        let mut state = match self.state.try_lock() {
            Ok(state) => state,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return None,
        };
        self.settle(&mut state);
        Some(Holding::new(state, &self.free))
    }

    /// The same as [`lock`](Self::lock), for work on a checkpoint: others go on meanwhile.
    fn lock_or_wait(&self) -> Holding<'_, Cell<S>> {
        loop {
            if let Some(state) = self.try_lock() {
                return state;
            }
            // It is let go of again: whoever has waited may have to wait for its place, too, and
            // the group's updates would wait with it.
            waiting(|| drop(self.lock()));
        }
    }

    /// The same, unless it sleeps: then it is woken, and who waits for it is told.
    pub(super) fn try_lock_awake(&self) -> Option<Holding<'_, Cell<S>>> {
        let state = self.try_lock()?;
        if let Cell::Asleep(..) = &*state {
            self.seat.rouse();
            // Not by letting go of it, which would wake the next who finds it asleep.
            state.quietly();
            return None;
        }
        Some(state)
    }

    fn settle(&self, state: &mut Cell<S>) {
        // While a checkpoint is loaded, it is what will be void.
        if !matches!(state, Cell::Void)
            && self.voided.swap(false, Ordering::AcqRel)
            // A joiner may be excluded before it has a state: what is local to this node stays.
            && let Cell::Local(old) | Cell::Live(old) | Cell::Asleep(_, old) =
                std::mem::replace(state, Cell::Void)
        {
            *state = Cell::Local(old);
        }
    }

    /// The state is void; its `#[local]` parts are kept. A query that still reads it is not waited
    /// for.
    pub(super) fn void(&self) {
        self.voided.store(true, Ordering::Release);
        drop(self.try_lock());
    }

    /// Whether somebody holds the state just now.
    pub(super) fn is_held(&self) -> bool {
        matches!(self.state.try_lock(), Err(TryLockError::WouldBlock))
    }

    /// Reads the state between two ranges; the stability is that of what was read.
    pub(crate) fn read<R>(&self, read: impl FnOnce(&S) -> R) -> Result<(R, Stability), GroupError> {
        self.read_in(&self.lock(), read)
    }

    /// The same, as soon as nobody else holds the state: no thread is held up until then.
    pub(crate) async fn read_when_free<R>(
        &self,
        read: impl FnOnce(&S) -> R,
    ) -> Result<(R, Stability), GroupError> {
        let mut read = Some(read);
        let attempt = || {
            let state = self.try_lock_awake()?;
            Some(self.read_in(&state, read.take()?))
        };
        self.free.when(attempt).await
    }

    pub(super) fn read_in<R>(
        &self,
        state: &Cell<S>,
        read: impl FnOnce(&S) -> R,
    ) -> Result<(R, Stability), GroupError> {
        let Cell::Live(live) = state else {
            if let Cell::Asleep(..) = state {
                self.seat.rouse();
            }
            return Err(GroupError::NoState);
        };
        let value = read(live);
        let stability = self.seat.applied_stable()?;
        Ok((value, stability))
    }

    /// The checkpoint of the state, with what is beside it.
    pub(super) fn save(&self, beside: &Beside) -> Result<Bytes, CheckpointError> {
        match &*self.lock() {
            Cell::Live(live) => guarded(|| checkpoint::whole(live, beside)),
            _ => Err(CheckpointError::NoState),
        }
    }

    /// The same, or a copy of the state where that is possible: the state is locked no longer than
    /// for that.
    pub(super) fn take(&self, beside: Beside, to: Handing) -> Taken {
        let state = self.lock_or_wait();
        let Cell::Live(live) = &*state else {
            return Taken::Checkpoint(Err(CheckpointError::NoState));
        };
        match guarded(|| Ok(live.snapshot())) {
            Ok(Some(copy)) => Taken::Copy(Box::new(move |to| {
                let sealed = guarded(|| checkpoint::write(&copy, &beside, to.in_time()));
                (sealed, Box::new(copy))
            })),
            Ok(None) => {
                let write = || checkpoint::write(live, &beside, to.at_once());
                Taken::Checkpoint(guarded(write))
            }
            Err(error) => Taken::Checkpoint(Err(error)),
        }
    }

    /// A checkpoint of what was brought here, which is no state of the group's.
    pub(super) fn blank(&self) -> Option<Vec<u8>> {
        let Cell::Local(local) = &*self.lock() else { return None };
        guarded(|| local.save()).ok()
    }

    /// The state becomes its checkpoint, and what is local to this node goes into a `blank` one.
    /// `false` if it cannot be saved: then it stays.
    pub(super) fn chill(&self, blank: &[u8]) -> Result<bool, CheckpointError> {
        let mut state = self.lock();
        let Cell::Live(live) = &*state else { return Err(CheckpointError::NoState) };
        let Ok(bytes) = guarded(|| live.save()) else { return Ok(false) };
        if let Cell::Live(live) = std::mem::replace(&mut *state, Cell::Void) {
            let local = guarded(|| S::load_from(S::VERSION, blank, live))?;
            *state = Cell::Asleep(bytes, local);
        }
        Ok(true)
    }

    /// The state that was laid down is the state again.
    pub(super) fn thaw(&self) -> Result<(), CheckpointError> {
        let mut state = self.lock();
        match std::mem::replace(&mut *state, Cell::Void) {
            Cell::Asleep(bytes, local) => {
                *state = Cell::Live(guarded(|| S::load_from(S::VERSION, &bytes, local))?);
                Ok(())
            }
            other => {
                *state = other;
                Err(CheckpointError::NoState)
            }
        }
    }

    /// Puts a state here, or none, and gives back the one that was here.
    #[cfg(feature = "testing")]
    pub(crate) fn exchange(&self, state: Option<S>) -> Option<S> {
        match std::mem::replace(&mut *self.lock(), state.map_or(Cell::Void, Cell::Live)) {
            Cell::Live(state) => Some(state),
            _ => None,
        }
    }

    /// Makes the state what a checkpoint says. While that comes there is no state, and nobody is
    /// kept from finding that out.
    ///
    /// Nothing else is done to the replica meanwhile: the driver holds it back even where this load
    /// is void by then.
    pub(super) fn load(&self, from: &mut CheckpointReader) -> Result<Opened, CheckpointError> {
        let taken = std::mem::replace(&mut *self.lock_or_wait(), Cell::Void);
        let (Cell::Local(mut state) | Cell::Live(mut state) | Cell::Asleep(_, mut state)) = taken
        else {
            return Err(CheckpointError::NoState);
        };
        self.keep(&state);
        let opened = guarded(|| checkpoint::read(&mut state, from));
        let mut cell = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        // What is local to this node stays, for another attempt.
        *cell = if opened.is_ok() { Cell::Live(state) } else { Cell::Local(state) };
        self.settle(&mut cell);
        opened
    }

    fn brought(&self) -> MutexGuard<'_, Brought> {
        self.brought.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps what was brought, before the first load.
    fn keep(&self, state: &S) {
        if matches!(*self.brought(), Brought::Here) {
            let kept = guarded(|| state.save());
            *self.brought() = kept.map_or(Brought::Gone, Brought::Kept);
        }
    }

    /// This node is a member: what was brought has had its time.
    pub(super) fn belongs(&self) {
        *self.brought() = Brought::Gone;
    }

    /// What was brought here becomes the state of a new group.
    pub(super) fn create(&self) {
        let brought = std::mem::replace(&mut *self.brought(), Brought::Gone);
        let mut state = self.lock();
        let Cell::Local(local) = &mut *state else { return };
        if let Brought::Kept(bytes) = brought
            && let Err(error) =
                guarded(|| local.restore(&mut CheckpointReader::whole(bytes.into())))
        {
            // The group's first view finds no state.
            tracing::error!(group = &*self.seat.name, %error, "what was brought does not load");
            return;
        }
        if let Cell::Local(initial) = std::mem::replace(&mut *state, Cell::Void) {
            *state = Cell::Live(initial);
        }
    }
}

/// Runs code of the user's that may panic.
fn guarded<R>(run: impl FnOnce() -> Result<R, CheckpointError>) -> Result<R, CheckpointError> {
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|panic| {
        Err(CheckpointError::Panicked(panic_text(panic.as_ref()).to_owned()))
    })
}

impl<S: Replicated> Answering for Shared<S> {
    fn query(&self, query: &[u8], share: (u32, u32)) -> Option<Result<Read, Unanswered>> {
        let state = self.try_lock_awake()?;
        let read = |state: &S| {
            let ctx = self.seat.query_ctx(share).ok_or(GroupError::NoState)?;
            let mut out = Vec::new();
            let seen = self.seat.seen().ok_or(GroupError::NoState)?;
            Ok(state.query(&ctx, query, &mut out).map(|()| (out, seen)))
        };
        // A panic in a query is the query's: the state was only borrowed.
        let done = catch_unwind(AssertUnwindSafe(|| self.read_in(&state, read)));
        drop(state);
        Some(match done {
            Ok(Ok((Ok(Ok((answer, seen))), stability))) => Ok((answer, seen, stability)),
            Ok(Ok((Ok(Err(error)), _))) => Err(Unanswered::Query(error)),
            Ok(Ok((Err(error), _)) | Err(error)) => Err(Unanswered::Group(error)),
            Err(_) => Err(Unanswered::panicked()),
        })
    }

    fn is_of_copy(&self, query: &[u8]) -> bool {
        Parameters::new(query).is_ok_and(|(id, _)| S::SNAPSHOTS.contains(&id))
    }

    fn query_copy(self: Arc<Self>, query: Vec<u8>, share: (u32, u32)) -> Answered {
        Box::pin(async move { self.answer_copy(query, share).await })
    }

    fn free(&self) -> &Free {
        &self.free
    }

    fn level(&self, update: &[u8]) -> Result<Level, ApplyError> {
        // A `Deserialize` of the user's that panics must not end the answering.
        let decoded = catch_unwind(|| S::decode(update).map(|update| S::method(&update).level));
        decoded.unwrap_or(Err(ApplyError::NoMethod))
    }

    fn request(&self, call: &[u8]) -> Result<(), ApplyError> {
        let decoded =
            catch_unwind(|| S::decode_request(call).map(|request| S::request_method(&request)));
        let method = decoded.unwrap_or(Err(ApplyError::NoMethod))?;
        let active = self.seat.version().unwrap_or(S::VERSION);
        method.check(active).map_err(ApplyError::Version)
    }

    fn scatters(&self, query: &[u8]) -> bool {
        Parameters::new(query).is_ok_and(|(id, _)| S::SCATTERED.contains(&id))
    }

    fn gather(&self, query: &[u8], shares: &[Vec<u8>]) -> Result<Vec<u8>, QueryError> {
        let (id, _) = Parameters::new(query)?;
        let gather = || {
            let mut out = Vec::new();
            S::gather(id, shares, &mut out).map(|()| out)
        };
        catch_unwind(gather).unwrap_or_else(|panic| {
            let why = format!("gathering panicked: {}", panic_text(panic.as_ref()));
            Err(QueryError::Result { method: "query", why })
        })
    }

    fn is_total(&self) -> bool {
        S::UPDATES.iter().all(|update| update.class == Class::Total)
    }

    fn ring(&self) -> Option<&Arc<Ring>> {
        self.feed.ring()
    }

    fn schema(&self) -> u64 {
        schema::<S>()
    }

    fn card(&self) -> &Card {
        self.card.get_or_init(Card::shared::<S>)
    }
}

impl<S: Replicated> fmt::Debug for Shared<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("seat", &self.seat).finish_non_exhaustive()
    }
}

pub(crate) fn panic_text(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("without a message")
}
