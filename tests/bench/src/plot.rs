//! `plot`: curves of what was measured, from the JSON that other commands print.
//!
//! A document may hold what is looked for at any depth, such as the outcomes within a comparison.

mod draw;
mod growth;
mod ratios;
mod runs;
mod scale;
mod views;

use std::path::Path;

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::compare::Spread;
use crate::options::{Axis, Kind, PlotOptions};
use scale::Unit;

/// One curve.
#[derive(Debug)]
struct Series {
    label: String,
    look: Look,
    points: Vec<Point>,
}

/// How a curve is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Look {
    /// A line with a dot and a bar at each point.
    Line,
    /// A line.
    Curve,
    /// Dots and bars: what lies between two of them is nothing.
    Dots,
}

/// The middle of all runs with this x, and a bar around it.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Point {
    x: f64,
    y: f64,
    low: f64,
    high: f64,
}

impl Point {
    /// The median of all medians, between the least and the most of all.
    fn of(x: f64, spreads: &[Spread]) -> Point {
        let median = Spread::of(spreads.iter().map(|spread| spread.median)).median;
        let low = Spread::of(spreads.iter().map(|spread| spread.min)).min;
        let high = Spread::of(spreads.iter().map(|spread| spread.max)).max;
        Point { x, y: median, low, high }
    }

    /// In another unit.
    fn times(self, factor: f64) -> Point {
        let Point { x, y, low, high } = self;
        Point { x, y: y * factor, low: low * factor, high: high * factor }
    }
}

/// Draws the plot that is asked for.
pub(crate) fn run(options: &PlotOptions) -> Result<(), String> {
    let mut documents = Vec::new();
    for file in &options.files {
        documents.extend(read(file)?);
    }
    draw(options.kind, options.x, &documents, &options.out)
}

/// The documents in a file.
pub(crate) fn read(file: &Path) -> Result<Vec<Value>, String> {
    let named = |error: &dyn std::fmt::Display| format!("{}: {error}", file.display());
    let text = std::fs::read_to_string(file).map_err(|error| named(&error))?;
    let documents = serde_json::Deserializer::from_str(&text).into_iter::<Value>();
    documents.map(|document| document.map_err(|error| named(&error))).collect()
}

/// Writes the plot of what is in these documents.
pub(crate) fn draw(kind: Kind, x: Axis, documents: &[Value], out: &Path) -> Result<(), String> {
    let plots = match kind {
        Kind::Throughput | Kind::Latency => vec![runs::plot(kind, x, documents)?],
        Kind::Distribution => vec![runs::distribution(documents)?],
        Kind::Views => vec![views::real(documents)?],
        Kind::Law => vec![views::simulated(documents)?],
        Kind::Joins => growth::joins(documents)?,
        Kind::Groups => vec![growth::groups(documents)?],
        Kind::Ratios => vec![ratios::plot(documents)?],
    };
    let svg = draw::svg(&plots)?;
    std::fs::write(out, svg).map_err(|error| format!("{}: {error}", out.display()))
}

/// All objects that are such a thing, however deep; `what` names it where one cannot be read.
fn find<T: DeserializeOwned>(
    documents: &[Value],
    what: &str,
    is: fn(&Map<String, Value>) -> bool,
) -> Result<Vec<T>, String> {
    fn look<T: DeserializeOwned>(
        value: &Value,
        is: fn(&Map<String, Value>) -> bool,
        found: &mut Vec<T>,
    ) -> Result<(), serde_json::Error> {
        match value {
            Value::Object(fields) if is(fields) => T::deserialize(value).map(|it| found.push(it)),
            Value::Object(fields) => fields.values().try_for_each(|field| look(field, is, found)),
            Value::Array(items) => items.iter().try_for_each(|item| look(item, is, found)),
            _ => Ok(()),
        }
    }
    let mut found = Vec::new();
    for document in documents {
        look(document, is, &mut found).map_err(|error| format!("not {what}: {error}"))?;
    }
    if found.is_empty() {
        return Err(format!("nothing in these files is {what}"));
    }
    Ok(found)
}

/// All x of these curves, growing.
fn places(series: &[Series]) -> Vec<f64> {
    let mut places: Vec<f64> =
        series.iter().flat_map(|series| &series.points).map(|point| point.x).collect();
    places.sort_by(f64::total_cmp);
    places.dedup();
    places
}

/// Common to all, if it is.
fn common<T: PartialEq + Clone>(mut all: impl Iterator<Item = T>) -> Option<T> {
    let first = all.next()?;
    all.all(|other| other == first).then_some(first)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn spreads_of_one_place_are_one_point() {
        let spread = |min, median, max| Spread { min, median, max };
        let point = Point::of(3.0, &[spread(1.0, 2.0, 9.0), spread(2.0, 4.0, 5.0)]);
        assert_eq!(point, Point { x: 3.0, y: 3.0, low: 1.0, high: 9.0 });
        assert_eq!(point.times(10.0), Point { x: 3.0, y: 30.0, low: 10.0, high: 90.0 });
    }

    #[test]
    fn what_is_missing_or_not_readable_is_named() {
        let is = |fields: &Map<String, Value>| fields.contains_key("x");
        let documents = [serde_json::json!([{ "in": { "x": 1 } }, { "y": 2 }])];
        let found = find::<BTreeMap<String, u64>>(&documents, "an x", is).unwrap();
        assert_eq!(found, [BTreeMap::from([("x".to_owned(), 1)])]);
        let none = find::<Value>(&documents[..0], "an x", is).unwrap_err();
        assert_eq!(none, "nothing in these files is an x");
        let other = find::<BTreeMap<String, String>>(&documents, "an x", is).unwrap_err();
        assert!(other.starts_with("not an x: "), "{other}");
    }
}
