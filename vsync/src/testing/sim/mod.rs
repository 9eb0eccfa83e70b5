//! The simulation of a replicated type: groups of it, on the engine that runs in production, in a
//! world that is a function of one seed.

mod asks;
mod course;
mod faults;
mod host;
mod judge;
mod members;
mod serving;
mod story;
mod trouble;
mod world;

use std::fmt;
use std::ops::Range;
use std::time::Duration;
use std::{env, thread};

pub use faults::Faults;
use vsync_sim::Dice;

use self::world::World;
use super::check::{Failure, Kind, demand, sendable};
use crate::Replicated;

/// The variable that names the one seed to run.
const VARIABLE: &str = "VSYNC_SEED";

/// A group of replicas of a type, simulated with faults, seed after seed.
///
/// Several nodes run the protocol's engine, the one that ships, in virtual time. Their members draw
/// updates and send them; the network delays frames and lets one stream overtake another,
/// connections break, nodes crash, join with checkpoints, leave, and are taken for dead. Delivered
/// updates are applied with the type's own code. A run is a function of its seed.
///
/// What is held to be true of every seed:
/// - replicas that have delivered the same updates have equal checkpoints, after every delivery, at
///   every view and at the end;
/// - a checkpoint, loaded, is the state that was saved;
/// - every [`invariant`](Simulation::invariant), at every replica, after every update;
/// - no method panics;
/// - nothing that a member sent is lost while it stays a member, and what was reported stable
///   stays.
///
/// ```
/// use std::collections::BTreeMap;
/// use vsync::replicated;
/// use vsync::testing::{Faults, Simulation};
///
/// #[replicated]
/// #[derive(Default)]
/// struct Ledger {
///     accounts: BTreeMap<u8, u64>,
/// }
///
/// #[replicated]
/// impl Ledger {
///     #[update(order = "fifo")]
///     fn deposit(&mut self, account: u8, amount: u64) {
///         *self.accounts.entry(account).or_default() += amount;
///     }
///
///     #[update(order = "total")]
///     fn close(&mut self, account: u8) {
///         if self.accounts.get(&account).is_some_and(|amount| *amount == 0) {
///             self.accounts.remove(&account);
///         }
///     }
/// }
///
/// Simulation::new(Ledger::default, |dice| match dice.below(4) {
///     0 => LedgerUpdate::Close { account: dice.below(8) as u8 },
///     _ => LedgerUpdate::Deposit { account: dice.below(8) as u8, amount: 1 + dice.below(9) },
/// })
/// .members(4)
/// .seeds(0..10)
/// .faults(Faults::all())
/// .invariant("few accounts", |ledger| ledger.accounts.len() <= 8)
/// .run();
/// ```
///
/// With the feature `testing` this is a test like any other. One that fails names the seed, and
/// `VSYNC_SEED=17 cargo test name` runs that one alone. [`sim_test`](macro@crate::sim_test) makes a
/// test of a function that gives a simulation.
pub struct Simulation<S: Replicated> {
    start: Box<dyn Fn() -> S>,
    updates: Box<Draws<S::Update>>,
    requests: Option<Box<Draws<S::Request>>>,
    invariants: Vec<host::Invariant<S>>,
    members: usize,
    seeds: Range<u64>,
    length: usize,
    /// Microseconds of trouble, if it is said.
    lasting: Option<u64>,
    faults: Faults,
    without: Vec<&'static str>,
    /// What names this test to cargo, if it is known.
    test: Option<String>,
}

/// An hour of virtual time is enough.
const MOST_TIME: u64 = 3_600_000_000;

/// Draws values.
type Draws<T> = dyn Fn(&mut Dice) -> T;

/// What simulated runs have seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Simulated {
    /// Runs.
    pub seeds: u64,
    /// Those that came to rest with a quorum: a crash may take the last member that knew something.
    pub healed: u64,
    /// Updates that were sent.
    pub sent: u64,
    /// Updates that were applied, at any replica.
    pub applied: u64,
    /// Views that were installed, each counted once.
    pub views: u64,
    /// Checkpoints that were loaded.
    pub loaded: u64,
    /// Times that a replica was compared with another one.
    pub compared: u64,
    /// Requests that were asked for, each counted once.
    pub requests: u64,
    /// Those of them that somebody was told the end of, which is stable.
    pub answered: u64,
    /// Attempts at requests that were not the first: their coordinators had failed.
    pub taken_over: u64,
    /// Faults by kind.
    pub faults: Vec<(&'static str, u64)>,
}

impl<S: Replicated> Simulation<S> {
    /// A simulation of replicas that begin as `start` makes them and draw their updates with
    /// `updates`: from the dice that it is given and nothing else.
    ///
    /// What `start` makes is also what a joining node brings: its `#[local]` fields are kept there.
    pub fn new(
        start: impl Fn() -> S + 'static,
        updates: impl Fn(&mut Dice) -> S::Update + 'static,
    ) -> Self {
        Simulation {
            start: Box::new(start),
            updates: Box::new(updates),
            requests: None,
            invariants: Vec::new(),
            members: 4,
            seeds: 0..100,
            length: 60,
            lasting: None,
            faults: Faults::all(),
            without: Vec::new(),
            test: None,
        }
    }

    /// What names the test to cargo.
    pub(crate) fn called(mut self, test: String) -> Self {
        self.test = Some(test);
        self
    }

    /// How many members a run begins with; 4 if it is not said, at least 1.
    pub fn members(mut self, members: usize) -> Self {
        self.members = members.max(1);
        self
    }

    /// The seeds to run; 0 to 99 if it is not said. `VSYNC_SEED` in the environment overrides it.
    pub fn seeds(mut self, seeds: Range<u64>) -> Self {
        self.seeds = seeds;
        self
    }

    /// About how many updates are sent in a run while there are faults; 60 if it is not said.
    pub fn length(mut self, updates: usize) -> Self {
        self.length = updates;
        self
    }

    /// How long the trouble lasts at least, in virtual time; a second or two if it is not said. A
    /// type with timers needs as much as these.
    pub fn lasting(mut self, time: Duration) -> Self {
        self.lasting = Some(u64::try_from(time.as_micros()).unwrap_or(u64::MAX).min(MOST_TIME));
        self
    }

    /// What goes wrong; everything, if it is not said.
    pub fn faults(mut self, faults: Faults) -> Self {
        self.faults = faults;
        self
    }

    /// Something that must be true of every replica's state after every update, view and
    /// checkpoint.
    pub fn invariant(mut self, name: &'static str, holds: impl Fn(&S) -> bool + 'static) -> Self {
        self.invariants.push((name, Box::new(holds)));
        self
    }

    /// Requests that members ask for, drawn as the updates are.
    ///
    /// Their handlers run at their coordinators, in virtual time, while these crash, leave and are
    /// taken for dead; the same request is asked for again, elsewhere, while it is under way and
    /// afterwards. Held to be true is in addition:
    /// - each request ends, and once: whoever asks is told the same, whenever and wherever;
    /// - in a view one member runs it (unless [all](crate::Policy::Active) do), and all agree on
    ///   who, on the attempt, on the steps that were made and on the answers that are kept;
    /// - no handler panics, and none ends without effect, as if its steps are not those of an
    ///   earlier attempt.
    ///
    /// A handler may wait for all that its [`RequestCtx`](crate::RequestCtx) gives, and for nothing
    /// else: where it waits for a timer, a task, a thread or a socket, the simulation ends with
    /// [`Kind::Outside`]. Nor may what it does depend on clocks ([`deadline`] is one), or on which
    /// branch a `tokio::select!` tries first (write `biased;`): then a seed is not one run.
    ///
    /// [`deadline`]: crate::RequestCtx::deadline
    ///
    /// ```
    /// use vsync::testing::Simulation;
    /// use vsync::{Effect, RequestCtx, replicated};
    ///
    /// #[replicated]
    /// #[derive(Default)]
    /// struct Hall {
    ///     sold: u32,
    /// }
    ///
    /// #[replicated]
    /// impl Hall {
    ///     #[update(order = "total")]
    ///     fn sell(&mut self, most: u32) -> bool {
    ///         let free = self.sold < most;
    ///         self.sold += u32::from(free);
    ///         free
    ///     }
    ///
    ///     #[request]
    ///     async fn book(ctx: &RequestCtx<Self>) -> Effect<bool> {
    ///         ctx.update().sell(20)
    ///     }
    /// }
    ///
    /// let sell = |_: &mut vsync::testing::Dice| HallUpdate::Sell { most: 20 };
    /// let seen = Simulation::new(Hall::default, sell)
    ///     .requests(|_| HallRequest::Book {})
    ///     .invariant("no seat twice", |hall| hall.sold <= 20)
    ///     .seeds(0..5)
    ///     .check()?;
    /// assert!(seen.answered > 0);
    /// # Ok::<_, vsync::testing::Failure>(())
    /// ```
    pub fn requests(mut self, requests: impl Fn(&mut Dice) -> S::Request + 'static) -> Self {
        self.requests = Some(Box::new(requests));
        self
    }

    /// Does not ask for updates or requests of these methods.
    pub fn without(mut self, methods: impl IntoIterator<Item = &'static str>) -> Self {
        self.without.extend(methods);
        self
    }

    /// Runs all seeds, or the one that `VSYNC_SEED` names.
    ///
    /// # Panics
    /// With a report, if anything is wrong with a seed: what, the line that runs it again, and the
    /// last events. Also if nothing could have gone wrong: see [`check`](Simulation::check).
    #[track_caller]
    pub fn run(&self) {
        match env::var(VARIABLE) {
            Ok(seed) => {
                let seed = seed.trim().parse();
                let seed =
                    seed.unwrap_or_else(|_| panic!("{VARIABLE} is not the number of a seed"));
                demand(self.check_seed(seed));
            }
            Err(_) => drop(demand(self.check())),
        }
    }

    /// Runs all seeds, whatever the environment says, and tells what they have seen.
    ///
    /// # Errors
    /// The first seed that fails. [`Kind::Vacuous`], if all pass but have nothing to show: an
    /// update or request method that nobody called, no two replicas that were compared, or most
    /// runs that lost their quorum.
    pub fn check(&self) -> Result<Simulated, Failure> {
        let (mut all, mut called) = (Simulated::default(), Vec::new());
        for seed in self.seeds.clone() {
            let (seen, methods) = self.one(seed)?;
            all.add(&seen);
            called.extend(methods);
            called.sort_unstable();
            called.dedup();
        }
        let requests = S::REQUESTS.iter().filter(|it| it.check(S::VERSION).is_ok());
        let requests = requests.filter(|_| self.requests.is_some());
        let missing = sendable::<S>().chain(requests).map(|method| method.name);
        let missing = missing.filter(|name| !called.contains(name) && !self.without.contains(name));
        let missing: Vec<_> = missing.map(|name| format!("`{name}`")).collect();
        let why = if all.applied == 0 {
            "no update was applied".to_owned()
        } else if self.requests.is_some() && all.answered == 0 {
            "no request was answered".to_owned()
        } else if !missing.is_empty() {
            let missing = missing.join(", ");
            format!("nobody called {missing}: let them be drawn, or leave them out with `without`")
        } else if all.compared == 0 {
            "no replica could be compared with another one".to_owned()
        } else if all.healed * 2 < all.seeds {
            format!("only {} of {} runs kept a quorum", all.healed, all.seeds)
        } else {
            return Ok(all);
        };
        let report = format!("the simulation of `{}` shows nothing: {why}", S::NAME);
        Err(Failure::new(Kind::Vacuous, report))
    }

    /// Runs one seed.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn check_seed(&self, seed: u64) -> Result<Simulated, Failure> {
        self.one(seed).map(|(seen, _)| seen)
    }

    fn one(&self, seed: u64) -> Result<(Simulated, Vec<&'static str>), Failure> {
        let mut world = World::new(self, seed)?;
        match world.run() {
            Ok(()) => Ok(world.seen()),
            Err(failure) => {
                let Failure { kind, report } = failure;
                let (name, replay) = (S::NAME, replay(seed, self.test.as_deref()));
                let story = world.story();
                let report = format!(
                    "seed {seed} of a simulation of `{name}`:\n\n{report}\n\nTo run it again:\n  \
                     {replay}\n\nWhat happened last (milliseconds, node):\n{story}"
                );
                Err(Failure::new(kind, report))
            }
        }
    }
}

/// The line that runs a seed again. If it does not say otherwise, the test's name is that of its
/// thread.
fn replay(seed: u64, test: Option<&str>) -> String {
    let thread = thread::current();
    match test.or(thread.name().filter(|name| *name != "main")) {
        Some(name) => format!("{VARIABLE}={seed} cargo test {name}"),
        None => format!("{VARIABLE}={seed} cargo test"),
    }
}

impl Simulated {
    fn add(&mut self, other: &Simulated) {
        self.seeds += other.seeds;
        self.healed += other.healed;
        self.sent += other.sent;
        self.applied += other.applied;
        self.views += other.views;
        self.loaded += other.loaded;
        self.compared += other.compared;
        self.requests += other.requests;
        self.answered += other.answered;
        self.taken_over += other.taken_over;
        for &(kind, count) in &other.faults {
            self.befell(kind, count);
        }
    }

    fn befell(&mut self, kind: &'static str, times: u64) {
        match self.faults.iter_mut().find(|(known, _)| *known == kind) {
            Some((_, count)) => *count += times,
            None => self.faults.push((kind, times)),
        }
    }
}

impl<S: Replicated> fmt::Debug for Simulation<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Simulation")
            .field("type", &S::NAME)
            .field("members", &self.members)
            .field("seeds", &self.seeds)
            .field("faults", &self.faults)
            .finish_non_exhaustive()
    }
}

/// Simulates a group of replicas with all faults: [`Simulation`] with what it does unless told
/// otherwise.
///
/// # Panics
/// With a report, if anything is wrong with a seed.
///
/// ```
/// use vsync::replicated;
/// use vsync::testing::simulate;
///
/// #[replicated]
/// #[derive(Default)]
/// struct Log {
///     lines: Vec<u8>,
/// }
///
/// #[replicated]
/// impl Log {
///     #[update(order = "total")]
///     fn append(&mut self, line: u8) {
///         self.lines.push(line);
///     }
/// }
///
/// simulate(0..10, Log::default, |dice| LogUpdate::Append { line: dice.below(100) as u8 });
/// ```
///
/// In an order that is not one for all, the replicas of a list part:
///
/// ```should_panic
/// # use vsync::replicated;
/// # use vsync::testing::simulate;
/// # #[replicated]
/// # #[derive(Default)]
/// # struct Log {
/// #     lines: Vec<u8>,
/// # }
/// # #[replicated]
/// # impl Log {
/// #[update(order = "fifo")]
/// fn append(&mut self, line: u8) {
///     self.lines.push(line);
/// }
/// # }
/// # simulate(0..10, Log::default, |dice| LogUpdate::Append { line: dice.below(100) as u8 });
/// ```
#[track_caller]
pub fn simulate<S: Replicated>(
    seeds: Range<u64>,
    start: impl Fn() -> S + 'static,
    updates: impl Fn(&mut Dice) -> S::Update + 'static,
) {
    Simulation::new(start, updates).seeds(seeds).run();
}
