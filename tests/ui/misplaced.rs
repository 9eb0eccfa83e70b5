//! Where the attribute goes, and with what options.
//! Cure: put `#[replicated]` on the struct, with its options there, and on one inherent `impl`
//! block; an enum goes into a struct as a field.
#![allow(unused_variables, dead_code)]

use vsync::replicated;

#[replicated]
enum Choice {
    One,
}

#[replicated]
fn function() {}

#[replicated(name = "", version = 0, crate = "not a path", colour = "red")]
struct Board {
    seen: u64,
}

#[replicated(name = "board", colour = "red")]
impl Board {}

#[replicated]
impl Default for Board {
    fn default() -> Self {
        Board { seen: 0 }
    }
}

fn main() {}
