//! Rounds that are told by hand when they end, and a member whose others are played by hand.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, yield_now};
use tokio::time::timeout;
use vsync_core::engine::{Class, Delivery, Level};
use vsync_core::wire::{self, Cut, GroupId, NodeId};
use vsync_net::{Event, Memory, MemoryNet, Transport};

use super::*;
use crate::group::GroupEvent;
use crate::runtime::Command;
use crate::runtime::callers::Waiter;
use crate::runtime::rpc::{Asked, Rpc};
use crate::runtime::seat::Home;
use crate::runtime::threads::Threads;

type End = oneshot::Sender<Result<(), GroupError>>;

/// Rounds that end when they are told to; each that begins is handed out.
fn by_hand() -> (impl FnMut() -> Ended, mpsc::UnboundedReceiver<End>) {
    let (begun, begins) = mpsc::unbounded_channel();
    let round = move || {
        let (end, ended) = oneshot::channel();
        begun.send(end).expect("looked at");
        Ended(ended)
    };
    (round, begins)
}

struct Ended(oneshot::Receiver<Result<(), GroupError>>);

impl Future for Ended {
    type Output = Result<(), GroupError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(cx).map(|told| told.expect("ended"))
    }
}

#[tokio::test]
async fn who_comes_during_a_round_is_told_by_the_next() {
    let (rounds, (round, mut begins)) = (Rounds::default(), by_hand());
    let (tell, first) = oneshot::channel();
    let work = rounds.join(tell).expect("nobody is at work");
    let script = async {
        let end = begins.recv().await.expect("the first round");
        let (tell, mut second) = oneshot::channel();
        assert!(rounds.join(tell).is_none());
        end.send(Ok(())).expect("waited for");
        assert_eq!(first.await, Ok(Ok(())));
        let end = begins.recv().await.expect("a round of its own");
        assert!(second.try_recv().is_err(), "it began before it was asked");
        end.send(Err(GroupError::NoState)).expect("waited for");
        assert_eq!(second.await, Ok(Err(GroupError::NoState)));
    };
    tokio::join!(work.serve(round), script);
    assert!(rounds.join(oneshot::channel().0).is_some(), "nobody is at work any more");
}

#[tokio::test]
async fn a_round_that_nobody_waits_for_makes_room_for_the_next() {
    let (rounds, (round, mut begins)) = (Rounds::default(), by_hand());
    let (tell, first) = oneshot::channel();
    let work = rounds.join(tell).expect("nobody is at work");
    let script = async {
        let _open = begins.recv().await.expect("the first round");
        let (tell, second) = oneshot::channel();
        assert!(rounds.join(tell).is_none());
        drop(first);
        begins.recv().await.expect("the next").send(Ok(())).expect("waited for");
        assert_eq!(second.await, Ok(Ok(())));
    };
    tokio::join!(work.serve(round), script);
}

#[tokio::test]
async fn where_the_work_ends_early_nobody_waits_for_ever() {
    let (rounds, (round, mut begins)) = (Rounds::default(), by_hand());
    let (tell, running) = oneshot::channel();
    let work = rounds.join(tell).expect("nobody is at work");
    let (tell, next) = oneshot::channel();
    let begun = async {
        let open = begins.recv().await;
        assert!(rounds.join(tell).is_none());
        open
    };
    tokio::select! {
        biased;
        () = work.serve(round) => panic!("somebody waits"),
        open = begun => assert!(open.is_some()),
    }
    assert!(running.await.is_err() && next.await.is_err());
    assert!(rounds.join(oneshot::channel().0).is_some(), "nobody is at work any more");
}

/// A task of a runtime that ends may never be polled.
#[tokio::test]
async fn work_that_never_begins_is_over_as_well() {
    let (rounds, (tell, told)) = (Rounds::default(), oneshot::channel());
    let work = rounds.join(tell).expect("nobody is at work");
    drop(work.serve(|| std::future::ready(Ok(()))));
    assert!(told.await.is_err());
    assert!(rounds.join(oneshot::channel().0).is_some(), "nobody is at work any more");
}

#[test]
fn whoever_asks_again_and_again_during_a_round_leaves_nothing() {
    let (rounds, (tell, _first)) = (Rounds::default(), oneshot::channel());
    let mut work = rounds.join(tell).expect("nobody is at work");
    let _round = work.next();
    let (tell, _patient) = oneshot::channel();
    assert!(rounds.join(tell).is_none());
    for _ in 0..1000 {
        assert!(rounds.join(oneshot::channel().0).is_none());
    }
    let waiting = lock(&work.waiting).as_ref().map_or(0, Vec::len);
    assert!(waiting < 10, "{waiting} are kept");
    assert_eq!(work.next().map(|next| next.len()), Some(1));
}

/// Of two who wait for the same round one gives up.
#[tokio::test]
async fn a_round_goes_on_for_whoever_still_waits_for_it() {
    let (rounds, (round, mut begins)) = (Rounds::default(), by_hand());
    let (tell, first) = oneshot::channel();
    let work = rounds.join(tell).expect("nobody is at work");
    let (tell, second) = oneshot::channel();
    assert!(rounds.join(tell).is_none());
    let script = async {
        let end = begins.recv().await.expect("for both");
        drop(first);
        settled().await;
        end.send(Ok(())).expect("waited for");
        assert_eq!(second.await, Ok(Ok(())));
    };
    tokio::join!(work.serve(round), script);
}

/// Everything that can go on without more from here has.
async fn settled() {
    for _ in 0..200 {
        yield_now().await;
    }
}

/// One end of the network, which takes in what comes.
struct Endpoint {
    rpc: Arc<Rpc>,
    peer: PeerId,
    asked: mpsc::Receiver<Asked>,
}

impl Endpoint {
    fn new(transport: Memory) -> Endpoint {
        let (peer, transport) = (transport.local().id, Arc::new(transport));
        let (tell, asked) = mpsc::channel(10);
        let rpc = Arc::new(Rpc::new(Arc::clone(&transport) as _, Some(tell)));
        let hears = Arc::clone(&rpc);
        tokio::spawn(async move {
            while let Some(event) = transport.next().await {
                match event {
                    Event::Up(peer) => hears.up(peer.id),
                    Event::Frame { peer, frame, .. } => hears.frame(peer, true, &frame[1..]),
                    Event::Down { peer } | Event::Ended { peer } => hears.down(peer),
                }
            }
        });
        Endpoint { rpc, peer, asked }
    }

    /// Its first membership.
    fn member(&self) -> MemberId {
        MemberId { node: NodeId(self.peer.0), entry: 1 }
    }
}

/// A member of rank 0, and the one of rank 1.
struct Two {
    seat: Arc<Seat>,
    here: MemberId,
    there: Endpoint,
    _commands: mpsc::UnboundedReceiver<Command>,
}

impl Two {
    async fn new() -> Two {
        let net = MemoryNet::new();
        let (here, there) = (net.endpoint("here"), net.endpoint("there"));
        here.connect(&there.local().addr).await.expect("connected");
        let (here, there) = (Endpoint::new(here), Endpoint::new(there));
        let (tell, commands) = mpsc::unbounded_channel();
        let (rpc, queries) = (Some(Arc::clone(&here.rpc)), Threads::for_queries());
        let home = Home { limit: 100, driver: tell, rpc, queries };
        let seat = Arc::new(Seat::at("group".into(), Arc::new(home)));
        seat.begin(GroupId(7), 1);
        seat.outbox.grant(1000);
        let two = Two { seat, here: here.member(), there, _commands: commands };
        two.install(1);
        two
    }

    /// A view of both begins.
    fn install(&self, number: u64) {
        let member = |id| wire::Member { id, meta: Bytes::new(), nonce: 0, transfer: None };
        let members = vec![member(self.here), member(self.there.member())];
        let view = View::new(&wire::View { number, active: 2, members }, &[], &[], &[]);
        self.seat.installed(view.clone(), Some(self.here));
        self.seat.event(GroupEvent::View(view));
    }

    fn pass(&self) -> JoinHandle<Result<(), GroupError>> {
        let seat = Arc::clone(&self.seat);
        tokio::spawn(async move { pass(&seat, false).await })
    }

    /// The other is asked how far it is, sooner or later.
    async fn asked(&mut self) -> Asked {
        let asked = timeout(Duration::from_secs(30), self.there.asked.recv()).await;
        let asked = asked.expect("asked").expect("here");
        let ask = Ask::Seen { group: "group".to_owned(), member: self.there.member() };
        assert_eq!(asked.ask, ask);
        asked
    }

    fn answer(&self, asked: &Asked, answer: Answer) {
        self.there.rpc.answer(asked.peer, true, asked.id, answer);
    }

    /// The other has applied so many of its own updates in that view.
    fn is_so_far(&self, asked: &Asked, view: u64, count: u64) {
        let cut = Cut { counts: vec![0, count], extent: 0 };
        self.answer(asked, Answer::Seen(Seen::new(1, view, cut)));
    }

    /// What has asked for its place in the order is stable.
    fn ordered(&self) {
        let waiters = self.seat.outbox.take().waiters;
        assert_eq!(waiters.len(), 1);
        for (_, waiter) in waiters {
            let Waiter::Stable(tell) = waiter else { panic!("it waits for stability") };
            tell.send(Ok(Box::new(()))).expect("waited for");
        }
    }

    /// The other's first update is applied here.
    fn applied(&self, view: u64) {
        self.seat.applied(&Delivery {
            group: GroupId(7),
            view,
            sender: self.there.member(),
            rank: 1,
            seq: 0,
            count: 1,
            class: Class::Fifo,
            level: Level::Optimistic,
            position: None,
            time: 0,
            body: Bytes::from_static(&[0; 4]),
        });
    }
}

/// An update that was completed at another member, and is on its way to this one.
#[tokio::test]
async fn what_another_has_is_waited_for() {
    let mut two = Two::new().await;
    let pass = two.pass();
    let asked = two.asked().await;
    two.is_so_far(&asked, 1, 1);
    two.ordered();
    settled().await;
    assert!(!pass.is_finished(), "the update is not here");
    two.applied(1);
    assert_eq!(pass.await.expect("no panic"), Ok(()));
}

#[tokio::test]
async fn a_place_in_the_order_is_waited_for() {
    let mut two = Two::new().await;
    let pass = two.pass();
    let asked = two.asked().await;
    two.is_so_far(&asked, 1, 0);
    settled().await;
    assert!(!pass.is_finished(), "others may have gone on without this member");
    two.ordered();
    assert_eq!(pass.await.expect("no panic"), Ok(()));
}

/// What was completed in the view that has begun meanwhile may not be here.
#[tokio::test]
async fn members_of_a_view_that_comes_in_between_are_asked_again() {
    let mut two = Two::new().await;
    let pass = two.pass();
    let asked = two.asked().await;
    two.is_so_far(&asked, 1, 0);
    settled().await;
    two.install(2);
    two.ordered();
    settled().await;
    assert!(!pass.is_finished(), "nobody has said how far it is in this view");
    let asked = two.asked().await;
    two.is_so_far(&asked, 2, 1);
    settled().await;
    assert!(!pass.is_finished(), "the update is not here");
    two.applied(2);
    assert_eq!(pass.await.expect("no panic"), Ok(()));
}

#[tokio::test]
async fn whoever_cannot_say_now_how_far_it_is_is_asked_again() {
    let mut two = Two::new().await;
    let pass = two.pass();
    settled().await;
    two.ordered();
    for no in [Answer::busy(), Answer::NoSuchGroup, Answer::NotUnderstood] {
        let asked = two.asked().await;
        two.answer(&asked, no);
        settled().await;
        assert!(!pass.is_finished(), "it is not gone");
    }
    let asked = two.asked().await;
    two.is_so_far(&asked, 1, 0);
    assert_eq!(pass.await.expect("no panic"), Ok(()));
}

/// What it waits for would never come.
#[tokio::test]
async fn whose_membership_ends_while_others_are_asked_is_told_why() {
    for excluded in [true, false] {
        let mut two = Two::new().await;
        let pass = two.pass();
        let _asked = two.asked().await;
        two.ordered();
        settled().await;
        let (event, why) = if excluded {
            two.seat.vacate();
            (GroupEvent::Excluded, GroupError::Unknown(Unknown::Excluded))
        } else {
            two.seat.close();
            let why = "left".to_owned();
            (GroupEvent::Closed { why }, GroupError::NotApplied(NotApplied::Closed))
        };
        two.seat.event(event);
        assert_eq!(pass.await.expect("no panic"), Err(why));
    }
}

/// Neither gone nor so far.
#[tokio::test]
async fn a_question_that_comes_to_nothing_is_no_answer() {
    let asking = tokio::spawn(std::future::pending());
    asking.abort();
    let (told, mut all) = (asking.await, Seen::default());
    let interrupted = Err(GroupError::Unknown(Unknown::Interrupted));
    assert_eq!(raise(&mut all, told), interrupted);
    let seen = Seen::new(1, 1, Cut { counts: vec![1], extent: 0 });
    assert_eq!(raise(&mut all, Ok(Some(seen.clone()))), Ok(()));
    assert_eq!((raise(&mut all, Ok(None)), all), (Ok(()), seen));
}

/// Who is at work for the others does it in a runtime that ends.
#[tokio::test]
async fn work_that_is_lost_is_told_as_such() {
    let elsewhere = || Builder::new_multi_thread().worker_threads(1).build().expect("a runtime");
    let seat = |runtime: &Runtime| {
        let _entered = runtime.enter();
        let rpc = Rpc::new(Arc::new(MemoryNet::new().endpoint("here")), None);
        let (driver, rpc) = (mpsc::unbounded_channel().0, Some(Arc::new(rpc)));
        let home = Home { limit: 100, driver, rpc, queries: Threads::for_queries() };
        let seat = Arc::new(Seat::at("group".into(), Arc::new(home)));
        let id = MemberId { node: NodeId(1), entry: 1 };
        let member = wire::Member { id, meta: Bytes::new(), nonce: 0, transfer: None };
        let view = wire::View { number: 1, active: 1, members: vec![member] };
        seat.installed(View::new(&view, &[], &[], &[]), Some(id));
        seat
    };
    let interrupted = Err(GroupError::Unknown(Unknown::Interrupted));
    let runtime = elsewhere();
    let here = seat(&runtime);
    runtime.shutdown_background();
    assert_eq!(pass(&here, false).await, interrupted, "it has ended before");
    here.close();
    let closed = Err(GroupError::NotApplied(NotApplied::Closed));
    assert_eq!(pass(&here, false).await, closed, "and so has the membership");
    let runtime = elsewhere();
    let here = seat(&runtime);
    let waiting = tokio::spawn({
        let here = Arc::clone(&here);
        async move { pass(&here, false).await }
    });
    let begun = async {
        while here.outbox.in_line() == 0 {
            yield_now().await;
        }
    };
    timeout(Duration::from_secs(30), begun).await.expect("it asks for a place");
    runtime.shutdown_background();
    assert_eq!(waiting.await.expect("no panic"), interrupted, "it has ended meanwhile");
}
