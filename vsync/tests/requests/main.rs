//! Requests: one member answers for the group, and whoever fails, the answer is one and its effects
//! are applied once.

mod answers;
mod desk;
mod example;
mod faults;
#[path = "../patience/mod.rs"]
mod patience;
mod policies;
