//! Other systems under the same load. Those that are crates or plain sockets run as member
//! processes (`member`), those of the distribution as daemons with our clients (`run`).

pub(crate) mod corosync;
mod daemon;
#[cfg(feature = "etcd")]
pub(crate) mod etcd;
#[cfg(feature = "etcd")]
mod grpc;
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

/// The optional parts of this program, and whether they are in it.
const FEATURES: [(&str, bool); 5] = [
    ("count", cfg!(feature = "count")),
    ("etcd", cfg!(feature = "etcd")),
    ("omnipaxos", cfg!(feature = "omnipaxos")),
    ("openraft", cfg!(feature = "openraft")),
    ("plot", cfg!(feature = "plot")),
];

/// Whether the program can run this one as it is.
#[cfg(feature = "plot")]
pub(crate) fn is_built_in(system: System) -> bool {
    let name = system.to_string();
    FEATURES.iter().all(|&(feature, present)| present || feature != name)
}

/// Makes sure that the program can run these: a crate that is not built in is built now, and the
/// command starts over. They are no part of the usual build, which they would slow.
pub(crate) fn built_in(systems: &[System]) -> Result<(), String> {
    let names: Vec<String> = systems.iter().map(System::to_string).collect();
    with_features(&names.iter().map(String::as_str).collect::<Vec<_>>())
}

/// Builds the program with what it lacks of these, and starts the command over.
pub(crate) fn with_features(wanted: &[&str]) -> Result<(), String> {
    let is_wanted = |name: &str| wanted.contains(&name);
    if FEATURES.iter().all(|&(name, present)| present || !is_wanted(name)) {
        return Ok(());
    }
    let together = FEATURES.iter().filter(|&&(name, present)| present || is_wanted(name));
    let features = together.map(|&(name, _)| name).collect::<Vec<_>>().join(",");
    let cargo = std::env::var_os("CARGO").ok_or_else(|| {
        format!("not built in: cargo build --release -p vsync-bench --features {features}")
    })?;
    eprintln!("vsync-bench: building it with {features}");
    let profile = if cfg!(debug_assertions) { "dev" } else { "release" };
    let error = Command::new(cargo)
        .args(["run", "--quiet", "--profile", profile, "--features", &features])
        .args(["--manifest-path", concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"), "--"])
        .args(std::env::args_os().skip(1))
        .exec();
    Err(format!("cargo: {error}"))
}
