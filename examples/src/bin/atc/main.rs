//! Air-traffic sectors: the departures of New York City in a week of 2013, replayed by three
//! controller processes that share one replicated sector per airport.
//!
//! One controller is killed in the middle, another one joins while the others go on, a process
//! that is no member looks in and has slots allotted, and at the end everything is proven from the
//! histories: `--help` lists the options. The modules, from the data up: `data` and `zones` read
//! and time the flights; `book` and `slots` are the plain state and `sector` makes it replicated;
//! `duty` says who does what; `tower`, `pilot` and `watcher` are a controller's work in one sector;
//! `controller` and `client` are the processes that `parent` starts; `verify` judges what they
//! left, and `report` prints it.

mod book;
mod child;
mod client;
mod controller;
mod data;
mod duty;
mod options;
mod parent;
mod pilot;
mod progress;
mod report;
mod sector;
mod slots;
mod tower;
mod verify;
mod watcher;
mod words;
mod zones;

use std::path::PathBuf;
use std::process::ExitCode;

use tempfile::TempDir;

use crate::controller::Places;
use crate::data::Flights;
use crate::options::{HELP, Options};
use crate::progress::Progress;
use crate::words::{Said, say};

#[tokio::main]
async fn main() -> ExitCode {
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.first().map(String::as_str) {
        Some(role @ ("controller" | "client")) if arguments.len() >= 4 => {
            let role = role.to_owned();
            let rest = arguments.split_off(4);
            let ended = child(&role, &arguments, rest).await;
            // At once: the thread that reads the standard input would hold the runtime back.
            std::process::exit(ended)
        }
        _ => parent(arguments).await,
    }
}

/// A process that the parent started: role, name, secret, directory, then the options.
async fn child(role: &str, arguments: &[String], rest: Vec<String>) -> i32 {
    let name = &arguments[1];
    let places = Places { secret: PathBuf::from(&arguments[2]), dir: PathBuf::from(&arguments[3]) };
    let ended = match Options::parse(rest) {
        Ok(Some(options)) if role == "controller" => controller::run(name, &places, &options).await,
        Ok(_) => client::run(&places.secret).await,
        Err(why) => Err(why),
    };
    match ended {
        Ok(()) => 0,
        Err(why) => {
            eprintln!("{why}");
            say(&Said::Failed { why });
            1
        }
    }
}

async fn parent(arguments: Vec<String>) -> ExitCode {
    let options = match Options::parse(arguments) {
        Ok(Some(options)) => options,
        Ok(None) => {
            print!("{HELP}");
            return ExitCode::SUCCESS;
        }
        Err(why) => {
            eprintln!("atc: {why}");
            return ExitCode::from(2);
        }
    };
    match run(&options).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(why) => {
            eprintln!("atc: {why}");
            ExitCode::FAILURE
        }
    }
}

/// The whole run. The directories go with it, unless something is wrong or they were asked for.
async fn run(options: &Options) -> Result<bool, String> {
    let flights = Flights::open(&options.flights, options.rows)?;
    for malformed in &flights.malformed {
        eprintln!("{}: skipped {malformed}", options.flights.display());
    }
    let context = |error: std::io::Error| format!("temporary directory: {error}");
    let secrets = TempDir::with_prefix("vsync-atc-secret-").map_err(context)?;
    let scratch = TempDir::with_prefix("vsync-atc-").map_err(context)?;
    let dir = options.keep.clone().unwrap_or_else(|| scratch.path().to_owned());
    let places = Places { secret: secrets.path().join("cluster.key"), dir };
    places.make()?;
    write_secret(&places.secret)?;
    eprintln!("{} flights, seed {}", flights.rows.len(), options.seed);

    let mut progress = Progress::new(flights.rows.len() as u64);
    let played = parent::play(options, &places, &flights, &mut progress);
    // However it ends, the run kills on its way out what it has started.
    let played = tokio::select! {
        played = played => played,
        () = tokio::time::sleep(options.timeout) => {
            Err(format!("not done after {:?}, given up", options.timeout))
        }
        _ = tokio::signal::ctrl_c() => Err("interrupted".into()),
    };
    progress.end();
    let judged = played.and_then(|outcome| {
        let judgement = verify::judge(options, &places, &flights, &outcome)?;
        report::print(&flights, &outcome, &judgement)
    });
    if !matches!(judged, Ok(true)) && options.keep.is_none() {
        eprintln!("histories, journals and logs are left in {}", scratch.keep().display());
    }
    judged
}

/// A new secret for this run's cluster, readable by this user alone.
fn write_secret(path: &std::path::Path) -> Result<(), String> {
    let context = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(|error| context(&error))?;
    let text: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    std::fs::write(path, text).map_err(|error| context(&error))
}
