//! Programs whose output nobody reads to its end, as that of `sim ... | head`.

use std::process::{Command, Stdio};

#[test]
fn a_reader_that_stops_early_is_no_panic() {
    let sim = env!("CARGO_BIN_EXE_sim");
    let scale = env!("CARGO_BIN_EXE_scale");
    for (program, arguments) in [
        (sim, "--seed 17 --trace"),
        (sim, "--seed 17"),
        (sim, "--seeds 0..3"),
        (scale, "--members 2 --what view"),
    ] {
        let mut command = Command::new(program);
        command.args(arguments.split(' ')).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("started");
        drop(child.stdout.take());
        let ended = child.wait_with_output().expect("it ends");
        let said = String::from_utf8_lossy(&ended.stderr);
        assert_eq!(ended.status.code(), Some(141), "{program} {arguments}: {said}");
        assert!(!said.contains("panicked"), "{program} {arguments}: {said}");
    }
}
