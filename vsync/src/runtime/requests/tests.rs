//! What comes first under a name counts, whatever comes later and however it looks.

use std::any::Any;

use vsync_core::wire::{self, MemberId, NodeId};

use super::*;
use crate::request::Effect;
use crate::runtime::sessions::{RequestId, SessionId};
use crate::{RequestCtx, replicated};

/// A number.
#[replicated(crate = "crate", version = 2)]
#[derive(Debug, Default)]
struct Counter {
    value: u64,
}

#[replicated(crate = "crate")]
impl Counter {
    #[update(order = "total", id = 1)]
    fn add(&mut self, amount: u64) -> u64 {
        self.value += amount;
        self.value
    }

    #[update(order = "total", id = 2, until = 2)]
    fn old(&mut self) {
        self.value += 1000;
    }

    #[update(order = "total", id = 4)]
    fn trip(&mut self) {
        self.value += 1;
        panic!("at {}", self.value);
    }

    #[request(id = 3)]
    async fn bump(ctx: &RequestCtx<Self>, amount: u64) -> Effect<u64> {
        ctx.update().add(amount)
    }
}

/// A replica at one point after the other.
struct World {
    state: Counter,
    sessions: Sessions,
    session: SessionId,
    now: u64,
}

impl World {
    fn new() -> World {
        let mut sessions = Sessions::default();
        let Committed::Opened(session) = sessions.open(1, 1_000_000, 0) else {
            unreachable!("there is room");
        };
        World { state: Counter::default(), sessions, session, now: 10 }
    }

    fn ctx(&self) -> Ctx<Counter> {
        let id = MemberId { node: NodeId(1), entry: 1 };
        let member = wire::Member { id, meta: bytes::Bytes::new(), nonce: 0, transfer: None };
        let view = wire::View { number: 1, active: 1, members: vec![member] };
        crate::__private::ctx(&view, 0, self.now)
    }

    fn id(&self, number: u64) -> RequestId {
        RequestId::Numbered { session: self.session, number, acknowledged: 0 }
    }

    fn name(&self, number: u64) -> Name {
        Name::from(&self.id(number))
    }

    fn ask(&mut self, number: u64, amount: u64) -> Committed {
        let request = CounterRequest::Bump { amount };
        let mut call = Vec::new();
        Counter::encode_request(&request, &mut call).expect("encodes");
        let wanted = Wanted { id: self.id(number), call, key: None, patience: 100 };
        let ctx = self.ctx();
        told(|reply| begin(&ctx, wanted, &mut self.sessions, reply))
    }

    fn finish(&mut self, number: u64, updates: &[CounterUpdate], given: Given) -> bool {
        let finished = Finish { name: self.name(number), updates: encoded(updates), given };
        let ctx = self.ctx();
        finish(&mut self.state, &ctx, finished, &mut self.sessions).is_ok()
    }

    fn step(&mut self, index: u32, updates: &[CounterUpdate], of: Option<u32>) -> Stepped {
        let work = Work::Updates(encoded(updates), of);
        let made = Step { name: self.name(1), index, work };
        let ctx = self.ctx();
        told(|reply| {
            drop(step(&mut self.state, &ctx, made, &mut self.sessions, reply));
        })
    }

    fn cancel(&mut self, number: u64) -> Committed {
        let (ctx, name) = (self.ctx(), self.name(number));
        told(|reply| cancel(&ctx, name, &mut self.sessions, reply))
    }
}

fn told<T: 'static>(run: impl FnOnce(&mut Reply<'_>)) -> T {
    let mut slot: Option<Box<dyn Any + Send>> = None;
    run(&mut Reply::slot(&mut slot));
    *slot.expect("a reply").downcast().expect("of this type")
}

fn encoded(updates: &[CounterUpdate]) -> Vec<Vec<u8>> {
    let encode = |update: &CounterUpdate| {
        let mut bytes = Vec::new();
        Counter::encode(update, &mut bytes).expect("encodes");
        bytes
    };
    updates.iter().map(encode).collect()
}

const fn add(amount: u64) -> CounterUpdate {
    CounterUpdate::Add { amount }
}

fn answered(bytes: &[u8]) -> Committed {
    Committed::Recorded(Recorded::Result(bytes.to_vec()))
}

#[test]
fn the_first_attempt_in_the_order_counts() {
    let mut world = World::new();
    assert_eq!(world.ask(1, 5), Committed::Pending);
    assert_eq!(world.ask(1, 5), Committed::Pending, "asked again");
    assert_eq!(world.ask(1, 6), Committed::Refused(Refusal::OtherContent));
    assert!(world.finish(2, &[add(100)], Given::Of(0)), "of nothing that is pending");
    assert!(world.finish(1, &[add(5), add(1)], Given::Of(0)));
    assert!(world.finish(1, &[add(70)], Given::Of(0)), "another attempt");
    assert_eq!(world.state.value, 6);
    assert_eq!(world.ask(1, 5), answered(&[5]), "of the update that was named");
    assert_eq!(world.cancel(1), Committed::Cancelled(false));
    world.ask(2, 5);
    world.finish(2, &[], Given::Answer(vec![9]));
    assert_eq!(world.ask(2, 5), answered(&[9]));
    assert_eq!(world.cancel(3), Committed::Cancelled(false), "never asked for");
}

#[test]
fn what_is_cancelled_or_late_has_no_effect() {
    let mut world = World::new();
    for number in 1..=3 {
        world.ask(number, 5);
    }
    assert_eq!(world.cancel(1), Committed::Cancelled(true));
    world.finish(1, &[add(5)], Given::Of(0));
    assert_eq!(world.ask(1, 5), Committed::Recorded(Recorded::Cancelled));
    world.now = 110;
    world.finish(2, &[add(5)], Given::Of(0));
    assert_eq!(world.ask(2, 5), Committed::Recorded(Recorded::Late), "as it comes too late");
    let ctx = world.ctx();
    expire(&ctx, Vec::new(), &mut world.sessions);
    assert_eq!(world.ask(3, 5), Committed::Recorded(Recorded::Late), "as its time is over");
    assert_eq!((world.state.value, world.sessions.pending.len()), (0, 0));
}

#[test]
fn the_end_of_a_session_ends_what_it_has_asked_for() {
    let mut world = World::new();
    world.ask(1, 5);
    let ctx = world.ctx();
    expire(&ctx, vec![world.session.number], &mut world.sessions);
    world.finish(1, &[add(5)], Given::Of(0));
    assert_eq!((world.state.value, world.sessions.pending.len()), (0, 0));
}

#[test]
fn updates_are_applied_all_or_none() {
    let mut world = World::new();
    for number in 1..=4 {
        world.ask(number, 5);
    }
    world.finish(1, &[add(5), CounterUpdate::Old {}], Given::Of(0));
    let Committed::Recorded(Recorded::NotApplied(why)) = world.ask(1, 5) else {
        panic!("an update that the version does not have");
    };
    assert!(why.contains("version 2"), "{why}");
    let broken =
        Finish { name: world.name(2), updates: vec![vec![1, 5], vec![1]], given: Given::Of(0) };
    let ctx = world.ctx();
    assert!(finish(&mut world.state, &ctx, broken, &mut world.sessions).is_ok());
    let Committed::Recorded(Recorded::NotApplied(_)) = world.ask(2, 5) else {
        panic!("an update that does not decode");
    };
    assert_eq!(world.state.value, 0);
    assert!(!world.finish(3, &[add(5), CounterUpdate::Trip {}, add(5)], Given::Of(0)));
    assert_eq!(world.state.value, 6, "a panic is half way, as everywhere");
    let told = Committed::Recorded(Recorded::Panicked("at 6".to_owned()));
    assert_eq!(world.ask(3, 5), told);
    world.finish(4, &[add(1)], Given::Of(7));
    let Committed::Recorded(Recorded::Unencodable(_)) = world.ask(4, 5) else {
        panic!("the answer of an update that is not there");
    };
}

#[test]
fn a_step_is_made_once_and_can_end_the_request() {
    let mut world = World::new();
    world.ask(1, 5);
    assert_eq!(world.step(0, &[add(2), add(3)], Some(1)), Stepped::Done(vec![5]));
    assert_eq!(world.step(0, &[add(2), add(3)], Some(1)), Stepped::Done(vec![5]), "known");
    assert_eq!(world.step(0, &[add(4)], Some(0)), Stepped::Differs);
    assert_eq!(world.step(1, &[add(1)], None), Stepped::Done(Vec::new()));
    assert_eq!(world.state.value, 6);
    assert_eq!(world.step(2, &[CounterUpdate::Old {}], Some(0)), Stepped::Over);
    assert!(matches!(world.ask(1, 5), Committed::Recorded(Recorded::NotApplied(_))));
    assert_eq!(world.step(3, &[add(1)], None), Stepped::Over);
    assert_eq!(world.state.value, 6);
}

#[test]
fn there_is_a_bound_on_what_is_pending() {
    let mut world = World::new();
    for number in 1..=PENDING as u64 {
        // A session has a bound of its own, on replies.
        world.ask(number, number);
    }
    let next = PENDING as u64 + 1;
    assert_eq!(world.ask(next, 5), Committed::Refused(Refusal::Full));
    assert_eq!(world.cancel(7), Committed::Cancelled(true));
    assert_eq!(world.ask(next, 5), Committed::Pending, "room again");
}
