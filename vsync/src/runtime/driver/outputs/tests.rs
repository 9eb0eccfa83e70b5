//! A replica that is at work, and what is held for it meanwhile.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use vsync_core::engine::{Delivery, Input, Level};
use vsync_core::wire::{GroupId, Micros, NodeId};

use super::super::SLICE;
use super::super::alone::{Alone, GROUP};
use crate::runtime::callers::Takes;
use crate::runtime::checkpoint::Beside;
use crate::runtime::inner::{Inner, Sending};
use crate::runtime::replica::{Broken, Installed, Loading, Replica, Saving, Taken};
use crate::state::CheckpointError;

/// What a replica is told to be like, and what it was asked for.
#[derive(Default)]
struct Script {
    /// Somebody reads its state: ranges are applied elsewhere.
    read: AtomicBool,
    /// Microseconds that a range takes.
    takes: AtomicU64,
    /// It has something to send.
    due: AtomicBool,
    /// It wants a new view.
    wants_view: AtomicBool,
    applied: AtomicU64,
    /// How many were, at the install of each view.
    installs: Mutex<Vec<u64>>,
    /// Whether the last one was to be told to the application.
    told: AtomicBool,
}

struct ByHand(Arc<Script>);

impl Replica for ByHand {
    fn deliver(&mut self, _: &Delivery, _: Option<&mut dyn Takes>) -> Result<(), Broken> {
        let (begun, takes) = (Instant::now(), self.0.takes.load(Ordering::SeqCst));
        while begun.elapsed() < Duration::from_micros(takes) {
            std::hint::spin_loop();
        }
        self.0.applied.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }

    fn is_read(&self) -> bool {
        self.0.read.load(Ordering::SeqCst)
    }

    fn compares(&self) -> bool {
        false
    }

    fn differs(&self) -> bool {
        false
    }

    fn is_long(&self, _: &Installed) -> bool {
        false
    }

    fn install(&mut self, installed: Installed) -> Result<(), Broken> {
        self.0.told.store(installed.told, Ordering::SeqCst);
        let applied = self.0.applied.load(Ordering::SeqCst);
        self.0.installs.lock().expect("no panic").push(applied);
        Ok(())
    }

    fn save(&self) -> Result<Bytes, CheckpointError> {
        Err(CheckpointError::NoState)
    }

    fn saving(&self) -> Saving {
        Box::new(|_| Taken::Checkpoint(Err(CheckpointError::NoState)))
    }

    fn loading(&mut self) -> Loading {
        Box::new(|_| Err(CheckpointError::NoState))
    }

    fn loaded(&mut self, _: Beside) {}

    fn stabilised(&mut self) {}

    fn due(&self) -> Option<Micros> {
        self.0.due.load(Ordering::SeqCst).then_some(0)
    }

    fn send_due(&mut self, _: Micros) -> Option<Sending> {
        self.0.due.swap(false, Ordering::SeqCst).then_some(Inner::Barrier)?.sending(false)
    }

    fn wants_view(&mut self) -> bool {
        self.0.wants_view.swap(false, Ordering::SeqCst)
    }

    fn create(&mut self) {}

    fn void(&mut self) {}
}

/// A member whose replica is at work with a range, while so many more are held for it.
fn at_work(held: u64) -> (Alone, Arc<Script>) {
    let script = Arc::new(Script::default());
    let mut alone = Alone::with(None, |_| Box::new(ByHand(Arc::clone(&script))));
    script.read.store(true, Ordering::SeqCst);
    for _ in 0..=held {
        alone.submit();
    }
    assert_eq!(alone.held(), held);
    (alone, script)
}

impl Alone {
    /// One update, which is a range of its own.
    fn submit(&mut self) {
        self.shared.seat.outbox.leave_inner(Inner::method(Level::Optimistic), &[0], None);
        self.driver.submit(GROUP);
        self.driver.step(Input::Close);
    }

    /// How many ranges are held.
    fn held(&self) -> u64 {
        let held = self.driver.slots.get(&GROUP).and_then(|slot| slot.held.as_ref());
        held.map_or(0, |held| held.bytes as u64 / 5)
    }

    fn is_away(&self) -> bool {
        self.driver.slots.get(&GROUP).expect("a member").held.is_some()
    }
}

#[tokio::test]
async fn what_is_due_does_not_wait_until_a_backlog_is_done() {
    let (mut alone, script) = at_work(3);
    script.due.store(true, Ordering::SeqCst);
    script.wants_view.store(true, Ordering::SeqCst);
    alone.driver.ring();
    assert!(script.due.load(Ordering::SeqCst), "nothing is asked of a replica that is away");
    alone.worked().await;
    alone.driver.ring();
    assert!(alone.is_away(), "with the next range");
    assert!(!script.due.load(Ordering::SeqCst), "it has left what is due");
    assert!(alone.driver.pile.bytes() > 0);
    while alone.driver.left.goes_on(false) {
        alone.driver.let_out(false, false);
    }
    assert_eq!(alone.driver.pile.bytes(), 0, "and that goes out");
    assert!(alone.driver.alarms.is_empty(), "there is nothing more");
    while alone.is_away() {
        alone.worked().await;
    }
    assert_eq!(script.applied.load(Ordering::SeqCst), 5);
    let installs = script.installs.lock().expect("no panic");
    assert_eq!(*installs, [0, 4], "the view that it wanted, after what was held");
}

/// A checkpoint of another group of the name has begun to come, of whose views its state knows.
#[tokio::test]
async fn the_first_view_of_a_group_that_is_made_anew_is_told() {
    let script = Arc::new(Script::default());
    let contacts = Some(vec![NodeId(9)]);
    let mut alone = Alone::with(contacts, |_| Box::new(ByHand(Arc::clone(&script))));
    drop(alone.driver.slots.get_mut(&GROUP).expect("it joins").loading(7));
    alone.driver.ask(GROUP, GroupId(8), 2, None, None);
    assert_eq!(alone.members(GroupId(8)), Some(1));
    assert!(script.told.load(Ordering::SeqCst));
}

#[tokio::test]
async fn who_catches_up_gives_way_to_others_after_a_while() {
    let (mut alone, script) = at_work(20);
    script.read.store(false, Ordering::SeqCst);
    script.takes.store(SLICE.as_micros() as u64 / 5, Ordering::SeqCst);
    alone.worked().await;
    let held = alone.held();
    assert!(alone.is_away() && held > 5, "{held} are left, which take longer than the slice");
    // There are other turns.
    let mut turns = 0;
    while alone.is_away() {
        alone.driver.caught_up = Duration::ZERO;
        alone.worked().await;
        turns += 1;
    }
    assert!(turns > 1);
    assert_eq!(script.applied.load(Ordering::SeqCst), 21);
}

/// Groups share the slice of a turn: who comes when it is spent goes on elsewhere, and in the next
/// turn.
#[tokio::test]
async fn who_finds_the_slice_spent_goes_on_elsewhere() {
    let (mut alone, script) = at_work(3);
    script.read.store(false, Ordering::SeqCst);
    alone.driver.caught_up = SLICE * 2;
    for held in [2, 1, 0] {
        alone.worked().await;
        assert_eq!((alone.is_away(), alone.held()), (true, held));
    }
    alone.worked().await;
    assert_eq!((alone.is_away(), script.applied.load(Ordering::SeqCst)), (false, 4));
    alone.submit();
    assert!(!alone.is_away(), "it has nothing to catch up with");
}

/// Its ranges are as quick as before: too slow to come back, if it were taken for slow.
#[tokio::test]
async fn who_has_caught_up_stays_here() {
    let mut stays = false;
    // Where another process comes in between, a range takes longer.
    for _ in 0..100 {
        let (mut alone, script) = at_work(6);
        script.read.store(false, Ordering::SeqCst);
        script.takes.store(300, Ordering::SeqCst);
        while alone.is_away() {
            alone.driver.caught_up = Duration::ZERO;
            alone.worked().await;
        }
        alone.submit();
        stays = !alone.is_away();
        if stays {
            break;
        }
    }
    assert!(stays, "every range goes away for good");
}
