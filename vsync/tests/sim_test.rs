//! `#[sim_test]`: a simulation as a test, and the line that runs a failed seed again.

use vsync::testing::{Faults, Simulation};
use vsync::{replicated, sim_test};

/// A list; under fifo it has another order at every replica.
#[replicated]
#[derive(Default)]
struct Log {
    lines: Vec<u8>,
}

#[replicated]
impl Log {
    #[update(order = "total")]
    fn append(&mut self, line: u8) {
        self.lines.push(line);
    }
    #[update(order = "fifo")]
    fn push(&mut self, line: u8) {
        self.lines.push(line);
    }
}

// ANCHOR: sim_test
#[sim_test(seeds = 3..6, members = 3, length = 20, faults = Faults::none())]
fn a_list_in_one_order() -> Simulation<Log> {
    Simulation::new(Log::default, |dice| LogUpdate::Append { line: dice.below(9) as u8 })
        .without(["push"])
}
// ANCHOR_END: sim_test

/// Each is run by the test below, in a process of its own.
mod wrong {
    use super::*;

    #[sim_test(seeds = 7..9)]
    #[ignore = "it fails, as it should"]
    fn a_list_in_no_order() -> Simulation<Log> {
        Simulation::new(Log::default, |dice| LogUpdate::Push { line: dice.below(99) as u8 })
            .without(["append"])
    }

    #[sim_test(seeds = 0..0)]
    #[ignore = "it fails, as it should"]
    fn no_seed() -> Simulation<Log> {
        Simulation::new(Log::default, |_| LogUpdate::Push { line: 1 })
    }
}

/// What a test of this program says that fails.
fn failing(test: &str, seed: Option<&str>) -> String {
    let this = std::env::current_exe().expect("this program");
    let mut child = std::process::Command::new(this);
    // In one thread: then that has not the test's name.
    child.args(["--ignored", "--exact", "--test-threads", "1", test]).env_remove("VSYNC_SEED");
    let output = child.envs(seed.map(|seed| ("VSYNC_SEED", seed))).output().expect("it ran");
    assert!(!output.status.success());
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn a_seed_that_fails_is_told_with_the_line_that_runs_it_again() {
    let said = failing("wrong::a_list_in_no_order", None);
    assert!(said.contains("seed 7 of a simulation of `Log`"), "{said}");
    let line = |seed| format!("VSYNC_SEED={seed} cargo test -p vsync wrong::a_list_in_no_order\n");
    assert!(said.contains(&line(7)), "{said}");
    // And so it is, also with a seed that is not among those of the attribute.
    let said = failing("wrong::a_list_in_no_order", Some("21"));
    assert!(said.contains("seed 21 of") && said.contains(&line(21)), "{said}");
    assert!(failing("wrong::no_seed", None).contains("shows nothing"));
}
