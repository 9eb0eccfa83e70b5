//! Switches on one planted bug after the other, and shows what catches it.

use std::collections::BTreeMap;
use std::env;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitCode};
use std::thread;

use clap::Parser;
use vsync_core::bugs;
use vsync_tests::bank::{APART, Catch, by_seeds, by_story};
use vsync_tests::{print, println};

/// What a process that aborts ends by.
const SIGABRT: i32 = 6;

/// Runs the bug bank.
#[derive(Parser)]
struct Args {
    /// Most seeds for one bug, in each sample.
    #[arg(long, default_value_t = 3000)]
    seeds: u64,
    /// How often each bug is looked for, in other seeds each time; the median is shown.
    #[arg(long, default_value_t = 1)]
    samples: u64,
    /// Threads; all processors if left out.
    #[arg(long)]
    jobs: Option<usize>,
    /// Only bugs whose name contains this.
    #[arg(long, default_value = "")]
    only: String,
    /// Prints the table of the book.
    #[arg(long)]
    markdown: bool,
    /// This bug in this process. Otherwise each has a process of its own: some end it.
    #[arg(long, hide = true)]
    bug: Option<String>,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let jobs = args.jobs.unwrap_or_else(|| thread::available_parallelism().map_or(1, Into::into));
    if let Some(name) = &args.bug {
        let found =
            bugs::ALL.iter().any(|&bug| format!("{bug:?}") == *name && one(bug, &args, jobs));
        return if found { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    }
    if args.markdown {
        println!("| bug | rule | caught by | seeds, median of {} | story |", args.samples);
        println!("|---|---|---|---:|---|");
    } else {
        println!(
            "{:<24} {:<5} {:>14} {:>9}  {:<24} {:<12} what",
            "bug", "rule", "seeds", "seed", "caught by", "story"
        );
    }
    let mut missed = Vec::new();
    for bug in bugs::ALL {
        let name = format!("{bug:?}");
        if name.contains(&args.only) && !child(&name, &args, jobs) {
            println!("{name:<24} {:>7} {:>7}  NOT CAUGHT", args.seeds, "-");
            missed.push(name);
        }
    }
    if missed.is_empty() {
        return ExitCode::SUCCESS;
    }
    println!("NOT CAUGHT: {}", missed.join(" "));
    ExitCode::FAILURE
}

/// Runs one bug in a process of its own. Returns whether it was caught; ending the process counts.
fn child(name: &str, args: &Args, jobs: usize) -> bool {
    let Ok(exe) = env::current_exe() else { return false };
    let mut command = Command::new(exe);
    command.args(["--bug", name, "--seeds", &args.seeds.to_string(), "--jobs", &jobs.to_string()]);
    command.args(["--samples", &args.samples.to_string()]);
    if args.markdown {
        command.arg("--markdown");
    }
    match command.output() {
        Ok(output) if output.status.success() => {
            print!("{}", String::from_utf8_lossy(&output.stdout));
            true
        }
        // An exit code means that it came to an end: without a catch. A stack that overflows
        // aborts.
        Ok(output) if output.status.signal() == Some(SIGABRT) => {
            match args.markdown {
                true => println!("| `{name}` | - | abort | - | - |"),
                false => println!("{name:<24} abort: {}", output.status),
            }
            true
        }
        _ => false,
    }
}

/// Runs one bug here, and prints what catches it. Every sample must, or a story.
fn one(bug: bugs::Bug, args: &Args, jobs: usize) -> bool {
    let name = format!("{bug:?}");
    let story = by_story(bug);
    let told = story.as_ref().map_or("-", |catch| catch.by.trim_start_matches("story "));
    let samples = 0..args.samples.max(1);
    let found: Vec<Option<Catch>> =
        samples.map(|sample| by_seeds(bug, sample * APART, args.seeds, jobs)).collect();
    if found.iter().any(Option::is_none) && story.is_none() {
        return false;
    }
    // A sample without a catch needs more than all that were run.
    let mut seeds: Vec<u64> =
        found.iter().map(|it| it.as_ref().map_or(u64::MAX, |it| it.seeds)).collect();
    seeds.sort_unstable();
    let show = |seeds: u64| match seeds {
        u64::MAX => format!("> {}", args.seeds),
        seeds => seeds.to_string(),
    };
    let median = show(seeds[seeds.len() / 2]);
    let caught: Vec<&Catch> = found.iter().flatten().collect();
    let by = checks(&caught);
    let rule = bug.rule().unwrap_or("-");
    if args.markdown {
        println!("| `{name}` | {rule} | {by} | {median} | {told} |");
        return true;
    }
    let range = match (seeds.first(), seeds.last()) {
        (Some(&least), Some(&most)) if args.samples > 1 => {
            format!("{median} ({}-{})", show(least), show(most))
        }
        _ => median,
    };
    let first = caught.first().copied().or(story.as_ref());
    let seed = first.and_then(|catch| catch.seed).map_or("-".into(), |seed| seed.to_string());
    let what: String = first.map_or("", |catch| &catch.what).chars().take(90).collect();
    println!("{name:<24} {rule:<5} {range:>14} {seed:>9}  {by:<24} {told:<12} {what}");
    true
}

/// The checks that caught it, the most frequent first.
fn checks(caught: &[&Catch]) -> String {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for catch in caught {
        *counts.entry(&catch.by).or_default() += 1;
    }
    let mut list: Vec<_> = counts.into_iter().collect();
    list.sort_by_key(|&(_, count)| std::cmp::Reverse(count));
    let names: Vec<&str> = list.into_iter().map(|(name, _)| name).collect();
    if names.is_empty() { "-".into() } else { names.join(", ") }
}
