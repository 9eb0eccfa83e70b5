//! `plot`: curves of what was measured, from the JSON that `stream` and `compare` print.

mod draw;
mod scale;

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_json::Value;

use crate::compare::Spread;
use crate::latency::Summary;
use crate::options::{Axis, Kind, PlotOptions, System, Workload};
use draw::Plot;

/// As much of an outcome as a plot shows.
#[derive(Deserialize)]
struct Run {
    system: System,
    workload: Workload,
    applied_per_second: f64,
    latency: Option<Summary>,
}

/// One curve.
struct Series {
    label: String,
    points: Vec<Point>,
}

/// The middle of all runs with this x, and a bar around it.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Point {
    x: f64,
    y: f64,
    low: f64,
    high: f64,
}

/// Draws the plot that is asked for.
pub(crate) fn run(options: &PlotOptions) -> Result<(), String> {
    let mut runs = Vec::new();
    for file in &options.files {
        let name = file.display();
        let text = std::fs::read_to_string(file).map_err(|error| format!("{name}: {error}"))?;
        for document in serde_json::Deserializer::from_str(&text).into_iter::<Value>() {
            collect(&document.map_err(|error| format!("{name}: {error}"))?, &mut runs)?;
        }
    }
    let plot = plot(options.kind, options.x, runs)?;
    let svg = draw::svg(&plot)?;
    let out = options.out.display();
    std::fs::write(&options.out, svg).map_err(|error| format!("{out}: {error}"))
}

/// All outcomes within a document, however deep: those of `compare` are inside its sides.
fn collect(value: &Value, runs: &mut Vec<Run>) -> Result<(), String> {
    match value {
        Value::Object(fields) => {
            let rate = fields.get("applied_per_second");
            if fields.contains_key("workload") && rate.is_some_and(Value::is_number) {
                let run = Run::deserialize(value);
                runs.push(run.map_err(|error| format!("not an outcome: {error}"))?);
                return Ok(());
            }
            fields.values().try_for_each(|field| collect(field, runs))
        }
        Value::Array(items) => items.iter().try_for_each(|item| collect(item, runs)),
        _ => Ok(()),
    }
}

fn plot(kind: Kind, x: Axis, mut runs: Vec<Run>) -> Result<Plot, String> {
    if kind == Kind::Latency {
        runs.retain(|run| run.latency.is_some());
    }
    if runs.is_empty() {
        return Err(match kind {
            Kind::Throughput => "no outcome in these files".to_owned(),
            Kind::Latency => "no outcome with awaited calls in these files".to_owned(),
        });
    }
    let facts: Vec<Vec<String>> = runs.iter().map(|run| facts(&run.workload, x)).collect();
    // What all runs have in common stands above the plot, the rest beside the curves.
    let common = |at: usize| facts.iter().all(|fact| fact[at] == facts[0][at]);
    let (above, beside): (Vec<usize>, Vec<usize>) = (0..facts[0].len()).partition(|&at| common(at));
    let mut curves: BTreeMap<(usize, String), BTreeMap<u64, Vec<&Run>>> = BTreeMap::new();
    for (run, facts) in runs.iter().zip(&facts) {
        let mut label = run.system.to_string();
        beside.iter().for_each(|&at| label = format!("{label}, {}", facts[at]));
        // Ours first, whatever others are called.
        let rank = usize::from(run.system != System::Vsync);
        let curve = curves.entry((rank, label)).or_default();
        curve.entry(place(&run.workload, x)).or_default().push(run);
    }
    let series = curves.into_iter().map(|((_, label), places)| {
        let point = |(&x, runs): (&u64, &Vec<&Run>)| point(kind, x as f64, runs);
        Series { label, points: places.iter().map(point).collect() }
    });
    let said: Vec<&str> = above.iter().map(|&at| facts[0][at].as_str()).collect();
    let places: BTreeSet<u64> = runs.iter().map(|run| place(&run.workload, x)).collect();
    Ok(Plot {
        kind,
        x,
        said: said.join(", "),
        series: series.collect(),
        places: places.into_iter().map(|place| place as f64).collect(),
    })
}

fn place(workload: &Workload, x: Axis) -> u64 {
    (match x {
        Axis::Members => workload.members,
        Axis::Size => workload.size,
        Axis::Senders => workload.senders(),
    }) as u64
}

/// What tells one load from another, apart from what grows.
fn facts(workload: &Workload, x: Axis) -> Vec<String> {
    let described = workload.describe();
    let mut facts: Vec<String> = described.split(", ").map(str::to_owned).collect();
    // How long it was measured tells nothing; how many threads it had is not described.
    facts.pop();
    facts.push(match workload.threads {
        1 => "1 thread each".to_owned(),
        threads => format!("{threads} threads each"),
    });
    facts.remove(match x {
        Axis::Members => 0,
        Axis::Senders => 1,
        Axis::Size => 3,
    });
    facts
}

/// Of throughput the least and the most beside the median; of latency the first decile and the
/// 99th percentile.
fn point(kind: Kind, x: f64, runs: &[&Run]) -> Point {
    let median = |of: fn(&Summary) -> f64| {
        Spread::of(runs.iter().filter_map(|run| run.latency.as_ref().map(of))).median
    };
    match kind {
        Kind::Throughput => {
            let spread = Spread::of(runs.iter().map(|run| run.applied_per_second));
            Point { x, y: spread.median, low: spread.min, high: spread.max }
        }
        Kind::Latency => {
            Point { x, y: median(|l| l.p50), low: median(|l| l.p10), high: median(|l| l.p99) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(system: &str, members: usize, in_flight: usize, rate: f64) -> Value {
        serde_json::json!({
            "system": system,
            "workload": {
                "members": members, "senders": "All", "seconds": 3, "size": 100,
                "order": "total", "level": "stable", "in_flight": in_flight, "threads": 1,
                "history": null,
            },
            "applied_per_second": rate,
            "latency": null,
        })
    }

    #[test]
    fn runs_are_found_within_a_comparison_and_gathered_into_curves() {
        let rate = serde_json::json!({ "median": 1.0 });
        let side = |runs: &[Value]| serde_json::json!({ "applied_per_second": rate, "runs": runs });
        let document = serde_json::json!([{
            "ours": side(&[outcome("vsync", 4, 0, 3.0), outcome("vsync", 4, 0, 1.0)]),
            "theirs": side(&[outcome("quinn", 4, 0, 9.0), outcome("quinn", 2, 0, 8.0)]),
        }]);
        let mut runs = Vec::new();
        collect(&document, &mut runs).unwrap();
        let plot = plot(Kind::Throughput, Axis::Members, runs).unwrap();
        assert_eq!(plot.said, "all send, total, 100 bytes, streaming, 1 thread each");
        assert_eq!(plot.places, [2.0, 4.0]);
        let [ours, theirs] = &plot.series[..] else { panic!("two curves") };
        assert_eq!((ours.label.as_str(), theirs.label.as_str()), ("vsync", "quinn"));
        assert_eq!(ours.points, [Point { x: 4.0, y: 2.0, low: 1.0, high: 3.0 }]);
        assert_eq!(theirs.points.len(), 2);
        assert!(draw::svg(&plot).unwrap().contains("members"));
    }

    #[test]
    fn what_differs_stands_beside_the_curves() {
        let mut runs = Vec::new();
        let documents = [outcome("vsync", 4, 0, 3.0), outcome("vsync", 4, 64, 1.0)];
        documents.iter().for_each(|document| collect(document, &mut runs).unwrap());
        let plot = plot(Kind::Throughput, Axis::Members, runs).unwrap();
        let labels: Vec<&str> = plot.series.iter().map(|series| series.label.as_str()).collect();
        assert_eq!(labels, ["vsync, 64 awaited in flight per sender", "vsync, streaming"]);
    }
}
