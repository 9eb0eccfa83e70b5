//! `goals`: what the design set out to reach, beside what the figures' runs have measured.
//!
//! Nothing is measured here: a goal is a bound, and the values of it that `figures` has left in its
//! JSON files, one for each run or pair of runs. A goal is met if the worst of them is within the
//! bound; where only the median is, that is said.

mod laws;
mod list;
mod source;
pub(crate) mod transport;

use std::fmt::Write as _;

use crate::compare::Spread;
use crate::options::GoalsOptions;
pub(crate) use source::Source;

/// What is wanted of a figure.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Bound {
    AtLeast(f64),
    AtMost(f64),
    /// Nothing: it is told all the same.
    None,
}

/// How a figure is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unit {
    /// Millions per second.
    Millions,
    /// `2.5 ×`.
    Times,
    Percent,
    Milliseconds,
    Microseconds,
    Bytes,
}

/// A goal.
struct Goal {
    /// As in the list of goals that the design began with.
    number: u8,
    what: &'static str,
    bound: Bound,
    unit: Unit,
    values: fn(&Source) -> Vec<f64>,
}

/// What became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Met {
    Yes,
    /// Not in each run.
    InTheMedian,
    No,
    /// No goal was set.
    Told,
    /// No figure is there.
    Unknown,
}

impl Bound {
    fn holds(self, value: f64) -> bool {
        match self {
            Bound::AtLeast(least) => value >= least,
            Bound::AtMost(most) => value <= most,
            Bound::None => true,
        }
    }

    fn met(self, values: &[f64]) -> Met {
        let Spread { min, median, max } = Spread::of(values.iter().copied());
        match self {
            _ if values.is_empty() => Met::Unknown,
            Bound::None => Met::Told,
            _ if self.holds(min) && self.holds(max) => Met::Yes,
            _ if self.holds(median) => Met::InTheMedian,
            _ => Met::No,
        }
    }
}

impl Unit {
    fn write(self, value: f64) -> String {
        match self {
            Unit::Millions => format!("{:.2} M/s", value / 1e6),
            Unit::Times if value >= 100.0 => format!("{value:.0} ×"),
            Unit::Times if value >= 10.0 => format!("{value:.1} ×"),
            Unit::Times => format!("{value:.2} ×"),
            Unit::Percent if value < 2.0 => format!("{value:.2} %"),
            Unit::Percent => format!("{value:.0} %"),
            Unit::Milliseconds if value < 100.0 => format!("{value:.1} ms"),
            Unit::Milliseconds => format!("{value:.0} ms"),
            Unit::Microseconds if value < 10.0 => format!("{value:.1} µs"),
            Unit::Microseconds => format!("{value:.0} µs"),
            Unit::Bytes => format!("{value:.0} B"),
        }
    }
}

impl Met {
    fn word(self) -> &'static str {
        match self {
            Met::Yes => "yes",
            Met::InTheMedian => "in the median",
            Met::No => "**no**",
            Met::Told => "(no goal)",
            Met::Unknown => "not measured",
        }
    }
}

/// Prints the tables, or writes each into a file of its own.
pub(crate) fn run(options: &GoalsOptions) -> Result<(), String> {
    let source = Source::read(&options.from)?;
    let tables = [
        ("goals", goals(&source)),
        ("laws", laws(&source)),
        ("transport", transport::table(&source)),
    ];
    for (name, table) in tables {
        let Some(directory) = &options.out else {
            println!("{table}");
            continue;
        };
        let path = directory.join(format!("{name}.txt"));
        std::fs::write(&path, table).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    Ok(())
}

/// The goals, as Markdown.
fn goals(source: &Source) -> String {
    let mut text = "| | goal | bound | met? | least | median | most | of |\n".to_owned();
    text.push_str("|---|---|---:|---|---:|---:|---:|---:|\n");
    for goal in list::goals() {
        row(&mut text, &goal, &(goal.values)(source));
    }
    text
}

/// The laws that the curves follow.
fn laws(source: &Source) -> String {
    let mut text = "| curve | law | measured at |\n|---|---|---|\n".to_owned();
    for (curve, law, of) in laws::laws(source) {
        // Writing to a string never fails.
        let _ = writeln!(text, "| {curve} | {law} | {of} |");
    }
    text
}

fn row(text: &mut String, goal: &Goal, values: &[f64]) {
    let Goal { number, what, bound, unit, .. } = *goal;
    let wanted = match bound {
        Bound::AtLeast(least) => format!("≥ {}", unit.write(least)),
        Bound::AtMost(most) => format!("≤ {}", unit.write(most)),
        Bound::None => String::new(),
    };
    let met = bound.met(values).word();
    let Spread { min, median, max } = Spread::of(values.iter().copied());
    let figures = match values {
        [] => " | | ".to_owned(),
        _ => [min, median, max].map(|value| unit.write(value)).join(" | "),
    };
    let runs = values.len();
    let _ = writeln!(text, "| {number} | {what} | {wanted} | {met} | {figures} | {runs} |");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_goal_is_met_by_the_worst_of_its_runs() {
        let least = Bound::AtLeast(2.0);
        assert_eq!(least.met(&[2.0, 3.0]), Met::Yes);
        assert_eq!(least.met(&[1.9, 2.1, 3.0]), Met::InTheMedian);
        assert_eq!(least.met(&[1.0, 1.9, 3.0]), Met::No);
        let most = Bound::AtMost(2.0);
        assert_eq!(most.met(&[1.0, 2.0]), Met::Yes);
        assert_eq!(most.met(&[1.0, 1.5, 2.1]), Met::InTheMedian);
        assert_eq!(most.met(&[2.1]), Met::No);
        assert_eq!(most.met(&[]), Met::Unknown);
        assert_eq!(Bound::None.met(&[1.0]), Met::Told);
    }

    #[test]
    fn a_row_has_the_bound_and_the_spread() {
        let goal = Goal {
            number: 2,
            what: "more",
            bound: Bound::AtLeast(1.2),
            unit: Unit::Times,
            values: |_| Vec::new(),
        };
        let mut text = String::new();
        row(&mut text, &goal, &[1.0, 1.5, 20.0]);
        let told = "| 2 | more | ≥ 1.20 × | in the median | 1.00 × | 1.50 × | 20.0 × | 3 |\n";
        assert_eq!(text, told);
        text.clear();
        row(&mut text, &goal, &[]);
        assert_eq!(text, "| 2 | more | ≥ 1.20 × | not measured |  | |  | 0 |\n");
    }

    #[test]
    fn every_goal_of_the_design_has_a_row() {
        let numbers: Vec<u8> = list::goals().iter().map(|goal| goal.number).collect();
        assert!(numbers.is_sorted(), "{numbers:?}");
        assert!((1..=8).all(|number| numbers.contains(&number)), "{numbers:?}");
    }
}
