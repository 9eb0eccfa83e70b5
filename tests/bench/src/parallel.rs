//! `parallel`: what several groups make of several processors, and what a query that takes long
//! does to the updates beside it.
//!
//! For each number of threads there is a cluster, whose members are in all groups. First updates
//! that are dear to apply go to one group, and to several. Then one cheap update after the other is
//! awaited in one group, while a query computes in it, or in another one, at the same member.

mod member;
mod work;

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use self::member::{Done, Step};
use self::work::rounds_per_micro;
use crate::latency::{Latencies, Summary};
use crate::options::{Asked, ParallelMemberOptions, ParallelOptions, Part};
use crate::process::Member;
use crate::report::machine;

/// Seconds that a step may take beyond the time it measures.
const PATIENCE: u64 = 30;

/// All that was measured.
#[derive(Debug, Serialize)]
struct Outcome<'a> {
    settings: &'a ParallelOptions,
    machine: BTreeMap<String, String>,
    /// Of the work that updates and queries do: so many take a microsecond where nobody else
    /// computes.
    rounds_per_micro: f64,
    apply: Vec<Applied>,
    queries: Vec<Beside>,
}

/// Dear updates.
#[derive(Clone, Debug, Serialize)]
struct Applied {
    threads: u16,
    /// Microseconds that an update computes.
    work: u64,
    groups: u16,
    /// In all groups, at the member that applied least.
    applied_per_second: f64,
    /// Against one group, if that was measured.
    speed_up: Option<f64>,
    /// Processors' time per second, of the busiest member.
    cores: f64,
}

/// Awaited updates beside a query.
#[derive(Clone, Debug, Serialize)]
struct Beside {
    threads: u16,
    asked: Asked,
    /// Whether it is asked in another group.
    elsewhere: bool,
    updates_per_second: f64,
    queries_per_second: f64,
    /// Of the updates, microseconds.
    latency: Option<Summary>,
}

/// One member: what `run` starts.
pub(crate) fn member(options: &ParallelMemberOptions) -> Result<(), String> {
    member::run(options)
}

/// Runs everything that is asked for, and prints it.
pub(crate) fn run(options: &ParallelOptions) -> Result<(), String> {
    let rounds_per_micro = rounds_per_micro();
    let (mut apply, mut queries) = (Vec::new(), Vec::new());
    for &threads in &options.threads {
        let mut cluster = Cluster::start(options, threads, rounds_per_micro)?;
        if options.has(Part::Apply) {
            apply.extend(cluster.apply()?);
        }
        if options.has(Part::Queries) {
            queries.extend(cluster.queries()?);
        }
    }
    let machine = machine();
    let outcome = Outcome { settings: options, machine, rounds_per_micro, apply, queries };
    match options.json {
        true => {
            println!("{}", serde_json::to_string(&outcome).map_err(|error| error.to_string())?);
        }
        false => print(&outcome),
    }
    Ok(())
}

struct Cluster<'a> {
    options: &'a ParallelOptions,
    threads: u16,
    rounds_per_micro: f64,
    members: Vec<Member>,
    /// Updates sent so far.
    sent: u64,
}

impl Cluster<'_> {
    fn start(
        options: &ParallelOptions,
        threads: u16,
        rounds_per_micro: f64,
    ) -> Result<Cluster<'_>, String> {
        let (mut members, mut addresses) = (Vec::new(), Vec::<String>::new());
        for index in 0..usize::from(options.members) {
            let seed = addresses.first().map(String::as_str);
            let arguments = ["parallel-member", "--threads", &threads.to_string()];
            let mut member = Member::spawn(&arguments, index, seed)?;
            addresses.push(member.line_within(Duration::from_secs(PATIENCE))?);
            members.push(member);
        }
        for member in &mut members {
            member.tell(&format!("peers {}", addresses.join(" ")))?;
        }
        let mut cluster = Cluster { options, threads, rounds_per_micro, members, sent: 0 };
        let (groups, size) = (usize::from(options.most_groups()), cluster.members.len());
        cluster.all(&Step::Join { groups, size, patience: PATIENCE })?;
        Ok(cluster)
    }

    /// All members do it; what they answer.
    fn all(&mut self, step: &Step) -> Result<Vec<Done>, String> {
        let line = serde_json::to_string(step).map_err(|error| error.to_string())?;
        self.members.iter_mut().try_for_each(|member| member.tell(&line))?;
        let limit = Duration::from_secs(self.options.seconds + 2 * PATIENCE);
        let answer = |member: &mut Member| {
            let line = member.line_within(limit)?;
            serde_json::from_str(&line).map_err(|error| error.to_string())
        };
        let answers = self.members.iter_mut().map(answer).collect::<Result<_, String>>();
        answers.map_err(|why| format!("{step:?}: {why}"))
    }

    /// The same, and then all that was sent is applied everywhere, once.
    fn measured(&mut self, step: &Step) -> Result<Vec<Done>, String> {
        let done = self.all(step)?;
        self.sent += done.iter().map(|done| done.sent).sum::<u64>();
        let settled = self.all(&Step::Settle { total: self.sent, patience: PATIENCE })?;
        match settled.iter().all(|settled| settled.total == self.sent) {
            true => Ok(done),
            false => {
                let totals: Vec<u64> = settled.iter().map(|settled| settled.total).collect();
                Err(format!("{step:?}: {} were sent, applied were {totals:?}", self.sent))
            }
        }
    }

    fn rounds(&self, micros: u64) -> u64 {
        (micros as f64 * self.rounds_per_micro) as u64
    }

    fn apply(&mut self) -> Result<Vec<Applied>, String> {
        let (options, threads) = (self.options, self.threads);
        let (in_flight, seconds) = (usize::from(options.in_flight), options.seconds);
        let mut all = Vec::new();
        for &work in &options.work {
            let mut rows = Vec::new();
            for &groups in &options.groups {
                let (number, rounds) = (usize::from(groups), self.rounds(work));
                let step = Step::Apply { groups: number, rounds, in_flight, seconds };
                let done = self.measured(&step)?;
                let rate = |done: &Done| done.applied as f64 / done.seconds;
                rows.push(Applied {
                    threads,
                    work,
                    groups,
                    applied_per_second: done.iter().map(rate).fold(f64::MAX, f64::min),
                    speed_up: None,
                    cores: done.iter().map(|done| done.cpu / done.seconds).fold(0.0, f64::max),
                });
            }
            speed_up(&mut rows);
            all.extend(rows);
        }
        Ok(all)
    }

    fn queries(&mut self) -> Result<Vec<Beside>, String> {
        let (options, threads) = (self.options, self.threads);
        let (rounds, seconds) = (self.rounds(options.query), options.seconds);
        let mut all = Vec::new();
        for &asked in &options.queries {
            let places: &[bool] = if asked == Asked::None { &[false] } else { &[false, true] };
            for &elsewhere in places {
                let done = self.measured(&Step::Beside { asked, elsewhere, rounds, seconds })?;
                let first = done.first().ok_or("nobody has answered")?;
                let mut latencies = Latencies::new();
                latencies.add(&first.latencies);
                all.push(Beside {
                    threads,
                    asked,
                    elsewhere,
                    updates_per_second: first.applied as f64 / first.seconds,
                    queries_per_second: first.queries as f64 / first.seconds,
                    latency: latencies.summary(),
                });
            }
        }
        Ok(all)
    }
}

/// Says how much faster several groups are than one.
fn speed_up(rows: &mut [Applied]) {
    let one = rows.iter().find(|row| row.groups == 1).map(|row| row.applied_per_second);
    let Some(one) = one.filter(|one| *one > 0.0) else { return };
    for row in rows {
        row.speed_up = Some(row.applied_per_second / one);
    }
}

fn print(outcome: &Outcome<'_>) {
    let Outcome { settings, machine, rounds_per_micro, apply, queries } = outcome;
    println!("{settings:?}");
    println!("{machine:?}, {rounds_per_micro:.0} rounds of work take 1 µs");
    if !apply.is_empty() {
        println!("updates that compute\nthreads  work ms  groups  applied/s  speed-up  cores");
    }
    for row in apply {
        println!(
            "{:>7}  {:>7.2}  {:>6}  {:>9.0}  {:>8}  {:>5.2}",
            row.threads,
            row.work as f64 / 1e3,
            row.groups,
            row.applied_per_second,
            row.speed_up.map_or_else(|| "-".to_owned(), |speed_up| format!("{speed_up:.2}")),
            row.cores,
        );
    }
    if !queries.is_empty() {
        println!(
            "awaited updates, one at a time, beside a query of {:.0} ms",
            settings.query as f64 / 1e3
        );
        println!("threads     query  group  updates/s  p50 ms  p99 ms  max ms  queries/s");
    }
    for row in queries {
        let group = match row.asked {
            Asked::None => "-",
            _ if row.elsewhere => "other",
            _ => "same",
        };
        let millis = |of: fn(&Summary) -> f64| {
            row.latency.as_ref().map_or_else(|| "-".to_owned(), |it| format!("{:.2}", of(it) / 1e3))
        };
        println!(
            "{:>7}  {:>8}  {group:>5}  {:>9.0}  {:>6}  {:>6}  {:>6}  {:>9.1}",
            row.threads,
            format!("{:?}", row.asked).to_lowercase(),
            row.updates_per_second,
            millis(|latency| latency.p50),
            millis(|latency| latency.p99),
            millis(|latency| latency.max),
            row.queries_per_second,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(groups: u16, applied_per_second: f64) -> Applied {
        Applied { threads: 1, work: 200, groups, applied_per_second, speed_up: None, cores: 1.0 }
    }

    #[test]
    fn several_groups_are_held_against_one() {
        let mut rows = [row(2, 300.0), row(1, 200.0), row(4, 100.0)];
        speed_up(&mut rows);
        assert_eq!(rows.map(|row| row.speed_up), [Some(1.5), Some(1.0), Some(0.5)]);
        for mut without in [vec![row(2, 300.0)], vec![row(1, 0.0), row(2, 300.0)]] {
            speed_up(&mut without);
            assert!(without.iter().all(|row| row.speed_up.is_none()));
        }
    }
}
