//! Many seeds on many threads.

use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use vsync_core::bugs::Bugs;

use super::{Outcome, Totals, run};

/// How many seeds went how.
#[derive(Debug, Default)]
pub struct Harvest {
    /// Everything they saw.
    pub totals: Totals,
    /// The seeds that failed, ascending.
    pub failed: Vec<Outcome>,
}

/// Runs seeds on `jobs` threads. `seen` is called after each; `false` stops the rest.
pub fn run_all(
    seeds: Range<u64>,
    jobs: usize,
    bugs: Bugs,
    seen: impl Fn(&Outcome) -> bool + Sync,
) -> Harvest {
    let next = AtomicU64::new(seeds.start);
    let stop = AtomicBool::new(false);
    let harvest = Mutex::new(Harvest::default());
    thread::scope(|scope| {
        for _ in 0..jobs.max(1) {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end {
                        break;
                    }
                    let outcome = run(seed, bugs);
                    if !seen(&outcome) {
                        stop.store(true, Ordering::Relaxed);
                    }
                    let Ok(mut harvest) = harvest.lock() else {
                        break;
                    };
                    harvest.totals.add(&outcome.totals);
                    if !outcome.failures.is_empty() {
                        harvest.failed.push(outcome);
                    }
                }
            });
        }
    });
    let mut harvest = harvest.into_inner().unwrap_or_default();
    harvest.failed.sort_by_key(|outcome| outcome.seed);
    harvest
}
