//! What is printed at the end.

use std::collections::BTreeMap;

use crate::data::{self, Flights};
use crate::parent::{NEWCOMER, Outcome};
use crate::verify::{Judgement, SectorFacts};
use crate::words::DESTINATION;
use crate::zones;

/// Prints the summary; whether everything holds.
pub(crate) fn print(
    flights: &Flights,
    outcome: &Outcome,
    judgement: &Judgement,
) -> Result<bool, String> {
    sectors(judgement, outcome);
    airlines(judgement)?;
    client(outcome);
    if !flights.malformed.is_empty() {
        println!("\n{} malformed rows skipped", flights.malformed.len());
    }
    println!();
    for check in &judgement.checks {
        match &check.found {
            Ok(found) => println!("ok    {}: {found}", check.what),
            Err(found) => println!("WRONG {}: {found}", check.what),
        }
    }
    let wrong = judgement.checks.iter().filter(|check| check.found.is_err()).count();
    match wrong {
        0 => println!("\nall {} checks hold", judgement.checks.len()),
        wrong => println!("\n{wrong} of {} checks do not hold", judgement.checks.len()),
    }
    Ok(wrong == 0)
}

fn sectors(judgement: &Judgement, outcome: &Outcome) {
    type Column = (&'static str, fn(&SectorFacts) -> u64);
    const ROWS: [Column; 12] = [
        ("flights", |s| u64::from(s.book.rows_done())),
        ("accepted", |s| u64::from(s.book.tally().accepted)),
        ("refused", |s| u64::from(s.book.tally().refused)),
        ("cancelled", |s| u64::from(s.book.tally().cancelled)),
        ("pairs, one won each", |s| u64::from(s.book.tally().pairs_won)),
        ("filed concurrently", |s| s.concurrent as u64),
        ("remarks answered", |s| u64::from(s.book.tally().answers)),
        ("rows taken over", |s| s.taken_over as u64),
        ("half done before", |s| s.half_done as u64),
        ("view changes", |s| s.changes as u64),
        ("transfer, bytes", |s| s.transfer.bytes),
        ("transfer, us", |s| s.transfer.micros),
    ];
    print!("\n{:<22}", "");
    for sector in &judgement.sectors {
        print!("{:>9}", sector.airport.code());
    }
    println!("{:>9}", "all");
    for (name, of) in ROWS {
        print!("{name:<22}");
        for sector in &judgement.sectors {
            print!("{:>9}", of(sector));
        }
        println!("{:>9}", judgement.sectors.iter().map(of).sum::<u64>());
    }
    let updates: usize = judgement.sectors.iter().map(|sector| sector.updates).sum();
    let seconds = outcome.flown.as_secs_f64();
    println!(
        "\n{updates} updates in {seconds:.2} s: {:.0} updates/s; {} was killed, {NEWCOMER} came",
        updates as f64 / seconds,
        outcome.victim
    );
}

fn airlines(judgement: &Judgement) -> Result<(), String> {
    let names = data::airlines()?;
    let mut delays: BTreeMap<String, (u32, i64)> = BTreeMap::new();
    for sector in &judgement.sectors {
        for (carrier, (count, sum)) in sector.book.delays() {
            let all = delays.entry(carrier).or_default();
            *all = (all.0 + count, all.1 + sum);
        }
    }
    println!("\nmean arrival delay    flights  minutes");
    for (carrier, (count, sum)) in &delays {
        let name = names.get(carrier).map_or(carrier.as_str(), String::as_str);
        let name: String = name.chars().take(22).collect();
        println!("{name:<22}{count:>7}{:>9.1}", *sum as f64 / f64::from(*count));
    }
    Ok(())
}

fn client(outcome: &Outcome) {
    let look = &outcome.look;
    println!(
        "\nthe visitor saw {:?} flights to {DESTINATION} on the way, {} at the end;",
        outcome.looks,
        look.bound.len()
    );
    let visit = &outcome.visit;
    let news: usize = visit.news.iter().map(Vec::len).sum();
    println!(
        "it had {} slots allotted and gave {} back, and read {news} news of that",
        visit.slots.len(),
        visit.released.len()
    );
    println!("the latest:");
    for flight in &look.late {
        println!(
            "  {:<7} to {}, {}: {:>5} minutes late ({})",
            flight.name,
            flight.dest,
            zones::show(flight.from),
            flight.delay.unwrap_or(0),
            flight.tail.as_deref().unwrap_or("unnamed")
        );
    }
}
