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
use model::{Crossover, Model};
use pattern::Pattern;
use steady::{Senders, Stream, Wait};

/// Most members of a simulated group.
pub const MOST: usize = 1_000;
/// Most members of a simulated steady state: each keeps everybody's acknowledgements, of everybody,
/// and looks through them with every frame.
pub const MOST_STEADY: usize = 128;
/// Payloads of the steady state, in bytes.
pub const PAYLOADS: [usize; 2] = [100, 1_024];

/// What is measured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct What {
    /// View changes.
    pub view: bool,
    /// The steady state.
    pub steady: bool,
    /// What is not built.
    pub crossover: bool,
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

/// What is built against what is not, at one number of members.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Compared {
    /// Members.
    pub members: usize,
    /// One sender's updates a second, simulated and on paper: as built.
    pub direct: [f64; 2],
    /// Its updates by a relay tree.
    pub relay: [f64; 2],
    /// Acknowledgements by a tree.
    pub acks: [f64; 2],
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
    /// On paper: from where on it pays.
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
    if what.steady || what.crossover {
        report.skipped = members.iter().copied().filter(|&n| n > MOST_STEADY).collect();
    }
    for &n in members.iter().filter(|&&n| n <= MOST_STEADY) {
        if what.steady {
            said(&format!("{n} members, steady"));
            report.waits.push(steady::wait(setting, n, Pattern::Direct)?);
            for load in [Senders::All, Senders::One].map(|s| PAYLOADS.map(|p| (s, p))).concat() {
                report.streams.push(steady::stream(setting, n, load, Pattern::Direct)?);
            }
        }
        if what.crossover {
            said(&format!("{n} members, with trees"));
            report.compared.push(compare(setting, n, fan)?);
        }
    }
    if what.crossover {
        report.crossovers = Model::new(setting.costs, fan).crossovers(PAYLOADS[0]);
    }
    report.laws = laws(&report);
    Ok(report)
}

fn compare(setting: Setting, members: usize, fan: usize) -> Result<Compared, Stuck> {
    let model = Model::new(setting.costs, fan);
    let load = (Senders::One, PAYLOADS[0]);
    let one = |pattern| steady::stream(setting, members, load, pattern).map(|it| it.per_second);
    Ok(Compared {
        members,
        direct: [one(Pattern::Direct)?, model.one(members, load.1)],
        relay: [one(Pattern::Relay(fan))?, model.one_by_relay(members, load.1)],
        acks: [one(Pattern::Acks(fan))?, model.one_by_ack_tree(members, load.1)],
    })
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
