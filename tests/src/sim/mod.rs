//! The simulator: real engines in a world that is a function of one seed.
//!
//! [`run`] takes a seed through boot, trouble and healing and holds it to everything that must be
//! true; [`pool`] runs many of them.

mod app;
mod dice;
mod faults;
pub(crate) mod host;
pub(crate) mod judge;
mod network;
mod plan;
pub mod pool;
mod queue;
pub(crate) mod quiet;
mod record;
mod report;
mod rest;
pub(crate) mod seat;
mod trace;
mod work;
mod world;

use vsync_core::bugs::Bugs;
use vsync_history::History;

pub use judge::Failure;
pub use report::Totals;
use world::World;

/// How a seed went.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The seed.
    pub seed: u64,
    /// What it saw.
    pub totals: Totals,
    /// Hash of all inputs and outputs.
    pub hash: u64,
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
    let mut world = World::new(seed, bugs, false);
    drive(seed, &mut world)
}

/// Runs one seed and keeps what is there to look at.
pub fn tell(seed: u64, bugs: Bugs) -> (Outcome, Story) {
    let mut world = World::new(seed, bugs, true);
    let outcome = drive(seed, &mut world);
    let text = world.text().to_owned();
    (outcome, Story { text, history: world.history().clone() })
}

fn drive(seed: u64, world: &mut World) -> Outcome {
    let caught = quiet::catch(|| world.run());
    let mut failures = world.failures().to_vec();
    if let Err(what) = caught {
        failures.insert(0, Failure { check: "panic", what });
    }
    Outcome { seed, totals: world.totals, hash: world.hash(), failures }
}

impl World {
    /// The time line.
    fn text(&self) -> &str {
        self.books.trace.text()
    }

    /// The hash of the run.
    fn hash(&self) -> u64 {
        self.books.trace.hash()
    }

    /// The history.
    fn history(&self) -> &History {
        self.books.recorder.history()
    }
}
