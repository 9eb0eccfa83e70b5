//! What the code that `#[replicated]` generates needs to go from one version of a type to another,
//! and to find out whether a type is `Clone` without asking it of all.
//!
//! The choice is method resolution's: of two traits with one method the one that needs a reference
//! less is taken, if its bounds hold. Inside a generic type only the bounds that are written there
//! hold.

use std::marker::PhantomData;

use crate::card;
use crate::replicated::Replicated;
use crate::state::{CheckpointError, State, version_is};

/// A type that can be made from its earlier version.
///
/// It stands for `From`, so that what is missing is said in words.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be made from its earlier version `{Old}`",
    label = "no conversion from this version",
    note = "write `impl From<{Old}> for {Self}`"
)]
pub trait Succeeds<Old>: Sized {
    /// The new state.
    fn succeed(old: Old) -> Self;
}

#[diagnostic::do_not_recommend]
impl<Old, New: From<Old>> Succeeds<Old> for New {
    fn succeed(old: Old) -> New {
        New::from(old)
    }
}

/// Checks what `from = …` names.
///
/// # Panics
/// If the two are not versions of one type: while the program is compiled.
pub const fn succession<New: State, Old: State>() {
    let (new, old) = (New::NAME.as_bytes(), Old::NAME.as_bytes());
    let mut same = new.len() == old.len();
    let mut at = 0;
    while same && at < new.len() {
        same = new[at] == old[at];
        at += 1;
    }
    assert!(same, "`from` names a type that is called otherwise: give it the same `name = \"…\"`");
    assert!(Old::VERSION < New::VERSION, "`from` names a type whose `version` is not below");
}

/// Whether `version` is this type's own; if not, it is an earlier one.
///
/// # Errors
/// If it is a later one.
pub fn own_version<S: State>(version: u32) -> Result<bool, CheckpointError> {
    match version_is::<S>(version) {
        Ok(()) => Ok(true),
        Err(CheckpointError::Older { .. }) => Ok(false),
        Err(error) => Err(error),
    }
}

/// The fields of an earlier version and of those before it.
pub fn earlier<Old: State>() -> Vec<(u32, Vec<String>)> {
    let mut all = vec![(Old::VERSION, card::fields::<Old>())];
    all.extend(Old::earlier());
    all
}

/// Checks that no method is since a version that is still to come.
///
/// # Panics
/// If one is: while the program is compiled.
pub const fn methods_of_version<S: Replicated>() {
    let mut at = 0;
    while at < S::UPDATES.len() {
        assert!(
            S::UPDATES[at].since <= S::VERSION,
            "`since` names a version after that of the struct: raise its `version`"
        );
        at += 1;
    }
    at = 0;
    while at < S::REQUESTS.len() {
        assert!(
            S::REQUESTS[at].since <= S::VERSION,
            "`since` names a version after that of the struct: raise its `version`"
        );
        at += 1;
    }
}

/// The way back from a state to its earlier version, if there is one.
#[derive(Debug)]
pub struct Way<'a, New, Old>(&'a New, PhantomData<fn() -> Old>);

impl<'a, New, Old> Way<'a, New, Old> {
    /// From this state.
    pub fn new(new: &'a New) -> Self {
        Way(new, PhantomData)
    }
}

/// There is one: `From<&New> for Old`.
pub trait Back<Old> {
    /// The earlier version's state.
    fn back(&self) -> Option<Old>;
}

impl<'a, New, Old: From<&'a New>> Back<Old> for Way<'a, New, Old> {
    fn back(&self) -> Option<Old> {
        Some(Old::from(self.0))
    }
}

/// There is none.
pub trait NoBack<Old> {
    /// Nothing.
    fn back(&self) -> Option<Old>;
}

impl<New, Old> NoBack<Old> for &Way<'_, New, Old> {
    fn back(&self) -> Option<Old> {
        None
    }
}

/// A copy of a state, if its type is `Clone`.
#[derive(Debug)]
pub struct Snapshot<'a, S>(pub &'a S);

/// It is.
pub trait Cloned<S> {
    /// The copy.
    fn snapshot(&self) -> Option<S>;
}

impl<S: Clone> Cloned<S> for Snapshot<'_, S> {
    fn snapshot(&self) -> Option<S> {
        Some(self.0.clone())
    }
}

/// It is not.
pub trait NotCloned<S> {
    /// Nothing.
    fn snapshot(&self) -> Option<S>;
}

impl<S> NotCloned<S> for &Snapshot<'_, S> {
    fn snapshot(&self) -> Option<S> {
        None
    }
}
