//! What members send, and for how long.

use std::fmt;

use clap::{Args, ValueEnum};
use serde::{Deserialize, Serialize};

use super::{Pressure, Tuning, bytes};

/// A load, and how long.
#[derive(Args, Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Workload {
    /// Processes in the group.
    #[arg(long, default_value_t = 4)]
    pub(crate) members: usize,
    /// How many of them send: a number, or `all`.
    #[arg(long, default_value = "all")]
    pub(crate) senders: Senders,
    /// The first of those that send; 0 is the one that puts updates in order.
    #[arg(long, default_value_t = 0)]
    #[serde(default)]
    pub(crate) first: usize,
    /// How much all members send besides, awaiting nothing: of what goes without awaited calls,
    /// which is measured before.
    #[arg(long, default_value = "none")]
    #[serde(default)]
    pub(crate) load: Pressure,
    /// Updates per second that this comes to, of all members together.
    #[arg(skip)]
    #[serde(default)]
    pub(crate) besides: f64,
    /// Seconds measured, after a second to warm up.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) seconds: u64,
    /// Bytes of payload per update.
    #[arg(long, default_value_t = 100)]
    pub(crate) size: usize,
    /// In which order updates are delivered.
    #[arg(long, default_value = "total")]
    pub(crate) order: Order,
    /// When an awaited call is answered.
    #[arg(long, default_value = "stable")]
    pub(crate) level: Level,
    /// Awaited calls in flight per sender; 0 streams without awaiting.
    #[arg(long, default_value_t = 0)]
    pub(crate) in_flight: usize,
    /// Threads per member.
    #[arg(long, default_value_t = 1)]
    pub(crate) threads: usize,
    /// Bytes that each member may have under way; as shipped if not given (`1M`, powers of 1024).
    #[arg(long, value_parser = bytes)]
    pub(crate) window: Option<u64>,
    /// OmniPaxos and openraft: over the transport that ours runs on, encrypted, instead of TCP.
    #[arg(long)]
    #[serde(default)]
    pub(crate) encrypted: bool,
    /// Write the members' histories here.
    #[arg(long)]
    pub(crate) history: Option<String>,
    #[command(flatten)]
    #[serde(default, skip_serializing_if = "is_as_shipped")]
    pub(crate) tuning: Tuning,
}

fn is_as_shipped(tuning: &Tuning) -> bool {
    *tuning == Tuning::default()
}

/// How many members send.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Senders {
    All,
    Some(usize),
}

impl std::str::FromStr for Senders {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "all" => Ok(Senders::All),
            _ => text.parse().map(Senders::Some).map_err(|_| format!("{text:?} is no number")),
        }
    }
}

impl fmt::Display for Senders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Senders::All => f.write_str("all"),
            Senders::Some(number) => number.fmt(f),
        }
    }
}

/// The order of updates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Order {
    Fifo,
    Causal,
    Total,
}

/// What an awaited call waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Level {
    /// Applied at the caller.
    Optimistic,
    /// Survives whatever the group survives.
    Stable,
}

impl Workload {
    /// What cannot be run.
    pub(crate) fn check(&self) -> Result<(), String> {
        if self.members == 0 || self.threads == 0 {
            return Err("members and threads must be at least 1".to_owned());
        }
        match self.senders {
            Senders::Some(0) => Err("somebody has to send".to_owned()),
            Senders::Some(some) if some > self.members => {
                Err(format!("{some} senders, but only {} members", self.members))
            }
            _ if self.first + self.senders() > self.members => Err(format!(
                "from member {} on there are no {} to send",
                self.first,
                self.senders()
            )),
            _ if self.load == Pressure::Full => {
                Err("a full load leaves no room for anything besides it: half, or a tenth"
                    .to_owned())
            }
            _ if self.load != Pressure::None && self.in_flight == 0 => {
                Err("a load besides is for awaited calls: how many are in flight?".to_owned())
            }
            _ => self.tuning.check(),
        }
    }

    /// Whether this member sends.
    pub(crate) fn sends(&self, index: usize) -> bool {
        (self.first..self.first + self.senders()).contains(&index)
    }

    /// The same load as others know it: who sends is all the same to them, and nothing goes
    /// besides.
    pub(crate) fn is_for_all_systems(&self) -> bool {
        self.first == 0 && self.load == Pressure::None
    }

    /// How many send.
    pub(crate) fn senders(&self) -> usize {
        match self.senders {
            Senders::All => self.members,
            Senders::Some(some) => some,
        }
    }

    /// Such as `4 members, all send, total, 100 bytes, streaming, 3 s`.
    pub(crate) fn describe(&self) -> String {
        let Workload { members, seconds, size, in_flight, .. } = self;
        let order = format!("{:?}", self.order).to_lowercase();
        let sends = match self.senders {
            Senders::All => "all send".to_owned(),
            Senders::Some(1) => "1 sends".to_owned(),
            Senders::Some(some) => format!("{some} send"),
        };
        let mode = match in_flight {
            0 => "streaming".to_owned(),
            _ => format!("{in_flight} awaited in flight per sender"),
        };
        format!("{members} members, {sends}, {order}, {size} bytes, {mode}, {seconds} s")
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    fn checked(line: &str) -> Result<Workload, String> {
        #[derive(Parser)]
        struct Line {
            #[command(flatten)]
            workload: Workload,
        }
        let words = std::iter::once("line").chain(line.split_whitespace());
        let workload = Line::try_parse_from(words).map_err(|error| error.to_string())?.workload;
        workload.check().map(|()| workload)
    }

    #[test]
    fn what_cannot_be_run_is_named() {
        let why = |line| checked(line).err().unwrap_or_default();
        assert!(why("--members 0").contains("at least 1"));
        assert!(why("--senders 0").contains("somebody has to send"));
        assert!(why("--senders 5").contains("5 senders, but only 4 members"));
        assert!(why("--senders 2 --first 3").contains("from member 3 on there are no 2"));
        assert!(why("--first 1").contains("from member 1 on there are no 4"));
        assert!(why("--load full --in-flight 1").contains("a full load"));
        assert!(why("--load half").contains("how many are in flight"));
        assert!(why("--write 0").contains("have bytes"));
        assert!(why("--stream-window 2G").contains("1 GiB at most"));
        assert!(why("--mtu 9000").contains("1200..=6550"), "{}", why("--mtu 9000"));
    }

    #[test]
    fn those_send_that_are_asked_to() {
        let sends = |line| {
            let workload = checked(line).expect("a load");
            (0..workload.members).filter(|&index| workload.sends(index)).collect::<Vec<_>>()
        };
        assert_eq!(sends(""), [0, 1, 2, 3]);
        assert_eq!(sends("--senders 1"), [0]);
        assert_eq!(sends("--senders 2 --first 2"), [2, 3]);
    }
}
