//! What `parallel` measures.

use clap::{Args, ValueEnum};
use serde::{Deserialize, Serialize};

/// Updates and queries that are dear, in one group and in several.
#[derive(Args, Clone, Debug, Serialize)]
pub(crate) struct ParallelOptions {
    /// Processes, all of them in all groups. Each applies everything, so of one machine's
    /// processors each has its share.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=16))]
    pub(crate) members: u8,
    /// Threads per member: a cluster of its own for each number.
    #[arg(long, value_delimiter = ',', default_value = "1,2",
        value_parser = clap::value_parser!(u16).range(1..=64))]
    pub(crate) threads: Vec<u16>,
    /// Groups that dear updates are sent to.
    #[arg(long, value_delimiter = ',', default_value = "1,2,4",
        value_parser = clap::value_parser!(u16).range(1..=64))]
    pub(crate) groups: Vec<u16>,
    /// How long one of these updates computes, such as `200us,2ms`.
    #[arg(long, value_delimiter = ',', value_parser = time, default_value = "200us,2ms")]
    pub(crate) work: Vec<u64>,
    /// How many of them are awaited at a time in each group.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(crate) in_flight: u16,
    /// What is asked again and again beside awaited updates.
    #[arg(long, value_delimiter = ',', default_value = "none,plain,snapshot")]
    pub(crate) queries: Vec<Asked>,
    /// How long such a query computes.
    #[arg(long, value_parser = time, default_value = "100ms")]
    pub(crate) query: u64,
    /// Seconds measured in each run.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=60))]
    pub(crate) seconds: u64,
    /// Only one of the two parts.
    #[arg(long)]
    pub(crate) only: Option<Part>,
    /// Print JSON.
    #[arg(long)]
    #[serde(skip)]
    pub(crate) json: bool,
}

/// One member of such a run.
#[derive(Args, Clone)]
pub(crate) struct ParallelMemberOptions {
    /// Threads of its runtime.
    #[arg(long)]
    pub(crate) threads: usize,
    /// Which member this process is, from 0.
    #[arg(long)]
    pub(crate) index: usize,
    /// Whom it finds the cluster through; nobody for the first.
    #[arg(long)]
    pub(crate) seed: Option<String>,
}

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Part {
    /// Dear updates, in one group and in several.
    Apply,
    /// Awaited updates beside a query that takes long.
    Queries,
}

/// A query that takes long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Asked {
    /// None is asked.
    None,
    /// `#[query]`.
    Plain,
    /// `#[query(snapshot)]`.
    Snapshot,
}

impl ParallelOptions {
    /// Whether this part is measured.
    pub(crate) fn has(&self, part: Part) -> bool {
        self.only.is_none_or(|only| only == part)
    }

    /// As many groups as any run needs.
    pub(crate) fn most_groups(&self) -> u16 {
        // Queries are asked in the group of the updates, and in another one.
        let most = self.groups.iter().copied().max().unwrap_or(1);
        if self.has(Part::Queries) { most.max(2) } else { most }
    }
}

/// Microseconds of such as `2ms`.
fn time(text: &str) -> Result<u64, String> {
    /// No run is to last for ever.
    const MOST: u64 = 10_000_000;
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let factor = match &text[digits.len()..] {
        "us" => 1,
        "ms" => 1_000,
        "s" => 1_000_000,
        "" => return Err(format!("{text:?} needs a unit: us, ms or s")),
        other => return Err(format!("{other:?} is neither us nor ms nor s")),
    };
    let number: u64 = digits.parse().map_err(|_| format!("{text:?} is no time"))?;
    let time = number.checked_mul(factor).filter(|time| *time <= MOST);
    time.ok_or_else(|| format!("{text} is too long: 10s at most"))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    fn parsed(line: &str) -> Result<ParallelOptions, String> {
        #[derive(Parser)]
        struct Line {
            #[command(flatten)]
            options: ParallelOptions,
        }
        let words = std::iter::once("line").chain(line.split_whitespace());
        Line::try_parse_from(words).map(|line| line.options).map_err(|error| error.to_string())
    }

    #[test]
    fn times_have_a_unit_and_an_end() {
        let times = ["200us", "2ms", "10s", "0us"].map(time);
        assert_eq!(times, [Ok(200), Ok(2_000), Ok(10_000_000), Ok(0)]);
        let why = |text| time(text).expect_err("refused");
        assert!(why("200").contains("needs a unit"));
        assert!(why("2min").contains("neither us nor ms nor s"));
        assert!(why("11s").contains("too long") && why("99999999999999999s").contains("too long"));
        for no in ["ms", "", "-1ms", "1.5ms", "2 ms"] {
            assert!(time(no).is_err(), "{no:?}");
        }
    }

    #[test]
    fn what_is_not_said_is_as_shipped() {
        let options = parsed("").expect("options");
        assert_eq!((options.members, options.seconds, options.in_flight), (2, 1, 8));
        assert_eq!((options.threads, options.groups), (vec![1, 2], vec![1, 2, 4]));
        assert_eq!((options.work, options.query), (vec![200, 2_000], 100_000));
        assert_eq!(options.queries, [Asked::None, Asked::Plain, Asked::Snapshot]);
    }

    #[test]
    fn lists_are_read_and_what_cannot_be_run_is_refused() {
        let options = parsed("--work 50us,1ms --queries snapshot --threads 4").expect("options");
        assert_eq!((options.work, options.threads), (vec![50, 1_000], vec![4]));
        assert_eq!(options.queries, [Asked::Snapshot]);
        let refused = ["--members 0", "--threads 0", "--groups 1,0", "--seconds 0", "--query 1h"];
        for line in refused.into_iter().chain(["--queries some", "--in-flight 0", "--only all"]) {
            assert!(parsed(line).is_err(), "{line}");
        }
    }

    #[test]
    fn there_are_as_many_groups_as_a_part_needs() {
        let groups = |line| parsed(line).expect("options").most_groups();
        assert_eq!((groups(""), groups("--groups 1")), (4, 2));
        assert_eq!(
            (groups("--groups 1 --only apply"), groups("--groups 3,1 --only queries")),
            (1, 3)
        );
        let options = parsed("--only apply").expect("options");
        assert!(options.has(Part::Apply) && !options.has(Part::Queries));
    }
}
