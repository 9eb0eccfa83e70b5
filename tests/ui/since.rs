//! From which version on and until which one a method is there.
//! Cure: count versions from 1; `since` is at most the struct's `version`, `until` is above
//! `since`; a query has neither.

use vsync::replicated;

#[replicated(version = 2)]
struct Board {
    seen: u64,
}

#[replicated]
impl Board {
    #[update(order = "total", since = 0)]
    fn before_all(&mut self) {}
    #[update(order = "total", since = "2")]
    fn no_number(&mut self) {}
    #[update(order = "total", since = 2, until = 2)]
    fn never(&mut self) {}
    #[query(since = 2, until = 3)]
    fn count(&self) -> u64 {
        self.seen
    }
}

#[replicated(version = 2)]
struct Log {
    seen: u64,
}

#[replicated]
impl Log {
    #[update(order = "total", since = 3)]
    fn to_come(&mut self) {}
}

fn main() {}
