//! The coordinator's side of a member process, which it commands through standard input.
//!
//! A member prints its address; is told `peers ADDRESS…`, those of all members in order, when all
//! are there; is told `go`; measures, and prints its [`Report`](crate::report::Report) as one line
//! of JSON; is told `stop`. An [`actor`](crate::actor) is asked and answers, instead.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::options::{System, Workload};
use crate::report::memory_of;

/// What a process answers.
type Answer<A> = Result<A, String>;

/// A member process. Ends with the value.
pub(crate) struct Member {
    child: Child,
    input: ChildStdin,
    lines: Receiver<std::io::Result<String>>,
}

impl Member {
    /// Starts one.
    pub(crate) fn start(
        system: System,
        workload: &Workload,
        index: usize,
        seed: Option<&str>,
    ) -> Result<Member, String> {
        let workload = serde_json::to_string(workload).map_err(|error| error.to_string())?;
        let system = system.to_string();
        Member::spawn(&["member", "--system", &system, "--workload", &workload], index, seed)
    }

    /// Starts a process of this program as the member `index`.
    pub(crate) fn spawn(
        arguments: &[&str],
        index: usize,
        seed: Option<&str>,
    ) -> Result<Member, String> {
        let program = std::env::current_exe().map_err(|error| error.to_string())?;
        let mut command = Command::new(program);
        command.args(arguments).args(["--index", &index.to_string()]);
        if let Some(seed) = seed {
            command.args(["--seed", seed]);
        }
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("member {index}: {error}"))?;
        let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(format!("member {index} has no pipes"));
        };
        // A thread of its own, so that whoever waits for a line can give up.
        let (tell, lines) = mpsc::channel();
        std::thread::spawn(move || {
            BufReader::new(output).lines().try_for_each(|line| tell.send(line))
        });
        Ok(Member { child, input, lines })
    }

    /// The next line that it prints.
    pub(crate) fn line(&mut self) -> Result<String, String> {
        match self.lines.recv() {
            Ok(line) => line.map_err(|error| error.to_string()),
            Err(_) => Err("a member ended early".to_owned()),
        }
    }

    /// The same, if it comes in time.
    pub(crate) fn line_within(&mut self, limit: Duration) -> Result<String, String> {
        match self.lines.recv_timeout(limit) {
            Ok(line) => line.map_err(|error| error.to_string()),
            Err(RecvTimeoutError::Timeout) => Err(format!("no answer within {limit:?}")),
            Err(RecvTimeoutError::Disconnected) => Err("a member ended early".to_owned()),
        }
    }

    /// Says a line to it.
    pub(crate) fn tell(&mut self, line: &str) -> Result<(), String> {
        writeln!(self.input, "{line}").map_err(|error| error.to_string())
    }

    /// Asks it something that it answers with a `Result`, as JSON in one line.
    pub(crate) fn ask<A: DeserializeOwned>(&mut self, question: &impl Serialize) -> Answer<A> {
        self.tell(&serde_json::to_string(question).map_err(|error| error.to_string())?)?;
        let line = self.line()?;
        serde_json::from_str::<Answer<A>>(&line).map_err(|error| format!("{error}: {line:.80}"))?
    }

    /// Ends it as a crash does, without a word to it.
    pub(crate) fn kill(&mut self) -> Result<(), String> {
        self.child.kill().map_err(|error| error.to_string())
    }

    /// Sends it a signal, such as `STOP`.
    pub(crate) fn signal(&self, name: &str) -> Result<(), String> {
        let process = self.child.id().to_string();
        let status = Command::new("kill").args(["-s", name, &process]).status();
        let status = status.map_err(|error| format!("kill: {error}"))?;
        if status.success() { Ok(()) } else { Err(format!("kill -s {name} {process}: {status}")) }
    }

    /// Bytes of its largest resident set so far.
    pub(crate) fn memory(&self) -> u64 {
        memory_of(&self.child.id().to_string())
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
