//! What all runs together have seen: a branch that no run took is a branch that nothing has tested.

use std::fmt;

use vsync_core::engine::Marks;

/// Counters of one run, or of many.
#[derive(Clone, Copy, Debug, Default)]
pub struct Totals {
    /// Runs.
    pub seeds: u64,
    /// Events.
    pub events: u64,
    /// Faults of any kind.
    pub faults: u64,
    /// Crashes.
    pub crashes: u64,
    /// Crashes in the middle of what a host was sending.
    pub cut_short: u64,
    /// Connections that broke.
    pub cuts: u64,
    /// Partitions.
    pub partitions: u64,
    /// Pauses.
    pub pauses: u64,
    /// Links that were slow, one way.
    pub slow: u64,
    /// Processes that joined, the first ones of a group included.
    pub joins: u64,
    /// Excluded members that came back.
    pub rejoins: u64,
    /// Members that left.
    pub leaves: u64,
    /// Updates submitted.
    pub updates: u64,
    /// Flushes asked for.
    pub flushes: u64,
    /// Distinct views.
    pub views: u64,
    /// Runs that ended with a service that works.
    pub healed: u64,
    /// Groups that lost their quorum for good.
    pub lost: u64,
    /// What the engines counted.
    pub marks: Counted,
}

/// The engines' own marks, added up.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counted(pub Marks);

impl Counted {
    /// Adds another engine's marks.
    pub fn add(&mut self, marks: &Marks) {
        let mine = &mut self.0;
        mine.views += marks.views;
        mine.ballots += marks.ballots;
        mine.adopted += marks.adopted;
        mine.dropped_positions += marks.dropped_positions;
        mine.dropped_updates += marks.dropped_updates;
        mine.appended += marks.appended;
        mine.excluded += marks.excluded;
        mine.loaded += marks.loaded;
        mine.restarts += marks.restarts;
        mine.fetched += marks.fetched;
        mine.resent += marks.resent;
        mine.overtaken += marks.overtaken;
        mine.evicted += marks.evicted;
    }
}

impl Totals {
    /// Adds another run's counters.
    pub fn add(&mut self, other: &Totals) {
        self.seeds += other.seeds;
        self.events += other.events;
        self.faults += other.faults;
        self.crashes += other.crashes;
        self.cut_short += other.cut_short;
        self.cuts += other.cuts;
        self.partitions += other.partitions;
        self.pauses += other.pauses;
        self.slow += other.slow;
        self.joins += other.joins;
        self.rejoins += other.rejoins;
        self.leaves += other.leaves;
        self.updates += other.updates;
        self.flushes += other.flushes;
        self.views += other.views;
        self.healed += other.healed;
        self.lost += other.lost;
        self.marks.add(&other.marks.0);
    }

    /// All counters by name, and whether a run over many seeds must have seen it.
    pub fn rows(&self) -> Vec<(&'static str, u64, bool)> {
        let marks = &self.marks.0;
        vec![
            ("seeds", self.seeds, true),
            ("events", self.events, true),
            ("faults", self.faults, true),
            ("crashes", self.crashes, true),
            ("crashes while sending", self.cut_short, true),
            ("broken connections", self.cuts, true),
            ("partitions", self.partitions, true),
            ("pauses", self.pauses, true),
            ("slow links", self.slow, true),
            ("updates", self.updates, true),
            ("flushes", self.flushes, true),
            ("views", self.views, true),
            ("joins", self.joins, true),
            ("checkpoints loaded", marks.loaded, true),
            ("transfers restarted", marks.restarts, true),
            ("leaves", self.leaves, true),
            ("exclusions", marks.excluded, true),
            ("rejoins", self.rejoins, true),
            ("evictions", marks.evicted, true),
            ("ballots", marks.ballots, true),
            ("ballots overtaken", marks.overtaken, true),
            ("adopted proposals", marks.adopted, true),
            ("dropped positions", marks.dropped_positions, true),
            ("dropped updates", marks.dropped_updates, true),
            ("appended positions", marks.appended, true),
            ("fetched batches", marks.fetched, true),
            ("resent ranges", marks.resent, true),
            ("healed", self.healed, true),
            ("quorums lost", self.lost, true),
        ]
    }

    /// What is wrong with these counters as the result of many runs.
    pub fn vacuous(&self) -> Vec<String> {
        let rows = self.rows();
        let zero = rows.iter().filter(|(_, count, must)| *must && *count == 0);
        let mut wrong: Vec<String> = zero.map(|(name, ..)| format!("no {name}")).collect();
        if self.events < 300 * self.seeds {
            wrong.push("fewer than 300 events per seed".into());
        }
        if self.faults < self.seeds {
            wrong.push("less than one fault per seed".into());
        }
        // Runs that never come to an end prove no liveness.
        if self.healed * 2 < self.seeds {
            wrong.push("most runs lost their quorum".into());
        }
        wrong
    }
}

impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, count, _) in self.rows() {
            writeln!(f, "{name:>22} {count:>12}")?;
        }
        Ok(())
    }
}
