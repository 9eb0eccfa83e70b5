//! The checks of replicated types: each passes a right type, finds a planted defect, and fails when
//! it has nothing to check.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use serde::{Deserialize, Serialize};
use vsync::testing::{self, Check, Dice, Kind};
use vsync::{Ctx, View, replicated};

/// Everything right: unordered updates commute, totals need not.
#[replicated]
#[derive(Default)]
struct Board {
    tags: BTreeSet<u8>,
    votes: BTreeMap<u8, u64>,
    title: String,
    members: usize,
    #[local]
    applied_here: u64,
}

#[replicated]
impl Board {
    #[update(order = "fifo")]
    fn tag(&mut self, tag: u8) -> bool {
        self.applied_here += 1;
        self.tags.insert(tag)
    }
    #[update(order = "causal")]
    fn vote(&mut self, what: u8) {
        *self.votes.entry(what).or_default() += 1;
    }
    #[update(order = "total")]
    fn rename(&mut self, title: String) -> Result<(), u32> {
        if title.is_empty() {
            return Err(self.title.len() as u32);
        }
        self.title = title;
        Ok(())
    }
    #[query]
    fn count(&self) -> usize {
        self.tags.len()
    }
    #[query]
    fn votes(&self, what: u8) -> u64 {
        self.votes.get(&what).copied().unwrap_or(0)
    }
    #[on_view]
    fn view(&mut self, view: &View) {
        self.members = view.size();
    }
}

fn board(dice: &mut Dice) -> BoardUpdate {
    match dice.below(3) {
        0 => BoardUpdate::Tag { tag: dice.below(20) as u8 },
        1 => BoardUpdate::Vote { what: dice.below(5) as u8 },
        _ => BoardUpdate::Rename { title: "x".repeat(dice.below(4) as usize) },
    }
}

#[test]
fn a_right_type_passes_everything() {
    testing::commute(Board::default, board);
    testing::deterministic(Board::default, board);
    testing::checkpointed(Board::default, board);
    let check = Check::new(Board::default, board);
    let checked = check.queries(|dice| BoardQuery::Votes { what: dice.below(9) as u8 }).wire();
    assert!(checked.expect("survives").cases > 100);
}

#[test]
fn a_check_is_a_function_of_its_seed() {
    let counts = |seed| Check::new(Board::default, board).seed(seed).cases(30).commute();
    assert_eq!(counts(1), counts(1));
    assert_ne!(counts(1), counts(2));
}

/// A list, pushed to in no order at all.
#[replicated]
#[derive(Default)]
struct Log {
    lines: Vec<u8>,
    about: String,
}

#[replicated]
impl Log {
    #[update(order = "fifo")]
    fn push(&mut self, line: u8) -> usize {
        self.lines.push(line);
        self.lines.len()
    }
    #[update(order = "total")]
    fn clear(&mut self) {
        self.lines.clear();
    }
}

fn log(dice: &mut Dice) -> LogUpdate {
    match dice.below(5) {
        0 => LogUpdate::Clear,
        _ => LogUpdate::Push { line: dice.below(100) as u8 },
    }
}

#[test]
fn commute_finds_a_list_under_fifo() {
    let failure = Check::new(Log::default, log).commute().expect_err("a list");
    assert_eq!(failure.kind, Kind::Order);
    let report = failure.to_string();
    for part in ["`Log`", "fifo: push(line: ", "field `lines`", "first A, then B", "1 more equal"] {
        assert!(report.contains(part), "{part} in: {report}");
    }
    // Two pushes to a new list show it.
    assert!(report.contains("the state that it begins with"), "{report}");
}

/// A total that reads what fifo updates write.
#[replicated]
#[derive(Default)]
struct Gate {
    open: bool,
    passed: u64,
    steps: u64,
}

#[replicated]
impl Gate {
    #[update(order = "fifo")]
    fn open(&mut self) {
        self.open = true;
    }
    #[update(order = "total")]
    fn pass(&mut self) {
        self.steps += 1;
        // Only from the third on: the history before matters.
        if self.open && self.steps > 2 {
            self.passed += 1;
        }
    }
}

#[test]
fn commute_finds_a_total_that_reads_what_fifo_writes_with_the_shortest_history() {
    let draw = |dice: &mut Dice| match dice.below(2) {
        0 => GateUpdate::Open,
        _ => GateUpdate::Pass,
    };
    let failure = Check::new(Gate::default, draw).commute().expect_err("a race");
    assert_eq!(failure.kind, Kind::Order);
    let report = failure.to_string();
    assert!(report.contains("open()") && report.contains("total: pass()"), "{report}");
    assert!(report.contains("field `passed`"), "{report}");
    assert!(report.contains("  2. member") && !report.contains("  3. member"), "{report}");
}

#[test]
fn commute_compares_results_where_it_is_told_to() {
    let add = |dice: &mut Dice| BoardUpdate::Tag { tag: dice.below(3) as u8 };
    let check = || Check::new(Board::default, add).without(["vote", "rename"]);
    check().commute().expect("the states are equal");
    let failure = check().results().commute().expect_err("one of them was first");
    assert_eq!(failure.kind, Kind::Order);
    assert!(failure.report.contains("A says true, B says false"), "{failure}");
}

#[test]
fn commute_fails_if_it_has_nothing_to_check() {
    // Only totals.
    let rename = |_: &mut Dice| BoardUpdate::Rename { title: "x".into() };
    let check = Check::new(Board::default, rename).without(["tag", "vote"]);
    let failure = check.commute().expect_err("nothing is unordered");
    assert_eq!(failure.kind, Kind::Vacuous);
    assert!(failure.report.contains("every update is `total`"), "{failure}");
    // A method that is never drawn.
    let tag = |dice: &mut Dice| BoardUpdate::Tag { tag: dice.below(9) as u8 };
    let failure = Check::new(Board::default, tag).commute().expect_err("not drawn");
    assert_eq!(failure.kind, Kind::Vacuous);
    assert!(failure.report.contains("`vote`, `rename`"), "{failure}");
    // Updates that change nothing.
    let clear = |_: &mut Dice| GateUpdate::Open;
    let shut = || Gate { open: true, ..Gate::default() };
    let failure = Check::new(shut, clear).without(["pass"]).commute().expect_err("no change");
    assert_eq!(failure.kind, Kind::Vacuous);
    assert!(failure.report.contains("no pair of updates was tried"), "{failure}");
    // One method that changes nothing, among others that do.
    let draw = |dice: &mut Dice| match dice.below(2) {
        0 => BoardUpdate::Rename { title: String::new() },
        _ => BoardUpdate::Tag { tag: dice.below(9) as u8 },
    };
    let check = || Check::new(Board::default, draw).without(["vote"]);
    let failure = check().commute().expect_err("refused every time");
    assert_eq!(failure.kind, Kind::Vacuous);
    assert!(failure.report.contains("`rename` never changed the state or emitted"), "{failure}");
    check().without(["rename"]).commute().expect("left out");
    // No case at all.
    let failure = Check::new(Board::default, board).cases(0).commute().expect_err("no case");
    assert_eq!(failure.kind, Kind::Vacuous);
}

/// Every way not to be deterministic, one for each method.
#[replicated]
#[derive(Default)]
struct Chance {
    value: u64,
    wrapped: Wrapped,
    #[local]
    counted_here: u64,
    #[local]
    index: HashMap<u64, u64>,
}

/// A map in a field's type is not seen by the macro.
#[derive(Default, Serialize, Deserialize)]
struct Wrapped {
    map: HashMap<u64, u64>,
}

static CALLS: AtomicU64 = AtomicU64::new(0);

#[replicated]
impl Chance {
    #[update(order = "total")]
    fn clock(&mut self) {
        self.value = started().elapsed().as_nanos() as u64;
    }
    #[update(order = "total")]
    fn address(&mut self) {
        let place = Box::new(0u8);
        self.value = std::ptr::from_ref(&*place).addr() as u64;
        // Kept, so that the next one gets another.
        Box::leak(place);
    }
    #[update(order = "total")]
    fn global(&mut self) {
        self.value = CALLS.fetch_add(1, Ordering::Relaxed);
    }
    #[update(order = "total")]
    fn saved_map(&mut self, key: u64) {
        self.wrapped.map.insert(key, key);
    }
    #[update(order = "total")]
    fn local_map(&mut self, key: u64) {
        // The order of a map that is not even saved.
        self.index.insert(key, key);
        self.value = self.index.keys().fold(0, |hash: u64, key| hash.wrapping_mul(31) + key);
    }
    #[update(order = "total")]
    fn result_only(&mut self) -> u64 {
        self.value += 1;
        CALLS.fetch_add(1, Ordering::Relaxed)
    }
    #[update(order = "total")]
    fn local_field(&mut self) {
        self.counted_here += 1;
        self.value = self.counted_here;
    }
    #[update(order = "total")]
    fn right(&mut self, ctx: &Ctx<Self>, value: u64) {
        self.value = ctx.time() ^ value ^ ctx.sender_rank() as u64;
    }
}

fn started() -> Instant {
    static STARTED: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    *STARTED.get_or_init(Instant::now)
}

/// A check of some of its methods only.
fn chance(
    methods: &'static [&'static str],
    draw: impl Fn(&mut Dice) -> ChanceUpdate + 'static,
) -> Check<Chance> {
    let others = Chance::all().filter(move |name| !methods.contains(name));
    Check::new(Chance::default, draw).without(others).cases(30)
}

impl Chance {
    fn all() -> impl Iterator<Item = &'static str> {
        <Chance as vsync::Replicated>::UPDATES.iter().map(|method| method.name)
    }
}

#[test]
fn deterministic_finds_what_is_not() {
    let key = |dice: &mut Dice| dice.below(1000);
    let wrong = [
        chance(&["clock"], |_| ChanceUpdate::Clock),
        chance(&["address"], |_| ChanceUpdate::Address),
        chance(&["global"], |_| ChanceUpdate::Global),
        chance(&["saved_map"], move |dice| ChanceUpdate::SavedMap { key: key(dice) }),
        chance(&["local_map"], move |dice| ChanceUpdate::LocalMap { key: key(dice) }),
        chance(&["result_only"], |_| ChanceUpdate::ResultOnly),
    ];
    for (index, check) in wrong.iter().enumerate() {
        let failure = check.deterministic().expect_err("by chance");
        assert_eq!(failure.kind, Kind::Determinism, "{index}: {failure}");
        assert!(failure.report.contains("two copies of `Chance`"), "{index}: {failure}");
    }
    let right = chance(&["right"], |dice| ChanceUpdate::Right { value: dice.below(5) });
    right.deterministic().expect("only what all agree on");
}

#[test]
fn deterministic_and_checkpointed_find_a_local_field_that_an_update_reads() {
    let check = chance(&["local_field"], |_| ChanceUpdate::LocalField);
    for failure in [check.deterministic(), check.checkpointed()] {
        let failure = failure.expect_err("local");
        assert_eq!(failure.kind, Kind::Checkpoint);
        assert!(failure.report.contains("goes another way"), "{failure}");
        // Applied once before the checkpoint, and once after it.
        assert!(failure.report.contains("  2. ") && !failure.report.contains("  3. "), "{failure}");
    }
}

#[test]
fn a_history_that_changes_nothing_checks_nothing() {
    let idle = || Check::new(Gate::default, |_| GateUpdate::Open).without(["pass"]);
    idle().deterministic().expect("it opens");
    let shut = || Gate { open: true, ..Gate::default() };
    let check = Check::new(shut, |_| GateUpdate::Open).without(["pass"]);
    for failure in [check.deterministic(), check.checkpointed()] {
        assert_eq!(failure.expect_err("no change").kind, Kind::Vacuous);
    }
}

/// A value that is another one when it is read back.
#[derive(Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
struct Percent(u8);

impl<'de> Deserialize<'de> for Percent {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let value = u8::deserialize(from)?;
        match value {
            // Cut off, where it was written whole.
            0..=120 => Ok(Percent(value.min(100))),
            121..=200 => Err(serde::de::Error::custom("more than all of it")),
            _ => panic!("{value} cannot be"),
        }
    }
}

#[replicated]
#[derive(Default)]
struct Share {
    percent: Percent,
}

#[replicated]
impl Share {
    #[update(order = "total")]
    fn set(&mut self, percent: Percent) {
        self.percent = percent;
    }
    #[update(order = "total")]
    fn raise(&mut self, by: u8) {
        self.percent.0 += by;
    }
    #[query]
    fn above(&self, least: Percent) -> bool {
        self.percent.0 > least.0
    }
}

#[test]
fn wire_finds_what_does_not_come_back() {
    let set = |value: u8| {
        Check::new(Share::default, move |_| ShareUpdate::Set { percent: Percent(value) })
            .without(["raise", "above"])
    };
    let failure = set(130).wire().expect_err("refused");
    assert_eq!(failure.kind, Kind::Wire);
    assert!(failure.report.contains("set(percent: 130)"), "{failure}");
    assert!(failure.report.contains("does not decode: argument `percent`"), "{failure}");
    let failure = set(110).wire().expect_err("another value");
    assert_eq!(failure.kind, Kind::Wire);
    assert!(failure.report.contains("decodes to something"), "{failure}");
    // A right value, but some byte of a peer's makes it panic.
    let failure = set(7).cases(2000).wire().expect_err("a panic");
    assert_eq!(failure.kind, Kind::Panicked);
    assert!(failure.report.contains("cannot be"), "{failure}");
}

#[test]
fn wire_asks_for_queries_that_take_arguments() {
    let check = Check::new(Board::default, board);
    let failure = check.wire().expect_err("no query");
    assert_eq!(failure.kind, Kind::Vacuous);
    assert!(failure.report.contains("`votes`") && !failure.report.contains("`count`"), "{failure}");
    let share = Check::new(Share::default, |dice| ShareUpdate::Raise { by: dice.below(2) as u8 });
    let share = share.without(["set"]).queries(|_| ShareQuery::Above { least: Percent(120) });
    assert_eq!(share.wire().expect_err("another query").kind, Kind::Wire);
}

#[test]
fn checkpointed_finds_a_checkpoint_that_is_another_state() {
    let raise = |dice: &mut Dice| ShareUpdate::Raise { by: dice.between(5, 15) as u8 };
    let failure = Check::new(Share::default, raise).without(["set"]).checkpointed();
    let failure = failure.expect_err("cut off at 100, or refused");
    assert_eq!(failure.kind, Kind::Checkpoint, "{failure}");
    assert!(failure.report.contains("percent"), "{failure}");
}

/// A method that panics in a state that it does not expect.
#[replicated]
#[derive(Default)]
struct Fragile {
    count: u8,
}

#[replicated]
impl Fragile {
    #[update(order = "fifo")]
    fn add(&mut self) {
        assert!(self.count < 3, "too many");
        self.count += 1;
    }
}

#[test]
fn a_panic_is_reported_with_its_history() {
    let check = Check::new(Fragile::default, |_| FragileUpdate::Add);
    for failure in [check.commute(), check.deterministic(), check.checkpointed()] {
        let failure = failure.expect_err("too many");
        assert_eq!(failure.kind, Kind::Panicked);
        assert!(failure.report.contains("too many"), "{failure}");
        assert_eq!(failure.report.matches("his history:").count(), 1, "{failure}");
    }
}

#[test]
fn schema_unchanged_shows_what_changed() {
    let file = std::env::temp_dir().join(format!("vsync-checks-{}.schema", std::process::id()));
    let check = Check::new(Log::default, log);
    let failure = check.schema_unchanged(&file).expect_err("no file");
    assert_eq!(failure.kind, Kind::File);
    assert!(failure.report.contains("VSYNC_SCHEMA=write"), "{failure}");
    let schema = testing::schema::<Log>();
    std::fs::write(&file, &schema).expect("written");
    check.schema_unchanged(&file).expect("the same");
    let lines = schema.lines().filter(|line| !line.starts_with("  about: String #"));
    let older: String = lines.map(|line| format!("{line}\n")).collect();
    let older = older.replace("order fifo", "order causal");
    std::fs::write(&file, older).expect("written");
    let failure = check.schema_unchanged(&file).expect_err("another order");
    std::fs::remove_file(&file).expect("removed");
    assert_eq!(failure.kind, Kind::Schema);
    let report = failure.to_string();
    assert!(report.contains("  +   about: String #"), "{report}");
    assert!(report.contains("  - update push id ") && report.contains("  + update push id "));
    assert!(report.contains("raise `version`"), "{report}");
}

#[test]
fn functions_panic_with_the_report() {
    let found = std::panic::catch_unwind(|| testing::commute(Log::default, log));
    let report = found.expect_err("a list").downcast::<String>().expect("text");
    assert!(report.contains("do not commute"), "{report}");
}
