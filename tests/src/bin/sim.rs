//! Runs seeds of the simulator: `sim --seeds 0..20000`, or one: `sim --seed 17 --trace`.

use std::fs;
use std::io::{IsTerminal, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Instant;

use clap::Parser;
use vsync_core::bugs::Bugs;
use vsync_tests::sim::{self, Outcome, Story, pool};
use vsync_tests::stories;

/// Runs the protocol core through simulated trouble.
#[derive(Parser)]
struct Args {
    /// The seeds, `A..B`.
    #[arg(long, value_parser = range)]
    seeds: Option<Range<u64>>,
    /// One seed alone.
    #[arg(long, conflicts_with = "seeds")]
    seed: Option<u64>,
    /// With one seed: prints the time line.
    #[arg(long)]
    trace: bool,
    /// With one seed: prints the hash of the run.
    #[arg(long)]
    hash: bool,
    /// With one seed: writes its history there, a file per process.
    #[arg(long)]
    history: Option<PathBuf>,
    /// Tells a story instead, and prints it.
    #[arg(long, conflicts_with_all = ["seed", "seeds"])]
    story: Option<String>,
    /// Threads; all processors if left out.
    #[arg(long)]
    jobs: Option<usize>,
    /// Goes on after failures, up to this many.
    #[arg(long, default_value_t = 20)]
    failures: usize,
}

/// From this many seeds on, a branch that none of them took is a failure.
const MANY: u64 = 1000;

fn main() -> ExitCode {
    let args = Args::parse();
    if let Some(name) = &args.story {
        return tell(name);
    }
    match (args.seed, &args.seeds) {
        (Some(seed), _) => one(seed, &args),
        (None, Some(seeds)) => many(seeds.clone(), &args),
        (None, None) => many(0..MANY, &args),
    }
}

fn tell(name: &str) -> ExitCode {
    let stories = stories::all();
    let Some(story) = stories.iter().find(|story| story.name == name) else {
        let names: Vec<&str> = stories.iter().map(|story| story.name.as_str()).collect();
        eprintln!("there is no story {name}, but {}", names.join(", "));
        return ExitCode::FAILURE;
    };
    let told = story.tell(Bugs::default());
    print!("{}", told.text);
    if told.wrong.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn one(seed: u64, args: &Args) -> ExitCode {
    let (outcome, story) = sim::tell(seed, Bugs::default());
    if args.trace {
        let _ = std::io::stdout().write_all(story.text.as_bytes());
    }
    if let Some(dir) = &args.history
        && let Err(error) = save(dir, &story)
    {
        eprintln!("{}: {error}", dir.display());
        return ExitCode::FAILURE;
    }
    if args.hash {
        println!("{:016x}", outcome.hash);
    }
    complain(&outcome);
    if !args.trace && !args.hash {
        print!("{}", outcome.totals);
    }
    if outcome.failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn many(seeds: Range<u64>, args: &Args) -> ExitCode {
    let start = Instant::now();
    let jobs = args.jobs.unwrap_or_else(|| thread::available_parallelism().map_or(1, Into::into));
    let (done, failed) = (AtomicU64::new(0), AtomicU64::new(0));
    let count = seeds.end.saturating_sub(seeds.start);
    let terminal = std::io::stderr().is_terminal();
    let harvest = pool::run_all(seeds.clone(), jobs, Bugs::default(), |outcome| {
        let done = done.fetch_add(1, Ordering::Relaxed) + 1;
        if terminal && done.is_multiple_of(100) {
            eprint!("\r{done} of {count} seeds");
        }
        if outcome.failures.is_empty() {
            return true;
        }
        complain(outcome);
        failed.fetch_add(1, Ordering::Relaxed) + 1 < args.failures as u64
    });
    let seconds = start.elapsed().as_secs_f64();
    print!("{}", harvest.totals);
    let ran = harvest.totals.seeds;
    println!("{ran} seeds in {seconds:.1} s, {:.0} seeds/s", ran as f64 / seconds);
    let vacuous = harvest.totals.vacuous();
    let enough = count >= MANY;
    for what in &vacuous {
        println!("{}: {what}", if enough { "VACUOUS" } else { "note" });
    }
    if !harvest.failed.is_empty() {
        let list: Vec<String> =
            harvest.failed.iter().map(|outcome| outcome.seed.to_string()).collect();
        println!("FAILED: {} seeds: {}", list.len(), list.join(" "));
    }
    match harvest.failed.is_empty() && (vacuous.is_empty() || !enough) {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

fn complain(outcome: &Outcome) {
    if outcome.failures.is_empty() {
        return;
    }
    let seed = outcome.seed;
    let mut text = format!(
        "seed {seed} fails; cargo run --release -p vsync-tests --bin sim -- --seed {seed} --trace\n"
    );
    for failure in &outcome.failures {
        text += &format!("  {}: {}\n", failure.check, failure.what);
    }
    eprint!("{text}");
}

fn save(dir: &Path, story: &Story) -> std::io::Result<()> {
    fs::create_dir_all(dir)?;
    for log in &story.history.logs {
        fs::write(dir.join(&log.name), log.to_text())?;
    }
    Ok(())
}

fn range(text: &str) -> Result<Range<u64>, String> {
    let (from, to) = text.split_once("..").ok_or("A..B is wanted")?;
    let number = |text: &str| text.parse::<u64>().map_err(|error| format!("{text:?}: {error}"));
    let range = number(from)?..number(to)?;
    if range.is_empty() { Err("there is no seed in it".into()) } else { Ok(range) }
}
