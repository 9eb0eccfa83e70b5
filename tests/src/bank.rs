//! The bug bank: every planted bug must be caught by the simulator.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use vsync_core::bugs::{Bug, Bugs};

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

/// Runs seeds from 0 on, until one fails; at most `most`.
pub fn by_seeds(bug: Bug, most: u64, jobs: usize) -> Option<Catch> {
    let runs = AtomicU64::new(0);
    let first = Mutex::new(None);
    run_all(0..most, jobs, Bugs::with(bug), |outcome| {
        runs.fetch_add(1, Ordering::Relaxed);
        let Some(failure) = outcome.failures.first() else { return true };
        if let Ok(mut first) = first.lock()
            && first.is_none()
        {
            *first = Some((outcome.seed, failure.clone()));
        }
        false
    });
    let (seed, failure) = first.into_inner().ok()??;
    let (by, what) = (failure.check.to_owned(), failure.what);
    Some(Catch { by, seed: Some(seed), seeds: runs.into_inner(), what })
}

/// Tells the stories about a bug with it, until one dies; all stories, if none is about it.
pub fn by_story(bug: Bug) -> Option<Catch> {
    let name = format!("{bug:?}");
    let stories = stories::all();
    let about = |story: &&stories::Story| story.bugs().contains(&name.as_str());
    let own: Vec<_> = stories.iter().filter(about).collect();
    let list = if own.is_empty() { stories.iter().collect() } else { own };
    list.into_iter().find_map(|story| {
        let what = story.dies(Bugs::with(bug))?;
        Some(Catch { by: format!("story {}", story.name), seed: None, seeds: 0, what })
    })
}
