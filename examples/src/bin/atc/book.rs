//! What a sector knows: plans, movements, remarks. Plain Rust, replicated by `sector.rs`.
//!
//! Every entry has a key and is idempotent by it, so that a new owner may repeat what the old one
//! was about to do. Entries of the weaker orders commute: plans are decided by plans alone, never
//! by movements, because a total update that read what fifo updates write could be decided
//! differently at different members.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::slots::{Slots, Wish};
use crate::zones::Minute;

/// Keys from here on are the plans filed twice on purpose, not rows of the file.
pub(crate) const PAIRS: u32 = 1_000_000;

/// An intended flight.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Plan {
    /// The row's number, or beyond [`PAIRS`].
    pub(crate) key: u32,
    /// The airline's code.
    pub(crate) carrier: String,
    /// The flight's number.
    pub(crate) flight: u32,
    /// The aircraft; unnamed ones never conflict.
    pub(crate) tail: Option<String>,
    /// Where to.
    pub(crate) dest: String,
    /// Scheduled departure.
    pub(crate) from: Minute,
    /// Scheduled arrival; the plan does not occupy this minute any more.
    pub(crate) until: Minute,
}

/// Why a plan was refused: the aircraft is already filed for an overlapping time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Refused {
    /// The key of the plan in the way.
    pub(crate) by: u32,
}

/// Something said about a flight.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Remark {
    /// Names the remark.
    pub(crate) id: u64,
    /// The flight.
    pub(crate) about: u32,
    /// The remark that this one answers.
    pub(crate) answers: Option<u64>,
    /// What is said.
    pub(crate) text: String,
}

/// One update of a sector, as data: what members journal and what is executed again at the end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Entry {
    /// A plan is filed.
    Plan(Plan),
    /// A flight has departed.
    Depart {
        /// Which.
        key: u32,
        /// When.
        at: Minute,
    },
    /// A flight has arrived.
    Arrive {
        /// Which.
        key: u32,
        /// When.
        at: Minute,
        /// Minutes late, where known.
        delay: Option<i32>,
    },
    /// A flight will not depart, or not arrive.
    Cancel {
        /// Which.
        key: u32,
    },
    /// Something is said.
    Remark(Remark),
    /// A flight from outside gets its time.
    TakeSlot(Wish),
    /// That time is free again.
    ReleaseSlot {
        /// Whose it was.
        key: u32,
    },
}

/// How a flight ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum End {
    /// At its destination.
    Arrived {
        /// When.
        at: Minute,
        /// Minutes late, where known.
        delay: Option<i32>,
    },
    /// It never departed, or never arrived.
    Cancelled,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Movement {
    departed: Option<Minute>,
    end: Option<End>,
}

/// What is still to be done for a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) enum Stage {
    /// Everything.
    New,
    /// It is filed and accepted.
    Filed,
    /// It has departed.
    Departed,
    /// Nothing.
    Done,
}

/// The counts that the end of a run is judged by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Tally {
    /// Rows accepted and not cancelled.
    pub(crate) accepted: u32,
    /// Rows refused.
    pub(crate) refused: u32,
    /// Rows accepted and cancelled.
    pub(crate) cancelled: u32,
    /// Plans of pairs that won.
    pub(crate) pairs_won: u32,
    /// Plans of pairs that lost.
    pub(crate) pairs_lost: u32,
    /// Remarks that are no answers.
    pub(crate) remarks: u32,
    /// Answers.
    pub(crate) answers: u32,
    /// Answers that were applied before what they answer: never, or the causal order is broken.
    pub(crate) early_answers: u32,
    /// Entries that repeated what was already there, and changed nothing.
    pub(crate) repeated: u32,
}

/// A flight as a query shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Flight {
    /// The row.
    pub(crate) key: u32,
    /// Airline and number.
    pub(crate) name: String,
    /// Where to.
    pub(crate) dest: String,
    /// Scheduled departure.
    pub(crate) from: Minute,
    /// Minutes late at the arrival, where it has arrived and this is known.
    pub(crate) delay: Option<i32>,
    /// The aircraft.
    pub(crate) tail: Option<String>,
}

/// The state of one sector.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Book {
    plans: BTreeMap<u32, Plan>,
    refused: BTreeMap<u32, Refused>,
    /// Per aircraft the accepted plans by their start; they never overlap.
    aircraft: BTreeMap<String, BTreeMap<Minute, (Minute, u32)>>,
    moves: BTreeMap<u32, Movement>,
    remarks: BTreeMap<u64, Remark>,
    /// Rows that are done: refused, arrived or cancelled.
    done: u32,
    /// Plans of pairs that are decided.
    pairs: u32,
    early_answers: u32,
    repeated: u32,
    /// Of flights from outside.
    pub(crate) slots: Slots,
}

impl Book {
    /// Decides a plan, once per key.
    pub(crate) fn file(&mut self, plan: &Plan) -> Result<u32, Refused> {
        if let Some(refused) = self.refused.get(&plan.key) {
            self.repeated += 1;
            return Err(*refused);
        }
        if self.plans.contains_key(&plan.key) {
            self.repeated += 1;
            return Ok(plan.key);
        }
        if let Some(tail) = &plan.tail {
            let times = self.aircraft.entry(tail.clone()).or_default();
            if let Some(by) = in_the_way(times, plan.from, plan.until) {
                self.refused.insert(plan.key, Refused { by });
                self.count(plan.key, 1);
                return Err(Refused { by });
            }
            times.insert(plan.from, (plan.until, plan.key));
        }
        self.plans.insert(plan.key, plan.clone());
        self.count(plan.key, 0);
        Ok(plan.key)
    }

    fn count(&mut self, key: u32, rows: u32) {
        if key < PAIRS { self.done += rows } else { self.pairs += 1 }
    }

    /// A flight departs.
    pub(crate) fn depart(&mut self, key: u32, at: Minute) {
        let departed = &mut self.moves.entry(key).or_default().departed;
        self.repeated += u32::from(departed.is_some());
        departed.get_or_insert(at);
    }

    /// A flight arrives.
    pub(crate) fn arrive(&mut self, key: u32, at: Minute, delay: Option<i32>) {
        self.end(key, End::Arrived { at, delay });
    }

    /// A flight is cancelled. Its time stays filed.
    pub(crate) fn cancel(&mut self, key: u32) {
        self.end(key, End::Cancelled);
    }

    fn end(&mut self, key: u32, how: End) {
        let end = &mut self.moves.entry(key).or_default().end;
        match end {
            Some(_) => self.repeated += 1,
            None => self.done += 1,
        }
        end.get_or_insert(how);
    }

    /// Something is said.
    pub(crate) fn remark(&mut self, remark: &Remark) {
        if self.remarks.contains_key(&remark.id) {
            self.repeated += 1;
            return;
        }
        if remark.answers.is_some_and(|asked| !self.remarks.contains_key(&asked)) {
            self.early_answers += 1;
        }
        self.remarks.insert(remark.id, remark.clone());
    }

    /// Executes an entry; its result is in the state.
    pub(crate) fn execute(&mut self, entry: &Entry) {
        match entry {
            Entry::Plan(plan) => drop(self.file(plan)),
            Entry::Depart { key, at } => self.depart(*key, *at),
            Entry::Arrive { key, at, delay } => self.arrive(*key, *at, *delay),
            Entry::Cancel { key } => self.cancel(*key),
            Entry::Remark(remark) => self.remark(remark),
            Entry::TakeSlot(wish) => drop(self.slots.take(wish)),
            Entry::ReleaseSlot { key } => drop(self.slots.release(*key)),
        }
    }

    /// What is still to be done for a row.
    pub(crate) fn stage(&self, key: u32) -> Stage {
        let movement = self.moves.get(&key).copied().unwrap_or_default();
        if self.refused.contains_key(&key) || movement.end.is_some() {
            Stage::Done
        } else if movement.departed.is_some() {
            Stage::Departed
        } else if self.plans.contains_key(&key) {
            Stage::Filed
        } else {
            Stage::New
        }
    }

    /// How many rows are done.
    pub(crate) fn rows_done(&self) -> u32 {
        self.done
    }

    /// How many plans of pairs are decided.
    pub(crate) fn pairs_filed(&self) -> u32 {
        self.pairs
    }

    /// Which plans of the first `pairs` pairs are not decided.
    pub(crate) fn pairs_missing(&self, pairs: u32) -> Vec<u32> {
        let decided = |key: &u32| self.plans.contains_key(key) || self.refused.contains_key(key);
        (PAIRS..PAIRS + 2 * pairs).filter(|key| !decided(key)).collect()
    }

    /// The remarks that nobody has answered, with the flights they are about.
    pub(crate) fn unanswered(&self) -> Vec<(u64, u32)> {
        let answered: BTreeSet<u64> =
            self.remarks.values().filter_map(|remark| remark.answers).collect();
        self.remarks
            .values()
            .filter(|remark| remark.answers.is_none() && !answered.contains(&remark.id))
            .map(|remark| (remark.id, remark.about))
            .collect()
    }

    /// The rows that were refused.
    pub(crate) fn refused_rows(&self) -> Vec<u32> {
        self.refused.range(..PAIRS).map(|(key, _)| *key).collect()
    }

    /// The rows that were accepted and cancelled.
    pub(crate) fn cancelled_rows(&self) -> Vec<u32> {
        let cancelled =
            self.moves.iter().filter(|(_, movement)| movement.end == Some(End::Cancelled));
        cancelled.map(|(key, _)| *key).collect()
    }

    /// The counts.
    pub(crate) fn tally(&self) -> Tally {
        let cancelled =
            self.moves.values().filter(|movement| movement.end == Some(End::Cancelled)).count();
        let answers = self.remarks.values().filter(|remark| remark.answers.is_some()).count();
        Tally {
            accepted: (self.plans.range(..PAIRS).count() - cancelled) as u32,
            refused: self.refused.range(..PAIRS).count() as u32,
            cancelled: cancelled as u32,
            pairs_won: self.plans.range(PAIRS..).count() as u32,
            pairs_lost: self.refused.range(PAIRS..).count() as u32,
            remarks: (self.remarks.len() - answers) as u32,
            answers: answers as u32,
            early_answers: self.early_answers,
            repeated: self.repeated,
        }
    }

    fn flight(&self, plan: &Plan) -> Flight {
        let delay = match self.moves.get(&plan.key).and_then(|movement| movement.end) {
            Some(End::Arrived { delay, .. }) => delay,
            _ => None,
        };
        Flight {
            key: plan.key,
            name: format!("{}{}", plan.carrier, plan.flight),
            dest: plan.dest.clone(),
            from: plan.from,
            delay,
            tail: plan.tail.clone(),
        }
    }

    /// The accepted flights to an airport, by row.
    pub(crate) fn flights_to(&self, dest: &str) -> Vec<Flight> {
        let rows = self.plans.range(..PAIRS).map(|(_, plan)| plan);
        rows.filter(|plan| plan.dest == dest).map(|plan| self.flight(plan)).collect()
    }

    /// How many rows there are to look through for delays.
    pub(crate) fn rows(&self) -> usize {
        self.plans.range(..PAIRS).count()
    }

    /// The flights that arrived latest, the worst first, of some of these rows.
    pub(crate) fn most_delayed(&self, rows: Range<usize>, count: usize) -> Vec<Flight> {
        let plans = self.plans.range(..PAIRS).skip(rows.start).take(rows.len());
        let flights = plans.map(|(_, plan)| self.flight(plan));
        let late = flights.filter(|flight| flight.delay.is_some()).collect();
        worst_first(late, count)
    }

    /// Arrival delays per airline: how many are known, and their sum.
    pub(crate) fn delays(&self) -> BTreeMap<String, (u32, i64)> {
        let mut sums = BTreeMap::new();
        for (key, movement) in self.moves.range(..PAIRS) {
            let (Some(plan), Some(End::Arrived { delay: Some(delay), .. })) =
                (self.plans.get(key), movement.end)
            else {
                continue;
            };
            let (count, sum) = sums.entry(plan.carrier.clone()).or_insert((0, 0));
            *count += 1;
            *sum += i64::from(delay);
        }
        sums
    }
}

/// The plan that overlaps `from..until`, if any: only the one that starts last before the end can,
/// as accepted plans of an aircraft never overlap. An empty interval overlaps nothing.
fn in_the_way(times: &BTreeMap<Minute, (Minute, u32)>, from: Minute, until: Minute) -> Option<u32> {
    let (_, (end, key)) = times.range(..until).next_back()?;
    (*end > from).then_some(*key)
}

/// So many of these flights, by the delay of their arrival.
pub(crate) fn worst_first(mut flights: Vec<Flight>, count: usize) -> Vec<Flight> {
    flights.sort_by_key(|flight| (std::cmp::Reverse(flight.delay), flight.key));
    flights.truncate(count);
    flights
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(key: u32, tail: Option<&str>, from: Minute, until: Minute) -> Plan {
        Plan {
            key,
            carrier: "UA".into(),
            flight: key,
            tail: tail.map(str::to_owned),
            dest: "IAH".into(),
            from,
            until,
        }
    }

    #[test]
    fn overlap_is_half_open() {
        let mut book = Book::default();
        assert_eq!(book.file(&plan(1, Some("N1"), 100, 200)), Ok(1));
        assert_eq!(book.file(&plan(2, Some("N1"), 200, 300)), Ok(2));
        assert_eq!(book.file(&plan(3, Some("N1"), 50, 100)), Ok(3));
        assert_eq!(book.file(&plan(4, Some("N1"), 199, 200)), Err(Refused { by: 1 }));
        assert_eq!(book.file(&plan(5, Some("N1"), 0, 1000)), Err(Refused { by: 2 }));
        assert_eq!(book.file(&plan(6, Some("N1"), 150, 160)), Err(Refused { by: 1 }));
        assert_eq!(book.file(&plan(7, Some("N2"), 150, 160)), Ok(7));
    }

    #[test]
    fn unnamed_aircraft_never_conflict() {
        let mut book = Book::default();
        assert_eq!(book.file(&plan(1, None, 100, 200)), Ok(1));
        assert_eq!(book.file(&plan(2, None, 100, 200)), Ok(2));
    }

    #[test]
    fn everything_is_idempotent_by_key() {
        let mut book = Book::default();
        assert_eq!(book.file(&plan(1, Some("N1"), 100, 200)), Ok(1));
        assert_eq!(book.file(&plan(2, Some("N1"), 150, 250)), Err(Refused { by: 1 }));
        book.depart(1, 101);
        book.arrive(1, 205, Some(5));
        let before = Book { repeated: 0, ..book.clone() };
        assert_eq!(book.file(&plan(1, Some("N1"), 100, 200)), Ok(1));
        assert_eq!(book.file(&plan(2, Some("N1"), 150, 250)), Err(Refused { by: 1 }));
        book.depart(1, 101);
        book.arrive(1, 205, Some(5));
        book.cancel(1);
        assert_eq!(book.tally().repeated, 5);
        assert_eq!(Book { repeated: 0, ..book }, before);
    }

    #[test]
    fn movements_commute_with_plans() {
        let entries = [
            Entry::Depart { key: 1, at: 101 },
            Entry::Arrive { key: 1, at: 205, delay: Some(5) },
            Entry::Plan(plan(1, Some("N1"), 100, 200)),
            Entry::Cancel { key: 2 },
            Entry::Plan(plan(2, Some("N2"), 100, 200)),
        ];
        let (mut forth, mut back) = (Book::default(), Book::default());
        entries.iter().for_each(|entry| forth.execute(entry));
        // The plans keep their order: that is what total order gives.
        [4, 3, 1, 0, 2].into_iter().for_each(|index| back.execute(&entries[index]));
        assert_eq!(forth, back);
        assert_eq!(forth.rows_done(), 2);
    }

    #[test]
    fn stages_tell_a_new_owner_where_to_go_on() {
        let mut book = Book::default();
        assert_eq!(book.stage(1), Stage::New);
        book.file(&plan(1, Some("N1"), 100, 200)).unwrap();
        assert_eq!(book.stage(1), Stage::Filed);
        book.depart(1, 100);
        assert_eq!(book.stage(1), Stage::Departed);
        book.arrive(1, 200, None);
        assert_eq!(book.stage(1), Stage::Done);
        book.file(&plan(2, Some("N1"), 150, 160)).unwrap_err();
        assert_eq!(book.stage(2), Stage::Done);
        book.file(&plan(3, None, 150, 160)).unwrap();
        book.cancel(3);
        assert_eq!(book.stage(3), Stage::Done);
        let tally = book.tally();
        assert_eq!((tally.accepted, tally.refused, tally.cancelled), (1, 1, 1));
        assert_eq!(book.rows_done(), 3);
    }

    #[test]
    fn an_answer_before_its_question_is_counted() {
        let remark = |id, answers| Remark { id, about: 1, answers, text: "?".into() };
        let mut book = Book::default();
        book.remark(&remark(1, None));
        assert_eq!(book.unanswered(), [(1, 1)]);
        book.remark(&remark(2, Some(1)));
        assert_eq!((book.tally().early_answers, book.unanswered()), (0, vec![]));
        book.remark(&remark(4, Some(3)));
        assert_eq!(book.tally().early_answers, 1);
    }

    #[test]
    fn queries_leave_the_pairs_out() {
        let mut book = Book::default();
        for key in [3, 1, PAIRS] {
            book.file(&plan(key, None, 100, 200)).unwrap();
        }
        book.arrive(3, 230, Some(30));
        book.arrive(1, 250, Some(50));
        let keys = |flights: Vec<Flight>| flights.iter().map(|f| f.key).collect::<Vec<_>>();
        assert_eq!(keys(book.flights_to("IAH")), [1, 3]);
        assert!(book.flights_to("MIA").is_empty());
        assert_eq!(keys(book.most_delayed(0..book.rows(), 1)), [1]);
        assert_eq!(book.delays()["UA"], (2, 80));
        assert_eq!((book.pairs_filed(), book.tally().pairs_won), (1, 1));
        assert_eq!(book.pairs_missing(2), [PAIRS + 1, PAIRS + 2, PAIRS + 3]);
    }
}
