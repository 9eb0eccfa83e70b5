//! Many groups on the same nodes.

use clap::Args;

/// How many groups, and on how many nodes.
#[derive(Args, Clone)]
pub(crate) struct GroupsOptions {
    /// How many groups: a cluster of its own for each number.
    #[arg(long, value_delimiter = ',', default_value = "1,10,100,1000,10000")]
    pub(crate) groups: Vec<usize>,
    /// Processes, all of them in all groups.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u64).range(2..))]
    pub(crate) members: u64,
    /// Seconds of each kind of load, and of idling.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) seconds: u64,
    /// Bytes of payload per update.
    #[arg(long, default_value_t = 100)]
    pub(crate) size: usize,
    /// Groups that a member joins at the same time.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) joining: u32,
    /// Seconds that each other step may take.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) patience: u64,
    /// Only joins, idling and the death of a member.
    #[arg(long)]
    pub(crate) no_load: bool,
    /// Print JSON, a line per number of groups.
    #[arg(long)]
    pub(crate) json: bool,
}

/// One member of a run with many groups.
#[derive(Args, Clone)]
pub(crate) struct GroupsMemberOptions {
    /// Which member this process is, from 0.
    #[arg(long)]
    pub(crate) index: usize,
    /// Whom it finds the cluster through; nobody for the first.
    #[arg(long)]
    pub(crate) seed: Option<String>,
}
