//! Asking members: each for its share of a query, or one for all of it.

mod archive;
mod clients;
mod members;
#[path = "../patience/mod.rs"]
mod patience;
