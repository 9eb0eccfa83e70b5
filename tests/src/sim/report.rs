//! What all runs together have seen: a branch that no run took is a branch that nothing has tested.

use std::fmt;

use vsync_core::engine::Marks;

use super::traps::{STEPS, Step};

/// Declares the counters once: their fields, their names for the report, and their sum.
macro_rules! totals {
    ($($(#[doc = $doc:literal])+ $field:ident: $name:literal,)+) => {
        /// Counters of one run, or of many.
        #[derive(Clone, Copy, Debug, Default)]
        pub struct Totals {
            $($(#[doc = $doc])+ pub $field: u64,)+
            /// Crashes at a step of the protocol.
            pub(crate) steps: Steps,
            /// What the engines counted.
            pub marks: Marks,
        }

        impl Totals {
            /// Adds another run's counters.
            pub fn add(&mut self, other: &Totals) {
                $(self.$field += other.$field;)+
                self.steps.add(&other.steps);
                self.marks.add(&other.marks);
            }

            /// All counters by name.
            pub fn rows(&self) -> Vec<(String, u64)> {
                let own = [$(($name, self.$field),)+];
                let own = own.into_iter().chain(self.marks.rows());
                let mut rows: Vec<_> = own.map(|(name, count)| (name.to_owned(), count)).collect();
                let steps = STEPS.iter().zip(self.steps.0);
                rows.extend(steps.map(|((_, name), count)| (format!("died {name}"), count)));
                rows
            }
        }
    };
}

totals! {
    /// Runs.
    seeds: "seeds",
    /// Events.
    events: "events",
    /// Runs of fifty members.
    large: "runs of 50 members",
    /// Faults of any kind.
    faults: "faults",
    /// Crashes.
    crashes: "crashes",
    /// Crashes in the middle of what a host was sending.
    cut_short: "crashes while sending",
    /// Members that died while they handed a checkpoint out.
    donors: "crashes of donors",
    /// Members that died while their checkpoint was on its way.
    joiners: "crashes of joiners",
    /// Processes started in the place of one that crashed, at once.
    returns: "processes back at once",
    /// Minorities that went together with what they knew.
    dooms: "doomed minorities",
    /// Connections that broke.
    cuts: "broken connections",
    /// Connections that broke again and again.
    flaps: "flapping links",
    /// Links gone for longer than the others bear.
    lost_links: "links gone for long",
    /// Partitions, whole and partial.
    partitions: "partitions",
    /// Partitions that leave one host connected to all, and the others to nobody else.
    hubs: "stars: one reaches all",
    /// Times that all connections broke.
    shatters: "all links broken",
    /// Hosts that were heard by nobody, or heard nobody, without a break.
    silences: "silent hosts",
    /// Pauses.
    pauses: "pauses",
    /// Links that were slow, one way.
    slow: "slow links",
    /// Hosts to which everything was slow.
    slow_hosts: "slow members",
    /// Times that a node was told how late it may acknowledge.
    relaxed: "nodes told how late to acknowledge",
    /// Times that several joined and left at once.
    crowds: "crowds",
    /// Processes that joined, the first ones of a group included.
    joins: "joins",
    /// Excluded members that came back.
    rejoins: "rejoins",
    /// Members that left.
    leaves: "leaves",
    /// Memberships given up without a word.
    abandoned: "memberships abandoned",
    /// Updates submitted.
    updates: "updates",
    /// Flushes asked for.
    flushes: "flushes",
    /// Distinct views.
    views: "views",
    /// Runs that ended with a service that works.
    healed: "healed",
    /// Groups that lost their quorum for good.
    lost: "quorums lost",
    /// Groups in which nobody is left.
    over: "groups over",
}

/// Crashes by step.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Steps([u64; STEPS.len()]);

impl Steps {
    /// Counts one.
    pub(crate) fn count(&mut self, step: Step) {
        self.0[step as usize] += 1;
    }

    fn add(&mut self, other: &Steps) {
        self.0.iter_mut().zip(other.0).for_each(|(mine, theirs)| *mine += theirs);
    }
}

impl Totals {
    /// What is wrong with these counters as the result of many runs.
    pub fn vacuous(&self) -> Vec<String> {
        let rows = self.rows();
        let zero = rows.iter().filter(|(_, count)| *count == 0);
        let mut wrong: Vec<String> = zero.map(|(name, _)| format!("no {name}")).collect();
        if self.events < 300 * self.seeds {
            wrong.push("fewer than 300 events per seed".into());
        }
        if self.faults < self.seeds {
            wrong.push("less than one fault per seed".into());
        }
        // Runs that never come to an end prove no liveness.
        if self.healed * 5 < self.seeds * 4 {
            wrong.push("more than one run in five lost its quorum".into());
        }
        wrong
    }
}

impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, count) in self.rows() {
            writeln!(f, "{name:>34} {count:>12}")?;
        }
        Ok(())
    }
}
