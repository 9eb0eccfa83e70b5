//! The goals, by the numbers that they had in the beginning.

use serde_json::Value;

use super::source::{Source, at, each, pairs, ratios, side};
use super::{Bound, Goal, Unit};
use crate::compare::Spread;

const RATE: &str = "/applied_per_second";
const P50: &str = "/latency/p50";

fn goal(
    number: u8,
    what: &'static str,
    bound: Bound,
    unit: Unit,
    values: fn(&Source) -> Vec<f64>,
) -> Goal {
    Goal { number, what, bound, unit, values }
}

/// All goals.
pub(super) fn goals() -> Vec<Goal> {
    let mut all = throughput();
    all.extend(against_others());
    all.extend(latency());
    all.extend(failures());
    all.extend(joins());
    all.extend(growth());
    all.sort_by_key(|goal| goal.number);
    all
}

fn throughput() -> Vec<Goal> {
    use Bound::AtLeast;
    use Unit::{Millions, Percent, Times};
    vec![
        goal(1, "total order, four send, streaming", AtLeast(2.5e6), Millions, |all| {
            side(&all.of("ratios", "compare"), 0, "ours", RATE)
        }),
        goal(1, "the same, 1024 awaited in flight each", AtLeast(1.2e6), Millions, |all| {
            side(&all.of("ratios", "compare"), 1024, "ours", RATE)
        }),
        goal(1, "the same streaming, of raw quinn all to all", AtLeast(40.0), Percent, |all| {
            percent(pairs(&all.of("ratios", "--against quinn"), 0, RATE))
        }),
        goal(2, "FIFO ÷ total order, four send", AtLeast(1.2), Times, |all| {
            let rate = |order: &str| {
                at(&all.of("goals", &format!("stream !--in-flight --order {order}")), RATE)
            };
            ratios(&rate("fifo"), &rate("total"))
        }),
        goal(2, "updates of 1 KiB, of raw quinn", AtLeast(70.0), Percent, |all| {
            percent(pairs(&all.of("goals", "--against quinn --size 1024"), 0, RATE))
        }),
        goal(2, "updates of 64 KiB, of raw quinn", AtLeast(70.0), Percent, |all| {
            percent(pairs(&all.of("goals", "--against quinn --size 65536"), 0, RATE))
        }),
    ]
}

fn against_others() -> Vec<Goal> {
    use Bound::{AtLeast, None};
    use Unit::Times;
    vec![
        goal(1, "÷ OmniPaxos, streaming (over TCP, plain)", AtLeast(2.5), Times, |all| {
            pairs(&all.of("ratios", "--against omnipaxos !--encrypted"), 0, RATE)
        }),
        goal(1, "÷ OmniPaxos, streaming, both encrypted", None, Times, |all| {
            pairs(&all.of("ratios", "--against omnipaxos --encrypted"), 0, RATE)
        }),
        goal(1, "÷ OmniPaxos, 1024 awaited, both encrypted", None, Times, |all| {
            pairs(&all.of("ratios", "--against omnipaxos --encrypted"), 1024, RATE)
        }),
        goal(1, "÷ openraft, streaming (over TCP, plain)", AtLeast(6.0), Times, |all| {
            pairs(&all.of("ratios", "--against openraft !--encrypted"), 0, RATE)
        }),
        goal(1, "÷ openraft, streaming, both encrypted", None, Times, |all| {
            pairs(&all.of("ratios", "--against openraft --encrypted"), 0, RATE)
        }),
        goal(1, "÷ openraft, 1024 awaited, both encrypted", None, Times, |all| {
            pairs(&all.of("ratios", "--against openraft --encrypted"), 1024, RATE)
        }),
        goal(1, "÷ Corosync, streaming", AtLeast(20.0), Times, |all| {
            pairs(&all.of("ratios", "--against corosync"), 0, RATE)
        }),
        goal(2, "÷ OmniPaxos, one sends, its leader (plain)", AtLeast(3.0), Times, |all| {
            pairs(&all.of("goals", "--against omnipaxos --senders 1 !--encrypted"), 0, RATE)
        }),
        goal(2, "÷ OmniPaxos, one sends, both encrypted", None, Times, |all| {
            pairs(&all.of("goals", "--against omnipaxos --senders 1 --encrypted"), 0, RATE)
        }),
        goal(4, "÷ etcd, synced to disk", AtLeast(100.0), Times, |all| {
            pairs(&all.of("ratios", "--against etcd"), 0, RATE)
        }),
        goal(4, "÷ PostgreSQL, 32 clients", AtLeast(250.0), Times, |all| {
            pairs(&all.of("ratios", "--against postgres"), 0, RATE)
        }),
        goal(4, "÷ PostgreSQL, one client, both await each", AtLeast(1000.0), Times, |all| {
            pairs(&all.of("goals", "--against postgres --in-flight 1"), 1, RATE)
        }),
        goal(4, "÷ PostgreSQL, one client, ours streams", AtLeast(1000.0), Times, |all| {
            pairs(&all.of("goals", "--against postgres --theirs-in-flight 1"), 0, RATE)
        }),
    ]
}

fn latency() -> Vec<Goal> {
    use Bound::{AtMost, None};
    use Unit::{Microseconds, Times};
    vec![
        goal(3, "stable, one in flight: p50 ÷ the raw round's", AtMost(1.25), Times, |all| {
            pairs(&all.of("goals", "--against quinn --in-flight 1"), 1, P50)
        }),
        goal(3, "the same from who is not the sequencer: p50", None, Microseconds, |all| {
            at(&all.of("latency-distribution", "--order total --level stable --first 3"), P50)
        }),
        goal(3, "amid half of the load: p50", None, Microseconds, |all| {
            at(&all.of("latency-half-load", "--order total --level stable !--first"), P50)
        }),
        goal(3, "amid half of the load: p99", None, Microseconds, |all| {
            let runs = all.of("latency-half-load", "--order total --level stable !--first");
            at(&runs, "/latency/p99")
        }),
        goal(3, "optimistic FIFO, to its own result: p50", AtMost(2.0), Microseconds, |all| {
            at(&all.of("goals", "stream --order fifo --level optimistic"), P50)
        }),
    ]
}

fn failures() -> Vec<Goal> {
    use Bound::{AtMost, None};
    use Unit::{Milliseconds, Percent};
    vec![
        goal(
            5,
            "killed at half load: view at the last survivor",
            AtMost(10.0),
            Milliseconds,
            |a| views(a, "--how kill --load half"),
        ),
        goal(
            5,
            "killed at full load: view at the last survivor",
            AtMost(10.0),
            Milliseconds,
            |a| views(a, "--how kill --load full"),
        ),
        goal(
            5,
            "vanished at half load: view (heartbeats: 100 ms)",
            AtMost(300.0),
            Milliseconds,
            |a| views(a, "--how vanish --load half"),
        ),
        goal(5, "left at half load: view at the last", None, Milliseconds, |all| {
            views(all, "--how leave --load half")
        }),
        goal(5, "killed at half load: lowest throughput after", None, Percent, |all| {
            percent(survivors(all, "--how kill --load half", "/throughput/lowest", f64::min))
        }),
        goal(5, "killed at half load: back to 90 %", AtMost(100.0), Milliseconds, |all| {
            survivors(all, "--how kill --load half", "/throughput/back_ms", f64::max)
        }),
        goal(
            5,
            "stopped for 2 s at half load: below 80 % at a stretch",
            AtMost(10_000.0),
            Milliseconds,
            |all| {
                let below = "/throughput/longest_below_ms";
                survivors(all, "--how stop --load half", below, f64::max)
            },
        ),
        goal(
            5,
            "stopped for 2 s at full load: below 80 % at a stretch",
            AtMost(10_000.0),
            Milliseconds,
            |all| {
                let below = "/throughput/longest_below_ms";
                survivors(all, "--how stop --load full", below, f64::max)
            },
        ),
    ]
}

fn joins() -> Vec<Goal> {
    use Bound::{AtLeast, AtMost};
    use Unit::{Milliseconds, Percent};
    vec![
        goal(6, "join, state of 1 KiB", AtMost(20.0), Milliseconds, |all| {
            let states = each(&all.of("joins", "joins"), "states");
            let small: Vec<&Value> =
                states.into_iter().filter(|state| state["bytes"] == 1024).collect();
            at(&each(&small, "rounds"), "/join_ms")
        }),
        goal(6, "state of 1 GiB, of raw quinn's one stream", AtLeast(70.0), Percent, |all| {
            let rounds = rounds(all, "--state 1G");
            let raw = at(&rounds, "/quinn_megabytes_per_second");
            percent(ratios(&at(&rounds, "/megabytes_per_second"), &raw))
        }),
        goal(
            6,
            "longest pause for a join, a tenth of the load",
            AtMost(5.0),
            Milliseconds,
            |all| pauses(all, "--load tenth"),
        ),
        goal(6, "longest pause for a join, half of the load", AtMost(5.0), Milliseconds, |all| {
            pauses(all, "--load half")
        }),
    ]
}

fn growth() -> Vec<Goal> {
    use Bound::{AtLeast, AtMost, None};
    use Unit::{Bytes, Milliseconds, Percent};
    vec![
        goal(7, "memory of an idle group, of 10,000", AtMost(4096.0), Bytes, |all| {
            at(&all.of("groups", "--groups 10000 --no-load"), "/memory_per_group")
        }),
        goal(7, "100 groups in bursts, of one group's throughput", AtLeast(70.0), Percent, |all| {
            share(all, "--groups 100 !--no-load", "bursts")
        }),
        goal(7, "100 groups in turn, of one group's throughput", AtLeast(70.0), Percent, |all| {
            share(all, "--groups 100 !--no-load", "turns")
        }),
        goal(7, "1,000 groups in bursts", AtLeast(70.0), Percent, |all| {
            share(all, "--groups 1000 !--no-load", "bursts")
        }),
        goal(7, "1,000 groups in turn", AtLeast(70.0), Percent, |all| {
            share(all, "--groups 1000 !--no-load", "turns")
        }),
        goal(7, "10,000 groups in bursts", AtLeast(70.0), Percent, |all| {
            share(all, "--groups 10000 !--no-load", "bursts")
        }),
        goal(7, "10,000 groups in turn", AtLeast(70.0), Percent, |all| {
            share(all, "--groups 10000 !--no-load", "turns")
        }),
        goal(7, "one of four killed in 10,000 groups: all views", None, Milliseconds, |all| {
            let runs = all.of("groups", "--groups 10000 --no-load");
            at(&runs, "/all_views").into_iter().map(|seconds| seconds * 1e3).collect()
        }),
        goal(8, "idle CPU of a node in one group, of a core", AtMost(0.1), Percent, |all| {
            percent(at(&all.of("goals", "groups --groups 1 --no-load"), "/idle_cpu"))
        }),
        goal(8, "idle CPU of a further group, of a core", AtMost(0.1), Percent, |all| {
            let cpu = |groups| {
                at(&all.of("goals", &format!("groups --groups {groups} --no-load")), "/idle_cpu")
            };
            let further = cpu("1000").into_iter().zip(cpu("1"));
            percent(further.map(|(all, one)| (all - one).max(0.0) / 999.0).collect())
        }),
    ]
}

fn percent(values: Vec<f64>) -> Vec<f64> {
    values.into_iter().map(|value| value * 100.0).collect()
}

/// Rounds of `failures`, from both figures that have any.
fn failed<'a>(all: &'a Source, line: &str) -> Vec<&'a Value> {
    let of = |figure| all.of(figure, &format!("failures {line} --members 4"));
    let both: Vec<&Value> = of("goals").into_iter().chain(of("view-change")).collect();
    each(&both, "rounds")
}

/// What the worst-off survivor of each round says.
fn survivors(all: &Source, line: &str, pointer: &str, worse: fn(f64, f64) -> f64) -> Vec<f64> {
    let of = |round: &Value| {
        let survivors = round["survivors"].as_array().into_iter().flatten();
        survivors.filter_map(|survivor| survivor.pointer(pointer)?.as_f64()).reduce(worse)
    };
    failed(all, line).into_iter().filter_map(of).collect()
}

fn views(all: &Source, line: &str) -> Vec<f64> {
    survivors(all, line, "/view_ms", f64::max)
}

fn rounds<'a>(all: &'a Source, line: &str) -> Vec<&'a Value> {
    let of = |figure| all.of(figure, &format!("joins {line}"));
    let both: Vec<&Value> = of("goals").into_iter().chain(of("joins")).collect();
    each(&each(&both, "states"), "rounds")
}

fn pauses(all: &Source, load: &str) -> Vec<f64> {
    let rounds = rounds(all, &format!("--state 64M {load}"));
    let at = |pointer| at(&rounds, pointer);
    at("/pauses/donor_ms").into_iter().zip(at("/pauses/others_ms")).map(|(a, b)| a.max(b)).collect()
}

/// Of the median throughput through one group, in the same runs.
fn share(all: &Source, line: &str, load: &str) -> Vec<f64> {
    let runs = all.of("groups", &format!("groups {line}"));
    let at = |what: &str| at(&runs, &format!("/{what}/overall_per_second"));
    let one = Spread::of(at("one")).median;
    let sent = at(load).into_iter().filter(|rate| *rate > 0.0);
    if one > 0.0 { percent(sent.map(|rate| rate / one).collect()) } else { Vec::new() }
}
