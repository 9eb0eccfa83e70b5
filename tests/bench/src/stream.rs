//! `stream`: one system under one workload.

use crate::cluster;
use crate::options::{StreamOptions, Workload};
use crate::references;
use crate::report::Outcome;

/// Runs it, and prints what was measured.
pub(crate) fn run(options: &StreamOptions) -> Result<(), String> {
    references::built_in(&[options.system])?;
    let outcome = cluster::run(options.system, &options.workload)?;
    if options.json {
        println!("{}", serde_json::to_string(&outcome).map_err(|error| error.to_string())?);
    } else {
        print(&outcome);
    }
    Ok(())
}

fn print(outcome: &Outcome) {
    println!("{}: {}", outcome.system, outcome.workload.describe());
    for (name, value) in &outcome.settings {
        println!("  {name}: {value}");
    }
    let Workload { first, besides, .. } = outcome.workload;
    if first > 0 {
        println!("  first sender: member {first}");
    }
    if besides > 0.0 {
        println!("  besides: {besides:.0} updates/s of all members, which nobody awaits");
    }
    println!(
        "member  applied/s      sent  wire MB/s  B/frame  B/send  CPU s  CPU µs/update  memory MB"
    );
    for (index, report) in outcome.reports.iter().enumerate() {
        let rate = report.applied as f64 / report.seconds;
        println!(
            "{index:>6}  {rate:>9.0}  {:>9}  {:>9.1}  {:>7.0}  {:>6.0}  {:>5.2}  {:>13.2}  {:>9.1}",
            report.sent,
            report.wire as f64 / report.seconds / 1e6,
            report.wire as f64 / report.frames.max(1) as f64,
            report.wire as f64 / report.sends.max(1) as f64,
            report.cpu,
            report.cpu * 1e6 / report.applied.max(1) as f64,
            report.memory as f64 / 1e6,
        );
    }
    if let Some(latency) = &outcome.latency {
        println!(
            "calls, µs: p10 {:.0}, p50 {:.0}, p90 {:.0}, p99 {:.0}, p99.9 {:.0}, max {:.0}",
            latency.p10, latency.p50, latency.p90, latency.p99, latency.p999, latency.max
        );
    }
    let receivers = (outcome.workload.members as f64 - 1.0).max(1.0);
    println!(
        "applied at every member: {:.0}/s; on the wire {:.1} bytes per update \
         ({:.1} per update and receiver); CPU {:.2} µs per update, all members",
        outcome.applied_per_second,
        outcome.wire_bytes_per_update,
        outcome.wire_bytes_per_update / receivers,
        outcome.cpu_per_update,
    );
}
