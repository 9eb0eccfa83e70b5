//! Checks of a replicated type by itself: what a test calls, and what it may set.

mod commute;
mod failure;
mod history;
mod pool;
mod repeat;
mod schema;
mod wire;

use std::fmt;
use std::rc::Rc;
use std::sync::Arc;

use vsync_sim::Dice;

pub(crate) use failure::demand;
pub use failure::{Failure, Kind};
pub(crate) use pool::{Draw, sendable};
pub use schema::{schema, schema_unchanged};

use crate::Replicated;

/// Checks of a replicated type: its states, its updates, and how hard they are tried.
///
/// [`commute`], [`deterministic`], [`checkpointed`] and [`wire`] are these checks as they are
/// mostly wanted; here more can be set, and a [`Failure`] can be looked at.
///
/// ```
/// use vsync::replicated;
/// use vsync::testing::{Check, Kind};
///
/// #[replicated]
/// #[derive(Default)]
/// struct Log {
///     lines: Vec<u8>,
/// }
///
/// #[replicated]
/// impl Log {
///     #[update(order = "fifo")]
///     fn append(&mut self, line: u8) {
///         self.lines.push(line);
///     }
/// }
///
/// let check = Check::new(Log::default, |dice| LogUpdate::Append { line: dice.below(9) as u8 });
/// let failure = check.seed(7).cases(20).commute().unwrap_err();
/// assert_eq!(failure.kind, Kind::Order);
/// assert!(failure.report.contains("append(line: "), "{failure}");
/// ```
pub struct Check<S: Replicated> {
    start: Arc<dyn Fn() -> S + Send + Sync>,
    updates: Draws<S::Update>,
    queries: Option<Draws<S::Query>>,
    requests: Option<Draws<S::Request>>,
    seed: u64,
    cases: usize,
    length: usize,
    results: bool,
    without: Vec<&'static str>,
}

/// Draws values.
type Draws<T> = Rc<dyn Fn(&mut Dice) -> T>;

/// What a check has looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Checked {
    /// Pairs of updates, histories or messages that were tried.
    pub cases: usize,
    /// Those among them in which the state changed; for messages, those that were cut short or
    /// changed and still had to do no harm.
    pub telling: usize,
}

impl<S: Replicated> Check<S> {
    /// Checks of states that begin as `start` makes them and change by what `updates` draws.
    ///
    /// `start` makes a new state each time, always the same; `updates` draws an update with the
    /// dice that it is given and nothing else, every method now and then. Arguments from a small
    /// range meet each other more often.
    pub fn new(
        start: impl Fn() -> S + Send + Sync + 'static,
        updates: impl Fn(&mut Dice) -> S::Update + 'static,
    ) -> Self {
        Check {
            start: Arc::new(start),
            updates: Rc::new(updates),
            queries: None,
            requests: None,
            seed: 0,
            cases: 100,
            length: 16,
            results: false,
            without: Vec::new(),
        }
    }

    /// Queries for [`wire`](Check::wire), which asks for one of each that takes arguments.
    pub fn queries(mut self, queries: impl Fn(&mut Dice) -> S::Query + 'static) -> Self {
        self.queries = Some(Rc::new(queries));
        self
    }

    /// Requests for [`wire`](Check::wire), which asks for one of each that takes arguments, and has
    /// their handlers answer in a group of one member.
    pub fn requests(mut self, requests: impl Fn(&mut Dice) -> S::Request + 'static) -> Self {
        self.requests = Some(Rc::new(requests));
        self
    }

    /// Another seed gives other histories. Without it a check is the same every time.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// How many histories are tried; by [`commute`](Check::commute), for each pair of methods.
    pub fn cases(mut self, cases: usize) -> Self {
        self.cases = cases;
        self
    }

    /// How many steps a history has at most.
    pub fn length(mut self, steps: usize) -> Self {
        self.length = steps;
        self
    }

    /// [`commute`](Check::commute) compares the results of the two updates as well.
    ///
    /// It does not by itself: a result goes to one caller, at one replica, and no replica's state
    /// depends on it. `insert` may say at one member that it was first, and would have said
    /// otherwise had it come second. Compare results where callers take them for a decision.
    pub fn results(mut self) -> Self {
        self.results = true;
        self
    }

    /// Does not ask for these methods: that they are drawn, or that they ever change the state. Of
    /// methods that have ended with the type's version (`until`) nothing is asked anyway: none of
    /// their updates is sent, so what is drawn of them is put away.
    pub fn without(mut self, methods: impl IntoIterator<Item = &'static str>) -> Self {
        self.without.extend(methods);
        self
    }

    fn dice(&self) -> Dice {
        Dice::new(self.seed)
    }
}

impl<S: Replicated> fmt::Debug for Check<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Check").field("type", &S::NAME).finish_non_exhaustive()
    }
}

/// Checks that updates which may reach replicas in different orders commute.
///
/// Two updates of different members have one order only if both are `total`, or if one of them is
/// not `fifo` and was sent by somebody that had delivered the other. Any other two may be applied
/// one way round here and the other way round there. This takes states through random histories and
/// applies every such pair of methods both ways: the checkpoints must be equal.
///
/// # Panics
/// With a report, if two updates do not commute: the pair, the shortest history that shows it, and
/// both outcomes. Also if the check was vacuous: no such pair exists or was drawn, or a method
/// never changed the state or emitted an event. Methods that have ended with the type's version
/// (`until`) are not asked for; others are left out by [`Check::without`]. [`Check`] has it as a
/// value, too, and more settings:
///
/// ```
/// # use std::collections::BTreeSet;
/// # use vsync::replicated;
/// # #[replicated]
/// # #[derive(Default)]
/// # struct Names {
/// #     all: BTreeSet<u8>,
/// # }
/// # #[replicated]
/// # impl Names {
/// #     #[update(order = "fifo")]
/// #     fn add(&mut self, name: u8) -> bool {
/// #         self.all.insert(name)
/// #     }
/// #     #[update(order = "fifo")]
/// #     fn touch(&mut self) {}
/// # }
/// use vsync::testing::Check;
///
/// let names = Check::new(Names::default, |dice| NamesUpdate::Add { name: dice.below(9) as u8 });
/// names.without(["touch"]).commute()?;
/// # Ok::<_, vsync::testing::Failure>(())
/// ```
///
/// ```
/// use std::collections::BTreeSet;
/// use vsync::replicated;
///
/// #[replicated]
/// #[derive(Default)]
/// struct Names {
///     all: BTreeSet<u8>,
/// }
///
/// #[replicated]
/// impl Names {
///     #[update(order = "fifo")]
///     fn add(&mut self, name: u8) -> bool {
///         self.all.insert(name)
///     }
/// }
///
/// vsync::testing::commute(Names::default, |dice| NamesUpdate::Add { name: dice.below(9) as u8 });
/// ```
///
/// It finds, with the order that it was given, that a list is no set:
///
/// ```should_panic
/// # use vsync::replicated;
/// # #[replicated]
/// # #[derive(Default)]
/// # struct Names {
/// #     all: Vec<u8>,
/// # }
/// # #[replicated]
/// # impl Names {
/// #[update(order = "fifo")]
/// fn add(&mut self, name: u8) {
///     self.all.push(name);
/// }
/// # }
/// # vsync::testing::commute(Names::default, |dice| NamesUpdate::Add {
/// #     name: dice.below(9) as u8,
/// # });
/// ```
#[track_caller]
pub fn commute<S: Replicated>(
    start: impl Fn() -> S + Send + Sync + 'static,
    updates: impl Fn(&mut Dice) -> S::Update + 'static,
) {
    demand(Check::new(start, updates).commute());
}

/// Checks that the same updates in the same order give the same states and results everywhere.
///
/// Each history is applied to two copies, one of them on another thread, and to a third that was
/// loaded from a checkpoint on the way. It finds what depends on a clock, on random numbers, on
/// addresses, on the iteration order of a hash map, on statics, on the thread, and on `#[local]`
/// fields. It cannot find what is the same for all copies in one process and differs between
/// machines: the environment, files, the width of `usize`, what a floating-point library computes;
/// nor what differs too seldom to show in some hundred histories.
///
/// # Panics
/// With a report, if copies differ: the step at which they do and the shortest history that shows
/// it; or if no history changed the state or emitted an event. [`Check`] has it as a value, and
/// can leave methods [out](Check::without).
///
/// ```
/// use vsync::{Ctx, replicated};
///
/// #[replicated]
/// #[derive(Default)]
/// struct Bids {
///     best: Option<(u64, u64)>,
/// }
///
/// #[replicated]
/// impl Bids {
///     #[update(order = "total")]
///     fn bid(&mut self, ctx: &Ctx<Self>, amount: u64) -> bool {
///         // `Instant::now()` would differ between replicas; the sender's time is the same.
///         let better = self.best.is_none_or(|(best, _)| amount > best);
///         if better {
///             self.best = Some((amount, ctx.time()));
///         }
///         better
///     }
/// }
///
/// vsync::testing::deterministic(Bids::default, |dice| BidsUpdate::Bid {
///     amount: dice.below(100),
/// });
/// ```
#[track_caller]
pub fn deterministic<S: Replicated>(
    start: impl Fn() -> S + Send + Sync + 'static,
    updates: impl Fn(&mut Dice) -> S::Update + 'static,
) {
    demand(Check::new(start, updates).deterministic());
}

/// Checks that a checkpoint is the whole state: saved, loaded and saved again it is the same, and
/// a state that was loaded goes on as one that was not.
///
/// A joining member begins with a checkpoint and then applies what the others apply. An update that
/// reads a `#[local]` field, which no checkpoint holds, does something else there.
///
/// # Panics
/// With a report, if a loaded state differs from what was saved or goes another way; or if no
/// history changed the state or emitted an event. [`Check`] has it as a value, and can leave
/// methods [out](Check::without).
///
/// ```
/// use vsync::replicated;
///
/// #[replicated]
/// #[derive(Default)]
/// struct Counter {
///     count: u64,
///     #[local]
///     seen_here: u64,
/// }
///
/// #[replicated]
/// impl Counter {
///     #[update(order = "total")]
///     fn add(&mut self, amount: u64) -> u64 {
///         self.seen_here += 1; // written, never read by an update
///         self.count += amount;
///         self.count
///     }
/// }
///
/// vsync::testing::checkpointed(Counter::default, |dice| CounterUpdate::Add {
///     amount: dice.below(10),
/// });
/// ```
#[track_caller]
pub fn checkpointed<S: Replicated>(
    start: impl Fn() -> S + Send + Sync + 'static,
    updates: impl Fn(&mut Dice) -> S::Update + 'static,
) {
    demand(Check::new(start, updates).checkpointed());
}

/// Checks that updates, queries, requests, their answers and checkpoints survive the wire: what was
/// encoded decodes and is encoded to the same bytes again; bytes that are cut short or changed are
/// refused or are another message, but never panic.
///
/// Queries that take arguments are drawn by [`Check::queries`], requests by [`Check::requests`]; a
/// type that has some needs them. Where the handler of a request waits for something else than the
/// group (see [`Kind::Outside`]), what it is asked is checked, and its answer is not.
///
/// # Panics
/// With a report, if a value does not survive; or if a method was never drawn. [`Check`] has it as
/// a value, and can leave methods [out](Check::without).
///
/// ```
/// use vsync::replicated;
/// use vsync::testing::Check;
///
/// #[replicated]
/// #[derive(Default)]
/// struct Words {
///     all: Vec<String>,
/// }
///
/// #[replicated]
/// impl Words {
///     #[update(order = "total")]
///     fn push(&mut self, word: String) {
///         self.all.push(word);
///     }
///
///     #[query]
///     fn get(&self, index: u32) -> Option<String> {
///         self.all.get(index as usize).cloned()
///     }
/// }
///
/// let check = Check::new(Words::default, |dice| WordsUpdate::Push {
///     word: "x".repeat(dice.below(20) as usize),
/// });
/// check.queries(|dice| WordsQuery::Get { index: dice.below(30) as u32 }).wire()?;
/// # Ok::<_, vsync::testing::Failure>(())
/// ```
#[track_caller]
pub fn wire<S: Replicated>(
    start: impl Fn() -> S + Send + Sync + 'static,
    updates: impl Fn(&mut Dice) -> S::Update + 'static,
) {
    demand(Check::new(start, updates).wire());
}
