//! The coordinator's side of a member process, which it commands through standard input.
//!
//! A member prints its address; is told `peers ADDRESS…`, those of all members in order, when all
//! are there; is told `go`; measures, and prints its [`Report`](crate::report::Report) as one line
//! of JSON; is told `stop`.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use crate::options::{System, Workload};

/// A member process. Ends with the value.
pub(crate) struct Member {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Member {
    /// Starts one.
    pub(crate) fn start(
        system: System,
        workload: &Workload,
        index: usize,
        seed: Option<&str>,
    ) -> Result<Member, String> {
        let program = std::env::current_exe().map_err(|error| error.to_string())?;
        let workload = serde_json::to_string(workload).map_err(|error| error.to_string())?;
        let mut command = Command::new(program);
        command.args(["member", "--system", &system.to_string(), "--workload", &workload]);
        command.args(["--index", &index.to_string()]);
        if let Some(seed) = seed {
            command.args(["--seed", seed]);
        }
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("member {index}: {error}"))?;
        match (child.stdin.take(), child.stdout.take()) {
            (Some(input), Some(output)) => {
                Ok(Member { child, input, output: BufReader::new(output) })
            }
            _ => Err(format!("member {index} has no pipes")),
        }
    }

    /// The next line that it prints.
    pub(crate) fn line(&mut self) -> Result<String, String> {
        let mut line = String::new();
        match self.output.read_line(&mut line) {
            Ok(0) => Err("a member ended early".to_owned()),
            Ok(_) => Ok(line.trim_end().to_owned()),
            Err(error) => Err(error.to_string()),
        }
    }

    /// Says a line to it.
    pub(crate) fn tell(&mut self, line: &str) -> Result<(), String> {
        writeln!(self.input, "{line}").map_err(|error| error.to_string())
    }

    /// Waits until it has ended.
    pub(crate) fn wait(&mut self) -> Result<(), String> {
        self.child.wait().map(drop).map_err(|error| error.to_string())
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        // Already ended after an orderly run; nothing is left to do where killing fails.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
