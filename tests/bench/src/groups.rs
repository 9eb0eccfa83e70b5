//! `groups`: the same nodes in one group, or in ten thousand.
//!
//! The first member makes the groups, then the others join them all; they idle; they stream to one
//! group, to all in turn, and to all in bursts; then the last member is killed. Each number of
//! groups has processes of its own. What takes longer than it may is told as such.

mod member;

use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde::Serialize;

use self::member::{Done, Step};
use crate::options::{GroupsMemberOptions, GroupsOptions};
use crate::process::Member;

/// Between the joins and the idling: the directory still notes the new views.
const REST: u64 = 2;
/// What a step may take beyond the time it gives itself.
const GRACE: u64 = 30;
/// Updates that go to one group before the next has its turn.
const BURST: usize = 64;

/// What was measured with one number of groups.
#[derive(Debug, Default, Serialize)]
struct Outcome {
    groups: usize,
    members: usize,
    /// Groups that one member made per second.
    made_per_second: f64,
    /// Groups that the slowest of the other members joined per second, all joining at once.
    joined_per_second: f64,
    /// Bytes that a further group takes at the largest member.
    memory_per_group: f64,
    /// All members, while nobody sends.
    idle_wire_per_second: f64,
    /// Share of a core, the busiest member.
    idle_cpu: f64,
    /// To one group, to all in turn, to all in bursts.
    one: Load,
    turns: Load,
    bursts: Load,
    /// Seconds from the death of a member until the first and the last group at any survivor have
    /// the view without it; none if some had not in time.
    first_view: Option<f64>,
    all_views: Option<f64>,
    /// At which step it ended early, and why.
    failed: Option<String>,
}

/// What came of sending.
#[derive(Debug, Default, Serialize)]
struct Load {
    /// Updates applied at every member per second, while all send.
    applied_per_second: f64,
    /// The same from the first that is sent to the last that is applied.
    overall_per_second: f64,
    sent: u64,
    /// Seconds from the end of the sending until everything was applied everywhere.
    drained: f64,
    /// Resident bytes at the largest member, at the end of the sending.
    memory: u64,
    /// Frames that all members sent per update: control, updates, bulk.
    frames_per_update: [f64; 3],
    /// The longest turn of a driver, seconds.
    stall: f64,
    /// Of all members, so far.
    dropped: BTreeMap<String, u64>,
    /// Views that somebody is gone from, though nobody should be.
    left: BTreeMap<String, u64>,
}

/// One member: what `run` starts.
pub(crate) fn member(options: &GroupsMemberOptions) -> Result<(), String> {
    member::run(options)
}

/// Runs all numbers of groups, until one takes too long.
pub(crate) fn run(options: &GroupsOptions) -> Result<(), String> {
    if !options.json {
        println!("{}", HEAD);
    }
    for &groups in &options.groups {
        if groups == 0 {
            return Err("no groups, nothing to measure".to_owned());
        }
        let mut outcome =
            Outcome { groups, members: options.members as usize, ..Outcome::default() };
        if let Err(why) = measure(options, &mut outcome) {
            outcome.failed = Some(why);
        }
        print(options, &outcome)?;
        if outcome.failed.is_some() {
            return Err(format!("{groups} groups are too many here"));
        }
    }
    Ok(())
}

fn measure(options: &GroupsOptions, outcome: &mut Outcome) -> Result<(), String> {
    let mut cluster = Cluster::start(options)?;
    let groups = outcome.groups;
    let one = cluster.join(1)?;
    let all = cluster.join(groups)?;
    let further = groups.saturating_sub(1).max(1) as f64;
    outcome.made_per_second = (groups - 1) as f64 / all.made;
    outcome.joined_per_second = (groups - 1) as f64 / all.joined;
    cluster.all("rest", &Step::Idle { seconds: REST })?;
    let idle = cluster.all("idle", &Step::Idle { seconds: options.seconds })?;
    let growth = |(after, before): (&Done, &u64)| after.memory.saturating_sub(*before) as f64;
    outcome.memory_per_group =
        idle.iter().zip(&one.memory).map(growth).fold(0.0, f64::max) / further;
    outcome.idle_wire_per_second = idle.iter().map(|done| done.wire as f64 / done.seconds).sum();
    outcome.idle_cpu = idle.iter().map(|done| done.cpu / done.seconds).fold(0.0, f64::max);
    if !options.no_load {
        load(&mut cluster, outcome)?;
    }
    (outcome.first_view, outcome.all_views) = cluster.kill(groups)?;
    Ok(())
}

fn load(cluster: &mut Cluster<'_>, outcome: &mut Outcome) -> Result<(), String> {
    let groups = outcome.groups;
    outcome.one = cluster.stream("one group", 1, BURST)?;
    outcome.turns = cluster.stream("in turn", groups, 1)?;
    outcome.bursts = cluster.stream("in bursts", groups, BURST)?;
    Ok(())
}

/// How a join went: seconds, and resident bytes per member after it.
struct Joined {
    made: f64,
    joined: f64,
    memory: Vec<u64>,
}

struct Cluster<'a> {
    options: &'a GroupsOptions,
    members: Vec<Member>,
    sent: u64,
}

impl Cluster<'_> {
    fn start(options: &GroupsOptions) -> Result<Cluster<'_>, String> {
        let (mut members, mut addresses) = (Vec::new(), Vec::<String>::new());
        for index in 0..options.members as usize {
            let seed = addresses.first().map(String::as_str);
            let mut member = Member::spawn(&["groups-member"], index, seed)?;
            addresses.push(member.line_within(Duration::from_secs(GRACE))?);
            members.push(member);
        }
        for member in &mut members {
            member.tell(&format!("peers {}", addresses.join(" ")))?;
        }
        Ok(Cluster { options, members, sent: 0 })
    }

    fn patience(&self) -> f64 {
        self.options.patience as f64
    }

    /// Tells some members what to do, and waits until all of them have done it.
    fn some(
        &mut self,
        what: &str,
        from: usize,
        to: usize,
        step: &Step,
    ) -> Result<Vec<Done>, String> {
        let limit = self.options.patience + self.options.seconds + GRACE;
        self.tell(from, to, step)?;
        self.answers(what, from, to, Duration::from_secs(limit))
    }

    fn tell(&mut self, from: usize, to: usize, step: &Step) -> Result<(), String> {
        let line = serde_json::to_string(step).map_err(|error| error.to_string())?;
        self.members[from..to].iter_mut().try_for_each(|member| member.tell(&line))
    }

    fn answers(
        &mut self,
        what: &str,
        from: usize,
        to: usize,
        limit: Duration,
    ) -> Result<Vec<Done>, String> {
        let mut all = Vec::new();
        for (index, member) in self.members.iter_mut().enumerate().take(to).skip(from) {
            let line = member.line_within(limit);
            let done = line.and_then(|line| {
                serde_json::from_str::<Done>(&line).map_err(|error| error.to_string())
            });
            all.push(done.map_err(|why| format!("{what}: member {index}: {why}"))?);
        }
        Ok(all)
    }

    fn all(&mut self, what: &str, step: &Step) -> Result<Vec<Done>, String> {
        self.some(what, 0, self.members.len(), step)
    }

    fn join(&mut self, groups: usize) -> Result<Joined, String> {
        let joining = self.options.joining as usize;
        let step = Step::Join { groups, joining, patience: self.patience() };
        let members = self.members.len();
        let complete = |done: &Done| match done.groups {
            all if all == groups => Ok(()),
            some => {
                Err(format!("{some} of {groups} joined in {:.1} s: {}", done.seconds, done.why))
            }
        };
        let made = self.some("making", 0, 1, &step)?;
        made.iter().try_for_each(complete).map_err(|why| format!("making: {why}"))?;
        let joined = self.some("joining", 1, members, &step)?;
        joined.iter().try_for_each(complete).map_err(|why| format!("joining: {why}"))?;
        let step = Step::Views { size: members, patience: self.patience() };
        let views = self.all("views after the joins", &step)?;
        views.iter().try_for_each(complete).map_err(|why| format!("views: {why}"))?;
        let seconds = |all: &[Done]| all.iter().map(|done| done.seconds).fold(0.0, f64::max);
        Ok(Joined {
            made: seconds(&made),
            joined: seconds(&joined),
            memory: views.iter().map(|done| done.memory).collect(),
        })
    }

    /// An error if any update is lost.
    fn stream(&mut self, what: &str, groups: usize, burst: usize) -> Result<Load, String> {
        let (size, seconds) = (self.options.size, self.options.seconds);
        let begun = Instant::now();
        let streamed = self.all(what, &Step::Stream { groups, burst, size, seconds })?;
        let sending = begun.elapsed();
        let sent = streamed.iter().map(|done| done.sent).sum::<u64>();
        self.sent += sent;
        let step = Step::Applied { total: self.sent, patience: self.patience() };
        let settled = self.all(what, &step)?;
        let all = begun.elapsed();
        let dropped = sum(settled.iter().map(|done| &done.dropped));
        let left = sum(settled.iter().map(|done| &done.left));
        if settled.iter().any(|done| done.total != self.sent) {
            let totals: Vec<u64> = settled.iter().map(|done| done.total).collect();
            return Err(format!(
                "{what}: {} were sent, applied were {totals:?}; dropped {dropped:?}, gone {left:?}",
                self.sent
            ));
        }
        let frames = |class: usize| {
            let all = streamed.iter().chain(&settled).map(|done| done.frames[class]).sum::<u64>();
            all as f64 / sent.max(1) as f64
        };
        let rate = |done: &Done| done.applied as f64 / done.seconds;
        Ok(Load {
            applied_per_second: streamed.iter().map(rate).fold(f64::MAX, f64::min),
            overall_per_second: sent as f64 / all.as_secs_f64(),
            sent,
            drained: (all - sending).as_secs_f64(),
            memory: streamed.iter().map(|done| done.memory).max().unwrap_or(0),
            frames_per_update: [frames(0), frames(1), frames(2)],
            stall: streamed.iter().map(|done| done.stall).fold(0.0, f64::max),
            dropped,
            left,
        })
    }

    /// Kills the last member; seconds until the survivors are in views without it.
    fn kill(&mut self, groups: usize) -> Result<(Option<f64>, Option<f64>), String> {
        let survivors = self.members.len() - 1;
        self.tell(0, survivors, &Step::Views { size: survivors, patience: self.patience() })?;
        // The survivors look by now.
        std::thread::sleep(Duration::from_millis(100));
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        self.members[survivors].kill()?;
        let limit = Duration::from_secs(self.options.patience + GRACE);
        let seen = self.answers("the views without the dead", 0, survivors, limit)?;
        let all = seen.iter().all(|done| done.groups == groups);
        let first = seen.iter().map(|done| done.first - now).fold(f64::MAX, f64::min);
        let last = seen.iter().map(|done| done.last - now).fold(0.0, f64::max);
        if !all {
            let groups: Vec<usize> = seen.iter().map(|done| done.groups).collect();
            return Err(format!("of the views without the dead the survivors have {groups:?}"));
        }
        Ok((Some(first), Some(last)))
    }
}

fn sum<'a>(all: impl Iterator<Item = &'a BTreeMap<String, u64>>) -> BTreeMap<String, u64> {
    let mut sum = BTreeMap::new();
    for (reason, count) in all.flatten() {
        *sum.entry(reason.clone()).or_default() += count;
    }
    sum
}

const HEAD: &str =
    "groups  made/s  joined/s  B/group  idle B/s  idle CPU %  first view ms  all views ms";

fn print(options: &GroupsOptions, outcome: &Outcome) -> Result<(), String> {
    if options.json {
        println!("{}", serde_json::to_string(outcome).map_err(|error| error.to_string())?);
        return Ok(());
    }
    let millis = |seconds: Option<f64>| {
        seconds.map_or_else(|| "-".to_owned(), |seconds| format!("{:.1}", seconds * 1e3))
    };
    println!(
        "{:>6}  {:>6.0}  {:>8.0}  {:>7.0}  {:>8.0}  {:>10.1}  {:>13}  {:>12}",
        outcome.groups,
        outcome.made_per_second,
        outcome.joined_per_second,
        outcome.memory_per_group,
        outcome.idle_wire_per_second,
        outcome.idle_cpu * 100.0,
        millis(outcome.first_view),
        millis(outcome.all_views),
    );
    if let Some(why) = &outcome.failed {
        println!("        {why}");
    }
    let loads =
        [("one group", &outcome.one), ("in turn", &outcome.turns), ("bursts", &outcome.bursts)];
    for (what, load) in loads.into_iter().filter(|(_, load)| load.sent > 0) {
        println!(
            "        {what:>9}: {:.0}/s applied while sending, {:.0}/s in all ({} sent, the last \
             applied {:.1} s after the end), frames per update {:.2?}, \
             longest turn {:.0} ms, {:.0} MB, dropped {:?}, gone {:?}",
            load.applied_per_second,
            load.overall_per_second,
            load.sent,
            load.drained,
            load.frames_per_update,
            load.stall * 1e3,
            load.memory as f64 / 1e6,
            load.dropped,
            load.left,
        );
    }
    Ok(())
}
