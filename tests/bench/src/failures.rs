//! `failures`: one member of a group under load is killed, vanishes, leaves or stands still.
//!
//! Measured at every survivor, from the moment it happens (one host, one clock):
//! - the view: until the application is told the first view without the member
//!   (`group().views().next_event()`), and until the state is (`#[on_view]`);
//! - the throughput: the count of applied updates is read every 5 ms and taken over a sliding
//!   window of 50 ms; against the average of the second before: the lowest until half a second
//!   after the view, when it is back to 90 % after that (from the moment on), and for how long it
//!   was below 80 %; and the lowest in the second before, which needs no reason. At half load only
//!   the survivors' updates count: the member's own are missing from then on, whatever the others
//!   do.
//!
//! - the memory: the largest resident set so far, before that and in the end. A member that stands
//!   still and is not excluded for it fills the windows of all others, and what they keep for it.
//!
//! The moment is the last thing before the kill, before the signal is sent (by a process `kill`,
//! which takes a millisecond or two), or before the member calls `leave`. In the end all survivors
//! must have applied the same updates in the same order, with everything that they sent; and
//! everything that a member sent which left in an orderly way.
//!
//! A host that vanishes is played by a process that is stopped for good: to the others it is the
//! same silence, but the kernel still accepts what comes.

use std::collections::BTreeMap;
use std::thread::sleep;
use std::time::Duration;

use serde::Serialize;

use crate::actor::state::{Mark, What, wall};
use crate::actor::{Ask, Joined, Plan, Record, Told, gone};
use crate::compare::Spread;
use crate::options::{FailuresOptions, How, Pressure};
use crate::report::machine;
use crate::samples::{Dip, dip};
use crate::stage::Stage;

/// Load before it happens; the last second of it is what is usual.
const BEFORE: Duration = Duration::from_millis(1500);
/// How long the throughput is looked at after the view, or after a stopped member continues and is
/// back.
const LOOK: u64 = 500_000;
/// How long it may take to come back.
const AFTER: Duration = Duration::from_millis(2000);
/// What has just been done may take effect in so much time.
const SOON: Duration = Duration::from_millis(300);
/// Microseconds between samples.
const EVERY: u64 = 5_000;

/// Rows of the table that plots look for.
pub(crate) const FIRST: &str = "view told, first survivor, ms";
pub(crate) const LAST: &str = "view told, last survivor, ms";

/// All rounds.
#[derive(Serialize)]
struct Document {
    how: How,
    members: u8,
    victim: usize,
    load: Pressure,
    size: usize,
    threads: usize,
    /// Milliseconds; not there if it is as shipped.
    #[serde(skip_serializing_if = "Option::is_none")]
    failure_timeout: Option<u64>,
    /// Milliseconds; of `stop` only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pause: Option<u64>,
    machine: BTreeMap<String, String>,
    /// Of the rows of the table, over the rounds.
    figures: Vec<Figure>,
    rounds: Vec<Round>,
}

/// A row of the table.
#[derive(Serialize)]
struct Figure {
    name: &'static str,
    /// In how many rounds all survivors could say it.
    of: usize,
    #[serde(flatten)]
    spread: Spread,
}

/// What happened in one cluster.
#[derive(Serialize)]
struct Round {
    /// Updates per second that all were told to send, at half load.
    #[serde(skip_serializing_if = "Option::is_none")]
    rate: Option<f64>,
    /// How long the orderly leave took, at who left.
    #[serde(skip_serializing_if = "Option::is_none")]
    leave_ms: Option<f64>,
    survivors: Vec<Survivor>,
    /// Updates of each sender that every survivor has applied.
    applied: Vec<u64>,
}

/// What one survivor saw; milliseconds from the moment.
#[derive(Serialize)]
struct Survivor {
    index: usize,
    /// Until the application was told the view without the member.
    #[serde(skip_serializing_if = "Option::is_none")]
    view_ms: Option<f64>,
    /// Until the state was told it.
    #[serde(skip_serializing_if = "Option::is_none")]
    installed_ms: Option<f64>,
    /// Why the member is gone, by that view.
    left: Vec<String>,
    /// From when a stopped member continued to when it was active again.
    #[serde(skip_serializing_if = "Option::is_none")]
    again_ms: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    throughput: Option<Dip>,
    /// Bytes of its largest resident set before the moment, and in the end.
    memory: [u64; 2],
}

/// When what happened; microseconds since the Unix epoch.
struct Times {
    moment: u64,
    continued: Option<u64>,
    left: Option<Joined>,
}

/// Plays the rounds, and prints them.
pub(crate) fn run(options: &FailuresOptions) -> Result<(), String> {
    let members = usize::from(options.members);
    let victim = options.victim.map_or(members - 1, usize::from);
    if victim >= members || options.threads == 0 {
        return Err(format!("no member {victim} among {members}, or no thread"));
    }
    let mut rounds = Vec::new();
    for number in 1..=options.rounds {
        let round = play(options, members, victim)?;
        let views: Vec<String> =
            round.survivors.iter().map(|s| format!("{:.1}", s.view_ms.unwrap_or(0.0))).collect();
        eprintln!("round {number}: {:?}: views after {} ms", options.how, views.join(", "));
        rounds.push(round);
    }
    let document = Document {
        how: options.how,
        members: options.members,
        victim,
        load: options.load,
        size: options.size,
        threads: options.threads,
        failure_timeout: options.failure_timeout,
        pause: (options.how == How::Stop).then_some(options.pause),
        machine: machine(),
        figures: figures(&rounds),
        rounds,
    };
    if options.json {
        println!("{}", serde_json::to_string(&document).map_err(|error| error.to_string())?);
    } else {
        print(&document);
    }
    Ok(())
}

fn play(options: &FailuresOptions, members: usize, victim: usize) -> Result<Round, String> {
    let plan = Plan {
        failure_timeout: options.failure_timeout,
        window: options.window,
        threads: options.threads,
        size: options.size,
        ignored: options.load.share().map(|_| victim),
        every: EVERY,
        deep: false,
        history: options.history.clone(),
    };
    let mut stage = Stage::start(&plan, members)?;
    let rate = stage.press(options.load, members)?;
    stage.all(&Ask::Watch)?;
    sleep(BEFORE);
    let survivors: Vec<usize> = (0..members).filter(|&index| index != victim).collect();
    let before: Vec<u64> = survivors.iter().map(|&index| stage.members[index].memory()).collect();
    let times = happen(options, &mut stage, victim, &survivors)?;
    let mut seen = Vec::new();
    for (&index, before) in survivors.iter().zip(before) {
        let record = stage.record(index)?;
        let memory = [before, stage.members[index].memory()];
        seen.push(survivor(index, victim, &record, &times, memory));
    }
    let excluded = seen.iter().any(|survivor| survivor.view_ms.is_some());
    // Who stood still is one of them again; what it had sent before may be lost if it was excluded.
    let mut who: Vec<(usize, bool)> = survivors.iter().map(|&index| (index, true)).collect();
    if times.continued.is_some() {
        who.push((victim, !excluded));
    }
    let applied = stage.settle(&who)?;
    if let Some(left) = &times.left
        && applied.get(victim).copied().unwrap_or(0) != left.sent
    {
        return Err(format!("{} were sent by who left, applied are {applied:?}", left.sent));
    }
    let leave_ms = times.left.map(|left| millis(left.called, left.done));
    Ok(Round { rate, leave_ms, survivors: seen, applied })
}

/// Lets it happen, and waits until it is over.
fn happen(
    options: &FailuresOptions,
    stage: &mut Stage,
    victim: usize,
    survivors: &[usize],
) -> Result<Times, String> {
    let mut times = Times { moment: wall(), continued: None, left: None };
    match options.how {
        How::Kill => stage.members[victim].kill()?,
        How::Vanish | How::Stop => stage.members[victim].signal("STOP")?,
        How::Leave => {
            let left: Joined = stage.members[victim].ask(&Ask::Leave)?;
            times.moment = left.called;
            times.left = Some(left);
        }
    }
    if options.how == How::Stop {
        sleep(Duration::from_millis(options.pause));
        times.continued = Some(wall());
        stage.members[victim].signal("CONT")?;
        // It may hear only now that it is out; then it comes again.
        sleep(SOON);
        for &index in survivors {
            stage.members[index].ask::<()>(&Ask::Size(survivors.len() + 1))?;
        }
        stage.members[victim].ask::<()>(&Ask::Size(survivors.len() + 1))?;
    } else {
        for &index in survivors {
            stage.members[index].ask::<()>(&Ask::Gone(victim))?;
        }
    }
    sleep(AFTER);
    Ok(times)
}

fn survivor(
    index: usize,
    victim: usize,
    record: &Record,
    times: &Times,
    memory: [u64; 2],
) -> Survivor {
    let gone = gone(&record.views, victim);
    let installed = gone.and_then(|view| {
        let told = |mark: &&Mark| mark.what == What::Installed(view.number);
        record.marks.iter().find(told)
    });
    let again = gone.zip(times.continued).and_then(|(gone, continued)| {
        let again = |view: &&Told| view.number > gone.number && view.active.contains(&victim);
        Some(millis(continued, record.views.iter().find(again)?.at))
    });
    let last = record.views.iter().map(|view| view.at).max().unwrap_or(0);
    let until = last.max(times.moment).max(times.continued.unwrap_or(0)) + LOOK;
    Survivor {
        index,
        view_ms: gone.map(|view| millis(times.moment, view.at)),
        installed_ms: installed.map(|mark| millis(times.moment, mark.at)),
        left: gone.map(|view| view.left.clone()).unwrap_or_default(),
        again_ms: again,
        throughput: dip(&record.samples, times.moment, until),
        memory,
    }
}

fn millis(from: u64, to: u64) -> f64 {
    (to as f64 - from as f64) / 1e3
}

/// The rows of the table. Of each round the first, or the worst, survivor.
fn figures(rounds: &[Round]) -> Vec<Figure> {
    let each = |name, of: &dyn Fn(&Survivor) -> Option<f64>, pick: fn(f64, f64) -> f64| {
        let round = |round: &Round| {
            round.survivors.iter().map(of).try_fold(None, |best, value| {
                let value = value?;
                Some(Some(best.map_or(value, |best| pick(best, value))))
            })
        };
        let values: Vec<f64> = rounds.iter().filter_map(|r| round(r).flatten()).collect();
        (!values.is_empty()).then(|| Figure { name, of: values.len(), spread: Spread::of(values) })
    };
    let dip = |of: fn(&Dip) -> Option<f64>| move |s: &Survivor| of(s.throughput.as_ref()?);
    let rows = [
        each(FIRST, &|s| s.view_ms, f64::min),
        each(LAST, &|s| s.view_ms, f64::max),
        each("view in the state, last survivor, ms", &|s| s.installed_ms, f64::max),
        each("active again after it continued, ms", &|s| s.again_ms, f64::max),
        each("usual updates/s, slowest survivor", &dip(|d| Some(d.usual)), f64::min),
        each("lowest in the second before, %", &dip(|d| Some(d.usual_lowest * 100.0)), f64::min),
        each("lowest, % of the usual", &dip(|d| Some(d.lowest * 100.0)), f64::min),
        each("back to 90 %, last survivor, ms", &dip(|d| d.back_ms), f64::max),
        each("below 80 % in all, ms", &dip(|d| Some(d.below_ms)), f64::max),
        each("below 80 % at a stretch, ms", &dip(|d| Some(d.longest_below_ms)), f64::max),
        each("most memory before, MB", &|s| Some(s.memory[0] as f64 / 1e6), f64::max),
        each("most memory in the end, MB", &|s| Some(s.memory[1] as f64 / 1e6), f64::max),
    ];
    rows.into_iter().flatten().collect()
}

fn print(document: &Document) {
    let how = format!("{:?}", document.how).to_lowercase();
    let load = format!("{:?}", document.load).to_lowercase();
    println!(
        "{how} of member {} of {}, load: {load}, {} bytes, {} rounds",
        document.victim,
        document.members,
        document.size,
        document.rounds.len()
    );
    match document.how {
        How::Vanish => println!(
            "  played on one host: the process is stopped for good; its sockets stay open, in \
             silence, and its kernel accepts what comes"
        ),
        How::Stop => println!("  it stands still for {} ms", document.pause.unwrap_or(0)),
        How::Kill | How::Leave => {}
    }
    let machine: Vec<String> = document.machine.iter().map(|(k, v)| format!("{k} {v}")).collect();
    println!("  machine: {}", machine.join(", "));
    println!("| | p50 | min | max | rounds |");
    println!("|---|---:|---:|---:|---:|");
    for Figure { name, of, spread } in &document.figures {
        let Spread { median, min, max } = spread;
        println!("| {name} | {median:.1} | {min:.1} | {max:.1} | {of} |");
    }
    println!("survivors have applied the same updates in the same order; none of theirs is lost");
}
