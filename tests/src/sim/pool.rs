//! Many seeds on many threads.

use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Instant;

use super::app::mix;
use super::{Outcome, Setting, Totals, run_as};

/// How many seeds went how.
#[derive(Debug, Default)]
pub struct Harvest {
    /// Everything they saw.
    pub totals: Totals,
    /// The seeds that failed, ascending.
    pub failed: Vec<Outcome>,
    /// The first seed that was not begun.
    pub end: u64,
    /// Hash of all runs: the same for the same seeds.
    pub hash: u64,
}

/// Runs seeds on `jobs` threads, until a moment at most. `seen` is called after each; `false` stops
/// the rest.
pub fn run_all(
    seeds: Range<u64>,
    until: Option<Instant>,
    jobs: usize,
    setting: &Setting,
    seen: impl Fn(&Outcome) -> bool + Sync,
) -> Harvest {
    let next = AtomicU64::new(seeds.start);
    let stop = AtomicBool::new(false);
    let harvest = Mutex::new(Harvest::default());
    thread::scope(|scope| {
        for _ in 0..jobs.max(1) {
            scope.spawn(|| {
                let late = || until.is_some_and(|until| Instant::now() > until);
                while !stop.load(Ordering::Relaxed) && !late() {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end {
                        break;
                    }
                    let outcome = run_as(seed, setting);
                    if !seen(&outcome) {
                        stop.store(true, Ordering::Relaxed);
                    }
                    let Ok(mut harvest) = harvest.lock() else {
                        break;
                    };
                    harvest.totals.add(&outcome.totals);
                    // They come in any order.
                    harvest.hash ^= mix(outcome.seed ^ mix(outcome.hash));
                    if !outcome.failures.is_empty() {
                        harvest.failed.push(outcome);
                    }
                }
            });
        }
    });
    let mut harvest = harvest.into_inner().unwrap_or_default();
    harvest.end = next.into_inner().min(seeds.end);
    harvest.failed.sort_by_key(|outcome| outcome.seed);
    harvest
}
