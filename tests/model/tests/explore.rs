//! The smallest runs, and what the model relies on in the wire format.

use bytes::Bytes;
use stateright::Expectation;
use vsync_core::bugs::Bugs;
use vsync_core::engine::{Engine, EngineConfig, Input, Outputs};
use vsync_model::bound::{Bound, Traffic};
use vsync_model::explore::explore;
use vsync_model::frame::{Frame, SIGN_OF_LIFE};
use vsync_model::setup::{Setup, node};

#[test]
fn one_crash_is_survived_whatever_the_order_of_events() {
    let bound = Bound { crashes: 1, ..Bound::default() };
    let run = explore(bound, Bugs::default(), 2, 300).expect("the first state is reached");
    assert!(run.complete && run.unique > 1_000, "{run:#?}");
    assert!(run.violated().is_none(), "{run:#?}");
    let reached = |name| {
        let mut sometimes = run.verdicts.iter().filter(|v| v.expectation == Expectation::Sometimes);
        sometimes.any(|verdict| verdict.name == name && verdict.found.is_some())
    };
    assert!(reached("the survivors of a crash moved on"));
    assert!(reached("an update was left out of the cut"));
}

#[test]
fn the_state_space_is_the_same_every_time() {
    let bound = Bound { traffic: Traffic::Ordered, ..Bound::default() };
    let runs = [1, 2].map(|jobs| explore(bound, Bugs::default(), jobs, 300).expect("it starts"));
    assert_eq!(runs[0].unique, runs[1].unique);
    assert_eq!(runs[0].states, runs[1].states);
}

/// A bound in which nothing goes wrong proves nothing: the program says so, and fails.
#[test]
fn what_is_never_reached_fails_the_run() {
    let program = std::process::Command::new(env!("CARGO_BIN_EXE_vsync-model"))
        .args(["--run", "traffic=half"])
        .output()
        .expect("the program runs");
    let said = String::from_utf8_lossy(&program.stdout);
    assert_eq!(program.status.code(), Some(1), "{said}");
    assert!(said.contains("NEVER REACHED: two ballots duelled"), "{said}");
    assert!(!said.contains("VIOLATED") && said.contains("in all: "), "{said}");
}

#[test]
fn first_states_are_as_described() {
    for traffic in [Traffic::Half, Traffic::Fresh, Traffic::Ordered] {
        assert!(Setup::new(Bugs::default(), traffic).is_complete(), "{traffic:?}");
    }
}

#[test]
fn a_sign_of_life_says_nothing_else_and_is_no_heartbeat() {
    let mut engine = Engine::new(EngineConfig::new(node(0)));
    let mut out = Outputs::new();
    let frame = Bytes::from_static(SIGN_OF_LIFE);
    assert_eq!(Frame::new(frame.clone()).name(), "Heard");
    engine.handle(1, Input::Frame { peer: node(1), frame }, &mut out);
    assert!(out.is_empty(), "{out:?}");
}
