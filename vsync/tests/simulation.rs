//! Simulations of users' types: right ones pass with all faults, each planted defect is found, and
//! a simulation that shows nothing fails.

use std::collections::{BTreeMap, BTreeSet};

use vsync::testing::{Dice, Faults, Kind, Simulation, simulate};
use vsync::{Ctx, View, replicated};

/// Right: fifo and causal updates commute with everything, totals as they like.
#[replicated]
#[derive(Default)]
struct Ledger {
    accounts: BTreeMap<u8, i64>,
    tags: BTreeSet<u16>,
    journal: Vec<(u64, u8)>,
    views: Vec<usize>,
}

#[replicated]
impl Ledger {
    #[update(order = "total")]
    fn pay(&mut self, ctx: &Ctx<Self>, from: u8, to: u8, amount: i64) -> Result<i64, String> {
        let has = self.accounts.get(&from).copied().unwrap_or(0);
        if has + 100 < amount {
            return Err("not enough".into());
        }
        *self.accounts.entry(from).or_default() -= amount;
        *self.accounts.entry(to).or_default() += amount;
        self.journal.push((ctx.time(), from));
        Ok(amount)
    }
    #[update(order = "fifo")]
    fn tag(&mut self, tag: u16) {
        self.tags.insert(tag);
    }
    #[update(order = "causal", level = "stable")]
    fn tag_later(&mut self, tag: u16) {
        self.tags.insert(tag + 1000);
    }
    #[on_view]
    fn view(&mut self, view: &View) {
        self.views.push(view.size());
    }
}

fn ledger(dice: &mut Dice) -> LedgerUpdate {
    match dice.below(3) {
        0 => LedgerUpdate::Tag { tag: dice.below(500) as u16 },
        1 => LedgerUpdate::TagLater { tag: dice.below(500) as u16 },
        _ => LedgerUpdate::Pay {
            from: dice.below(5) as u8,
            to: dice.below(5) as u8,
            amount: dice.below(60) as i64,
        },
    }
}

#[test]
fn a_right_type_passes_with_all_faults() {
    let sum = |ledger: &Ledger| ledger.accounts.values().sum::<i64>() == 0;
    let simulation = Simulation::new(Ledger::default, ledger).seeds(0..60).invariant("sum", sum);
    let seen = simulation.check().unwrap_or_else(|failure| panic!("{failure}"));
    println!("{seen:?}");
    assert_eq!(seen.seeds, 60);
    for kind in ["breaks", "partitions", "silences", "crashes", "joins", "leaves"] {
        assert!(seen.faults.iter().any(|(known, _)| *known == kind), "{kind}: {seen:?}");
    }
    assert!(seen.loaded > 60 && seen.views > 200 && seen.healed > 55, "{seen:?}");
}

#[test]
fn a_right_type_passes_in_groups_of_every_size_and_without_faults() {
    for members in [1, 2, 3, 7] {
        let simulation = Simulation::new(Ledger::default, ledger).members(members).seeds(0..6);
        let seen = simulation.check().unwrap_or_else(|failure| panic!("{members}: {failure}"));
        assert!(seen.applied > 0);
    }
    let calm = Simulation::new(Ledger::default, ledger).faults(Faults::none()).seeds(0..6);
    let seen = calm.check().unwrap_or_else(|failure| panic!("{failure}"));
    assert!(seen.faults.is_empty() && seen.healed == 6, "{seen:?}");
}

#[test]
fn a_seed_is_one_run() {
    let simulation = Simulation::new(Ledger::default, ledger);
    assert_eq!(simulation.check_seed(5), simulation.check_seed(5));
    assert_ne!(simulation.check_seed(5), simulation.check_seed(6));
    let log = Simulation::new(Log::default, log);
    let report = |seed| log.check_seed(seed).expect_err("a list").report;
    assert_eq!(report(3), report(3));
}

/// A list that is pushed to in no order at all.
#[replicated]
#[derive(Default)]
struct Log {
    lines: Vec<u8>,
}

#[replicated]
impl Log {
    #[update(order = "fifo")]
    fn push(&mut self, line: u8) {
        self.lines.push(line);
    }
}

fn log(dice: &mut Dice) -> LogUpdate {
    LogUpdate::Push { line: dice.below(100) as u8 }
}

#[test]
fn a_list_under_fifo_diverges() {
    // Without any fault: two members that speak at the same time are enough.
    let simulation = Simulation::new(Log::default, log).faults(Faults::none()).seeds(7..30);
    let failure = simulation.check().expect_err("a list");
    assert_eq!(failure.kind, Kind::Diverged);
    let report = failure.report;
    for part in [
        "seed 7 of a simulation of `Log`",
        "VSYNC_SEED=7 cargo test a_list_under_fifo_diverges",
        "have delivered the same updates",
        "field `lines`",
        "has applied, where they are not of one order:",
        "What happened last",
        "sends push(line: ",
    ] {
        assert!(report.contains(part), "{part} in: {report}");
    }
}

/// Each method is wrong in a way that takes a group to see.
#[replicated]
#[derive(Default)]
struct Wrong {
    count: u64,
    shown: u64,
    #[serde(with = "halves")]
    halved: u64,
    views: u64,
    #[local]
    here: u64,
    #[local]
    views_here: u64,
}

/// Loses a bit on the way.
mod halves {
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(value: &u64, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_u64(value / 2)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
        u64::deserialize(from)
    }
}

#[replicated]
impl Wrong {
    /// Reads what no checkpoint holds: members that joined later know less.
    #[update(order = "total")]
    fn count_here(&mut self) {
        self.here += 1;
        self.shown = self.here;
    }
    /// Its checkpoint is another state.
    #[update(order = "total")]
    fn halve(&mut self) {
        self.halved += 1;
    }
    /// A panic that comes late.
    #[update(order = "total")]
    fn fragile(&mut self) {
        assert!(self.shown < 20, "it broke");
        self.shown += 1;
    }
    /// Right by itself.
    #[update(order = "total")]
    fn count(&mut self, by: u64) {
        self.count += by;
    }
    #[on_view]
    fn view(&mut self, view: &View) {
        self.views_here += 1;
        // Wrong, but only where it is counted.
        self.views = if self.count > 0 { self.views_here } else { view.number() };
    }
}

/// A simulation of one of the methods.
fn wrong(draw: impl Fn(&mut Dice) -> WrongUpdate + 'static) -> Simulation<Wrong> {
    let others = ["count_here", "halve", "fragile", "count"];
    Simulation::new(Wrong::default, draw).without(others).seeds(0..40)
}

#[test]
fn a_local_field_that_an_update_reads_diverges_at_who_has_joined() {
    let failure = wrong(|_| WrongUpdate::CountHere).check().expect_err("local");
    assert_eq!(failure.kind, Kind::Diverged);
    assert!(failure.report.contains("field `shown`"), "{failure}");
    assert!(failure.report.contains("They have applied them in one order. One"), "{failure}");
}

#[test]
fn an_on_view_method_that_reads_a_local_field_diverges() {
    let failure = wrong(|dice| WrongUpdate::Count { by: 1 + dice.below(3) }).check();
    let failure = failure.expect_err("local");
    assert_eq!(failure.kind, Kind::Diverged);
    assert!(failure.report.contains("field `views`"), "{failure}");
}

#[test]
fn a_checkpoint_that_is_another_state_is_found_where_somebody_joins() {
    let failure = wrong(|_| WrongUpdate::Halve).check().expect_err("a bit is lost");
    let found = matches!(failure.kind, Kind::Checkpoint | Kind::Diverged);
    assert!(found && failure.report.contains("halved"), "{failure}");
}

#[test]
fn a_panic_and_an_invariant_are_found() {
    let failure = wrong(|_| WrongUpdate::Fragile).check().expect_err("too many");
    assert_eq!(failure.kind, Kind::Panicked);
    assert!(failure.report.contains("fragile() panicked: it broke"), "{failure}");
    let few = wrong(|dice| WrongUpdate::Count { by: dice.below(2) });
    let few = few.faults(Faults::none());
    let failure = few.invariant("few", |state| state.count < 5).check().expect_err("more");
    assert_eq!(failure.kind, Kind::Invariant);
    assert!(failure.report.contains("\"few\" is not true after count(by: 1)"), "{failure}");
}

#[test]
fn a_simulation_that_shows_nothing_fails() {
    let tag = |dice: &mut Dice| LedgerUpdate::Tag { tag: dice.below(9) as u16 };
    let failure = Simulation::new(Ledger::default, tag).seeds(0..3).check();
    let failure = failure.expect_err("two methods were never called");
    assert_eq!(failure.kind, Kind::Vacuous);
    assert!(failure.report.contains("`pay`, `tag_later`"), "{failure}");
    let others = ["pay", "tag_later"];
    let some = Simulation::new(Ledger::default, tag).without(others).seeds(0..3);
    some.check().expect("they are left out");
    let alone = Simulation::new(Ledger::default, tag).without(others).seeds(0..3);
    let failure = alone.members(1).faults(Faults::none()).check().expect_err("nobody else");
    assert_eq!(failure.kind, Kind::Vacuous);
    assert!(failure.report.contains("compared"), "{failure}");
    let none = Simulation::new(Ledger::default, tag).seeds(0..0).check();
    assert_eq!(none.expect_err("no seed").kind, Kind::Vacuous);
}

/// Run by the next test, in a process of its own.
#[test]
#[ignore = "it fails, as it should"]
fn replayed() {
    simulate(5..6, Log::default, log);
}

#[test]
fn one_seed_is_replayed() {
    let run = |seed: Option<&str>| {
        let this = std::env::current_exe().expect("this program");
        let mut child = std::process::Command::new(this);
        child.args(["--ignored", "--exact", "replayed"]).env_remove("VSYNC_SEED");
        child.envs(seed.map(|seed| ("VSYNC_SEED", seed)));
        let output = child.output().expect("it ran");
        assert!(!output.status.success());
        String::from_utf8_lossy(&output.stdout).into_owned()
            + &String::from_utf8_lossy(&output.stderr)
    };
    assert!(run(None).contains("seed 5 of a simulation of `Log`"));
    let told = run(Some("17"));
    assert!(told.contains("seed 17 of a simulation of `Log`"), "{told}");
    assert!(told.contains("VSYNC_SEED=17 cargo test replayed"), "{told}");
    assert!(run(Some("all")).contains("VSYNC_SEED is not the number of a seed"));
}
