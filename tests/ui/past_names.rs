//! Versions of one type have one name, and rise.
//! Cure: give all versions one `name = "…"`, and each a higher `version` than the one before.

use vsync::replicated;

#[replicated(past)]
struct BookV1 {
    plans: Vec<u64>,
}

#[replicated(version = 2, from = BookV1)]
struct Book {
    plans: Vec<u64>,
}

#[replicated]
impl Book {}

impl From<BookV1> for Book {
    fn from(old: BookV1) -> Book {
        Book { plans: old.plans }
    }
}

#[replicated(past, name = "Log", version = 2)]
struct LogV1 {
    lines: Vec<u64>,
}

#[replicated(version = 2, from = LogV1)]
struct Log {
    lines: Vec<u64>,
}

#[replicated]
impl Log {}

impl From<LogV1> for Log {
    fn from(old: LogV1) -> Log {
        Log { lines: old.lines }
    }
}

fn main() {}
