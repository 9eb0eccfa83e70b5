//! What the programs here print, for readers that may stop early: `sim --seed 17 --trace | head`.
//!
//! The macros have the names and arguments of the standard library's, which panic where nobody
//! reads any more. A program that imports these ends there without a word, as others do: with the
//! status of one that `SIGPIPE` has ended, since its verdict is still to come.

use std::fmt;
use std::io::{self, ErrorKind, Write};
use std::process::exit;

/// 128 and `SIGPIPE`, as shells have it.
const NOBODY_READS: i32 = 141;

/// Writes to standard output.
///
/// # Panics
/// If that fails for another reason than that nobody reads it, as the standard library's macros do.
#[doc(hidden)]
pub fn write(text: fmt::Arguments<'_>) {
    match io::stdout().lock().write_fmt(text) {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::BrokenPipe => exit(NOBODY_READS),
        Err(error) => panic!("standard output: {error}"),
    }
}

/// [`std::print!`]; a reader that stops early ends the program quietly.
#[macro_export]
macro_rules! print {
    ($($arguments:tt)*) => {
        $crate::output::write(format_args!($($arguments)*))
    };
}

/// [`std::println!`]; a reader that stops early ends the program quietly.
#[macro_export]
macro_rules! println {
    ($($arguments:tt)*) => {
        $crate::output::write(format_args!("{}\n", format_args!($($arguments)*)))
    };
}
