//! What happened last, to read.

use std::collections::VecDeque;
use std::fmt::Write;

/// How many lines are kept.
const KEPT: usize = 60;

/// The last events of a run.
#[derive(Debug, Default)]
pub(super) struct Story {
    lines: VecDeque<(u64, Option<usize>, String)>,
}

impl Story {
    /// Something happened, at a host or in the world.
    pub(super) fn tell(&mut self, now: u64, host: impl Into<Option<usize>>, what: String) {
        if self.lines.len() == KEPT {
            self.lines.pop_front();
        }
        self.lines.push_back((now, host.into(), what));
    }

    /// The lines.
    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        for (at, host, what) in &self.lines {
            let host = host.map_or(String::new(), |host| format!("n{host}"));
            let _ = writeln!(text, "{:>10.3}  {host:<4}{what}", *at as f64 / 1000.0);
        }
        text
    }
}
