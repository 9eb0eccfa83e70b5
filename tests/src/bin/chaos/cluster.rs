//! The members as processes.

use std::net::UdpSocket;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::timeout;
use vsync::Client;

use crate::member::{Counts, SECRET, Standing};

/// How long a member may take to be one.
const PATIENCE: Duration = Duration::from_secs(60);

/// Processes, one per member.
pub(crate) struct Cluster {
    addresses: Vec<String>,
    members: Vec<Member>,
    started: usize,
    /// What every other member keeps instead of applying it.
    cold: Option<usize>,
}

struct Member {
    child: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
}

impl Cluster {
    /// So many members, ready.
    pub(crate) async fn start(size: usize, cold: Option<usize>) -> Result<Cluster, String> {
        let addresses = addresses(size)?;
        let mut cluster = Cluster { addresses, members: Vec::new(), started: 0, cold };
        for index in 0..size {
            let member = cluster.spawn(index, index == 0).await?;
            cluster.members.push(member);
        }
        Ok(cluster)
    }

    async fn spawn(&mut self, index: usize, first: bool) -> Result<Member, String> {
        let say = |error: std::io::Error| error.to_string();
        let name = format!("m{index}.{}", self.started);
        self.started += 1;
        let mut command = Command::new(std::env::current_exe().map_err(say)?);
        if let Some(bytes) = self.cold {
            let bytes = if index % 2 == 1 { bytes } else { 0 };
            command.arg("--cold").arg(bytes.to_string());
        }
        command.arg("--member").arg(name).arg(&self.addresses[index]);
        if first {
            command.arg("bootstrap");
        } else {
            let others = self.addresses.iter().enumerate().filter(|(other, _)| *other != index);
            command.args(others.map(|(_, address)| address));
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().map_err(say)?;
        let (input, output) = (child.stdin.take(), child.stdout.take());
        let (Some(input), Some(output)) = (input, output) else {
            return Err("a process without pipes".to_owned());
        };
        let mut member = Member { child, input, output: BufReader::new(output).lines() };
        match timeout(PATIENCE, member.line()).await {
            Ok(Ok(line)) if line == "ready" => Ok(member),
            other => Err(format!("m{index} is no member: {other:?}")),
        }
    }

    /// How many members there are.
    pub(crate) fn size(&self) -> usize {
        self.members.len()
    }

    /// How each of them is.
    pub(crate) async fn standings(&mut self) -> Result<Vec<Standing>, String> {
        let mut standings = Vec::new();
        for member in &mut self.members {
            member.input.write_all(b"how\n").await.map_err(|error| error.to_string())?;
            let line = member.line().await?;
            standings.push(Standing::read(&line).ok_or(format!("{line:?} is no standing"))?);
        }
        Ok(standings)
    }

    /// `kill -9`.
    pub(crate) async fn kill(&mut self, index: usize) -> Result<(), String> {
        self.members[index].child.kill().await.map_err(|error| error.to_string())
    }

    /// Starts it again, as another process.
    pub(crate) async fn restart(&mut self, index: usize) -> Result<(), String> {
        self.members[index] = self.spawn(index, false).await?;
        Ok(())
    }

    /// A client that knows all their addresses.
    pub(crate) async fn client<C: Counts>(&self) -> Result<C, String> {
        let client = Client::connect(self.addresses.clone(), SECRET).await;
        Ok(C::of(&client.map_err(|error| error.to_string())?))
    }
}

/// Free addresses, of ports that the system gives to nobody who does not ask for them: a member
/// that is started again finds its own.
fn addresses(count: usize) -> Result<Vec<String>, String> {
    let first = 20_000 + (std::process::id() % 1000) * 10;
    let free = (first..32_000)
        .map(|port| format!("127.0.0.1:{port}"))
        .filter(|address| UdpSocket::bind(address).is_ok())
        .take(count)
        .collect::<Vec<_>>();
    if free.len() == count { Ok(free) } else { Err("there are no free ports".to_owned()) }
}

impl Member {
    async fn line(&mut self) -> Result<String, String> {
        let line = self.output.next_line().await.map_err(|error| error.to_string())?;
        line.ok_or_else(|| "it has ended".to_owned())
    }
}
