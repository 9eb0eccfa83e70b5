//! What the histories tell of one sector: takeovers, transfers, pairs.

use vsync_history::event::Event;

use super::lives::{self, Group, Life, name_of};
use super::order::Decided;
use super::week::Week;
use crate::book::{Book, PAIRS};
use crate::data::Airport;
use crate::duty;
use crate::parent::{NEWCOMER, Outcome};

/// How the newcomer got a sector.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Transfer {
    /// Size of the checkpoint.
    pub(crate) bytes: u64,
    /// From the donor's checkpoint to the newcomer's load.
    pub(crate) micros: u64,
    /// Updates delivered in views in which it was not active yet.
    pub(crate) deliveries: u64,
}

/// What is known of one sector.
#[derive(Debug)]
pub(crate) struct SectorFacts {
    /// Which.
    pub(crate) airport: Airport,
    /// The state, executed again.
    pub(crate) book: Book,
    /// All updates.
    pub(crate) updates: usize,
    /// View changes while the week was flown.
    pub(crate) changes: usize,
    /// Rows of the killed controller that others did.
    pub(crate) taken_over: usize,
    /// Of these, those that it had filed.
    pub(crate) half_done: usize,
    /// Pairs whose halves were filed by two controllers, neither knowing of the other.
    pub(crate) concurrent: usize,
    /// How the newcomer got it.
    pub(crate) transfer: Transfer,
}

/// How the newcomer got the sector.
pub(crate) fn transfer(group: &Group<'_>) -> Result<Transfer, String> {
    let mut loads = Vec::new();
    for life in group.lives_of(NEWCOMER) {
        for line in &life.lines {
            if let Event::Loaded { view, bytes, .. } = line.event {
                loads.push((life, view, bytes, life.began + line.t));
            }
        }
    }
    let [(life, label, bytes, loaded)] = loads.as_slice() else {
        return Err(format!("{} checkpoints loaded", loads.len()));
    };
    let taken = group.lives.iter().find_map(|donor| {
        donor.lines.iter().find_map(|line| match &line.event {
            Event::Checkpoint { view, r#for, .. } if view == label && r#for == life.id => {
                Some(donor.began + line.t)
            }
            _ => None,
        })
    });
    let taken = taken.ok_or("nobody wrote down that it took the checkpoint")?;
    let deliveries = deliveries_while_joining(life);
    // The two clocks are aligned by the wall clock of one host.
    Ok(Transfer { bytes: *bytes, micros: loaded.saturating_sub(taken), deliveries })
}

fn deliveries_while_joining(life: &Life<'_>) -> u64 {
    let mut active = false;
    let mut deliveries = 0;
    for line in &life.lines {
        match &line.event {
            Event::View { members, .. } => {
                active = members.iter().any(|member| member.id == *life.id && member.active);
            }
            Event::Deliver { count, .. } if !active => deliveries += count,
            _ => {}
        }
    }
    deliveries
}

/// Everything that is known of the sector.
pub(crate) fn facts(
    airport: Airport,
    group: &Group<'_>,
    week: Week,
    updates: usize,
    outcome: &Outcome,
    transfer: Result<Transfer, String>,
) -> SectorFacts {
    let name = |decided: &Decided| {
        let life = group.lives.iter().find(|life| life.who == decided.sender);
        life.map_or("", |life| name_of(life.id))
    };
    let failed = group.lost().into_iter().find(|(id, _)| name_of(id) == outcome.victim);
    let owned = failed.filter(|(id, (view, _))| {
        let before = group.views.get(&(view - 1)).map(|seat| seat.active()).unwrap_or_default();
        before.get(duty::owner(airport, before.len())) == Some(id)
    });
    let mut taken: Vec<u32> = Vec::new();
    if let Some((_, (view, _))) = owned {
        taken.extend(week.ended.iter().filter(|(_, end)| end.view >= view).map(|(row, _)| row));
    }
    let half_done = taken
        .iter()
        .filter(|row| week.filed.get(row).is_some_and(|decided| name(decided) == outcome.victim));
    let views = week.ended.values().map(|decided| decided.view);
    let (first, last) = (views.clone().min().unwrap_or(0), views.max().unwrap_or(0));
    SectorFacts {
        airport,
        updates,
        // Without a bound below: all rows may have ended in one view.
        changes: group.views.range(..=last).filter(|&(&number, _)| number > first).count(),
        taken_over: taken.len(),
        half_done: half_done.count(),
        concurrent: concurrent_pairs(group, &week),
        transfer: transfer.unwrap_or_default(),
        book: week.book,
    }
}

/// How many pairs were filed by two controllers that had not seen each other's half.
fn concurrent_pairs(group: &Group<'_>, week: &Week) -> usize {
    let life = |decided: &Decided| group.lives.iter().find(|life| life.who == decided.sender);
    let pairs = week.filed.range(PAIRS..).filter(|(key, _)| *key % 2 == 0);
    let concurrent = pairs.filter(|(key, one)| {
        let Some(two) = week.filed.get(&(*key + 1)) else {
            return false;
        };
        let (Some(sender), Some(rival)) = (life(one), life(two)) else {
            return false;
        };
        one.sender != two.sender
            && sent_unknowing(sender, one, two)
            && sent_unknowing(rival, two, one)
    });
    concurrent.count()
}

/// Whether a sender sent `own` before it delivered `other`.
fn sent_unknowing(sender: &Life<'_>, own: &Decided, other: &Decided) -> bool {
    for line in &sender.lines {
        match &line.event {
            Event::Send { view, seq, count, .. }
                if *view == own.view && (*seq..seq + count).contains(&own.seq) =>
            {
                return true;
            }
            Event::Deliver { view, sender, seq, count, .. }
                if *view == other.view
                    && (*seq..seq + count).contains(&other.seq)
                    && lives::who(sender) == Ok(other.sender) =>
            {
                return false;
            }
            _ => {}
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use vsync_history::event::Line;
    use vsync_history::{History, Log};

    use super::*;

    /// A history of one group from the lines that its members wrote, without what they share.
    fn history(lives: &[(&str, &[&str])]) -> History {
        let log = |(id, lines): &(&str, &[&str])| Log {
            name: (*id).to_owned(),
            lines: (0..)
                .zip(*lines)
                .map(|(t, line)| {
                    let head = format!(r#"{{"t":{t},"group":"g","generation":1,"node":"{id}","#);
                    serde_json::from_str::<Line>(&format!("{head}{line}}}")).expect("a line")
                })
                .collect(),
        };
        History { logs: lives.iter().map(log).collect() }
    }

    const NOBODY: &str = r#""together":[],"joined":[]"#;

    fn view(number: u64, members: &str, left: &str) -> String {
        let member = |id: &str| {
            let (id, active) = id.strip_suffix('?').map_or((id, true), |id| (id, false));
            format!(r#"{{"id":"{id}","active":{active}}}"#)
        };
        let members: Vec<String> = members.split(' ').map(member).collect();
        let gone = |id: &str| format!(r#"{{"id":"{id}","reason":"failed"}}"#);
        let left: Vec<String> = left.split(' ').filter(|id| !id.is_empty()).map(gone).collect();
        format!(
            r#""event":"view","view":{number},"members":[{}],{NOBODY},"left":[{}]"#,
            members.join(","),
            left.join(",")
        )
    }

    fn deliver(view: u64, sender: &str, seq: u64, count: u64) -> String {
        let what = r#""class":"fifo","level":"optimistic""#;
        let range = format!(r#""seq":{seq},"count":{count}"#);
        format!(r#""event":"deliver","view":{view},"sender":"{sender}",{range},{what}"#)
    }

    #[test]
    fn a_transfer_is_told_from_donor_and_newcomer() {
        let taken = r#""event":"checkpoint","view":2,"bytes":9,"hash":"0f","for":"delta#d@2""#;
        let loaded = r#""event":"loaded","view":2,"bytes":9,"hash":"0f","from":"a#a@1""#;
        let joining = view(2, "a#a@1 delta#d@2?", "");
        let active = view(3, "a#a@1 delta#d@2", "");
        let lines = [
            joining.as_str(),
            &deliver(2, "a#a@1", 0, 3),
            loaded,
            &joining,
            &deliver(2, "a#a@1", 0, 3),
            &active,
            &deliver(3, "a#a@1", 0, 5),
        ];
        let history = history(&[("a#a@1", &[&joining, taken]), ("delta#d@2", &lines[2..])]);
        let group = Group::of(&history, "g").unwrap();
        let transfer = transfer(&group).unwrap();
        assert_eq!((transfer.bytes, transfer.deliveries), (9, 3));
    }

    #[test]
    fn a_newcomer_that_loads_nothing_is_found_out() {
        let history = history(&[("delta#d@1", &[&view(1, "delta#d@1", "")])]);
        assert!(transfer(&Group::of(&history, "g").unwrap()).is_err());
    }

    #[test]
    fn who_failed_is_told_by_the_first_view_without_it() {
        let views =
            [view(1, "a#a@1 b#b@1", ""), view(2, "a#a@1", "b#b@1"), view(3, "a#a@1 c#c@3?", "")];
        let views: Vec<&str> = views.iter().map(String::as_str).collect();
        let history = history(&[("a#a@1", &views)]);
        let lost = Group::of(&history, "g").unwrap().lost();
        let lost: Vec<_> = lost.into_iter().map(|(id, (view, _))| (&**id, view)).collect();
        assert_eq!(lost, [("b#b@1", 2)]);
    }

    #[test]
    fn sent_before_the_other_was_delivered_is_concurrent() {
        let send = r#""event":"send","view":1,"seq":4,"count":2,"class":"total""#;
        let (one, other) = (view(1, "a#a@1 b#b@1", ""), deliver(1, "b#b@1", 0, 3));
        let own = Decided { view: 1, sender: (10, 1), seq: 5 };
        let rival = Decided { view: 1, sender: (11, 1), seq: 2 };
        for (lines, concurrent) in
            [([&one, send, &other], true), ([&one, other.as_str(), send], false)]
        {
            let history = history(&[("a#a@1", &lines)]);
            let group = Group::of(&history, "g").unwrap();
            assert_eq!(sent_unknowing(&group.lives[0], &own, &rival), concurrent);
        }
    }
}
