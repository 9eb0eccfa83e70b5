//! All nodes must agree on what is replicated: a `cfg` goes on the whole item.
//! Cure: say it without a condition: the same for all nodes. To leave a method or the whole type
//! out of a build, put `#[cfg(…)]` on it, in all programs of the group alike.
#![allow(unused_variables, dead_code)]

use vsync::{View, replicated};

#[replicated]
struct Board {
    #[cfg_attr(unix, local)]
    cache: u64,
}

#[replicated]
impl Board {
    #[cfg_attr(unix, update(order = "fifo"))]
    fn sometimes(&mut self) {}

    #[update(order = "fifo")]
    fn half(&mut self, #[cfg_attr(unix, cfg(unix))] value: u64) {}

    #[cfg(unix)]
    #[on_view]
    fn here(&mut self, view: &View) {}

    #[cfg(not(unix))]
    #[on_view]
    fn there(&mut self, view: &View) {}

    #[on_view]
    fn everywhere(&mut self, view: &View) {}
}

fn main() {}
