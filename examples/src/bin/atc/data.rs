//! The flights: rows of the file as typed, timed rows; malformed ones named and skipped.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use csv::StringRecord;
use serde::{Deserialize, Serialize};

use crate::zones::{self, Minute, Zones};

/// The airports whose departures are replayed: a group each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) enum Airport {
    /// Newark.
    Ewr,
    /// John F. Kennedy.
    Jfk,
    /// La Guardia.
    Lga,
}

impl Airport {
    /// All of them; an airport's place here decides who owns it.
    pub(crate) const ALL: [Airport; 3] = [Airport::Ewr, Airport::Jfk, Airport::Lga];

    /// The place in [`Airport::ALL`].
    pub(crate) fn index(self) -> usize {
        self as usize
    }

    /// The three letters.
    pub(crate) fn code(self) -> &'static str {
        ["EWR", "JFK", "LGA"][self.index()]
    }

    /// The name of the airport's group.
    pub(crate) fn group(self) -> String {
        format!("atc/{}", self.code())
    }
}

impl fmt::Display for Airport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

/// One departure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    /// Counts the rows of the file from 1, the header apart: the key of everything.
    pub(crate) number: u32,
    /// Where from.
    pub(crate) origin: Airport,
    /// Where to.
    pub(crate) dest: String,
    /// The airline's code.
    pub(crate) carrier: String,
    /// The flight's number.
    pub(crate) flight: u32,
    /// The aircraft, where it is named.
    pub(crate) tail: Option<String>,
    /// Scheduled departure.
    pub(crate) from: Minute,
    /// Scheduled arrival: the plan's time is `from..until`.
    pub(crate) until: Minute,
    /// When it departed, if it did.
    pub(crate) departed: Option<Minute>,
    /// When it arrived, if it did.
    pub(crate) arrived: Option<Minute>,
    /// Minutes late at the arrival, where known.
    pub(crate) delay: Option<i32>,
}

/// A row that was skipped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Malformed {
    /// Line of the file.
    pub(crate) line: u64,
    /// What is wrong with it.
    pub(crate) why: String,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.why)
    }
}

/// The flights of a file.
#[derive(Clone, Debug, Default)]
pub(crate) struct Flights {
    /// In the order of the file.
    pub(crate) rows: Vec<Row>,
    /// What was skipped.
    pub(crate) malformed: Vec<Malformed>,
}

impl Flights {
    /// Reads the flights and what they need to be timed.
    pub(crate) fn open(path: &Path, limit: Option<usize>) -> Result<Flights, String> {
        let airports = crate::options::data_dir().join("airports.csv");
        let zones = Zones::read(open(&airports)?)?;
        let mut flights =
            read(open(path)?, &zones).map_err(|why| format!("{}: {why}", path.display()))?;
        if let Some(limit) = limit {
            flights.rows.truncate(limit);
        }
        if flights.rows.is_empty() {
            return Err(format!("{}: no usable row in it", path.display()));
        }
        Ok(flights)
    }

    /// The rows of one airport, in the order of the file.
    pub(crate) fn of(&self, airport: Airport) -> Vec<Row> {
        self.rows.iter().filter(|row| row.origin == airport).cloned().collect()
    }
}

fn open(path: &Path) -> Result<File, String> {
    File::open(path).map_err(|error| format!("{}: {error}", path.display()))
}

/// The airlines' names by their codes.
pub(crate) fn airlines() -> Result<BTreeMap<String, String>, String> {
    let path = crate::options::data_dir().join("airlines.csv");
    let mut reader = csv::Reader::from_reader(open(&path)?);
    let mut names = BTreeMap::new();
    for record in reader.records() {
        let record = record.map_err(|error| format!("{}: {error}", path.display()))?;
        if let (Some(code), Some(name)) = (record.get(0), record.get(1)) {
            names.insert(code.to_owned(), name.to_owned());
        }
    }
    Ok(names)
}

/// Reads flights. Only a file that cannot be read, or lacks a column, is an error.
pub(crate) fn read(source: impl Read, zones: &Zones) -> Result<Flights, String> {
    // Without quoting: the file has none, and one stray quote would swallow all rows after it.
    let mut reader = csv::ReaderBuilder::new().quoting(false).from_reader(source);
    let columns = Columns::find(reader.headers().map_err(|error| error.to_string())?)?;
    let mut flights = Flights::default();
    let mut number = 0;
    for record in reader.into_records() {
        number += 1;
        let (line, parsed) = match record {
            Ok(record) => {
                let line = record.position().map_or(0, csv::Position::line);
                (line, columns.parse(number, &record, zones))
            }
            Err(error) if error.is_io_error() => return Err(error.to_string()),
            Err(error) => (error.position().map_or(0, csv::Position::line), Err(describe(&error))),
        };
        match parsed {
            Ok(row) => flights.rows.push(row),
            Err(why) => flights.malformed.push(Malformed { line, why }),
        }
    }
    Ok(flights)
}

fn describe(error: &csv::Error) -> String {
    match error.kind() {
        csv::ErrorKind::UnequalLengths { expected_len, len, .. } => {
            format!("{len} fields instead of {expected_len}")
        }
        csv::ErrorKind::Utf8 { err, .. } => format!("not UTF-8 in field {}", err.field() + 1),
        _ => error.to_string(),
    }
}

/// Which column of the file holds what.
struct Columns {
    places: [usize; COLUMNS.len()],
}

const COLUMNS: [&str; 14] = [
    "year",
    "month",
    "day",
    "dep_time",
    "sched_dep_time",
    "dep_delay",
    "arr_time",
    "sched_arr_time",
    "arr_delay",
    "carrier",
    "flight",
    "tailnum",
    "origin",
    "dest",
];

impl Columns {
    fn find(headers: &StringRecord) -> Result<Columns, String> {
        let mut places = [0; COLUMNS.len()];
        for (place, name) in places.iter_mut().zip(COLUMNS) {
            *place = headers
                .iter()
                .position(|header| header == name)
                .ok_or(format!("the header has no column {name:?}"))?;
        }
        Ok(Columns { places })
    }

    fn parse(&self, number: u32, record: &StringRecord, zones: &Zones) -> Result<Row, String> {
        let fields = Fields { columns: self, record };
        let origin = fields.text("origin")?;
        let origin = Airport::ALL
            .into_iter()
            .find(|airport| airport.code() == origin)
            .ok_or(format!("origin {origin:?} is none of EWR, JFK, LGA"))?;
        let dest = fields.text("dest")?.to_owned();
        let (year, month, day) =
            (fields.number("year")?, fields.number("month")?, fields.number("day")?);
        let date = zones::day_number(year, month, day)
            .ok_or(format!("{year}-{month}-{day} is no date"))?;
        let from = zones.utc(origin.code(), date, fields.clock("sched_dep_time")?);
        let until = zones.next_utc(&dest, from, fields.clock("sched_arr_time")?);
        let departed = match (fields.clock_or_na("dep_time")?, fields.or_na("dep_delay")?) {
            (None, _) => None,
            (Some(_), Some(late)) => Some(from + late),
            (Some(clock), None) => Some(zones.next_utc(origin.code(), from - 1, clock)),
        };
        let delay = fields.or_na("arr_delay")?;
        let arrived = match (departed, fields.clock_or_na("arr_time")?, delay) {
            (None, ..) | (_, None, _) => None,
            (Some(_), Some(_), Some(late)) => Some(until + late),
            (Some(departed), Some(clock), None) => Some(zones.next_utc(&dest, departed, clock)),
        };
        let tail = fields.text("tailnum").ok().filter(|tail| *tail != "NA").map(str::to_owned);
        let flight = fields.number("flight")?;
        Ok(Row {
            number,
            origin,
            carrier: fields.text("carrier")?.to_owned(),
            flight: u32::try_from(flight).map_err(|_| format!("flight {flight} is no number"))?,
            dest,
            tail,
            from,
            until,
            departed,
            arrived,
            delay: delay
                .filter(|_| arrived.is_some())
                .map(i32::try_from)
                .transpose()
                .map_err(|_| "arr_delay is out of range".to_owned())?,
        })
    }
}

struct Fields<'a> {
    columns: &'a Columns,
    record: &'a StringRecord,
}

impl<'a> Fields<'a> {
    fn raw(&self, name: &str) -> &'a str {
        let place = COLUMNS.iter().position(|column| *column == name);
        place.and_then(|place| self.record.get(self.columns.places[place])).unwrap_or("")
    }

    fn text(&self, name: &str) -> Result<&'a str, String> {
        let text = self.raw(name);
        if text.is_empty() { Err(format!("{name} is empty")) } else { Ok(text) }
    }

    fn number(&self, name: &str) -> Result<i64, String> {
        let text = self.text(name)?;
        text.parse::<i64>()
            .ok()
            .filter(|value| value.abs() < 1_000_000)
            .ok_or(format!("{name}: {text:?} is not a number that makes sense"))
    }

    fn or_na(&self, name: &str) -> Result<Option<i64>, String> {
        if self.raw(name) == "NA" { Ok(None) } else { self.number(name).map(Some) }
    }

    fn clock(&self, name: &str) -> Result<i64, String> {
        let hhmm = self.number(name)?;
        zones::clock(hhmm).ok_or(format!("{name}: {hhmm} is no time of day"))
    }

    fn clock_or_na(&self, name: &str) -> Result<Option<i64>, String> {
        if self.raw(name) == "NA" { Ok(None) } else { self.clock(name).map(Some) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = "year,month,day,dep_time,sched_dep_time,dep_delay,arr_time,\
        sched_arr_time,arr_delay,carrier,flight,tailnum,origin,dest,air_time,distance,hour,\
        minute,time_hour\n";

    fn parse(lines: &str) -> Flights {
        let zones = Zones::read("faa,tz\nEWR,-5\nJFK,-5\nLGA,-5\nIAH,-6\n".as_bytes()).unwrap();
        read(format!("{HEADER}{lines}").as_bytes(), &zones).unwrap()
    }

    #[test]
    fn a_row_is_read_and_timed() {
        let flights = parse(
            "2013,1,1,517,515,2,830,819,11,UA,1545,N14228,EWR,IAH,227,1400,5,15,\
             2013-01-01T10:00:00Z\n",
        );
        let row = &flights.rows[0];
        let ten = 15_706 * zones::DAY + 10 * 60;
        assert_eq!((row.number, row.origin, row.dest.as_str()), (1, Airport::Ewr, "IAH"));
        assert_eq!((row.from, row.until), (ten + 15, ten + 4 * 60 + 19));
        assert_eq!(row.departed, Some(ten + 17));
        assert_eq!((row.arrived, row.delay), (Some(ten + 4 * 60 + 30), Some(11)));
        assert_eq!(row.tail.as_deref(), Some("N14228"));
    }

    #[test]
    fn not_available_is_not_malformed() {
        let flights = parse(
            "2013,1,1,NA,1630,NA,NA,1815,NA,EV,4308,N18120,EWR,IAH,NA,416,16,30,x\n\
             2013,1,1,1525,1530,-5,1934,1805,NA,MQ,4525,NA,LGA,IAH,NA,1147,15,30,x\n\
             2013,1,2,2041,2045,-4,NA,2359,NA,B6,147,,JFK,IAH,NA,1147,15,30,x\n",
        );
        assert_eq!(flights.malformed, []);
        let [cancelled, diverted, lost] = &flights.rows[..] else { panic!("three rows") };
        assert_eq!((cancelled.departed, cancelled.arrived, cancelled.delay), (None, None, None));
        assert_eq!(diverted.delay, None);
        assert_eq!(diverted.arrived, Some(15_706 * zones::DAY + (19 + 6) * 60 + 34));
        assert_eq!(diverted.tail, None);
        assert!(lost.departed.is_some());
        assert_eq!((lost.arrived, &lost.tail), (None, &None));
    }

    #[test]
    fn malformed_rows_are_named_counted_and_skipped() {
        let good = "2013,1,1,517,515,2,830,819,11,UA,1545,N14228,EWR,IAH,227,1400,5,15,x\n";
        let lines = format!(
            "{good}2013,1,1,517\n\
             2013,1,1,517,575,2,830,819,11,UA,1545,N14228,EWR,IAH,227,1400,5,15,x\n\
             2013,1,32,517,515,2,830,819,11,UA,1545,N14228,EWR,IAH,227,1400,5,15,x\n\
             2013,1,1,517,515,2,830,soon,11,UA,1545,N14228,EWR,IAH,227,1400,5,15,x\n\
             2013,1,1,517,515,2,830,819,11,UA,1545,N14228,BOS,IAH,227,1400,5,15,x\n{good}"
        );
        let flights = parse(&lines);
        let numbers: Vec<u32> = flights.rows.iter().map(|row| row.number).collect();
        assert_eq!(numbers, [1, 7]);
        let named: Vec<String> = flights.malformed.iter().map(Malformed::to_string).collect();
        assert_eq!(
            named,
            [
                "line 3: 4 fields instead of 19",
                "line 4: sched_dep_time: 575 is no time of day",
                "line 5: 2013-1-32 is no date",
                "line 6: sched_arr_time: \"soon\" is not a number that makes sense",
                "line 7: origin \"BOS\" is none of EWR, JFK, LGA",
            ]
        );
    }

    #[test]
    fn foreign_bytes_and_missing_columns_are_errors_in_words() {
        let zones = Zones::default();
        let mut bytes = format!("{HEADER}2013,1,1,517,515,2,830,819,11,").into_bytes();
        bytes.extend([0xff, 0xfe]);
        bytes.extend(b",1545,N14228,EWR,IAH,227,1400,5,15,x\n");
        let flights = read(bytes.as_slice(), &zones).unwrap();
        assert_eq!(flights.malformed[0].to_string(), "line 2: not UTF-8 in field 10");
        assert!(read("year,month\n".as_bytes(), &zones).unwrap_err().contains("\"day\""));
    }

    #[test]
    fn the_week_agrees_with_its_own_utc_column() {
        let path = crate::options::Options::default().flights;
        let flights = Flights::open(&path, None).unwrap();
        assert_eq!((flights.rows.len(), flights.malformed.len()), (6099, 0));
        let mut reader = csv::Reader::from_path(&path).unwrap();
        for (row, record) in flights.rows.iter().zip(reader.records()) {
            let text = &record.unwrap()[18];
            let part = |range: std::ops::Range<usize>| text[range].parse::<i64>().unwrap();
            let day = zones::day_number(part(0..4), part(5..7), part(8..10)).unwrap();
            assert_eq!(row.from.div_euclid(60), day * 24 + part(11..13), "row {}", row.number);
            assert!((50..700).contains(&(row.until - row.from)), "row {}", row.number);
        }
    }
}
