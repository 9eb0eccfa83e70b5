//! The command line.

mod groups;
mod parallel;
mod tuning;
mod workload;

use std::fmt;

use clap::{Args, Parser, Subcommand, ValueEnum};
use serde::{Deserialize, Serialize};

pub(crate) use groups::{GroupsMemberOptions, GroupsOptions};
pub(crate) use parallel::{Asked, ParallelMemberOptions, ParallelOptions, Part};
pub(crate) use tuning::Tuning;
pub(crate) use workload::{Level, Order, Senders, Workload};

/// Benchmarks vsync: members as processes, over QUIC on loopback, alone or beside other systems.
#[derive(Parser)]
#[command(name = "vsync-bench")]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What to measure.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// One system under one workload: what every member applied.
    Stream(StreamOptions),
    /// Ours and others in turn, with the ratio pair by pair.
    Compare(CompareOptions),
    /// A member fails or leaves: the time to the next view, and what it does to the throughput.
    Failures(FailuresOptions),
    /// A member joins a group with a state: how long that takes, and what it does to the others.
    Joins(JoinsOptions),
    /// A plot (SVG) of what these have printed with `--json`.
    Plot(PlotOptions),
    /// All figures of the book's chapter: measures, and draws what came of it.
    Figures(FiguresOptions),
    /// The table of goals, met or not, from what `figures` has measured.
    Goals(GoalsOptions),
    /// Many groups on the same nodes: joining, idling, streaming, and the death of a member.
    Groups(GroupsOptions),
    /// Updates that are dear to apply, in several groups; updates beside a query that takes long.
    Parallel(ParallelOptions),
    /// A fixed piece of work, for a tool that counts instructions.
    #[command(hide = true)]
    Count(CountOptions),
    /// One member of `groups`.
    #[command(hide = true)]
    GroupsMember(GroupsMemberOptions),
    /// One member of `parallel`.
    #[command(hide = true)]
    ParallelMember(ParallelMemberOptions),
    /// One member of a run: what the other commands start.
    #[command(hide = true)]
    Member(MemberOptions),
    /// One member of a run that is played step by step.
    #[command(hide = true)]
    Actor(ActorOptions),
}

/// One run.
#[derive(Args, Clone)]
pub(crate) struct StreamOptions {
    /// Which system.
    #[arg(long, default_value = "vsync")]
    pub(crate) system: System,
    #[command(flatten)]
    pub(crate) workload: Workload,
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

/// A comparison.
#[derive(Args, Clone)]
pub(crate) struct CompareOptions {
    /// The other systems.
    #[arg(long, value_delimiter = ',', required = true)]
    pub(crate) against: Vec<System>,
    #[command(flatten)]
    pub(crate) workload: Workload,
    /// How many pairs of runs.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) rounds: u32,
    /// Updates awaited in flight per sender to compare, besides streaming.
    #[arg(long, value_delimiter = ',', default_value = "1,64,256,1024")]
    pub(crate) awaited: Vec<usize>,
    /// Updates awaited in flight per sender of the other system, if it is another number than ours:
    /// what streams here may have to be awaited there.
    #[arg(long)]
    pub(crate) theirs_in_flight: Option<usize>,
    /// No awaited runs: streaming only.
    #[arg(long)]
    pub(crate) stream_only: bool,
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Work to be counted.
#[derive(Args, Clone)]
pub(crate) struct CountOptions {
    /// Which part of an update's way.
    #[arg(long)]
    pub(crate) path: Path,
    /// How many updates.
    #[arg(long)]
    pub(crate) updates: u32,
    /// How many of them are sent together.
    #[arg(long, default_value_t = 64)]
    pub(crate) batch: u32,
}

/// A part of an update's way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Path {
    /// At a member that sends it, from the public API to its own state and to both others.
    Send,
    /// At another member, into its state.
    Receive,
    /// At a member where somebody awaits it, until that is told; so many at the same time.
    Call,
    /// Not an update: one frame on a stream between two nodes.
    Frames,
    /// From the submission to the delivery, at the engines of all members.
    Engine,
}

/// A plot.
#[derive(Args, Clone)]
pub(crate) struct PlotOptions {
    /// What is shown.
    #[arg(long, default_value = "throughput")]
    pub(crate) kind: Kind,
    /// As what grows.
    #[arg(long, default_value = "members")]
    pub(crate) x: Axis,
    /// The SVG file to write.
    #[arg(long)]
    pub(crate) out: std::path::PathBuf,
    /// Files with what other commands have printed with `--json`, any number in each.
    #[arg(required = true)]
    pub(crate) files: Vec<std::path::PathBuf>,
}

/// What a plot shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    /// Updates applied at every member, per second.
    Throughput,
    /// The time of an awaited call.
    Latency,
    /// The same, percentile by percentile.
    Distribution,
    /// The time to the next view when a member fails (of `failures`), as members grow.
    Views,
    /// The same in simulated groups (of `scale --what view` of the package `vsync-tests`).
    Law,
    /// The time of a join and its parts, and bytes per second (of `joins`), as the state grows.
    Joins,
    /// Updates applied at every member, per second (of `groups`), as groups grow.
    Groups,
    /// Ours ÷ theirs (of `compare`).
    Ratios,
}

/// What grows along a plot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Axis {
    Members,
    /// Bytes per update.
    Size,
    Senders,
    /// Awaited calls per sender.
    InFlight,
}

/// The figures of the chapter.
#[derive(Args, Clone)]
pub(crate) struct FiguresOptions {
    /// The directory to write NAME.json and NAME.svg into.
    #[arg(long)]
    pub(crate) out: std::path::PathBuf,
    /// Only these figures.
    #[arg(long, value_delimiter = ',', value_name = "NAME")]
    pub(crate) only: Vec<Figure>,
    /// One round of a second with few points: enough to see that all of it works.
    #[arg(long, conflicts_with_all = ["seconds", "rounds"])]
    pub(crate) quick: bool,
    /// Seconds measured in each run, after a second to warm up.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) seconds: u64,
    /// How often each is measured.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) rounds: u32,
    /// Measure nothing: draw anew what the JSON files in the directory hold.
    #[arg(long, conflicts_with = "quick")]
    pub(crate) from_json: bool,
}

/// The goals.
#[derive(Args, Clone)]
pub(crate) struct GoalsOptions {
    /// The directory that `figures` has written its files into.
    #[arg(long)]
    pub(crate) from: std::path::PathBuf,
    /// The directory to write the tables into, as Markdown: `goals.txt`, `laws.txt` and
    /// `transport.txt`; printed if not given.
    #[arg(long)]
    pub(crate) out: Option<std::path::PathBuf>,
}

/// A figure of the chapter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Figure {
    ThroughputMembers,
    ThroughputSize,
    ThroughputSenders,
    LatencyDistribution,
    LatencyHalfLoad,
    LatencyLoad,
    ViewChange,
    ViewChangeLaw,
    Joins,
    Groups,
    Ratios,
    /// What else the goals need; it is not drawn.
    Goals,
    /// Raw quinn with one setting changed at a time, and ours with more threads; not drawn.
    Transport,
}

/// One member's part of a run.
#[derive(Args, Clone)]
pub(crate) struct MemberOptions {
    /// Which system.
    #[arg(long)]
    pub(crate) system: System,
    /// The load, as JSON.
    #[arg(long)]
    pub(crate) workload: String,
    /// Which member this process is, from 0.
    #[arg(long)]
    pub(crate) index: usize,
    /// Whom it finds the cluster through; nobody for the first.
    #[arg(long)]
    pub(crate) seed: Option<String>,
}

/// Failures.
#[derive(Args, Clone)]
pub(crate) struct FailuresOptions {
    /// What becomes of the member.
    #[arg(long)]
    pub(crate) how: How,
    /// Processes in the group.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u8).range(3..))]
    pub(crate) members: u8,
    /// Which member: 0 is the one that puts updates in order; the last by default.
    #[arg(long)]
    pub(crate) victim: Option<u8>,
    /// How much all members send meanwhile.
    #[arg(long, default_value = "full")]
    pub(crate) load: Pressure,
    /// Rounds, each with a new cluster.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) rounds: u32,
    /// Bytes of payload per update.
    #[arg(long, default_value_t = 100)]
    pub(crate) size: usize,
    /// Milliseconds for which a stopped member stands still.
    #[arg(long, default_value_t = 2000, value_parser = clap::value_parser!(u64).range(1..20_000))]
    pub(crate) pause: u64,
    /// Threads per member.
    #[arg(long, default_value_t = 1)]
    pub(crate) threads: usize,
    /// Milliseconds of silence after which a member is suspected, as `failure_timeout` takes them;
    /// as shipped if not given.
    #[arg(long, value_parser = clap::value_parser!(u64).range(10..=3_600_000))]
    pub(crate) failure_timeout: Option<u64>,
    /// Bytes that each member may have under way; as shipped if not given (`1M`, powers of 1024).
    #[arg(long, value_parser = bytes)]
    pub(crate) window: Option<u64>,
    /// Write the members' histories here.
    #[arg(long)]
    pub(crate) history: Option<String>,
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Joins.
#[derive(Args, Clone)]
pub(crate) struct JoinsOptions {
    /// Bytes of state, such as `1k,1M,256M` (powers of 1024).
    #[arg(long, value_delimiter = ',', value_parser = bytes, default_value = "1k,1M,64M,256M")]
    pub(crate) state: Vec<u64>,
    /// Processes in the group before the join.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..))]
    pub(crate) members: u8,
    /// How much they send meanwhile.
    #[arg(long, default_value = "none")]
    pub(crate) load: Pressure,
    /// The donor's copy of the state shares nothing with it; else it shares the pieces, as that
    /// of a persistent structure does.
    #[arg(long)]
    pub(crate) deep: bool,
    /// Rounds per size, each with a new cluster.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) rounds: u32,
    /// After each join a run of raw quinn, one stream, for the ratio.
    #[arg(long)]
    pub(crate) against_quinn: bool,
    /// Bytes of payload per update.
    #[arg(long, default_value_t = 100)]
    pub(crate) size: usize,
    /// Threads per member.
    #[arg(long, default_value_t = 1)]
    pub(crate) threads: usize,
    /// Write the members' histories here.
    #[arg(long)]
    pub(crate) history: Option<String>,
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

/// One member's part of a run that is played step by step.
#[derive(Args, Clone)]
pub(crate) struct ActorOptions {
    /// What all members know, as JSON.
    #[arg(long)]
    pub(crate) plan: String,
    /// Which member this process is, from 0.
    #[arg(long)]
    pub(crate) index: usize,
    /// Whom it finds the cluster through; nobody for the first.
    #[arg(long)]
    pub(crate) seed: Option<String>,
}

/// How a member ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum How {
    /// Its process is killed (SIGKILL): the kernel closes what it had open.
    Kill,
    /// Its host is silent from one moment to the next, as far as that can be played on one host:
    /// the process is stopped for good and its sockets stay open.
    Vanish,
    /// It leaves the group in an orderly way.
    Leave,
    /// Its process is stopped (SIGSTOP), and continues later.
    Stop,
}

/// How much is sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Pressure {
    /// As much as goes.
    Full,
    /// Half of what went just before.
    Half,
    /// A tenth of what went just before: processors that the members share are idle most of the
    /// time.
    Tenth,
    /// Nothing.
    #[default]
    None,
}

impl Pressure {
    /// The part of what goes that is sent, where it is bounded.
    pub(crate) fn share(self) -> Option<f64> {
        match self {
            Pressure::Half => Some(0.5),
            Pressure::Tenth => Some(0.1),
            Pressure::Full | Pressure::None => None,
        }
    }
}

/// Such as `64k`.
fn bytes(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let factor: u64 = match &text[digits.len()..] {
        "" => 1,
        "k" | "K" => 1 << 10,
        "m" | "M" => 1 << 20,
        "g" | "G" => 1 << 30,
        other => return Err(format!("{other:?} is neither k nor M nor G")),
    };
    let number: u64 = digits.parse().map_err(|_| format!("{text:?} is no number of bytes"))?;
    number.checked_mul(factor).ok_or_else(|| format!("{text} is too much"))
}

/// A system that can be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum System {
    /// This project, through its public API.
    Vsync,
    /// Total order in memory (crate).
    Omnipaxos,
    /// Raft in memory (crate).
    Openraft,
    /// Unreliable UDP multicast: no order, no loss recovery.
    Udp,
    /// Raw quinn, all to all: bytes and nothing else.
    Quinn,
    /// Durable consensus, as used (Debian's etcd-server).
    Etcd,
    /// Transactions on synchronous standbys (Debian's postgresql).
    Postgres,
    /// Totem, agreed delivery (Debian's corosync).
    Corosync,
}

impl System {
    /// Why this system cannot do what is awaited in a workload, if it cannot.
    pub(crate) fn cannot(self, workload: &Workload) -> Option<&'static str> {
        match (self, workload.in_flight * workload.senders()) {
            (_, 0) => None,
            (System::Udp, _) => Some("udp has no acknowledgements: nothing of it can be awaited"),
            (System::Postgres, 1_025..) => {
                Some("postgres has a process for each client: more than 1024 are not tried")
            }
            _ => None,
        }
    }
}

impl fmt::Display for System {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&format!("{self:?}").to_lowercase())
    }
}
