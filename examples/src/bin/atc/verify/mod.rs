//! The judgement: did the run keep what was promised? Everything is taken from what the processes
//! left behind, and compared with the data.

mod facts;
mod journals;
mod lives;
mod order;
mod visitor;
mod week;

use std::collections::BTreeMap;

use vsync_history::History;
use vsync_history::event::{Event, Reason};

pub(crate) use self::facts::SectorFacts;
use self::facts::{facts, transfer};
use self::journals::Contents;
use self::lives::{Group, name_of};
use self::week::Week;
use crate::book::Book;
use crate::controller::Places;
use crate::data::{Airport, Flights};
use crate::duty;
use crate::options::Options;
use crate::parent::Outcome;
use crate::sector::{self, Sector};

/// One thing that has to hold: what, and why it does or does not.
#[derive(Debug)]
pub(crate) struct Check {
    /// What.
    pub(crate) what: String,
    /// What was found.
    pub(crate) found: Result<String, String>,
}

/// What the run came to.
#[derive(Debug)]
pub(crate) struct Judgement {
    /// What had to hold.
    pub(crate) checks: Vec<Check>,
    /// The sectors, in the order of `Airport::ALL`.
    pub(crate) sectors: Vec<SectorFacts>,
}

/// Judges a run.
pub(crate) fn judge(
    options: &Options,
    places: &Places,
    flights: &Flights,
    outcome: &Outcome,
) -> Result<Judgement, String> {
    let history = History::read_dir(places.histories()).map_err(|error| error.to_string())?;
    let mut checks =
        vec![Check { what: "histories keep every property".into(), found: clean(&history) }];
    let expected = duty::expected_refusals(&flights.rows);
    let mut sectors = Vec::new();
    for airport in Airport::ALL {
        let group = Group::of(&history, &airport.group())?;
        let mut add = |what: &str, found| {
            checks.push(Check { what: format!("{airport}: {what}"), found });
        };
        let names: Vec<&str> = group.lives.iter().map(|life| name_of(life.id)).collect();
        let mut contents = Contents::default();
        for name in &names {
            contents.add(&places.journal(name, airport))?;
        }
        let order = order::decided(&group)?;
        let week = Week::execute(&order, &contents);
        let refused = expected.get(&airport).cloned().unwrap_or_default();
        add("one state everywhere, the re-executed one", same_state(airport, &week, outcome));
        add("every row exactly once", each_row(airport, flights, &week.book, &refused));
        add("one of each pair won", pairs(options.pairs, &week.book));
        add("remarks before their answers", remarks(&week.book));
        add("only what was submitted, once each", submitted(airport, places, &group, &week));
        let visit = &outcome.visit;
        add("each wish of the visitor answered once", visitor::answered(airport, &week, visit));
        add("all news read, in order", visitor::read(airport, &week, visit));
        add("one member failed", one_failed(&group, outcome.victim));
        let transfer = transfer(&group);
        add(
            "one checkpoint loaded by the newcomer",
            transfer.clone().map(|transfer| {
                format!("{} bytes, {} deliveries meanwhile", transfer.bytes, transfer.deliveries)
            }),
        );
        sectors.push(facts(airport, &group, week, order.len(), outcome, transfer));
    }
    let sum = |of: fn(&SectorFacts) -> usize| sectors.iter().map(of).sum::<usize>();
    let mut above_zero = |what: &str, count: usize| {
        let found = if count > 0 { Ok(count.to_string()) } else { Err("none".into()) };
        checks.push(Check { what: what.into(), found });
    };
    above_zero("rows taken over from the dead", sum(|sector| sector.taken_over));
    // A short run may be through before the newcomer's state is.
    if options.rows.is_none() {
        above_zero("deliveries during transfers", sum(|s| s.transfer.deliveries as usize));
    }
    if options.rows.is_none() && options.pairs > 0 {
        above_zero("pairs filed concurrently", sum(|sector| sector.concurrent));
    }
    above_zero("requests that the visitor asked twice", outcome.visit.asked_again as usize);
    above_zero("readings resumed behind a cursor", outcome.visit.resumed as usize);
    let what = "the visitor saw the final state".into();
    checks.push(Check { what, found: visitor::saw(&sectors, &outcome.look) });
    Ok(Judgement { checks, sectors })
}

fn clean(history: &History) -> Result<String, String> {
    let violations = vsync_history::check(history);
    let lines: usize = history.logs.iter().map(|log| log.lines.len()).sum();
    match violations.as_slice() {
        [] => Ok(format!("{} files, {lines} events", history.logs.len())),
        [first, ..] => Err(format!("{} violations, the first: {first}", violations.len())),
    }
}

fn same_state(airport: Airport, week: &Week, outcome: &Outcome) -> Result<String, String> {
    let again = sector::digest(&Sector::from_book(week.book.clone()))?;
    for (name, digests) in &outcome.digests {
        let Some(there) = digests.get(airport.index()) else {
            return Err(format!("{name} has no digest"));
        };
        if there.digest != again {
            let (here, there) = (week.book.tally(), there.tally);
            return Err(format!("{name} has {there:?}, executed again it is {here:?}"));
        }
    }
    Ok(format!("{again:016x} at {} members", outcome.digests.len()))
}

fn each_row(
    airport: Airport,
    flights: &Flights,
    book: &Book,
    refused: &[u32],
) -> Result<String, String> {
    let rows = flights.of(airport);
    let tally = book.tally();
    if book.refused_rows() != refused {
        return Err(format!("refused {:?}, expected {refused:?}", book.refused_rows()));
    }
    let grounded = rows.iter().filter(|row| row.arrived.is_none()).map(|row| row.number);
    let grounded: Vec<u32> = grounded.filter(|row| !refused.contains(row)).collect();
    if book.cancelled_rows() != grounded {
        return Err(format!("cancelled {:?}, expected {grounded:?}", book.cancelled_rows()));
    }
    let (accepted, refused, cancelled) = (tally.accepted, tally.refused, tally.cancelled);
    let sum = format!("{accepted} accepted + {refused} refused + {cancelled} cancelled");
    let done = book.rows_done() as usize;
    if (accepted + refused + cancelled) as usize != rows.len() || done != rows.len() {
        return Err(format!("{sum}, {done} done, of {} rows", rows.len()));
    }
    Ok(format!("{sum} = {}", rows.len()))
}

fn pairs(wanted: u32, book: &Book) -> Result<String, String> {
    let tally = book.tally();
    // Each pair's aircraft flies nothing else, so as many winners as pairs is one of each.
    let found = format!("{} won, {} lost of {wanted} pairs", tally.pairs_won, tally.pairs_lost);
    let right = tally.pairs_won == wanted && tally.pairs_lost == wanted;
    if right { Ok(found) } else { Err(found) }
}

fn remarks(book: &Book) -> Result<String, String> {
    let tally = book.tally();
    let found = format!(
        "{} remarks, {} answers, {} too early",
        tally.remarks, tally.answers, tally.early_answers
    );
    let right = tally.early_answers == 0 && tally.answers == tally.remarks;
    if right { Ok(found) } else { Err(found) }
}

/// Every update that took effect is one that its sender wrote down before it submitted it.
fn submitted(
    airport: Airport,
    places: &Places,
    group: &Group<'_>,
    week: &Week,
) -> Result<String, String> {
    let mut logs: BTreeMap<&str, BTreeMap<String, u32>> = BTreeMap::new();
    let mut count = 0;
    for (sender, entries) in &week.of_sender {
        let life = group.lives.iter().find(|life| life.who == *sender);
        let name = life.map(|life| name_of(life.id)).ok_or(format!("nobody is {sender:x?}"))?;
        if !logs.contains_key(name) {
            logs.insert(name, journals::submissions(&places.submitted(name, airport))?);
        }
        let Some(log) = logs.get_mut(name) else {
            continue;
        };
        for entry in entries {
            match log.get_mut(&journals::text(entry)?) {
                Some(left) if *left > 0 => *left -= 1,
                _ => return Err(format!("{name} did not submit {entry:?} that often")),
            }
            count += 1;
        }
    }
    Ok(format!("{count} updates, {} repeated in vain", week.book.tally().repeated))
}

fn one_failed(group: &Group<'_>, victim: &str) -> Result<String, String> {
    let excluded = group
        .lives
        .iter()
        .find(|life| life.lines.iter().any(|line| matches!(line.event, Event::Excluded { .. })));
    if let Some(life) = excluded {
        return Err(format!("{} was excluded", life.id));
    }
    let lost: Vec<_> = group.lost().into_iter().collect();
    match lost.as_slice() {
        [(id, (view, Reason::Failed))] if name_of(id) == victim => Ok(format!("{id}, view {view}")),
        _ => Err(format!("lost are {lost:?}, killed was {victim}")),
    }
}
