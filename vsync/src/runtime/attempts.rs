//! [`Attempts`]: the handlers that run at this member.
//!
//! Which ones these are follows from the table of pending requests: those that this member
//! coordinates. They are tasks of their own; what comes of one travels as an update, and the table
//! says whether it was the first. Whoever is no longer chosen, or whose request is over, is
//! stopped.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::{Arc, Weak};
use std::task::Poll;

use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::AbortHandle;

use super::inner::{Inner, Sending};
use super::outbox::Left;
use super::pending::{Entry, Finish, Given, Name, Pending};
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
    running: HashMap<Name, Attempt>,
}

/// One that runs, or is done and waits for its request to be over.
struct Attempt {
    task: AbortHandle,
    /// Tells those parts of the handler that are no task of ours.
    over: watch::Sender<bool>,
}

impl Drop for Attempt {
    fn drop(&mut self) {
        self.over.send_replace(true);
        self.task.abort();
    }
}

impl<S: Replicated> Attempts<S> {
    pub(crate) fn new(shared: &Arc<Shared<S>>) -> Attempts<S> {
        Attempts { shared: Arc::downgrade(shared), running: HashMap::new() }
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
    pub(crate) fn begin(&mut self, name: Name, pending: &Pending, me: MemberId, view: &View) {
        // It may be over already.
        if let Some(entry) = pending.get(&name)
            && Self::is_mine(entry, me, view)
            && !self.running.contains_key(&name)
        {
            self.start(name, entry, view);
        }
    }

    /// A request is over.
    pub(crate) fn end(&mut self, name: &Name) {
        self.running.remove(name);
    }

    /// A view has begun: some may have changed hands.
    pub(crate) fn installed(&mut self, pending: &Pending, me: Option<MemberId>, view: &View) {
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

    fn start(&mut self, name: Name, entry: &Entry, view: &View) {
        // A group may be driven without a runtime, by a simulation.
        let (Some(shared), Ok(runtime)) = (self.shared.upgrade(), Handle::try_current()) else {
            return;
        };
        let (over, watch) = watch::channel(false);
        let ctx = RequestCtx::new(Start {
            group: Group { shared },
            name: name.clone(),
            entry,
            view: view.clone(),
            over: watch,
        });
        let task = runtime.spawn(run::<S>(ctx, name.clone(), entry.call.clone()));
        self.running.insert(name, Attempt { task: task.abort_handle(), over });
    }
}

/// Runs a handler to its end, and sends what comes of it.
async fn run<S: Replicated>(ctx: RequestCtx<S>, name: Name, call: Vec<u8>) {
    // Others that are started with it get their turn first: it may compute for long.
    tokio::task::yield_now().await;
    let given = tokio::select! {
        given = respond::<S>(ctx.clone(), &call) => given,
        ended = ctx.broken() => Given::Ends(ended),
    };
    let seat = ctx.seat();
    let finish = match given {
        Given::Ends(ended) => Finish { name, updates: Vec::new(), given: Given::Ends(ended) },
        given => {
            let (updates, stable) = ctx.take_updates();
            let finish = Finish { name, updates, given };
            return leave(seat, fitting(finish, seat.limit), stable);
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
    // Where it never goes, the membership is over: another member has the request then.
    if let Left::Taken { wake: true } = seat.outbox.leave_inner(method, &update, None) {
        seat.wake();
    }
}
