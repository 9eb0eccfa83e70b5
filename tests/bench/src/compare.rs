//! `compare`: ours and another system in turn, A B A B, with the ratio pair by pair.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::cluster;
use crate::options::{CompareOptions, System, Workload};
use crate::references;
use crate::report::{Outcome, machine};

/// What came of all pairs of one workload. The fields of the streaming comparison are also those of
/// the whole.
#[derive(Serialize)]
struct Comparison {
    /// Awaited in flight per sender; 0 is streaming.
    in_flight: usize,
    workload: Workload,
    /// Ours ÷ theirs, of updates applied at every member, pair by pair.
    ratio: Spread,
    ours: Side,
    theirs: Side,
    /// Theirs ÷ ours, of the median time of an awaited call.
    #[serde(skip_serializing_if = "Option::is_none")]
    latency_ratio: Option<Spread>,
}

/// One system's runs.
#[derive(Serialize)]
struct Side {
    system: System,
    settings: BTreeMap<String, String>,
    applied_per_second: Spread,
    cpu_per_update: Spread,
    runs: Vec<Outcome>,
}

/// Everything that is printed of one pair of systems.
#[derive(Serialize)]
struct Document {
    against: System,
    rounds: u32,
    machine: BTreeMap<String, String>,
    #[serde(flatten)]
    streaming: Comparison,
    awaited: Vec<Comparison>,
    /// Workloads that the other system has nothing like.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    impossible: Vec<Impossible>,
}

/// What was not compared, and why.
#[derive(Serialize)]
struct Impossible {
    in_flight: usize,
    why: &'static str,
}

/// The least, the middle and the most.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Spread {
    pub(crate) min: f64,
    pub(crate) median: f64,
    pub(crate) max: f64,
}

impl Spread {
    /// Of any number of values; zeros of none.
    pub(crate) fn of(values: impl IntoIterator<Item = f64>) -> Spread {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let at = |place: usize| values.get(place).copied().unwrap_or(0.0);
        let last = values.len().saturating_sub(1);
        let median = (at(last / 2) + at(last.div_ceil(2))) / 2.0;
        Spread { min: at(0), median, max: at(last) }
    }
}

/// Runs the pairs, and prints them: with `--json` one object, or an array of them for several
/// systems.
pub(crate) fn run(options: &CompareOptions) -> Result<(), String> {
    options.workload.check()?;
    references::built_in(&options.against)?;
    let mut documents = Vec::new();
    let mut left_out = Vec::new();
    for &system in &options.against {
        match compare(options, system) {
            Ok(document) => documents.push(document),
            Err(why) if options.against.len() > 1 => {
                // Not installed, or it does not do what is asked of it.
                eprintln!("vsync-bench: {system} is left out: {why}");
                left_out.push(format!("{system}: {why}"));
            }
            Err(why) => return Err(why),
        }
    }
    if documents.is_empty() {
        return Err(format!("none could be run: {}", left_out.join("; ")));
    }
    if options.json {
        let text = match &documents[..] {
            [one] => serde_json::to_string(one),
            all => serde_json::to_string(all),
        };
        println!("{}", text.map_err(|error| error.to_string())?);
    } else {
        documents.iter().for_each(print);
    }
    Ok(())
}

fn compare(options: &CompareOptions, system: System) -> Result<Document, String> {
    let wanted: &[usize] = if options.stream_only { &[] } else { &options.awaited };
    let streaming = pairs(options, system, options.workload.in_flight)?;
    let (mut awaited, mut impossible) = (Vec::new(), Vec::new());
    for &in_flight in wanted {
        match system.cannot(&Workload { in_flight, ..options.workload.clone() }) {
            Some(why) => impossible.push(Impossible { in_flight, why }),
            None => awaited.push(pairs(options, system, in_flight)?),
        }
    }
    Ok(Document {
        against: system,
        rounds: options.rounds,
        machine: machine(),
        streaming,
        awaited,
        impossible,
    })
}

fn pairs(options: &CompareOptions, system: System, in_flight: usize) -> Result<Comparison, String> {
    let workload = Workload { in_flight, ..options.workload.clone() };
    let other =
        Workload { in_flight: options.theirs_in_flight.unwrap_or(in_flight), ..workload.clone() };
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for round in 1..=options.rounds {
        let both = [(System::Vsync, &workload, &mut ours), (system, &other, &mut theirs)];
        for (system, workload, runs) in both {
            let outcome = cluster::run(system, workload)?;
            eprintln!(
                "round {round}: {system}, {}: {:.0}/s",
                workload.describe(),
                outcome.applied_per_second
            );
            runs.push(outcome);
        }
    }
    let both = || ours.iter().zip(&theirs);
    let ratio = Spread::of(both().map(|(a, b)| a.applied_per_second / b.applied_per_second));
    let times = both().filter_map(|(a, b)| Some(b.latency?.p50 / a.latency?.p50));
    let times: Vec<f64> = times.collect();
    Ok(Comparison {
        in_flight,
        workload,
        ratio,
        latency_ratio: (!times.is_empty()).then(|| Spread::of(times)),
        ours: Side::of(ours),
        theirs: Side::of(theirs),
    })
}

impl Side {
    fn of(runs: Vec<Outcome>) -> Side {
        Side {
            system: runs[0].system,
            settings: runs[0].settings.clone(),
            applied_per_second: Spread::of(runs.iter().map(|run| run.applied_per_second)),
            cpu_per_update: Spread::of(runs.iter().map(|run| run.cpu_per_update)),
            runs,
        }
    }
}

fn print(document: &Document) {
    println!("vsync against {}, {} pairs", document.against, document.rounds);
    let machine: Vec<String> = document.machine.iter().map(|(k, v)| format!("{k} {v}")).collect();
    println!("machine: {}", machine.join(", "));
    for side in [&document.streaming.ours, &document.streaming.theirs] {
        let settings: Vec<String> =
            side.settings.iter().map(|(name, value)| format!("{name}: {value}")).collect();
        println!("{}: {}", side.system, settings.join("; "));
    }
    println!("| workload | ours/s | theirs/s | ratio | min | max | ours p50 µs | theirs p50 µs |");
    println!("|---|---:|---:|---:|---:|---:|---:|---:|");
    for row in std::iter::once(&document.streaming).chain(&document.awaited) {
        let p50 = |side: &Side| {
            let times: Vec<f64> =
                side.runs.iter().filter_map(|run| Some(run.latency?.p50)).collect();
            match times.is_empty() {
                true => "-".to_owned(),
                false => format!("{:.0}", Spread::of(times).median),
            }
        };
        println!(
            "| {} | {:.0} | {:.0} | {:.2} | {:.2} | {:.2} | {} | {} |",
            row.workload.describe(),
            row.ours.applied_per_second.median,
            row.theirs.applied_per_second.median,
            row.ratio.median,
            row.ratio.min,
            row.ratio.max,
            p50(&row.ours),
            p50(&row.theirs),
        );
    }
    for Impossible { in_flight, why } in &document.impossible {
        println!("{in_flight} awaited in flight per sender: not compared, {why}");
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::options::{Cli, Command};

    fn options(line: &str) -> CompareOptions {
        let words = format!("vsync-bench compare {line}");
        let cli = Cli::try_parse_from(words.split(' ')).unwrap_or_else(|error| panic!("{error}"));
        let Command::Compare(options) = cli.command else { panic!("another command") };
        options
    }

    fn impossible(line: &str) -> Vec<usize> {
        let options = options(line);
        let cannot = |&in_flight: &usize| {
            options.against[0].cannot(&Workload { in_flight, ..options.workload.clone() }).is_some()
        };
        options.awaited.iter().copied().filter(cannot).collect()
    }

    #[test]
    fn each_system_is_compared_in_what_it_can_do() {
        assert_eq!(impossible("--against udp"), [1, 64, 256, 1024]);
        assert_eq!(impossible("--against postgres"), [1024]);
        assert_eq!(impossible("--against postgres --senders 1"), [0; 0]);
        assert_eq!(impossible("--against omnipaxos"), [0; 0]);
        assert!(System::Udp.cannot(&options("--against udp").workload).is_none());
    }

    #[test]
    fn a_spread_is_the_least_the_middle_and_the_most() {
        let Spread { min, median, max } = Spread::of([4.0, 1.0, 2.0]);
        assert_eq!([min, median, max], [1.0, 2.0, 4.0]);
        assert_eq!(Spread::of([3.0, 1.0]).median, 2.0);
        assert_eq!(Spread::of([]).max, 0.0);
    }
}
