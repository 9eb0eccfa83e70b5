//! The simulator: real engines in a world that is a function of one seed.
//!
//! [`run`] takes a seed through boot, trouble and healing and holds it to everything that must be
//! true; [`pool`] runs many of them.

mod app;
mod doom;
mod event;
mod fate;
mod faults;
pub(crate) mod host;
pub(crate) mod judge;
mod links;
mod plan;
pub mod pool;
mod record;
mod relax;
mod report;
mod rest;
pub(crate) mod seat;
pub mod shrink;
mod trace;
mod traps;
mod work;
mod world;

use std::collections::BTreeSet;

use vsync_core::bugs::Bugs;
use vsync_history::History;

pub use judge::Failure;
pub use report::Totals;
pub use trace::Text;
use world::World;

/// How a run is made, beside its seed.
#[derive(Clone, Debug, Default)]
pub struct Setting {
    /// Planted bugs.
    pub bugs: Bugs,
    /// How much of it is told.
    pub text: Text,
    /// Only these faults happen; all, if it is not said.
    pub only: Option<BTreeSet<u32>>,
}

impl Setting {
    /// With planted bugs.
    pub fn with(bugs: Bugs) -> Self {
        Setting { bugs, ..Setting::default() }
    }
}

/// How a seed went.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The seed.
    pub seed: u64,
    /// What it saw.
    pub totals: Totals,
    /// Hash of all inputs and outputs.
    pub hash: u64,
    /// The faults that happened, by number.
    pub faults: Vec<u32>,
    /// What is wrong.
    pub failures: Vec<Failure>,
}

/// What a run left to look at.
#[derive(Clone, Debug, Default)]
pub struct Story {
    /// The time line.
    pub text: String,
    /// The history.
    pub history: History,
}

/// Runs one seed.
pub fn run(seed: u64, bugs: Bugs) -> Outcome {
    run_as(seed, &Setting::with(bugs))
}

/// Runs one seed in a setting.
pub fn run_as(seed: u64, setting: &Setting) -> Outcome {
    drive(seed, &mut World::new(seed, setting))
}

/// Runs one seed and keeps what is there to look at.
pub fn tell(seed: u64, setting: &Setting) -> (Outcome, Story) {
    let mut world = World::new(seed, setting);
    let outcome = drive(seed, &mut world);
    let text = world.books.trace.text().to_owned();
    let history = world.books.recorder.history().clone();
    (outcome, Story { text, history })
}

/// Runs one seed; the checkers judge its history after every so many lines of it, not only at its
/// end.
pub fn run_by_steps(seed: u64, setting: &Setting, every: usize) -> Outcome {
    let mut world = World::new(seed, setting);
    conduct(seed, &mut world, |world| world.run_by_steps(every))
}

fn drive(seed: u64, world: &mut World) -> Outcome {
    conduct(seed, world, World::run)
}

fn conduct(seed: u64, world: &mut World, run: impl FnOnce(&mut World)) -> Outcome {
    let caught = vsync_sim::catch(|| run(world));
    let mut failures = world.failures().to_vec();
    if let Err(what) = caught {
        failures.insert(0, Failure { check: "panic", what });
    }
    let hash = world.books.trace.hash();
    let faults = world.fate.happened().to_vec();
    Outcome { seed, totals: world.totals, hash, faults, failures }
}
