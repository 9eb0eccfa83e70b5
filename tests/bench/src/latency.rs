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

/// How many times must be longer than a percentile for it to be told.
const ABOVE: f64 = 10.0;
/// What a curve is made of: the more, the nearer to all.
const PERCENTILES: [f64; 22] = [
    1.0, 5.0, 10.0, 20.0, 30.0, 40.0, 50.0, 60.0, 70.0, 75.0, 80.0, 85.0, 90.0, 93.0, 95.0, 97.0,
    98.0, 99.0, 99.5, 99.9, 99.95, 99.99,
];

/// A percentile, and the time that so many were within; microseconds.
pub(crate) type Percentile = (f64, f64);

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

    /// The distribution as a curve, as far as there are times that say it; of none it is empty.
    pub(crate) fn curve(&self) -> Vec<Percentile> {
        let count = self.0.len() as f64;
        let told = PERCENTILES.into_iter().filter(|p| count * (1.0 - p / 100.0) >= ABOVE);
        told.map(|p| (p, self.0.value_at_quantile(p / 100.0) as f64 / 1e3)).collect()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_curve_ends_where_too_few_times_are_longer() {
        let mut latencies = Latencies::new();
        assert!(latencies.curve().is_empty());
        (1..=1000).for_each(|micros| latencies.record(Duration::from_micros(micros)));
        let curve = latencies.curve();
        let near = |p: f64, micros: f64| {
            let at = curve.iter().find(|at| at.0 == p).map(|at| at.1);
            at.is_some_and(|at| (at - micros).abs() <= micros / 100.0)
        };
        assert!(near(50.0, 500.0) && near(99.0, 990.0), "{curve:?}");
        assert_eq!(curve.last().map(|at| at.0), Some(99.0));
        assert!(curve.is_sorted_by(|a, b| a.0 < b.0 && a.1 <= b.1));
    }
}
