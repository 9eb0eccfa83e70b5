//! Work of a stated time, and the state that it is done in.

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use vsync::replicated;

/// How often the speed of this machine is measured: the best counts, since everything else that
/// runs here only slows it down.
const TRIALS: u32 = 20;
/// Rounds of one such measurement: some milliseconds.
const TRIAL: u64 = 2_000_000;

/// A number that so many rounds come to. A time that is waited for would pass, too, while another
/// process has the processor: this is a fixed amount of work.
fn compute(rounds: u64, seed: u64) -> u64 {
    let mut value = seed | 1;
    for _ in 0..rounds {
        value ^= black_box(value) << 13;
        value ^= value >> 7;
        value ^= value << 17;
    }
    value
}

/// How many rounds take a microsecond here.
pub(crate) fn rounds_per_micro() -> f64 {
    let trial = |seed| {
        let begun = Instant::now();
        black_box(compute(TRIAL, u64::from(seed)));
        begun.elapsed().as_secs_f64()
    };
    let best = (0..TRIALS).map(trial).fold(f64::MAX, f64::min);
    TRIAL as f64 / (best * 1e6)
}

/// What dear updates have come to, and how many were applied at this node in all groups.
#[replicated]
#[derive(Clone, Debug, Default)]
pub(crate) struct Dear {
    value: u64,
    #[local]
    applied: Arc<AtomicU64>,
}

impl Dear {
    /// Nothing yet; what is applied is counted there.
    pub(crate) fn counted(applied: &Arc<AtomicU64>) -> Dear {
        Dear { value: 0, applied: Arc::clone(applied) }
    }
}

#[replicated]
impl Dear {
    /// Computes for so many rounds.
    #[update(order = "total")]
    pub(crate) fn work(&mut self, rounds: u64) {
        self.value = compute(rounds, self.value);
        self.applied.fetch_add(1, Ordering::Relaxed);
    }

    /// The same without a change, while updates wait.
    #[query]
    pub(crate) fn plain(&self, rounds: u64) -> u64 {
        compute(rounds, self.value)
    }

    /// The same of a copy of the state.
    #[query(snapshot)]
    pub(crate) fn snapshot(&self, rounds: u64) -> u64 {
        compute(rounds, self.value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_rounds_are_more_work() {
        assert!(rounds_per_micro() > 0.0);
        assert_ne!(compute(10, 7), compute(11, 7));
        assert_eq!(compute(10, 7), compute(10, 7), "at every replica alike");
    }
}
