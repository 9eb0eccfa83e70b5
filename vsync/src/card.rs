//! [`Card`]: what a type is, so that two programs can tell whether they mean the same by it.

use std::any::TypeId;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use vsync_core::engine::{Class, Level};

mod text;

use crate::replicated::{Replicated, Signature};
use crate::state::State;

/// The schema of a replicated type: its name and version, the fields of its state in this and in
/// earlier versions, its methods with what they take and give.
///
/// Members of a group compare their cards before one is let in; what differs is said in words. As
/// text it is made to be kept in a file and compared line by line:
///
/// ```
/// use vsync::{Card, replicated};
///
/// #[replicated(version = 2)]
/// #[derive(Default)]
/// struct Counter {
///     count: u64,
/// }
///
/// #[replicated]
/// impl Counter {
///     #[update(order = "total", id = 1)]
///     fn add(&mut self, amount: u64) -> u64 {
///         self.count += amount;
///         self.count
///     }
///     #[update(order = "fifo", id = 2, since = 2)]
///     fn reset(&mut self) {
///         self.count = 0;
///     }
/// }
///
/// let text = Card::of::<Counter>().to_string();
/// assert_eq!(
///     text,
///     "\
/// type Counter version 2
///   count: u64 #29b0a05a44946a1c
/// update add id 1 order total level optimistic
///   amount: u64 #29b0a05a44946a1c
///   -> u64 #29b0a05a44946a1c
/// update reset id 2 order fifo level optimistic since 2
/// "
/// );
/// assert_eq!(text.parse::<Card>()?, Card::of::<Counter>());
/// # Ok::<_, vsync::CardError>(())
/// ```
/// Behind the `#` is the shape of a type: a hash of what it asks a deserializer for, of all that is
/// in it. Types whose texts are equal may be other types; their shapes tell. A shape has a `~`
/// behind it if a part of the type could not be seen, because it refuses values that are made up;
/// it is a `?` if nothing is known, as of a parameter of a generic type. What no shape shows is the
/// meaning of bytes, and a `Serialize` that does not write what `Deserialize` reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Card {
    name: String,
    /// The newest first: version and fields.
    states: Vec<(u32, Vec<Part>)>,
    /// The events, if clients may read them.
    event: Option<Part>,
    methods: Vec<Entry>,
}

/// A field, an argument or a result.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Part {
    name: String,
    ty: String,
    shape: String,
}

/// A method.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    name: String,
    id: u32,
    /// Of an update: order and level. Of a request: who coordinates it. A query has none.
    delivery: Option<(String, String)>,
    request: bool,
    since: u32,
    until: Option<u32>,
    /// Of a query: whether the members divide its work.
    scattered: bool,
    arguments: Vec<Part>,
    result: Option<Part>,
}

/// The line at which a text is no card.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct CardError {
    /// Its number, from 1.
    pub line: usize,
}

impl fmt::Display for CardError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {} is not that of a schema card", self.line)
    }
}

impl fmt::Debug for CardError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        crate::error::told(self, f)
    }
}

impl std::error::Error for CardError {}

/// The fields of a type's state, one line each.
pub(crate) fn fields<S: State>() -> Vec<String> {
    let parts = S::FIELDS.iter().zip(S::field_shapes());
    parts.map(|((name, ty), shape)| format!("{name}: {ty} #{shape}")).collect()
}

/// The cards of this program's types that some group has asked for: a type has one, however many
/// groups are of it.
static CARDS: Mutex<BTreeMap<TypeId, Arc<Card>>> = Mutex::new(BTreeMap::new());

impl Card {
    /// The card of `S`, made when it is first asked for.
    pub(crate) fn shared<S: Replicated>() -> Arc<Card> {
        let cards = || CARDS.lock().unwrap_or_else(PoisonError::into_inner);
        let known = cards().get(&TypeId::of::<S>()).cloned();
        // Not under the lock: code of the user's has a part in it.
        known.unwrap_or_else(|| {
            let card = Arc::new(Card::of::<S>());
            Arc::clone(cards().entry(TypeId::of::<S>()).or_insert(card))
        })
    }

    /// The card of a type.
    pub fn of<S: Replicated>() -> Card {
        let mut shapes = S::method_shapes();
        let mut shape = |of: &Signature| {
            let found = S::SIGNATURES.iter().position(|signature| signature.id == of.id);
            found.and_then(|at| shapes.get_mut(at).map(std::mem::take)).unwrap_or_default()
        };
        let mut updates: Vec<_> = S::UPDATES.iter().collect();
        updates.sort_by_key(|method| method.id);
        let mut queries: Vec<_> = S::QUERIES.iter().collect();
        queries.sort();
        let mut requests: Vec<_> = S::REQUESTS.iter().collect();
        requests.sort_by_key(|method| method.id);
        let updates = updates.into_iter().map(|method| {
            let delivery = Some((order(method.class).to_owned(), level(method.level).to_owned()));
            let (since, until) = (method.since, method.until);
            (method.id, method.name, delivery, false, since, until)
        });
        let queries = queries.into_iter().map(|(id, name)| (*id, *name, None, false, 1, None));
        let requests = requests.into_iter().map(|method| {
            let delivery = Some((S::request_policy(method.id).to_string(), String::new()));
            (method.id, method.name, delivery, true, method.since, method.until)
        });
        let all = updates.chain(queries).chain(requests);
        let methods = all.map(|(id, name, delivery, request, since, until)| {
            let mut entry = Entry {
                name: name.to_owned(),
                id,
                delivery,
                request,
                since,
                until,
                scattered: S::SCATTERED.contains(&id),
                arguments: Vec::new(),
                result: None,
            };
            if let Some(signature) = S::SIGNATURES.iter().find(|signature| signature.id == id) {
                entry.sign(signature, shape(signature));
            }
            entry
        });
        let methods = methods.collect();
        let parse =
            |lines: Vec<String>| lines.iter().filter_map(|line| Part::parse(line)).collect();
        let mut states = vec![(S::VERSION, parse(fields::<S>()))];
        states.extend(S::earlier().into_iter().map(|(version, lines)| (version, parse(lines))));
        let event = S::published().map(|(ty, shape)| Part {
            name: "event".to_owned(),
            ty: ty.to_owned(),
            shape,
        });
        Card { name: S::NAME.escape_debug().to_string(), states, event, methods }
    }

    /// The version of the type.
    pub fn version(&self) -> u32 {
        self.states.first().map_or(0, |(version, _)| *version)
    }

    /// The type's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether there is a way from the state of this version to that of the card's own.
    pub(crate) fn reads(&self, version: u32) -> bool {
        self.states.iter().any(|(known, _)| *known == version)
    }

    /// What callers of an update or a request must agree on, in one line: in what order it is
    /// delivered, and in which versions, is the group's business.
    pub(crate) fn update(&self, id: u32) -> Option<String> {
        let found = self.methods.iter().find(|method| method.id == id);
        let update = found.filter(|method| method.delivery.is_some())?;
        let mut line = format!("{} {}", update.kind(), update.name);
        for part in update.arguments.iter().chain(&update.result) {
            line.push_str(&part.to_string());
        }
        Some(line)
    }

    /// What callers of a query must agree on, in one line: whether the members divide its work is
    /// the group's business.
    pub(crate) fn query(&self, id: u32) -> Option<String> {
        self.methods.iter().find(|method| method.id == id && method.delivery.is_none()).map(
            |query| {
                let mut line = format!("query {} id {id}", query.name);
                for part in query.arguments.iter().chain(&query.result) {
                    line.push_str(&part.to_string());
                }
                line
            },
        )
    }

    /// What readers of the events must agree on, in one line; `None` if clients may read none.
    pub(crate) fn event(&self) -> Option<String> {
        self.event.as_ref().map(|event| format!("event {} #{}", event.ty, event.shape))
    }

    /// What members must agree on that ask each other for shares of a query, in one line.
    pub(crate) fn share(&self, id: u32) -> Option<String> {
        let scattered = self.methods.iter().any(|method| method.id == id && method.scattered);
        Some(self.query(id)? + if scattered { " scatter" } else { "" })
    }

    /// Why programs with these cards cannot be members of one group in which `active` is the active
    /// version, in words; nothing if they can.
    ///
    /// What differs may differ if the versions do and it is never used by both: a method that the
    /// older program does not know has to be one that comes later, by its `since`. Queries may be
    /// other ones in another version.
    pub fn differences(&self, there: &Card, active: u32) -> Vec<String> {
        let mut found = Vec::new();
        if self.name != there.name {
            found.push(format!("the type is `{}` here, `{}` there", self.name, there.name));
            return found;
        }
        self.compare_states(there, &mut found);
        self.compare_stamps(there, &mut found);
        let versions = (self.version(), there.version());
        if versions.0 == versions.1 {
            self.compare_events(there, &mut found);
        }
        for method in &self.methods {
            match there.methods.iter().find(|other| other.id == method.id) {
                Some(other) => method.compare(other, versions, &mut found),
                None if method.may_lack(versions.1, active) => {}
                None => found.push(format!("{} is here, not there", method.called())),
            }
        }
        for method in &there.methods {
            let known = self.methods.iter().any(|other| other.id == method.id);
            if !known && !method.may_lack(versions.0, active) {
                found.push(format!("{} is there, not here", method.called()));
            }
        }
        found
    }

    /// Where a type has causal updates, each batch carries a stamp: members of one group agree on
    /// that from its beginning, whichever version is active.
    fn compare_stamps(&self, there: &Card, found: &mut Vec<String>) {
        let is_causal =
            |method: &&Entry| method.delivery.as_ref().is_some_and(|(order, _)| order == "causal");
        let causal = |card: &Card| card.methods.iter().find(is_causal).cloned();
        let (place, method, others) = match (causal(self), causal(there)) {
            (Some(method), None) => ("here", method, &there.methods),
            (None, Some(method)) => ("there", method, &self.methods),
            _ => return,
        };
        if others.iter().any(|other| other.id == method.id) {
            // That its order differs is said anyway.
            return;
        }
        let called = method.called();
        found.push(format!(
            "{called} is causal {place}, and without it the type has no causal update: the first \
             one cannot come, nor the last one go, while programs of the other version are members"
        ));
    }

    /// Members show them for themselves, and clients are told if theirs are others.
    fn compare_events(&self, there: &Card, found: &mut Vec<String>) {
        match (&self.event, &there.event) {
            (Some(here), Some(there)) => here.compare(there, "the type of events", found),
            (Some(_), None) => found.push("events are published here, not there".to_owned()),
            (None, Some(_)) => found.push("events are published there, not here".to_owned()),
            (None, None) => {}
        }
    }

    fn compare_states(&self, there: &Card, found: &mut Vec<String>) {
        let mut common = 0;
        for (version, fields) in &self.states {
            let Some((_, others)) = there.states.iter().find(|(other, _)| other == version) else {
                continue;
            };
            common += 1;
            let what = format!("of version {version}");
            compare_parts("field", &what, fields, others, found);
        }
        if common == 0 {
            found.push(format!(
                "no version of the state is known to both: {} here, {} there",
                self.version(),
                there.version()
            ));
        }
    }
}

fn order(class: Class) -> &'static str {
    match class {
        Class::Fifo => "fifo",
        Class::Causal => "causal",
        Class::Total => "total",
    }
}

fn level(level: Level) -> &'static str {
    match level {
        Level::Optimistic => "optimistic",
        Level::Stable => "stable",
    }
}

/// Compares parts that go by their places.
fn compare_parts(what: &str, of: &str, here: &[Part], there: &[Part], found: &mut Vec<String>) {
    let names = |parts: &[Part]| parts.iter().map(|part| part.name.clone()).collect::<Vec<_>>();
    let (ours, theirs) = (names(here), names(there));
    let (known, other): (BTreeSet<_>, BTreeSet<_>) =
        (ours.iter().collect(), theirs.iter().collect());
    for name in known.difference(&other) {
        found.push(format!("{what} `{name}` {of} is here, not there"));
    }
    for name in other.difference(&known) {
        found.push(format!("{what} `{name}` {of} is there, not here"));
    }
    if known == other && ours != theirs {
        let (ours, theirs) = (ours.join(", "), theirs.join(", "));
        found.push(format!("{what}s {of} are in the order {ours} here, {theirs} there"));
    }
    for part in here {
        if let Some(other) = there.iter().find(|other| other.name == part.name) {
            part.compare(other, &format!("{what} `{}` {of}", part.name), found);
        }
    }
}

impl Part {
    fn parse(line: &str) -> Option<Part> {
        let (rest, shape) = line.trim_start().rsplit_once(" #")?;
        let (name, ty) = match rest.strip_prefix("-> ") {
            Some(ty) => ("->", ty),
            None => rest.split_once(": ")?,
        };
        Some(Part { name: name.to_owned(), ty: ty.to_owned(), shape: shape.to_owned() })
    }

    fn compare(&self, there: &Part, what: &str, found: &mut Vec<String>) {
        let whole = !self.shape.ends_with(['~', '?']);
        if self.shape == there.shape && (whole || self.ty == there.ty) {
            return;
        }
        found.push(match self.ty == there.ty {
            true => format!(
                "{what} is `{}` on both sides, but what is inside of it is not the same",
                self.ty
            ),
            false => format!("{what} is `{}` here, `{}` there", self.ty, there.ty),
        });
    }
}

impl Entry {
    fn sign(&mut self, signature: &Signature, shapes: Vec<String>) {
        let mut shapes = shapes.into_iter();
        let mut part = |name: &str, ty: &str| Part {
            name: name.to_owned(),
            ty: ty.to_owned(),
            shape: shapes.next().unwrap_or_else(|| "?".to_owned()),
        };
        self.arguments = signature.arguments.iter().map(|(name, ty)| part(name, ty)).collect();
        self.result = (signature.result != "()").then(|| part("->", signature.result));
    }

    fn kind(&self) -> &'static str {
        match self.delivery {
            Some(_) if self.request => "request",
            Some(_) => "update",
            None => "query",
        }
    }

    fn called(&self) -> String {
        let since = match self.since {
            1 => String::new(),
            since => format!(", since version {since}"),
        };
        format!("the {} `{}` (id {}{since})", self.kind(), self.name, self.id)
    }

    /// Whether a program of this version may lack it.
    fn may_lack(&self, version: u32, active: u32) -> bool {
        // What members read for themselves is no matter of the others.
        self.delivery.is_none()
            || self.since > version
            || self.until.is_some_and(|until| until <= active)
    }

    fn compare(&self, there: &Entry, versions: (u32, u32), found: &mut Vec<String>) {
        let called = self.called();
        if self.kind() != there.kind() {
            found.push(format!("{called} is a {} there", there.kind()));
            return;
        }
        // Members read for themselves, and a client is told if its query is another one.
        if self.delivery.is_none() && versions.0 != versions.1 {
            return;
        }
        if let (Some((order, level)), Some((other, other_level))) =
            (&self.delivery, &there.delivery)
        {
            if order != other && self.request {
                found.push(format!("{called} is coordinated by {order} here, by {other} there"));
            } else if order != other {
                found.push(format!("{called} has the order {order} here, {other} there"));
            }
            if level != other_level {
                found.push(format!("{called} has the level {level} here, {other_level} there"));
            }
        }
        if self.scattered != there.scattered {
            let say = |scattered| if scattered { "scattered" } else { "not scattered" };
            let (here, there) = (say(self.scattered), say(there.scattered));
            found.push(format!("{called} is {here} here, {there} there"));
        }
        if self.since != there.since {
            let (here, there) = (self.since, there.since);
            found.push(format!("{called} is since {here} here, since {there} there"));
        }
        // An older program need not know of an end that comes with a later version.
        let foreseen = match (self.until, there.until) {
            (here, there) if here == there => true,
            (Some(until), None) => until > versions.1,
            (None, Some(until)) => until > versions.0,
            _ => false,
        };
        if !foreseen {
            let say =
                |until: Option<u32>| until.map_or("no end".to_owned(), |u| format!("until {u}"));
            let (here, there) = (say(self.until), say(there.until));
            found.push(format!("{called} has {here} here, {there} there"));
        }
        let of = format!("of {called}");
        compare_parts("argument", &of, &self.arguments, &there.arguments, found);
        let unit = || Part { name: "->".into(), ty: "()".into(), shape: "()".into() };
        let (here, there) = (self.result.clone(), there.result.clone());
        let (here, there) = (here.unwrap_or_else(unit), there.unwrap_or_else(unit));
        here.compare(&there, &format!("the result {of}"), found);
    }
}

#[cfg(test)]
mod tests;
