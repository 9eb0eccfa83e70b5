//! The vsync protocol without I/O: virtually synchronous groups as one state machine.
//!
//! [`engine::Engine`] holds all groups of one node. Everything that happens goes in through
//! [`engine::Engine::handle`], with the time; everything that is to be done comes out of it. There
//! is no clock, thread, lock, I/O, randomness or logging here, so a run is a function of its
//! inputs, and the simulator that drives this crate drives the very code that runs in production.
#![no_std]
#![forbid(unsafe_code)]
// A run is a function of its inputs: `clippy.toml` lists what would break that. Tests may use it.
#![cfg_attr(
    not(test),
    deny(
        clippy::disallowed_types,
        clippy::disallowed_methods,
        clippy::disallowed_macros,
        clippy::float_arithmetic,
        clippy::std_instead_of_core,
        clippy::std_instead_of_alloc,
        clippy::fn_to_numeric_cast_any,
        clippy::ref_as_ptr,
        clippy::borrow_as_ptr,
        clippy::pointer_format,
        clippy::iter_over_hash_type
    )
)]

extern crate alloc;

pub mod bugs;
pub mod engine;
mod group;
mod membership;
mod moment;
mod multicast;
mod ordering;
mod seldom;
pub mod wire;
