//! The view change, explored exhaustively within stated bounds.
//!
//! Three real engines, the frames between them, and the faults of a bound make the state space;
//! stateright walks all of it. See the README for what is bounded.

pub mod bound;
pub mod explore;
pub mod frame;
pub mod log;
pub mod member;
pub mod model;
pub mod properties;
pub mod requests;
pub mod setup;
