//! The benchmark of vsync: members as processes, over QUIC on loopback, alone or beside other
//! systems under the same load. `cargo run --release -p vsync-bench -- --help` lists what it does.
//! Nothing in it is a test.

mod actor;
mod cluster;
mod compare;
#[cfg(feature = "count")]
mod count;
mod failures;
#[cfg(feature = "plot")]
mod figures;
mod goals;
mod groups;
mod joins;
mod latency;
mod member;
mod options;
mod pace;
mod parallel;
#[cfg(feature = "plot")]
mod plot;
mod process;
mod references;
mod report;
mod samples;
mod seat;
mod stage;
mod stream;

use std::process::ExitCode;

use clap::Parser;
use options::{Cli, Command, System};

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Stream(options) => stream::run(&options),
        Command::Compare(options) => compare::run(&options),
        Command::Failures(options) => failures::run(&options),
        Command::Joins(options) => joins::run(&options),
        #[cfg(feature = "plot")]
        Command::Plot(options) => plot::run(&options),
        #[cfg(feature = "plot")]
        Command::Figures(options) => figures::run(&options),
        #[cfg(not(feature = "plot"))]
        Command::Plot(_) | Command::Figures(_) => references::with_features(&["plot"]),
        Command::Goals(options) => goals::run(&options),
        Command::Actor(options) => actor::run(&options),
        Command::Groups(options) => groups::run(&options),
        Command::Parallel(options) => parallel::run(&options),
        #[cfg(feature = "count")]
        Command::Count(options) => count::run(&options),
        #[cfg(not(feature = "count"))]
        Command::Count(_) => references::with_features(&["count"]),
        Command::GroupsMember(options) => groups::member(&options),
        Command::ParallelMember(options) => parallel::member(&options),
        Command::Member(options) => match options.system {
            System::Vsync => member::run(&options),
            system => references::member(system, &options),
        },
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("vsync-bench: {why}");
            ExitCode::FAILURE
        }
    }
}
