//! Runs one workload on one system.

use crate::options::{System, Workload};
use crate::process::Member;
use crate::references;
use crate::report::{Outcome, Report};

/// Starts the members, lets them work, and collects what they measured.
pub(crate) fn run(system: System, workload: &Workload) -> Result<Outcome, String> {
    workload.check()?;
    match system {
        System::Etcd => references::etcd::run(workload),
        System::Postgres => references::postgres::run(workload),
        System::Corosync => references::corosync::run(workload),
        _ => members(system, workload),
    }
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
