//! Measures the protocol in simulated groups of 2 to 1,000 members: `scale --members 2,16,100`.

use std::process::ExitCode;

use clap::{Parser, ValueEnum};
use vsync_tests::scale::costs::{Costs, Setting, Timers};
use vsync_tests::scale::{self, MOST, MOST_STEADY, MOST_TREES, What};
use vsync_tests::{print, println};

/// Simulates groups of many members in virtual time, on processors and links with stated costs, and
/// prints what view changes and updates cost, by which law, and from where on trees and a sequencer
/// that only sequences would pay.
///
/// The default takes some seconds, 64 members half a minute more, trees of 256 some minutes. View
/// changes of 1,000 members take five minutes and 1.5 GB with the protocol's own timers, under
/// which a change of so large a group is still under way when they begin to repeat it; two minutes
/// and 1.1 GB with --heartbeat 10000 --retry 10000.
#[derive(Parser)]
struct Args {
    /// Sizes of groups, 2 to 1000.
    #[arg(long, value_delimiter = ',', value_name = "LIST", value_parser = size)]
    #[arg(default_values_t = [2, 3, 4, 5, 6, 7, 8, 16, 32])]
    members: Vec<usize>,
    /// Another seed is another set of names, ways and victims.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// What is measured.
    #[arg(long, value_enum, default_value_t = Part::All)]
    what: Part,
    /// Fan-out of the trees that are not built.
    #[arg(long, default_value_t = 4)]
    #[arg(value_parser = clap::value_parser!(u16).range(2..=64))]
    fan: u16,
    /// Prints one JSON object instead of tables.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    costs: Costs,
    #[command(flatten)]
    timers: Timers,
    /// For so long there are only signs of life before a member vanishes.
    #[arg(long, default_value_t = 0, value_name = "MS")]
    #[arg(value_parser = clap::value_parser!(u64).range(..=60_000))]
    idle: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    /// View changes.
    View,
    /// Throughput, and the time until an update is stable.
    Steady,
    /// Trees, which are not built.
    Crossover,
    /// Who sequences.
    Sequencer,
    /// All of it.
    All,
}

fn size(text: &str) -> Result<usize, String> {
    let size: usize = text.parse().map_err(|error| format!("{error}"))?;
    if (2..=MOST).contains(&size) {
        Ok(size)
    } else {
        Err(format!("a simulated group has 2 to {MOST} members"))
    }
}

fn main() -> ExitCode {
    let args = Args::parse();
    let mut members = args.members.clone();
    members.sort_unstable();
    members.dedup();
    let most = match args.what {
        Part::View | Part::All => MOST,
        Part::Steady | Part::Sequencer => MOST_STEADY,
        Part::Crossover => MOST_TREES,
    };
    if members[0] > most {
        let what = format!("{:?}", args.what).to_lowercase();
        eprintln!("error: --what {what} needs a size up to {most}");
        return ExitCode::from(2);
    }
    let one = |part| args.what == part || args.what == Part::All;
    let what = What {
        view: one(Part::View),
        steady: one(Part::Steady),
        crossover: one(Part::Crossover),
        sequencer: one(Part::Sequencer),
    };
    let Args { costs, timers, idle, seed, .. } = args;
    let setting = Setting { costs, timers, idle, seed };
    let said = |what: &str| eprintln!("{what}");
    match scale::run(setting, &members, what, args.fan.into(), said) {
        Ok(report) if args.json => match serde_json::to_string(&report) {
            Ok(json) => println!("{json}"),
            Err(error) => return fail(&error),
        },
        Ok(report) => print!("{report}"),
        Err(stuck) => return fail(&stuck),
    }
    ExitCode::SUCCESS
}

fn fail(error: &dyn std::error::Error) -> ExitCode {
    eprintln!("error: {error}");
    ExitCode::FAILURE
}
