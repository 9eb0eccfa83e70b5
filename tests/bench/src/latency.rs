//! Distributions of times.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

/// Times, to three digits.
#[derive(Clone, Debug)]
pub(crate) struct Latencies(Histogram<u64>);

/// The same as it goes from one process to another: nanoseconds, and how often.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Counts(Vec<(u64, u64)>);

/// What is told of a distribution; microseconds.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Summary {
    pub(crate) count: u64,
    pub(crate) min: f64,
    pub(crate) p10: f64,
    pub(crate) p50: f64,
    pub(crate) p90: f64,
    pub(crate) p99: f64,
    pub(crate) p999: f64,
    pub(crate) max: f64,
}

impl Latencies {
    /// None yet.
    pub(crate) fn new() -> Self {
        // Up to ten minutes; bounds that the library accepts.
        let histogram = Histogram::new_with_bounds(1, 600_000_000_000, 3);
        Latencies(histogram.unwrap_or_else(|error| unreachable!("{error}")))
    }

    /// One more.
    pub(crate) fn record(&mut self, time: Duration) {
        self.0.saturating_record(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
    }

    /// Those of another, too.
    pub(crate) fn add(&mut self, counts: &Counts) {
        for &(nanos, count) in &counts.0 {
            self.0.saturating_record_n(nanos, count);
        }
    }

    /// To be sent.
    pub(crate) fn counts(&self) -> Counts {
        let buckets = self.0.iter_recorded();
        Counts(buckets.map(|b| (b.value_iterated_to(), b.count_at_value())).collect())
    }

    /// Of any, the quantiles.
    pub(crate) fn summary(&self) -> Option<Summary> {
        let at = |quantile| self.0.value_at_quantile(quantile) as f64 / 1e3;
        (!self.0.is_empty()).then(|| Summary {
            count: self.0.len(),
            min: self.0.min() as f64 / 1e3,
            p10: at(0.1),
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p999: at(0.999),
            max: self.0.max() as f64 / 1e3,
        })
    }
}
