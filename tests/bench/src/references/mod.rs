//! Other systems under the same load. Those that are crates or plain sockets run as member processes
//! (`member`), those of the distribution as daemons with our clients (`run`).

pub(crate) mod corosync;
mod daemon;
#[cfg(feature = "etcd")]
pub(crate) mod etcd;
#[cfg(feature = "etcd")]
mod grpc;
#[cfg(feature = "omnipaxos")]
mod omnipaxos;
#[cfg(feature = "openraft")]
mod openraft;
pub(crate) mod postgres;
mod quinn;
mod udp;

/// Stands in for what is not built in.
#[cfg(not(feature = "etcd"))]
pub(crate) mod etcd {
    use crate::options::Workload;
    use crate::report::Outcome;

    /// Not in this program.
    pub(crate) fn run(_workload: &Workload) -> Result<Outcome, String> {
        Err("built without etcd".to_owned())
    }
}

use std::os::unix::process::CommandExt;
use std::process::Command;

use crate::options::{MemberOptions, System};

/// Runs a member of such a system.
pub(crate) fn member(system: System, options: &MemberOptions) -> Result<(), String> {
    match system {
        #[cfg(feature = "omnipaxos")]
        System::Omnipaxos => omnipaxos::member(options),
        #[cfg(feature = "openraft")]
        System::Openraft => openraft::member(options),
        System::Udp => udp::member(options),
        System::Quinn => quinn::member(options),
        _ => Err(format!("{system} has no member processes in this program")),
    }
}

/// The feature that a system needs, if this program was built without it.
fn missing(system: System) -> Option<&'static str> {
    match system {
        System::Omnipaxos if cfg!(not(feature = "omnipaxos")) => Some("omnipaxos"),
        System::Openraft if cfg!(not(feature = "openraft")) => Some("openraft"),
        System::Etcd if cfg!(not(feature = "etcd")) => Some("etcd"),
        _ => None,
    }
}

/// Makes sure that the program can run `system`: a crate that is not built in is built now, and the
/// command starts over. They are no part of the usual build, which they would slow.
pub(crate) fn built_in(system: System) -> Result<(), String> {
    if missing(system).is_none() {
        return Ok(());
    }
    let cargo = std::env::var_os("CARGO").ok_or_else(|| {
        format!("built without {system}: cargo build --release -p vsync-bench --all-features")
    })?;
    eprintln!("vsync-bench: building the references that are crates");
    let profile = if cfg!(debug_assertions) { "dev" } else { "release" };
    let error = Command::new(cargo)
        .args(["run", "--quiet", "--profile", profile, "--all-features", "--manifest-path"])
        .args([concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"), "--"])
        .args(std::env::args_os().skip(1))
        .exec();
    Err(format!("cargo: {error}"))
}
