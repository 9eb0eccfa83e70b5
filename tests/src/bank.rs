//! The bug bank: every planted bug must be caught by the simulator.

use vsync_core::bugs::{Bug, Bugs};

use crate::sim::Setting;
use crate::sim::pool::run_all;
use crate::stories;

/// How a bug was caught.
#[derive(Clone, Debug)]
pub struct Catch {
    /// The check that caught it: a property, or the story.
    pub by: String,
    /// The seed, unless a story did.
    pub seed: Option<u64>,
    /// How many seeds were run until then.
    pub seeds: u64,
    /// What was found.
    pub what: String,
}

/// Samples of one bug begin so many seeds apart.
pub const APART: u64 = 1_000_000;

/// Runs seeds from `from` on, until one fails; at most `most`.
pub fn by_seeds(bug: Bug, from: u64, most: u64, jobs: usize) -> Option<Catch> {
    let setting = Setting::with(Bugs::with(bug));
    // With several threads a later seed may be through first: the lowest that fails counts.
    let harvest = run_all(from..from + most, None, jobs, &setting, |it| it.failures.is_empty());
    let first = harvest.failed.first()?;
    let failure = first.failures.first()?;
    Some(Catch {
        by: failure.check.to_owned(),
        seed: Some(first.seed),
        seeds: first.seed - from + 1,
        what: failure.what.clone(),
    })
}

/// Tells the stories that name a bug with it, until one dies.
pub fn by_story(bug: Bug) -> Option<Catch> {
    let name = format!("{bug:?}");
    let stories = stories::all();
    let own = stories.iter().filter(|story| story.bugs().contains(&name.as_str()));
    own.into_iter().find_map(|story| {
        let what = story.dies(Bugs::with(bug))?;
        Some(Catch { by: format!("story {}", story.name), seed: None, seeds: 0, what })
    })
}
