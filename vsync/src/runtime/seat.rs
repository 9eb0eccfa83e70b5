//! [`Seat`]: one group at this node, as its handles see it.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use tokio::sync::{Notify, broadcast, mpsc, oneshot};
use vsync_core::engine::Delivery;
use vsync_core::wire::{Cut, GroupId};

use super::Command;
use super::callers::{Told, Waiter};
use super::desk::Desk;
use super::inner::Sending;
use super::outbox::{Left, Outbox, Tell};
use super::rpc::Rpc;
use super::stability::Stability;
use crate::Difference;
use crate::barrier::Rounds;
use crate::error::{GroupError, NotApplied, Sight, Unknown};
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
    /// Requests that this node waits for.
    pub(crate) desk: Desk,
    /// Most bytes of one update.
    pub(crate) limit: usize,
    status: Mutex<Status>,
    /// The version of the type that is active in the group; 0 until it is known.
    version: AtomicU32,
    /// The view up to which that is decided.
    decided: AtomicU64,
    /// Once somebody reads them: a node may have thousands of groups that nobody reads.
    events: OnceLock<broadcast::Sender<GroupEvent>>,
    failures: AtomicU64,
    differences: AtomicU64,
    comparisons: AtomicU64,
    driver: mpsc::UnboundedSender<Command>,
    /// How many wait for this node to see more, and what wakes them.
    catching_up: AtomicUsize,
    more: Notify,
    /// The replica keeps updates instead of applying them; so many bytes; and somebody needs it.
    asleep: AtomicBool,
    kept: AtomicUsize,
    called: AtomicBool,
    /// Queries for the latest, which wait together.
    pub(crate) rounds: Rounds,
    /// By which other members are asked; set once.
    pub(crate) rpc: OnceLock<Arc<Rpc>>,
}

/// Where this node stands in the group.
#[derive(Clone, Debug, Default)]
pub(crate) struct Status {
    /// Its number in the directory; `None` while it is not known.
    pub(crate) group: Option<GroupId>,
    pub(crate) generation: u32,
    /// The view as the application has it.
    pub(crate) view: Option<View>,
    pub(crate) me: Option<MemberId>,
    /// What was applied in this view.
    pub(crate) delivered: Cut,
    /// What of it is known to survive.
    pub(crate) stable: Cut,
    /// Where there is no quorum in sight: what is.
    pub(crate) blocked: Option<Sight>,
    /// What is being waited for while this node is no member yet.
    pub(crate) waiting: String,
    /// Why it is over, once it is.
    pub(crate) closed: Option<NotApplied>,
}

/// An update of the runtime's own that is under way, while somebody waits for it. Dropped before
/// its turn has come it gives up its place in line: who asks again and again where there is no
/// quorum leaves nothing there.
#[derive(Debug)]
pub(crate) struct Ordered<'a> {
    seat: &'a Seat,
    /// What is told when it is stable; nothing, if the node ends before.
    listen: oneshot::Receiver<Told>,
    /// Its place in line, if it has to wait for its turn.
    place: Option<u64>,
}

impl Ordered<'_> {
    /// Waits until it is stable.
    pub(crate) async fn told(&mut self) -> Told {
        (&mut self.listen).await.unwrap_or(Err(GroupError::Unknown(Unknown::Closed)))
    }

    /// What is known of it when the time for it is over.
    pub(crate) fn too_late(mut self) -> GroupError {
        let withdrawn = self.withdraw();
        self.seat.too_late(withdrawn)
    }

    fn withdraw(&mut self) -> bool {
        self.place.take().is_some_and(|place| self.seat.outbox.withdraw(place))
    }
}

impl Drop for Ordered<'_> {
    fn drop(&mut self) {
        self.withdraw();
    }
}

impl Seat {
    pub(crate) fn new(
        name: Arc<str>,
        limit: usize,
        driver: mpsc::UnboundedSender<Command>,
    ) -> Seat {
        Seat {
            name,
            outbox: Outbox::default(),
            desk: Desk::default(),
            limit,
            status: Mutex::default(),
            version: AtomicU32::new(0),
            decided: AtomicU64::new(0),
            events: OnceLock::new(),
            failures: AtomicU64::new(0),
            differences: AtomicU64::new(0),
            comparisons: AtomicU64::new(0),
            driver,
            catching_up: AtomicUsize::new(0),
            more: Notify::new(),
            asleep: AtomicBool::new(false),
            kept: AtomicUsize::new(0),
            called: AtomicBool::new(false),
            rounds: Rounds::default(),
            rpc: OnceLock::new(),
        }
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

    /// Leaves an update of the runtime's own, and waits for its answer there.
    ///
    /// # Errors
    /// If it will never be sent.
    pub(crate) fn order(&self, sending: Sending) -> Result<Ordered<'_>, NotApplied> {
        let Sending { method, update } = sending;
        let (tell, listen) = oneshot::channel();
        let tell = Some(Tell::Answer(Waiter::Stable(tell)));
        let left = self.outbox.leave_inner(method, &update, tell);
        if left.wakes() {
            self.wake();
        }
        let place = match left {
            Left::Never(why) => return Err(why),
            Left::InLine { place, .. } => Some(place),
            Left::Taken { .. } => None,
        };
        Ok(Ordered { seat: self, listen, place })
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
        self.catching_up.load(Ordering::SeqCst) > 0 || self.desk.is_waited_for()
    }

    /// Hands a command to the driver; it is dropped, and with it whoever waits for its answer is
    /// told, when the node is gone.
    pub(crate) fn command(&self, command: Command) {
        drop(self.driver.send(command));
    }

    /// When everything delivered and sent here so far is stable.
    pub(crate) fn flush(&self) -> Result<Stability, GroupError> {
        let (tell, listen) = oneshot::channel();
        let status = self.status();
        if let Some(why) = &status.closed {
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
        if self.catching_up.load(Ordering::Relaxed) > 0 {
            self.more.notify_waiters();
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
        // Counted before the status is read, which is written before the count is: who applies
        // either is seen here or sees this.
        self.catching_up.fetch_add(1, Ordering::SeqCst);
        let _count = CatchingUp(&self.catching_up);
        self.rouse();
        loop {
            let mut more = std::pin::pin!(self.more.notified());
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
        status.blocked = None;
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
        self.failures.fetch_add(1, Ordering::Relaxed);
        tracing::error!(group = &*self.name, %why, "an update failed");
    }

    /// How many updates have failed at this replica.
    pub(crate) fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    /// A replica is not like the others.
    pub(crate) fn differs(&self, difference: &Difference) {
        self.differences.fetch_add(1, Ordering::Relaxed);
        tracing::error!(group = &*self.name, %difference, "replicas differ");
        self.event(GroupEvent::Differs(difference.clone()));
    }

    /// How many replicas were found to differ, as far as this node was there.
    pub(crate) fn differences(&self) -> u64 {
        self.differences.load(Ordering::Relaxed)
    }

    /// All replicas were compared, so many times more.
    pub(crate) fn compared(&self, times: u64) {
        self.comparisons.fetch_add(times, Ordering::Relaxed);
    }

    /// How often they were, as far as this node was there.
    pub(crate) fn comparisons(&self) -> u64 {
        self.comparisons.load(Ordering::Relaxed)
    }

    /// What a caller is told whose time is over, and whether what it left will not be sent.
    pub(crate) fn too_late(&self, withdrawn: bool) -> GroupError {
        let blocked = self.status().blocked;
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
        status.blocked = None;
        status.delivered = Cut::default();
        status.stable = Cut::default();
        drop(status);
        self.desk.forget();
    }

    /// There will be no membership any more.
    pub(crate) fn close(&self) {
        self.outbox.close();
        self.vacate();
        self.status().closed = Some(NotApplied::Closed);
    }

    /// Tells the readers of the group's stream.
    pub(crate) fn event(&self, event: GroupEvent) {
        // Nobody may be listening any more.
        drop(self.events.get().map(|events| events.send(event)));
    }

    /// The events from now on.
    pub(crate) fn events(&self) -> broadcast::Receiver<GroupEvent> {
        self.events.get_or_init(|| broadcast::channel(EVENTS).0).subscribe()
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
}
