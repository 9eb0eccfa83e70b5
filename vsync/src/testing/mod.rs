//! For tests, ours and those of users: clusters in memory.

mod cluster;

pub use cluster::Cluster;
/// Histories of runs: reading, checking and drawing them.
pub use vsync_history as history;
