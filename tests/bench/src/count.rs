//! `count`: a fixed piece of work without network and threads, for a tool that counts instructions:
//! those of [`counted`]. What two runs of different length differ by is what the updates cost, and
//! not the start of the program: `.ci/instructions` does that.

mod engines;
mod frames;
mod nodes;

use std::hint::black_box;

use crate::options::{CountOptions, Path};

const MEMBERS: u64 = 3;
/// Bytes of payload per update.
const PAYLOAD: usize = 100;
/// Rounds in which the group must have formed, and in which the last updates must be applied.
const PATIENCE: u64 = 100_000;

/// Does the work, and checks that it was done.
pub(crate) fn run(options: &CountOptions) -> Result<(), String> {
    let updates = u64::from(options.updates);
    let batch = u64::from(options.batch);
    if batch == 0 || !updates.is_multiple_of(batch) {
        return Err(format!("{updates} updates are no whole number of batches of {batch}"));
    }
    let batches = updates / batch;
    match options.path {
        Path::Send => nodes::stream(batches, batch, nodes::SENDER)?,
        Path::Receive => nodes::stream(batches, batch, nodes::RECEIVER)?,
        Path::Call => nodes::calls(batches, batch)?,
        Path::Frames => frames::run(batches, batch)?,
        Path::Engine => engines::run(batches, options.batch)?,
    }
    println!("{updates} updates");
    Ok(())
}

/// What is counted: the tool knows this function by its name.
#[inline(never)]
fn counted<R>(work: impl FnOnce() -> R) -> R {
    // Kept from being a jump, after which this function would have been left.
    black_box(work())
}
