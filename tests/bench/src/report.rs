//! What was measured.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::latency::{Counts, Latencies, Percentile, Summary};
use crate::options::{System, Workload};

/// One member's figures, for the measured window.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Report {
    /// Seconds measured.
    pub(crate) seconds: f64,
    /// Updates applied here.
    pub(crate) applied: u64,
    /// Updates sent from here, the warm-up's too.
    pub(crate) sent: u64,
    /// Bytes sent from here; 0 where nobody counts them.
    pub(crate) wire: u64,
    /// Frames sent from here; 0 where nobody counts them.
    pub(crate) frames: u64,
    /// System calls that sent; 0 where nobody counts them.
    pub(crate) sends: u64,
    /// Seconds of CPU time, user and system.
    pub(crate) cpu: f64,
    /// Largest resident set so far, in bytes.
    pub(crate) memory: u64,
    /// How long awaited calls took.
    pub(crate) latencies: Counts,
    /// Updates applied here in all, when everything had come to rest.
    pub(crate) total: u64,
    /// How the system was set up.
    pub(crate) settings: BTreeMap<String, String>,
    /// Whether every update that was sent must be applied everywhere: all but raw datagrams.
    pub(crate) reliable: bool,
}

/// One run of one system.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Outcome {
    pub(crate) system: System,
    pub(crate) workload: Workload,
    pub(crate) settings: BTreeMap<String, String>,
    /// Applied at *every* member: the least of them.
    pub(crate) applied_per_second: f64,
    /// Of all members, microseconds.
    pub(crate) cpu_per_update: f64,
    /// Sent by all members.
    pub(crate) wire_bytes_per_update: f64,
    /// Share of what was sent that the worst member did not get.
    pub(crate) lost: f64,
    /// The largest member's, in bytes.
    pub(crate) memory: u64,
    /// Of awaited calls, microseconds.
    pub(crate) latency: Option<Summary>,
    /// The same, as a curve.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) percentiles: Vec<Percentile>,
    #[serde(skip)]
    pub(crate) reports: Vec<Report>,
}

impl Outcome {
    /// From what the members say; an error if updates were lost that may not be.
    pub(crate) fn of(
        system: System,
        workload: &Workload,
        reports: Vec<Report>,
    ) -> Result<Outcome, String> {
        let first = reports.first().ok_or("no member has reported")?;
        let rates = reports.iter().map(|report| report.applied as f64 / report.seconds);
        let most = reports.iter().map(|report| report.applied).max().unwrap_or(0).max(1) as f64;
        let sum = |of: fn(&Report) -> f64| reports.iter().map(of).sum::<f64>();
        let sent: u64 = reports.iter().map(|report| report.sent).sum();
        let least = reports.iter().map(|report| report.total).min().unwrap_or(0);
        let lost = 1.0 - least as f64 / sent.max(1) as f64;
        if first.reliable && reports.iter().any(|report| report.total != sent) {
            let totals: Vec<u64> = reports.iter().map(|report| report.total).collect();
            return Err(format!("{system}: {sent} updates were sent, applied were {totals:?}"));
        }
        let mut latencies = Latencies::new();
        for report in &reports {
            latencies.add(&report.latencies);
        }
        Ok(Outcome {
            system,
            workload: workload.clone(),
            settings: first.settings.clone(),
            applied_per_second: rates.fold(f64::MAX, f64::min),
            cpu_per_update: sum(|report| report.cpu) * 1e6 / most,
            wire_bytes_per_update: sum(|report| report.wire as f64) / most,
            lost,
            memory: reports.iter().map(|report| report.memory).max().unwrap_or(0),
            latency: latencies.summary(),
            percentiles: latencies.curve(),
            reports,
        })
    }
}

/// This process's CPU time in seconds.
pub(crate) fn cpu() -> f64 {
    cpu_of("self")
}

/// A process's CPU time in seconds.
pub(crate) fn cpu_of(process: &str) -> f64 {
    // Of threads that are still there it is known to the nanosecond, of all in ticks of 10 ms.
    threads(process).max(ticks(process))
}

fn threads(process: &str) -> f64 {
    let tasks = std::fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().flatten();
    let stats =
        tasks.filter_map(|task| std::fs::read_to_string(task.path().join("schedstat")).ok());
    let nanos = stats.filter_map(|stat| stat.split_whitespace().next()?.parse::<u64>().ok());
    nanos.sum::<u64>() as f64 / 1e9
}

fn ticks(process: &str) -> f64 {
    // utime and stime are the 12th and 13th after the command, which stands in parentheses.
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    let after = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let ticks: f64 =
        after.split_whitespace().skip(11).take(2).filter_map(|t| t.parse::<f64>().ok()).sum();
    ticks / 100.0
}

/// This process's largest resident set in bytes.
pub(crate) fn memory() -> u64 {
    memory_of("self")
}

/// A process's largest resident set in bytes; 0 where that cannot be read.
pub(crate) fn memory_of(process: &str) -> u64 {
    status(process, "VmHWM:")
}

/// This process's resident set now, in bytes.
pub(crate) fn resident() -> u64 {
    status("self", "VmRSS:")
}

fn status(process: &str, name: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let kilobytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kilobytes.unwrap_or(0) * 1024
}

/// The machine, as far as it matters.
pub(crate) fn machine() -> BTreeMap<String, String> {
    let read = |path| std::fs::read_to_string(path).unwrap_or_default();
    let cpus = read("/proc/cpuinfo");
    let model = cpus.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get());
    let loads = read("/proc/loadavg");
    BTreeMap::from([
        ("cores".to_owned(), cores.to_string()),
        ("cpu".to_owned(), model.map_or_else(String::new, |(_, model)| model.to_owned())),
        ("kernel".to_owned(), read("/proc/sys/kernel/osrelease").trim().to_owned()),
        // Who else works here: a figure with a load beside it says little.
        ("load".to_owned(), loads.split_whitespace().next().unwrap_or("").to_owned()),
    ])
}
