//! `figures`: every figure of the book's chapter, measured and drawn by one command.
//!
//! A figure is a sweep of commands of this program (and one of the simulation), each in a process
//! of its own that is ended when it takes far too long. What they print is kept as it is, in
//! `NAME.json`, and drawn as `NAME.svg`; from all of them the tables `goals.txt`, `laws.txt` and
//! `transport.txt` are made. A system that is not installed, or not built in, is left
//! out, and said to be absent. One figure that fails does not keep the others from being made.

mod child;
mod sweep;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

use clap::ValueEnum;
use serde::Serialize;
use serde_json::Value;

use crate::goals;
use crate::options::{Figure, FiguresOptions, GoalsOptions, System};
use crate::plot;
use crate::references::is_built_in;
use crate::report::machine;
use child::Printed;
use sweep::{Run, Sweep};

/// What is kept of a figure.
#[derive(Serialize)]
struct Document {
    figure: Figure,
    rounds: u32,
    seconds: u64,
    quick: bool,
    machine: BTreeMap<String, String>,
    absent: Vec<Absent>,
    runs: Vec<Done>,
}

/// A command that printed nothing to be drawn, or not all of it.
#[derive(Debug, Serialize)]
struct Absent {
    command: String,
    why: String,
    /// Whether it is another system, which need not be there.
    reference: bool,
}

/// A command, and what it printed.
#[derive(Serialize)]
struct Done {
    command: String,
    printed: Vec<Value>,
}

/// Makes the figures, and says how long each took.
pub(crate) fn run(options: &FiguresOptions) -> Result<(), String> {
    let out = options.out.display();
    std::fs::create_dir_all(&options.out).map_err(|error| format!("{out}: {error}"))?;
    let all = Figure::value_variants();
    let chosen = all.iter().filter(|it| options.only.is_empty() || options.only.contains(it));
    if !options.from_json {
        announce(options);
    }
    let begun = Instant::now();
    let mut failed = Vec::new();
    for &figure in chosen {
        let made = match options.from_json {
            true => Ok(()),
            false => measure(options, figure),
        };
        // What was measured is drawn even if some of it is missing.
        for why in [made, draw(&options.out, figure)].into_iter().filter_map(Result::err) {
            eprintln!("vsync-bench: {}: {why}", name(figure));
            failed.push(name(figure));
        }
    }
    // Of all that is there, measured now or before.
    let options = GoalsOptions { from: options.out.clone(), out: Some(options.out.clone()) };
    goals::run(&options)?;
    eprintln!("all figures: {:.0} s", begun.elapsed().as_secs_f64());
    failed.dedup();
    match failed.is_empty() {
        true => Ok(()),
        false => Err(format!("not complete: {}", failed.join(", "))),
    }
}

fn name(figure: Figure) -> String {
    figure.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
}

/// How many rounds, and of how many seconds.
fn extent(options: &FiguresOptions) -> (u32, u64) {
    if options.quick { (1, 1) } else { (options.rounds, options.seconds) }
}

fn announce(options: &FiguresOptions) {
    let (rounds, seconds) = extent(options);
    let few = if options.quick { ", few points" } else { "" };
    eprintln!("rounds: {rounds}, seconds measured per run: {seconds}, 1 to warm up{few}");
    let machine: Vec<String> = machine().into_iter().map(|(k, v)| format!("{k} {v}")).collect();
    eprintln!("machine: {}", machine.join(", "));
}

/// Runs what the figure consists of, and keeps what was printed. An error if anything of our own
/// is missing.
fn measure(options: &FiguresOptions, figure: Figure) -> Result<(), String> {
    let begun = Instant::now();
    let (rounds, seconds) = extent(options);
    let Sweep { runs, in_turn } = sweep::of(figure, options.quick, rounds, seconds);
    eprintln!("{}: {} runs", name(figure), runs.len() * in_turn as usize);
    let mut document = Document {
        figure,
        rounds,
        seconds,
        quick: options.quick,
        machine: machine(),
        absent: Vec::new(),
        runs: Vec::new(),
    };
    for _ in 0..in_turn {
        for run in &runs {
            go(run, &mut document);
        }
    }
    let path = options.out.join(format!("{}.json", name(figure)));
    let text = lines(&document).map_err(|error| error.to_string())?;
    std::fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()))?;
    eprintln!("{}: {:.0} s", name(figure), begun.elapsed().as_secs_f64());
    match document.absent.iter().find(|absent| !absent.reference) {
        Some(Absent { command, why, .. }) => Err(format!("`{command}`: {why}")),
        None => Ok(()),
    }
}

fn go(run: &Run, document: &mut Document) {
    let command = run.to_string();
    let reference = run.system != System::Vsync;
    if document.absent.iter().any(|absent| absent.reference && reference && absent.of(run)) {
        return;
    }
    let begun = Instant::now();
    let Printed { documents, failed } = match is_built_in(run.system) {
        true => child::run(run),
        false => Printed { documents: Vec::new(), failed: Some("it is not built in".to_owned()) },
    };
    if let Some(why) = failed {
        match reference {
            true => eprintln!("  {} is absent: {why}", run.system),
            false => eprintln!("  `{command}` failed: {why}"),
        }
        document.absent.push(Absent { command: command.clone(), why, reference });
    } else {
        eprintln!("  {command}: {:.1} s", begun.elapsed().as_secs_f64());
    }
    if !documents.is_empty() {
        document.runs.push(Done { command, printed: documents });
    }
}

impl Absent {
    /// Whether this is of the same command: another round of it is not worth the time.
    fn of(&self, run: &Run) -> bool {
        self.command == run.to_string()
    }
}

/// As JSON with a line for each run, so that two of them can be compared line by line.
fn lines(document: &Document) -> Result<String, serde_json::Error> {
    let mut lines: Vec<String> = Vec::new();
    let mut rest = serde_json::to_value(document)?;
    for key in ["figure", "rounds", "seconds", "quick", "machine", "absent"] {
        lines.push(format!("\"{key}\": {}", rest[key].take()));
    }
    let runs: Vec<String> =
        document.runs.iter().map(serde_json::to_string).collect::<Result<_, _>>()?;
    lines.push(format!("\"runs\": [\n{}\n]", runs.join(",\n")));
    Ok(format!("{{\n{}\n}}\n", lines.join(",\n")))
}

fn draw(directory: &Path, figure: Figure) -> Result<(), String> {
    let file = |end: &str| directory.join(format!("{}.{end}", name(figure)));
    let Some((kind, x)) = sweep::drawn(figure) else { return Ok(()) };
    plot::draw(kind, x, &plot::read(&file("json"))?, &file("svg"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_one_document_and_is_drawn_again() {
        let directory = std::env::temp_dir().join(format!("figures-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let outcome = |members: usize| {
            serde_json::json!({
                "system": "vsync",
                "workload": {
                    "members": members, "senders": "All", "seconds": 1, "size": 100,
                    "order": "total", "level": "stable", "in_flight": 0, "threads": 1,
                    "history": null,
                },
                "applied_per_second": 1e6,
            })
        };
        let done = |members| Done { command: "stream".to_owned(), printed: vec![outcome(members)] };
        let document = Document {
            figure: Figure::ThroughputMembers,
            rounds: 1,
            seconds: 1,
            quick: true,
            machine: BTreeMap::new(),
            absent: vec![Absent {
                command: "compare".to_owned(),
                why: "not \"there\"".to_owned(),
                reference: true,
            }],
            runs: vec![done(2), done(4)],
        };
        let file = directory.join("throughput-members.json");
        std::fs::write(&file, lines(&document).unwrap()).unwrap();
        let [read] = &plot::read(&file).unwrap()[..] else { panic!("one document") };
        assert_eq!(*read, serde_json::to_value(&document).unwrap());
        draw(&directory, Figure::ThroughputMembers).unwrap();
        let svg = std::fs::read_to_string(directory.join("throughput-members.svg")).unwrap();
        assert!(svg.contains("Updates applied at every member"));
        let missing = draw(&directory, Figure::Joins).unwrap_err();
        assert!(missing.contains("joins.json"), "{missing}");
        std::fs::remove_dir_all(&directory).unwrap();
    }
}
