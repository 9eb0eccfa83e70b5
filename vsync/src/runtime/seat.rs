//! [`Seat`]: one group at this node, as its handles see it.

mod ordered;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use tokio::sync::{Notify, broadcast, mpsc, oneshot};
use vsync_core::engine::Delivery;
use vsync_core::wire::{Cut, GroupId};

use super::Command;
use super::desk::Desk;
use super::outbox::Outbox;
use super::rpc::Rpc;
use super::stability::Stability;
use super::status::Status;
use super::threads::Threads;
use crate::Difference;
use crate::barrier::Rounds;
use crate::error::{GroupError, NotApplied, Unknown};
use crate::group::GroupEvent;
use crate::query_ctx::QueryCtx;
use crate::seen::Seen;
use crate::view::{MemberId, View};

/// How many events of a group a reader of its stream may lag behind.
const EVENTS: usize = 32;

/// What the handles of a group share with the driver, whatever the type of its state.
#[derive(Debug)]
pub(crate) struct Seat {
    pub(crate) name: Arc<str>,
    pub(crate) outbox: Outbox,
    home: Arc<Home>,
    status: Mutex<Status>,
    /// The version of the type that is active in the group; 0 until it is known.
    version: AtomicU32,
    /// The view up to which that is decided.
    decided: AtomicU64,
    /// How many wait for this node to see more.
    catching_up: AtomicUsize,
    /// The replica keeps updates instead of applying them; so many bytes; and somebody needs it.
    asleep: AtomicBool,
    kept: AtomicUsize,
    called: AtomicBool,
    /// Made for the first who needs something of it: a node may have thousands of groups in which
    /// nobody does.
    extras: OnceLock<Box<Extras>>,
}

/// What the handles of most groups never need.
#[derive(Debug, Default)]
struct Extras {
    /// Requests that this node waits for.
    desk: Desk,
    /// Queries for the latest, which wait together.
    rounds: Rounds,
    /// Once somebody reads them.
    events: OnceLock<broadcast::Sender<GroupEvent>>,
    /// What wakes those who wait for this node to see more.
    more: Notify,
    failures: AtomicU64,
    differences: AtomicU64,
    comparisons: AtomicU64,
}

/// What all groups of a node share.
#[derive(Debug)]
pub(crate) struct Home {
    /// Most bytes of one update.
    pub(crate) limit: usize,
    pub(crate) driver: mpsc::UnboundedSender<Command>,
    /// By which other members are asked.
    pub(crate) rpc: Option<Arc<Rpc>>,
    /// Where queries are computed that read a copy of a state.
    pub(crate) queries: Threads,
}

impl Seat {
    /// At a node of its own, from which no other is asked.
    #[cfg(any(test, feature = "testing"))]
    pub(crate) fn new(
        name: Arc<str>,
        limit: usize,
        driver: mpsc::UnboundedSender<Command>,
    ) -> Seat {
        Seat::at(name, Arc::new(Home { limit, driver, rpc: None, queries: Threads::for_queries() }))
    }

    pub(crate) fn at(name: Arc<str>, home: Arc<Home>) -> Seat {
        Seat {
            name,
            outbox: Outbox::default(),
            home,
            status: Mutex::default(),
            version: AtomicU32::new(0),
            decided: AtomicU64::new(0),
            catching_up: AtomicUsize::new(0),
            asleep: AtomicBool::new(false),
            kept: AtomicUsize::new(0),
            called: AtomicBool::new(false),
            extras: OnceLock::new(),
        }
    }

    fn extras(&self) -> &Extras {
        self.extras.get_or_init(Box::default)
    }

    /// The requests that this node waits for, if it ever had to do with any.
    pub(crate) fn has_desk(&self) -> Option<&Desk> {
        self.extras.get().map(|extras| &extras.desk)
    }

    /// The requests that this node waits for, or will.
    pub(crate) fn desk(&self) -> &Desk {
        &self.extras().desk
    }

    /// Queries for the latest, which wait together.
    pub(crate) fn rounds(&self) -> &Rounds {
        &self.extras().rounds
    }

    /// Most bytes of one update.
    pub(crate) fn limit(&self) -> usize {
        self.home.limit
    }

    /// By which other members are asked.
    pub(crate) fn rpc(&self) -> Option<&Arc<Rpc>> {
        self.home.rpc.as_ref()
    }

    /// Where queries are computed that read a copy of a state.
    pub(crate) fn queries(&self) -> &Threads {
        &self.home.queries
    }

    /// Where this node stands.
    pub(crate) fn status(&self) -> MutexGuard<'_, Status> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The version of the type that is active in the group, as far as is known: it only rises.
    pub(crate) fn version(&self) -> Option<u32> {
        Some(self.version.load(Ordering::Relaxed)).filter(|version| *version > 0)
    }

    /// This version is active.
    pub(crate) fn activated(&self, version: u32) {
        self.version.store(version, Ordering::Relaxed);
    }

    /// Which version is active in this view is decided.
    pub(crate) fn decided(&self, view: u64) {
        self.decided.store(view, Ordering::Release);
    }

    /// Whether it is decided which version is active after this view.
    pub(crate) fn is_decided_after(&self, view: u64) -> bool {
        self.decided.load(Ordering::Acquire) > view
    }

    /// Tells the driver that the outbox is no longer empty, or that somebody waits there.
    pub(crate) fn wake(&self) {
        let group = self.status().group;
        if let Some(group) = group {
            self.command(Command::Submit(group));
        }
    }

    /// Callers may leave this many bytes more.
    pub(crate) fn grant(&self, bytes: u64) {
        if self.outbox.grant(bytes) {
            self.wake();
        }
    }

    /// The replica sleeps from now on, or does not.
    pub(crate) fn slept(&self, asleep: bool) {
        self.called.store(false, Ordering::SeqCst);
        self.kept.store(0, Ordering::Relaxed);
        self.asleep.store(asleep, Ordering::SeqCst);
    }

    /// It keeps so many bytes of updates.
    pub(crate) fn keeps(&self, bytes: usize) {
        self.kept.store(bytes, Ordering::Relaxed);
    }

    /// Whether it sleeps, and how many bytes of updates it keeps then.
    pub(crate) fn kept(&self) -> Option<usize> {
        self.asleep.load(Ordering::SeqCst).then(|| self.kept.load(Ordering::Relaxed))
    }

    /// Somebody needs the replica: it is woken, if it sleeps.
    pub(crate) fn rouse(&self) {
        if self.asleep.load(Ordering::SeqCst) && !self.called.swap(true, Ordering::SeqCst) {
            self.wake();
        }
    }

    /// Whether somebody has found it asleep.
    pub(crate) fn is_called(&self) -> bool {
        self.called.load(Ordering::SeqCst)
    }

    /// Whether somebody waits for what is applied next.
    pub(crate) fn is_waited_for(&self) -> bool {
        self.catching_up.load(Ordering::SeqCst) > 0
            || self.has_desk().is_some_and(Desk::is_waited_for)
    }

    /// Hands a command to the driver; it is dropped, and with it whoever waits for its answer is
    /// told, when the node is gone.
    pub(crate) fn command(&self, command: Command) {
        drop(self.home.driver.send(command));
    }

    /// When everything delivered and sent here so far is stable.
    pub(crate) fn flush(&self) -> Result<Stability, GroupError> {
        let (tell, listen) = oneshot::channel();
        let status = self.status();
        if let Some(why) = &status.trouble.closed {
            return Err(GroupError::NotApplied(why.clone()));
        }
        let group = status.group.ok_or(GroupError::NoState)?;
        drop(status);
        self.command(Command::Flush { group, tell });
        Ok(Stability::pending(listen))
    }

    /// When what is applied now is stable; at once where it is already.
    pub(crate) fn applied_stable(&self) -> Result<Stability, GroupError> {
        {
            let status = self.status();
            if status.view.is_some() && status.stable.covers(&status.delivered) {
                return Ok(Stability::ready());
            }
        }
        self.flush()
    }

    /// A range was applied to the state.
    pub(crate) fn applied(&self, range: &Delivery) {
        let mut status = self.status();
        let counts = &mut status.delivered.counts;
        if counts.len() <= range.rank {
            counts.resize(range.rank + 1, 0);
        }
        counts[range.rank] = range.seq + u64::from(range.count);
        if let Some(position) = range.position {
            status.delivered.extent = position + u64::from(range.count);
        }
        drop(status);
        self.tell_of_more();
    }

    /// Wakes whoever waits for more to be seen. Only then it costs more than a look.
    fn tell_of_more(&self) {
        if self.catching_up.load(Ordering::Relaxed) > 0
            && let Some(extras) = self.extras.get()
        {
            extras.more.notify_waiters();
        }
    }

    /// What a query may know that is asked for the share of this number, of so many, just now.
    pub(crate) fn query_ctx(&self, (index, count): (u32, u32)) -> Option<QueryCtx> {
        let status = self.status();
        let view = status.view.as_ref()?;
        let rank = status.me.and_then(|me| view.rank_of(me));
        Some(QueryCtx::new(view.agreed(), rank, index as usize, count as usize))
    }

    /// How far what is applied here goes; `None` while there is no membership.
    pub(crate) fn seen(&self) -> Option<Seen> {
        let status = self.status();
        let view = status.view.as_ref()?;
        let mut delivered = status.delivered.clone();
        delivered.counts.resize(view.members().len(), 0);
        Some(Seen::new(status.generation, view.number(), delivered))
    }

    /// Waits until what is applied here has all of `seen` in it.
    pub(crate) async fn has_seen(&self, seen: &Seen) {
        let covers = || self.seen().is_some_and(|here| here.covers(seen));
        if covers() {
            return;
        }
        let extras = self.extras();
        // Made and counted before the status is read, which is written before these are: who
        // applies either is seen here or sees them.
        self.catching_up.fetch_add(1, Ordering::SeqCst);
        let _count = CatchingUp(&self.catching_up);
        self.rouse();
        loop {
            let mut more = std::pin::pin!(extras.more.notified());
            more.as_mut().enable();
            if covers() {
                return;
            }
            more.await;
        }
    }

    /// The group has this number from now on.
    pub(crate) fn begin(&self, group: GroupId, generation: u32) {
        let mut status = self.status();
        status.group = Some(group);
        status.generation = generation;
    }

    /// A view was installed: nothing is delivered in it yet, and everything
    /// before it is stable.
    pub(crate) fn installed(&self, view: View, me: Option<MemberId>) {
        let mut status = self.status();
        status.view = Some(view);
        status.me = me;
        status.set_blocked(None);
        // Nobody has a count yet.
        status.delivered = Cut::default();
        status.stable = Cut::default();
        drop(status);
        self.tell_of_more();
    }

    /// The stable cut of `view` has grown.
    pub(crate) fn stable(&self, view: u64, cut: Cut) {
        let mut status = self.status();
        if status.view.as_ref().is_some_and(|installed| installed.number() == view) {
            status.stable = cut;
        }
    }

    /// An update failed at this replica.
    pub(crate) fn failed(&self, why: &GroupError) {
        self.extras().failures.fetch_add(1, Ordering::Relaxed);
        tracing::error!(group = &*self.name, %why, "an update failed");
    }

    /// How many updates have failed at this replica.
    pub(crate) fn failures(&self) -> u64 {
        self.count(|extras| &extras.failures)
    }

    /// A replica is not like the others.
    pub(crate) fn differs(&self, difference: &Difference) {
        self.extras().differences.fetch_add(1, Ordering::Relaxed);
        tracing::error!(group = &*self.name, %difference, "replicas differ");
        self.event(GroupEvent::Differs(difference.clone()));
    }

    /// How many replicas were found to differ, as far as this node was there.
    pub(crate) fn differences(&self) -> u64 {
        self.count(|extras| &extras.differences)
    }

    /// All replicas were compared, so many times more.
    pub(crate) fn compared(&self, times: u64) {
        if times > 0 {
            self.extras().comparisons.fetch_add(times, Ordering::Relaxed);
        }
    }

    /// How often they were, as far as this node was there.
    pub(crate) fn comparisons(&self) -> u64 {
        self.count(|extras| &extras.comparisons)
    }

    fn count(&self, of: impl FnOnce(&Extras) -> &AtomicU64) -> u64 {
        self.extras.get().map_or(0, |extras| of(extras).load(Ordering::Relaxed))
    }

    /// What a caller is told whose time is over, and whether what it left will not be sent.
    pub(crate) fn too_late(&self, withdrawn: bool) -> GroupError {
        let blocked = self.status().trouble.blocked;
        match (withdrawn, blocked) {
            (true, None) => GroupError::NotApplied(NotApplied::Timeout),
            (true, Some(sight)) => GroupError::NotApplied(sight.into()),
            (false, None) => GroupError::Unknown(Unknown::Timeout),
            (false, Some(sight)) => GroupError::Unknown(sight.into()),
        }
    }

    /// There is no membership now.
    pub(crate) fn vacate(&self) {
        let mut status = self.status();
        status.view = None;
        status.me = None;
        status.set_blocked(None);
        status.delivered = Cut::default();
        status.stable = Cut::default();
        drop(status);
        self.forget_requests();
    }

    /// So many requests does each member coordinate, of so many that are pending.
    pub(crate) fn loaded(&self, loads: &BTreeMap<MemberId, usize>, pending: usize) {
        let desk = if pending > 0 { Some(self.desk()) } else { self.has_desk() };
        if let Some(desk) = desk {
            desk.loaded(loads, pending);
        }
    }

    /// How many requests each member coordinates, and how many are pending.
    pub(crate) fn loads(&self) -> (BTreeMap<MemberId, usize>, usize) {
        self.has_desk().map_or_else(Default::default, Desk::loads)
    }

    /// Whoever waits for requests learns nothing here any more.
    pub(crate) fn forget_requests(&self) {
        if let Some(desk) = self.has_desk() {
            desk.forget();
        }
    }

    /// There will be no membership any more.
    pub(crate) fn close(&self) {
        self.outbox.close();
        // First: whoever finds no view here is told why.
        self.status().trouble.closed = Some(NotApplied::Closed);
        self.vacate();
    }

    /// Tells the readers of the group's stream.
    pub(crate) fn event(&self, event: GroupEvent) {
        // Nobody may be listening any more.
        let events = self.extras.get().and_then(|extras| extras.events.get());
        drop(events.map(|events| events.send(event)));
    }

    /// The events from now on.
    pub(crate) fn events(&self) -> broadcast::Receiver<GroupEvent> {
        let events = &self.extras().events;
        events.get_or_init(|| broadcast::channel(EVENTS).0).subscribe()
    }
}

/// One who waits for this node to see more.
struct CatchingUp<'a>(&'a AtomicUsize);

impl Drop for CatchingUp<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use vsync_core::wire::{self, NodeId};

    use super::*;

    #[test]
    fn what_was_delivered_and_stable_in_a_view_says_nothing_of_the_next() {
        let seat = Seat::new("group".into(), 100, mpsc::unbounded_channel().0);
        let id = MemberId { node: NodeId(1), entry: 1 };
        let member = wire::Member { id, meta: bytes::Bytes::new(), nonce: 0, transfer: None };
        let view = |number| wire::View { number, active: 1, members: vec![member.clone()] };
        for number in [1, 2] {
            seat.installed(View::new(&view(number), &[], &[], &[]), Some(id));
            let none = Cut { counts: vec![0], extent: 0 };
            assert_eq!(seat.seen(), Some(Seen::new(0, number, none)));
            let status = seat.status().clone();
            assert_eq!((status.delivered.total(), status.stable.total()), (0, 0));
            let five = Cut { counts: vec![5], extent: 0 };
            seat.stable(number, five.clone());
            seat.stable(number + 1, Cut::default());
            assert_eq!(seat.status().stable, five);
        }
    }

    /// All of the one before it is here.
    #[tokio::test(start_paused = true)]
    async fn whoever_waits_to_see_more_is_told_of_a_view() {
        let seat = Seat::new("group".into(), 100, mpsc::unbounded_channel().0);
        let view = |number| wire::View { number, active: 0, members: Vec::new() };
        seat.installed(View::new(&view(1), &[], &[], &[]), None);
        let seen = Seen::new(0, 1, Cut { counts: vec![5], extent: 0 });
        let next = async { seat.installed(View::new(&view(2), &[], &[], &[]), None) };
        let both = async { tokio::join!(biased; seat.has_seen(&seen), next) };
        tokio::time::timeout(std::time::Duration::from_secs(1), both).await.expect("told");
    }

    #[test]
    fn what_most_groups_never_need_is_made_for_the_first_who_does() {
        let seat = Seat::new("group".into(), 100, mpsc::unbounded_channel().0);
        let counted = || (seat.failures(), seat.differences(), seat.comparisons());
        seat.loaded(&BTreeMap::new(), 0);
        seat.compared(0);
        seat.event(GroupEvent::Excluded);
        seat.tell_of_more();
        seat.vacate();
        assert!(!seat.is_waited_for());
        assert_eq!((counted(), seat.loads()), ((0, 0, 0), (BTreeMap::new(), 0)));
        assert!(seat.extras.get().is_none());
        let id = MemberId { node: NodeId(1), entry: 1 };
        seat.failed(&GroupError::NoState);
        seat.compared(2);
        seat.differs(&Difference { member: id, range: 0..1, here: 1, of: 1 });
        let loads = BTreeMap::from([(id, 1)]);
        seat.loaded(&loads, 1);
        let mut events = seat.events();
        seat.event(GroupEvent::Excluded);
        assert!(matches!(events.try_recv(), Ok(GroupEvent::Excluded)));
        assert_eq!((counted(), seat.loads()), ((1, 1, 2), (loads, 1)));
        seat.vacate();
        assert_eq!((counted(), seat.loads()), ((1, 1, 2), (BTreeMap::new(), 0)));
    }
}
