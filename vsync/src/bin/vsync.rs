//! The command-line tool: `vsync history check DIR`, `vsync history draw DIR -o run.svg`.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use vsync::testing::history::draw::{self, Options};
use vsync::testing::history::event::{Event, Id};
use vsync::testing::history::{Directory, History, check};

/// Looks into what nodes of virtual synchrony left behind.
#[derive(Debug, Parser)]
#[command(name = "vsync", arg_required_else_help = true)]
enum Command {
    /// Works on the files that nodes write with VSYNC_HISTORY=DIR
    #[command(subcommand)]
    History(HistoryCommand),
}

#[derive(Debug, Subcommand)]
enum HistoryCommand {
    /// Checks that a run kept all promises; exits with 1 if not, with 2 if it cannot be read
    Check {
        /// The directory with the files (*.jsonl) of all nodes
        dir: PathBuf,
    },
    /// Draws the time-space diagram of a run
    Draw(Draw),
}

#[derive(Debug, clap::Args)]
struct Draw {
    /// The directory with the files (*.jsonl) of all nodes
    dir: PathBuf,
    /// Where the SVG goes; `-` is standard output
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// Begin of the window, in milliseconds since the first process started
    #[arg(long, value_name = "MS", value_parser = micros)]
    from: Option<u64>,
    /// End of the window
    #[arg(long, value_name = "MS", value_parser = micros)]
    to: Option<u64>,
    /// The group, as NAME or NAME/GENERATION [default: the one with the most deliveries]
    #[arg(long, value_name = "NAME")]
    group: Option<String>,
    /// Gives long stretches without an event their full room
    #[arg(long)]
    linear: bool,
    /// The title [default: the group]
    #[arg(long, value_name = "TEXT")]
    title: Option<String>,
}

fn main() -> ExitCode {
    let Command::History(command) = Command::parse();
    let done = match command {
        HistoryCommand::Check { dir } => judge(&dir),
        HistoryCommand::Draw(draw) => picture(draw),
    };
    done.unwrap_or_else(|error| {
        eprintln!("vsync: {error}");
        ExitCode::from(2)
    })
}

/// Milliseconds, with a fraction or not, as microseconds.
fn micros(text: &str) -> Result<u64, String> {
    let ms: f64 = text.parse().map_err(|_| "not a number of milliseconds".to_owned())?;
    if !(ms.is_finite() && ms >= 0.0) {
        return Err("milliseconds count from 0, the start of the first process".to_owned());
    }
    // Beyond the largest number is as good as the largest.
    Ok((ms * 1000.0).round() as u64)
}

/// Reads a directory and says what was cut short.
fn read(dir: &Path) -> Result<History, String> {
    let directory = Directory::read(dir).map_err(|error| error.to_string())?;
    for name in &directory.cut_short {
        eprintln!("note: {name}: the last line is cut short and left out");
    }
    Ok(directory.history)
}

/// Holds the histories of a directory to all properties.
fn judge(dir: &Path) -> Result<ExitCode, String> {
    let history = read(dir)?;
    let violations = check(&history);
    let mut report = String::new();
    for violation in &violations {
        let _ = writeln!(report, "{violation}");
    }
    let _ = writeln!(report, "{}, {} violations", summary(&history), violations.len());
    print(&report)?;
    Ok(if violations.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// How much there was to check.
fn summary(history: &History) -> String {
    let mut members: BTreeSet<(&Id, &Id)> = BTreeSet::new();
    let mut views: BTreeSet<(&Id, Option<u32>, u64)> = BTreeSet::new();
    let (mut events, mut deliveries) = (0, 0_u64);
    for line in history.logs.iter().flat_map(|log| &log.lines) {
        events += 1;
        let Some(group) = &line.group else { continue };
        members.insert((group, &line.node));
        match &line.event {
            Event::View { view, .. } => {
                views.insert((group, line.generation, *view));
            }
            Event::Deliver { count, .. } => deliveries = deliveries.saturating_add(*count),
            _ => {}
        }
    }
    let groups: BTreeSet<&Id> = members.iter().map(|(group, _)| *group).collect();
    format!(
        "{} files, {events} events, {} groups, {} members, {} views, {deliveries} deliveries",
        history.logs.len(),
        groups.len(),
        members.len(),
        views.len()
    )
}

/// Draws a history into a file.
fn picture(draw: Draw) -> Result<ExitCode, String> {
    let Draw { dir, output, from, to, group, linear, title } = draw;
    if output.extension().is_some_and(|extension| extension == "jsonl") {
        let output = output.display();
        return Err(format!("{output} is the name of a history: not overwritten by a drawing"));
    }
    let history = read(&dir)?;
    let options = Options { group, from, to, linear, title };
    let drawing = draw::draw(&history, &options).map_err(|error| error.to_string())?;
    for note in &drawing.notes {
        eprintln!("note: {note}");
    }
    if output.as_os_str() == "-" {
        print(&drawing.svg)?;
    } else {
        std::fs::write(&output, &drawing.svg)
            .map_err(|error| format!("cannot write {}: {error}", output.display()))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Writes to standard output; whoever reads it may stop early.
fn print(text: &str) -> Result<(), String> {
    match io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(format!("standard output: {error}"))
        }
        _ => Ok(()),
    }
}
