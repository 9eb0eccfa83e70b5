//! What the curves grow by.

use serde_json::Value;

use super::source::{Source, at, each};
use crate::compare::Spread;

/// A power of what grows, and how far the points are from it.
#[derive(Debug, PartialEq)]
struct Power {
    exponent: f64,
    /// The largest factor between a point and the curve.
    off: f64,
}

/// Least squares of the logarithms.
fn power(points: &[(f64, f64)]) -> Option<Power> {
    let logs: Vec<(f64, f64)> = points
        .iter()
        .filter(|(x, y)| *x > 0.0 && *y > 0.0)
        .map(|(x, y)| (x.ln(), y.ln()))
        .collect();
    if logs.len() < 2 {
        return None;
    }
    let count = logs.len() as f64;
    let mean = |of: fn(&(f64, f64)) -> f64| logs.iter().map(of).sum::<f64>() / count;
    let (x, y) = (mean(|point| point.0), mean(|point| point.1));
    let spread: f64 = logs.iter().map(|(a, _)| (a - x) * (a - x)).sum();
    if spread <= 0.0 {
        return None;
    }
    let exponent = logs.iter().map(|(a, b)| (a - x) * (b - y)).sum::<f64>() / spread;
    let off = |(a, b): &(f64, f64)| (b - y - exponent * (a - x)).abs();
    let off = logs.iter().map(off).fold(0.0, f64::max).exp();
    Some(Power { exponent, off })
}

/// The median of what was measured at each place.
fn medians(mut points: Vec<(f64, f64)>) -> Vec<(f64, f64)> {
    points.sort_by(|a, b| a.0.total_cmp(&b.0));
    let groups = points.chunk_by(|a, b| a.0 == b.0);
    groups.map(|all| (all[0].0, Spread::of(all.iter().map(|point| point.1)).median)).collect()
}

fn told(points: &[(f64, f64)], of: &str) -> String {
    power(points).map_or_else(
        || "not measured".to_owned(),
        |Power { exponent, off }| format!("{of}^{exponent:.2}, all points within {off:.2} ×"),
    )
}

fn places(points: &[(f64, f64)]) -> String {
    let places = points.iter().map(|point| format!("{}", point.0));
    places.collect::<Vec<_>>().join(", ")
}

/// The curve, its law, and where it was measured.
pub(super) fn laws(source: &Source) -> Vec<(String, String, String)> {
    let mut all = Vec::new();
    for (system, name) in [("vsync", "ours, total order"), ("quinn", "raw quinn")] {
        let points = members(source, system);
        let what = format!("updates/s at each member over n members, all send: {name}");
        all.push((what, told(&points, "n"), places(&points)));
    }
    let bytes = transfers(source);
    all.push(("time of a join over the bytes of state".to_owned(), linear(&bytes), sizes(&bytes)));
    for load in ["bursts", "turns"] {
        let points = groups(source, load);
        let what = format!("updates/s through all of n groups, in {load}");
        all.push((what, told(&points, "n"), places(&points)));
    }
    for (event, what) in [("kill", "a member is killed"), ("active", "a member joins")] {
        let points = simulated(source, event);
        let what = format!("simulated time to the view, {what}, n members from 64 on");
        all.push((what, told(&points, "n"), places(&points)));
    }
    all
}

fn members(source: &Source, system: &str) -> Vec<(f64, f64)> {
    let runs = source.of("throughput-members", &format!("--system {system} !--order"));
    let point = |run: &&Value| {
        Some((run.pointer("/workload/members")?.as_f64()?, run["applied_per_second"].as_f64()?))
    };
    medians(runs.iter().filter_map(point).collect())
}

/// Bytes, and milliseconds.
fn transfers(source: &Source) -> Vec<(f64, f64)> {
    let states = each(&source.of("joins", "joins"), "states");
    let point = |state: &&Value| {
        Some((state["bytes"].as_f64()?, state.pointer("/join_ms/median")?.as_f64()?))
    };
    medians(states.iter().filter_map(point).collect())
}

fn groups(source: &Source, load: &str) -> Vec<(f64, f64)> {
    let runs = source.of("groups", "groups !--no-load");
    let point = |run: &&Value| {
        let rate = at(&[*run], &format!("/{load}/overall_per_second"));
        Some((run["groups"].as_f64()?, *rate.first().filter(|rate| **rate > 0.0)?))
    };
    medians(runs.iter().filter_map(point).collect())
}

fn simulated(source: &Source, event: &str) -> Vec<(f64, f64)> {
    let changes = each(&source.of("view-change-law", "scale"), "changes");
    let point = |change: &&Value| {
        let members = change["members"].as_f64().filter(|members| *members >= 64.0)?;
        (change["event"].as_str()? == event).then_some((members, change["time_us"].as_f64()?))
    };
    medians(changes.iter().filter_map(point).collect())
}

fn sizes(points: &[(f64, f64)]) -> String {
    let [(least, _), .., (most, _)] = points else { return String::new() };
    format!("{} KiB to {} MiB", least / 1024.0, most / (1024.0 * 1024.0))
}

/// A constant, which the smallest has, and a rate, which the largest has beyond it.
fn linear(points: &[(f64, f64)]) -> String {
    let [(_, constant), .., (bytes, most)] = points else { return "not measured".to_owned() };
    let rate = bytes / 1e3 / (most - constant).max(f64::MIN_POSITIVE);
    let off = points.iter().map(|(bytes, time)| {
        let curve = constant + bytes / 1e3 / rate;
        (time / curve).max(curve / time)
    });
    let off = off.fold(1.0, f64::max);
    format!("{constant:.1} ms + bytes ÷ {rate:.0} MB/s, all points within {off:.2} ×")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_power_is_found_and_how_far_off_the_points_are() {
        let cubes: Vec<(f64, f64)> = (1..5).map(|n| (f64::from(n), f64::from(n * n * n))).collect();
        let Power { exponent, off } = power(&cubes).unwrap();
        assert!((exponent - 3.0).abs() < 1e-9 && (off - 1.0).abs() < 1e-9, "{exponent} {off}");
        let Power { exponent, off } = power(&[(1.0, 2.0), (10.0, 1.0), (100.0, 2.0)]).unwrap();
        assert!(exponent.abs() < 1e-9 && off > 1.5, "{exponent} {off}");
        assert_eq!(power(&[(1.0, 1.0)]), None);
        assert_eq!(power(&[(2.0, 1.0), (2.0, 3.0)]), None);
    }

    #[test]
    fn each_place_has_its_median() {
        let points = medians(vec![(2.0, 5.0), (1.0, 1.0), (2.0, 7.0), (2.0, 6.0)]);
        assert_eq!(points, [(1.0, 1.0), (2.0, 6.0)]);
    }

    #[test]
    fn a_join_is_a_constant_and_a_rate() {
        let law = linear(&[(1e3, 2.0), (1e6, 4.0), (1e9, 2002.0)]);
        assert_eq!(law, "2.0 ms + bytes ÷ 500 MB/s, all points within 1.00 ×");
        assert_eq!(linear(&[]), "not measured");
    }
}
