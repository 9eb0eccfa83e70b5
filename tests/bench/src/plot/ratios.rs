//! Ours against each of the others.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::draw::{Plot, Side};
use super::{Look, Point, Series, Unit, common, find};
use crate::compare::Spread;
use crate::options::{System, Workload};

/// As much of what `compare` prints as a plot shows.
#[derive(Deserialize)]
struct Document {
    against: System,
    #[serde(flatten)]
    streaming: Comparison,
    #[serde(default)]
    awaited: Vec<Comparison>,
}

#[derive(Deserialize)]
struct Comparison {
    workload: Workload,
    ratio: Spread,
}

impl Document {
    /// What stands below its point.
    fn name(&self) -> String {
        match self.streaming.workload.encrypted {
            true => format!("{}, encrypted", self.against),
            false => self.against.to_string(),
        }
    }
}

/// A point for each system, with the spread of the pairs.
pub(super) fn plot(documents: &[Value]) -> Result<Plot, String> {
    let all: Vec<Document> = find(documents, "of `compare`", |fields| {
        fields.contains_key("against") && fields.contains_key("ratio")
    })?;
    let mut systems: Vec<String> = Vec::new();
    let mut curves: BTreeMap<usize, BTreeMap<usize, Vec<Spread>>> = BTreeMap::new();
    for document in &all {
        let system = document.name();
        let known = systems.iter().position(|known| *known == system);
        let place = known.unwrap_or_else(|| {
            systems.push(system);
            systems.len() - 1
        });
        for it in std::iter::once(&document.streaming).chain(&document.awaited) {
            let curve = curves.entry(it.workload.in_flight).or_default();
            curve.entry(place).or_default().push(it.ratio);
        }
    }
    let series = curves.into_iter().map(|(in_flight, places)| Series {
        label: match in_flight {
            0 => "streaming".to_owned(),
            some => format!("{some} awaited in flight per sender"),
        },
        look: Look::Dots,
        points: places.iter().map(|(&place, all)| Point::of(place as f64, all)).collect(),
    });
    let loads = all.iter().map(|document| {
        let described = document.streaming.workload.describe();
        let facts: Vec<&str> = described.split(", ").take(4).collect();
        facts.join(", ")
    });
    let said = common(loads).map_or(String::new(), |load| format!("{load} "));
    Ok(Plot {
        title: "Updates of ours applied at every member, for one of theirs".to_owned(),
        said: format!("{said}(median of the pairs; bars: least and most)"),
        x: Side { name: "against", unit: Unit::Names(systems) },
        y: Side { name: "ours ÷ theirs", unit: Unit::Factor },
        series: series.collect(),
        line: Some(1.0),
    })
}

#[cfg(test)]
mod tests {
    use super::super::draw;
    use super::*;

    #[test]
    fn each_system_has_a_place_and_each_load_a_colour() {
        let side = |in_flight: usize, median: f64| {
            serde_json::json!({
                "workload": {
                    "members": 4, "senders": "All", "seconds": 1, "size": 100, "order": "total",
                    "level": "stable", "in_flight": in_flight, "threads": 1, "history": null,
                },
                "ratio": { "min": median / 2.0, "median": median, "max": median * 2.0 },
            })
        };
        let document = |against: &str, ratio: f64, awaited: &[Value]| {
            let mut document = side(0, ratio);
            document["against"] = against.into();
            document["awaited"] = awaited.into();
            document
        };
        let mut encrypted = document("omnipaxos", 1.5, &[]);
        encrypted["workload"]["encrypted"] = true.into();
        let plain = document("omnipaxos", 0.75, &[side(1, 0.5)]);
        let documents = [document("quinn", 0.5, &[]), plain, encrypted];
        let plot = plot(&documents).unwrap();
        assert!(plot.said.starts_with("4 members, all send, total, 100 bytes ("), "{}", plot.said);
        let [streaming, awaited] = &plot.series[..] else { panic!("two loads") };
        assert_eq!(streaming.points.len(), 3);
        assert_eq!(awaited.label, "1 awaited in flight per sender");
        assert_eq!(awaited.points, [Point { x: 1.0, y: 0.5, low: 0.25, high: 1.0 }]);
        assert!(draw::svg(&[plot]).unwrap().contains("omnipaxos, encrypted"));
    }
}
