//! Requests at a simulated member: the handlers that run there, and those who wait for answers.
//! What they stand on is what a node has, the runtime excepted: here they are polled in virtual
//! time.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, ThreadId};

use tokio::sync::{mpsc, oneshot, watch};
use vsync_core::engine::Delivery;
use vsync_core::wire::{Cut, MemberId, Micros};

use crate::Replicated;
use crate::runtime::Command;
use crate::runtime::attempts::{Attempts, Begun, Stand};
use crate::runtime::callers::{Callers, Told, Waiter};
use crate::runtime::inner::{Inner, Sending};
use crate::runtime::outbox::{Parcel, Tell};
use crate::runtime::pending::{Name, Pending, Wanted};
use crate::runtime::replica::Shared;
use crate::runtime::seat::Seat;
use crate::runtime::sessions::{Committed, Recorded};
use crate::testing::check::{Failure, Kind};
use crate::testing::stage::{GROUP, guarded};
use crate::view::View;
use crate::watch::{Seen, watch};

/// Most bytes of an update of a request.
const LIMIT: usize = 1 << 16;

/// What a member has for requests.
pub(super) struct Serving<S: Replicated> {
    tasks: Vec<Task>,
    attempts: Attempts<S>,
    shared: Arc<Shared<S>>,
    stand: Arc<Stand>,
    commands: mpsc::UnboundedReceiver<Command>,
    callers: Callers,
}

/// Something that is polled.
struct Task {
    doing: Doing,
    future: Pin<Box<dyn Future<Output = Option<Committed>> + Send>>,
    woken: Arc<Woken>,
    /// Not before.
    at: u64,
}

/// What a task is.
enum Doing {
    Handler {
        words: String,
        over: watch::Receiver<bool>,
        waits: Arc<AtomicUsize>,
    },
    /// Somebody who waits for the answer to the request of this number.
    Client(usize),
}

/// Whether a task is to be polled, and whether it was woken by what no simulation can hold.
struct Woken {
    now: AtomicBool,
    elsewhere: AtomicBool,
    thread: ThreadId,
}

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        if thread::current().id() != self.thread {
            self.elsewhere.store(true, Ordering::Relaxed);
        }
        self.now.store(true, Ordering::Relaxed);
    }
}

/// What came of polling.
#[derive(Default)]
pub(super) struct Polled {
    /// Whether there was anything to poll.
    pub(super) any: bool,
    /// What clients have heard, by the numbers of their requests.
    pub(super) heard: Vec<(usize, Option<Committed>)>,
}

impl Task {
    fn new(
        doing: Doing,
        at: u64,
        future: impl Future<Output = Option<Committed>> + Send + 'static,
    ) -> Task {
        let (now, elsewhere) = (AtomicBool::new(true), AtomicBool::new(false));
        let woken = Arc::new(Woken { now, elsewhere, thread: thread::current().id() });
        Task { doing, future: Box::pin(future), woken, at }
    }

    fn words(&self) -> &str {
        match &self.doing {
            Doing::Handler { words, .. } => words,
            Doing::Client(_) => "a request",
        }
    }

    fn is_over(&self) -> bool {
        matches!(&self.doing, Doing::Handler { over, .. } if *over.borrow())
    }

    /// Whether it waits for something that will never come here.
    fn outside(&self) -> Option<Failure> {
        let Doing::Handler { words, waits, .. } = &self.doing else { return None };
        let elsewhere = self.woken.elsewhere.load(Ordering::Relaxed);
        let waits = self.woken.now.load(Ordering::Relaxed) || waits.load(Ordering::Relaxed) > 0;
        (elsewhere || !waits).then(|| outside(words, "it waits for something else than the group"))
    }
}

/// What has passed is the same where it arrives.
pub(super) fn travelled(words: &str, seen: &Seen) -> Result<(), Failure> {
    let Some(broken) = seen.broken.first() else { return Ok(()) };
    let report = format!("the answer to {words} does not survive the wire: {broken}");
    Err(Failure::new(Kind::Wire, report))
}

/// A handler does what cannot be simulated.
pub(super) fn outside(words: &str, why: &str) -> Failure {
    let report = format!(
        "the handler of {words} cannot be simulated: {why}.\nA simulation passes in its own time, \
         and is a function of its seed: it has no timers, tasks, threads, files and sockets. Let \
         the test put something in their place, or do not draw this request."
    );
    Failure::new(Kind::Outside, report)
}

impl<S: Replicated> Serving<S> {
    /// At a node that brings `local`.
    pub(super) fn new(local: S) -> Serving<S> {
        let (driver, commands) = mpsc::unbounded_channel();
        let seat = Arc::new(Seat::new("simulated".into(), LIMIT, driver));
        seat.begin(GROUP, 1);
        // What may be sent is looked at when it is.
        seat.outbox.grant(u64::from(u32::MAX));
        let shared = Arc::new(Shared::new(seat, local));
        let stand = Arc::new(Stand::default());
        let attempts = Attempts::at(&shared, &stand);
        let (tasks, callers) = (Vec::new(), Callers::default());
        Serving { tasks, attempts, shared, stand, commands, callers }
    }

    fn seat(&self) -> &Seat {
        &self.shared.seat
    }

    /// A view was installed.
    pub(super) fn installed(
        &mut self,
        view: &View,
        me: Option<MemberId>,
        pending: &mut Pending,
        wall: Micros,
    ) {
        self.stand.is(wall);
        self.callers.installed(view.number());
        self.shared.seat.installed(view.clone(), me);
        self.attempts.hand_over(pending, &self.shared.seat, view);
    }

    /// A range was applied.
    pub(super) fn delivered(&mut self, range: &Delivery, pending: &mut Pending, wall: Micros) {
        self.stand.is(wall);
        self.seat().applied(range);
        self.callers.flush_anew();
        self.callers.settle();
        if pending.has_news() {
            self.attempts.follow(pending, &self.shared.seat, range.rank);
        }
    }

    /// Updates were submitted.
    pub(super) fn submitted(&mut self, count: u64, waiters: Vec<(u64, Waiter)>) {
        self.callers.submitted(count, waiters);
    }

    /// Submitted updates got their numbers.
    pub(super) fn sent(&mut self, view: u64, seq: u64, count: u64) {
        self.callers.sent(view, seq, count);
    }

    /// Whether somebody waits for what the own update of this number gives.
    pub(super) fn wants(&self, view: u64, seq: u64) -> bool {
        self.callers.all_wanted(view, seq, seq + 1).next().is_some()
    }

    /// An own update was applied that somebody waits for.
    pub(super) fn gave(&mut self, view: u64, seq: u64, told: Told) {
        use crate::runtime::callers::Takes;
        self.callers.delivered(view, seq, told);
    }

    /// A cut is stable.
    pub(super) fn stable(&mut self, view: u64, cut: &Cut, rank: usize) {
        self.callers.stable(view, cut.count(rank));
        self.seat().stable(view, cut.clone());
        if let Some(desk) = self.seat().has_desk() {
            desk.stable(&self.seat().status().stable.clone());
        }
    }

    /// A flush is done.
    pub(super) fn flushed(&mut self, id: u64) {
        self.callers.flushed(id);
    }

    /// The flushes that are to be asked for.
    pub(super) fn flushes(&mut self) -> Vec<u64> {
        let mut ids = Vec::new();
        while let Ok(command) = self.commands.try_recv() {
            if let Command::Flush { tell, .. } = command {
                ids.extend(self.callers.flush(tell));
            }
        }
        ids
    }

    /// What is to be sent, if that is no more than this.
    pub(super) fn parcel(&mut self, credit: u64) -> Option<Parcel> {
        let bytes = self.seat().outbox.bytes();
        (bytes > 0 && bytes as u64 <= credit).then(|| self.seat().outbox.take())
    }

    /// The handlers that have begun.
    pub(super) fn begun(&mut self) -> Vec<Begun> {
        self.stand.take()
    }

    /// Lets a handler run, from `at` on.
    pub(super) fn run(&mut self, begun: Begun, words: String, at: u64) {
        let Begun { run, over, waits, .. } = begun;
        let doing = Doing::Handler { words, over, waits };
        let future = async move {
            run.await;
            None
        };
        self.tasks.push(Task::new(doing, at, future));
    }

    /// Somebody asks at this member.
    pub(super) fn ask(&mut self, number: usize, wanted: Wanted, at: u64) {
        let asks = ask(Arc::clone(&self.shared), wanted);
        self.tasks.push(Task::new(Doing::Client(number), at, asks));
    }

    /// The requests whose answers somebody waits for here.
    pub(super) fn asking(&self) -> impl Iterator<Item = usize> {
        self.tasks.iter().filter_map(|task| match task.doing {
            Doing::Client(number) => Some(number),
            Doing::Handler { .. } => None,
        })
    }

    /// When the next task is to be polled that waits for its time.
    pub(super) fn next(&self, now: u64) -> Option<u64> {
        self.tasks.iter().map(|task| task.at).filter(|at| *at > now).min()
    }

    /// Polls each task that is to be polled once. Meanwhile it has the state.
    pub(super) fn poll(&mut self, now: u64, state: &mut Option<S>) -> Result<Polled, Failure> {
        let mut polled = Polled::default();
        let mut at = 0;
        while at < self.tasks.len() {
            let task = &mut self.tasks[at];
            if task.is_over() {
                self.tasks.remove(at);
                continue;
            }
            at += 1;
            if task.at > now || !task.woken.now.swap(false, Ordering::Relaxed) {
                continue;
            }
            polled.any = true;
            drop(self.shared.exchange(state.take()));
            let waker = Waker::from(Arc::clone(&task.woken));
            let poll = || task.future.as_mut().poll(&mut Context::from_waker(&waker));
            let (ready, seen) = watch(|| guarded("a handler", poll));
            *state = self.shared.exchange(None);
            travelled(task.words(), &seen)?;
            match ready? {
                Poll::Pending => task.outside().map_or(Ok(()), Err)?,
                Poll::Ready(heard) => {
                    at -= 1;
                    if let Doing::Client(number) = self.tasks.remove(at).doing {
                        polled.heard.push((number, heard));
                    }
                }
            }
        }
        Ok(polled)
    }
}

/// Has a request ordered and waits for what comes of it, as a member does for a client.
async fn ask<S: Replicated>(shared: Arc<Shared<S>>, wanted: Wanted) -> Option<Committed> {
    let seat = &shared.seat;
    let mut waiting = seat.desk().wait(Name::from(&wanted.id));
    let (tell, listen) = oneshot::channel();
    let Sending { method, update } = Inner::Request(Box::new(wanted)).sending(false)?;
    drop(seat.outbox.leave_inner(method, &update, Some(Tell::Answer(Waiter::Stable(tell)))));
    let committed = listen.await.ok()?.ok()?.downcast::<Committed>().ok()?;
    match *committed {
        Committed::Pending => waiting.outcome().await.map(Committed::Recorded),
        other => Some(other),
    }
}

/// What is wrong with a request that has ended so.
pub(super) fn wrong(words: &str, recorded: &Recorded) -> Option<Failure> {
    let fails = |kind, why: String| Some(Failure::new(kind, format!("{words} {why}")));
    match recorded {
        Recorded::Result(_) | Recorded::Late | Recorded::Cancelled => None,
        Recorded::HandlerPanicked(text) if text.contains("Tokio 1.x") => {
            Some(outside(words, "it needs tokio's runtime"))
        }
        Recorded::HandlerPanicked(text) => {
            fails(Kind::Panicked, format!("ends without an answer: its handler panicked: {text}"))
        }
        Recorded::Panicked(text) => {
            fails(Kind::Panicked, format!("ends half way: an update of it panicked: {text}"))
        }
        Recorded::Unencodable(why) => {
            fails(Kind::Wire, format!("has an answer that does not encode: {why}"))
        }
        Recorded::TooLarge(size) => {
            fails(Kind::Request, format!("has an answer of {size} bytes, which is not kept"))
        }
        Recorded::NotApplied(why) => fails(Kind::Request, format!("ends without effect: {why}")),
    }
}
