//! A card as text, and back.

use std::fmt;
use std::str::FromStr;

use super::{Card, CardError, Entry, Part};

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name.as_str() {
            "->" => write!(f, "  -> {} #{}", self.ty, self.shape),
            name => write!(f, "  {name}: {} #{}", self.ty, self.shape),
        }
    }
}

/// The line without what it takes and gives.
impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} id {}", self.kind(), self.name, self.id)?;
        if let Some((policy, _)) = self.delivery.as_ref().filter(|_| self.request) {
            write!(f, " by {policy}")?;
        } else if let Some((order, level)) = &self.delivery {
            write!(f, " order {order} level {level}")?;
        }
        if self.since > 1 {
            write!(f, " since {}", self.since)?;
        }
        if let Some(until) = self.until {
            write!(f, " until {until}")?;
        }
        if self.scattered { write!(f, " scatter") } else { Ok(()) }
    }
}

impl fmt::Display for Card {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut states = self.states.iter();
        if let Some((version, fields)) = states.next() {
            writeln!(f, "type {} version {version}", self.name)?;
            fields.iter().try_for_each(|field| writeln!(f, "{field}"))?;
        }
        if let Some(event) = self.event() {
            writeln!(f, "{event}")?;
        }
        for method in &self.methods {
            writeln!(f, "{method}")?;
            let parts = method.arguments.iter().chain(&method.result);
            parts.into_iter().try_for_each(|part| writeln!(f, "{part}"))?;
        }
        for (version, fields) in states {
            writeln!(f, "earlier version {version}")?;
            fields.iter().try_for_each(|field| writeln!(f, "{field}"))?;
        }
        Ok(())
    }
}

impl FromStr for Card {
    type Err = CardError;

    fn from_str(text: &str) -> Result<Card, CardError> {
        let mut card =
            Card { name: String::new(), states: Vec::new(), event: None, methods: Vec::new() };
        let mut of_method = false;
        for (index, line) in text.lines().enumerate() {
            card.line(line, &mut of_method).ok_or(CardError { line: index + 1 })?;
        }
        if card.states.is_empty() { Err(CardError { line: 1 }) } else { Ok(card) }
    }
}

impl Card {
    /// One line of a text.
    fn line(&mut self, line: &str, of_method: &mut bool) -> Option<()> {
        if line.starts_with("  ") {
            let part = Part::parse(line)?;
            match (*of_method, part.name == "->") {
                (true, true) => self.methods.last_mut()?.result = Some(part),
                (true, false) => self.methods.last_mut()?.arguments.push(part),
                (false, _) => self.states.last_mut()?.1.push(part),
            }
            return Some(());
        }
        *of_method = false;
        if let Some(rest) = line.strip_prefix("type ") {
            let (name, version) = rest.rsplit_once(" version ")?;
            self.name = name.to_owned();
            self.states.insert(0, (version.parse().ok()?, Vec::new()));
        } else if let Some(event) = line.strip_prefix("event ") {
            let (ty, shape) = event.rsplit_once(" #")?;
            let (ty, shape) = (ty.to_owned(), shape.to_owned());
            self.event = Some(Part { name: "event".to_owned(), ty, shape });
        } else if let Some(version) = line.strip_prefix("earlier version ") {
            self.states.push((version.parse().ok()?, Vec::new()));
        } else {
            self.methods.push(method(line)?);
            *of_method = true;
        }
        Some(())
    }
}

/// The line of a method.
fn method(line: &str) -> Option<Entry> {
    let mut words = line.split(' ');
    let (update, request) = match words.next()? {
        "update" => (true, false),
        "query" => (false, false),
        "request" => (true, true),
        _ => return None,
    };
    let mut entry = Entry {
        name: words.next()?.to_owned(),
        id: 0,
        delivery: update.then(Default::default),
        request,
        since: 1,
        until: None,
        scattered: false,
        arguments: Vec::new(),
        result: None,
    };
    while let Some(key) = words.next() {
        if key == "scatter" && !update {
            entry.scattered = true;
            continue;
        }
        let value = words.next()?;
        match (key, &mut entry.delivery) {
            ("id", _) => entry.id = value.parse().ok()?,
            ("order", Some((order, _))) => *order = value.to_owned(),
            ("by", Some((policy, _))) if request => *policy = value.to_owned(),
            ("level", Some((_, level))) => *level = value.to_owned(),
            ("since", _) => entry.since = value.parse().ok()?,
            ("until", _) => entry.until = Some(value.parse().ok()?),
            _ => return None,
        }
    }
    Some(entry)
}
