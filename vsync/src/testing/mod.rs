//! For tests, ours and those of users: clusters in memory.

mod cluster;

pub use cluster::Cluster;
