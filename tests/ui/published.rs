//! Events for clients, on the struct.
//! Cure: name the event, `#[replicated(event = Sold, published)]`; leave `published` out where events
//! are for members alone.
#![allow(dead_code)]

use vsync::replicated;

#[replicated(published)]
struct Silent {
    left: u64,
}

#[replicated]
impl Silent {}

#[replicated(event = Sale, published = true)]
struct Valued {
    left: u64,
}

#[replicated]
impl Valued {}

#[derive(Clone)]
enum Sale {}

fn main() {}
