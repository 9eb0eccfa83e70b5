//! Throughput and times of awaited calls, from the outcomes of `stream` and `compare`.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::draw::{Plot, Side};
use super::{Look, Point, Series, Unit, find};
use crate::compare::Spread;
use crate::latency::{Percentile, Summary};
use crate::options::{Axis, Kind, Level, Order, Pressure, System, Workload};

/// As much of an outcome as a plot shows.
#[derive(Deserialize)]
struct Run {
    system: System,
    workload: Workload,
    applied_per_second: f64,
    latency: Option<Summary>,
    #[serde(default)]
    percentiles: Vec<Percentile>,
}

fn runs(documents: &[Value]) -> Result<Vec<Run>, String> {
    find(documents, "an outcome of `stream` or `compare`", |fields| {
        let rate = fields.get("applied_per_second");
        fields.contains_key("workload") && rate.is_some_and(Value::is_number)
    })
}

/// Throughput or latency, as something grows.
pub(super) fn plot(kind: Kind, x: Axis, documents: &[Value]) -> Result<Plot, String> {
    let mut runs = runs(documents)?;
    if kind == Kind::Latency {
        runs.retain(|run| run.latency.is_some());
    }
    let (said, curves) = curves(&runs, Some(x))?;
    let series = curves.into_iter().map(|(label, runs)| {
        let mut places: BTreeMap<u64, Vec<&Run>> = BTreeMap::new();
        runs.into_iter().for_each(|run| places.entry(place(run, x)).or_default().push(run));
        let points = places.iter().map(|(&x, runs)| point(kind, x as f64, runs)).collect();
        Series { label, look: Look::Line, points }
    });
    let (title, bars, y) = match kind {
        Kind::Latency => (
            "Time of an awaited call",
            "median; bars: 10th and 99th percentile",
            Side { name: "time", unit: Unit::Micros },
        ),
        _ => (
            "Updates applied at every member",
            "median; bars: least and most",
            Side { name: "updates per second", unit: Unit::Short },
        ),
    };
    let (name, unit) = match x {
        Axis::Members => ("members", Unit::Number),
        Axis::Size => ("payload of an update", Unit::Bytes),
        Axis::Senders => ("members that send", Unit::Number),
        Axis::InFlight => ("awaited calls in flight, per sender", Unit::Number),
    };
    Ok(Plot {
        title: title.to_owned(),
        said: format!("{said} ({bars})"),
        x: Side { name, unit },
        y,
        series: series.collect(),
        line: None,
    })
}

/// The times of awaited calls, percentile by percentile.
pub(super) fn distribution(documents: &[Value]) -> Result<Plot, String> {
    let mut runs = runs(documents)?;
    runs.retain(|run| !run.percentiles.is_empty());
    let (said, curves) = curves(&runs, None)?;
    let series = curves.into_iter().map(|(label, runs)| {
        let mut places: Vec<(f64, Vec<f64>)> = Vec::new();
        for &(percent, micros) in runs.iter().flat_map(|run| &run.percentiles) {
            match places.iter_mut().find(|place| place.0 == percent) {
                Some(place) => place.1.push(micros),
                None => places.push((percent, vec![micros])),
            }
        }
        places.sort_by(|a, b| a.0.total_cmp(&b.0));
        let point = |(x, times)| Point::of(x, &[Spread::of(times)]);
        Series { label, look: Look::Curve, points: places.into_iter().map(point).collect() }
    });
    Ok(Plot {
        title: "Time of an awaited call".to_owned(),
        said: format!("{said} (median of the runs; a curve ends where less than ten were longer)"),
        x: Side { name: "percentile", unit: Unit::Percent },
        y: Side { name: "time", unit: Unit::Micros },
        series: series.collect(),
        line: None,
    })
}

/// The runs of each curve, by what is said of it alone.
type Curves<'a> = Vec<(String, Vec<&'a Run>)>;

/// What is said of all runs, and the curves.
fn curves(runs: &[Run], x: Option<Axis>) -> Result<(String, Curves<'_>), String> {
    if runs.is_empty() {
        return Err("no outcome with awaited calls in these files".to_owned());
    }
    let facts: Vec<Vec<Option<String>>> = runs.iter().map(|run| facts(run, x)).collect();
    let all = 0..facts[0].len();
    // What all runs have in common stands above the plot, the rest beside the curves.
    let common = |at: usize| super::common(facts.iter().filter_map(|fact| fact[at].as_deref()));
    let above: Vec<&str> = all.clone().filter_map(common).collect();
    let mut curves: BTreeMap<(usize, String), Vec<&Run>> = BTreeMap::new();
    for (run, facts) in runs.iter().zip(&facts) {
        let beside = all.clone().filter(|&at| common(at).is_none());
        let mut label = run.system.to_string();
        for fact in beside.filter_map(|at| facts[at].as_deref()) {
            label = format!("{label}, {fact}");
        }
        // Ours first, whatever others are called.
        let rank = usize::from(run.system != System::Vsync);
        curves.entry((rank, label)).or_default().push(run);
    }
    let curves = curves.into_iter().map(|((_, label), runs)| (label, runs));
    Ok((above.join(", "), curves.collect()))
}

fn place(run: &Run, x: Axis) -> u64 {
    (match x {
        Axis::Members => run.workload.members,
        Axis::Size => run.workload.size,
        Axis::Senders => run.workload.senders(),
        Axis::InFlight => run.workload.in_flight,
    }) as u64
}

/// What tells one load from another, apart from what grows; none where it means nothing.
fn facts(run: &Run, x: Option<Axis>) -> Vec<Option<String>> {
    let workload = &run.workload;
    let described = workload.describe();
    let mut facts: Vec<Option<String>> =
        described.split(", ").map(|fact| Some(fact.to_owned())).collect();
    // How long it was measured tells nothing; how many threads it had is not described.
    facts.pop();
    if matches!(run.system, System::Quinn | System::Udp) {
        facts[2] = None;
    }
    let ours = run.system == System::Vsync && workload.in_flight > 0;
    facts.push(ours.then(|| match workload.level {
        Level::Stable => "until stable".to_owned(),
        Level::Optimistic => "optimistic".to_owned(),
    }));
    let alone = workload.senders() == 1 && workload.order == Order::Total;
    facts.push((ours && alone).then(|| match workload.first {
        0 => "the sequencer's".to_owned(),
        _ => "another member's".to_owned(),
    }));
    facts.push(ours.then(|| match workload.load {
        Pressure::None => "nothing besides".to_owned(),
        load => format!("amid {load:?} of the load").to_lowercase(),
    }));
    facts.push(Some(match workload.threads {
        1 => "1 thread each".to_owned(),
        threads => format!("{threads} threads each"),
    }));
    let grows = x.map(|x| match x {
        Axis::Members => 0,
        Axis::Senders => 1,
        Axis::Size => 3,
        Axis::InFlight => 4,
    });
    if let Some(at) = grows {
        facts.remove(at);
    }
    facts
}

/// Of throughput the least and the most beside the median; of latency the first decile and the
/// 99th percentile.
fn point(kind: Kind, x: f64, runs: &[&Run]) -> Point {
    let median = |of: fn(&Summary) -> f64| {
        Spread::of(runs.iter().filter_map(|run| run.latency.as_ref().map(of))).median
    };
    match kind {
        Kind::Latency => {
            Point { x, y: median(|l| l.p50), low: median(|l| l.p10), high: median(|l| l.p99) }
        }
        _ => Point::of(x, &[Spread::of(runs.iter().map(|run| run.applied_per_second))]),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{draw, places};
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
        let plot = plot(Kind::Throughput, Axis::Members, &[document]).unwrap();
        let said = "all send, total, 100 bytes, streaming, 1 thread each";
        assert_eq!(plot.said, format!("{said} (median; bars: least and most)"));
        assert_eq!(places(&plot.series), [2.0, 4.0]);
        let [ours, theirs] = &plot.series[..] else { panic!("two curves") };
        assert_eq!((ours.label.as_str(), theirs.label.as_str()), ("vsync", "quinn"));
        assert_eq!(ours.points, [Point { x: 4.0, y: 2.0, low: 1.0, high: 3.0 }]);
        assert_eq!(theirs.points.len(), 2);
        assert!(draw::svg(&[plot]).unwrap().contains("members"));
    }

    #[test]
    fn what_differs_stands_beside_the_curves() {
        let documents = [outcome("vsync", 4, 0, 3.0), outcome("vsync", 4, 64, 1.0)];
        let plot = plot(Kind::Throughput, Axis::Members, &documents).unwrap();
        let labels: Vec<&str> = plot.series.iter().map(|series| series.label.as_str()).collect();
        assert_eq!(labels, ["vsync, 64 awaited in flight per sender", "vsync, streaming"]);
        let documents = [outcome("vsync", 4, 0, 3.0)];
        let error = super::plot(Kind::Latency, Axis::InFlight, &documents).err();
        assert!(error.is_some_and(|why| why.contains("awaited calls")));
    }

    fn timed(system: &str, level: &str, percentiles: &[Percentile]) -> Value {
        let mut outcome = outcome(system, 4, 1, 1.0);
        outcome["workload"]["level"] = level.into();
        outcome["percentiles"] = serde_json::to_value(percentiles).unwrap();
        outcome
    }

    #[test]
    fn distributions_of_the_same_load_are_one_curve() {
        let documents = [
            timed("vsync", "stable", &[(50.0, 80.0), (99.0, 160.0)]),
            timed("vsync", "stable", &[(50.0, 90.0)]),
            timed("vsync", "optimistic", &[(50.0, 20.0)]),
            timed("quinn", "stable", &[(50.0, 53.0)]),
        ];
        let plot = distribution(&documents).unwrap();
        let labels: Vec<&str> = plot.series.iter().map(|series| series.label.as_str()).collect();
        // The raw rounds have neither an order nor a level.
        assert_eq!(labels, ["vsync, optimistic", "vsync, until stable", "quinn"]);
        let points: Vec<(f64, f64)> = plot.series[1].points.iter().map(|p| (p.x, p.y)).collect();
        assert_eq!(points, [(50.0, 85.0), (99.0, 160.0)]);
        assert!(plot.said.contains("total, 100 bytes, 1 awaited"), "{}", plot.said);
        // Who sends tells something of one sender in total order, and what goes besides of all.
        let run = |first: usize, load: &str, order: &str| {
            let mut run = timed("vsync", "stable", &[(50.0, 120.0)]);
            run["workload"]["senders"] = serde_json::json!({ "Some": 1 });
            run["workload"]["first"] = first.into();
            run["workload"]["load"] = load.into();
            run["workload"]["order"] = order.into();
            run
        };
        let labels = |runs: &[Value]| -> Vec<String> {
            let plot = distribution(runs).unwrap();
            plot.series.into_iter().map(|series| series.label).collect()
        };
        let (one, another) = (run(0, "none", "total"), run(3, "none", "total"));
        let told = labels(&[one.clone(), another, run(0, "none", "fifo")]);
        assert_eq!(
            told,
            ["vsync, fifo", "vsync, total, another member's", "vsync, total, the sequencer's"]
        );
        let told = labels(&[one, run(0, "half", "total")]);
        assert_eq!(told, ["vsync, amid half of the load", "vsync, nothing besides"]);
    }
}
