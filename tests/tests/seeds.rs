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

#[test]
fn a_seed_is_one_run() {
    for seed in 0..20 {
        let (one, two) = (sim::run(seed, Bugs::default()), sim::run(seed, Bugs::default()));
        assert_eq!(one.hash, two.hash, "seed {seed}");
        assert_eq!(one.totals.events, two.totals.events, "seed {seed}");
    }
}

#[test]
fn what_is_told_is_what_was_run() {
    let everything = Setting { text: Text::Everything, ..Setting::default() };
    let (outcome, story) = sim::tell(3, &everything);
    assert_eq!(outcome.hash, sim::run(3, Bugs::default()).hash);
    assert!(story.text.contains("Install"));
    assert!(vsync_history::check(&story.history).is_empty());
}

/// Processes that are killed lose their last lines, but nothing before a `send`. The checkers must not
/// take that for a violation, wherever the ends are.
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
        assert!(bank::by_seeds(bug, 0, 400, 2).is_some(), "{bug:?} goes unseen");
    }
}
