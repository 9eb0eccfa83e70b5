//! Histories written by hand, for the checkers' own tests.
//!
//! Statements are separated by `;`: `WHO view N MEMBERS… [together=…]` (`+` before a joining
//! member),
//! `WHO submit COUNT CLASS`, `WHO send SEQ COUNT CLASS [in=VIEW]`,
//! `WHO deliver SENDER SEQ COUNT CLASS [POSITION] [stable] [in=VIEW]`, `WHO stable CUT`,
//! `WHO flush ID`, `WHO flushed ID`, `WHO accepted CUT [#HASH]`, `WHO state HASH CUT` (a cut is
//! `a=2 b=1 ^3`, `^` before the positions), `WHO point JOINER BYTES HASH`,
//! `WHO load LABEL DONOR BYTES HASH`, `WHO idle BYTES UPDATES`, `WHO excluded [own=COUNT]`,
//! `WHO closed [own=COUNT]`.
//!
//! `b'` is another member of the node of `b`. What a member sends it has submitted just before,
//! unless there is a `submit` of its own in the story.

use std::collections::{BTreeMap, BTreeSet};

use crate::check::{Expectations, Violation, check_with};
use crate::event::{Class, Counts, Event, Gone, Id, Level, Line, Member, Reason};
use crate::read::{History, Log};

/// All properties hold.
#[track_caller]
pub(super) fn accepts(text: &str) {
    let found = run(text, &Expectations::default());
    assert!(found.is_empty(), "{found:#?}");
}

/// All properties hold, with these members at rest in the end.
#[track_caller]
pub(super) fn accepts_settled(settled: &[&str], text: &str) {
    let found = run(text, &rest(settled));
    assert!(found.is_empty(), "{found:#?}");
}

/// This property does not hold.
#[track_caller]
pub(super) fn rejects(property: &str, text: &str) {
    let found = run(text, &Expectations::default());
    assert!(found.iter().any(|violation| violation.property == property), "{found:#?}");
}

/// This property does not hold if no line was lost.
#[track_caller]
pub(super) fn rejects_complete(property: &str, text: &str) {
    let found = run(text, &Expectations { complete: true, ..Expectations::default() });
    assert!(found.iter().any(|violation| violation.property == property), "{found:#?}");
}

/// This property does not hold, with these members at rest in the end.
#[track_caller]
pub(super) fn rejects_settled(property: &str, settled: &[&str], text: &str) {
    let found = run(text, &rest(settled));
    assert!(found.iter().any(|violation| violation.property == property), "{found:#?}");
}

fn rest(settled: &[&str]) -> Expectations {
    // Members that never joined later have entry 1 in these stories, `b` may have 2.
    let both = |name: &&str| [format!("{name}#1@1"), format!("{name}#1@2")];
    Expectations { settled: settled.iter().flat_map(both).collect(), ..Expectations::default() }
}

fn run(text: &str, expectations: &Expectations) -> Vec<Violation> {
    check_with(&Writer::new(text).write(text), expectations)
}

/// Members of a view: name, whether active.
type List = Vec<(String, bool)>;

#[derive(Default)]
struct Writer {
    lists: BTreeMap<u64, List>,
    entries: BTreeMap<String, u64>,
    current: BTreeMap<String, u64>,
    /// Who has `submit` statements.
    submits: BTreeSet<String>,
}

impl Writer {
    /// Learns all views first, so that ids carry the view of entry.
    fn new(text: &str) -> Self {
        let mut writer = Writer::default();
        for words in statements(text) {
            if words[1] == "submit" {
                writer.submits.insert(words[0].to_owned());
            }
            if words[1] != "view" {
                continue;
            }
            let number = words[2].parse().expect("a view number");
            let list = list(&words[3..]);
            for (name, _) in &list {
                let entry = writer.entries.entry(name.clone()).or_insert(number);
                *entry = number.min(*entry);
            }
            writer.lists.entry(number).or_insert(list);
        }
        writer
    }

    fn id(&self, name: &str) -> Id {
        let entry = self.entries.get(name).copied().unwrap_or(1);
        format!("{}#1@{entry}", name.trim_end_matches('\'')).into()
    }

    fn write(mut self, text: &str) -> History {
        let mut logs: BTreeMap<String, Log> = BTreeMap::new();
        for (t, words) in statements(text).enumerate() {
            let name = words[0];
            let event = self.event(name, &words[1..]);
            let submit = match event {
                Event::Send { count, class, .. } if !self.submits.contains(name) => {
                    Some(Event::Submit { count, class })
                }
                _ => None,
            };
            let log = logs.entry(name.trim_end_matches('\'').to_owned()).or_default();
            log.lines.extend(submit.into_iter().chain([event]).map(|event| Line {
                t: t as u64,
                node: self.id(name),
                group: Some("g".into()),
                generation: Some(1),
                event,
            }));
        }
        History { logs: logs.into_values().collect() }
    }

    fn event(&mut self, name: &str, words: &[&str]) -> Event {
        let named = |key: &str| -> Option<u64> {
            words.iter().find_map(|word| word.strip_prefix(key)).map(|it| it.parse().expect(key))
        };
        let view = self.current.get(name).copied().unwrap_or(1);
        let view = named("in=").unwrap_or(view);
        let number = |at: usize| -> u64 { words[at].parse().expect("a number") };
        match words[0] {
            "view" => self.view(name, words),
            "submit" => Event::Submit { count: number(1), class: class(words[2]) },
            "flush" => Event::Flush { id: number(1) },
            "flushed" => Event::Flushed { id: number(1) },
            "idle" => Event::Idle { retained: number(1), queued: number(2) },
            "send" => {
                Event::Send { view, seq: number(1), count: number(2), class: class(words[3]) }
            }
            "deliver" => Event::Deliver {
                view,
                sender: self.id(words[1]),
                seq: number(2),
                count: number(3),
                class: class(words[4]),
                position: words.get(5).and_then(|word| word.parse().ok()),
                level: match words.contains(&"stable") {
                    true => Level::Stable,
                    false => Level::Optimistic,
                },
            },
            "stable" => {
                let (cut, extent) = self.cut(&words[1..]);
                Event::Stable { view, cut, extent }
            }
            "accepted" => {
                let (cut, extent) = self.cut(&words[1..]);
                let named = words.iter().find_map(|word| word.strip_prefix('#'));
                let proposal = named.map_or_else(|| words[1..].concat(), str::to_owned);
                let ballot = "1.0".into();
                Event::Accepted { view, ballot, proposal, cut, extent }
            }
            "state" => {
                let (cut, extent) = self.cut(&words[2..]);
                Event::State { view, cut, extent, hash: words[1].into() }
            }
            // Of another view, where it was written late: how many updates it has, and the view.
            "point" => Event::Checkpoint {
                view: if words.len() > 5 { number(5) } else { view },
                delivered: (words.len() > 5).then(|| number(4)),
                bytes: number(2),
                hash: words[3].into(),
                r#for: self.id(words[1]),
            },
            "load" => Event::Loaded {
                view: number(1),
                bytes: number(3),
                hash: words[4].into(),
                from: self.id(words[2]),
            },
            "excluded" => Event::Excluded { view, own: named("own=") },
            "closed" => Event::Closed { view, own: named("own=") },
            other => panic!("no statement: {other}"),
        }
    }

    fn view(&mut self, name: &str, words: &[&str]) -> Event {
        let view = words[1].parse().expect("a view number");
        let members = list(&words[2..]);
        let mine = self.current.insert(name.to_owned(), view);
        let before = |number: Option<u64>| -> List {
            number.and_then(|number| self.lists.get(&number)).cloned().unwrap_or_default()
        };
        let (own, last) = (before(mine), before(Some(view - 1)));
        let has = |list: &List, name: &str| list.iter().any(|(member, _)| member == name);
        let both = members.iter().filter(|(member, _)| has(&own, member));
        let mut together: Vec<Id> = both.map(|(member, _)| self.id(member)).collect();
        if mine.is_none() {
            together.push(self.id(name));
        }
        if let Some(named) = words.iter().find_map(|word| word.strip_prefix("together=")) {
            together = named.split(',').map(|name| self.id(name)).collect();
        }
        let new = members.iter().filter(|(member, _)| !has(&last, member));
        let gone = last.iter().filter(|(member, _)| !has(&members, member));
        Event::View {
            view,
            joined: new.map(|(member, _)| self.id(member)).collect(),
            left: gone
                .map(|(member, _)| Gone { id: self.id(member), reason: Reason::Failed })
                .collect(),
            together,
            members: members
                .iter()
                .map(|(member, active)| Member { id: self.id(member), active: *active })
                .collect(),
        }
    }

    fn cut(&self, words: &[&str]) -> (Counts, u64) {
        let mut cut = Vec::new();
        let mut extent = 0;
        for word in words {
            if let Some(positions) = word.strip_prefix('^') {
                extent = positions.parse().expect("positions");
            } else if let Some((name, count)) = word.split_once('=') {
                cut.push((self.id(name), count.parse().expect("a count")));
            }
        }
        (Counts::from_iter(cut), extent)
    }
}

fn statements(text: &str) -> impl Iterator<Item = Vec<&str>> {
    text.split(';')
        .map(|statement| statement.split_whitespace().collect::<Vec<_>>())
        .filter(|words| !words.is_empty())
}

fn list(words: &[&str]) -> List {
    let members = words.iter().filter(|word| !word.contains('='));
    members.map(|word| (word.trim_start_matches('+').to_owned(), !word.starts_with('+'))).collect()
}

fn class(word: &str) -> Class {
    match word {
        "fifo" => Class::Fifo,
        "causal" => Class::Causal,
        "total" => Class::Total,
        other => panic!("no class: {other}"),
    }
}
