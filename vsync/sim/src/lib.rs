//! What simulated worlds are made of: randomness from a seed, clocks that drift, a queue of what
//! will happen, a network that delays, reorders between streams, and loses, and panics that become
//! texts.
//!
//! Two worlds are built of it: the one that tests the protocol (`vsync-tests`) and the one that
//! tests users' types (`vsync::testing::Simulation`). What happens in a world is theirs; how time
//! passes and frames travel is the same in both.

mod clock;
mod dice;
mod network;
mod queue;
mod quiet;

pub use clock::Clock;
pub use dice::Dice;
pub use network::{Both, Network, Weather};
pub use queue::Queue;
pub use quiet::catch;
