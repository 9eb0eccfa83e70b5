//! Scale in simulation and on paper: real engines, up to a thousand, in virtual time, on processors
//! and links with stated costs.
//!
//! [`run`] measures view changes ([`change`]) and the steady state ([`steady`]), fits the law that
//! each curve follows ([`fit`]), and holds what is not built (trees for payloads and
//! acknowledgements, a sequencer of its own) against what is ([`model`]). The two trees are also
//! simulated, as another way that the same frames take; they are not in the protocol.
//!
//! Time is virtual and integer: a [`costs::Setting`] is one run, wherever it runs. What is not
//! modelled: the engines' own work grows with the members, too, in ways that the costs of frames do
//! not show; queues of the network; losses.

pub mod change;
mod cluster;
pub mod costs;
pub mod fit;
mod form;
pub mod model;
mod node;
mod pattern;
mod report;
pub mod steady;

use serde::Serialize;

use change::{Change, Event};
pub use cluster::Stuck;
use costs::Setting;
use fit::Law;
use model::{Better, Crossover, Model};
use pattern::Pattern;
use steady::{Calls, Senders, Stream, Wait};

/// Most members of a simulated group.
pub const MOST: usize = 1_000;
/// Most members of a simulated steady state: each keeps everybody's acknowledgements, of everybody,
/// and looks through them with every frame.
pub const MOST_STEADY: usize = 128;
/// Most members of a group whose one sender is simulated with trees and without: minutes of a
/// processor. It grows with more than the third power: 1,000 would take hours, and 8 GB for what
/// each keeps of everybody's acknowledgements.
pub const MOST_TREES: usize = 256;
/// Payloads of the steady state, in bytes.
pub const PAYLOADS: [usize; 2] = [100, 1_024];

/// What is measured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct What {
    /// View changes.
    pub view: bool,
    /// The steady state.
    pub steady: bool,
    /// Trees.
    pub crossover: bool,
    /// Who sequences.
    pub sequencer: bool,
}

/// The law of one curve.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Fitted {
    /// The curve.
    pub curve: String,
    /// From how many members on.
    pub from: usize,
    /// Its law; `None` where there are too few points.
    pub law: Option<Law>,
}

/// What is built against trees, which are not, at one number of members: updates a second.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Compared {
    /// Members.
    pub members: usize,
    /// One sender's, simulated and on paper: as built.
    pub direct: [f64; 2],
    /// By a relay tree.
    pub relay: [f64; 2],
    /// Acknowledgements by a tree.
    pub acks: [f64; 2],
    /// Both.
    pub both: [f64; 2],
    /// How much of the time the busiest processor works, for each of these.
    pub processor: [f64; 4],
    /// All send, simulated: as built, and by a relay tree. `None` in the largest groups.
    pub all: Option<[f64; 2]>,
}

/// Who sends, and who sequences, at one number of members. The first member sequences.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Sequenced {
    /// Members.
    pub members: usize,
    /// Updates a second of a stream: the sequencer's own, another's, all members', and that of all
    /// but the sequencer.
    pub streams: [f64; 4],
    /// How long an awaited update of the sequencer takes, and one of another, in µs.
    pub waits: [f64; 2],
    /// Awaited updates of all, and of all but the sequencer.
    pub calls: [Calls; 2],
}

/// All that was measured.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Report {
    /// With what.
    pub setting: Setting,
    /// Fan-out of the trees.
    pub fan: usize,
    /// View changes.
    pub changes: Vec<Change>,
    /// Throughput.
    pub streams: Vec<Stream>,
    /// Stable updates.
    pub waits: Vec<Wait>,
    /// Built and not built, simulated.
    pub compared: Vec<Compared>,
    /// Who sequences.
    pub sequenced: Vec<Sequenced>,
    /// From where on something else pays.
    pub crossovers: Vec<Crossover>,
    /// The laws of the curves.
    pub laws: Vec<Fitted>,
    /// Numbers of members that the steady state was not simulated with.
    pub skipped: Vec<usize>,
}

/// Measures groups of these sizes. `said` hears what is done next.
///
/// # Errors
///
/// Where a simulated group does not get on, which is a fault of the protocol or of the simulation.
pub fn run(
    setting: Setting,
    members: &[usize],
    what: What,
    fan: usize,
    mut said: impl FnMut(&str),
) -> Result<Report, Stuck> {
    let mut report = Report { setting, fan, ..Report::default() };
    if what.view {
        for &n in members {
            said(&format!("view changes of {n} members"));
            report.changes.extend(change::measure(setting, n)?);
        }
    }
    if what.steady || what.sequencer {
        report.skipped = members.iter().copied().filter(|&n| n > MOST_STEADY).collect();
    }
    for &n in members.iter().filter(|&&n| n <= MOST_STEADY) {
        if what.steady {
            said(&format!("{n} members, steady"));
            report.waits.push(steady::wait(setting, n, Senders::One)?);
            for load in [Senders::All, Senders::One].map(|s| PAYLOADS.map(|p| (s, p))).concat() {
                report.streams.push(steady::stream(setting, n, load, Pattern::default())?);
            }
        }
        if what.sequencer {
            said(&format!("{n} members, who sequences"));
            report.sequenced.push(sequence(setting, n)?);
        }
    }
    if what.crossover {
        report.skipped.extend(members.iter().copied().filter(|&n| n > MOST_TREES));
        for &n in members.iter().filter(|&&n| n <= MOST_TREES) {
            said(&format!("{n} members, with trees"));
            report.compared.push(compare(setting, n, fan)?);
        }
    }
    report.crossovers = crossovers(&report);
    report.skipped.sort_unstable();
    report.skipped.dedup();
    report.laws = laws(&report);
    Ok(report)
}

fn compare(setting: Setting, members: usize, fan: usize) -> Result<Compared, Stuck> {
    let model = Model::new(setting.costs, fan);
    let payload = PAYLOADS[0];
    let stream = |senders, pattern| steady::stream(setting, members, (senders, payload), pattern);
    let one = |relay, acks| stream(Senders::One, Pattern { relay, acks });
    let (direct, relay) = (one(None, None)?, one(Some(fan), None)?);
    let (acks, both) = (one(None, Some(fan))?, one(Some(fan), Some(fan))?);
    let all = if members <= MOST_STEADY {
        let all = |relay| stream(Senders::All, Pattern { relay, acks: None });
        Some([all(None)?.per_second, all(Some(fan))?.per_second])
    } else {
        None
    };
    let processor = [&direct, &relay, &acks, &both].map(|stream| stream.processor);
    Ok(Compared {
        members,
        direct: [direct.per_second, model.one(members, payload)],
        relay: [relay.per_second, model.one_by_relay(members, payload, false)],
        acks: [acks.per_second, model.one_by_ack_tree(members, payload)],
        both: [both.per_second, model.one_by_relay(members, payload, true)],
        processor,
        all,
    })
}

fn sequence(setting: Setting, members: usize) -> Result<Sequenced, Stuck> {
    let stream = |senders| {
        let load = (senders, PAYLOADS[0]);
        steady::stream(setting, members, load, Pattern::default()).map(|it| it.per_second)
    };
    let wait = |senders| steady::wait(setting, members, senders).map(|it| it.stable_us);
    let calls = |senders| steady::calls(setting, members, senders);
    Ok(Sequenced {
        members,
        streams: [
            stream(Senders::Sequencer)?,
            stream(Senders::One)?,
            stream(Senders::All)?,
            stream(Senders::Others)?,
        ],
        waits: [wait(Senders::Sequencer)?, wait(Senders::One)?],
        calls: [calls(Senders::All)?, calls(Senders::Others)?],
    })
}

/// On paper, and at the sizes that were simulated, of what was.
fn crossovers(report: &Report) -> Vec<Crossover> {
    let trees = |ratio: fn(&Compared) -> f64| {
        let ratios = report.compared.iter().map(|it| (it.members, ratio(it)));
        model::pays_from(&ratios.collect::<Vec<_>>())
    };
    let mut found = Model::new(report.setting.costs, report.fan).crossovers(PAYLOADS[0]);
    found.retain(|it| match it.better {
        Better::AckTree | Better::Relay | Better::Both => !report.compared.is_empty(),
        Better::Sequencer | Better::Token => !report.sequenced.is_empty(),
    });
    for it in &mut found {
        it.simulated = match it.better {
            Better::AckTree => trees(|it| it.acks[0] / it.direct[0]),
            Better::Relay => trees(|it| it.relay[0] / it.direct[0]),
            Better::Both => trees(|it| it.both[0] / it.relay[0]),
            Better::Sequencer => {
                let ratio = |[all, others]: &[Calls; 2]| others.per_second / all.per_second;
                let ratios = report.sequenced.iter().map(|it| (it.members, ratio(&it.calls)));
                model::pays_from(&ratios.collect::<Vec<_>>())
            }
            Better::Token => None,
        };
    }
    found
}

/// Curves bend: their laws are looked for among all sizes, and among the larger ones.
const LARGE: [usize; 3] = [2, 16, 64];

fn laws(report: &Report) -> Vec<Fitted> {
    let mut laws = Vec::new();
    let mut curve = |name: String, points: Vec<(usize, f64)>| {
        for from in LARGE {
            let points = points.iter().filter(|(n, y)| *n >= from && *y > 0.0);
            let points: Vec<(f64, f64)> = points.map(|&(n, y)| (n as f64, y)).collect();
            laws.push(Fitted { curve: name.clone(), from, law: fit::power(&points) });
        }
    };
    for event in Event::ALL {
        let of = report.changes.iter().filter(|change| change.event == event);
        let of: Vec<&Change> = of.collect();
        let mut of_all = |what: &str, value: fn(&Change) -> f64| {
            let points = of.iter().map(|change| (change.members, value(change))).collect();
            curve(format!("{event:?}: {what}").to_lowercase(), points);
        };
        if !of.is_empty() {
            of_all("time", |change| change.time_us);
            of_all("frames", |change| change.frames as f64);
            of_all("bytes", |change| change.bytes as f64);
            of_all("bytes at the busiest", |change| change.busiest_bytes as f64);
        }
    }
    for (senders, payload) in
        [Senders::All, Senders::One].map(|s| PAYLOADS.map(|p| (s, p))).concat()
    {
        let of = report.streams.iter();
        let of = of.filter(|stream| stream.senders == senders && stream.payload == payload);
        let points: Vec<_> = of.map(|stream| (stream.members, stream.per_second)).collect();
        if !points.is_empty() {
            let name = format!("updates a second, {senders:?} sending, {payload} bytes");
            curve(name.to_lowercase(), points);
        }
    }
    if !report.waits.is_empty() {
        let points = report.waits.iter().map(|wait| (wait.members, wait.stable_us));
        curve("stable update: time".into(), points.collect());
        let points = report.waits.iter().map(|wait| (wait.members, wait.frames));
        curve("stable update: frames".into(), points.collect());
    }
    laws
}
