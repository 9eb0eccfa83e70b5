//! One group's batch, and the line behind it.

use super::*;
use crate::directory::{Directory, DirectoryUpdate};
use crate::runtime::callers::Told;
use crate::runtime::driver::alone::FIFO;

fn update(name: &str) -> DirectoryUpdate {
    DirectoryUpdate::Lookup { name: name.to_owned() }
}

/// As a caller that waits for nothing.
fn leave(outbox: &Outbox, name: &str) -> Left {
    outbox.leave::<Directory>(&update(name), 100, |_| None)
}

/// As `.optimistic()`.
fn applied() -> Tell {
    Tell::Answer(Waiter::Applied(oneshot::channel().0))
}

/// As `.send()`.
fn send(outbox: &Outbox, name: &str) -> (Left, oneshot::Receiver<Result<(), GroupError>>) {
    let (turn, listen) = oneshot::channel();
    let tell = |in_line: bool| in_line.then_some(Tell::Turn(turn));
    (outbox.leave::<Directory>(&update(name), 100, tell), listen)
}

/// As `.await`.
fn call(outbox: &Outbox, name: &str) -> (Left, oneshot::Receiver<Told>) {
    let (tell, listen) = oneshot::channel();
    let tell = |_| Some(Tell::Answer(Waiter::Stable(tell)));
    (outbox.leave::<Directory>(&update(name), 100, tell), listen)
}

/// The names in a parcel's updates: the last byte of each.
fn names(parcel: &Parcel) -> String {
    let mut body = parcel.body.as_slice();
    let mut names = String::new();
    while let Some((length, rest)) = body.split_first_chunk::<4>() {
        let (update, rest) = rest.split_at(u32::from_le_bytes(*length) as usize);
        names.push(char::from(*update.last().expect("not empty")));
        body = rest;
    }
    assert_eq!(names.len() as u64, parcel.count);
    assert_eq!(parcel.runs.iter().map(|run| u64::from(run.count)).sum::<u64>(), parcel.count);
    names
}

#[test]
fn only_the_first_of_a_batch_wakes_the_driver() {
    let outbox = Outbox::default();
    assert!(!outbox.grant(1000), "nothing is in line");
    assert_eq!(leave(&outbox, "a"), Left::Taken { wake: true });
    assert_eq!(leave(&outbox, "b"), Left::Taken { wake: false });
    let parcel = outbox.take();
    assert_eq!((parcel.runs.len(), parcel.runs[0].count), (1, 2));
    assert_eq!(names(&parcel), "ab");
    assert_eq!(outbox.credit(), 1000 - parcel.body.len() as i64);
    assert_eq!(leave(&outbox, "c"), Left::Taken { wake: true });
}

/// The driver may sleep on a batch that gathers.
#[test]
fn the_first_who_waits_wakes_a_driver_that_sleeps() {
    let (outbox, pile) = (Outbox::default(), Arc::<Pile>::default());
    outbox.count_in(&pile);
    let here = || outbox.leave_inner(&FIFO, &[1], Some(applied()));
    let others = || call(&outbox, "a").0;
    let asleep = [(true, [true, true, true]), (false, [true, false, false])];
    for (asleep, [first, rises, stands]) in asleep {
        pile.sleep_on(asleep);
        outbox.grant(1000);
        assert_eq!(outbox.leave_inner(&FIFO, &[1], None), Left::Taken { wake: first });
        assert_eq!(outbox.leave_inner(&FIFO, &[1], None), Left::Taken { wake: false });
        assert_eq!(here(), Left::Taken { wake: rises });
        assert_eq!(here(), Left::Taken { wake: false }, "it is awake for the one before");
        assert_eq!(others(), Left::Taken { wake: rises });
        while outbox.credit() > 0 {
            assert!(!others().wakes(), "nor for others");
        }
        assert_eq!((others().wakes(), others().wakes()), (stands, false), "without credit");
        outbox.reset(&NotApplied::Excluded);
    }
}

#[test]
fn an_update_over_the_limit_leaves_no_trace() {
    let outbox = Outbox::default();
    outbox.grant(1000);
    assert_eq!(leave(&outbox, "a"), Left::Taken { wake: true });
    let before = outbox.credit();
    let long = "x".repeat(200);
    let left = leave(&outbox, &long);
    assert!(matches!(left, Left::Never(NotApplied::TooLarge { size: 200.., limit: 100 })));
    assert_eq!(outbox.credit(), before);
    assert_eq!(names(&outbox.take()), "a");
    outbox.reset(&NotApplied::Excluded);
    let left = leave(&outbox, &long);
    assert!(matches!(left, Left::Never(NotApplied::TooLarge { .. })), "not in line, either");
}

#[test]
fn a_call_in_line_that_nobody_polls_blocks_nobody() {
    let outbox = Outbox::default();
    let (held, mut unpolled) = call(&outbox, "a");
    let (_, mut behind) = send(&outbox, "b");
    assert_eq!(held, Left::InLine { place: 0, wake: false });
    assert!(behind.try_recv().is_err(), "its turn has not come");
    assert!(outbox.grant(1000), "the driver is woken for what was in line");
    assert_eq!(behind.try_recv(), Ok(Ok(())));
    assert_eq!(leave(&outbox, "c"), Left::Taken { wake: false });
    let parcel = outbox.take();
    assert_eq!(names(&parcel), "abc");
    assert!(parcel.urgent());
    assert_eq!(parcel.waiters.iter().map(|(index, _)| *index).collect::<Vec<_>>(), [0]);
    assert!(unpolled.try_recv().is_err(), "its answer is still to come");
}

/// An optimistic call, too, waits for the sequencer where its update needs a position.
#[test]
fn a_position_that_is_waited_for_is_urgent() {
    let outbox = Outbox::default();
    outbox.grant(1000);
    assert_eq!(leave(&outbox, "a"), Left::Taken { wake: true });
    assert!(!outbox.take().urgent(), "nobody waits");
    let (tell, _listen) = oneshot::channel();
    let who = |_| Some(Tell::Answer(Waiter::Applied(tell)));
    outbox.leave::<Directory>(&update("b"), 100, who);
    let parcel = outbox.take();
    assert_eq!(parcel.runs[0].class, Class::Total);
    assert!(parcel.urgent());
}

#[test]
fn what_was_left_by_a_caller_that_is_gone_is_sent() {
    let outbox = Outbox::default();
    drop(send(&outbox, "a"));
    drop(call(&outbox, "b"));
    assert_eq!(outbox.take().count, 0);
    assert!(outbox.grant(1000));
    assert_eq!(names(&outbox.take()), "ab");
}

#[test]
fn the_line_moves_in_order_as_far_as_credit_goes() {
    let outbox = Outbox::default();
    outbox.grant(1);
    assert_eq!(leave(&outbox, "a"), Left::Taken { wake: true });
    let mut turns: Vec<_> = ["b", "c", "d"].map(|name| send(&outbox, name).1).into();
    let debt = outbox.credit().unsigned_abs();
    assert!(!outbox.grant(debt), "no credit yet");
    assert_eq!(names(&outbox.take()), "a");
    assert!(outbox.grant(1));
    assert!(!outbox.grant(outbox.credit().unsigned_abs() + 1), "woken already");
    assert_eq!(names(&outbox.take()), "bc");
    let came: Vec<_> = turns.iter_mut().map(|turn| turn.try_recv().is_ok()).collect();
    assert_eq!(came, [true, true, false]);
    assert!(matches!(leave(&outbox, "e"), Left::InLine { .. }), "not past those in line");
    outbox.grant(1000);
    assert_eq!(names(&outbox.take()), "de");
}

#[test]
fn a_place_in_line_can_be_given_up() {
    let outbox = Outbox::default();
    let places = ["a", "b", "c"].map(|name| match send(&outbox, name).0 {
        Left::InLine { place, .. } => place,
        left => panic!("there is no credit: {left:?}"),
    });
    assert!(outbox.withdraw(places[1]));
    assert!(!outbox.withdraw(places[1]), "gone already");
    outbox.grant(1000);
    assert!(!outbox.withdraw(places[0]), "under way");
    assert_eq!(names(&outbox.take()), "ac");
}

#[test]
fn whatever_waits_at_the_end_of_a_membership_was_never_sent() {
    let outbox = Outbox::default();
    outbox.grant(1);
    let (_, mut taken) = call(&outbox, "a");
    let (_, mut in_line) = call(&outbox, "b");
    let (_, mut turn) = send(&outbox, "c");
    outbox.reset(&NotApplied::Excluded);
    let excluded = GroupError::NotApplied(NotApplied::Excluded);
    for listen in [&mut taken, &mut in_line] {
        assert_eq!(listen.try_recv().expect("told").err(), Some(excluded.clone()));
    }
    assert_eq!(turn.try_recv(), Ok(Err(excluded)));
    assert!(!outbox.grant(1000), "nothing is left of them");
    assert_eq!(leave(&outbox, "d"), Left::Taken { wake: true });
}

#[test]
fn after_the_close_the_batch_is_still_taken_and_nothing_else() {
    let outbox = Outbox::default();
    outbox.grant(1);
    leave(&outbox, "a");
    let (_, mut turn) = send(&outbox, "b");
    outbox.close();
    assert_eq!(turn.try_recv(), Ok(Err(GroupError::NotApplied(NotApplied::Closed))));
    assert_eq!(leave(&outbox, "c"), Left::Never(NotApplied::Closed));
    assert!(!outbox.grant(1000));
    assert_eq!(names(&outbox.take()), "a");
}
