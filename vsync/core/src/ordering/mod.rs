//! Floor 1: lanes, the order log, and the walks over them. An order is a predicate on the head of a
//! sender's lane.

mod lane;
mod log;
mod walk;

pub(crate) use lane::{Batch, Lane, Push};
pub(crate) use log::{Log, OrderAt};
pub(crate) use walk::{Closure, Deliver, Head, Number, Piece, Rule, Stabilise, Walk};
