//! Holding a history to its properties.

use std::fmt;

use crate::model::{Group, Membership, Who};
use crate::properties;
use crate::read::History;
use crate::sort::groups;

/// A property that a history breaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The property: the name of its file.
    pub property: &'static str,
    /// The group and its generation.
    pub group: String,
    /// The member.
    pub node: String,
    /// The view.
    pub view: Option<u64>,
    /// What is wrong.
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} in {}", self.property, self.node, self.group)?;
        if let Some(view) = self.view {
            write!(f, " view {view}")?;
        }
        write!(f, ": {}", self.what)
    }
}

/// What is known of a run beyond its histories.
#[derive(Clone, Debug, Default)]
pub struct Expectations {
    /// No line was lost: crashes left complete histories, as in a simulation.
    pub complete: bool,
    /// Concurrent updates of the type need not commute: states at one cut may differ.
    pub divergent: bool,
    /// Members that were there, idle and connected at the end: they share a view and its updates.
    pub settled: Vec<String>,
}

/// Holds a history of real processes to all properties.
pub fn check(history: &History) -> Vec<Violation> {
    check_with(history, &Expectations::default())
}

/// Holds a history to all properties, knowing more of its run.
pub fn check_with(history: &History, expectations: &Expectations) -> Vec<Violation> {
    let mut violations = Vec::new();
    for (name, group) in &groups(history) {
        for (property, judge) in properties::ALL {
            let mut court = Court { property, name, group, expectations, found: Vec::new() };
            judge(&mut court);
            violations.append(&mut court.found);
        }
    }
    violations
}

/// One property judging one group.
pub(crate) struct Court<'a> {
    property: &'static str,
    name: &'a str,
    /// The group.
    pub(crate) group: &'a Group,
    /// What is known besides.
    pub(crate) expectations: &'a Expectations,
    found: Vec<Violation>,
}

/// Where one hole tears many ranges, the first few tell enough.
const MOST: usize = 16;

impl Court<'_> {
    /// Reports a violation.
    pub(crate) fn report(&mut self, node: Who, view: Option<u64>, what: String) {
        if self.found.len() < MOST {
            let node = self.group.ids[node].to_string();
            let (property, group) = (self.property, self.name.to_owned());
            self.found.push(Violation { property, group, node, view, what });
        }
    }

    /// Reports a violation of a membership.
    pub(crate) fn blame(&mut self, membership: &Membership, view: u64, what: String) {
        self.report(membership.who, Some(view), what);
    }

    /// Whether the caller vouches that a member was there, idle and connected at the end.
    pub(crate) fn is_settled(&self, who: Who) -> bool {
        let id = self.id(who);
        self.expectations.settled.iter().any(|name| name == id)
    }

    /// The name of a member.
    pub(crate) fn id(&self, who: Who) -> &str {
        &self.group.ids[who]
    }
}
