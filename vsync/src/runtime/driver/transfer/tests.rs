//! A joiner's end of transfers, in orders that are rare: it is told by hand what the engine says.

use bytes::Bytes;
use vsync_core::engine::{GroupConfig, Output};
use vsync_core::wire::{GroupId, MemberId, NodeId};

use super::super::alone::{Alone as Joiner, GROUP, config};
use crate::directory::Directory;
use crate::runtime::checkpoint::{self, Beside};
use crate::runtime::slot::Slot;
use crate::runtime::threads::Threads;
use crate::runtime::{Command, Progress};
use crate::state::{CheckpointError, State};

const DONOR: MemberId = MemberId { node: NodeId(9), entry: 1 };

/// The checkpoint of what this donor has.
fn checkpoint(of: u64) -> Bytes {
    checkpoint::whole(&Directory::formed_by(of), &Beside::default()).expect("saved")
}

impl Joiner {
    fn anew() -> Joiner {
        Joiner::new(Some(vec![DONOR.node]))
    }

    fn told(&mut self, output: Output) {
        self.driver.heard(0, output);
        while let Some(input) = self.driver.later.pop_front() {
            self.driver.step(input);
        }
    }

    /// A piece comes.
    fn load(&mut self, label: u64, offset: usize, bytes: Bytes) {
        let offset = offset as u64;
        self.told(Output::Load { group: GROUP, label, donor: DONOR, offset, bytes });
    }

    /// All of a checkpoint comes, in two pieces.
    fn load_all(&mut self, label: u64, bytes: &Bytes) {
        self.load(label, 0, bytes.slice(..10));
        self.load(label, 10, bytes.slice(10..));
        self.told(Output::Loaded { group: GROUP, label, donor: DONOR });
    }

    fn excluded(&mut self, view: u64) {
        self.told(Output::Excluded { group: GROUP, view, decided: None });
    }

    fn ended(&mut self) -> bool {
        matches!(self.progress.try_recv(), Ok(Progress::Ended))
    }

    /// The checkpoint of what is here.
    fn state(&self) -> Option<Bytes> {
        self.shared.save(&Beside::default()).ok()
    }
}

/// The second membership was over before the first one's load was.
#[tokio::test]
async fn an_exclusion_is_told_though_its_load_began_after_it() {
    let mut joiner = Joiner::anew();
    let all = checkpoint(5);
    joiner.load(3, 0, all.slice(..10));
    joiner.excluded(3);
    joiner.load(6, 0, all.slice(..10));
    joiner.load(6, 10, all.slice(10..20));
    joiner.excluded(6);
    joiner.worked().await;
    assert!(joiner.ended(), "of the first");
    // Its pieces have stopped coming for good.
    joiner.worked().await;
    assert!(joiner.ended(), "of the second");
    assert_eq!(joiner.state(), None);
    joiner.load_all(8, &all);
    joiner.worked().await;
    assert_eq!(joiner.state(), Some(all), "the third time");
}

/// The first membership is over when all of its checkpoint is here, and the next one begins before
/// that is loaded.
#[tokio::test]
async fn an_exclusion_does_not_void_what_is_loaded_after_it() {
    let mut joiner = Joiner::anew();
    let (one, two) = (checkpoint(5), checkpoint(6));
    joiner.load_all(3, &one);
    joiner.excluded(3);
    joiner.load_all(6, &two);
    joiner.worked().await;
    assert!(joiner.ended());
    joiner.worked().await;
    assert_eq!(joiner.state(), Some(two));
}

/// One piece more than may wait to be read.
const MANY: usize = 5 << 20;

impl Joiner {
    /// With a thread for checkpoints that is at work until what is returned is dropped.
    fn busy() -> (Joiner, std::sync::mpsc::Sender<()>) {
        let mut joiner = Joiner::anew();
        joiner.driver.threads = Threads::of(1);
        let (free, freed) = std::sync::mpsc::channel::<()>();
        joiner.driver.threads.run(move || {
            let _ = freed.recv();
        });
        (joiner, free)
    }

    fn slot(&self) -> &Slot {
        self.driver.slots.get(&GROUP).expect("a group")
    }

    /// The number of the transfer that is under way.
    fn transfer(&self) -> u64 {
        let incoming = self.slot().incoming.as_ref().expect("a transfer");
        (0..100).find(|number| incoming.is(*number)).expect("a number")
    }

    /// Whether its donor was asked to wait.
    fn holds(&self) -> bool {
        self.slot().incoming.as_ref().is_some_and(|incoming| incoming.holds)
    }
}

#[tokio::test]
async fn room_that_an_earlier_transfer_has_made_is_not_a_later_ones() {
    let (mut joiner, _free) = Joiner::busy();
    let room = |transfer| Command::Room { group: GROUP, transfer };
    joiner.load(3, 0, vec![0; MANY].into());
    assert!(joiner.holds());
    let first = joiner.transfer();
    joiner.load(6, 0, vec![0; 10].into());
    assert!(!joiner.holds(), "a donor that has just begun");
    joiner.load(6, 10, vec![0; MANY].into());
    let second = joiner.transfer();
    assert_ne!(first, second);
    joiner.driver.command(room(first));
    assert!(joiner.holds(), "room for others");
    joiner.driver.command(room(second));
    assert!(!joiner.holds());
}

/// It is excluded while a copy of its state is being encoded.
#[tokio::test]
async fn work_for_a_membership_that_is_over_is_nobodys() {
    let mut joiner = Joiner::anew();
    let work = 1000;
    joiner.driver.working.insert(work, GROUP);
    joiner.driver.slots.get_mut(&GROUP).expect("a group").encodes(work);
    assert_eq!(joiner.driver.whose(work), Some(GROUP));
    joiner.excluded(3);
    assert_eq!(joiner.driver.whose(work), None);
}

impl Joiner {
    /// The group is made, under this number.
    fn make(&mut self, now: u64) {
        self.driver.ask(GROUP, GroupId(now), 2, None, None);
    }
}

/// The load has not begun, or waits for the next piece, when the group is made instead.
#[tokio::test]
async fn a_load_that_is_void_does_not_undo_that_the_group_is_made() {
    let (theirs, own) = (checkpoint(5), checkpoint(0));
    let ((mut queued, free), mut waiting) = (Joiner::busy(), Joiner::anew());
    for joiner in [&mut queued, &mut waiting] {
        joiner.load(3, 0, theirs.slice(..10));
        joiner.make(8);
        assert_eq!(joiner.state(), None);
    }
    drop(free);
    for joiner in [&mut queued, &mut waiting] {
        joiner.worked().await;
        assert_eq!(joiner.state(), Some(own.clone()));
    }
}

/// Whoever joins it was told of this generation by the directory.
#[tokio::test]
async fn a_group_that_is_made_anew_is_of_its_own_generation() {
    let mut joiner = Joiner::anew();
    joiner.make(8);
    for (generation, members) in [(1, 1), (2, 2)] {
        let (name, config) = (generation.to_string(), GroupConfig { generation, ..config() });
        let asking = joiner.asked(&name, GroupId(8), config).await;
        asking.ask(1);
        joiner.driver.burst();
        joiner.driver.tick(false);
        assert_eq!(joiner.members(GroupId(8)), Some(members), "generation {generation}");
    }
}

/// All or half of what another group has is in place of what was brought.
#[tokio::test]
async fn what_was_brought_is_what_a_group_is_made_with() {
    let (theirs, own) = (checkpoint(5), checkpoint(0));
    for end in 10..=theirs.len() {
        let mut joiner = Joiner::anew();
        joiner.load(3, 0, theirs.slice(..end));
        if end == theirs.len() {
            joiner.told(Output::Loaded { group: GROUP, label: 3, donor: DONOR });
        }
        joiner.make(GROUP.0);
        joiner.worked().await;
        assert_eq!(joiner.state(), Some(own.clone()), "after {end} bytes");
    }
}

/// What had waited for the load is of the group that was given up.
#[tokio::test]
async fn what_was_held_is_not_told_to_another_group() {
    let mut joiner = Joiner::anew();
    joiner.load_all(3, &checkpoint(5));
    joiner.excluded(3);
    joiner.make(8);
    joiner.worked().await;
    assert!(!joiner.ended());
    assert_eq!(joiner.state(), Some(checkpoint(0)));
}

/// The rest of its checkpoint never comes.
#[tokio::test]
async fn a_joiner_that_is_too_old_is_told_so_by_the_head() {
    let mut joiner = Joiner::anew();
    let mut head = checkpoint(5)[..40].to_vec();
    head[5] = 9;
    joiner.load(3, 0, head.into());
    joiner.worked().await;
    let newer = CheckpointError::Newer { here: Directory::VERSION, there: 9 };
    match joiner.progress.try_recv().expect("told") {
        Progress::Checkpoint(error) => assert_eq!(error, newer),
        other => panic!("{other:?}"),
    }
    assert!(!joiner.driver.slots.contains_key(&GROUP), "its membership has ended");
}

/// The engine's word on the quorum waits for the replica, but what callers are told does not.
#[tokio::test]
async fn who_gives_up_while_the_replica_is_away_is_told_whether_there_is_a_quorum() {
    let mut joiner = Joiner::anew();
    joiner.load(1, 0, checkpoint(1).slice(..10));
    let blocked = |joiner: &Joiner| {
        let slot = joiner.driver.slots.get(&GROUP).expect("it joins");
        assert!(slot.held.is_some(), "it is away");
        slot.seat.status().trouble.blocked.is_some()
    };
    joiner.told(Output::Blocked { group: GROUP });
    assert!(blocked(&joiner));
    joiner.driver.look_around();
    assert!(!joiner.driver.blocked.is_empty(), "it is counted anew");
    joiner.told(Output::Resumed { group: GROUP });
    joiner.driver.look_around();
    assert!(!blocked(&joiner) && joiner.driver.blocked.is_empty());
}
