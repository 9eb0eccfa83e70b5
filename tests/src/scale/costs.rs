//! What things cost in the simulated cluster, and where the defaults come from.

use clap::Args;
use serde::Serialize;
use vsync_core::engine::EngineConfig;
use vsync_core::wire::NodeId;

/// Nanoseconds, as all virtual time.
pub(crate) type Nanos = u64;

/// What a node's processor, its link and the way to another node cost. A node's processor does one
/// thing at a time.
///
/// The defaults but the last two are fitted to `tests/bench/RESULTS.md` (4 members on one host):
///
/// - 35 ns an update and 1.6 ns a byte (0.8 on each side) give 0.25, 0.46, 0.67, 1.51, 5.1 and
///   315 µs of processor time for all members, where 0.27, 0.46, 0.67, 1.37, 5.2 and 308 were
///   measured (2, 3, 4, 8 members with 100 bytes; 4 with 1 KiB and 64 KiB).
/// - 4 µs for a frame sent and 6 for one received: an awaited update of 4 members is 21 frames, so
///   210 µs of processor time, 105 µs on two processors; 117 and 135 µs were measured. A round of
///   raw QUIC to three and back is 6 frames, 30 µs on two processors; 53 and 55 were measured.
///
/// Bandwidth and latency are those of an ordinary data centre: assumed, not measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Args)]
pub struct Costs {
    /// Processor time of a frame sent, in ns.
    #[arg(long, default_value_t = 4_000, value_name = "NS")]
    pub send: u64,
    /// Processor time of a frame received, in ns.
    #[arg(long, default_value_t = 6_000, value_name = "NS")]
    pub receive: u64,
    /// Processor time of a byte sent, in ps.
    #[arg(long, default_value_t = 800, value_name = "PS")]
    pub send_byte: u64,
    /// Processor time of a byte received, in ps.
    #[arg(long, default_value_t = 800, value_name = "PS")]
    pub receive_byte: u64,
    /// Processor time of an update applied, in ns.
    #[arg(long, default_value_t = 35, value_name = "NS")]
    pub update: u64,
    /// What a node's link carries outward, in Mbit/s.
    #[arg(long, default_value_t = 10_000, value_name = "MBIT/S")]
    #[arg(value_parser = clap::value_parser!(u64).range(1..))]
    pub bandwidth: u64,
    /// Least time on the way, in µs; up to a tenth more, by pair of nodes.
    #[arg(long, default_value_t = 50, value_name = "US")]
    pub latency: u64,
}

impl Default for Costs {
    fn default() -> Self {
        Costs {
            send: 4_000,
            receive: 6_000,
            send_byte: 800,
            receive_byte: 800,
            update: 35,
            bandwidth: 10_000,
            latency: 50,
        }
    }
}

/// Timers of the engines, in ms. Silence counts from five heartbeats on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Args)]
pub struct Timers {
    /// A heartbeat is sent this often.
    #[arg(long, default_value_t = 100, value_name = "MS")]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=100_000))]
    pub heartbeat: u64,
    /// A step of a view change is repeated after this.
    #[arg(long, default_value_t = 100, value_name = "MS")]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=100_000))]
    pub retry: u64,
}

impl Default for Timers {
    fn default() -> Self {
        Timers { heartbeat: 100, retry: 100 }
    }
}

impl Timers {
    /// What an engine with these timers is made with.
    pub(crate) fn config(self, node: NodeId) -> EngineConfig {
        EngineConfig {
            heartbeat: self.heartbeat * 1_000,
            silence: self.heartbeat * 5_000,
            change_retry: self.retry * 1_000,
            ..EngineConfig::new(node)
        }
    }
}

/// What a simulated cluster is made with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Setting {
    /// What things cost.
    pub costs: Costs,
    /// When the engines repeat things.
    pub timers: Timers,
    /// For so many ms there are only signs of life before a member vanishes.
    pub idle: u64,
    /// Names of nodes, ways between them, and who is hit follow from it.
    pub seed: u64,
}

impl Costs {
    /// The processor's part of sending a frame.
    pub(crate) fn sending(&self, bytes: usize) -> Nanos {
        self.send + bytes as u64 * self.send_byte / 1_000
    }

    /// The processor's part of receiving a frame.
    pub(crate) fn receiving(&self, bytes: usize) -> Nanos {
        self.receive + bytes as u64 * self.receive_byte / 1_000
    }

    /// How long the link is busy with a frame.
    pub(crate) fn wire(&self, bytes: usize) -> Nanos {
        bytes as u64 * 8_000 / self.bandwidth
    }

    /// The way between two nodes: the same for all frames of a pair, so that they stay in order.
    pub(crate) fn way(&self, dice: u64) -> Nanos {
        let least = self.latency * 1_000;
        least + if least >= 10 { dice % (least / 10) } else { 0 }
    }
}
