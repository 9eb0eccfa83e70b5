//! [`Desk`]: what this node's handles and clients know of the group's requests.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use tokio::sync::oneshot;
use vsync_core::wire::Cut;

use super::pending::Name;
use super::sessions::Recorded;
use crate::session::Session;
use crate::view::MemberId;

/// Who waits at this node for which requests, and how many each member coordinates.
#[derive(Debug, Default)]
pub(crate) struct Desk {
    /// Once there is something to know.
    state: Mutex<Option<Box<State>>>,
    /// The session in which this node's own handles ask, once one does.
    session: OnceLock<Box<Asking>>,
}

/// A session that is opened when it is needed.
type Asking = tokio::sync::Mutex<Option<Arc<Session>>>;

#[derive(Debug, Default)]
struct State {
    waiting: HashMap<Name, Vec<(u64, oneshot::Sender<Recorded>)>>,
    next: u64,
    /// Outcomes that somebody waits for, and that are not stable yet.
    unstable: VecDeque<Outcome>,
    loads: BTreeMap<MemberId, usize>,
    pending: usize,
}

#[derive(Debug)]
struct Outcome {
    /// The sender's rank, and the update's number in its lane.
    rank: usize,
    seq: u64,
    name: Name,
    recorded: Recorded,
}

/// One who waits, until this is dropped.
#[derive(Debug)]
pub(crate) struct Waiting<'a> {
    desk: &'a Desk,
    name: Name,
    number: u64,
    outcome: oneshot::Receiver<Recorded>,
}

impl Desk {
    /// The session in which this node's own handles ask.
    pub(crate) fn session(&self) -> &Asking {
        self.session.get_or_init(Box::default)
    }

    fn lock(&self) -> MutexGuard<'_, Option<Box<State>>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for what becomes of a request, from now on.
    pub(crate) fn wait(&self, name: Name) -> Waiting<'_> {
        let (tell, outcome) = oneshot::channel();
        let mut state = self.lock();
        let known = state.get_or_insert_default();
        known.next += 1;
        let number = known.next;
        known.waiting.entry(name.clone()).or_default().push((number, tell));
        drop(state);
        Waiting { desk: self, name, number, outcome }
    }

    /// A request is over, by an update that is not stable yet.
    pub(crate) fn ended(&self, rank: usize, seq: u64, name: Name, recorded: Recorded) {
        if let Some(state) = &mut *self.lock()
            && state.waiting.contains_key(&name)
        {
            state.unstable.push_back(Outcome { rank, seq, name, recorded });
        }
    }

    /// Whether anybody waits for what becomes of a request.
    pub(crate) fn is_waited_for(&self) -> bool {
        self.lock().as_ref().is_some_and(|state| !state.waiting.is_empty())
    }

    /// Whether an outcome waits to be stable.
    pub(crate) fn is_waiting(&self) -> bool {
        self.lock().as_ref().is_some_and(|state| !state.unstable.is_empty())
    }

    /// The stable cut has grown.
    pub(crate) fn stable(&self, stable: &Cut) {
        if let Some(state) = &mut *self.lock()
            && !state.unstable.is_empty()
        {
            let inside = |outcome: &Outcome| outcome.seq < stable.count(outcome.rank);
            let (told, left) = std::mem::take(&mut state.unstable).into_iter().partition(inside);
            state.unstable = left;
            state.tell(told);
        }
    }

    /// A view was installed: all that was delivered before is stable.
    pub(crate) fn installed(&self) {
        if let Some(state) = &mut *self.lock() {
            let told = std::mem::take(&mut state.unstable);
            state.tell(told);
        }
    }

    /// There is no membership any more: whoever waits learns nothing here.
    pub(crate) fn forget(&self) {
        if let Some(state) = &mut *self.lock() {
            **state = State { next: state.next, ..State::default() };
        }
    }

    /// So many does each member coordinate, of so many that are pending.
    pub(crate) fn loaded(&self, loads: &BTreeMap<MemberId, usize>, pending: usize) {
        let mut state = self.lock();
        if pending > 0 || state.is_some() {
            let state = state.get_or_insert_default();
            state.loads.clone_from(loads);
            state.pending = pending;
        }
    }

    /// How many each member coordinates, and how many are pending.
    pub(crate) fn loads(&self) -> (BTreeMap<MemberId, usize>, usize) {
        let state = self.lock();
        state.as_ref().map_or_else(Default::default, |state| (state.loads.clone(), state.pending))
    }
}

impl State {
    fn tell(&mut self, outcomes: VecDeque<Outcome>) {
        for Outcome { name, recorded, .. } in outcomes {
            for (_, tell) in self.waiting.remove(&name).into_iter().flatten() {
                // Nobody listens any more where this has no effect.
                drop(tell.send(recorded.clone()));
            }
        }
    }
}

impl Waiting<'_> {
    /// What became of it, once that is stable; `None` if it will not be known here.
    pub(crate) async fn outcome(&mut self) -> Option<Recorded> {
        (&mut self.outcome).await.ok()
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut state = self.desk.lock();
        let Some(state) = &mut *state else { return };
        if let Some(waiting) = state.waiting.get_mut(&self.name) {
            waiting.retain(|(number, _)| *number != self.number);
            if waiting.is_empty() {
                state.waiting.remove(&self.name);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_waits_is_told_when_it_is_stable() {
        let desk = Desk::default();
        let name = Name::Numbered(1, 2);
        let (mut one, mut two) = (desk.wait(name.clone()), desk.wait(name.clone()));
        let mut other = desk.wait(Name::Numbered(1, 3));
        desk.ended(1, 7, name.clone(), Recorded::Late);
        desk.stable(&Cut { counts: vec![99, 7], extent: 0 });
        assert!(one.outcome.try_recv().is_err(), "not yet");
        desk.stable(&Cut { counts: vec![0, 8], extent: 0 });
        assert_eq!(one.outcome().await, Some(Recorded::Late));
        assert_eq!(two.outcome().await, Some(Recorded::Late));
        desk.ended(0, 0, Name::Numbered(1, 3), Recorded::Cancelled);
        desk.installed();
        assert_eq!(other.outcome().await, Some(Recorded::Cancelled));
        let mut last = desk.wait(name.clone());
        desk.forget();
        assert_eq!(last.outcome().await, None);
        drop((one, two, other, last));
        desk.ended(0, 1, name, Recorded::Late);
        let state = desk.lock();
        let state = state.as_ref().expect("there were some");
        assert!(state.waiting.is_empty() && state.unstable.is_empty(), "nothing for nobody");
    }
}
