//! The replica: the state of one group at this node, and the only code that changes it.

use std::any::Any;
use std::fmt;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};

use bytes::Bytes;
use vsync_core::engine::Delivery;
use vsync_core::wire::{GroupId, Micros};
use xxhash_rust::xxh3::Xxh3;

use super::callers::Takes;
use super::checkpoint::{self, Beside};
use super::inner::Sending;
use super::ring::Ring;
use super::seat::Seat;
use super::stability::Stability;
use crate::__private::Parameters;
use crate::error::GroupError;
use crate::events::Feed;
use crate::replicated::{QueryError, Replicated};
use crate::view::View;

/// Bytes of events that are kept for clients unless a node is configured otherwise.
pub(crate) const RING: usize = 1 << 20;

/// What the handles of a group share: the seat, and the state behind a lock that queries take
/// between two ranges of updates.
pub(crate) struct Shared<S: Replicated> {
    pub(crate) seat: Arc<Seat>,
    pub(crate) feed: Feed<S::Event>,
    state: Mutex<Cell<S>>,
}

/// The state of a replica.
pub(super) enum Cell<S> {
    /// Not the group's state: only its `#[local]` parts count, until a checkpoint is loaded.
    Local(S),
    /// The group's state.
    Live(S),
    /// Nothing: the state could not be loaded.
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

/// Takes a checkpoint.
pub(crate) type Saving = Box<dyn FnOnce() -> Result<Bytes, Broken> + Send>;

/// Loads a checkpoint.
pub(crate) type Loading = Box<dyn FnOnce() -> Result<(), Broken> + Send>;

/// The install of a view, as a replica has to know it.
pub(crate) struct Installed<'a> {
    pub(crate) group: GroupId,
    /// What all members agree on.
    pub(crate) view: &'a View,
    /// This node's rank.
    pub(crate) rank: usize,
    /// Whether the state does not know it yet.
    pub(crate) told: bool,
}

/// A replica without its type, for the driver.
pub(crate) trait Replica: Send {
    /// Applies a range; the results of own updates that are awaited go to `takes`.
    fn deliver(&mut self, range: &Delivery, takes: Option<&mut dyn Takes>) -> Result<(), Broken>;
    /// Whether somebody reads the state just now, perhaps for long.
    fn is_read(&self) -> bool;
    /// Whether it is compared with the others', for which checkpoints are taken.
    fn compares(&self) -> bool;
    /// Whether it was found not to be like the others: a donor's state can mend that.
    fn differs(&self) -> bool;
    /// A view was installed.
    fn install(&mut self, installed: Installed<'_>) -> Result<(), Broken>;
    /// The checkpoint of the state as it is.
    fn save(&self) -> Result<Bytes, Broken>;
    /// Takes the checkpoint, wherever that is run.
    fn saving(&self) -> Saving;
    /// Replaces the state by a checkpoint, wherever that is run; `#[local]` parts are kept.
    fn loading(&mut self, checkpoint: Bytes) -> Loading;
    /// More of what was delivered is stable.
    fn stabilised(&mut self);
    /// When there is something to send that nobody has called for, by the wall clock.
    fn due(&self) -> Option<Micros>;
    /// The next of what is to be sent at `now`.
    fn send_due(&mut self, now: Micros) -> Option<Sending>;
    /// What this node has becomes the state of a new group.
    fn create(&mut self);
    /// The state is void, until a checkpoint is loaded.
    fn void(&mut self);
}

/// A replica without its type, for clients' queries.
pub(crate) trait Answering: Send + Sync {
    /// Answers a share of an encoded query, `share` being its number and how many there are; the
    /// answer may be given away when it is stable.
    fn query(&self, query: &[u8], share: (u32, u32)) -> Result<(Vec<u8>, Stability), Unanswered>;
    /// Whether the members divide the work of this encoded query.
    fn scatters(&self, query: &[u8]) -> bool;
    /// Makes one answer to an encoded query of those of its shares.
    fn gather(&self, query: &[u8], shares: &[Vec<u8>]) -> Result<Vec<u8>, QueryError>;
    /// Where its events are kept for clients, if it publishes them.
    fn ring(&self) -> Option<&Arc<Ring>>;
    /// Identity of the type.
    fn schema(&self) -> u64;
    /// The type in words.
    fn type_name(&self) -> String;
}

/// Identity of a replicated type: name, version and methods.
pub(crate) fn schema<S: Replicated>() -> u64 {
    let mut hash = Xxh3::new();
    hash.update(S::NAME.as_bytes());
    hash.update(&S::VERSION.to_le_bytes());
    let mut updates: Vec<_> = S::UPDATES.iter().collect();
    updates.sort_by_key(|method| method.id);
    for method in updates {
        hash.update(&method.id.to_le_bytes());
        hash.update(&[method.class as u8, method.level as u8]);
    }
    let mut queries: Vec<_> = S::QUERIES.iter().map(|(id, _)| *id).collect();
    queries.sort_unstable();
    queries.iter().for_each(|id| hash.update(&id.to_le_bytes()));
    // Who answers a share must know that it is one.
    let mut scattered = S::SCATTERED.to_vec();
    scattered.sort_unstable();
    scattered.iter().for_each(|id| hash.update(&id.to_le_bytes()));
    hash.digest()
}

/// A replicated type in words.
pub(crate) fn type_name<S: Replicated>() -> String {
    format!("{} version {}", S::NAME, S::VERSION)
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
        Shared { seat, feed, state: Mutex::new(Cell::Local(local)) }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Cell<S>> {
        // A query that panicked changed nothing; what an update that panicked has changed stays.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether somebody holds the state just now.
    pub(super) fn is_held(&self) -> bool {
        matches!(self.state.try_lock(), Err(TryLockError::WouldBlock))
    }

    /// Reads the state between two ranges; the stability is that of what was read.
    pub(crate) fn read<R>(&self, read: impl FnOnce(&S) -> R) -> Result<(R, Stability), GroupError> {
        let state = self.lock();
        let Cell::Live(live) = &*state else { return Err(GroupError::NoState) };
        let value = read(live);
        let stability = self.seat.applied_stable()?;
        Ok((value, stability))
    }

    /// The checkpoint of the state, and behind it what is beside it.
    pub(super) fn save(&self, beside: &Beside) -> Result<Bytes, Broken> {
        let state = self.lock();
        let Cell::Live(live) = &*state else {
            return Err(Broken("a checkpoint without a state".to_owned()));
        };
        match catch_unwind(AssertUnwindSafe(|| live.save())) {
            Ok(Ok(bytes)) => checkpoint::join(bytes, beside).map_err(Broken),
            Ok(Err(error)) => Err(Broken(error.to_string())),
            Err(panic) => Err(Broken(format!("saving panicked: {}", panic_text(panic.as_ref())))),
        }
    }

    /// Makes the state what a checkpoint says.
    pub(super) fn load(&self, checkpoint: &[u8]) -> Result<(), Broken> {
        let mut state = self.lock();
        let (Cell::Local(old) | Cell::Live(old)) = std::mem::replace(&mut *state, Cell::Void)
        else {
            return Err(Broken("a checkpoint, but the local parts are lost".to_owned()));
        };
        match catch_unwind(AssertUnwindSafe(|| S::load(checkpoint, old))) {
            Ok(Ok(loaded)) => {
                *state = Cell::Live(loaded);
                Ok(())
            }
            Ok(Err(error)) => Err(Broken(error.to_string())),
            Err(panic) => Err(Broken(format!("loading panicked: {}", panic_text(panic.as_ref())))),
        }
    }
}

impl<S: Replicated> Answering for Shared<S> {
    fn query(&self, query: &[u8], share: (u32, u32)) -> Result<(Vec<u8>, Stability), Unanswered> {
        let read = |state: &S| {
            let ctx = self.seat.query_ctx(share).ok_or(GroupError::NoState)?;
            let mut out = Vec::new();
            Ok(state.query(&ctx, query, &mut out).map(|()| out))
        };
        // A panic in a query is the query's: the state was only borrowed.
        let done = catch_unwind(AssertUnwindSafe(|| self.read(read)));
        let Ok(done) = done else {
            let why = "the query panicked".to_owned();
            return Err(Unanswered::Query(QueryError::Result { method: "query", why }));
        };
        let (answer, stability) = done.map_err(Unanswered::Group)?;
        let answer = answer.map_err(Unanswered::Group)?;
        Ok((answer.map_err(Unanswered::Query)?, stability))
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

    fn ring(&self) -> Option<&Arc<Ring>> {
        self.feed.ring()
    }

    fn schema(&self) -> u64 {
        schema::<S>()
    }

    fn type_name(&self) -> String {
        type_name::<S>()
    }
}

impl<S: Replicated> fmt::Debug for Shared<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("seat", &self.seat).finish_non_exhaustive()
    }
}

pub(super) fn panic_text(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("without a message")
}
