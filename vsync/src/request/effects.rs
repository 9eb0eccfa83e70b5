//! [`Effect`]: an update that a request will make, and what it will give.

use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use vsync_core::engine::Level;

use crate::replicated::Replicated;

/// What an update of a request will give when the request's `Commit` is applied; nobody knows it
/// before.
///
/// It may be dropped. A request that is declared to give an `Effect<T>` answers with a `T`: with
/// what that update gives, decided at the point of the order where all its effects are applied, or
/// with a [value](Effect::value) that is known already.
///
/// ```
/// # use vsync::{Effect, RequestCtx, replicated};
/// #[replicated]
/// #[derive(Default)]
/// struct Hall {
///     free: Vec<u32>,
/// }
///
/// #[replicated]
/// impl Hall {
///     #[update(order = "total")]
///     fn take(&mut self, limit: u32) -> Option<u32> {
///         self.free.pop().filter(|seat| *seat < limit)
///     }
///
///     /// The seat, if there is one still when this is applied.
///     #[request]
///     async fn book(ctx: &RequestCtx<Self>, limit: u32) -> Effect<Option<u32>> {
///         if ctx.read(|hall| hall.free.is_empty()).await {
///             return Effect::value(None);
///         }
///         ctx.update().take(limit)
///     }
/// }
/// ```
pub struct Effect<T> {
    pub(crate) kind: Kind<T>,
}

pub(crate) enum Kind<T> {
    Value(T),
    /// What the update of this index gives, of the buffer of this number.
    Of(u64, u32),
}

impl<T> Effect<T> {
    /// What is known already.
    pub fn value(value: T) -> Effect<T> {
        Effect { kind: Kind::Value(value) }
    }
}

impl<T> fmt::Debug for Effect<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            Kind::Value(_) => "Effect(known)",
            Kind::Of(..) => "Effect(not known yet)",
        })
    }
}

/// Numbers of buffers.
static NEXT: AtomicU64 = AtomicU64::new(0);

/// Where the updates of a request wait for its `Commit`. What `#[replicated]` generates around it
/// has a method per update.
pub struct Effects<S> {
    buffer: Arc<Buffer>,
    state: PhantomData<fn() -> S>,
}

struct Buffer {
    number: u64,
    waiting: Mutex<Waiting>,
}

/// Updates that wait.
#[derive(Default)]
pub(crate) struct Waiting {
    pub(crate) updates: Vec<Vec<u8>>,
    /// Whether one of them is applied only when it is stable.
    pub(crate) stable: bool,
    /// Why they cannot be sent.
    pub(crate) error: Option<String>,
}

impl<S> Clone for Effects<S> {
    fn clone(&self) -> Self {
        Effects { buffer: Arc::clone(&self.buffer), state: PhantomData }
    }
}

impl<S> fmt::Debug for Effects<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Effects").field("updates", &self.lock().updates.len()).finish()
    }
}

impl<S> Effects<S> {
    pub(crate) fn new() -> Effects<S> {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let buffer = Buffer { number, waiting: Mutex::default() };
        Effects { buffer: Arc::new(buffer), state: PhantomData }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.buffer.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn number(&self) -> u64 {
        self.buffer.number
    }

    /// Takes what waits.
    pub(crate) fn take(&self) -> Waiting {
        std::mem::take(&mut *self.lock())
    }

    /// Why what waits cannot be sent.
    pub(crate) fn error(&self) -> Option<String> {
        self.lock().error.clone()
    }
}

impl<S: Replicated> Effects<S> {
    /// One more, behind those that wait already.
    pub(crate) fn push<R>(&self, update: &S::Update) -> Effect<R> {
        let method = S::method(update);
        let mut bytes = Vec::new();
        let mut encoded = S::encode(update, &mut bytes).map_err(|why| why.to_string());
        // One that does not decode could not be applied anywhere.
        if encoded.is_ok() && !method.plain {
            encoded = S::decode(&bytes).map(drop).map_err(|why| why.to_string());
        }
        let mut waiting = self.lock();
        if let Err(why) = encoded {
            waiting.error.get_or_insert(why);
        }
        waiting.stable |= method.level == Level::Stable;
        waiting.updates.push(bytes);
        let index = u32::try_from(waiting.updates.len() - 1).unwrap_or(u32::MAX);
        Effect { kind: Kind::Of(self.number(), index) }
    }
}

/// The effects of a type without requests.
#[derive(Clone, Copy, Debug)]
pub struct NoEffects;

impl<S> From<Effects<S>> for NoEffects {
    fn from(_: Effects<S>) -> NoEffects {
        NoEffects
    }
}

/// A handler that runs.
pub type Responding = Pin<Box<dyn Future<Output = Responded> + Send>>;

/// What a handler has answered.
#[derive(Debug)]
pub struct Responded {
    pub(crate) answer: Answered,
    /// It has said no: none of its updates is made.
    pub(crate) refused: bool,
}

#[derive(Debug)]
pub(crate) enum Answered {
    /// The encoded answer, or why it cannot be encoded.
    Value(Result<Vec<u8>, String>),
    /// What an update gives: its buffer and its index.
    Of(u64, u32),
}
