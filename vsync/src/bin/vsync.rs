//! The command-line tool: `vsync history check DIR`.

use std::process::ExitCode;

use vsync_history::{History, check};

const USAGE: &str = "usage: vsync history check DIR";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args[..] {
        ["history", "check", dir] => judge(dir),
        _ => {
            eprintln!("{USAGE}");
            ExitCode::from(2)
        }
    }
}

/// Holds the histories of a directory to all properties.
fn judge(dir: &str) -> ExitCode {
    let history = match History::read_dir(dir) {
        Ok(history) => history,
        Err(error) => {
            eprintln!("vsync: {error}");
            return ExitCode::from(2);
        }
    };
    let violations = check(&history);
    for violation in &violations {
        println!("{violation}");
    }
    println!("{} histories, {} violations", history.logs.len(), violations.len());
    match violations.is_empty() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}
