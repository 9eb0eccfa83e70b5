//! Other systems under the same load. Those that are crates or plain sockets run as member processes
//! (`member`), those of the distribution as daemons with our clients (`run`).

pub(crate) mod corosync;
pub(crate) mod etcd;
#[cfg(any(feature = "omnipaxos", feature = "openraft"))]
mod load;
#[cfg(any(feature = "omnipaxos", feature = "openraft"))]
mod mesh;
#[cfg(feature = "omnipaxos")]
mod omnipaxos;
#[cfg(feature = "openraft")]
mod openraft;
pub(crate) mod postgres;
mod quinn;
mod udp;

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
        _ => None,
    }
}

/// Makes sure that the program can run `system`: a crate that is not built in is built now, and the
/// command starts over. They are no part of the usual build, which they would slow.
pub(crate) fn built_in(system: System) -> Result<(), String> {
    match missing(system) {
        Some(feature) => start_over(feature),
        None => Ok(()),
    }
}

/// Builds the program with everything in it, and starts the command over.
pub(crate) fn start_over(lacks: &str) -> Result<(), String> {
    let cargo = std::env::var_os("CARGO").ok_or_else(|| {
        format!("built without {lacks}: cargo build --release -p vsync-bench --all-features")
    })?;
    eprintln!("vsync-bench: built without {lacks}: building it with all features");
    let profile = if cfg!(debug_assertions) { "dev" } else { "release" };
    let error = Command::new(cargo)
        .args(["run", "--quiet", "--profile", profile, "--all-features", "--manifest-path"])
        .args([concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"), "--"])
        .args(std::env::args_os().skip(1))
        .exec();
    Err(format!("cargo: {error}"))
}
