//! The simulated groups of many members: the same seed is the same run, the formulas hold for what
//! is built, and bad arguments are told.

use std::process::{Command, Output};

use vsync_tests::scale::change::{Change, Event};
use vsync_tests::scale::costs::{Costs, Setting, Timers};
use vsync_tests::scale::model::Model;
use vsync_tests::scale::steady::Senders;
use vsync_tests::scale::{Report, What, run};

const VIEW: What = What { view: true, steady: false, crossover: false };
const STEADY: What = What { view: false, steady: true, crossover: false };
const CROSSOVER: What = What { view: false, steady: false, crossover: true };

fn report(setting: Setting, members: &[usize], what: What) -> Report {
    run(setting, members, what, 4, |_| ()).expect("the groups get on")
}

fn seed(seed: u64) -> Setting {
    Setting { seed, ..Setting::default() }
}

fn change(report: &Report, event: Event, members: usize) -> &Change {
    let mut changes = report.changes.iter();
    changes.find(|it| it.event == event && it.members == members).expect("it was measured")
}

fn near(simulated: f64, paper: f64, part: f64, what: &str) {
    let off = (paper / simulated - 1.0).abs();
    assert!(off <= part, "{what}: {simulated} simulated, {paper} on paper, off by {off:.2}");
}

#[test]
fn a_seed_is_one_report() {
    let all = What { view: true, steady: true, crossover: true };
    let (one, two) = (report(seed(3), &[5], all), report(seed(3), &[5], all));
    assert_eq!(one, two);
    assert_eq!(one.to_string(), two.to_string());
    let (other, changes) = (report(seed(4), &[5], VIEW), &one.changes);
    assert_ne!(&other.changes, changes, "another seed is another run");
}

#[test]
fn view_changes_follow_the_formulas() {
    let report = report(seed(1), &[4, 8, 16], VIEW);
    let model = Model::new(Costs::default(), 4);
    for members in [4, 8, 16] {
        let kill = change(&report, Event::Kill, members);
        near(kill.time_us, model.kill(members), 0.10, &format!("a kill, {members} members"));
        assert_eq!(kill.frames, model.kill_frames(members), "{members} members");
    }
    let (few, many) = (change(&report, Event::Leave, 8), change(&report, Event::Leave, 16));
    assert!(many.frames > 3 * few.frames, "each tells each: {few:?} {many:?}");
}

/// Five heartbeats of silence, of which up to one was before the end, and then the change. Others
/// are asked meanwhile, from the first heartbeat on that finds two of them missing.
fn missed_in_time(report: &Report, members: usize) {
    let Timers { heartbeat, .. } = Timers::default();
    let model = Model::new(Costs::default(), 4);
    let vanish = change(report, Event::Vanish, members);
    let (least, most) = (4 * heartbeat * 1_000, 5 * heartbeat * 1_000);
    let change = 2.0 * model.kill(members) + 1_000.0;
    assert!((least as f64..most as f64 + change).contains(&vanish.time_us), "{vanish:?}");
}

#[test]
fn who_vanishes_is_missed_after_five_heartbeats() {
    let report = report(seed(1), &[2, 4, 8, 16], VIEW);
    [2, 4, 8, 16].into_iter().for_each(|members| missed_in_time(&report, members));
}

#[test]
fn who_vanishes_from_a_group_that_is_long_idle_is_missed_as_soon() {
    for number in 1..=4 {
        // Wherever between two heartbeats.
        let idle = 10_000 + number * 20;
        let report = report(Setting { idle, ..seed(number) }, &[2, 4, 8], VIEW);
        [2, 4, 8].into_iter().for_each(|members| missed_in_time(&report, members));
    }
}

#[test]
fn a_faster_processor_is_worth_its_factor() {
    let slow = report(seed(1), &[8], VIEW);
    let costs = Costs { send: 40_000, receive: 60_000, ..Costs::default() };
    let slower = report(Setting { costs, ..seed(1) }, &[8], VIEW);
    let (one, ten) = (change(&slow, Event::Kill, 8), change(&slower, Event::Kill, 8));
    assert_eq!((one.frames, one.bytes), (ten.frames, ten.bytes), "the protocol is the same");
    assert!(ten.time_us > 3.0 * one.time_us, "{one:?} {ten:?}");
    near(ten.time_us, Model::new(costs, 4).kill(8), 0.10, "a kill on a slow processor");
}

#[test]
fn the_steady_state_follows_the_formulas() {
    let report = report(seed(1), &[4, 8], STEADY);
    let model = Model::new(Costs::default(), 4);
    for stream in &report.streams {
        let Senders::All = stream.senders else { continue };
        let what = format!("{stream:?}");
        near(stream.per_second, model.all(stream.members, stream.payload), 0.10, &what);
        assert!(stream.processor > 0.95, "the processor is what limits: {what}");
    }
    for stream in report.streams.iter().filter(|stream| stream.senders == Senders::One) {
        let paper = model.one(stream.members, stream.payload);
        near(stream.per_second, paper, 0.10, &format!("{stream:?}"));
        assert!(stream.ack_frames > 0.0 && stream.ack_frames < 0.5, "{stream:?}");
    }
    for wait in &report.waits {
        near(wait.stable_us, model.stable(wait.members), 0.25, &format!("{wait:?}"));
        assert!(wait.acks < wait.frames, "{wait:?}");
    }
}

#[test]
fn trees_change_what_frames_cost_and_nothing_else() {
    let report = report(seed(1), &[2, 12], CROSSOVER);
    let [two, twelve] = &report.compared[..] else { panic!("two sizes") };
    // Of two members nobody passes anything on.
    assert_eq!(two.direct[0], two.relay[0]);
    assert_eq!(two.direct[0], two.acks[0]);
    // The stream of one sender gains by either, by the relay more.
    assert!(twelve.relay[0] > 1.5 * twelve.direct[0], "{twelve:?}");
    assert!(twelve.acks[0] > twelve.direct[0] && twelve.acks[0] < twelve.relay[0], "{twelve:?}");
    near(twelve.direct[0], twelve.direct[1], 0.10, "as it is built");
    near(twelve.relay[0], twelve.relay[1], 0.25, "a relay tree");
    near(twelve.acks[0], twelve.acks[1], 0.25, "acknowledgements by tree");
    let pays: Vec<Option<usize>> = report.crossovers.iter().map(|it| it.from).collect();
    assert!(
        matches!(pays[..], [Some(3..=100), Some(3..=16), Some(3..=16)]),
        "{:?}",
        report.crossovers
    );
}

#[test]
fn laws_are_printed_with_their_curves() {
    let report = report(seed(1), &[4, 8, 16], VIEW);
    let law = report.laws.iter().find(|law| law.curve == "kill: frames").expect("a law");
    let law = law.law.expect("three points have one");
    assert!((1.8..2.2).contains(&law.exponent) && law.fit > 0.99, "{law:?}");
    assert!(report.to_string().contains("| kill: frames | 2 |"));
}

fn scale(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_scale"));
    command.args(arguments).output().expect("the program starts")
}

#[test]
fn the_program_prints_one_object() {
    let output = scale(&["--members", "2,4", "--what", "view", "--json"]);
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).expect("text");
    let json: serde_json::Value = serde_json::from_str(&text).expect("one object");
    assert_eq!(json["changes"].as_array().expect("a list").len(), 10);
    assert_eq!(json["setting"]["costs"]["send"], 4_000);
}

#[test]
fn bad_arguments_are_told() {
    let told = |arguments: &[&str], what: &str| {
        let output = scale(arguments);
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {text}");
        assert!(text.contains(what), "{arguments:?}: {text}");
    };
    told(&["--members", "1"], "a simulated group has 2 to 1000 members");
    told(&["--members", "4,1001"], "a simulated group has 2 to 1000 members");
    told(&["--members", "four"], "invalid digit");
    told(&["--members", ""], "cannot parse integer");
    told(&["--what", "nothing"], "possible values: view, steady, crossover, all");
    told(&["--fan", "1"], "1 is not in 2..=64");
    told(&["--bandwidth", "0"], "0 is not in");
    told(&["--heartbeat", "0"], "0 is not in 1..=100000");
    told(&["--idle", "60001"], "60001 is not in 0..=60000");
    told(&["--what", "steady", "--members", "256"], "need a size up to 128");
}
