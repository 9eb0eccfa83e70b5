//! The processes of a run, and their end in every case.

use std::ffi::OsString;
use std::fs::File;
use std::process::Stdio;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{ChildStdin, Command};
use tokio::sync::mpsc;

use crate::controller::Places;
use crate::words::{Order, Said};

/// A process that the parent started. Dropped it is killed; and it ends by itself when the parent
/// is gone, as its standard input is.
#[derive(Debug)]
pub(crate) struct Child {
    /// What it is called.
    pub(crate) name: &'static str,
    process: tokio::process::Child,
    orders: ChildStdin,
}

impl Child {
    /// Starts this program again with other arguments. What the process says comes out of `said`,
    /// under its name, [`Said::Ended`] at the end.
    pub(crate) fn start(
        name: &'static str,
        arguments: Vec<OsString>,
        places: &Places,
        said: mpsc::UnboundedSender<(&'static str, Said)>,
    ) -> Result<Child, String> {
        let context = |error: std::io::Error| format!("cannot start {name}: {error}");
        let program = std::env::current_exe().map_err(context)?;
        let mut process = Command::new(program)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(File::create(places.log(name)).map_err(context)?)
            .kill_on_drop(true)
            .spawn()
            .map_err(context)?;
        let (Some(orders), Some(out)) = (process.stdin.take(), process.stdout.take()) else {
            return Err(format!("cannot talk to {name}"));
        };
        tokio::spawn(async move {
            let mut lines = BufReader::new(out).lines();
            while let Ok(Some(line)) = lines.next_line().await {
                let what = serde_json::from_str(&line).unwrap_or_else(|_| Said::Failed {
                    why: format!("says something that nobody understands: {line}"),
                });
                let _ = said.send((name, what));
            }
            let _ = said.send((name, Said::Ended));
        });
        Ok(Child { name, process, orders })
    }

    /// Gives an order. A process that is gone says so in its own way.
    pub(crate) async fn order(&mut self, order: &Order) {
        if let Ok(line) = serde_json::to_string(order) {
            let _ = self.orders.write_all(format!("{line}\n").as_bytes()).await;
            let _ = self.orders.flush().await;
        }
    }

    /// The process's id.
    pub(crate) fn pid(&self) -> Option<u32> {
        self.process.id()
    }

    /// Kills the process with SIGKILL, and waits for its end.
    pub(crate) async fn kill(&mut self) -> Result<(), String> {
        self.process.kill().await.map_err(|error| format!("cannot kill {}: {error}", self.name))
    }

    /// Waits for the process's end by itself, and says whether it was a good one.
    pub(crate) async fn wait(&mut self) -> Result<(), String> {
        let status =
            self.process.wait().await.map_err(|error| format!("{}: {error}", self.name))?;
        if status.success() { Ok(()) } else { Err(format!("{} ended with {status}", self.name)) }
    }
}
