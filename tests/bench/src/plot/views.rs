//! Times to the next view: measured, and simulated.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::draw::{Plot, Side};
use super::{Look, Point, Series, Unit, common, find};
use crate::compare::Spread;
use crate::failures::{FIRST, LAST};

/// As much of what `failures` prints as a plot shows.
#[derive(Deserialize)]
struct Failures {
    how: String,
    members: u64,
    load: String,
    figures: Vec<Row>,
}

#[derive(Deserialize)]
struct Row {
    name: String,
    #[serde(flatten)]
    spread: Spread,
}

/// As much of what `scale` prints as a plot shows.
#[derive(Deserialize)]
struct Report {
    changes: Vec<Change>,
    #[serde(default)]
    laws: Vec<Fitted>,
}

#[derive(Deserialize)]
struct Change {
    event: String,
    members: u64,
    time_us: f64,
}

#[derive(Deserialize)]
struct Fitted {
    curve: String,
    from: u64,
    law: Option<Law>,
}

#[derive(Deserialize)]
struct Law {
    exponent: f64,
}

/// Events in the order of the legend, and what is said of them. A member that vanishes is a matter
/// of timers, not of size.
const EVENTS: [(&str, &str); 4] = [
    ("kill", "killed, all know at once"),
    ("leave", "orderly leave"),
    ("join", "join, until listed"),
    ("active", "join, until active"),
];
/// From how many members on a law is told.
const FROM: u64 = 64;

/// A member of a group of processes fails.
pub(super) fn real(documents: &[Value]) -> Result<Plot, String> {
    let all: Vec<Failures> = find(documents, "of `failures`", |fields| {
        fields.contains_key("how") && fields.contains_key("figures")
    })?;
    let how = common(all.iter().map(|it| it.how.as_str()));
    let load = common(all.iter().map(|it| it.load.as_str()));
    // By how it failed, and under which load; each with the first and the last who was told.
    let mut curves: BTreeMap<(&str, &str, usize), BTreeMap<u64, Vec<Spread>>> = BTreeMap::new();
    for it in &all {
        for (rank, name) in [FIRST, LAST].into_iter().enumerate() {
            let curve = curves.entry((&it.how, &it.load, rank)).or_default();
            let rows = it.figures.iter().filter(|row| row.name == name);
            rows.for_each(|row| curve.entry(it.members).or_default().push(row.spread));
        }
    }
    let series = curves.into_iter().map(|((its, under, rank), places)| {
        let mut label = ["first survivor", "last survivor"][rank].to_owned();
        if how.is_none() {
            label = format!("{its}: {label}");
        }
        if load.is_none() {
            label = format!("{label}, load: {under}");
        }
        // Milliseconds become microseconds.
        let points = places.iter().map(|(&x, all)| Point::of(x as f64, all).times(1e3));
        Series { label, look: Look::Line, points: points.collect() }
    });
    let mut said: Vec<String> = Vec::new();
    said.extend(how.map(|how| format!("one member: {how}")));
    said.extend(load.map(|load| format!("load: {load}")));
    Ok(Plot {
        title: "Time until the survivors are told the view without a member".to_owned(),
        said: format!("{} (median; bars: least and most)", said.join(", ")),
        x: Side { name: "members before", unit: Unit::Number },
        y: Side { name: "time", unit: Unit::Micros },
        series: series.filter(|series| !series.points.is_empty()).collect(),
        line: None,
    })
}

/// View changes in simulated groups of up to a thousand members.
pub(super) fn simulated(documents: &[Value]) -> Result<Plot, String> {
    let reports: Vec<Report> = find(documents, "of `scale`", |fields| {
        fields.contains_key("changes") && fields.contains_key("setting")
    })?;
    let series = EVENTS.into_iter().map(|(event, said)| {
        let mut places: BTreeMap<u64, Vec<Spread>> = BTreeMap::new();
        let changes = reports.iter().flat_map(|report| &report.changes);
        for change in changes.filter(|change| change.event == event) {
            places.entry(change.members).or_default().push(Spread::of([change.time_us]));
        }
        let points = places.iter().map(|(&x, all)| Point::of(x as f64, all));
        let mut label = said.to_owned();
        // Of several reports each has a law of its own.
        if let [report] = &reports[..]
            && let Some(exponent) = exponent(report, event)
        {
            label = format!("{label}: n^{exponent:.2} from {FROM} on");
        }
        Series { label, look: Look::Line, points: points.collect() }
    });
    Ok(Plot {
        title: "Time until the last member has the new view: simulated".to_owned(),
        said: "the real engines in virtual time, on processors and links with stated costs"
            .to_owned(),
        x: Side { name: "members", unit: Unit::Number },
        y: Side { name: "virtual time", unit: Unit::Micros },
        series: series.filter(|series| !series.points.is_empty()).collect(),
        line: None,
    })
}

fn exponent(report: &Report, event: &str) -> Option<f64> {
    let curve = format!("{event}: time");
    let fitted = report.laws.iter().find(|law| law.curve == curve && law.from == FROM)?;
    Some(fitted.law.as_ref()?.exponent)
}

#[cfg(test)]
mod tests {
    use super::super::draw;
    use super::*;

    fn failures(members: u64, load: &str, first: f64, last: f64) -> Value {
        let row = |name: &str, at: f64| {
            serde_json::json!({ "name": name, "of": 2, "min": at - 1.0, "median": at,
                                "max": at + 1.0 })
        };
        let figures = [row(FIRST, first), row(LAST, last), row("another", 9.0)];
        serde_json::json!({ "how": "kill", "members": members, "load": load, "figures": figures })
    }

    #[test]
    fn failures_are_curves_of_the_first_and_of_the_last_survivor() {
        let documents = [failures(3, "half", 2.0, 3.0), failures(8, "half", 4.0, 8.0)];
        let plot = real(&documents).unwrap();
        assert_eq!(plot.said, "one member: kill, load: half (median; bars: least and most)");
        let [first, last] = &plot.series[..] else { panic!("two curves") };
        assert_eq!(
            (first.label.as_str(), last.label.as_str()),
            ("first survivor", "last survivor")
        );
        assert_eq!(last.points[1], Point { x: 8.0, y: 8e3, low: 7e3, high: 9e3 });
        let others = [failures(3, "half", 2.0, 3.0), failures(3, "none", 1.0, 2.0)];
        let labels: Vec<String> =
            real(&others).unwrap().series.into_iter().map(|series| series.label).collect();
        assert_eq!(labels[3], "last survivor, load: none");
    }

    #[test]
    fn simulated_changes_are_curves_by_event_with_their_laws() {
        let change = |event: &str, members: u64, time_us: f64| {
            let mut change = serde_json::json!({ "event": event, "members": members });
            change["time_us"] = time_us.into();
            change
        };
        let law = serde_json::json!({ "factor": 1.0, "exponent": 1.674, "fit": 1.0 });
        let document = serde_json::json!({
            "setting": {},
            "changes": [
                change("kill", 4, 329.5), change("kill", 64, 1700.0), change("leave", 4, 397.0),
                change("vanish", 4, 1e6),
            ],
            "laws": [
                { "curve": "kill: time", "from": 2, "law": null },
                { "curve": "kill: time", "from": 64, "law": law },
                { "curve": "leave: time", "from": 64, "law": null },
            ],
        });
        let plot = simulated(&[document]).unwrap();
        let labels: Vec<&str> = plot.series.iter().map(|series| series.label.as_str()).collect();
        assert_eq!(labels, ["killed, all know at once: n^1.67 from 64 on", "orderly leave"]);
        assert_eq!(plot.series[0].points.len(), 2);
        assert!(draw::svg(&[plot]).unwrap().contains("virtual time"));
    }
}
