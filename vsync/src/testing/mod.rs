//! For tests, ours and those of users: clusters in memory, checks and simulations of replicated
//! types.
//!
//! What a type promises without knowing it, and what finds that it does not hold it:
//!
//! | | |
//! |---|---|
//! | [`commute`] | updates that may come in another order elsewhere do not mind |
//! | [`deterministic`] | the same updates give the same state everywhere |
//! | [`checkpointed`] | who joins with a checkpoint goes on like the others |
//! | [`wire`] | messages and checkpoints survive the wire |
//! | [`schema_unchanged`] | what was released stays as it was |
//! | [`Simulation`] | all of it together and the handlers of requests, in groups with faults |

mod check;
mod cluster;
mod sim;
mod stage;

pub use check::{
    Check, Checked, Failure, Kind, checkpointed, commute, deterministic, schema, schema_unchanged,
    wire,
};
pub use cluster::Cluster;
pub use sim::{Faults, Simulated, Simulation, simulate};
/// Histories of runs: reading, checking and drawing them.
pub use vsync_history as history;
pub use vsync_sim::Dice;
