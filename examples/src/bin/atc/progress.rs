//! How far the week is: a bar on a terminal, plain lines otherwise.

use std::io::IsTerminal;

use indicatif::{ProgressBar, ProgressStyle};

/// Shows the progress of a run.
pub(crate) enum Progress {
    /// On a terminal.
    Bar(ProgressBar),
    /// In a file or a pipe: a line per tenth.
    Lines {
        /// All rows.
        total: u64,
        /// Tenths shown.
        shown: u64,
    },
}

impl Progress {
    /// For so many rows.
    pub(crate) fn new(total: u64) -> Progress {
        if !std::io::stderr().is_terminal() {
            return Progress::Lines { total, shown: 0 };
        }
        let bar = ProgressBar::new(total);
        // The template is a constant: were it wrong, the default would do.
        if let Ok(style) = ProgressStyle::with_template("{bar:40} {pos} of {len} rows") {
            bar.set_style(style);
        }
        Progress::Bar(bar)
    }

    /// So many rows are done.
    pub(crate) fn at(&mut self, done: u64) {
        match self {
            Progress::Bar(bar) => bar.set_position(done),
            Progress::Lines { total, shown } => {
                let tenths = done * 10 / (*total).max(1);
                if tenths > *shown {
                    *shown = tenths;
                    eprintln!("{done} of {total} rows");
                }
            }
        }
    }

    /// Something worth telling happened.
    pub(crate) fn note(&self, text: &str) {
        match self {
            Progress::Bar(bar) => bar.println(text),
            Progress::Lines { .. } => eprintln!("{text}"),
        }
    }

    /// The week is over.
    pub(crate) fn end(&self) {
        if let Progress::Bar(bar) = self {
            bar.finish_and_clear();
        }
    }
}
