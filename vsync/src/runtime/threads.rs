//! Threads on which checkpoints are made and loaded, and others on which queries read copies of
//! states. They are not tokio's: of those there are only so many, and users' code may hold all of
//! them for as long as it likes. A query is users' code, too, so checkpoints have threads apart
//! from those.
//!
//! Who makes a checkpoint waits for whoever loads it, and the other way round, and either may be at
//! another node. So a bound on threads could be a deadlock: the threads of two nodes might all
//! make, or load, what the other one has no thread for. What is bounded is not threads, but places:
//!
//! - A place is held by work that computes. Whatever waits for another's work gives its place up
//!   for as long ([`waiting`]): for a piece to load, for a piece to be taken, for a state that
//!   somebody else holds.
//! - So whoever has a place waits for nobody, but for what users' code waits for by itself; and
//!   whoever waits for a place waits for work that computes until it ends or gives its place up. No
//!   cycle of waits goes through a place, however many there are and whatever is queued for them.
//! - The waits that are left are for pieces, within one transfer. A load waits where it has read
//!   all that has come; a donor waits where the slowest of its joiners has not read all that has
//!   come. Both at once cannot be, so they are no cycle either.
//!
//! There are more threads than places: one for each transfer that waits amid a checkpoint. A donor
//! that waits has made as many pieces as may be under way, and a state that is being loaded is here
//! in part, so what is in memory for a transfer is always far more than its thread is.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use tokio::runtime::Handle;

/// Places of checkpoints for each processor: more than one, since a large checkpoint takes seconds,
/// and small ones need not wait for so long.
const EACH: usize = 4;
/// Fewest places of queries. There are as many as processors, so that the driver gets its share of
/// these; with less than two a short query would always wait for a long one.
const QUERIES: usize = 2;

type Work = Box<dyn FnOnce() + Send>;

/// The threads of a node.
#[derive(Clone)]
pub(crate) struct Threads(Arc<Places>);

struct Places {
    /// What its threads are called.
    name: &'static str,
    most: usize,
    state: Mutex<State>,
    /// A place was given up that somebody waits for who had given up his.
    left: Condvar,
}

#[derive(Default)]
struct State {
    /// Places that are held.
    held: usize,
    /// Who wants a place again.
    returning: usize,
    /// With the runtime of whoever wants it, if there is one.
    queue: VecDeque<(Work, Option<Handle>)>,
}

thread_local! {
    /// Where this thread holds a place.
    static HERE: RefCell<Option<Arc<Places>>> = const { RefCell::new(None) };
}

impl Threads {
    pub(crate) fn for_checkpoints() -> Threads {
        Threads::named("vsync-checkpoint", EACH * processors())
    }

    pub(crate) fn for_queries() -> Threads {
        Threads::named("vsync-query", processors().max(QUERIES))
    }

    #[cfg(test)]
    pub(crate) fn of(most: usize) -> Threads {
        Threads::named("vsync-test", most)
    }

    fn named(name: &'static str, most: usize) -> Threads {
        let (state, left) = (Mutex::default(), Condvar::new());
        Threads(Arc::new(Places { name, most, state, left }))
    }

    /// Runs this as soon as there is a place, within the runtime of whoever calls, if there is one.
    pub(crate) fn run(&self, work: impl FnOnce() + Send + 'static) {
        let mut state = self.0.lock();
        state.queue.push_back((Box::new(work), Handle::try_current().ok()));
        self.0.hire(state);
    }
}

fn processors() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

impl fmt::Debug for Threads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Places { name, most, .. } = &*self.0;
        f.debug_struct("Threads").field("name", name).field("most", most).finish_non_exhaustive()
    }
}

/// Waits for what others do, who may be in need of a place: this thread's is given up meanwhile, if
/// it has one.
pub(crate) fn waiting<R>(wait: impl FnOnce() -> R) -> R {
    let places = HERE.with_borrow(Clone::clone);
    let _back = places.map(|places| {
        places.leave();
        Back(places)
    });
    wait()
}

/// Gets a place again.
struct Back(Arc<Places>);

impl Drop for Back {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.returning += 1;
        let full = |state: &mut State| state.held >= self.0.most;
        let waited = self.0.left.wait_while(state, full);
        state = waited.unwrap_or_else(PoisonError::into_inner);
        state.returning -= 1;
        state.held += 1;
    }
}

impl Places {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives up a place: to whoever had one before, or to what is queued.
    fn leave(self: &Arc<Self>) {
        let mut state = self.lock();
        state.held -= 1;
        self.hire(state);
    }

    /// Where there is a place, somebody gets it.
    fn hire(self: &Arc<Self>, mut state: MutexGuard<'_, State>) {
        if state.returning > 0 {
            self.left.notify_one();
        }
        if state.held + state.returning >= self.most {
            return;
        }
        let Some((_, runtime)) = state.queue.front() else { return };
        let runtime = runtime.clone();
        state.held += 1;
        drop(state);
        let places = Arc::clone(self);
        let thread = thread::Builder::new().name(self.name.to_owned());
        if let Err(error) = thread.spawn(move || places.serve()) {
            tracing::warn!(%error, name = self.name, "a thread could not be started");
            let places = Arc::clone(self);
            match runtime {
                // One of tokio's is better than none, and so is this one.
                Some(runtime) => drop(runtime.spawn_blocking(move || places.serve())),
                None => places.serve(),
            }
        }
    }

    /// Does what is queued, with a place, until there is no more or somebody comes back for it.
    fn serve(self: Arc<Self>) {
        let before = HERE.replace(Some(Arc::clone(&self)));
        loop {
            let mut state = self.lock();
            let wanted = state.held + state.returning > self.most;
            let next = if wanted { None } else { state.queue.pop_front() };
            let Some((work, runtime)) = next else {
                state.held -= 1;
                drop(state);
                break self.left.notify_one();
            };
            drop(state);
            let _within = runtime.as_ref().map(Handle::enter);
            if catch_unwind(AssertUnwindSafe(work)).is_err() {
                tracing::error!(name = self.name, "work has panicked untold");
            }
        }
        HERE.set(before);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc::{Receiver, channel};
    use std::time::Duration;

    use super::*;

    fn recv<T>(from: &Receiver<T>) -> T {
        from.recv_timeout(Duration::from_secs(30)).expect("told in time")
    }

    #[tokio::test]
    async fn who_waits_leaves_his_place_to_those_he_waits_for() {
        let threads = Threads::of(1);
        let (done, all) = channel();
        for _ in 0..50 {
            let (tell, told) = channel();
            let done = done.clone();
            threads.run(move || {
                waiting(|| recv(&told));
                let _ = done.send(());
            });
            threads.run(move || tell.send(()).expect("waited for"));
        }
        (0..50).for_each(|_| recv(&all));
    }

    /// Each of two nodes makes what the other one loads, with one place each: the one that was
    /// begun first at either is not the one that was begun first at the other.
    #[tokio::test]
    async fn two_nodes_wait_for_each_other_in_no_order_that_hangs() {
        let nodes = [Threads::of(1), Threads::of(1)];
        let (done, all) = channel();
        for number in 0..20 {
            for (donor, joiner) in [(0, 1), (1, 0)] {
                let (pieces, coming) = channel();
                let (room, taken) = channel();
                let load = move || {
                    for piece in 0..20 {
                        assert_eq!(waiting(|| recv(&coming)), piece);
                        room.send(()).expect("wanted");
                    }
                };
                let make = move || {
                    for piece in 0..20 {
                        pieces.send(piece).expect("wanted");
                        waiting(|| recv(&taken));
                    }
                };
                let told = |done: std::sync::mpsc::Sender<bool>, work: Box<dyn FnOnce() + Send>| {
                    move || {
                        let fine = catch_unwind(AssertUnwindSafe(work)).is_ok();
                        let _ = done.send(fine);
                    }
                };
                let make = told(done.clone(), Box::new(make));
                let load = told(done.clone(), Box::new(load));
                match number % 2 {
                    0 => (nodes[donor].run(make), nodes[joiner].run(load)),
                    _ => (nodes[joiner].run(load), nodes[donor].run(make)),
                };
            }
        }
        (0..80).for_each(|_| assert!(recv(&all)));
    }

    #[tokio::test]
    async fn no_more_compute_at_once_than_there_are_places() {
        let threads = Threads::of(3);
        let (done, all) = channel();
        let at_once = Arc::new((AtomicUsize::new(0), AtomicUsize::new(0)));
        // The first three meet: there are so many places.
        let met = Arc::new(Barrier::new(3));
        for number in 0..40 {
            let (done, at_once, met) = (done.clone(), Arc::clone(&at_once), Arc::clone(&met));
            threads.run(move || {
                let (now, most) = &*at_once;
                for _ in 0..2 {
                    most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    if number < 3 {
                        met.wait();
                    }
                    now.fetch_sub(1, Ordering::SeqCst);
                    waiting(thread::yield_now);
                }
                let _ = done.send(());
            });
        }
        (0..40).for_each(|_| recv(&all));
        assert_eq!(at_once.1.load(Ordering::SeqCst), 3);
    }

    #[tokio::test]
    async fn a_panic_costs_no_place() {
        let threads = Threads::of(1);
        for _ in 0..3 {
            threads.run(|| panic!("at work"));
            threads.run(|| waiting(|| panic!("while waiting")));
        }
        let (done, all) = channel();
        threads.run(move || done.send(Handle::try_current().is_ok()).expect("waited for"));
        assert!(recv(&all), "within the runtime");
    }
}
