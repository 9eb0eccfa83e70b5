//! The command line.

use std::path::PathBuf;
use std::time::Duration;

/// What `--help` prints.
pub(crate) const HELP: &str = "\
Air-traffic sectors, replicated: replays a week of departures with three controller processes, \
kills one of them in the middle, lets a new one join, and proves that nothing was lost.

Usage: atc [OPTIONS]

  --rows N        replay only the first N rows of the flights (default: all)
  --speed N       at most N rows per second and airport (default: as fast as it goes)
  --window N      plans that an airport's owner has in flight at once (default: 8)
  --pairs N       conflicting pairs of plans per airport (default: 20)
  --seed N        chooses who is killed and when (default: from the clock)
  --timeout SECS  give the whole run up after this long (default: 120)
  --keep DIR      leave histories, journals and logs in DIR
  --flights FILE  other flights, in the same columns
  --help          this text
";

/// What a run was asked to do.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    /// At most so many rows are replayed.
    pub(crate) rows: Option<usize>,
    /// Rows per second and airport.
    pub(crate) speed: Option<u32>,
    /// Plans in flight per airport.
    pub(crate) window: usize,
    /// Conflicting pairs per airport.
    pub(crate) pairs: u32,
    /// Chooses the victim and the moment.
    pub(crate) seed: u64,
    /// The whole run ends by then.
    pub(crate) timeout: Duration,
    /// Where histories stay.
    pub(crate) keep: Option<PathBuf>,
    /// The flights.
    pub(crate) flights: PathBuf,
}

/// Where the example's own data lies.
pub(crate) fn data_dir() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("data")
}

impl Default for Options {
    fn default() -> Self {
        let clock = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .map_or(0, |since| u64::from(since.subsec_nanos()) >> 8);
        Options {
            rows: None,
            speed: None,
            window: 8,
            pairs: 20,
            seed: clock % 10_000,
            timeout: Duration::from_secs(120),
            keep: None,
            flights: data_dir().join("flights-2013-01-01..07.csv"),
        }
    }
}

impl Options {
    /// Reads the arguments behind the program's name; `None` when help was asked for.
    pub(crate) fn parse(
        arguments: impl IntoIterator<Item = String>,
    ) -> Result<Option<Options>, String> {
        let mut options = Options::default();
        let mut arguments = arguments.into_iter();
        while let Some(name) = arguments.next() {
            if name == "--help" || name == "-h" {
                return Ok(None);
            }
            let mut value = || arguments.next().ok_or(format!("{name} needs a value"));
            match name.as_str() {
                "--rows" => options.rows = Some(number(&name, &value()?)?),
                "--speed" => options.speed = Some(number(&name, &value()?)?),
                "--window" => options.window = number(&name, &value()?)?,
                "--pairs" => options.pairs = number(&name, &value()?)?,
                "--seed" => options.seed = number(&name, &value()?)?,
                "--timeout" => {
                    options.timeout = Duration::from_secs(number(&name, &value()?)?);
                }
                "--keep" => options.keep = Some(value()?.into()),
                "--flights" => options.flights = value()?.into(),
                _ => return Err(format!("unknown option {name}; --help lists them")),
            }
        }
        if options.window == 0 || options.speed == Some(0) || options.rows == Some(0) {
            return Err("--window, --speed and --rows must be at least 1".into());
        }
        Ok(Some(options))
    }

    /// The options that a controller process has to know, as arguments that `parse` reads back.
    pub(crate) fn to_arguments(&self) -> Vec<String> {
        let mut list = vec![
            "--window".into(),
            self.window.to_string(),
            "--pairs".into(),
            self.pairs.to_string(),
            "--seed".into(),
            self.seed.to_string(),
            "--timeout".into(),
            self.timeout.as_secs().to_string(),
            "--flights".into(),
            self.flights.to_string_lossy().into_owned(),
        ];
        if let Some(rows) = self.rows {
            list.extend(["--rows".into(), rows.to_string()]);
        }
        if let Some(speed) = self.speed {
            list.extend(["--speed".into(), speed.to_string()]);
        }
        list
    }
}

fn number<T: std::str::FromStr>(name: &str, text: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("{name}: {text:?} is not a number it takes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Option<Options>, String> {
        Options::parse(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn options_survive_the_way_to_a_child_process() {
        let options =
            parse("--rows 300 --speed 50 --window 4 --pairs 3 --seed 9").unwrap().unwrap();
        let again = Options::parse(options.to_arguments()).unwrap().unwrap();
        assert_eq!(format!("{:?}", again), format!("{:?}", options));
    }

    #[test]
    fn bad_options_are_named() {
        assert!(parse("--help").unwrap().is_none());
        assert!(parse("--rows").unwrap_err().contains("--rows needs a value"));
        assert!(parse("--rows many").unwrap_err().contains("many"));
        assert!(parse("--fast").unwrap_err().contains("--fast"));
        assert!(parse("--window 0").is_err());
    }
}
