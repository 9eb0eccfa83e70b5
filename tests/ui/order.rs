//! The order of an update: unknown, missing, of a wrong form; and its other options.
//! Cure: write `#[update(order = "fifo")]`, `"causal"` or `"total"`, in quotes. If in doubt,
//! `"total"`.
#![allow(unused_variables, dead_code)]

use vsync::replicated;

#[replicated]
struct Board {
    seen: u64,
}

#[replicated]
impl Board {
    #[update(order = "totl")]
    fn unknown(&mut self) {}

    #[update]
    fn missing(&mut self) {}

    #[update(order = total)]
    fn no_string(&mut self) {}

    #[update(order = "fifo", order = "total")]
    fn twice(&mut self) {}

    #[update(order = "fifo", level = "safe")]
    fn level(&mut self) {}

    #[update(order = "fifo", id = "seven")]
    fn id(&mut self) {}

    #[update(order = "fifo", speed = 3)]
    fn option(&mut self) {}

    #[update(order = "fifo")]
    #[query]
    fn both(&mut self) {}
}

fn main() {}
