//! [`RequestCtx`]: what a request's handler reads, changes and knows.

use std::collections::BTreeMap;
use std::fmt;
use std::future::{Future, pending};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::watch;
use vsync_core::wire::Micros;

use super::effects::{Answered, Effect, Effects, Kind, Responded};
use super::policy::{Policy, ranked};
use crate::codec;
use crate::group::Group;
use crate::remote::whole;
use crate::replicated::Replicated;
use crate::runtime::inner::Inner;
use crate::runtime::pending::{Done, Entry, Given, Name, Step, Stepped, Work};
use crate::runtime::requests::coordination;
use crate::runtime::seat::Seat;
use crate::runtime::sessions::{REPLY, Recorded, RequestId};
use crate::view::{Member, View};

/// What the handler of a request has to do with: the group's state, its own updates, and where it
/// stands. Cheap to clone, also into tasks of the handler's own.
///
/// The handler runs at one member, the coordinator, beside the group: updates go on meanwhile. When
/// the coordinator fails, another member begins anew, as the next [attempt](RequestCtx::attempt).
/// The updates that it makes are applied together with its answer, once, whichever attempts there
/// were: as one total update at one point of the order. What a handler does to the world outside it
/// may do once per attempt; [`id`](RequestCtx::id) is the same in all of them.
///
/// ```
/// use vsync::{RequestCtx, replicated, testing::Cluster};
///
/// #[replicated]
/// #[derive(Default)]
/// struct Desk {
///     sold: u32,
///     takings: u64,
/// }
///
/// #[replicated]
/// impl Desk {
///     #[update(order = "total")]
///     fn sell(&mut self) -> u32 {
///         self.sold += 1;
///         self.sold
///     }
///
///     #[update(order = "total")]
///     fn take(&mut self, amount: u64) {
///         self.takings += amount;
///     }
///
///     /// Sells a seat at a price that takes long to find.
///     #[request]
///     async fn price(ctx: &RequestCtx<Self>, limit: u64) -> Result<u64, String> {
///         let sold = ctx.read(|desk| desk.sold).await;
///         let price = tokio::task::spawn_blocking(move || 100 + u64::from(sold)).await;
///         let price = price.map_err(|error| error.to_string())?;
///         if price > limit {
///             return Err(format!("{price} is the price"));
///         }
///         ctx.update().sell();
///         ctx.update().take(price);
///         Ok(price)
///     }
/// }
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
/// # let cluster = Cluster::new(2).await;
/// # let desk: DeskHandle = cluster.node(0).group("desk").create(Desk::default()).await?;
/// # let client: DeskClient = cluster.client().await?.group("desk");
/// assert_eq!(desk.price(500).await?, 100);
/// assert_eq!(client.price(500).key("order 17").await?, 101);
/// assert_eq!(client.price(500).key("order 17").await?, 101); // the same order
/// assert!(client.price(50).await.is_err());
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
pub struct RequestCtx<S: Replicated> {
    running: Arc<Running<S>>,
}

struct Running<S: Replicated> {
    group: Group<S>,
    name: Name,
    id: RequestId,
    place: u64,
    policy: Policy,
    attempt: u32,
    deadline: Instant,
    /// As it began.
    view: View,
    over: watch::Receiver<bool>,
    effects: Effects<S>,
    steps: Mutex<Steps>,
    /// What it ends with, if it cannot go on.
    broken: watch::Sender<Option<Recorded>>,
    /// How many parts of the handler wait for something of the group's.
    waits: Arc<AtomicUsize>,
}

/// The steps of a request.
struct Steps {
    /// Those that earlier attempts have done.
    done: BTreeMap<u32, Done>,
    next: u32,
}

/// What an attempt begins with.
pub(crate) struct Start<'a, S: Replicated> {
    pub(crate) group: Group<S>,
    pub(crate) name: Name,
    pub(crate) entry: &'a Entry,
    pub(crate) view: View,
    pub(crate) over: watch::Receiver<bool>,
    /// By the wall clock.
    pub(crate) now: Micros,
}

/// A part of a handler waits for something of the group's.
struct Waits<'a>(&'a AtomicUsize);

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl<S: Replicated> Clone for RequestCtx<S> {
    fn clone(&self) -> Self {
        RequestCtx { running: Arc::clone(&self.running) }
    }
}

impl<S: Replicated> fmt::Debug for RequestCtx<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestCtx")
            .field("id", &self.id())
            .field("attempt", &self.attempt())
            .finish_non_exhaustive()
    }
}

impl<S: Replicated> RequestCtx<S> {
    pub(crate) fn new(start: Start<'_, S>) -> RequestCtx<S> {
        let Start { group, name, entry, view, over, now } = start;
        let left = Duration::from_micros(entry.deadline.saturating_sub(now));
        let now = Instant::now();
        let running = Running {
            group,
            place: entry.place(&name),
            policy: coordination::<S>(&entry.call).0,
            name,
            id: entry.id.clone(),
            attempt: entry.attempt,
            deadline: now.checked_add(left).unwrap_or(now),
            view,
            over,
            effects: Effects::new(),
            steps: Mutex::new(Steps { done: entry.steps.clone(), next: 0 }),
            broken: watch::Sender::new(None),
            waits: Arc::default(),
        };
        RequestCtx { running: Arc::new(running) }
    }

    /// How many parts of the handler wait for something of the group's.
    pub(crate) fn waits(&self) -> Arc<AtomicUsize> {
        Arc::clone(&self.running.waits)
    }

    fn wait(&self) -> Waits<'_> {
        self.running.waits.fetch_add(1, Ordering::Relaxed);
        Waits(&self.running.waits)
    }

    pub(crate) fn seat(&self) -> &Seat {
        &self.running.group.shared.seat
    }

    /// Reads the replica of this member, between two ranges of updates, and waits until what was
    /// read is stable. All that one call reads is of one point of the order.
    ///
    /// It may be older than the point at which the request's own updates are applied: others come
    /// in between. What must hold there is for the updates themselves to look at, and an
    /// [`Effect`] lets their word be the answer. While this member has no state (it was excluded,
    /// and this attempt is over) nothing is read, and this does not come back.
    pub async fn read<R: Send>(&self, read: impl FnOnce(&S) -> R + Send) -> R {
        let _waits = self.wait();
        let done = self.running.group.shared.read(read);
        if let Ok((value, mut stability)) = done
            && stability.wait().await.is_ok()
        {
            return value;
        }
        pending().await
    }

    /// What changes the state: a method per update, as members' handles have. The updates wait
    /// until the handler answers, and are then applied with its answer, all together and in their
    /// order; none is if it [fails](crate::ClientCallError) or answers with an `Err` of its own.
    pub fn update(&self) -> S::Effects {
        self.running.effects.clone().into()
    }

    /// Has updates made now, in the midst of the request, and gives what one of them gives.
    ///
    /// A step is made once: what it gave is recorded under the request's name, and another attempt
    /// that comes to the same step is given that. So the steps of an attempt have to follow from
    /// what was asked for, earlier steps, and what was [recorded](RequestCtx::record); if another
    /// attempt has made another step here, the request ends with an error. A step stays made if the
    /// request fails later.
    ///
    /// ```
    /// # use vsync::{RequestCtx, replicated};
    /// # #[replicated]
    /// # #[derive(Default)]
    /// # struct Desk { next: u64 }
    /// #[replicated]
    /// impl Desk {
    ///     #[update(order = "total")]
    ///     fn reserve(&mut self) -> u64 {
    ///         self.next += 1;
    ///         self.next
    ///     }
    ///
    ///     #[request]
    ///     async fn order(ctx: &RequestCtx<Self>) -> u64 {
    ///         let seat = ctx.step(|desk| desk.reserve()).await;
    ///         // … something that has to know the seat …
    ///         seat
    ///     }
    /// }
    /// ```
    pub async fn step<R>(&self, make: impl FnOnce(&S::Effects) -> Effect<R>) -> R
    where
        R: DeserializeOwned,
    {
        let effects = Effects::new();
        let Effect { kind } = make(&effects.clone().into());
        let waiting = effects.take();
        let of = match &kind {
            Kind::Value(_) => None,
            Kind::Of(number, index) if *number == effects.number() => Some(*index),
            Kind::Of(..) => {
                return self.break_off("a step gives the effect of another".to_owned()).await;
            }
        };
        if let Some(why) = waiting.error {
            return self.break_off(why).await;
        }
        let work = Work::Updates(waiting.updates, of);
        let hash = work.hash();
        let bytes = match self.next(|done| done.hash == hash) {
            Known::Done(bytes) => bytes,
            Known::Differs => return self.differs().await,
            Known::New(index) => self.make(index, work, waiting.stable).await,
        };
        match kind {
            Kind::Value(value) => value,
            Kind::Of(..) => self.decoded(&bytes).await,
        }
    }

    /// Finds something out once: what the future gives is recorded under the request's name, and
    /// another attempt is given that instead of finding out again. For what attempts may not
    /// differ in: a random number, the time, what another service has said.
    ///
    /// It counts as a [step](RequestCtx::step).
    pub async fn record<R>(&self, find: impl Future<Output = R>) -> R
    where
        R: Serialize + DeserializeOwned,
    {
        let bytes = match self.next(|done| done.hash == 0) {
            Known::Done(bytes) => bytes,
            Known::Differs => return self.differs().await,
            Known::New(index) => {
                let mut bytes = Vec::new();
                if let Err(why) = codec::write(&find.await, &mut bytes) {
                    return self.break_off(why).await;
                }
                self.make(index, Work::Found(bytes), false).await
            }
        };
        self.decoded(&bytes).await
    }

    /// Which attempt at the request this is, from 1 on: how often it has come to another
    /// coordinator, as all members count. (Where [all members](Policy::Active) run it, always 1.)
    pub fn attempt(&self) -> u32 {
        self.running.attempt
    }

    /// What the request is called, the same at each attempt and for no other request of the group:
    /// good as an idempotency key for services outside.
    pub fn id(&self) -> String {
        match &self.running.id {
            RequestId::Numbered { session, number, .. } => {
                format!("{:x}-{:x}-{number:x}", session.group, session.number)
            }
            RequestId::Key(key) => {
                let status = self.seat().status();
                let group = status.group.map_or(0, |group| group.0);
                format!("{group:x}-key-{}", key.escape_ascii())
            }
        }
    }

    /// The view that is installed at this member.
    pub fn view(&self) -> View {
        self.running.group.view().unwrap_or_else(|| self.running.view.clone())
    }

    /// This member's rank in it. As all of what this replica alone knows it must not get into an
    /// update unless that is meant.
    pub fn rank(&self) -> Option<usize> {
        self.running.group.rank()
    }

    /// The other active members, the next to take over first (as far as the policy tells).
    pub fn cohort(&self) -> Vec<Member> {
        let (view, me) = (self.view(), self.running.group.me());
        let members = match self.running.policy {
            Policy::Primary | Policy::Named(_) => view.active().iter().collect(),
            _ => ranked(self.running.place, &view),
        };
        members.into_iter().filter(|member| Some(member.id) != me).cloned().collect()
    }

    /// When the request ends without an answer. What comes later has no effect.
    pub fn deadline(&self) -> Instant {
        self.running.deadline
    }

    /// Whether this attempt is over: the request is, or another member has it now.
    pub fn is_cancelled(&self) -> bool {
        *self.running.over.borrow()
    }

    /// Waits until this attempt is over. The handler itself is stopped then, at its next `.await`;
    /// this is for what it has let others do.
    pub async fn cancelled(&self) {
        let _waits = self.wait();
        let mut over = self.running.over.clone();
        // Where nobody can say so any more it is over as well.
        drop(over.wait_for(|over| *over).await);
    }

    /// What it ends with because it cannot go on.
    pub(crate) async fn broken(&self) -> Recorded {
        let mut broken = self.running.broken.subscribe();
        let ended = broken.wait_for(Option::is_some).await.ok().and_then(|ended| ended.clone());
        match ended {
            Some(recorded) => recorded,
            None => pending().await,
        }
    }

    /// The handler has answered.
    pub(crate) fn given(&self, responded: Responded) -> Given {
        let effects = &self.running.effects;
        if responded.refused {
            drop(effects.take());
        }
        let ends = |why| Given::Ends(Recorded::NotApplied(why));
        if let Some(why) = effects.error() {
            return ends(why);
        }
        match responded.answer {
            Answered::Value(Ok(bytes)) if bytes.len() > REPLY => {
                ends(format!("its answer has {} bytes, the limit is {REPLY}", bytes.len()))
            }
            Answered::Value(Ok(bytes)) => Given::Answer(bytes),
            Answered::Value(Err(why)) => ends(format!("its answer: {why}")),
            Answered::Of(number, index) if number == effects.number() => Given::Of(index),
            Answered::Of(..) => ends("its answer is no effect of its own".to_owned()),
        }
    }

    /// The updates that go with the answer, and whether one is applied only when stable.
    pub(crate) fn take_updates(&self) -> (Vec<Vec<u8>>, bool) {
        let waiting = self.running.effects.take();
        (waiting.updates, waiting.stable)
    }

    /// Makes a step, and waits until it is stable.
    async fn make(&self, index: u32, work: Work, stable: bool) -> Vec<u8> {
        let step = Step { name: self.running.name.clone(), index, work };
        let seat = self.seat();
        let Some(sending) = Inner::Step(Box::new(step)).sending(stable) else {
            return self.break_off("a step that does not encode".to_owned()).await;
        };
        let size = sending.update.len();
        let limit = seat.limit();
        if size > limit {
            let why = format!("a step has {size} bytes, the limit is {limit}");
            return self.break_off(why).await;
        }
        let ordered = seat.order(sending);
        let _waits = self.wait();
        let told = match ordered {
            Ok(mut ordered) => ordered.told().await.ok(),
            Err(_) => None,
        };
        match told.and_then(|stepped| stepped.downcast::<Stepped>().ok()).map(|boxed| *boxed) {
            Some(Stepped::Done(bytes)) => bytes,
            Some(Stepped::Differs) => self.differs().await,
            // Whoever is told so is stopped as well.
            Some(Stepped::Over) | None => pending().await,
        }
    }

    /// What is known of the next step, which is this one.
    fn next(&self, same: impl FnOnce(&Done) -> bool) -> Known {
        let steps = self.running.steps.lock();
        steps.unwrap_or_else(PoisonError::into_inner).next(same)
    }

    async fn decoded<R: DeserializeOwned>(&self, bytes: &[u8]) -> R {
        match whole(bytes) {
            Ok(value) => value,
            Err(error) => self.break_off(error.to_string()).await,
        }
    }

    async fn differs<R>(&self) -> R {
        self.break_off("its steps are not those of an earlier attempt".to_owned()).await
    }

    /// The request cannot go on; the handler is not heard of again.
    async fn break_off<R>(&self, why: String) -> R {
        self.running.broken.send_replace(Some(Recorded::NotApplied(why)));
        let _waits = self.wait();
        pending().await
    }
}

/// What is known of the next step.
enum Known {
    Done(Vec<u8>),
    Differs,
    /// Nothing: it is to be made, under this number.
    New(u32),
}

impl Steps {
    fn next(&mut self, same: impl FnOnce(&Done) -> bool) -> Known {
        let index = self.next;
        self.next += 1;
        match self.done.get(&index) {
            Some(done) if same(done) => Known::Done(done.result.clone()),
            Some(_) => Known::Differs,
            None => Known::New(index),
        }
    }
}
