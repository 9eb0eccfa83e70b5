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
use crate::options::{System, Workload};
use crate::report::{Outcome, Report};
use crate::seat::WARM_UP;

const CLIENT: &str = include_str!("../../peers/cpg.c");
const SCRIPT: &str = include_str!("../../peers/corosync.sh");

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
    write("corosync.conf", &configuration(workload.members))?;
    let mut compile = Command::new(compiler);
    compile.current_dir(place).args(["-O2", "-o", "cpg", "cpg.c", "-lcpg"]);
    daemon::output(&mut compile)?;
    // Processes in the new namespace end with its first one.
    let namespaces = ["--mount", "--net", "--ipc", "--pid", "--fork", "--kill-child"];
    let mut command = daemon::bound("KILL", &[], &unshare)?;
    command.args(namespaces).args(["--mount-proc", "sh"]).arg(place.join("corosync.sh"));
    command.arg(place).arg(&corosync).arg(workload.members.to_string());
    command.args([workload.senders(), workload.size, workload.in_flight].map(|n| n.to_string()));
    command.args([WARM_UP.as_secs(), workload.seconds].map(|n| n.to_string()));
    let log = place.join("log");
    let mut script = Daemon::start(command, log.clone())?;
    let limit = PATIENCE + Duration::from_secs(workload.seconds);
    daemon::wait_for("corosync", limit, || script.ended())?;
    let version = daemon::output(Command::new(corosync).arg("-v"))?;
    let settings = settings(version.lines().next().unwrap_or_default());
    let reports = (0..workload.members).map(|index| {
        let read = |name: &str| fs::read_to_string(place.join(format!("{index}.{name}")));
        let text = read("json").unwrap_or_default();
        let report = serde_json::from_str::<Report>(&text).map_err(|_| {
            let said = read("error").unwrap_or_default();
            let last = daemon::tail(&place.join(format!("{index}.log")));
            format!("corosync, member {index}: {said}{last}{}", daemon::tail(&log))
        })?;
        Ok(Report { settings: settings.clone(), ..report })
    });
    Outcome::of(System::Corosync, workload, reports.collect::<Result<_, String>>()?)
}

/// Who is there, and what is best on one host.
fn configuration(members: usize) -> String {
    let mut text = String::from(
        "totem {\n version: 2\n cluster_name: bench\n transport: knet\n crypto_cipher: none\n \
         crypto_hash: none\n}\nsystem {\n sched_rr: no\n move_to_root_cgroup: no\n}\nlogging {\n \
         to_stderr: yes\n to_syslog: no\n to_logfile: no\n}\nnodelist {\n",
    );
    for index in 0..members {
        let id = index + 1;
        // Writing to a string does not fail.
        let _ = writeln!(
            text,
            " node {{\n  name: m{index}\n  nodeid: {id}\n  ring0_addr: 127.0.0.{id}\n }}"
        );
    }
    text + "}\n"
}

fn settings(version: &str) -> BTreeMap<String, String> {
    let settings = [
        ("version", version),
        ("transport", "knet over UDP, crypto off"),
        ("delivery", "agreed, one update per message"),
        ("window", "as shipped"),
        ("scheduling", "sched_rr: no"),
        ("an awaited call", "until its message is delivered at its sender"),
        ("CPU", "of the daemons and their clients"),
        ("memory", "of a daemon"),
    ];
    settings.map(|(name, value)| (name.to_owned(), value.to_owned())).into()
}
