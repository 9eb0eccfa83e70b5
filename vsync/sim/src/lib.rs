//! What simulated worlds are made of: randomness from a seed, clocks that drift, a queue of what
//! will happen, and a network that delays, reorders between streams, and loses.
//!
//! Two worlds are built of it: the one that tests the protocol (`vsync-tests`) and the one that
//! tests users' types (`vsync::testing::Simulation`). What happens in a world is theirs; how time
//! passes and frames travel is the same in both.

mod clock;
mod dice;
mod network;
mod queue;

pub use clock::Clock;
pub use dice::Dice;
pub use network::{Both, Network, Weather};
pub use queue::Queue;
