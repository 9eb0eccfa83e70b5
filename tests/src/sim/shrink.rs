//! Shrinking: which of its faults a failing seed needs to fail.
//!
//! Delta debugging (Zeller, Hildebrandt, *Simplifying and Isolating Failure-Inducing Input*, 2002)
//! over the numbers of the faults. Only runs that fail by the same check count.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::{Outcome, Setting, run_as};

/// What is left of a failing seed.
#[derive(Clone, Debug)]
pub struct Shrunk {
    /// The faults that it needs.
    pub only: BTreeSet<u32>,
    /// How the run with these alone went.
    pub outcome: Outcome,
    /// How many runs that took.
    pub runs: u64,
    /// Whether no fault of them can be left out; `false` if the time was up before that was known.
    pub minimal: bool,
}

/// Removes faults from a failing run as long as it fails by the same check, for so long at most.
/// `None` if the seed does not fail.
pub fn shrink(seed: u64, setting: &Setting, patience: Duration) -> Option<Shrunk> {
    let end = Instant::now() + patience;
    let first = run_as(seed, setting);
    let check = first.failures.first()?.check;
    let mut runs = 1;
    let mut best = first;
    let mut parts = 2;
    loop {
        let faults = best.faults.clone();
        if faults.is_empty() {
            break;
        }
        let size = faults.len().div_ceil(parts).max(1);
        let mut smaller = None;
        for start in (0..faults.len()).step_by(size) {
            if Instant::now() > end {
                let only = faults.into_iter().collect();
                return Some(Shrunk { only, outcome: best, runs, minimal: false });
            }
            let stop = (start + size).min(faults.len());
            let kept: BTreeSet<u32> =
                faults[..start].iter().chain(&faults[stop..]).copied().collect();
            runs += 1;
            let outcome = run_as(seed, &Setting { only: Some(kept), ..setting.clone() });
            let same = outcome.failures.first().is_some_and(|failure| failure.check == check);
            if same && outcome.faults.len() < faults.len() {
                smaller = Some(outcome);
                break;
            }
        }
        match smaller {
            Some(outcome) => {
                best = outcome;
                parts = (parts - 1).max(2);
            }
            None if size == 1 => break,
            None => parts = (parts * 2).min(faults.len()),
        }
    }
    let only = best.faults.iter().copied().collect();
    Some(Shrunk { only, outcome: best, runs, minimal: true })
}
