//! Queries of a copy of the state: whoever asks them and however long they take, the group goes on.

mod clients;
mod endings;
mod kinds;
mod ledger;
mod members;
#[path = "../patience/mod.rs"]
mod patience;
