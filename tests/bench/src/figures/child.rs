//! One command of a sweep, in a process of its own that ends in time.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread::{sleep, spawn};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::sweep::{Program, Run};

/// How often it is looked whether it has ended.
const LOOK: Duration = Duration::from_millis(20);
/// How long the last words may take after the end: they are there at once, unless somebody who
/// outlives the child holds its pipes.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// What came of a command.
pub(super) struct Printed {
    /// What it printed, as far as it is JSON.
    pub(super) documents: Vec<Value>,
    /// Why it did not do all that it should.
    pub(super) failed: Option<String>,
}

/// Runs it; whatever happens it ends.
pub(super) fn run(run: &Run) -> Printed {
    let started = command(run).and_then(|mut command| {
        let command = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().map_err(|error| error.to_string())
    });
    match started {
        Ok(child) => follow(child, run.limit),
        Err(why) => Printed { documents: Vec::new(), failed: Some(why) },
    }
}

fn command(run: &Run) -> Result<Command, String> {
    if run.program == Program::Bench {
        let program = std::env::current_exe().map_err(|error| error.to_string())?;
        let mut command = Command::new(program);
        command.args(&run.arguments);
        return Ok(command);
    }
    // The simulation is a program of another package. To build it takes as long as it takes.
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let simulation = |verb: &str| {
        let mut command = Command::new(&cargo);
        command.args([verb, "--quiet", "--release", "--bin", "scale", "--manifest-path"]);
        command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.toml"));
        command
    };
    let built = simulation("build").status().map_err(|error| format!("cargo: {error}"))?;
    if !built.success() {
        return Err(format!("the simulation was not built: {built}"));
    }
    let mut command = simulation("run");
    command.arg("--").args(&run.arguments);
    Ok(command)
}

fn follow(mut child: Child, limit: Duration) -> Printed {
    let (tell, printed) = mpsc::channel();
    if let Some(mut output) = child.stdout.take() {
        spawn(move || {
            let mut text = String::new();
            // What is no text is no JSON either.
            let _ = output.read_to_string(&mut text);
            let _ = tell.send(text);
        });
    }
    let (complain, complaints) = mpsc::channel();
    if let Some(errors) = child.stderr.take() {
        spawn(move || {
            let lines = BufReader::new(errors).lines().map_while(Result::ok);
            lines.map(|line| complain.send(line)).take_while(Result::is_ok).for_each(drop);
        });
    }
    let mut failed = wait(&mut child, limit).err();
    let text = printed.recv_timeout(LAST_WORDS).unwrap_or_default();
    if failed.as_deref() == Some("") {
        failed = Some(reason(all_of(&complaints)));
    }
    let documents = serde_json::Deserializer::from_str(&text).into_iter::<Value>();
    let documents: Vec<Value> = documents.map_while(Result::ok).collect();
    if documents.is_empty() && failed.is_none() {
        failed = Some("it printed nothing".to_owned());
    }
    Printed { documents, failed }
}

/// All lines, as far as they come in time.
fn all_of(lines: &Receiver<String>) -> Vec<String> {
    let end = Instant::now() + LAST_WORDS;
    let next = || lines.recv_timeout(end.saturating_duration_since(Instant::now())).ok();
    std::iter::from_fn(next).collect()
}

/// Why a command failed, of what it said to standard error: what follows may be a daemon's log.
fn reason(said: Vec<String>) -> String {
    let own = said.iter().rev().find_map(|line| line.strip_prefix("vsync-bench: "));
    let last = || said.iter().rev().map(String::as_str).find(|line| !line.trim().is_empty());
    own.or_else(last).unwrap_or("it failed without a word").to_owned()
}

/// Until it ends; an error if it did not in time, or (without a word) if it failed.
fn wait(child: &mut Child, limit: Duration) -> Result<(), String> {
    let begun = Instant::now();
    loop {
        match child.try_wait().map_err(|error| error.to_string())? {
            Some(status) if status.success() => return Ok(()),
            Some(_) => return Err(String::new()),
            None if begun.elapsed() > limit => {
                child.kill().map_err(|error| error.to_string())?;
                child.wait().map_err(|error| error.to_string())?;
                return Err(format!("it did not end within {} s", limit.as_secs()));
            }
            None => sleep(LOOK),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, limit: Duration) -> Printed {
        let mut command = Command::new("sh");
        command.args(["-c", script]).stdout(Stdio::piped()).stderr(Stdio::piped());
        follow(command.spawn().unwrap(), limit)
    }

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn documents_are_kept_also_of_what_fails_in_the_end() {
        let printed = shell("echo '{\"a\": 1}'; echo '[2]'", LONG);
        assert_eq!(printed.documents, [serde_json::json!({ "a": 1 }), serde_json::json!([2])]);
        assert_eq!(printed.failed, None);
        let printed =
            shell("echo 1; echo first >&2; echo vsync-bench: why >&2; echo log >&2; exit 1", LONG);
        assert_eq!(printed.documents, [serde_json::json!(1)]);
        assert_eq!(printed.failed.as_deref(), Some("why"));
        assert_eq!(shell("echo a >&2; exit 2", LONG).failed.as_deref(), Some("a"));
        assert_eq!(shell("exit 3", LONG).failed.as_deref(), Some("it failed without a word"));
        assert_eq!(shell("true", LONG).failed.as_deref(), Some("it printed nothing"));
    }

    #[test]
    fn what_does_not_end_is_ended() {
        let printed = shell("exec sleep 1000", Duration::ZERO);
        assert_eq!(printed.failed.as_deref(), Some("it did not end within 0 s"));
    }
}
