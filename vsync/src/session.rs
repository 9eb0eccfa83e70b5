//! [`Route`]: what a client knows of one group: whom to ask, what it has seen, and its session.

use std::collections::{BTreeSet, HashMap};
use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio::time::{Duration, Instant};
use vsync_net::PeerInfo;
use xxhash_rust::xxh3::xxh3_64;

use crate::runtime::rpc::Contact;
use crate::runtime::sessions::{REPLIES, RequestId, SessionId};
use crate::seen::Seen;

/// How long a member that has failed is asked after the others.
const MISTRUST: Duration = Duration::from_secs(5);

/// What a client knows of one group. All its handles of the group share it.
#[derive(Debug, Default)]
pub(crate) struct Route {
    known: Mutex<Known>,
    /// Held while a session is being opened: one is enough.
    pub(crate) opening: tokio::sync::Mutex<()>,
    /// Held while the members are being asked for.
    asking: tokio::sync::Mutex<()>,
    /// How often they were.
    asked: AtomicU64,
}

#[derive(Debug, Default)]
struct Known {
    members: Vec<Contact>,
    /// The view that the members are from.
    place: (u32, u64),
    /// The member that answers this client now.
    gateway: Option<PeerInfo>,
    /// When members have failed.
    failed: HashMap<u64, Instant>,
    seen: Seen,
    session: Option<Arc<Session>>,
}

impl Route {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whom to ask first, if somebody has answered.
    pub(crate) fn gateway(&self) -> Option<PeerInfo> {
        self.known().gateway.clone()
    }

    /// Whether the group has changed since its members were asked for.
    pub(crate) fn is_old(&self) -> bool {
        let known = self.known();
        known.members.is_empty() || known.place < known.seen.place()
    }

    /// Asks for the members, if nobody does: who finds that it is being done waits until it is, and
    /// has as much of it.
    pub(crate) async fn once<T>(&self, asking: impl Future<Output = Option<T>>) -> Option<T> {
        let before = self.asked.load(Ordering::Relaxed);
        let turn = self.asking.lock().await;
        if self.asked.load(Ordering::Relaxed) != before {
            return None;
        }
        let answer = asking.await;
        self.asked.fetch_add(1, Ordering::Relaxed);
        drop(turn);
        answer
    }

    /// These are the members now. Whom to ask is chosen anew, so that joiners get their share.
    pub(crate) fn learn(&self, members: Vec<Contact>) {
        let mut known = self.known();
        known.place = known.seen.place();
        known.failed.retain(|_, at| at.elapsed() < MISTRUST);
        known.members = members;
        known.gateway = None;
    }

    /// The members in the order in which `client` had better ask them: by rendezvous hash, which
    /// spreads clients evenly and moves few of them when members change; those that have just
    /// failed last.
    pub(crate) fn ranked(&self, client: u64, group: &str) -> Vec<Contact> {
        let known = self.known();
        let mut members = known.members.clone();
        members.sort_by_key(|member| {
            let failed = known.failed.get(&member.node);
            let mistrusted = failed.is_some_and(|at| at.elapsed() < MISTRUST);
            (mistrusted, weight(client, group, member.node))
        });
        members
    }

    /// This member has answered.
    pub(crate) fn answered(&self, member: PeerInfo) {
        let mut known = self.known();
        known.failed.remove(&member.id.0);
        known.gateway = Some(member);
    }

    /// This member has not.
    pub(crate) fn failed(&self, node: u64) {
        let mut known = self.known();
        known.failed.insert(node, Instant::now());
        if known.gateway.as_ref().is_some_and(|gateway| gateway.id.0 == node) {
            known.gateway = None;
        }
    }

    /// How far this client has seen.
    pub(crate) fn seen(&self) -> Seen {
        self.known().seen.clone()
    }

    /// It has seen so far.
    pub(crate) fn raise(&self, seen: &Seen) {
        self.known().seen.raise(seen);
    }

    /// The session, if one is open.
    pub(crate) fn session(&self) -> Option<Arc<Session>> {
        self.known().session.clone()
    }

    /// A session was opened.
    pub(crate) fn opened(&self, id: SessionId) {
        self.known().session = Some(Arc::new(Session::new(id)));
    }

    /// The group knows this session no more.
    pub(crate) fn expired(&self, id: SessionId) {
        let mut known = self.known();
        if known.session.as_ref().is_some_and(|session| session.id == id) {
            known.session = None;
        }
    }
}

fn weight(client: u64, group: &str, node: u64) -> u64 {
    let bytes = [&client.to_le_bytes()[..], &node.to_le_bytes(), group.as_bytes()].concat();
    xxh3_64(&bytes)
}

/// A session of this client with one group: it numbers requests.
#[derive(Debug)]
pub(crate) struct Session {
    id: SessionId,
    numbers: Mutex<Numbers>,
    /// Tells who waits for a number.
    free: Notify,
}

#[derive(Debug)]
struct Numbers {
    next: u64,
    /// Those that may still be asked for.
    open: BTreeSet<u64>,
}

impl Session {
    pub(crate) fn new(id: SessionId) -> Session {
        let numbers = Mutex::new(Numbers { next: 1, open: BTreeSet::new() });
        Session { id, numbers, free: Notify::new() }
    }

    pub(crate) fn id(&self) -> SessionId {
        self.id
    }

    fn numbers(&self) -> MutexGuard<'_, Numbers> {
        self.numbers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A number for one request. Waits while the group would have to keep too many replies.
    pub(crate) async fn ticket(self: Arc<Session>) -> Ticket {
        loop {
            let mut free = std::pin::pin!(self.free.notified());
            free.as_mut().enable();
            if let Some(number) = self.numbers().take() {
                return Ticket { session: Arc::clone(&self), number };
            }
            free.await;
        }
    }
}

impl Numbers {
    fn take(&mut self) -> Option<u64> {
        if self.next - self.first() >= REPLIES as u64 {
            return None;
        }
        let number = self.next;
        self.next += 1;
        self.open.insert(number);
        Some(number)
    }

    /// The first that may still be asked for.
    fn first(&self) -> u64 {
        self.open.first().copied().unwrap_or(self.next)
    }
}

/// The number of one request, until its client asks for it no more.
#[derive(Debug)]
pub(crate) struct Ticket {
    session: Arc<Session>,
    number: u64,
}

impl Ticket {
    /// The session's.
    pub(crate) fn session(&self) -> SessionId {
        self.session.id
    }

    /// The request's name, and what is acknowledged by now.
    pub(crate) fn id(&self) -> RequestId {
        let acknowledged = self.session.numbers().first() - 1;
        RequestId::Numbered { session: self.session.id, number: self.number, acknowledged }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.session.numbers().open.remove(&self.number);
        self.session.free.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contact(node: u64) -> Contact {
        Contact { node, address: format!("n{node}") }
    }

    fn first_of(route: &Route, client: u64) -> u64 {
        route.ranked(client, "bank")[0].node
    }

    #[test]
    fn clients_spread_and_few_of_them_move() {
        let route = Route::default();
        route.learn((0..4).map(contact).collect());
        let before: Vec<_> = (0..1000).map(|client| first_of(&route, client)).collect();
        for node in 0..4 {
            let share = before.iter().filter(|first| **first == node).count();
            assert!((200..300).contains(&share), "{share} at {node}");
        }
        route.learn((0..5).map(contact).collect());
        let moved: Vec<_> = (0..1000).map(|client| first_of(&route, client)).collect();
        for (before, after) in before.iter().zip(&moved) {
            assert!(before == after || *after == 4, "only to the joiner");
        }
        assert!(moved.contains(&4));
    }

    #[test]
    fn who_has_failed_is_asked_last_until_it_answers() {
        let route = Route::default();
        route.learn((0..3).map(contact).collect());
        let first = first_of(&route, 9);
        route.failed(first);
        assert_eq!(route.ranked(9, "bank")[2].node, first);
        let id = vsync_net::PeerId(first);
        let info = PeerInfo { id, name: String::new(), addr: String::new(), role: 0 };
        route.answered(info);
        assert_eq!(first_of(&route, 9), first);
    }

    #[tokio::test]
    async fn members_are_asked_for_by_one_of_those_that_want_to_know() {
        let (route, times) = (Route::default(), AtomicU64::new(0));
        let asking = || async {
            tokio::task::yield_now().await;
            times.fetch_add(1, Ordering::Relaxed);
            Some(())
        };
        let all = tokio::join!(route.once(asking()), route.once(asking()), route.once(asking()));
        assert_eq!((all, times.load(Ordering::Relaxed)), ((Some(()), None, None), 1));
        // Who gives up has asked for nobody.
        let given_up = async {
            tokio::select! {
                biased;
                _ = route.once(std::future::pending::<Option<()>>()) => {}
                () = tokio::task::yield_now() => {}
            }
        };
        let all = tokio::join!(given_up, route.once(asking()), route.once(asking()));
        assert_eq!((all, times.load(Ordering::Relaxed)), (((), Some(()), None), 2));
        assert_eq!((route.once(asking()).await, times.load(Ordering::Relaxed)), (Some(()), 3));
    }

    #[tokio::test]
    async fn what_is_not_asked_for_any_more_is_acknowledged() {
        let id = SessionId { group: 1, number: 1 };
        let session = Arc::new(Session::new(id));
        let acknowledged = |ticket: &Ticket| match ticket.id() {
            RequestId::Numbered { number, acknowledged, .. } => (number, acknowledged),
            RequestId::Key(_) => unreachable!("numbered"),
        };
        let one = Arc::clone(&session).ticket().await;
        let two = Arc::clone(&session).ticket().await;
        assert_eq!((acknowledged(&one), acknowledged(&two)), ((1, 0), (2, 0)));
        drop(one);
        assert_eq!(acknowledged(&two), (2, 1));
        let three = Arc::clone(&session).ticket().await;
        drop(two);
        assert_eq!(acknowledged(&three), (3, 2));
        let mut more = Vec::new();
        for _ in 1..REPLIES {
            more.push(Arc::clone(&session).ticket().await);
        }
        let waiting = tokio::spawn(Arc::clone(&session).ticket());
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished(), "the group would have to keep more");
        drop(three);
        assert_eq!(waiting.await.expect("a number").number, REPLIES as u64 + 3);
    }
}
