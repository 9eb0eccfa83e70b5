//! Runs seeds of the simulator: `sim --seeds 0..20000`, or one: `sim --seed 17 --trace`.

use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use clap::Parser;
use vsync_core::bugs::Bugs;
use vsync_tests::sim::{self, Outcome, Setting, Story, Text, pool};
use vsync_tests::{print, println, stories};

/// Runs the protocol core through simulated trouble.
#[derive(Parser)]
struct Args {
    /// The seeds, `A..B`, or `A..` together with --seconds.
    #[arg(long, value_parser = range)]
    seeds: Option<Range<u64>>,
    /// Begins no further seed after so many seconds.
    #[arg(long)]
    seconds: Option<u64>,
    /// One seed alone.
    #[arg(long, conflicts_with_all = ["seeds", "seconds"])]
    seed: Option<u64>,
    /// With one seed: only these of its faults happen, by their numbers in the time line (`3,7`).
    #[arg(long, value_delimiter = ',', requires = "seed")]
    only: Option<Vec<u32>>,
    /// With one seed: leaves out the faults that it does not need to fail.
    #[arg(long, requires = "seed")]
    shrink: bool,
    /// With one seed: prints the time line, that is what goes wrong and all views.
    #[arg(long, requires = "seed")]
    timeline: bool,
    /// With one seed: prints every input and output.
    #[arg(long, requires = "seed")]
    trace: bool,
    /// Prints the hash of the run, or of all runs.
    #[arg(long)]
    hash: bool,
    /// With one seed: writes its history there, a file per process.
    #[arg(long, requires = "seed")]
    history: Option<PathBuf>,
    /// With one seed: lets the checkers judge after every so many lines of the history, too.
    #[arg(long, value_name = "LINES", requires = "seed")]
    #[arg(conflicts_with_all = ["trace", "timeline", "hash", "history", "shrink"])]
    every: Option<usize>,
    /// Tells a story instead, and prints it.
    #[arg(long, conflicts_with_all = ["seed", "seeds"])]
    story: Option<String>,
    /// Threads; all processors if left out.
    #[arg(long)]
    jobs: Option<usize>,
    /// Goes on after failures, up to this many.
    #[arg(long, default_value_t = 20)]
    failures: usize,
    /// Says how far it is every so many seconds.
    #[arg(long, value_name = "SECONDS")]
    report: Option<u64>,
}

/// From this many seeds on, a branch that none of them took is a failure.
const MANY: u64 = 3000;

/// So many failing seeds are shrunk, for so long each.
const SHRUNK: usize = 3;
const PATIENCE: Duration = Duration::from_secs(60);

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
    verdict(told.wrong.is_empty())
}

fn one(seed: u64, args: &Args) -> ExitCode {
    let text = match (args.trace, args.timeline) {
        (true, _) => Text::Everything,
        (false, true) => Text::TimeLine,
        (false, false) => Text::Silent,
    };
    let only = args.only.as_ref().map(|list| list.iter().copied().collect());
    let setting = Setting { text, only, ..Setting::default() };
    if args.shrink {
        return shrink(seed, &setting);
    }
    if let Some(every) = args.every {
        let outcome = sim::run_by_steps(seed, &setting, every);
        print!("{}", complaint(&outcome));
        return verdict(outcome.failures.is_empty());
    }
    let (outcome, story) = sim::tell(seed, &setting);
    print!("{}", story.text);
    if let Some(dir) = &args.history
        && let Err(error) = save(dir, &story)
    {
        eprintln!("{}: {error}", dir.display());
        return ExitCode::FAILURE;
    }
    if args.hash {
        println!("{:016x}", outcome.hash);
    }
    eprint!("{}", complaint(&outcome));
    if text == Text::Silent && !args.hash {
        print!("{}", outcome.totals);
    }
    verdict(outcome.failures.is_empty())
}

fn verdict(fine: bool) -> ExitCode {
    if fine { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn shrink(seed: u64, setting: &Setting) -> ExitCode {
    match shrunk(seed, setting) {
        Some(text) => print!("{text}"),
        None => println!("seed {seed} does not fail"),
    }
    ExitCode::SUCCESS
}

/// What a failing seed needs to fail, with its time line.
fn shrunk(seed: u64, setting: &Setting) -> Option<String> {
    let silent = Setting { text: Text::Silent, ..setting.clone() };
    let left = sim::shrink::shrink(seed, &silent, PATIENCE)?;
    let told = Setting { text: Text::TimeLine, only: Some(left.only.clone()), ..setting.clone() };
    let (outcome, story) = sim::tell(seed, &told);
    let numbers: Vec<String> = left.only.iter().map(ToString::to_string).collect();
    let sure = if left.minimal { "none can be left out" } else { "the time was up" };
    let (count, runs, only) = (left.only.len(), left.runs, numbers.join(","));
    let mut text = format!("seed {seed} fails with {count} of its faults ({runs} runs; {sure}):\n");
    text += &format!("  {COMMAND} --seed {seed} --only {only} --timeline\n");
    for line in story.text.lines() {
        text += &format!("  {line}\n");
    }
    for failure in &outcome.failures {
        text += &format!("  {}: {}\n", failure.check, failure.what);
    }
    Some(text)
}

fn many(seeds: Range<u64>, args: &Args) -> ExitCode {
    let start = Instant::now();
    let until = args.seconds.map(|seconds| start + Duration::from_secs(seconds));
    let jobs = args.jobs.unwrap_or_else(|| thread::available_parallelism().map_or(1, Into::into));
    let failed = AtomicU64::new(0);
    let progress = Progress::new(args.report, start);
    let first = seeds.start;
    let harvest = pool::run_all(seeds, until, jobs, &Setting::default(), |outcome| {
        progress.tick(failed.load(Ordering::Relaxed));
        if outcome.failures.is_empty() {
            return true;
        }
        eprint!("{}", complaint(outcome));
        failed.fetch_add(1, Ordering::Relaxed) + 1 < args.failures as u64
    });
    let seconds = start.elapsed().as_secs_f64();
    print!("{}", harvest.totals);
    let ran = harvest.totals.seeds;
    let rate = ran as f64 / seconds;
    if args.hash {
        println!("{:016x}", harvest.hash);
    }
    println!("{ran} seeds, {first}..{}, in {seconds:.1} s, {rate:.0} seeds/s", harvest.end);
    let vacuous = harvest.totals.vacuous();
    let enough = ran >= MANY;
    for what in &vacuous {
        println!("{}: {what}", if enough { "VACUOUS" } else { "note" });
    }
    for outcome in harvest.failed.iter().take(SHRUNK) {
        print!("{}", shrunk(outcome.seed, &Setting::default()).unwrap_or_default());
    }
    if !harvest.failed.is_empty() {
        let list: Vec<String> =
            harvest.failed.iter().map(|outcome| outcome.seed.to_string()).collect();
        println!("FAILED: {} seeds: {}", list.len(), list.join(" "));
    }
    verdict(harvest.failed.is_empty() && (vacuous.is_empty() || !enough))
}

/// Says now and then how far a long run is.
struct Progress {
    every: Option<u64>,
    start: Instant,
    done: AtomicU64,
    said: AtomicU64,
}

impl Progress {
    fn new(every: Option<u64>, start: Instant) -> Self {
        Progress { every, start, done: AtomicU64::new(0), said: AtomicU64::new(0) }
    }

    /// One more seed is done.
    fn tick(&self, failed: u64) {
        let done = self.done.fetch_add(1, Ordering::Relaxed) + 1;
        let Some(every) = self.every else { return };
        let now = self.start.elapsed().as_secs() / every.max(1);
        if self.said.fetch_max(now, Ordering::Relaxed) < now {
            eprintln!("{} s: {done} seeds, {failed} failed", now * every.max(1));
        }
    }
}

const COMMAND: &str = "cargo run --release -p vsync-tests --bin sim --";

/// What is wrong with a run, and how to see it again.
fn complaint(outcome: &Outcome) -> String {
    if outcome.failures.is_empty() {
        return String::new();
    }
    let seed = outcome.seed;
    let mut text = format!("seed {seed} fails; {COMMAND} --seed {seed} --trace\n");
    for failure in &outcome.failures {
        text += &format!("  {}: {}\n", failure.check, failure.what);
    }
    text
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
    let end = if to.is_empty() { Ok(u64::MAX) } else { number(to) };
    let range = number(from)?..end?;
    if range.is_empty() { Err("there is no seed in it".into()) } else { Ok(range) }
}
