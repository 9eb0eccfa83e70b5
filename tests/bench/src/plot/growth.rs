//! Joins as the state grows, and throughput as groups grow.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::draw::{Plot, Side};
use super::{Look, Point, Series, Unit, common, find};
use crate::compare::Spread;

/// As much of what `joins` prints as a plot shows.
#[derive(Deserialize)]
struct Joins {
    members: u64,
    load: String,
    states: Vec<State>,
}

#[derive(Deserialize)]
struct State {
    bytes: u64,
    rounds: Vec<Join>,
}

#[derive(Deserialize)]
struct Join {
    join_ms: f64,
    megabytes_per_second: f64,
    quinn_megabytes_per_second: Option<f64>,
    parts: Option<Parts>,
}

#[derive(Deserialize)]
struct Parts {
    save_ms: f64,
    transfer_ms: f64,
    load_ms: f64,
}

/// As much of what `groups` prints as a plot shows.
#[derive(Deserialize)]
struct Groups {
    groups: u64,
    members: u64,
    one: Load,
    turns: Load,
    bursts: Load,
}

#[derive(Deserialize)]
struct Load {
    overall_per_second: f64,
    sent: u64,
}

const BARS: &str = "median; bars: least and most";

/// The curve of all values above zero: others were too short to be seen, and a logarithmic axis has
/// no place for them.
fn series<'a, T: 'a>(
    label: &str,
    all: impl Iterator<Item = (u64, &'a T)>,
    value: impl Fn(&T) -> Option<f64>,
) -> Series {
    let mut places: BTreeMap<u64, Vec<f64>> = BTreeMap::new();
    for (x, it) in all {
        if let Some(value) = value(it).filter(|value| *value > 0.0) {
            places.entry(x).or_default().push(value);
        }
    }
    let point = |(x, values): (u64, Vec<f64>)| Point::of(x as f64, &[Spread::of(values)]);
    let points = places.into_iter().map(point).collect();
    Series { label: label.to_owned(), look: Look::Line, points }
}

/// How long a join takes and what of it is which part; and the rate.
pub(super) fn joins(documents: &[Value]) -> Result<Vec<Plot>, String> {
    let all: Vec<Joins> = find(documents, "of `joins`", |fields| fields.contains_key("states"))?;
    let rounds = || {
        let states = all.iter().flat_map(|joins| &joins.states);
        states.flat_map(|state| state.rounds.iter().map(|join| (state.bytes, join)))
    };
    let part = |label, of: fn(&Parts) -> f64| {
        series(label, rounds(), move |join: &Join| join.parts.as_ref().map(|p| of(p) * 1e3))
    };
    let times = vec![
        series("the join, in all", rounds(), |join| Some(join.join_ms * 1e3)),
        part("saving", |parts| parts.save_ms),
        part("from saved to loaded", |parts| parts.transfer_ms),
        part("loading", |parts| parts.load_ms),
    ];
    let mut quinn = series("quinn, one stream", rounds(), |join| join.quinn_megabytes_per_second);
    // Of one size only.
    quinn.look = Look::Dots;
    let rates =
        vec![series("the join, in all", rounds(), |join| Some(join.megabytes_per_second)), quinn];
    let mut said: Vec<String> = Vec::new();
    said.extend(common(all.iter().map(|it| it.members)).map(|n| format!("to {n} members")));
    said.extend(common(all.iter().map(|it| it.load.as_str())).map(|load| format!("load: {load}")));
    let said = format!("{} ({BARS})", said.join(", "));
    let plot = |title: &str, y, series: Vec<Series>| Plot {
        title: title.to_owned(),
        said: said.clone(),
        x: Side { name: "state", unit: Unit::Bytes },
        y,
        series: series.into_iter().filter(|series| !series.points.is_empty()).collect(),
        line: None,
    };
    let time = Side { name: "time", unit: Unit::Micros };
    let rate = Side { name: "megabytes per second", unit: Unit::Short };
    Ok(vec![
        plot("Time of a join", time, times),
        plot("Rate of a join: its state over that time", rate, rates),
    ])
}

/// Updates per second, to one of the groups and to all.
pub(super) fn groups(documents: &[Value]) -> Result<Plot, String> {
    let all: Vec<Groups> = find(documents, "of `groups`", |fields| {
        fields.contains_key("groups") && fields.contains_key("bursts")
    })?;
    let rounds = || all.iter().map(|groups| (groups.groups, groups));
    let rate = |label, of: fn(&Groups) -> &Load| {
        series(label, rounds(), move |groups: &Groups| {
            Some(of(groups)).filter(|load| load.sent > 0).map(|load| load.overall_per_second)
        })
    };
    let series = [
        rate("to one of them", |groups| &groups.one),
        rate("to all, in bursts of 64", |groups| &groups.bursts),
        rate("to all, one update each", |groups| &groups.turns),
    ];
    let members = common(all.iter().map(|it| it.members));
    let members = members.map_or(String::new(), |n| format!("{n} members in all groups, "));
    Ok(Plot {
        title: "Updates applied at every member".to_owned(),
        said: format!("{members}all send, from the first sent to the last applied ({BARS})"),
        x: Side { name: "groups", unit: Unit::Number },
        y: Side { name: "updates per second", unit: Unit::Short },
        series: series.into_iter().filter(|series| !series.points.is_empty()).collect(),
        line: None,
    })
}

#[cfg(test)]
mod tests {
    use super::super::draw;
    use super::*;

    #[test]
    fn joins_are_times_with_their_parts_and_a_rate() {
        let round = |join: f64, save: f64| {
            let parts = serde_json::json!({
                "donor": 0, "begin_ms": 0.1, "save_ms": save, "transfer_ms": 1.0, "load_ms": 0.5,
                "activate_ms": 0.1,
            });
            serde_json::json!({ "join_ms": join, "megabytes_per_second": 8.0, "parts": parts })
        };
        let document = serde_json::json!({
            "members": 3, "load": "none",
            "states": [
                { "bytes": 1024, "rounds": [round(2.0, 0.0), { "join_ms": 4.0,
                    "megabytes_per_second": 2.0, "quinn_megabytes_per_second": 900.0 }] },
                { "bytes": 1 << 20, "rounds": [round(9.0, 3.0)] },
                { "bytes": 1 << 28, "rounds": [] },
            ],
        });
        let plots = joins(&[document]).unwrap();
        let [times, rates] = &plots[..] else { panic!("two plots") };
        assert_eq!(times.said, format!("to 3 members, load: none ({BARS})"));
        let all = &times.series[0];
        assert_eq!(all.points[0], Point { x: 1024.0, y: 3e3, low: 2e3, high: 4e3 });
        // What was too short to be seen has no point.
        assert_eq!((times.series[1].label.as_str(), times.series[1].points.len()), ("saving", 1));
        assert_eq!(rates.series[1].points.len(), 1);
        assert!(draw::svg(&plots).unwrap().contains("megabytes per second"));
    }

    #[test]
    fn groups_without_load_have_no_points() {
        let load =
            |sent: u64, rate: f64| serde_json::json!({ "sent": sent, "overall_per_second": rate });
        let outcome = |groups: u64, turns: Value| {
            serde_json::json!({ "groups": groups, "members": 4, "one": load(9, 3e6),
                                "turns": turns, "bursts": load(9, 6e5) })
        };
        let documents = [outcome(1, load(9, 2e6)), outcome(1000, load(0, 0.0))];
        let plot = groups(&documents).unwrap();
        let lengths: Vec<usize> = plot.series.iter().map(|series| series.points.len()).collect();
        assert_eq!(lengths, [2, 2, 1]);
        assert!(plot.said.starts_with("4 members in all groups"), "{}", plot.said);
        assert!(draw::svg(&[plot]).unwrap().contains("groups"));
    }
}
