//! What the process that is no member was told, against what the members have decided.

use super::facts::SectorFacts;
use super::week::Week;
use crate::data::Airport;
use crate::slots::SlotNews;
use crate::words::{DESTINATION, LATEST, Look, Visit};

/// Each wish took effect once, and with what was answered; what was given back is free.
pub(crate) fn answered(airport: Airport, week: &Week, visit: &Visit) -> Result<String, String> {
    let here = visit.slots.iter().filter(|(it, ..)| *it == airport);
    let mut told: Vec<_> = here.map(|(_, key, at)| (*key, *at)).collect();
    let mut decided = Vec::new();
    for news in &week.news {
        if let SlotNews::Taken { key, at } = *news {
            decided.push((key, at));
        }
    }
    told.sort_unstable();
    decided.sort_unstable();
    if told != decided {
        return Err(format!("told were {told:?}, decided {decided:?}"));
    }
    if week.book.slots.twice() > 0 {
        return Err(format!("{} were carried out again", week.book.slots.twice()));
    }
    let mut released = visit.released.iter().filter(|(it, _)| *it == airport);
    if let Some((_, key)) = released.find(|(_, key)| week.book.slots.of(*key).is_some()) {
        return Err(format!("{key} was given back and is taken"));
    }
    Ok(format!("{} slots", told.len()))
}

/// The news that were read are those that were decided.
pub(crate) fn read(airport: Airport, week: &Week, visit: &Visit) -> Result<String, String> {
    let read = visit.news.get(airport.index()).map_or(&[][..], Vec::as_slice);
    match read.iter().zip(&week.news).position(|(read, decided)| read != decided) {
        Some(at) => Err(format!("{:?} instead of {:?}, number {at}", read[at], week.news[at])),
        None if read.len() == week.news.len() => Ok(format!("{} news", read.len())),
        None => Err(format!("{} were read of {}", read.len(), week.news.len())),
    }
}

/// The state at the end.
pub(crate) fn saw(sectors: &[SectorFacts], seen: &Look) -> Result<String, String> {
    let mut look = Look::default();
    for sector in sectors {
        look.bound.extend(sector.book.flights_to(DESTINATION));
        look.late.extend(sector.book.most_delayed(0..sector.book.rows(), LATEST as usize));
    }
    let look = look.merged();
    if *seen != look {
        let (there, here) = (seen.bound.len(), look.bound.len());
        return Err(format!("{there} flights to {DESTINATION}, not {here}, or other delays"));
    }
    Ok(format!("{} flights to {DESTINATION}", look.bound.len()))
}
