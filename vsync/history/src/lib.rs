//! What a run of vsync leaves behind, and what must hold of it.
//!
//! A node that is asked to records what it did as one JSON object per line ([`event`]). [`History`]
//! reads such files, or takes the events of a simulated run; [`check()`] judges them. Each property
//! has a file of its own under `properties/`. [`draw`](draw::draw) makes a picture of it.
//!
//! Processes that were killed may have lost their last lines, so nothing is demanded of lines that
//! may be missing: a killed process is judged by what it wrote, and others are not judged by what
//! it did not write, with one exception: a `send` line is written before its updates leave the
//! process, so every delivery must have one.

mod check;
mod counts;
pub mod draw;
pub mod event;
mod model;
mod properties;
mod read;
mod sort;

pub use check::{Expectations, Violation, check, check_with};
pub use read::{Directory, History, Log, ReadError};
