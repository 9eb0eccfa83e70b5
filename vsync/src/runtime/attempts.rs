//! [`Attempts`]: the handlers that run at this member.
//!
//! Which ones these are follows from the table of pending requests: those that this member
//! coordinates. They are tasks of their own; what comes of one travels as an update, and the table
//! says whether it was the first. Whoever is no longer chosen, or whose request is over, is
//! stopped.

use std::collections::BTreeMap;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::Poll;

use tokio::runtime::Handle;
use tokio::sync::{oneshot, watch};
use tokio::task::AbortHandle;

use vsync_core::wire::Micros;

use super::callers::Waiter;
use super::clock::wall;
use super::inner::{Inner, Sending};
use super::outbox::Tell;
use super::pending::{Entry, Finish, Given, Name, News, Pending};
use super::replica::Shared;
use super::requests::{coordination, text};
use super::seat::Seat;
use super::sessions::Recorded;
use crate::group::Group;
use crate::replicated::Replicated;
use crate::request::{RequestCtx, Start};
use crate::view::{MemberId, View};

/// Bytes of an update of a request beside what it carries.
const AROUND: usize = 512;

/// The handlers that run at this member.
pub(crate) struct Attempts<S: Replicated> {
    shared: Weak<Shared<S>>,
    running: BTreeMap<Name, Attempt>,
    /// Where they are left for somebody else to run; nowhere: they are tasks of the runtime.
    stand: Option<Arc<Stand>>,
}

/// Handlers that somebody else than the runtime runs: a simulation, in its own time.
#[derive(Default)]
pub(crate) struct Stand {
    state: Mutex<Waiting>,
}

#[derive(Default)]
struct Waiting {
    /// What a clock of the wall shows there.
    wall: Micros,
    begun: Vec<Begun>,
}

/// A handler that is to be run.
#[cfg_attr(not(feature = "testing"), expect(dead_code, reason = "simulations run them"))]
pub(crate) struct Begun {
    pub(crate) name: Name,
    pub(crate) attempt: u32,
    /// Whether every member runs it.
    pub(crate) everybody: bool,
    pub(crate) run: Pin<Box<dyn Future<Output = ()> + Send>>,
    /// Whether it is over: then it is to be dropped.
    pub(crate) over: watch::Receiver<bool>,
    /// How many parts of it wait for something of the group's.
    pub(crate) waits: Arc<AtomicUsize>,
}

/// One that runs, or is done and waits for its request to be over.
struct Attempt {
    /// The runtime's task, where it is one.
    task: Option<AbortHandle>,
    /// Tells those parts of the handler that are no task of ours.
    over: watch::Sender<bool>,
}

impl Drop for Attempt {
    fn drop(&mut self) {
        self.over.send_replace(true);
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

impl<S: Replicated> Attempts<S> {
    pub(crate) fn new(shared: &Arc<Shared<S>>) -> Attempts<S> {
        Attempts { shared: Arc::downgrade(shared), running: BTreeMap::new(), stand: None }
    }

    /// Handlers are left there.
    #[cfg(feature = "testing")]
    pub(crate) fn at(shared: &Arc<Shared<S>>, stand: &Arc<Stand>) -> Attempts<S> {
        Attempts { stand: Some(Arc::clone(stand)), ..Attempts::new(shared) }
    }

    /// Whether this member is to run this request.
    fn is_mine(entry: &Entry, me: MemberId, view: &View) -> bool {
        let everybody = || coordination::<S>(&entry.call).0.is_active();
        match entry.chosen {
            Some(chosen) => chosen == me,
            None => everybody() && view.active().iter().any(|member| member.id == me),
        }
    }

    /// A request is pending that was not before.
    fn begin(&mut self, name: Name, pending: &Pending, me: MemberId, view: &View) {
        // It may be over already.
        if let Some(entry) = pending.get(&name)
            && Self::is_mine(entry, me, view)
            && !self.running.contains_key(&name)
        {
            self.start(name, entry, view);
        }
    }

    /// A request is over.
    fn end(&mut self, name: &Name) {
        self.running.remove(name);
    }

    /// A view has begun: some may have changed hands.
    fn installed(&mut self, pending: &Pending, me: Option<MemberId>, view: &View) {
        let Some(me) = me else { return self.stop() };
        let mine =
            |name: &Name| pending.get(name).is_some_and(|entry| Self::is_mine(entry, me, view));
        self.running.retain(|name, _| mine(name));
        for (name, _) in pending.entries() {
            self.begin(name.clone(), pending, me, view);
        }
    }

    /// Stops all.
    pub(crate) fn stop(&mut self) {
        self.running.clear();
    }

    /// Requests have begun or ended, by updates of the member of this rank: their handlers follow,
    /// and whoever waits for them.
    pub(crate) fn follow(&mut self, pending: &mut Pending, seat: &Seat, rank: usize) {
        let (me, view) = {
            let status = seat.status();
            (status.me, status.view.clone())
        };
        for news in pending.take_news() {
            match (news, me, &view) {
                (News::Begun(name), Some(me), Some(view)) => self.begin(name, pending, me, view),
                (News::Begun(_), ..) => {}
                (News::Ended(seq, name, recorded), ..) => {
                    self.end(&name);
                    if let Some(desk) = seat.has_desk() {
                        desk.ended(rank, seq, name, recorded);
                    }
                }
            }
        }
        seat.loaded(pending.loads(), pending.len());
        // What is stable already will not become so again.
        if let Some(desk) = seat.has_desk() {
            let stable = seat.status().stable.clone();
            desk.stable(&stable);
        }
    }

    /// A view has begun: requests of who is gone go to others.
    pub(crate) fn hand_over(&mut self, pending: &mut Pending, seat: &Seat, view: &View) {
        if let Some(desk) = seat.has_desk() {
            desk.installed();
        }
        pending.installed(coordination::<S>, view);
        seat.loaded(pending.loads(), pending.len());
        let me = seat.status().me;
        self.installed(pending, me, view);
    }

    fn start(&mut self, name: Name, entry: &Entry, view: &View) {
        let Some(shared) = self.shared.upgrade() else { return };
        let (over, watch) = watch::channel(false);
        let now = self.stand.as_ref().map_or_else(wall, |stand| stand.lock().wall);
        let ctx = RequestCtx::new(Start {
            group: Group { shared },
            name: name.clone(),
            entry,
            view: view.clone(),
            over: watch.clone(),
            now,
        });
        let waits = ctx.waits();
        let run = run::<S>(ctx, name.clone(), entry.call.clone());
        let task = match (&self.stand, Handle::try_current()) {
            (Some(stand), _) => {
                let (name, run) = (name.clone(), Box::pin(run));
                let (attempt, over) = (entry.attempt, watch);
                let everybody = coordination::<S>(&entry.call).0.is_active();
                let begun = Begun { name, attempt, everybody, run, over, waits };
                stand.lock().begun.push(begun);
                None
            }
            (None, Ok(runtime)) => Some(runtime.spawn(run).abort_handle()),
            (None, Err(_)) => return,
        };
        self.running.insert(name, Attempt { task, over });
    }
}

/// A view has begun of a group in which there never were requests.
pub(crate) fn never(seat: &Seat) {
    if let Some(desk) = seat.has_desk() {
        desk.installed();
        // It may know of some of a group that was given up while its replica was at work.
        desk.loaded(&BTreeMap::new(), 0);
    }
}

impl Stand {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(feature = "testing")]
impl Stand {
    /// It is so late there.
    pub(crate) fn is(&self, wall: Micros) {
        self.lock().wall = wall;
    }

    /// What has begun since this was last asked.
    pub(crate) fn take(&self) -> Vec<Begun> {
        std::mem::take(&mut self.lock().begun)
    }
}

/// Runs a handler to its end, and sends what comes of it.
async fn run<S: Replicated>(ctx: RequestCtx<S>, name: Name, call: Vec<u8>) {
    // Others that are started with it get their turn first: it may compute for long.
    tokio::task::yield_now().await;
    let given = tokio::select! {
        // Always in the same order: a simulated run is a function of its seed.
        biased;
        given = respond::<S>(ctx.clone(), &call) => given,
        ended = ctx.broken() => Given::Ends(ended),
    };
    let seat = ctx.seat();
    let finish = match given {
        Given::Ends(ended) => Finish { name, updates: Vec::new(), given: Given::Ends(ended) },
        given => {
            let (updates, stable) = ctx.take_updates();
            let finish = Finish { name, updates, given };
            return leave(seat, fitting(finish, seat.limit()), stable);
        }
    };
    leave(seat, finish, false);
}

/// The handler, with what it panics with.
async fn respond<S: Replicated>(ctx: RequestCtx<S>, call: &[u8]) -> Given {
    let begin = || S::decode_request(call).map(|request| S::respond(ctx.clone(), request));
    let responding = match catch_unwind(AssertUnwindSafe(begin)) {
        Ok(Ok(responding)) => responding,
        Ok(Err(error)) => return Given::Ends(Recorded::NotApplied(error.to_string())),
        Err(panic) => return Given::Ends(Recorded::HandlerPanicked(text(panic.as_ref()))),
    };
    let mut responding = pin!(responding);
    let polled = std::future::poll_fn(|cx| {
        match catch_unwind(AssertUnwindSafe(|| responding.as_mut().poll(cx))) {
            Ok(Poll::Ready(answer)) => Poll::Ready(Ok(answer)),
            Ok(Poll::Pending) => Poll::Pending,
            Err(panic) => Poll::Ready(Err(text(panic.as_ref()))),
        }
    });
    match polled.await {
        Ok(answer) => ctx.given(answer),
        Err(text) => Given::Ends(Recorded::HandlerPanicked(text)),
    }
}

/// What can travel of it.
fn fitting(finish: Finish, limit: usize) -> Finish {
    let updates: usize = finish.updates.iter().map(|update| update.len() + 8).sum();
    if updates + AROUND > limit {
        let why = format!("its updates have {updates} bytes, the limit is {limit}");
        let given = Given::Ends(Recorded::NotApplied(why));
        return Finish { updates: Vec::new(), given, ..finish };
    }
    match &finish.given {
        Given::Answer(bytes) if updates + bytes.len() + AROUND > limit => {
            let given = Given::Ends(Recorded::TooLarge(bytes.len() as u64));
            Finish { given, ..finish }
        }
        _ => finish,
    }
}

fn leave(seat: &Seat, finish: Finish, stable: bool) {
    let Some(Sending { method, update }) = Inner::Finish(Box::new(finish)).sending(stable) else {
        return;
    };
    // Whoever asked waits, perhaps at another member: it must not be left to gather.
    let tell = Some(Tell::Answer(Waiter::Stable(oneshot::channel().0)));
    // Where it never goes, the membership is over: another member has the request then.
    if seat.outbox.leave_inner(method, &update, tell).wakes() {
        seat.wake();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::sync::mpsc;
    use tokio::time::timeout;
    use vsync_core::wire::{self, NodeId};

    use super::*;
    use crate::directory::Directory;
    use crate::runtime::outbox::Wait;

    /// Nobody here waits for how a request ended, but whoever asked does.
    #[test]
    fn the_end_of_a_request_is_waited_for() {
        let seat = Seat::new("group".into(), 100, mpsc::unbounded_channel().0);
        seat.outbox.grant(1000);
        let name = Name::Numbered(1, 1);
        let given = Given::Answer(Vec::new());
        leave(&seat, Finish { name, updates: Vec::new(), given }, false);
        assert_eq!(seat.outbox.wait(), Wait::Others);
    }

    /// What had ended in the view before is stable, whatever will be in this one.
    #[tokio::test(start_paused = true)]
    async fn whoever_waits_for_what_has_ended_is_told_when_a_view_begins() {
        let seat = Arc::new(Seat::new("group".into(), 100, mpsc::unbounded_channel().0));
        let shared = Arc::new(Shared::new(Arc::clone(&seat), Directory::default()));
        let mut attempts = Attempts::new(&shared);
        let view = wire::View { number: 2, active: 0, members: Vec::new() };
        let view = View::new(&view, &[], &[], &[]);
        let begins: [&mut dyn FnMut(); 2] =
            [&mut || attempts.hand_over(&mut Pending::default(), &seat, &view), &mut || {
                never(&seat)
            }];
        for begin in begins {
            let name = Name::Numbered(1, 1);
            let mut waiting = seat.desk().wait(name.clone());
            seat.desk().ended(0, 5, name, Recorded::Late);
            begin();
            let told = timeout(Duration::from_secs(1), waiting.outcome()).await;
            assert_eq!(told, Ok(Some(Recorded::Late)));
        }
    }

    #[test]
    fn where_there_never_were_requests_the_desk_knows_of_none() {
        let seat = Seat::new("group".into(), 100, mpsc::unbounded_channel().0);
        let me = MemberId { node: NodeId(1), entry: 1 };
        seat.loaded(&BTreeMap::from([(me, 2)]), 2);
        never(&seat);
        assert_eq!(seat.loads(), (BTreeMap::new(), 0));
    }
}
