//! The simulated groups of many members: the same seed is the same run, the formulas hold for what
//! is built, and bad arguments are told.

use std::process::{Command, Output};

use vsync_tests::scale::change::{Change, Event};
use vsync_tests::scale::costs::{Costs, Setting, Timers};
use vsync_tests::scale::model::{Better, Model, pays_from};
use vsync_tests::scale::steady::Senders;
use vsync_tests::scale::{Report, What, run};

const NOTHING: What = What { view: false, steady: false, crossover: false, sequencer: false };
const VIEW: What = What { view: true, ..NOTHING };
const STEADY: What = What { steady: true, ..NOTHING };
const CROSSOVER: What = What { crossover: true, ..NOTHING };
const SEQUENCER: What = What { sequencer: true, ..NOTHING };

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
    let all = What { view: true, steady: true, crossover: true, sequencer: true };
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

fn crossover(report: &Report, better: Better) -> [Option<usize>; 2] {
    let mut all = report.crossovers.iter();
    let it = all.find(|it| it.better == better).expect("each is listed");
    [it.simulated, it.from]
}

#[test]
fn trees_change_what_frames_cost_and_nothing_else() {
    let report = report(seed(1), &[2, 3, 5, 6, 8], CROSSOVER);
    let [two, three, five, six, eight] = &report.compared[..] else { panic!("five sizes") };
    // Of two members nobody passes anything on, and of five nobody but the sender sends a batch.
    assert_eq!([two.relay[0], two.acks[0], two.both[0]], [two.direct[0]; 3]);
    assert_eq!([three.relay[0], five.relay[0]], [three.direct[0], five.direct[0]]);
    // The stream of one sender gains by either, by the relay more.
    for it in [six, eight] {
        assert!(it.relay[0] > 1.2 * it.direct[0], "{it:?}");
        assert!(it.acks[0] > it.direct[0] && it.acks[0] < it.relay[0], "{it:?}");
        // Where all send there is nothing to gain.
        let [direct, relay] = it.all.expect("so few");
        assert!(relay < 1.05 * direct, "{it:?}");
    }
    for it in &report.compared[1..] {
        near(it.direct[0], it.direct[1], 0.05, &format!("as it is built: {it:?}"));
        near(it.relay[0], it.relay[1], 0.10, &format!("a relay tree: {it:?}"));
        near(it.both[0], it.both[1], 0.15, &format!("both trees: {it:?}"));
        // One combined acknowledgement comes down to the sender, not one for each that goes up.
        near(it.acks[0], it.acks[1], 0.01, &format!("acknowledgements by tree: {it:?}"));
    }
    assert_eq!(crossover(&report, Better::AckTree), [Some(3), Some(3)]);
    assert_eq!(crossover(&report, Better::Relay), [Some(6), Some(6)]);
    let text = report.to_string();
    assert!(text.contains("| relay tree: one sender's stream | 6 | 6 |"), "{text}");
}

#[test]
fn what_pays_pays_from_there_on() {
    assert_eq!(pays_from(&[(16, 1.1), (2, 1.0), (4, 1.2), (8, 1.1)]), Some(4));
    assert_eq!(pays_from(&[(2, 1.1), (4, 1.2), (8, 1.0), (16, 1.1)]), Some(16));
    assert_eq!(pays_from(&[(2, 1.1), (4, 1.0)]), None);
    assert_eq!(pays_from(&[]), None);
}

#[test]
fn to_sequence_costs_little_and_a_member_that_does_nothing_else_pays_in_larger_groups() {
    let report = report(seed(1), &[4, 8, 16], SEQUENCER);
    for it in &report.sequenced {
        let [sequencer, another, all, others] = it.streams;
        // Its own stream needs no record of another member's.
        assert!(sequencer > another && sequencer < 1.05 * another, "{it:?}");
        assert!(others < all, "{it:?}");
        let paper = Model::new(Costs::default(), 4).stable(it.members);
        assert!(it.waits[0] < it.waits[1], "{it:?}");
        near(it.waits[1], paper, 0.25, &format!("{it:?}"));
        let [all, others] = &it.calls;
        assert!(all.sequencer > all.other && all.sequencer < 1.4 * all.other, "{it:?}");
        assert!(others.sequencer < all.sequencer, "it is spared its own calls: {it:?}");
    }
    let ratios = report.sequenced.iter().map(|it| it.calls[1].per_second / it.calls[0].per_second);
    let [four, eight, sixteen] = ratios.collect::<Vec<_>>()[..] else { panic!("three sizes") };
    // Of few members one that does not call is missed more than one that is busier is felt.
    assert!((0.7..0.8).contains(&four) && (0.85..0.95).contains(&eight), "{four} {eight}");
    assert!((1.01..1.1).contains(&sixteen), "{sixteen}");
    assert_eq!(crossover(&report, Better::Sequencer), [Some(16), Some(4)]);
    assert_eq!(crossover(&report, Better::Token), [None, None]);
    let listed: Vec<Better> = report.crossovers.iter().map(|it| it.better).collect();
    assert_eq!(listed, [Better::Sequencer, Better::Token], "only what was simulated");
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
    told(&["--what", "nothing"], "possible values: view, steady, crossover, sequencer, all");
    told(&["--fan", "1"], "1 is not in 2..=64");
    told(&["--bandwidth", "0"], "0 is not in");
    told(&["--heartbeat", "0"], "0 is not in 1..=100000");
    told(&["--idle", "60001"], "60001 is not in 0..=60000");
    for (what, members, most) in
        [("steady", "256", "128"), ("sequencer", "256", "128"), ("crossover", "257", "256")]
    {
        let needs = format!("--what {what} needs a size up to {most}");
        told(&["--what", what, "--members", members], &needs);
    }
}
