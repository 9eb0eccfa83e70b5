//! Local times of airports as minutes of UTC.

use std::collections::BTreeMap;
use std::io::Read;

/// Minutes since the Unix epoch, in UTC.
pub(crate) type Minute = i64;

/// What an airport that the list does not name is taken to be at: the Atlantic time of the
/// Caribbean airports that the list leaves out (SJU, BQN, STT, PSE).
const UNLISTED: i64 = -4 * 60;

/// Offsets from UTC of the airports, in minutes.
///
/// The offset is the list's `tz` column as it stands: its `dst` column says who has daylight
/// saving in summer, and the flights are of January.
#[derive(Debug, Default)]
pub(crate) struct Zones {
    offsets: BTreeMap<String, i64>,
}

impl Zones {
    /// Reads the list of airports: columns `faa` and `tz`.
    pub(crate) fn read(source: impl Read) -> Result<Zones, String> {
        let mut reader = csv::Reader::from_reader(source);
        let headers = reader.headers().map_err(|error| format!("airports: {error}"))?.clone();
        let column = |name: &str| {
            headers.iter().position(|header| header == name).ok_or(format!("no column {name:?}"))
        };
        let (code, offset) = (column("faa")?, column("tz")?);
        let mut offsets = BTreeMap::new();
        for record in reader.records() {
            let record = record.map_err(|error| format!("airports: {error}"))?;
            let hours: f64 = record[offset].parse().map_err(|_| {
                let line = record.position().map_or(0, csv::Position::line);
                format!("airports: line {line}: time zone {:?} is not a number", &record[offset])
            })?;
            offsets.insert(record[code].to_owned(), (hours * 60.0) as i64);
        }
        Ok(Zones { offsets })
    }

    /// Minutes to add to UTC for the local time at an airport.
    pub(crate) fn offset(&self, airport: &str) -> i64 {
        self.offsets.get(airport).copied().unwrap_or(UNLISTED)
    }

    /// The moment at which it is `clock` (minutes since midnight) at an airport on a day.
    pub(crate) fn utc(&self, airport: &str, day: i64, clock: i64) -> Minute {
        day * DAY + clock - self.offset(airport)
    }

    /// The first moment after `after` at which it is `clock` at an airport.
    pub(crate) fn next_utc(&self, airport: &str, after: Minute, clock: i64) -> Minute {
        let today = (after + self.offset(airport)).div_euclid(DAY);
        let moment = self.utc(airport, today, clock);
        if moment > after { moment } else { moment + DAY }
    }
}

/// Minutes of a day.
pub(crate) const DAY: i64 = 24 * 60;

/// Days from the Unix epoch to a date; `None` where there is no such date.
pub(crate) fn day_number(year: i64, month: i64, day: i64) -> Option<i64> {
    let leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    let months = [31, if leap { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let month = usize::try_from(month).ok().filter(|month| (1..=12).contains(month))?;
    if !(1970..=9999).contains(&year) || !(1..=months[month - 1]).contains(&day) {
        return None;
    }
    let before = year - 1;
    let years = 365 * (year - 1970) + (before / 4 - before / 100 + before / 400) - 477;
    Some(years + months[..month - 1].iter().sum::<i64>() + day - 1)
}

/// Minutes since midnight of a time written `HMM`; `2400` is the end of the day.
pub(crate) fn clock(hhmm: i64) -> Option<i64> {
    let (hours, minutes) = (hhmm / 100, hhmm % 100);
    let valid = hhmm >= 0 && minutes < 60 && (hours < 24 || hhmm == 2400);
    valid.then_some(hours * 60 + minutes)
}

/// A moment as `day hour:minute` of UTC, for people.
pub(crate) fn show(minute: Minute) -> String {
    let (days, clock) = (minute.div_euclid(DAY), minute.rem_euclid(DAY));
    // The data is of one month: the day within January 2013 says enough.
    let first = 15_706;
    format!("Jan {:02} {:02}:{:02} UTC", days - first + 1, clock / 60, clock % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn zones() -> Zones {
        let list = "faa,name,tz,dst\nEWR,Newark,-5,A\nDEN,Denver,-7,A\nPHX,Phoenix,-7,N\n";
        Zones::read(list.as_bytes()).unwrap()
    }

    #[test]
    fn dates_count_from_the_epoch() {
        assert_eq!(day_number(1970, 1, 1), Some(0));
        assert_eq!(day_number(2000, 3, 1), Some(11_017));
        assert_eq!(day_number(2013, 1, 1), Some(15_706));
        assert_eq!(day_number(2013, 2, 29), None);
        assert_eq!(day_number(2012, 2, 29), Some(15_399));
        assert_eq!(day_number(2013, 13, 1), None);
        assert_eq!(day_number(2013, 0, 1), None);
    }

    #[test]
    fn clocks_are_hours_and_minutes() {
        assert_eq!(clock(517), Some(317));
        assert_eq!(clock(2), Some(2));
        assert_eq!(clock(2400), Some(1440));
        assert_eq!(clock(1275), None);
        assert_eq!(clock(2401), None);
        assert_eq!(clock(-5), None);
    }

    #[test]
    fn unlisted_airports_are_four_hours_behind() {
        let zones = zones();
        assert_eq!(zones.offset("EWR"), -300);
        assert_eq!(zones.offset("SJU"), -240);
        assert_eq!(zones.utc("SJU", 0, 0), 240);
    }

    #[test]
    fn an_arrival_after_midnight_is_of_the_next_day() {
        let zones = zones();
        let departure = zones.utc("EWR", 15_706, 22 * 60);
        // 23:30 in Denver is later the same day there, 01:00 is of the next.
        assert_eq!(zones.next_utc("DEN", departure, 23 * 60 + 30) - departure, 210);
        assert_eq!(zones.next_utc("DEN", departure, 60) - departure, 300);
        // Local day of the arrival's airport counts, not that of the departure's.
        let late = zones.utc("EWR", 15_706, 23 * 60 + 59);
        assert_eq!(zones.next_utc("DEN", late, 23 * 60) - late, 61);
    }

    #[test]
    fn a_bad_zone_is_named_with_its_line() {
        let error = Zones::read("faa,tz\nEWR,-5\nXXX,east\n".as_bytes()).unwrap_err();
        assert!(error.contains("line 3") && error.contains("east"), "{error}");
        assert!(Zones::read("code,tz\n".as_bytes()).unwrap_err().contains("faa"));
    }
}
