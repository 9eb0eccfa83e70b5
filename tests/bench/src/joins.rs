//! `joins`: one more member joins a group whose state has so many bytes.
//!
//! The state is made by updates that make it at every member (64 KiB pieces in a map), so that it
//! does not travel before. The joiner's node is in the cluster already, as one that is up and takes
//! part in other groups would be. Measured, in milliseconds from the call of `join_or_create` at
//! the joiner (one host, one clock):
//! - the join: until the handle is returned, with the state; bytes of state over that time is the
//!   rate, and with `--against-quinn` its ratio to a single stream of raw quinn, run after each
//!   join;
//! - its parts, of which those in the middle go on at once: until the donor begins its checkpoint,
//!   the copy of its state (the time inside `Clone`), the checkpoint (the time inside `Serialize`),
//!   from its end until the load ends, the load (the time inside `Deserialize`), and from its end
//!   to the handle;
//! - the view: until the last of the others is told that the joiner is active;
//! - under load the longest pause of delivery at the donor and at the others until then: the
//!   longest time through which samples, one per millisecond, saw the same count; and what was the
//!   longest in the second before.
//!
//! In the end all members must have the same state, with everything that each sent, but for
//! members that were taken for failed meanwhile (`excluded`): those come back as others.

use std::collections::BTreeMap;
use std::thread::sleep;
use std::time::Duration;

use serde::Serialize;

use crate::actor::state::What;
use crate::actor::{Ask, Joined, Plan, Record};
use crate::cluster;
use crate::compare::Spread;
use crate::options::{JoinsOptions, Level, Order, Pressure, Senders, System, Tuning, Workload};
use crate::report::machine;
use crate::samples::longest_pause;
use crate::stage::Stage;

/// Load before the join: what is usual.
const BEFORE: Duration = Duration::from_millis(1000);
/// How long the others are looked at after the view.
const AFTER: Duration = Duration::from_millis(200);
/// Microseconds between samples.
const EVERY: u64 = 1_000;
/// Bytes of one update of raw quinn: with its prefix one write.
const CHUNK: usize = (16 << 10) - 4;

/// All sizes.
#[derive(Serialize)]
struct Document {
    members: u8,
    load: Pressure,
    deep: bool,
    size: usize,
    threads: usize,
    machine: BTreeMap<String, String>,
    states: Vec<State>,
}

/// All rounds of one size.
#[derive(Serialize)]
struct State {
    bytes: u64,
    join_ms: Spread,
    megabytes_per_second: Spread,
    /// Ours ÷ raw quinn's, round by round.
    #[serde(skip_serializing_if = "Option::is_none")]
    against_quinn: Option<Spread>,
    rounds: Vec<Round>,
    /// Rounds in which nobody joined, and why.
    failed: Vec<String>,
}

/// One join; milliseconds.
#[derive(Serialize)]
struct Round {
    /// Updates per second that all were told to send, at half load.
    #[serde(skip_serializing_if = "Option::is_none")]
    rate: Option<f64>,
    /// How long the joiner's node took to be in the cluster, before.
    started_ms: f64,
    join_ms: f64,
    megabytes_per_second: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    quinn_megabytes_per_second: Option<f64>,
    /// None if no view said so while it was looked for.
    active_ms: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parts: Option<Parts>,
    /// Checkpoints that were taken for it, by all members.
    checkpoints: usize,
    /// Members that the others took for failed meanwhile.
    excluded: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    pauses: Option<Pauses>,
}

/// What a join consists of.
#[derive(Clone, Copy, Serialize)]
struct Parts {
    donor: usize,
    begin_ms: f64,
    copy_ms: f64,
    save_ms: f64,
    transfer_ms: f64,
    load_ms: f64,
    activate_ms: f64,
}

/// The longest pauses of delivery.
#[derive(Clone, Copy, Serialize)]
struct Pauses {
    donor_ms: f64,
    /// When it began, from the call on; so below.
    donor_at_ms: f64,
    others_ms: f64,
    others_at_ms: f64,
    /// The longest at any of them, in the second before.
    usual_ms: f64,
}

/// Plays all sizes, and prints them.
pub(crate) fn run(options: &JoinsOptions) -> Result<(), String> {
    if options.threads == 0 || options.state.contains(&0) {
        return Err("a state has bytes, and a member threads".to_owned());
    }
    let states = options.state.iter().map(|&bytes| state(options, bytes));
    let document = Document {
        members: options.members,
        load: options.load,
        deep: options.deep,
        size: options.size,
        threads: options.threads,
        states: states.collect::<Result<_, _>>()?,
        machine: machine(),
    };
    if options.json {
        println!("{}", serde_json::to_string(&document).map_err(|error| error.to_string())?);
    } else {
        print(&document);
    }
    match document.states.iter().flat_map(|state| &state.failed).next() {
        Some(why) => Err(format!("a join failed: {why}")),
        None => Ok(()),
    }
}

fn state(options: &JoinsOptions, bytes: u64) -> Result<State, String> {
    let (mut rounds, mut failed) = (Vec::new(), Vec::new());
    for number in 1..=options.rounds {
        let mut round = match play(options, bytes) {
            Ok(round) => round,
            Err(why) => {
                eprintln!("round {number}: {}: {why}", size(bytes));
                failed.push(why);
                continue;
            }
        };
        if options.against_quinn {
            round.quinn_megabytes_per_second = Some(quinn(options.threads)?);
        }
        let Round { join_ms, megabytes_per_second, .. } = round;
        eprintln!(
            "round {number}: {}: {join_ms:.1} ms, {megabytes_per_second:.1} MB/s",
            size(bytes)
        );
        rounds.push(round);
    }
    let ratio =
        |round: &Round| Some(round.megabytes_per_second / round.quinn_megabytes_per_second?);
    let ratios: Vec<f64> = rounds.iter().filter_map(ratio).collect();
    Ok(State {
        bytes,
        join_ms: Spread::of(rounds.iter().map(|round| round.join_ms)),
        megabytes_per_second: Spread::of(rounds.iter().map(|round| round.megabytes_per_second)),
        against_quinn: (!ratios.is_empty()).then(|| Spread::of(ratios)),
        rounds,
        failed,
    })
}

/// Megabytes per second of one stream of raw quinn.
fn quinn(threads: usize) -> Result<f64, String> {
    let workload = Workload {
        window: None,
        members: 2,
        senders: Senders::Some(1),
        first: 0,
        load: Pressure::None,
        besides: 0.0,
        seconds: 2,
        size: CHUNK,
        order: Order::Total,
        level: Level::Stable,
        in_flight: 0,
        threads,
        encrypted: false,
        history: None,
        tuning: Tuning::default(),
    };
    let outcome = cluster::run(System::Quinn, &workload)?;
    Ok(outcome.applied_per_second * CHUNK as f64 / 1e6)
}

fn play(options: &JoinsOptions, bytes: u64) -> Result<Round, String> {
    let plan = Plan {
        failure_timeout: None,
        window: None,
        threads: options.threads,
        size: options.size,
        ignored: None,
        every: EVERY,
        deep: options.deep,
        history: options.history.clone(),
    };
    let members = usize::from(options.members);
    let mut stage = Stage::start(&plan, members)?;
    stage.members[0].ask::<()>(&Ask::Fill(bytes))?;
    stage.settle(&(0..members).map(|index| (index, true)).collect::<Vec<_>>())?;
    let joiner = stage.enter()?;
    let rate = stage.press(options.load, members)?;
    for member in &mut stage.members[..members] {
        member.ask::<()>(&Ask::Watch)?;
    }
    sleep(BEFORE);
    let joined: Joined = stage.members[joiner].ask(&Ask::Join)?;
    stage.all(&Ask::Size(members + 1))?;
    sleep(AFTER);
    let records =
        (0..=joiner).map(|index| stage.record(index)).collect::<Result<Vec<Record>, String>>()?;
    // Of a member that was taken for failed meanwhile, updates may be lost.
    let excluded = excluded(&records, &joined);
    let all: Vec<_> = (0..=joiner).map(|index| (index, excluded == 0)).collect();
    stage.settle(&all)?;
    let parts = parts(&records, joiner, &joined);
    let join_ms = millis(joined.called, joined.done);
    Ok(Round {
        rate,
        started_ms: joined.started_ms,
        join_ms,
        megabytes_per_second: bytes as f64 / join_ms / 1e3,
        quinn_megabytes_per_second: None,
        active_ms: active(&records, joiner).map(|at| millis(joined.called, at)),
        checkpoints: saves(&records[..joiner]).filter(|(_, at)| *at >= joined.called).count(),
        excluded,
        pauses: parts
            .filter(|_| options.load != Pressure::None)
            .map(|parts| pauses(&records[..members], parts.donor, &joined)),
        parts,
    })
}

fn millis(from: u64, to: u64) -> f64 {
    (to as f64 - from as f64) / 1e3
}

/// When the last of the others was told that the joiner is active.
fn active(records: &[Record], joiner: usize) -> Option<u64> {
    let first = |record: &Record| {
        record.views.iter().find(|view| view.active.contains(&joiner)).map(|view| view.at)
    };
    let all: Option<Vec<u64>> = records[..joiner].iter().map(first).collect();
    all?.into_iter().max()
}

/// Members that are gone by views since the join was called.
fn excluded(records: &[Record], joined: &Joined) -> usize {
    let views = records.iter().flat_map(|record| &record.views);
    let views = views.filter(|view| view.at >= joined.called);
    let gone: BTreeMap<u64, usize> = views.map(|view| (view.number, view.left.len())).collect();
    gone.values().sum()
}

/// Who began a checkpoint, and when.
fn saves(records: &[Record]) -> impl Iterator<Item = (usize, u64)> {
    let of = |(index, record): (usize, &Record)| {
        let begun = record.marks.iter().filter(|mark| mark.what == What::Save);
        begun.map(move |mark| (index, mark.at)).collect::<Vec<_>>()
    };
    records.iter().enumerate().flat_map(of)
}

fn parts(records: &[Record], joiner: usize, joined: &Joined) -> Option<Parts> {
    let at = |index: usize, what: What| {
        let marks = &records[index].marks;
        let after = marks.iter().filter(|mark| mark.at >= joined.called && mark.what == what);
        after.map(|mark| mark.at).next_back()
    };
    let (load, loaded) = (at(joiner, What::Load)?, at(joiner, What::Loaded)?);
    // Of several checkpoints the last that was begun before the load. The joiner has written down
    // the state that it would have begun with, which is none of them.
    let begun = saves(&records[..joiner]);
    let begun = begun.filter(|(_, at)| (joined.called..=load).contains(at));
    let (donor, save) = begun.max_by_key(|(_, at)| *at)?;
    let saved = at(donor, What::Saved)?;
    let copy = at(donor, What::Copy).unwrap_or(save);
    let copied = at(donor, What::Copied).unwrap_or(save);
    Some(Parts {
        donor,
        begin_ms: millis(joined.called, copy),
        copy_ms: millis(copy, copied),
        save_ms: millis(save, saved),
        transfer_ms: millis(saved, loaded),
        load_ms: millis(load, loaded),
        activate_ms: millis(loaded, joined.done),
    })
}

fn pauses(records: &[Record], donor: usize, joined: &Joined) -> Pauses {
    let end = joined.done + AFTER.as_micros() as u64;
    let before = joined.called - BEFORE.as_micros() as u64;
    let pause = |record: &Record| longest_pause(&record.samples, joined.called, end);
    let usual = |record: &Record| longest_pause(&record.samples, before, joined.called).0;
    let others = records.iter().enumerate().filter(|(index, _)| *index != donor);
    let other = others.map(|(_, record)| pause(record)).max_by(|a, b| a.0.total_cmp(&b.0));
    let (donor, other) = (pause(&records[donor]), other.unwrap_or((0.0, joined.called)));
    Pauses {
        donor_ms: donor.0,
        donor_at_ms: millis(joined.called, donor.1),
        others_ms: other.0,
        others_at_ms: millis(joined.called, other.1),
        usual_ms: records.iter().map(usual).fold(0.0, f64::max),
    }
}

/// Such as `64 KiB`.
fn size(bytes: u64) -> String {
    let units = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    match units.iter().find(|(unit, _)| bytes >= *unit && bytes.is_multiple_of(*unit)) {
        Some((unit, name)) => format!("{} {name}", bytes / unit),
        None => format!("{bytes} B"),
    }
}

fn print(document: &Document) {
    let load = format!("{:?}", document.load).to_lowercase();
    println!("a join of {} members, load: {load}, {} bytes", document.members, document.size);
    let machine: Vec<String> = document.machine.iter().map(|(k, v)| format!("{k} {v}")).collect();
    println!("machine: {}", machine.join(", "));
    println!(
        "| state | join p50 ms | min | max | MB/s | ÷ quinn | begin | copy | save | then | load | \
         activate | active at others | pause: donor | others | usual | checkpoints | excluded | \
         node start |"
    );
    println!("|---|{}", "---:|".repeat(18));
    for state in &document.states {
        let median = |of: &dyn Fn(&Round) -> Option<f64>| {
            let values: Vec<f64> = state.rounds.iter().filter_map(of).collect();
            match values.is_empty() {
                true => "-".to_owned(),
                false => format!("{:.1}", Spread::of(values).median),
            }
        };
        let part = |of: fn(&Parts) -> f64| median(&move |round| round.parts.as_ref().map(of));
        let pause = |of: fn(&Pauses) -> f64| median(&move |round| round.pauses.as_ref().map(of));
        let Spread { min, max, median: p50 } = state.join_ms;
        let cells = [
            format!("{p50:.1}"),
            format!("{min:.1}"),
            format!("{max:.1}"),
            format!("{:.1}", state.megabytes_per_second.median),
            state.against_quinn.map_or("-".to_owned(), |ratio| format!("{:.2}", ratio.median)),
            part(|parts| parts.begin_ms),
            part(|parts| parts.copy_ms),
            part(|parts| parts.save_ms),
            part(|parts| parts.transfer_ms),
            part(|parts| parts.load_ms),
            part(|parts| parts.activate_ms),
            median(&|round| round.active_ms),
            pause(|pauses| pauses.donor_ms),
            pause(|pauses| pauses.others_ms),
            pause(|pauses| pauses.usual_ms),
            median(&|round| Some(round.checkpoints as f64)),
            median(&|round| Some(round.excluded as f64)),
            median(&|round| Some(round.started_ms)),
        ];
        println!("| {} | {} |", size(state.bytes), cells.join(" | "));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::actor::Told;
    use crate::actor::state::Mark;

    fn record(marks: &[(u64, What)], active: u64) -> Record {
        let view = |at, active: &[usize]| {
            let (active, left) = (active.to_vec(), Vec::new());
            Told { at, number: at, active, left }
        };
        Record {
            samples: Vec::new(),
            views: vec![view(1, &[0, 1]), view(active, &[0, 1, 2])],
            marks: marks.iter().map(|&(at, what)| Mark { at, what }).collect(),
        }
    }

    #[test]
    fn parts_follow_the_checkpoint_that_was_loaded() {
        // Member 1's own join comes first; then member 1 is asked, then member 0 in its place.
        let records = [
            record(
                &[(10, What::Save), (11, What::Saved), (4000, What::Save), (6000, What::Saved)],
                9500,
            ),
            record(
                &[(15, What::Load), (16, What::Loaded), (2000, What::Save), (3000, What::Saved)],
                9900,
            ),
            record(&[(7000, What::Load), (8500, What::Loaded)], 8800),
        ];
        let joined = Joined { called: 1000, done: 9000, started_ms: 0.0, sent: 0 };
        let parts = parts(&records, 2, &joined).expect("parts");
        assert_eq!(parts.donor, 0);
        assert_eq!((parts.begin_ms, parts.save_ms, parts.transfer_ms), (3.0, 2.0, 2.5));
        assert_eq!(parts.copy_ms, 0.0, "it makes none");
        assert_eq!((parts.load_ms, parts.activate_ms), (1.5, 0.5));
        assert_eq!(active(&records, 2), Some(9900));
        assert_eq!(saves(&records).count(), 3);
    }

    #[test]
    fn sizes_are_told_in_whole_units() {
        assert_eq!(
            (size(1 << 20), size(1500), size(64 << 10)),
            ("1 MiB".into(), "1500 B".into(), "64 KiB".into())
        );
    }
}
