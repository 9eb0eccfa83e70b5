//! Runs one workload on one system.

use crate::options::{Pressure, Senders, System, Tuning, Workload};
use crate::process::Member;
use crate::references;
use crate::report::{Outcome, Report};

/// Starts the members, lets them work, and collects what they measured.
pub(crate) fn run(system: System, workload: &Workload) -> Result<Outcome, String> {
    workload.check()?;
    if system != System::Vsync && !workload.is_for_all_systems() {
        return Err(format!("{system} is measured with the first members alone sending"));
    }
    if system != System::Quinn && workload.tuning != Tuning::default() {
        return Err(format!("{system} is not raw quinn: there is nothing of it to be set"));
    }
    if let Some(share) = workload.load.share().filter(|_| workload.besides == 0.0) {
        let besides = share * streamed(system, workload)?;
        return run(system, &Workload { besides, ..workload.clone() });
    }
    match system {
        System::Etcd => references::etcd::run(workload),
        System::Postgres => references::postgres::run(workload),
        System::Corosync => references::corosync::run(workload),
        _ => members(system, workload),
    }
}

/// Updates per second that go where nobody awaits any, and all members send.
fn streamed(system: System, workload: &Workload) -> Result<f64, String> {
    let all = Workload {
        senders: Senders::All,
        first: 0,
        load: Pressure::None,
        seconds: 1,
        in_flight: 0,
        history: None,
        ..workload.clone()
    };
    Ok(run(system, &all)?.applied_per_second)
}

fn members(system: System, workload: &Workload) -> Result<Outcome, String> {
    let mut members: Vec<Member> = Vec::new();
    let mut addresses: Vec<String> = Vec::new();
    for index in 0..workload.members {
        let seed = addresses.first().map(String::as_str);
        let mut member = Member::start(system, workload, index, seed)?;
        addresses.push(member.line()?);
        members.push(member);
    }
    let peers = format!("peers {}", addresses.join(" "));
    for member in &mut members {
        member.tell(&peers)?;
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
        member.wait()?;
    }
    Outcome::of(system, workload, reports)
}
