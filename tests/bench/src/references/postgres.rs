//! PostgreSQL as Debian ships it: a primary and its synchronous standbys, one server per member of
//! the workload; `pgbench` runs serializable transactions at the primary.
//!
//! An update is a transaction: it puts the payload into its client's row and counts. A commit
//! returns when all standbys have applied it, hence what is committed is applied everywhere.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::daemon::{self, Daemon, Directory};
use crate::latency::Latencies;
use crate::options::{System, Workload};
use crate::report::{Outcome, Report, cpu_of};
use crate::seat::WARM_UP;

/// Clients when nothing else is asked for, from an earlier measurement; not tuned here. A single
/// run on a loaded machine with two cores had more with 64.
const CLIENTS: usize = 32;

const UPDATE: &str = "UPDATE sink SET updates = updates + 1, bytes = bytes + length(:payload), \
                      payload = :payload WHERE client = :client_id;\n";

/// Where the servers' programs and data are, and as whom they run.
struct Place {
    programs: PathBuf,
    directory: Directory,
    /// For `setpriv`: servers refuse to run as root.
    user: Vec<String>,
}

/// A server.
struct Server {
    daemon: Daemon,
    port: u16,
}

/// What the load was.
struct Load {
    /// The window measured.
    begun: SystemTime,
    ended: SystemTime,
    /// Of each server within it.
    cpu: Vec<f64>,
    /// Of each server's largest process.
    memory: Vec<u64>,
}

/// Runs the servers under the workload.
pub(crate) fn run(workload: &Workload) -> Result<Outcome, String> {
    if workload.size > 100_000 {
        return Err("pgbench takes payloads of 100000 bytes at most".to_owned());
    }
    if let Some(why) = System::Postgres.cannot(workload) {
        return Err(why.to_owned());
    }
    let clients = match workload.in_flight {
        0 => CLIENTS,
        // Of each sender, as everywhere: they are all clients of the primary.
        some => some * workload.senders(),
    };
    let place = Place::new()?;
    let mut servers = vec![place.primary(workload.members, clients)?];
    for _ in 1..workload.members {
        servers.push(place.standby(&servers)?);
    }
    let (primary, standbys) = (&servers[0], workload.members - 1);
    daemon::wait_for("synchronous standbys", Duration::from_secs(30), || {
        let all = "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'";
        Ok(place.ask(primary, all)? == standbys.to_string())
    })?;
    place.ask(primary, &table(clients))?;
    let load = place.load(workload, clients, &servers)?;
    let mut reports = place.reports(&servers, &load)?;
    let settings = place.settings(primary, standbys, clients)?;
    reports.iter_mut().for_each(|report| report.settings = settings.clone());
    Outcome::of(System::Postgres, workload, reports)
}

/// A row per client, and room beside each for its next versions: a page of its own.
fn table(clients: usize) -> String {
    format!(
        "CREATE TABLE sink (client bigint PRIMARY KEY, updates bigint, bytes bigint, payload text) \
         WITH (fillfactor = 10); \
         INSERT INTO sink SELECT i, 0, 0, '' FROM generate_series(0, {clients} - 1) i; \
         VACUUM ANALYZE sink; CHECKPOINT;"
    )
}

impl Place {
    fn new() -> Result<Place, String> {
        // Debian has the servers' programs by version, outside of the path.
        let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
        let mut versions: Vec<PathBuf> =
            versions.map(|version| version.path().join("bin")).collect();
        versions.sort();
        let newest = versions.last().map(|path| path.to_string_lossy().into_owned());
        let initdb = daemon::find("initdb", &[&newest.unwrap_or_default()], "postgresql")?;
        let programs = initdb.parent().unwrap_or(Path::new("/")).to_owned();
        let directory = Directory::new("postgres")?;
        let mut user = Vec::new();
        let me = daemon::output(Command::new("id").arg("-u"))?;
        if me == "0" {
            user = ["--reuid", "postgres", "--regid", "postgres", "--init-groups"]
                .map(str::to_owned)
                .to_vec();
            daemon::output(Command::new("chown").arg("postgres:postgres").arg(directory.path()))?;
        }
        Ok(Place { programs, directory, user })
    }

    /// A program of theirs, as their user.
    fn command(&self, program: &str) -> Result<Command, String> {
        let mut command = daemon::bound("INT", &self.user, &self.programs.join(program))?;
        command.current_dir(self.directory.path());
        Ok(command)
    }

    fn primary(&self, members: usize, clients: usize) -> Result<Server, String> {
        let data = self.directory.path().join("m0");
        let mut init = self.command("initdb")?;
        init.args(["--auth", "trust", "--username", "bench", "--encoding", "UTF8"]);
        daemon::output(init.args(["--locale", "C", "--pgdata"]).arg(&data))?;
        let standbys: Vec<String> = (1..members).map(|index| format!("m{index}")).collect();
        let synchronous = match standbys.len() {
            0 => String::new(),
            some => format!("FIRST {some} ({})", standbys.join(", ")),
        };
        // The rest is as shipped; above all, fsync and full_page_writes are on.
        let settings = format!(
            "unix_socket_directories = '{}'\n\
             listen_addresses = '127.0.0.1'\n\
             max_connections = {}\n\
             max_wal_senders = {}\n\
             shared_buffers = 128MB\n\
             max_wal_size = 4GB\n\
             checkpoint_timeout = 30min\n\
             default_transaction_isolation = serializable\n\
             max_pred_locks_per_transaction = 256\n\
             # Read as a whole, so small a table would have all transactions conflict.\n\
             enable_seqscan = off\n\
             enable_bitmapscan = off\n\
             synchronous_commit = remote_apply\n\
             synchronous_standby_names = '{synchronous}'\n",
            self.directory.path().display(),
            clients + 20,
            members + 4,
        );
        let file = data.join("postgresql.conf");
        let shipped = fs::read_to_string(&file).map_err(|error| error.to_string())?;
        fs::write(&file, shipped + &settings).map_err(|error| error.to_string())?;
        self.server(&data)
    }

    fn standby(&self, servers: &[Server]) -> Result<Server, String> {
        let name = format!("m{}", servers.len());
        let data = self.directory.path().join(&name);
        let source =
            format!("host=127.0.0.1 port={} user=bench application_name={name}", servers[0].port);
        let mut backup = self.command("pg_basebackup")?;
        backup.args(["--checkpoint", "fast", "--write-recovery-conf", "--no-sync"]);
        daemon::output(backup.args(["--dbname", &source, "--pgdata"]).arg(&data))?;
        // Hot standbys refuse to start transactions of the primary's kind.
        let (file, own) = (data.join("postgresql.conf"), "default_transaction_isolation");
        let settings = fs::read_to_string(&file).map_err(|error| error.to_string())?;
        let settings = settings + own + " = 'repeatable read'\n";
        fs::write(&file, settings).map_err(|error| error.to_string())?;
        self.server(&data)
    }

    fn server(&self, data: &Path) -> Result<Server, String> {
        let port = daemon::free_ports(1)?[0];
        // On ^Quit a server ends its children and itself, at once.
        let mut command = daemon::bound("QUIT", &self.user, &self.programs.join("postgres"))?;
        command.current_dir(self.directory.path()).arg("-D").arg(data);
        command.args(["-p", &port.to_string()]);
        let mut stop = self.command("pg_ctl")?;
        stop.args(["stop", "--mode", "immediate", "--pgdata"]).arg(data);
        let daemon = Daemon::start(command, data.with_extension("log"))?.stopped_by(stop);
        let mut server = Server { daemon, port };
        daemon::wait_for("postgres", Duration::from_secs(60), || {
            server.daemon.check()?;
            Ok(self.ask(&server, "SELECT 1").is_ok())
        })?;
        Ok(server)
    }

    /// What a server answers.
    fn ask(&self, server: &Server, statements: &str) -> Result<String, String> {
        let mut command = self.command("psql")?;
        command.args(["--no-psqlrc", "--quiet", "--tuples-only", "--no-align"]);
        command.args(["--set", "ON_ERROR_STOP=1", "--dbname", "postgres", "--username", "bench"]);
        command.arg("--host").arg(self.directory.path());
        command.args(["--port", &server.port.to_string()]);
        // Each is a transaction of its own.
        for statement in statements.split(';').filter(|statement| !statement.trim().is_empty()) {
            command.args(["--command", statement]);
        }
        daemon::output(&mut command)
    }

    fn load(
        &self,
        workload: &Workload,
        clients: usize,
        servers: &[Server],
    ) -> Result<Load, String> {
        let script = self.directory.path().join("update.sql");
        fs::write(&script, UPDATE).map_err(|error| error.to_string())?;
        let mut command = self.command("pgbench")?;
        command.args(["--no-vacuum", "--protocol", "prepared", "--progress", "1", "--log"]);
        command.args(["--max-tries", "1000", "--client", &clients.to_string()]);
        command.args(["--jobs", &workload.threads.min(clients).to_string()]);
        // A second more than is measured, which thus is under full load to its end.
        let time = WARM_UP.as_secs() + workload.seconds + 1;
        command.args(["--time", &time.to_string()]);
        command.args(["--define", &format!("payload={}", "x".repeat(workload.size))]);
        command.arg("--file").arg(&script).arg("--host").arg(self.directory.path());
        command.args(["--port", &servers[0].port.to_string(), "--username", "bench", "postgres"]);
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| format!("pgbench: {error}"))?;
        let load = watch(&mut child, workload, servers);
        if load.is_err() {
            // It may still run.
            let _ = child.kill();
        }
        let status = child.wait().map_err(|error| error.to_string())?;
        let load = load?;
        if status.success() { Ok(load) } else { Err(format!("pgbench ended with {status}")) }
    }

    fn reports(&self, servers: &[Server], load: &Load) -> Result<Vec<Report>, String> {
        let (mut sent, mut applied, mut latencies) = (0, 0, Latencies::new());
        for entry in fs::read_dir(self.directory.path()).map_err(|error| error.to_string())? {
            let path = entry.map_err(|error| error.to_string())?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if !name.starts_with("pgbench_log.") {
                continue;
            }
            let log = fs::read_to_string(&path).map_err(|error| error.to_string())?;
            for line in log.lines() {
                let (took, at) = transaction(line)?;
                sent += 1;
                if load.begun <= at && at < load.ended {
                    applied += 1;
                    latencies.record(took);
                }
            }
        }
        let seconds = load.ended.duration_since(load.begun).unwrap_or_default().as_secs_f64();
        let mut reports = Vec::new();
        for (index, server) in servers.iter().enumerate() {
            let total = self.ask(server, "SELECT sum(updates) FROM sink")?;
            let first = index == 0;
            reports.push(Report {
                seconds,
                applied,
                // All are sent at the primary: a standby takes none.
                sent: if first { sent } else { 0 },
                cpu: load.cpu[index],
                memory: load.memory[index],
                latencies: if first { latencies.counts() } else { Latencies::new().counts() },
                total: total.parse().map_err(|_| format!("{total:?} is no count"))?,
                reliable: true,
                ..Report::default()
            });
        }
        Ok(reports)
    }

    fn settings(
        &self,
        primary: &Server,
        standbys: usize,
        clients: usize,
    ) -> Result<BTreeMap<String, String>, String> {
        let mut settings = BTreeMap::new();
        let mut set = |name: &str, value: String| settings.insert(name.to_owned(), value);
        for name in [
            "server_version",
            "synchronous_standby_names",
            "synchronous_commit",
            "default_transaction_isolation",
            "fsync",
            "full_page_writes",
        ] {
            set(name, self.ask(primary, &format!("SHOW {name}"))?);
        }
        set("data", format!("on {}", self.directory.file_system()));
        set("standbys", format!("{standbys}, streaming over TCP, no encryption"));
        set(
            "clients",
            format!("{clients} in all, of the primary over a Unix socket, one row each (pgbench)"),
        );
        set("an update", "one UPDATE, prepared, a transaction by itself".to_owned());
        set("CPU", "of the servers, without the clients".to_owned());
        Ok(settings)
    }
}

/// Watches `pgbench` from its first second to the end of the window.
fn watch(child: &mut Child, workload: &Workload, servers: &[Server]) -> Result<Load, String> {
    let errors = child.stderr.take().ok_or("pgbench has no pipe")?;
    let mut lines = BufReader::new(errors);
    let warm_up = WARM_UP.as_secs();
    seconds(&mut lines, warm_up)?;
    let (begun, before) = (SystemTime::now(), servers.iter().map(cpu));
    let before: Vec<f64> = before.collect();
    seconds(&mut lines, workload.seconds)?;
    let (ended, after) = (SystemTime::now(), servers.iter().map(cpu));
    let cpu = after.zip(before).map(|(after, before)| after - before).collect();
    let memory = servers.iter().map(|server| {
        let pids = processes(server.daemon.pid());
        pids.into_iter().map(daemon::memory_of).max().unwrap_or(0)
    });
    let memory = memory.collect();
    // It must not find its pipe closed, or full.
    std::io::copy(&mut lines, &mut std::io::sink()).map_err(|error| error.to_string())?;
    Ok(Load { begun, ended, cpu, memory })
}

/// Reads until it has told of so many more seconds.
fn seconds(lines: &mut BufReader<ChildStderr>, count: u64) -> Result<(), String> {
    let (mut seen, mut said) = (0, String::new());
    while seen < count {
        let start = said.len();
        if lines.read_line(&mut said).map_err(|error| error.to_string())? == 0 {
            return Err(format!("pgbench ended early: {said}"));
        }
        seen += u64::from(said[start..].starts_with("progress:"));
    }
    Ok(())
}

/// How long a transaction took and when it ended, from `client number µs script seconds µs …`.
fn transaction(line: &str) -> Result<(Duration, SystemTime), String> {
    let bad = || format!("pgbench logs {line:?}");
    let words: Vec<&str> = line.split(' ').collect();
    let number = |place: usize| -> Result<u64, String> {
        words.get(place).and_then(|word| word.parse().ok()).ok_or_else(bad)
    };
    let at = Duration::from_secs(number(4)?) + Duration::from_micros(number(5)?);
    Ok((Duration::from_micros(number(2)?), UNIX_EPOCH + at))
}

/// A server's CPU time. Its processes live longer than the window.
fn cpu(server: &Server) -> f64 {
    processes(server.daemon.pid()).into_iter().map(|pid| cpu_of(&pid.to_string())).sum()
}

/// A process and its children.
fn processes(pid: u32) -> Vec<u32> {
    let children = format!("/proc/{pid}/task/{pid}/children");
    let children = fs::read_to_string(children).unwrap_or_default();
    let children = children.split_whitespace().filter_map(|pid| pid.parse().ok());
    std::iter::once(pid).chain(children).collect()
}
