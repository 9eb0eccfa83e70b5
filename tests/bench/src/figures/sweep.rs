//! What each figure consists of.

use std::fmt;
use std::time::Duration;

use crate::goals::transport;
use crate::options::{Axis, Figure, Kind, System};

/// A program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Program {
    /// This one.
    Bench,
    /// The simulation of many members, `scale` of the package `vsync-tests`.
    Scale,
}

/// A command.
#[derive(Clone, Debug)]
pub(super) struct Run {
    pub(super) program: Program,
    /// Whose absence is no failure, unless it is ours.
    pub(super) system: System,
    pub(super) arguments: Vec<String>,
    /// It is ended after so long.
    pub(super) limit: Duration,
}

/// Commands, and how often all of them are run, one after the other.
pub(super) struct Sweep {
    pub(super) runs: Vec<Run>,
    pub(super) in_turn: u32,
}

impl fmt::Display for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let program = match self.program {
            Program::Bench => "vsync-bench",
            Program::Scale => "scale",
        };
        write!(f, "{program} {}", self.arguments.join(" "))
    }
}

/// How the figure is drawn, if it is.
pub(super) fn drawn(figure: Figure) -> Option<(Kind, Axis)> {
    Some(match figure {
        Figure::Goals | Figure::Transport => return None,
        Figure::ThroughputMembers => (Kind::Throughput, Axis::Members),
        Figure::ThroughputSize => (Kind::Throughput, Axis::Size),
        Figure::ThroughputSenders => (Kind::Throughput, Axis::Senders),
        Figure::LatencyDistribution | Figure::LatencyHalfLoad => {
            (Kind::Distribution, Axis::Members)
        }
        Figure::LatencyLoad => (Kind::Latency, Axis::InFlight),
        Figure::ViewChange => (Kind::Views, Axis::Members),
        Figure::ViewChangeLaw => (Kind::Law, Axis::Members),
        Figure::Joins => (Kind::Joins, Axis::Members),
        Figure::Groups => (Kind::Groups, Axis::Members),
        Figure::Ratios => (Kind::Ratios, Axis::Members),
    })
}

/// Beyond what a command measures it may take so long, also on a slow machine.
const GRACE: u64 = 100;

/// A command of this program that measures so many seconds in all, waiting included.
fn bench(system: System, seconds: u64, line: &str) -> Run {
    let arguments = line.split(' ').map(str::to_owned).collect();
    let limit = Duration::from_secs(GRACE + 3 * seconds);
    Run { program: Program::Bench, system, arguments, limit }
}

/// All of them, or the first and the last.
fn points<T: Copy>(all: &[T], quick: bool) -> Vec<T> {
    match all {
        [first, .., last] if quick => vec![*first, *last],
        _ => all.to_vec(),
    }
}

/// One call at a time, at one member.
const ALONE: &str = "--in-flight 1 --senders 1 --size 64";

/// The kinds of awaited calls: in total order at the sequencer and at another member, in the
/// sender's order until stable, and until it is applied at the caller.
fn one_awaited(amid: &str) -> [String; 4] {
    let kinds = [
        "--order total --level stable",
        "--order total --level stable --first 3",
        "--order fifo --level stable",
        "--order fifo --level optimistic",
    ];
    kinds.map(|kind| format!("{ALONE} {kind}{amid}"))
}

/// The commands of a figure.
pub(super) fn of(figure: Figure, quick: bool, rounds: u32, seconds: u64) -> Sweep {
    let stream = |system: System, rest: String| {
        let line = format!("stream --json --system {system} --seconds {seconds} {rest}");
        bench(system, seconds, &line)
    };
    let in_turn = |runs: Vec<Run>| Sweep { runs, in_turn: rounds };
    // Those repeat their runs themselves.
    let once = |runs: Vec<Run>| Sweep { runs, in_turn: 1 };
    match figure {
        Figure::ThroughputMembers => in_turn(
            points(&[2, 3, 4, 6, 8, 12, 16], quick)
                .into_iter()
                .flat_map(|n| {
                    [
                        stream(System::Vsync, format!("--members {n}")),
                        stream(System::Vsync, format!("--members {n} --order fifo")),
                        stream(System::Quinn, format!("--members {n}")),
                    ]
                })
                .collect(),
        ),
        Figure::ThroughputSize => in_turn(
            points(&[16, 128, 1 << 10, 8 << 10, 64 << 10], quick)
                .into_iter()
                .flat_map(|size| {
                    let sized = |system| stream(system, format!("--size {size}"));
                    [System::Vsync, System::Quinn].map(sized)
                })
                .collect(),
        ),
        Figure::ThroughputSenders => in_turn(
            points(&[1, 2, 3, 4], quick)
                .into_iter()
                .flat_map(|some| {
                    let sent = |system| stream(system, format!("--senders {some}"));
                    [System::Vsync, System::Omnipaxos].map(sent)
                })
                .collect(),
        ),
        Figure::LatencyDistribution => {
            let mut runs: Vec<Run> = one_awaited("").map(|line| stream(System::Vsync, line)).into();
            runs.push(stream(System::Quinn, ALONE.to_owned()));
            in_turn(runs)
        }
        Figure::LatencyHalfLoad => {
            // Each measures first what goes.
            let line = |line| {
                let line = format!("stream --json --seconds {seconds} {line}");
                bench(System::Vsync, seconds + 5, &line)
            };
            in_turn(one_awaited(" --load half").map(line).into())
        }
        Figure::LatencyLoad => in_turn(
            points(&[1, 16, 64, 256, 1024], quick)
                .into_iter()
                .map(|some| stream(System::Vsync, format!("--in-flight {some}")))
                .collect(),
        ),
        Figure::ViewChange => once(failures(quick, rounds)),
        Figure::ViewChangeLaw => once(vec![simulated(quick)]),
        Figure::Joins => once(joins(quick, rounds)),
        Figure::Groups => in_turn(groups(quick, seconds)),
        Figure::Ratios => once(ratios(quick, rounds, seconds)),
        Figure::Goals => in_turn(goals(quick, seconds)),
        Figure::Transport => in_turn(transport(quick, seconds)),
    }
}

fn failures(quick: bool, rounds: u32) -> Vec<Run> {
    let one = |n: u32| {
        let line =
            format!("failures --json --how kill --load half --members {n} --rounds {rounds}");
        bench(System::Vsync, 8 * u64::from(rounds), &line)
    };
    points(&[3, 4, 5, 6, 8], quick).into_iter().map(one).collect()
}

/// With timers so long that a change of the largest group is over before it would be repeated.
fn simulated(quick: bool) -> Run {
    let most = if quick { "100" } else { "100,256,1000" };
    let line = format!(
        "--what view --json --members 2,4,8,16,32,64,{most} --heartbeat 10000 --retry 10000"
    );
    let arguments = line.split(' ').map(str::to_owned).collect();
    let limit = Duration::from_secs(600);
    Run { program: Program::Scale, system: System::Vsync, arguments, limit }
}

fn joins(quick: bool, rounds: u32) -> Vec<Run> {
    let (some, most): (_, &[&str]) =
        if quick { ("1k", &["1M"]) } else { ("1k,16k,256k,4M,64M", &["256M", "1G"]) };
    let line = |state: &str| format!("joins --json --rounds {rounds} --state {state}");
    let seconds = 8 * u64::from(rounds);
    // The rate of one stream is that of the largest states', which it is compared with.
    let large = most.iter().map(|state| {
        bench(System::Vsync, 3 * seconds, &format!("{} --against-quinn", line(state)))
    });
    std::iter::once(bench(System::Vsync, 5 * seconds, &line(some))).chain(large).collect()
}

fn groups(quick: bool, seconds: u64) -> Vec<Run> {
    let one = |groups: u32| {
        let line = format!("groups --json --groups {groups} --seconds {seconds}");
        bench(System::Vsync, 20 * seconds, &line)
    };
    let mut runs: Vec<Run> =
        points(&[1, 10, 100, 1000, 10_000], quick).into_iter().map(one).collect();
    if quick {
        // What a quick look at the others leaves out.
        runs.pop();
    } else {
        let idle = format!("groups --json --groups 10000 --no-load --seconds {seconds}");
        runs.push(bench(System::Vsync, 20 * seconds, &idle));
    }
    runs
}

/// What no figure shows. All of it once: it is repeated in turn.
fn goals(quick: bool, seconds: u64) -> Vec<Run> {
    let ours = System::Vsync;
    let compare = |against: System, rest: &str| {
        let line = format!(
            "compare --json --against {against} --stream-only --rounds 1 --seconds {seconds} {rest}"
        );
        bench(against, 2 * (seconds + 5), &line)
    };
    let stream =
        |rest: &str| bench(ours, seconds, &format!("stream --json --seconds {seconds} {rest}"));
    let failures =
        |rest: &str| bench(ours, 15, &format!("failures --json --members 4 --rounds 1 {rest}"));
    let joins = |rest: &str| bench(ours, 15, &format!("joins --json --rounds 1 {rest}"));
    let idle = |groups: u32| {
        bench(ours, 20, &format!("groups --json --groups {groups} --no-load --seconds 5"))
    };
    let alone = compare(System::Quinn, "--senders 1 --size 64 --in-flight 1");
    if quick {
        return vec![alone, stream("--order fifo"), failures("--how leave --load half")];
    }
    vec![
        compare(System::Omnipaxos, "--senders 1"),
        compare(System::Omnipaxos, "--senders 1 --encrypted"),
        compare(System::Postgres, "--senders 1 --in-flight 1"),
        compare(System::Postgres, "--senders 1 --theirs-in-flight 1"),
        compare(System::Quinn, "--size 1024"),
        compare(System::Quinn, "--size 65536"),
        alone,
        stream("--order fifo"),
        stream("--order total"),
        stream("--in-flight 1 --senders 1 --size 64 --order fifo --level optimistic"),
        failures("--how kill --load full"),
        failures("--how kill --load half"),
        failures("--how vanish --load half"),
        failures("--how leave --load half"),
        failures("--how stop --load half"),
        failures("--how stop --load full"),
        joins("--state 64M --load tenth"),
        joins("--state 64M --load half"),
        idle(1),
        idle(1000),
    ]
}

/// Raw quinn with one setting changed at a time, and ours with more threads.
fn transport(quick: bool, seconds: u64) -> Vec<Run> {
    let stream = |system: System, rest: &str| {
        let line = format!("stream --json --system {system} --seconds {seconds} {rest}");
        bench(system, seconds, line.trim_end())
    };
    let mut runs = vec![stream(System::Quinn, "")];
    if quick {
        return runs;
    }
    runs.extend(transport::VARIANTS.iter().map(|(_, line)| stream(System::Quinn, line)));
    for load in ["", "--senders 1 --size 64 --in-flight 1"] {
        for threads in [1].into_iter().chain(transport::THREADS) {
            runs.push(stream(System::Vsync, &format!("--threads {threads} {load}")));
        }
    }
    runs
}

fn ratios(quick: bool, rounds: u32, seconds: u64) -> Vec<Run> {
    // Slower and slower, as far as it was known when this was written. Twice where there is also a
    // run behind the same encryption as ours.
    let all = [
        (System::Quinn, ""),
        (System::Omnipaxos, ""),
        (System::Openraft, ""),
        (System::Udp, ""),
        (System::Omnipaxos, " --encrypted"),
        (System::Openraft, " --encrypted"),
        (System::Etcd, ""),
        (System::Postgres, ""),
        (System::Corosync, ""),
    ];
    let one = |(system, how): (System, &str)| {
        // Awaited calls are compared where they are answered as ours are: in memory, by a quorum.
        let awaited = match system {
            System::Omnipaxos | System::Openraft => "--awaited 1024",
            _ => "--stream-only",
        };
        let line = format!(
            "compare --json --against {system} {awaited}{how} --rounds {rounds} --seconds {seconds}"
        );
        bench(system, 4 * u64::from(rounds) * (seconds + 5), &line)
    };
    let all = if quick { &all[..2] } else { &all[..] };
    all.iter().copied().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::Cli;
    use clap::{Parser, ValueEnum};

    #[test]
    fn every_figure_has_commands_that_this_program_takes() {
        for &figure in Figure::value_variants() {
            for quick in [true, false] {
                let Sweep { runs, in_turn } = of(figure, quick, 2, 1);
                assert!(!runs.is_empty() && in_turn > 0, "{figure:?}");
                for run in runs.iter().filter(|run| run.program == Program::Bench) {
                    let line = std::iter::once("vsync-bench".to_owned());
                    let parsed = Cli::try_parse_from(line.chain(run.arguments.clone()));
                    assert!(parsed.is_ok(), "{run}: {:?}", parsed.err());
                    assert!(run.arguments.contains(&"--json".to_owned()), "{run}");
                }
            }
        }
    }

    #[test]
    fn a_quick_sweep_has_the_first_point_and_the_last() {
        assert_eq!(points(&[1, 2, 3], true), [1, 3]);
        assert_eq!(points(&[1, 2, 3], false), [1, 2, 3]);
        assert_eq!(points(&[1], true), [1]);
    }
}
