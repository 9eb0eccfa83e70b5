//! Explores the view change exhaustively within a bound, and says what holds.

use std::collections::BTreeMap;
use std::panic;
use std::process::ExitCode;

use clap::Parser;
use stateright::Expectation;
use vsync_core::bugs::Bugs;
use vsync_model::bound::{Bound, Named};
use vsync_model::explore::{Exploration, explore};
use vsync_model::requests::{Count, Looks, SCHEMES, Scheme, count};

/// Explores the view change exhaustively within a bound, and says what holds.
#[derive(Parser)]
struct Args {
    /// How far to go.
    #[arg(long, value_enum, default_value = "small")]
    bound: Named,
    /// One run instead of a bound's, such as
    /// `suspicions=1,crashes=1,retries=0,breaks=0,traffic=fresh,late=0`.
    #[arg(long)]
    run: Option<Bound>,
    /// Switches a planted bug on; `all`: one after the other. Needs the feature `bug-bank`.
    #[arg(long)]
    bug: Option<String>,
    /// Instead: two attempts of one request, in every order of their steps (rule S11).
    #[arg(long)]
    requests: bool,
    /// Threads.
    #[arg(long, default_value_t = 2)]
    jobs: usize,
    /// Gives a run up after this long.
    #[arg(long, default_value_t = 1800)]
    seconds: u64,
}

impl Args {
    fn runs(&self) -> Vec<Bound> {
        self.run.map_or_else(|| self.bound.runs(), |run| vec![run])
    }

    fn explore(&self, bound: Bound, bugs: Bugs) -> Option<Exploration> {
        explore(bound, bugs, self.jobs, self.seconds)
    }
}

fn main() -> ExitCode {
    let args = Args::parse();
    if args.requests {
        return requests();
    }
    // An engine that panics is a finding: reported as such, not on the terminal.
    panic::set_hook(Box::new(|_| {}));
    let holds = match &args.bug {
        None => check(&args, Bugs::default()),
        Some(name) => with_bug(&args, name),
    };
    if holds { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Tells what becomes of a request that is carried out twice; only one Commit must survive all.
fn requests() -> ExitCode {
    for (looks, what) in [
        (Looks::Apart, "the attempts want different seats"),
        (Looks::Anywhere, "the attempts look, and a seat becomes free, at any time"),
    ] {
        println!("{what}:");
        for scheme in SCHEMES {
            println!("  {:<12} {}", format!("{scheme:?}"), count(scheme, looks));
        }
    }
    let holds = [Looks::Apart, Looks::Anywhere].into_iter().all(|looks| {
        let Count { bad, misled, .. } = count(Scheme::OneCommit, looks);
        bad + misled == 0
    });
    if holds { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Explores all runs of the bound. What must be reached sometimes, must be reached in one of them.
fn check(args: &Args, bugs: Bugs) -> bool {
    let mut reached: BTreeMap<&'static str, bool> = BTreeMap::new();
    let mut holds = true;
    let (mut states, mut unique, mut depth) = (0, 0, 0);
    for bound in args.runs() {
        println!("run: {bound}");
        let Some(run) = args.explore(bound, bugs) else {
            println!("  the first state cannot be reached");
            return false;
        };
        report(&run);
        holds &= run.complete && run.violated().is_none();
        (states, unique, depth) = (states + run.states, unique + run.unique, depth.max(run.depth));
        for verdict in &run.verdicts {
            if verdict.expectation == Expectation::Sometimes {
                *reached.entry(verdict.name).or_default() |= verdict.found.is_some();
            }
        }
    }
    for (name, _) in reached.iter().filter(|(_, reached)| !**reached) {
        println!("NEVER REACHED: {name}");
    }
    let met = reached.values().filter(|&&reached| reached).count();
    println!(
        "in all: {states} states, {unique} of them unique, depth {depth}; {met} of {} sometimes",
        reached.len()
    );
    holds && met == reached.len()
}

fn report(run: &Exploration) {
    println!(
        "  {} states, {} of them unique, depth {}, {} steps of single members, {:.1?}{}",
        run.states,
        run.unique,
        run.depth,
        run.steps,
        run.time,
        if run.complete { "" } else { " - NOT EXPLORED TO THE END" }
    );
    for verdict in &run.verdicts {
        let word = match (&verdict.expectation, &verdict.found) {
            (Expectation::Sometimes, Some(path)) => format!("in {} actions", path.actions.len()),
            (Expectation::Sometimes, None) => "not in this run".to_owned(),
            (_, Some(_)) => "VIOLATED".to_owned(),
            (_, None) => "holds".to_owned(),
        };
        let kind =
            if verdict.expectation == Expectation::Sometimes { "sometimes" } else { "always" };
        println!("  {kind:<9} {:<48} {word}", verdict.name);
    }
    if let Some((name, path)) = run.violated() {
        println!("  {name}, violated by:");
        path.actions.iter().for_each(|action| println!("    {action}"));
        println!("{}", path.end);
    }
}

#[cfg(not(feature = "bug-bank"))]
fn with_bug(_: &Args, _: &str) -> bool {
    println!("planted bugs need `--features bug-bank`");
    false
}

#[cfg(feature = "bug-bank")]
fn with_bug(args: &Args, name: &str) -> bool {
    use vsync_core::bugs;

    if name == "all" {
        return bank(args);
    }
    let Some(&bug) = bugs::ALL.iter().find(|bug| format!("{bug:?}") == name) else {
        println!("no bug is named {name}; there are {:?}", bugs::ALL);
        return false;
    };
    check(args, Bugs::with(bug))
}

/// Plants each bug. Those that are about the decision itself must be caught within the bound.
#[cfg(feature = "bug-bank")]
fn bank(args: &Args) -> bool {
    use vsync_core::bugs::{ALL, Bug};

    const MUST: [Bug; 4] = [
        Bug::ForgetAccepted,
        Bug::AdoptedNotVerbatim,
        Bug::QuorumOffByOne,
        Bug::ReceiveAfterPromise,
    ];
    let mut missed = Vec::new();
    for &bug in ALL {
        let name = format!("{bug:?}");
        let mut unique = 0;
        let caught = args.runs().into_iter().enumerate().find_map(|(index, bound)| {
            let run = args.explore(bound, Bugs::with(bug))?;
            unique += run.unique;
            let (by, path) = run.violated()?;
            let actions = path.actions.len();
            Some(format!("run {}, {actions:>2} actions, {:>5.1?}: {by}", index + 1, run.time))
        });
        println!("{name:<24} {unique:>8} unique  {}", caught.as_deref().unwrap_or("-"));
        if caught.is_none() && MUST.contains(&bug) {
            missed.push(bug);
        }
    }
    if !missed.is_empty() {
        println!("MISSED: {missed:?}");
    }
    missed.is_empty()
}
