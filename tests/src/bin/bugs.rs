//! Switches on one planted bug after the other, and shows what catches it.

use std::env;
use std::process::{Command, ExitCode};
use std::thread;

use clap::Parser;
use vsync_core::bugs;
use vsync_tests::bank::{by_seeds, by_story};

/// Runs the bug bank.
#[derive(Parser)]
struct Args {
    /// Most seeds for one bug.
    #[arg(long, default_value_t = 20_000)]
    seeds: u64,
    /// Threads; all processors if left out.
    #[arg(long)]
    jobs: Option<usize>,
    /// Only bugs whose name contains this.
    #[arg(long, default_value = "")]
    only: String,
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
    println!(
        "{:<24} {:>7} {:>7}  {:<12} {:<12} what",
        "bug", "seeds", "seed", "caught by", "story"
    );
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
    match command.output() {
        Ok(output) if output.status.success() => {
            print!("{}", String::from_utf8_lossy(&output.stdout));
            true
        }
        // An exit code means that it came to an end: without a catch.
        Ok(output) if output.status.code().is_none() => {
            println!(
                "{name:<24} {:>7} {:>7}  {:<12} -            {}",
                "-", "-", "abort", output.status
            );
            true
        }
        _ => false,
    }
}

/// Runs one bug here, and prints what catches it.
fn one(bug: bugs::Bug, args: &Args, jobs: usize) -> bool {
    let story = by_story(bug);
    let told = story.as_ref().map_or("-", |catch| catch.by.trim_start_matches("story "));
    let found = by_seeds(bug, args.seeds, jobs);
    let Some(catch) = found.as_ref().or(story.as_ref()) else { return false };
    let name = format!("{bug:?}");
    let seed = catch.seed.map_or("-".into(), |seed| seed.to_string());
    let by = if found.is_some() { catch.by.as_str() } else { "-" };
    let what: String = catch.what.chars().take(90).collect();
    println!("{name:<24} {:>7} {seed:>7}  {by:<12} {told:<12} {what}", catch.seeds);
    true
}
