//! One run of the checker.

use std::time::{Duration, Instant};

use stateright::{Checker, Expectation, HasDiscoveries, Model};
use vsync_core::bugs::Bugs;

use crate::bound::Bound;
use crate::model::ViewChange;

/// What a run has shown.
#[derive(Debug)]
pub struct Exploration {
    /// States that were reached, each as often as it was.
    pub states: usize,
    /// Different states.
    pub unique: usize,
    /// The longest of the shortest ways to a state.
    pub depth: usize,
    /// Different steps of single members.
    pub steps: usize,
    /// How long it took.
    pub time: Duration,
    /// Whether nothing was left to explore.
    pub complete: bool,
    /// What became of each property.
    pub verdicts: Vec<Verdict>,
}

/// What became of one property.
#[derive(Debug)]
pub struct Verdict {
    /// Its name.
    pub name: &'static str,
    /// Whether it must hold always, or be reached sometimes.
    pub expectation: Expectation,
    /// A way to a violation, or to an example.
    pub found: Option<Way>,
}

/// A way from the first state.
#[derive(Debug)]
pub struct Way {
    /// What happened.
    pub actions: Vec<String>,
    /// Where it ends: what each member has told.
    pub end: String,
}

impl Exploration {
    /// A property that does not hold.
    pub fn violated(&self) -> Option<(&'static str, &Way)> {
        let always = self.verdicts.iter().filter(|v| v.expectation == Expectation::Always);
        always.filter_map(|verdict| Some((verdict.name, verdict.found.as_ref()?))).next()
    }
}

/// Explores one bound, to its end or to a violation. `None`: its first state cannot be reached.
pub fn explore(bound: Bound, bugs: Bugs, jobs: usize, seconds: u64) -> Option<Exploration> {
    let begin = Instant::now();
    let limit = Duration::from_secs(seconds);
    let checker = ViewChange::new(bound, bugs)?
        .checker()
        .threads(jobs)
        .timeout(limit)
        .finish_when(HasDiscoveries::AnyFailures)
        .spawn_bfs()
        .join();
    let mut found = checker.discoveries();
    let verdict = |property: stateright::Property<ViewChange>| {
        let found = found.remove(property.name).map(|path| way(path.into_vec()));
        Verdict { name: property.name, expectation: property.expectation, found }
    };
    let verdicts = checker.model().properties().into_iter().map(verdict).collect();
    let time = begin.elapsed();
    Some(Exploration {
        states: checker.state_count(),
        unique: checker.unique_state_count(),
        depth: checker.max_depth(),
        steps: checker.model().steps(),
        complete: time < limit,
        time,
        verdicts,
    })
}

fn way(path: Vec<(crate::model::State, Option<crate::model::Action>)>) -> Way {
    let end = path.last().map(|(state, _)| format!("{state:?}")).unwrap_or_default();
    let caption =
        |(state, action): &(_, Option<_>)| action.map(|action| ViewChange::caption(state, action));
    Way { actions: path.iter().filter_map(caption).collect(), end }
}
