//! One node whose batches are dear: what waits for them, and what does not.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use vsync_core::engine::Input;
use vsync_core::wire::{GroupId, NodeId};
use vsync_net::{Class as Lane, Transport};

use super::super::INTAKE;
use super::super::alone::{Alone, FIFO, GROUP, config};
use crate::runtime::Command;
use crate::runtime::callers::{Told, Waiter};
use crate::runtime::inner::{Inner, Sending};
use crate::runtime::outbox::Tell;

/// Frames of a round that make the next ones dear.
const MANY: usize = 3_000;

impl Alone {
    /// The first member of a group, whose last round was of so many frames.
    fn after(frames: usize) -> Alone {
        let mut alone = Alone::new(None);
        alone.driver.left.gone(frames);
        alone.driver.relax();
        alone
    }

    /// Leaves an update, as a total one or not, as callers do.
    fn leave(&mut self, total: bool, tell: Option<Tell>) {
        let Some(Sending { method, update }) = Inner::Barrier.sending(false) else {
            panic!("it encodes")
        };
        let method = if total { method } else { &FIFO };
        if self.shared.seat.outbox.leave_inner(method, &update, tell).wakes() {
            self.shared.seat.wake();
        }
    }

    /// One turn, in which nothing else has come.
    fn turn(&mut self) {
        self.hear();
        self.driver.let_out(false, false);
    }

    /// Turns as the driver takes them, until it sleeps: none where nobody wakes it.
    fn turns(&mut self) {
        while self.hear() || self.driver.left.goes_on(false) {
            self.driver.let_out(false, false);
        }
    }

    /// Does what the driver was told to do; whether there was anything.
    fn hear(&mut self) -> bool {
        let mut any = false;
        while let Ok(command) = self.driver.commands.try_recv() {
            self.driver.command(command);
            any = true;
        }
        any
    }

    /// How many own updates are delivered, or stable, in view 1.
    fn delivered(&self) -> u64 {
        self.driver.engine.status(GROUP).map_or(0, |status| status.delivered.count(0))
    }
}

/// As `.await`.
fn stable() -> (Option<Tell>, oneshot::Receiver<Told>) {
    let (tell, listen) = oneshot::channel();
    (Some(Tell::Answer(Waiter::Stable(tell))), listen)
}

/// As `.optimistic()`.
fn optimistic() -> Option<Tell> {
    Some(Tell::Answer(Waiter::Applied(oneshot::channel().0)))
}

#[tokio::test(start_paused = true)]
async fn what_nobody_waits_for_gathers_where_batches_are_dear() {
    let mut alone = Alone::after(MANY);
    alone.leave(true, None);
    alone.turns();
    assert_eq!(alone.delivered(), 0);
    let (tell, mut told) = stable();
    alone.leave(true, tell);
    alone.turns();
    assert_eq!(alone.delivered(), 2, "somebody waits");
    assert!(matches!(told.try_recv(), Ok(Ok(_))));
}

#[tokio::test(start_paused = true)]
async fn a_flush_ends_what_gathers() {
    let mut alone = Alone::after(MANY);
    alone.leave(true, None);
    alone.turn();
    let (tell, mut told) = oneshot::channel();
    alone.driver.command(Command::Flush { group: GROUP, tell });
    alone.turn();
    assert_eq!((alone.delivered(), told.try_recv()), (1, Ok(Ok(()))));
}

#[tokio::test(start_paused = true)]
async fn whoever_leaves_leaves_nothing_to_gather() {
    let mut alone = Alone::after(MANY);
    let (tell, _) = oneshot::channel();
    alone.leave(true, None);
    alone.turn();
    assert_eq!(alone.delivered(), 0);
    alone.driver.command(Command::Leave { group: GROUP, tell });
    assert!(alone.driver.engine.has_undelivered(GROUP), "it goes before");
    alone.turn();
    assert!(alone.driver.slots.is_empty(), "it has left");
}

/// What was sent before and needs a position comes before a call that needs none.
#[tokio::test(start_paused = true)]
async fn whoever_waits_behind_a_position_waits_for_others() {
    let mut alone = Alone::after(MANY);
    // Both in one parcel, of which only the first is waited for.
    alone.leave(false, optimistic());
    alone.leave(true, None);
    alone.turns();
    assert_eq!(alone.delivered(), 1, "the position gathers");
    alone.leave(false, optimistic());
    alone.turns();
    assert_eq!(alone.delivered(), 3);
}

/// As a linearizable query does.
#[tokio::test(start_paused = true)]
async fn whoever_asks_for_a_place_in_the_order_wakes_the_driver() {
    let mut alone = Alone::after(MANY);
    alone.leave(true, None);
    alone.turns();
    assert_eq!(alone.delivered(), 0);
    let seat = Arc::clone(&alone.shared.seat);
    let ordered = seat.order(Inner::Barrier.sending(false).expect("it encodes"));
    alone.turns();
    assert_eq!(alone.delivered(), 2);
    assert!(ordered.expect("a member").told().await.is_ok());
}

/// As much as the window takes is a batch of its own.
#[tokio::test(start_paused = true)]
async fn whoever_has_no_credit_waits_for_no_other_group() {
    let mut alone = Alone::after(MANY);
    alone.driver.left.add(GroupId(8));
    alone.leave(true, None);
    alone.turns();
    while alone.shared.seat.outbox.in_line() == 0 {
        alone.leave(true, None);
    }
    alone.turns();
    assert_eq!(alone.shared.seat.outbox.in_line(), 0);
    assert!(alone.driver.left.is_gathering(), "the others do");
}

/// What costs the window more than its bytes fills it before credit ends.
#[tokio::test(start_paused = true)]
async fn whoever_waits_here_alone_does_not_wait_for_a_full_window() {
    let mut alone = Alone::after(MANY);
    for call in 0..3_000 {
        alone.leave(false, optimistic());
        alone.turns();
        assert_eq!(alone.delivered(), call + 1);
    }
}

/// The driver would take turn after turn until it may be late no more.
#[tokio::test(start_paused = true)]
async fn whoever_may_be_late_sleeps_until_then() {
    let mut alone = Alone::new(Some(vec![NodeId(9)]));
    let due = alone.driver.engine.deadline().expect("it asks again");
    let at = |alone: &Alone, due| Some(alone.driver.clock.instant(due));
    assert_eq!(alone.driver.wake_at(false), at(&alone, due));
    alone.driver.left.submitted(1);
    alone.turn();
    assert!(alone.driver.left.is_gathering());
    assert_eq!(alone.driver.wake_at(false), at(&alone, due + super::LATE));
}

/// Until what gathers has gone out, in few frames.
#[tokio::test(start_paused = true)]
async fn acknowledgements_are_relaxed_as_long_as_batches_are_dear() {
    let mut alone = Alone::after(MANY);
    alone.leave(true, None);
    for _ in 0..5 {
        assert_eq!((alone.delivered(), alone.driver.relaxed.is_zero()), (0, false));
        alone.turn();
    }
    tokio::time::advance(Duration::from_secs(1)).await;
    alone.turn();
    assert_eq!((alone.delivered(), alone.driver.relaxed.is_zero()), (1, true));
}

/// The sequencer, and whoever acknowledges, are told that somebody waits.
#[tokio::test(start_paused = true)]
async fn the_engine_is_told_who_waits() {
    let mut alone = Alone::after(MANY);
    let mut urgent = |total, tell| {
        alone.leave(total, tell);
        match alone.driver.submission(GROUP) {
            Some(input @ Input::Submit { urgent, .. }) => {
                alone.driver.step(input);
                urgent
            }
            other => panic!("{other:?}"),
        }
    };
    assert!(!urgent(false, None));
    assert!(!urgent(false, optimistic()), "it is applied here");
    assert!(urgent(false, stable().0));
    assert!(!urgent(true, None));
    assert!(urgent(false, optimistic()), "after one that needs a position");
    assert!(urgent(true, optimistic()));
}

/// Lets a member join, which then says nothing, or something at last that is not taken in when it
/// would be missed. Whether it is.
async fn misses(late: bool) -> bool {
    let mut alone = Alone::new(None);
    let other = alone.asked("other", GROUP, config()).await;
    let node = other.node();
    other.ask(1);
    alone.driver.burst();
    alone.driver.tick(false);
    assert_eq!(alone.members(GROUP), Some(2), "it is let in");
    for _ in 0..4 {
        tokio::time::advance(Duration::from_millis(100)).await;
        alone.driver.tick(false);
        assert!(!alone.driver.engine.suspects(node));
    }
    other.ask(if late { 1_000 } else { 0 });
    tokio::time::advance(Duration::from_millis(101)).await;
    alone.driver.tick(false);
    alone.driver.engine.suspects(node)
}

#[tokio::test(start_paused = true)]
async fn what_has_come_is_taken_in_before_anybody_is_missed() {
    assert!(misses(false).await);
    assert!(!misses(true).await);
}

/// How many frames of a thousand a turn leaves that comes after one which took so long.
async fn left_after(spent: Duration) -> usize {
    let mut alone = Alone::new(None);
    let other = alone.net.endpoint("other");
    let here = other.connect("here").await.expect("it is there").id;
    alone.driver.turn();
    let frame = bytes::Bytes::from_static(b"no frame of the protocol");
    (0..1_000).for_each(|_| other.send(here, Lane::ALL[0], frame.clone()));
    alone.driver.spent = spent;
    alone.driver.turn();
    assert!(alone.driver.spent <= INTAKE, "it was this turn that counts now");
    std::iter::from_fn(|| alone.driver.transport.try_next()).count()
}

#[tokio::test]
async fn as_long_is_taken_in_as_the_last_turn_did_other_things() {
    assert_eq!(left_after(Duration::ZERO).await, 1_000 - 64);
    assert_eq!(left_after(Duration::from_secs(60)).await, 0);
}
