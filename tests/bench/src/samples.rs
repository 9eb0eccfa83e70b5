//! What a count that was read again and again says of the time in between.

use serde::{Deserialize, Serialize};

/// A rate is taken over so much time; microseconds.
const WINDOW: u64 = 50_000;
/// What counts as usual is the average of so much time before; microseconds.
const USUAL: u64 = 1_000_000;

/// When, in microseconds since the Unix epoch, and the count then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Sample(pub(crate) u64, pub(crate) u64);

/// What became of a rate after something had happened.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Dip {
    /// Per second, in the second before.
    pub(crate) usual: f64,
    /// The least of a window in that second, as a share of the usual: what needs no reason.
    pub(crate) usual_lowest: f64,
    /// The least after it, as a share of the usual.
    pub(crate) lowest: f64,
    /// From then to the end of the first window of 90 % after the lowest; 0 where it was never
    /// below, none where it did not come back.
    pub(crate) back_ms: Option<f64>,
    /// How long in all the windows were below 80 %.
    pub(crate) below_ms: f64,
    /// The same without interruption, the longest.
    pub(crate) longest_below_ms: f64,
}

/// The count at a time, between two samples on the line that joins them.
fn count_at(samples: &[Sample], at: u64) -> Option<f64> {
    let next = samples.partition_point(|sample| sample.0 < at);
    let after = samples.get(next)?;
    if after.0 == at {
        return Some(after.1 as f64);
    }
    let before = samples.get(next.checked_sub(1)?)?;
    let share = (at - before.0) as f64 / (after.0 - before.0) as f64;
    Some(before.1 as f64 + share * after.1.saturating_sub(before.1) as f64)
}

/// Per second, between two times.
pub(crate) fn rate(samples: &[Sample], from: u64, to: u64) -> Option<f64> {
    let count = count_at(samples, to)? - count_at(samples, from)?;
    (to > from).then(|| count * 1e6 / (to - from) as f64)
}

/// The rate over a sliding window after `moment`, against that of the second before. What happens
/// later than `until` is of other causes, except that it comes back. None where the samples do not
/// reach that far, or nothing was usual.
pub(crate) fn dip(samples: &[Sample], moment: u64, until: u64) -> Option<Dip> {
    let begin = moment.checked_sub(USUAL)?;
    let usual = rate(samples, begin, moment).filter(|&usual| usual > 0.0)?;
    let windows = |from: u64, to: u64| -> Vec<(u64, f64)> {
        let ends = samples.iter().map(|sample| sample.0).filter(|at| (from..=to).contains(at));
        let share = |at: u64| Some((at, rate(samples, at.checked_sub(WINDOW)?, at)? / usual));
        ends.filter_map(share).collect()
    };
    let lowest = |windows: &[(u64, f64)]| {
        (0..windows.len()).min_by(|&a, &b| windows[a].1.total_cmp(&windows[b].1))
    };
    let before = windows(begin + WINDOW, moment);
    let all = windows(moment + 1, u64::MAX);
    let shares = &all[..all.partition_point(|(at, _)| *at <= until)];
    let deepest = lowest(shares)?;
    let millis = |micros: u64| micros as f64 / 1e3;
    let back_ms = match shares[deepest].1 >= 0.9 {
        true => Some(0.0),
        false => {
            let back = all[deepest..].iter().find(|(_, share)| *share >= 0.9);
            back.map(|(at, _)| millis(at - moment))
        }
    };
    let (mut below, mut run, mut longest, mut last) = (0, 0, 0, moment);
    for &(at, share) in shares {
        run = if share < 0.8 { run + (at - last) } else { 0 };
        below += if share < 0.8 { at - last } else { 0 };
        longest = longest.max(run);
        last = at;
    }
    Some(Dip {
        usual,
        usual_lowest: before[lowest(&before)?].1,
        lowest: shares[deepest].1,
        back_ms,
        below_ms: millis(below),
        longest_below_ms: millis(longest),
    })
}

/// The longest time, in milliseconds, through which samples have seen one and the same count, and
/// when it began. Where nobody looked nothing is said: a sampler that was late is no pause.
pub(crate) fn longest_pause(samples: &[Sample], from: u64, to: u64) -> (f64, u64) {
    let (mut longest, mut begun) = (0, from);
    let mut since: Option<Sample> = None;
    for sample in samples.iter().filter(|sample| (from..=to).contains(&sample.0)) {
        match since {
            Some(first) if first.1 == sample.1 => {
                if sample.0 - first.0 > longest {
                    (longest, begun) = (sample.0 - first.0, first.0);
                }
            }
            _ => since = Some(*sample),
        }
    }
    (longest as f64 / 1e3, begun)
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: u64 = 10_000_000;

    /// One update per microsecond times `share(at)`, read every 5 ms for three seconds.
    fn run(share: impl Fn(u64) -> f64) -> Vec<Sample> {
        let mut count = 0.0;
        let read = |at: u64| {
            count += 5_000.0 * share(at);
            Sample(START + at, count as u64)
        };
        (0..600).map(|step| step * 5_000).map(read).collect()
    }

    #[test]
    fn a_steady_rate_has_no_dip() {
        let dip = dip(&run(|_| 1.0), START + 1_500_000, START + 2_500_000).expect("a dip");
        assert!((dip.usual - 1e6).abs() < 1.0, "{dip:?}");
        assert!((dip.lowest - 1.0).abs() < 1e-6, "{dip:?}");
        assert_eq!(dip.back_ms, Some(0.0));
        assert_eq!((dip.below_ms, dip.longest_below_ms), (0.0, 0.0));
    }

    #[test]
    fn a_standstill_of_a_fifth_of_a_second() {
        // From 1.5 s on nothing for 200 ms: 90 % of a window are full 45 ms later.
        let still = |at| if (1_500_000..1_700_000).contains(&at) { 0.0 } else { 1.0 };
        let samples = run(still);
        // A sample at `at` has what happened in the 5 ms before.
        let moment = START + 1_495_000;
        let dip = dip(&samples, moment, START + 2_500_000).expect("a dip");
        assert!(dip.lowest.abs() < 1e-6, "{dip:?}");
        assert_eq!(dip.back_ms, Some(245.0));
        // Below 80 % from 15 ms after the beginning to 40 ms after the end.
        assert_eq!((dip.below_ms, dip.longest_below_ms), (225.0, 225.0));
        assert_eq!(longest_pause(&samples, moment, START + 2_500_000), (200.0, moment));
    }

    #[test]
    fn two_dips_are_two_stretches() {
        let twice = |at| match at {
            1_500_000..1_600_000 | 1_900_000..2_000_000 => 0.5,
            _ => 1.0,
        };
        let dip = dip(&run(twice), START + 1_495_000, START + 2_500_000).expect("a dip");
        assert!((dip.lowest - 0.5).abs() < 1e-6, "{dip:?}");
        assert!(dip.below_ms > 1.9 * dip.longest_below_ms, "{dip:?}");
    }

    #[test]
    fn it_does_not_come_back() {
        let less = |at| if at >= 1_500_000 { 0.5 } else { 1.0 };
        let dip = dip(&run(less), START + 1_495_000, START + 2_500_000).expect("a dip");
        assert_eq!(dip.back_ms, None);
    }

    #[test]
    fn later_dips_do_not_count() {
        let later = |at| if (2_200_000..2_400_000).contains(&at) { 0.0 } else { 1.0 };
        let dip = dip(&run(later), START + 1_500_000, START + 2_000_000).expect("a dip");
        assert_eq!((dip.back_ms, dip.below_ms), (Some(0.0), 0.0));
    }

    #[test]
    fn nothing_is_said_of_what_was_not_seen() {
        assert!(dip(&run(|_| 1.0), START + 500_000, START + 2_000_000).is_none());
        assert!(dip(&run(|_| 0.0), START + 1_500_000, START + 2_000_000).is_none());
        assert!(dip(&[], START, START).is_none());
        // The sampler was late by 90 ms, the updates were not.
        let late = [Sample(START, 1), Sample(START + 90_000, 9), Sample(START + 91_000, 9)];
        assert_eq!(longest_pause(&late, START, START + 100_000), (1.0, START + 90_000));
    }
}
