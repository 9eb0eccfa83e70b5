//! `stream`: all senders send as fast as they may; counted is what every member applied.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use crate::options::Options;
use crate::report::Report;

/// A member process.
struct Member {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Member {
    fn start(options: &Options, index: usize, seed: Option<&str>) -> Result<Member, String> {
        let program = std::env::current_exe().map_err(|error| error.to_string())?;
        let mut child = Command::new(program)
            .args(options.member(index, seed))
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

    fn line(&mut self) -> Result<String, String> {
        let mut line = String::new();
        match self.output.read_line(&mut line) {
            Ok(0) => Err("a member ended early".to_owned()),
            Ok(_) => Ok(line.trim_end().to_owned()),
            Err(error) => Err(error.to_string()),
        }
    }

    fn tell(&mut self, word: &str) -> Result<(), String> {
        writeln!(self.input, "{word}").map_err(|error| error.to_string())
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        // Already ended after an orderly run; nothing is left to do where killing fails.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs the members, and prints what they measured.
pub(crate) fn run(options: &Options) -> Result<(), String> {
    let mut members: Vec<Member> = Vec::new();
    let mut seed: Option<String> = None;
    for index in 0..options.members {
        let mut member = Member::start(options, index, seed.as_deref())?;
        let address = member.line()?;
        seed.get_or_insert(address);
        members.push(member);
    }
    for member in &mut members {
        member.tell("go")?;
    }
    let mut reports = Vec::new();
    for member in &mut members {
        let report: Report =
            serde_json::from_str(&member.line()?).map_err(|error| error.to_string())?;
        reports.push(report);
    }
    for member in &mut members {
        member.tell("stop")?;
    }
    for member in &mut members {
        member.child.wait().map_err(|error| error.to_string())?;
    }
    print(options, &reports);
    let sent: u64 = reports.iter().map(|report| report.sent).sum();
    match reports.iter().all(|report| report.total == sent) {
        true => Ok(()),
        false => Err(format!("{sent} updates were sent, but not all members applied all")),
    }
}

fn print(options: &Options, reports: &[Report]) {
    let Options { members, senders, size, order, seconds, threads, .. } = options;
    println!(
        "stream: {members} members, {senders} senders, {order}, {size} bytes, {seconds} s, \
         {threads} thread(s) per member"
    );
    println!("member  applied/s  sent  wire MB/s  CPU s  CPU µs/update  memory MB");
    for (index, report) in reports.iter().enumerate() {
        let rate = report.applied as f64 / report.seconds;
        println!(
            "{index:>6}  {rate:>9.0}  {:>9}  {:>9.1}  {:>5.2}  {:>13.2}  {:>9.1}",
            report.sent,
            report.wire as f64 / report.seconds / 1e6,
            report.cpu,
            report.cpu * 1e6 / report.applied.max(1) as f64,
            report.memory as f64 / 1e6,
        );
    }
    for (index, report) in reports.iter().enumerate() {
        if let Some((p50, p99)) = report.latency {
            println!("calls of member {index}: p50 {p50:.0} µs, p99 {p99:.0} µs");
        }
    }
    let applied = reports.iter().map(|r| r.applied as f64 / r.seconds).fold(f64::MAX, f64::min);
    let most = reports.iter().map(|r| r.applied).max().unwrap_or(0).max(1) as f64;
    let wire: u64 = reports.iter().map(|report| report.wire).sum();
    let cpu: f64 = reports.iter().map(|report| report.cpu).sum();
    println!(
        "applied at every member: {applied:.0}/s; on the wire {:.1} bytes per update \
         ({:.1} per update and receiver); CPU {:.2} µs per update, all members",
        wire as f64 / most,
        wire as f64 / most / (*members as f64 - 1.0).max(1.0),
        cpu * 1e6 / most,
    );
}
