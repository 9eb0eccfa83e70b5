//! The benchmark cluster of vsync: members as processes, over QUIC on loopback.
//!
//! `cargo run --release -p vsync-bench -- stream [--members 4] [--senders 4] [--seconds 5]
//! [--size 100] [--order total] [--threads 1] [--in-flight 0] [--history DIR]`

mod member;
mod options;
mod report;
mod stream;

use std::process::ExitCode;

use options::Options;

fn main() -> ExitCode {
    let result = match Options::parse(std::env::args().skip(1)) {
        Ok((command, options)) if command == "stream" => stream::run(&options),
        Ok((command, options)) if command == "member" => member::run(&options),
        Ok((command, _)) => Err(format!("unknown command {command:?}; there is: stream")),
        Err(why) => Err(why),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("vsync-bench: {why}");
            ExitCode::FAILURE
        }
    }
}
