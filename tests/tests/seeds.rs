//! A few hundred seeds of the simulator, and what must hold of the simulator itself.

use vsync_core::bugs::Bugs;
use vsync_history::event::{Event, Line};
use vsync_tests::sim::{self, Setting, Text, Totals, pool};

#[test]
fn some_seeds() {
    let jobs = std::thread::available_parallelism().map_or(1, Into::into);
    let harvest = pool::run_all(0..300, None, jobs, &Setting::default(), |_| true);
    let failed: Vec<_> =
        harvest.failed.iter().map(|outcome| (outcome.seed, &outcome.failures)).collect();
    assert!(failed.is_empty(), "{failed:#?}");
    let Totals { seeds, events, faults, healed, .. } = harvest.totals;
    assert_eq!(seeds, 300);
    assert!(events >= 300 * seeds && faults >= seeds && healed * 2 > seeds);
}

/// Runs in which a check was wrong, not the protocol.
#[test]
fn seeds_that_failed_a_check_that_was_wrong() {
    // A joiner holds whole views, up to its bound; a view is decided that only the dead can enter.
    for seed in [442_337, 16_505_102] {
        let outcome = sim::run(seed, Bugs::default());
        assert!(outcome.failures.is_empty(), "seed {seed}: {:#?}", outcome.failures);
    }
}

#[test]
fn a_seed_is_one_run() {
    for seed in 0..20 {
        let (one, two) = (sim::run(seed, Bugs::default()), sim::run(seed, Bugs::default()));
        assert_eq!(one.hash, two.hash, "seed {seed}");
        assert_eq!(one.totals.events, two.totals.events, "seed {seed}");
    }
}

/// The checkers judge a run at every step, not only when it is over: nothing is wrong on the way,
/// and judging changes nothing.
#[test]
fn every_step_is_judged() {
    for seed in [3, 4, 7, 12] {
        let outcome = sim::run_by_steps(seed, &Setting::default(), 12);
        assert!(outcome.failures.is_empty(), "seed {seed}: {:#?}", outcome.failures);
        assert_eq!(outcome.hash, sim::run(seed, Bugs::default()).hash, "seed {seed}");
    }
}

/// Without some faults it is another run, but the rest of them are as they were.
#[test]
fn faults_can_be_left_out() {
    let whole = sim::run(5, Bugs::default());
    assert!(whole.faults.len() > 3, "{:?}", whole.faults);
    let only = Some(whole.faults.iter().copied().collect());
    let same = sim::run_as(5, &Setting { only, ..Setting::default() });
    assert_eq!(same.hash, whole.hash);
    let none = sim::run_as(5, &Setting { only: Some([].into()), ..Setting::default() });
    assert!(none.faults.is_empty() && none.failures.is_empty(), "{none:#?}");
}

#[test]
fn what_is_told_is_what_was_run() {
    let everything = Setting { text: Text::Everything, ..Setting::default() };
    let (outcome, story) = sim::tell(3, &everything);
    assert_eq!(outcome.hash, sim::run(3, Bugs::default()).hash);
    assert!(story.text.contains("Install"));
    assert!(vsync_history::check(&story.history).is_empty());
}

/// Processes that are killed lose their last lines, but nothing before a `send`. The checkers must
/// not take that for a violation, wherever the ends are.
#[test]
fn lost_lines_are_no_violation() {
    for seed in 0..60 {
        let (_, mut story) = sim::tell(seed, &Setting::default());
        for (index, log) in story.history.logs.iter_mut().enumerate() {
            let sent = |line: &Line| matches!(line.event, Event::Send { .. } | Event::Start { .. });
            let durable = log.lines.iter().rposition(sent).map_or(0, |last| last + 1);
            let rest = log.lines.len() - durable;
            log.lines.truncate(durable + rest * ((seed as usize + index) % 5) / 4);
        }
        let found = vsync_history::check(&story.history);
        assert!(found.is_empty(), "seed {seed}: {found:#?}");
    }
}

/// Bugs that a few seeds are enough for; the others take `--bin bugs`.
#[cfg(feature = "bug-bank")]
#[test]
fn quick_bugs_are_caught() {
    use vsync_core::bugs::Bug;
    use vsync_tests::bank;

    let quick = [
        Bug::StableNotClosed,
        Bug::QuorumOffByOne,
        Bug::OptimisticCheckpoint,
        Bug::StampAtOpen,
        Bug::IgnoreStamp,
        Bug::NoResend,
        Bug::NoLastAck,
        Bug::NoNudge,
        Bug::JoinersVote,
    ];
    for bug in quick {
        assert!(bank::by_seeds(bug, 0, 1_000, 2).is_some(), "{bug:?} goes unseen");
    }
}

/// A failing run shrinks to fewer faults, which still make it fail by the same check; the line
/// after which a property does not hold is named.
#[cfg(feature = "bug-bank")]
#[test]
fn a_failing_seed_shrinks() {
    use std::time::Duration;
    use vsync_core::bugs::Bug;
    use vsync_tests::sim::shrink::shrink;

    let setting = Setting::with(Bugs::with(Bug::QuorumOffByOne));
    let found = (0..200).find_map(|seed| {
        let outcome = sim::run_as(seed, &setting);
        let failure = outcome.failures.first()?.clone();
        (failure.check == "stability" && outcome.faults.len() > 4)
            .then_some((seed, outcome, failure))
    });
    let (seed, whole, failure) = found.expect("a seed that fails");
    assert!(failure.what.contains("first seen at n"), "{}", failure.what);
    let left = shrink(seed, &setting, Duration::from_secs(60)).expect("it fails");
    assert!(left.minimal && left.only.len() < whole.faults.len(), "{left:#?}");
    assert_eq!(left.outcome.failures.first().map(|it| it.check), Some("stability"));
    let again = Setting { only: Some(left.only), ..setting };
    assert_eq!(sim::run_as(seed, &again).hash, left.outcome.hash);
    assert!(shrink(seed, &Setting::default(), Duration::from_secs(1)).is_none());
}
