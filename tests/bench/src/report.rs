//! What a member measured.

use serde::{Deserialize, Serialize};

/// One member's figures, for the measured window.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Report {
    /// Seconds measured.
    pub(crate) seconds: f64,
    /// Updates applied here.
    pub(crate) applied: u64,
    /// Updates sent from here.
    pub(crate) sent: u64,
    /// Bytes in datagrams sent from here.
    pub(crate) wire: u64,
    /// Seconds of CPU time, user and system.
    pub(crate) cpu: f64,
    /// Largest resident set so far, in bytes.
    pub(crate) memory: u64,
    /// Median and 99th percentile of awaited calls, in microseconds.
    pub(crate) latency: Option<(f64, f64)>,
    /// Updates applied here in all, when everything had come to rest.
    pub(crate) total: u64,
}

/// This process's CPU time in seconds.
pub(crate) fn cpu() -> f64 {
    // utime and stime are the 12th and 13th after the command, which stands in parentheses.
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let ticks: f64 =
        after.split_whitespace().skip(11).take(2).filter_map(|t| t.parse::<f64>().ok()).sum();
    ticks / 100.0
}

/// This process's largest resident set in bytes.
pub(crate) fn memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kilobytes.unwrap_or(0) * 1024
}
