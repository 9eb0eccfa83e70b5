//! corosync as Debian ships it: a daemon per member of the workload, and beside each a client in C
//! that sends messages with agreed delivery: `peers/cpg.c`. Daemons of one host would share the
//! names of their sockets, hence each runs in namespaces of its own: `peers/corosync.sh`.
//!
//! An update is a message, one for each: packing many into one is not how it is used. It is applied
//! when the client has counted it.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::daemon::{self, Daemon, Directory};
use crate::latency::Counts;
use crate::options::{System, Workload};
use crate::report::{Outcome, Report};
use crate::seat::WARM_UP;

const CLIENT: &str = include_str!("../../peers/cpg.c");
const SCRIPT: &str = include_str!("../../peers/corosync.sh");

/// Messages of a sender's under way when it streams. Of no bound, 128, 256 and 512 it did best, in
/// one run each on a loaded machine with two cores.
const STREAMING: usize = 256;

/// What shells and namespaces need to start, and the members to find each other and to settle.
const PATIENCE: Duration = Duration::from_secs(90);

/// Runs the daemons under the workload.
pub(crate) fn run(workload: &Workload) -> Result<Outcome, String> {
    if workload.size == 0 {
        return Err("corosync sends no empty messages".to_owned());
    }
    let corosync = daemon::find("corosync", &[], "corosync")?;
    let unshare = daemon::find("unshare", &[], "util-linux")?;
    daemon::find("ip", &[], "iproute2")?;
    let compiler = daemon::find("cc", &[], "gcc")?;
    if !Path::new("/usr/include/corosync/cpg.h").exists() {
        return Err("cpg.h was not found: install Debian's package libcpg-dev".to_owned());
    }
    if daemon::output(Command::new("id").arg("-u"))? != "0" {
        return Err("corosync runs in namespaces, which only root can make".to_owned());
    }
    let directory = Directory::new("corosync")?;
    let place = directory.path();
    let write = |name: &str, text: &str| {
        fs::write(place.join(name), text).map_err(|error| format!("{name}: {error}"))
    };
    write("cpg.c", CLIENT)?;
    write("corosync.sh", SCRIPT)?;
    write("corosync.conf", &configuration(workload))?;
    let mut compile = Command::new(compiler);
    compile.current_dir(place).args(["-O2", "-o", "cpg", "cpg.c", "-lcpg"]);
    daemon::output(&mut compile)?;
    // Processes in the new namespace end with its first one.
    let namespaces = ["--mount", "--net", "--ipc", "--pid", "--fork", "--kill-child"];
    let mut command = daemon::bound("KILL", &[], &unshare)?;
    command.args(namespaces).args(["--mount-proc", "sh"]).arg(place.join("corosync.sh"));
    command.arg(place).arg(&corosync).arg(workload.members.to_string());
    let window = if workload.in_flight == 0 { STREAMING } else { workload.in_flight };
    command.args([workload.senders(), workload.size, window].map(|n| n.to_string()));
    command.args([WARM_UP.as_secs(), workload.seconds].map(|n| n.to_string()));
    let log = place.join("log");
    let mut script = Daemon::start(command, log.clone())?;
    let limit = PATIENCE + Duration::from_secs(workload.seconds);
    daemon::wait_for("corosync", limit, || script.ended())?;
    let version = daemon::output(Command::new(corosync).arg("-v"))?;
    let mut settings = settings(version.lines().next().unwrap_or_default(), scheduling(workload));
    settings.insert("in flight per sender".to_owned(), window.to_string());
    let reports = (0..workload.members).map(|index| {
        let read = |name: &str| fs::read_to_string(place.join(format!("{index}.{name}")));
        let text = read("json").unwrap_or_default();
        let report = serde_json::from_str::<Report>(&text).map_err(|why| {
            let said = read("error").unwrap_or_default();
            let last = daemon::tail(&place.join(format!("{index}.log")));
            let log = daemon::tail(&log);
            format!("corosync, member {index}: its report: {why}: {said}{last}{log}")
        })?;
        // A stream awaits nothing, although its window does.
        let latencies = match workload.in_flight {
            0 => Counts::default(),
            _ => report.latencies,
        };
        Ok(Report { settings: settings.clone(), latencies, ..report })
    });
    Outcome::of(System::Corosync, workload, reports.collect::<Result<_, String>>()?)
}

/// Real-time scheduling: on two cores it made lone messages faster and all other loads slower.
fn scheduling(workload: &Workload) -> &'static str {
    if workload.in_flight == 1 { "yes" } else { "no" }
}

/// Who is there. The window is larger than as shipped, which was slower in the few runs that tried
/// both.
fn configuration(workload: &Workload) -> String {
    let mut text = format!(
        "totem {{\n version: 2\n cluster_name: bench\n transport: knet\n crypto_cipher: none\n \
         crypto_hash: none\n window_size: 300\n max_messages: 100\n}}\n\
         system {{\n sched_rr: {}\n move_to_root_cgroup: no\n}}\n\
         logging {{\n to_stderr: yes\n to_syslog: no\n to_logfile: no\n}}\nnodelist {{\n",
        scheduling(workload)
    );
    for index in 0..workload.members {
        let id = index + 1;
        // Writing to a string does not fail.
        let _ = writeln!(
            text,
            " node {{\n  name: m{index}\n  nodeid: {id}\n  ring0_addr: 127.0.0.{id}\n }}"
        );
    }
    text + "}\n"
}

fn settings(version: &str, scheduling: &str) -> BTreeMap<String, String> {
    let settings = [
        ("version", version),
        ("transport", "knet over UDP, crypto off"),
        ("delivery", "agreed, one update per message"),
        ("window_size", "300"),
        ("max_messages", "100"),
        ("sched_rr", scheduling),
        ("an awaited call", "until its message is delivered at its sender"),
        ("CPU", "of the daemons and their clients"),
        ("memory", "of a daemon"),
    ];
    settings.map(|(name, value)| (name.to_owned(), value.to_owned())).into()
}
