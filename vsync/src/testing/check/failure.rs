//! What a check or a simulation found.

use std::fmt;

/// What is wrong with a type, or with the check of it.
///
/// Its `Debug` is its `Display`: a report to read, also where a test unwraps it.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Failure {
    /// What sort of thing it is.
    pub kind: Kind,
    /// The whole report.
    pub report: String,
}

/// The sorts of things that checks and simulations find.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// The check could not have failed: nothing of what it is about happened in it.
    Vacuous,
    /// A method of the type panicked.
    Panicked,
    /// An update, a query, a request or an answer does not encode, or what was encoded does not
    /// decode to the same.
    Wire,
    /// A state does not make a checkpoint, or a checkpoint does not make the same state.
    Checkpoint,
    /// Two updates that no order holds between replicas do not commute.
    Order,
    /// The same updates in the same order gave two states or results.
    Determinism,
    /// The type is another one than the file says.
    Schema,
    /// The file of a schema cannot be read or written.
    File,
    /// A request is never answered, or it ends without effect because of what its handler has done:
    /// its steps were not those of an earlier attempt, its updates cannot be applied.
    Request,
    /// The handler of a request waits for something else than the group, and cannot be simulated: a
    /// timer, a task, a thread, a socket.
    Outside,
    /// Replicas that have delivered the same updates differ.
    Diverged,
    /// Something that must be true of every replica's state is not.
    Invariant,
    /// The group broke one of its own promises: a defect of vsync, not of the type.
    Protocol,
}

impl Failure {
    pub(crate) fn new(kind: Kind, report: impl Into<String>) -> Failure {
        Failure { kind, report: report.into() }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.report)
    }
}

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}\n\n{}", self.kind, self.report)
    }
}

impl std::error::Error for Failure {}

/// The result of a check in a test: what is wrong ends it.
#[track_caller]
pub(crate) fn demand<T>(result: Result<T, Failure>) -> T {
    match result {
        Ok(value) => value,
        Err(failure) => panic!("{failure}"),
    }
}
