//! [`Query`]: reading the local replica, or another member's.

use std::fmt;
use std::future::{Future, IntoFuture};
use std::panic::resume_unwind;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use crate::ask::Target;
use crate::barrier;
use crate::error::GroupError;
use crate::group::Group;
use crate::limited::Limited;
use crate::optimistic::Optimistic;
use crate::query_at::QueryAt;
use crate::query_ctx::QueryCtx;
use crate::replicated::{EncodeError, Replicated};
use crate::runtime::replica::Answering;
use crate::runtime::seat::Seat;

/// Where a query is run: what it may know of that is there for those that ask.
#[derive(Debug)]
pub struct Here<'a>(At<'a>);

#[derive(Debug)]
enum At<'a> {
    /// Here and now.
    Seat(&'a Seat),
    /// At the moment when the state was copied.
    Copy(&'a QueryCtx),
}

impl<'a> Here<'a> {
    pub(crate) fn now(seat: &'a Seat) -> Here<'a> {
        Here(At::Seat(seat))
    }

    pub(crate) fn then(ctx: &'a QueryCtx) -> Here<'a> {
        Here(At::Copy(ctx))
    }

    /// It.
    pub fn ctx(&self) -> QueryCtx {
        match self.0 {
            At::Seat(seat) => ctx(seat),
            At::Copy(ctx) => ctx.clone(),
        }
    }
}

/// What a query may know that is asked here and now, for all of it.
fn ctx(seat: &Seat) -> QueryCtx {
    seat.query_ctx((0, 1)).unwrap_or_default()
}

/// A query with its arguments: it is run here, or sent.
pub(crate) trait Asking<S: Replicated, R>: Send {
    /// Runs the method.
    fn read(self: Box<Self>, state: &S, here: Here<'_>) -> R;
    /// Appends its wire form.
    fn encode(self: Box<Self>, out: &mut Vec<u8>) -> Result<(), EncodeError>;
}

/// Arguments, and what is made of them.
pub(crate) struct Arguments<A, F, G> {
    pub(crate) args: A,
    pub(crate) read: F,
    pub(crate) message: G,
}

impl<S, R, A, F, G> Asking<S, R> for Arguments<A, F, G>
where
    S: Replicated,
    A: Send,
    F: FnOnce(&S, Here<'_>, A) -> R + Send,
    G: FnOnce(A) -> S::Query + Send,
{
    fn read(self: Box<Self>, state: &S, here: Here<'_>) -> R {
        (self.read)(state, here, self.args)
    }

    fn encode(self: Box<Self>, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        S::encode_query(&(self.message)(self.args), out)
    }
}

/// A query of the local replica. It runs when it is awaited, on the thread that polls it, as soon
/// as no update and no other query has the state. One that says `#[query(snapshot)]` is computed
/// from a copy of the state, on a thread of the node's own: updates and other queries go on
/// meanwhile.
///
/// `.await` waits until everything that it read is stable; [`optimistic`](Query::optimistic) reads
/// now, and [`at`](Query::at) asks another member.
///
/// # Queries that take long
/// While a plain query runs, what is delivered to the group is not applied. One with `snapshot`
/// holds the state for as long as `Clone` takes:
///
/// ```
/// # use std::sync::mpsc::{Receiver, Sender, channel};
/// # use std::sync::{Arc, Mutex};
/// # use vsync::{replicated, testing::Cluster};
/// # /// Where a report that takes long says that it has begun, and waits.
/// # #[derive(Clone)]
/// # struct Desk(Sender<()>, Arc<Mutex<Receiver<()>>>);
/// # impl Desk {
/// #     fn think(&self) {
/// #         self.0.send(()).unwrap();
/// #         self.1.lock().unwrap().recv().unwrap();
/// #     }
/// # }
/// #[replicated]
/// #[derive(Clone)]
/// struct Sales {
///     all: Vec<u64>,
///     #[local]
///     desk: Desk,
/// }
///
/// #[replicated]
/// impl Sales {
///     #[update(order = "total")]
///     fn sell(&mut self, amount: u64) -> usize {
///         self.all.push(amount);
///         self.all.len()
///     }
///
///     /// Takes its time.
///     #[query(snapshot)]
///     fn report(&self) -> u64 {
///         self.desk.think();
///         self.all.iter().sum()
///     }
/// }
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
/// # let ((begun, begins), (go_on, goes_on)) = (channel(), channel());
/// # let sales = Sales { all: vec![10], desk: Desk(begun, Arc::new(Mutex::new(goes_on))) };
/// # let cluster = Cluster::new(1).await;
/// # let group = cluster.node(0).group("sales");
/// let sales: SalesHandle = group.create(sales).await?;
/// let report = tokio::spawn(sales.report().into_future());
/// # while begins.try_recv().is_err() {
/// #     tokio::time::sleep(std::time::Duration::from_millis(1)).await;
/// # }
/// assert_eq!(sales.sell(20).await?, 2); // while it is computed
/// # go_on.send(())?;
/// assert_eq!(report.await??, 10);
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[must_use = "nothing is read before this is awaited"]
pub struct Query<S: Replicated, R> {
    group: Group<S>,
    asking: Box<dyn Asking<S, R>>,
    /// Whether it is answered from a copy of the state.
    of_copy: bool,
    limit: Option<Duration>,
}

impl<S: Replicated, R> Query<S, R> {
    pub(crate) fn new(group: Group<S>, asking: Box<dyn Asking<S, R>>) -> Self {
        Query { group, asking, of_copy: false, limit: None }
    }

    /// The same, answered from a copy of the state.
    pub(crate) fn of_copy(self) -> Self {
        Query { of_copy: true, ..self }
    }
}

impl<S: Replicated, R: Send + 'static> Query<S, R> {
    /// Gives up waiting after `limit`: [`Unknown::Timeout`](crate::Unknown::Timeout), if the state
    /// was not free, or what was read has not become stable by then; where the group has no quorum,
    /// [`Unknown::NoQuorum`](crate::Unknown::NoQuorum).
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.limit = Some(limit);
        self
    }

    /// Reads now, without waiting for stability.
    ///
    /// It does not return before it has read: while an update is applied, or a checkpoint of a
    /// state that is not `Clone` is taken, the calling thread waits. Where updates take long, call
    /// it from [`spawn_blocking`](tokio::task::spawn_blocking), or await the query. That of a
    /// `#[query(snapshot)]` is computed here, too, but the state is free again when it is copied.
    pub fn optimistic(self) -> Result<Optimistic<R>, GroupError> {
        let Query { group, asking, of_copy, .. } = self;
        let shared = &group.shared;
        let (value, stability) = match of_copy {
            false => shared.read(|state| asking.read(state, Here::now(&shared.seat)))?,
            true => {
                let copy = shared.copy(|seat| Ok(ctx(seat)))?;
                (asking.read(&copy.state, Here::then(&copy.noted)), copy.stability)
            }
        };
        Ok(Optimistic::new(value, stability))
    }

    /// Reads what is the latest: the state has in it every update that was completed anywhere
    /// before this is first polled, by its caller having been told that it is stable, and all that
    /// any query had shown by then. Total updates and such queries are linearizable together,
    /// whichever members and clients ask. Fifo and causal updates that are under way at the same
    /// time are still applied in another order at each member, as these orders allow.
    ///
    /// A plain query reads the replica at hand, which may lag behind what others have completed: a
    /// member that was cut off, and does not know it yet, still answers.
    ///
    /// It costs a total update without content, which is waited for until it is stable. Where the
    /// type has fifo or causal updates it also costs a question to each other active member, at the
    /// same time, and waits for as much as each of them has applied. Nothing of it grows with the
    /// state or the query. Without a quorum it waits, up to its [`timeout`](Query::timeout).
    ///
    /// ```
    /// # use vsync::{replicated, testing::Cluster};
    /// # #[replicated]
    /// # #[derive(Debug, Default)]
    /// # pub struct Board {
    /// #     price: u64,
    /// # }
    /// #[replicated]
    /// impl Board {
    ///     /// Sets the price.
    ///     #[update(order = "total")]
    ///     pub fn set(&mut self, price: u64) {
    ///         self.price = price;
    ///     }
    ///
    ///     /// The price.
    ///     #[query]
    ///     pub fn price(&self) -> u64 {
    ///         self.price
    ///     }
    /// }
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
    /// # let cluster = Cluster::new(2).await;
    /// # let one = cluster.node(0).group("board").create(Board::default()).await?;
    /// # let two = cluster.node(1).group("board").join(Board::default()).await?;
    ///
    /// one.set(7).await?;
    /// assert_eq!(two.price().linearizable().await?, 7);
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    pub fn linearizable(self) -> LinearizableQuery<S, R> {
        LinearizableQuery { query: self }
    }

    /// Reads as soon as the state is free, and waits until what was read is stable.
    async fn stable(self) -> Result<R, GroupError> {
        let Query { group, asking, of_copy, .. } = self;
        let shared = &group.shared;
        let (value, mut stability) = match of_copy {
            false => {
                shared.read_when_free(|state| asking.read(state, Here::now(&shared.seat))).await?
            }
            true => {
                let read = |state: &S, ctx: QueryCtx| asking.read(state, Here::then(&ctx));
                let done = shared.read_copy(|seat| Ok(ctx(seat)), read).await;
                // A query that panics does so where it is awaited.
                done.unwrap_or_else(|panic| resume_unwind(panic))?
            }
        };
        stability.wait().await?;
        Ok(value)
    }

    /// Asks one member, by its id or by its rank in the view that is installed here: it answers
    /// from its own replica, when what it read is stable.
    ///
    /// ```
    /// # use vsync::{QueryCtx, replicated, testing::Cluster};
    /// # #[replicated]
    /// # #[derive(Debug, Default)]
    /// # pub struct Load {
    /// #     #[local]
    /// #     here: u64,
    /// # }
    /// #[replicated]
    /// impl Load {
    ///     /// How busy the member is that answers.
    ///     #[query]
    ///     pub fn load(&self) -> u64 {
    ///         self.here
    ///     }
    /// }
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
    /// # let cluster = Cluster::new(2).await;
    /// # let first = cluster.node(0).group("load").create(Load { here: 3 }).await?;
    /// # let second = cluster.node(1).group("load").join(Load { here: 5 }).await?;
    ///
    /// assert_eq!(second.load().at(0).await?, 3);
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    pub fn at(self, member: impl Into<Target>) -> QueryAt<S, R> {
        let mut query = Vec::new();
        let encoded = self.asking.encode(&mut query).map(|()| query);
        let at = QueryAt::new(self.group, member.into(), encoded);
        match self.limit {
            Some(limit) => at.timeout(limit),
            None => at,
        }
    }
}

/// A [`Query`] that is linearizable, from [`Query::linearizable`].
#[must_use = "nothing is read before this is awaited"]
pub struct LinearizableQuery<S: Replicated, R> {
    query: Query<S, R>,
}

impl<S: Replicated, R: Send + 'static> LinearizableQuery<S, R> {
    /// Gives up waiting after `limit`: [`Unknown::Timeout`](crate::Unknown::Timeout), or
    /// [`Unknown::NoQuorum`](crate::Unknown::NoQuorum) where none is in sight.
    pub fn timeout(self, limit: Duration) -> Self {
        LinearizableQuery { query: self.query.timeout(limit) }
    }

    /// Asks one member: as [`QueryAt::linearizable`].
    pub fn at(self, member: impl Into<Target>) -> QueryAt<S, R> {
        self.query.at(member).linearizable()
    }
}

impl<S: Replicated, R: Send + 'static> IntoFuture for LinearizableQuery<S, R> {
    type Output = Result<R, GroupError>;
    type IntoFuture = QueryFuture<R>;

    fn into_future(self) -> Self::IntoFuture {
        let query = self.query;
        let seat = Arc::clone(&query.group.shared.seat);
        QueryFuture(Limited::new(&seat, query.limit, async move {
            let shared = &query.group.shared;
            barrier::pass(&shared.seat, shared.is_total()).await?;
            query.stable().await
        }))
    }
}

impl<S: Replicated, R> fmt::Debug for LinearizableQuery<S, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LinearizableQuery").field("group", &self.query.group.name()).finish()
    }
}

impl<S: Replicated, R: Send + 'static> IntoFuture for Query<S, R> {
    type Output = Result<R, GroupError>;
    type IntoFuture = QueryFuture<R>;

    fn into_future(self) -> Self::IntoFuture {
        let seat = Arc::clone(&self.group.shared.seat);
        QueryFuture(Limited::new(&seat, self.limit, self.stable()))
    }
}

/// A [`Query`] that waits for stability.
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub struct QueryFuture<R>(Limited<R, GroupError>);

impl<R> Future for QueryFuture<R> {
    type Output = Result<R, GroupError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(cx)
    }
}

impl<S: Replicated, R> fmt::Debug for Query<S, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Query").field("group", &self.group.name()).finish()
    }
}
