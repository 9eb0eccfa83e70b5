//! Which order a method needs: the book's tutorial on it shows this file. Each type is first
//! written with an order that is too weak, and what the checker says of it is kept in the book.

mod output;

use std::collections::{BTreeMap, BTreeSet};

use vsync::testing::{Check, Cluster, Dice, Kind};
use vsync::{Ctx, MemberId, View, replicated};

// ANCHOR: hasty
/// A ledger whose withdrawals have no order.
#[replicated]
#[derive(Default)]
struct HastyLedger {
    accounts: BTreeMap<String, u64>,
}

#[replicated]
impl HastyLedger {
    #[update(order = "fifo")]
    fn deposit(&mut self, who: String, amount: u64) {
        *self.accounts.entry(who).or_default() += amount;
    }

    #[update(order = "fifo")]
    fn withdraw(&mut self, who: String, amount: u64) -> Result<u64, String> {
        let balance = self.accounts.entry(who).or_default();
        *balance = balance.checked_sub(amount).ok_or("not enough")?;
        Ok(*balance)
    }
}
// ANCHOR_END: hasty

// ANCHOR: draw
fn draw(dice: &mut Dice) -> HastyLedgerUpdate {
    let who = ["ann", "bob"][dice.below(2) as usize].to_owned();
    match dice.below(2) {
        0 => HastyLedgerUpdate::Deposit { who, amount: dice.below(10) },
        _ => HastyLedgerUpdate::Withdraw { who, amount: dice.below(10) },
    }
}
// ANCHOR_END: draw

#[test]
fn withdrawals_need_an_order() {
    let failure = Check::new(HastyLedger::default, draw).commute().unwrap_err();
    assert_eq!(failure.kind, Kind::Order);
    output::keep("orders-ledger.txt", &failure.report);
}

// ANCHOR: ledger
/// The same with one order.
#[replicated]
#[derive(Default)]
struct Ledger {
    accounts: BTreeMap<String, u64>,
}

#[replicated]
impl Ledger {
    #[update(order = "total")]
    fn deposit(&mut self, who: String, amount: u64) {
        *self.accounts.entry(who).or_default() += amount;
    }

    #[update(order = "total")]
    fn withdraw(&mut self, who: String, amount: u64) -> Result<u64, String> {
        let balance = self.accounts.entry(who).or_default();
        *balance = balance.checked_sub(amount).ok_or("not enough")?;
        Ok(*balance)
    }
}
// ANCHOR_END: ledger

#[test]
fn one_order_leaves_nothing_to_check() {
    let check = Check::new(Ledger::default, |dice| match dice.below(2) {
        0 => LedgerUpdate::Deposit { who: "ann".into(), amount: dice.below(10) },
        _ => LedgerUpdate::Withdraw { who: "ann".into(), amount: dice.below(10) },
    });
    let failure = check.commute().unwrap_err();
    assert_eq!(failure.kind, Kind::Vacuous);
    output::keep("orders-total.txt", &failure.report);
}

// ANCHOR: replicas
/// Two members withdraw at once: one is told no, and both replicas know whom.
#[tokio::test]
async fn one_of_two_withdrawals_wins() {
    let cluster = Cluster::new(2).await;
    let mut bank: Vec<LedgerHandle> = Vec::new();
    for node in cluster.nodes() {
        let group = node.group("bank").join_or_create(Ledger::default());
        bank.push(group.await.expect("a member"));
    }
    bank[0].deposit("ann".into(), 10).await.expect("stable");
    let (a, b) = tokio::join!(bank[0].withdraw("ann".into(), 8), bank[1].withdraw("ann".into(), 8));
    assert!(a.is_ok() != b.is_ok(), "{a:?} {b:?}");
}
// ANCHOR_END: replicas

// ANCHOR: trusting
/// A log that is written under a lock, as long as programs keep to it.
#[replicated]
#[derive(Default)]
struct TrustingLog {
    holder: Option<MemberId>,
    lines: Vec<String>,
}

#[replicated]
impl TrustingLog {
    /// Who gets the lock is decided by the order.
    #[update(order = "total")]
    fn lock(&mut self, ctx: &Ctx<Self>) -> bool {
        self.holder.get_or_insert(ctx.sender()) == &ctx.sender()
    }

    #[update(order = "total")]
    fn unlock(&mut self, ctx: &Ctx<Self>) {
        self.holder.take_if(|holder| *holder == ctx.sender());
    }

    /// Only to be called by who has the lock.
    #[update(order = "fifo")]
    fn write(&mut self, line: String) {
        self.lines.push(line);
    }
}
// ANCHOR_END: trusting

#[test]
fn a_lock_that_nobody_looks_at_orders_nothing() {
    let check = Check::new(TrustingLog::default, |dice| match dice.below(3) {
        0 => TrustingLogUpdate::Lock {},
        1 => TrustingLogUpdate::Unlock {},
        _ => TrustingLogUpdate::Write { line: format!("line {}", dice.below(10)) },
    });
    let failure = check.commute().unwrap_err();
    assert_eq!(failure.kind, Kind::Order);
    output::keep("orders-lock.txt", &failure.report);
}

/// The same, where the log looks at the lock itself.
#[replicated]
#[derive(Default)]
struct Log {
    holder: Option<MemberId>,
    lines: Vec<String>,
}

// ANCHOR: guarded
#[replicated]
impl Log {
    #[update(order = "total")]
    fn lock(&mut self, ctx: &Ctx<Self>) -> bool {
        self.holder.get_or_insert(ctx.sender()) == &ctx.sender()
    }

    #[update(order = "total")]
    fn unlock(&mut self, ctx: &Ctx<Self>) {
        self.holder.take_if(|holder| *holder == ctx.sender());
    }

    /// Does nothing unless its sender has the lock.
    #[update(order = "fifo")]
    fn write(&mut self, ctx: &Ctx<Self>, line: String) {
        if self.holder == Some(ctx.sender()) {
            self.lines.push(line);
        }
    }

    /// A lock does not outlive its holder.
    #[on_view]
    fn view(&mut self, _ctx: &Ctx<Self>, view: &View) {
        self.holder.take_if(|holder| view.rank_of(*holder).is_none());
    }
}
// ANCHOR_END: guarded

// ANCHOR: passes
#[test]
fn a_lock_that_the_log_looks_at_is_an_order() {
    vsync::testing::commute(Log::default, |dice| match dice.below(3) {
        0 => LogUpdate::Lock {},
        1 => LogUpdate::Unlock {},
        _ => LogUpdate::Write { line: format!("line {}", dice.below(10)) },
    });
}
// ANCHOR_END: passes

// ANCHOR: talk
/// A conversation.
#[replicated]
#[derive(Default)]
struct Talk {
    said: BTreeSet<String>,
}

#[replicated]
impl Talk {
    /// What answers what its sender has heard.
    #[update(order = "causal")]
    fn say(&mut self, what: String) {
        self.said.insert(what);
    }

    /// The same with a weaker order.
    #[update(order = "fifo")]
    fn blurt(&mut self, what: String) {
        self.said.insert(what);
    }

    #[query]
    fn said(&self) -> BTreeSet<String> {
        self.said.clone()
    }
}
// ANCHOR_END: talk

#[test]
fn the_state_does_not_mind_who_spoke_first() {
    vsync::testing::commute(Talk::default, |dice| {
        let what = format!("{}", dice.below(10));
        match dice.below(2) {
            0 => TalkUpdate::Say { what },
            _ => TalkUpdate::Blurt { what },
        }
    });
}

// ANCHOR: table
/// Three at a table. What ann says does not reach cyd for a while; bob hears both.
async fn table() -> (Cluster, [TalkHandle; 3]) {
    let cluster = Cluster::new(3).await;
    let mut seats = Vec::new();
    for node in cluster.nodes() {
        let group = node.group("table").join_or_create(Talk::default());
        seats.push(group.await.expect("a member"));
    }
    let seats = seats.try_into().expect("three seats");
    cluster.cut(0, 2);
    (cluster, seats)
}

/// Waits until somebody has heard something; all that was heard by then.
async fn hears(seat: &TalkHandle, what: &str) -> Vec<String> {
    loop {
        let said = seat.said().optimistic().expect("a member");
        let said = said.into_unstable("a conversation is not the world");
        if said.contains(what) {
            return said.into_iter().collect();
        }
        tokio::task::yield_now().await;
    }
}
// ANCHOR_END: table

// ANCHOR: fifo
#[tokio::test]
async fn fifo_lets_an_answer_overtake_its_question() {
    let (_cluster, [ann, bob, cyd]) = table().await;
    ann.blurt("who has the keys?".into()).send().await.expect("sent");
    hears(&bob, "who has the keys?").await;
    bob.blurt("I have".into()).send().await.expect("sent");
    assert_eq!(hears(&cyd, "I have").await, ["I have"]);
}
// ANCHOR_END: fifo

// ANCHOR: causal
#[tokio::test]
async fn causal_does_not() {
    let (cluster, [ann, bob, cyd]) = table().await;
    ann.say("who has the keys?".into()).send().await.expect("sent");
    hears(&bob, "who has the keys?").await;
    bob.say("I have".into()).send().await.expect("sent");
    // The answer is at cyd's by now, or on the way, and waits for the question.
    cluster.heal(0, 2);
    assert_eq!(hears(&cyd, "I have").await, ["I have", "who has the keys?"]);
}
// ANCHOR_END: causal
