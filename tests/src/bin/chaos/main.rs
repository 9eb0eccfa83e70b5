//! Real processes over QUIC that are killed with `kill -9` while clients are at work, and what the
//! clients were told, judged: `chaos --scenario requests --kills 100`.
//!
//! The program starts itself once more for each member. Run with `VSYNC_HISTORY=DIR` the members
//! write histories as well, for `vsync history check DIR`.

mod cluster;
mod judge;
mod member;
mod requests;
mod spread;

use std::process::ExitCode;

use clap::{Parser, ValueEnum};
use member::{BackedClient, CounterClient};

/// Kills real processes and judges what clients were told.
#[derive(Clone, Debug, Parser)]
struct Args {
    /// What is done.
    #[arg(long, value_enum, default_value = "requests")]
    scenario: Scenario,
    /// Members of the group; for `spread` the sizes to measure.
    #[arg(long, value_delimiter = ',', default_values_t = [4])]
    members: Vec<usize>,
    /// Clients that ask all the time.
    #[arg(long, default_value_t = 8)]
    clients: usize,
    /// How many members are killed, one after the other.
    #[arg(long, default_value_t = 20)]
    kills: u64,
    /// Who is killed when.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// For `spread`: how long is measured, in seconds.
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// How long a handler takes, in microseconds: at most that, waiting, where members are killed;
    /// about that, computing, for `spread`.
    #[arg(long, default_value_t = 5_000)]
    work: u64,
    /// For `requests`: the primary coordinates all of them, and every other member is a cold
    /// backup, which keeps so many bytes of updates instead of applying them. A member whom clients
    /// ask stays awake: take fewer clients than members.
    #[arg(long, value_name = "BYTES")]
    cold: Option<usize>,
    /// This process is a member: its name, its address, and those of the others.
    #[arg(long, hide = true, num_args = 3.., value_names = ["NAME", "ADDRESS", "SEEDS"])]
    member: Option<Vec<String>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Scenario {
    /// Whoever coordinates requests is killed; each is answered once.
    Requests,
    /// Nobody is killed: how many requests that compute are answered, by members.
    Spread,
}

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    let done = match (&args.member, args.scenario) {
        (Some(member), _) => member::run(member, args.cold).await,
        (None, Scenario::Requests) => match args.cold {
            None => requests::run::<CounterClient>(&args).await,
            Some(_) => requests::run::<BackedClient>(&args).await,
        },
        (None, Scenario::Spread) => spread::run(&args).await,
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("FAILED: {why}");
            ExitCode::FAILURE
        }
    }
}
