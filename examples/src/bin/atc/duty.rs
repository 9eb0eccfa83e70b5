//! Who does what: pure functions of a view and of the data.

use std::collections::BTreeMap;

use crate::book::{PAIRS, Plan};
use crate::data::{Airport, Row};
use crate::zones::Minute;

/// The rank that owns an airport among this many active members.
pub(crate) fn owner(airport: Airport, active: usize) -> usize {
    airport.index() % active.max(1)
}

/// The rank that answers remarks: another than the owner, where there is one.
pub(crate) fn answerer(airport: Airport, active: usize) -> usize {
    (owner(airport, active) + 1) % active.max(1)
}

/// The rank that files one half of a pair: never the same for both halves where there are two
/// members, and not rank 0 where there are three: as the sequencer it would decide its half before
/// the other one could be on its way.
pub(crate) fn filer(half: u32, active: usize) -> usize {
    (1 + half as usize) % active.max(1)
}

/// The plan of a row.
pub(crate) fn plan(row: &Row) -> Plan {
    Plan {
        key: row.number,
        carrier: row.carrier.clone(),
        flight: row.flight,
        tail: row.tail.clone(),
        dest: row.dest.clone(),
        from: row.from,
        until: row.until,
    }
}

/// One half (0 or 1) of a conflicting pair: the two overlap and fly the same aircraft.
pub(crate) fn half_of_pair(airport: Airport, pair: u32, half: u32) -> Plan {
    let from = Minute::from(pair) * 600 + Minute::from(half) * 30;
    Plan {
        key: PAIRS + 2 * pair + half,
        carrier: "--".into(),
        flight: pair,
        tail: Some(format!("PAIR-{airport}-{pair}")),
        dest: "---".into(),
        from,
        until: from + 60,
    }
}

/// How many of `pairs` are to be filed once `done` of `rows` are done: they are spread evenly.
pub(crate) fn pairs_due(pairs: u32, done: u32, rows: u32) -> u32 {
    if done >= rows {
        // Also where an airport has no row at all.
        return pairs;
    }
    let share = u64::from(done) * u64::from(pairs + 1) / u64::from(rows.max(1));
    u32::try_from(share).unwrap_or(pairs).min(pairs)
}

/// Whether the owner remarks on a row.
pub(crate) fn remarkable(row: u32) -> bool {
    row % 8 == 3
}

/// What the remark on a row is called; its answer has the next number.
pub(crate) fn remark(row: u32) -> u64 {
    2 * u64::from(row)
}

/// What the remark on a joiner is called, by the view that it comes in with and by who says it.
pub(crate) fn welcome(view: u64, rank: usize) -> u64 {
    (1 << 40) + 2 * (view * 256 + rank as u64)
}

/// How many rows of each airport have to be refused, from the data alone: each named aircraft's
/// plans of one airport, in the order of the file, against those accepted before.
pub(crate) fn expected_refusals(rows: &[Row]) -> BTreeMap<Airport, Vec<u32>> {
    let mut refused: BTreeMap<Airport, Vec<u32>> = BTreeMap::new();
    let mut fleets: BTreeMap<(Airport, &str), Vec<&Row>> = BTreeMap::new();
    for row in rows {
        let Some(tail) = row.tail.as_deref() else {
            continue;
        };
        let accepted = fleets.entry((row.origin, tail)).or_default();
        if accepted.iter().any(|other| row.from < other.until && other.from < row.until) {
            refused.entry(row.origin).or_default().push(row.number);
        } else {
            accepted.push(row);
        }
    }
    refused
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::book::Book;
    use crate::data::Flights;

    #[test]
    fn duties_are_spread_and_taken_over() {
        let owners = |active| Airport::ALL.map(|airport| owner(airport, active));
        assert_eq!(owners(3), [0, 1, 2]);
        assert_eq!(owners(2), [0, 1, 0]);
        assert_eq!(owners(1), [0, 0, 0]);
        for airport in Airport::ALL {
            for active in 2..5 {
                assert_ne!(owner(airport, active), answerer(airport, active));
            }
        }
        let filers = |active| (filer(0, active), filer(1, active));
        assert_eq!([1, 2, 3, 4].map(filers), [(0, 0), (1, 0), (1, 2), (1, 2)]);
    }

    #[test]
    fn pairs_are_all_due_at_the_end_and_none_at_the_start() {
        assert_eq!(pairs_due(20, 0, 2000), 0);
        assert_eq!(pairs_due(20, 1000, 2000), 10);
        assert_eq!(pairs_due(20, 2000, 2000), 20);
        assert_eq!(pairs_due(20, 3, 3), 20);
        assert_eq!(pairs_due(0, 5, 10), 0);
    }

    #[test]
    fn remarks_and_their_answers_have_names_of_their_own() {
        let mut names: Vec<u64> = (0..3).map(remark).collect();
        names.extend((0..3).flat_map(|view| (0..3).map(move |rank| welcome(view, rank))));
        names.extend(names.clone().iter().map(|name| name + 1));
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
    }

    #[test]
    fn exactly_one_of_a_pair_wins() {
        let mut book = Book::default();
        for pair in 0..5 {
            assert!(book.file(&half_of_pair(Airport::Ewr, pair, pair % 2)).is_ok());
            assert!(book.file(&half_of_pair(Airport::Ewr, pair, 1 - pair % 2)).is_err());
        }
    }

    #[test]
    fn the_week_has_ten_conflicts_and_the_book_finds_the_same() {
        let path = crate::options::Options::default().flights;
        let flights = Flights::open(&path, None).unwrap();
        let expected = expected_refusals(&flights.rows);
        assert_eq!(expected[&Airport::Ewr], [308, 747, 835, 1780, 3055]);
        assert_eq!(expected[&Airport::Lga], [1784, 2694, 2695, 3611, 6097]);
        assert!(!expected.contains_key(&Airport::Jfk));
        for airport in Airport::ALL {
            let mut book = Book::default();
            let refused =
                flights.of(airport).into_iter().filter(|row| book.file(&plan(row)).is_err());
            let refused: Vec<u32> = refused.map(|row| row.number).collect();
            assert_eq!(refused, expected.get(&airport).cloned().unwrap_or_default());
        }
    }
}
