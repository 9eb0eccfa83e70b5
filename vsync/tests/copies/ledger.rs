//! What is asked here: two sums that are always equal, and a gate at each member behind which a
//! query stays until a test lets it go on.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use tokio::sync::Semaphore;
use vsync::testing::Cluster;
use vsync::{QueryCtx, replicated};

pub(crate) use crate::patience::within;

/// Shut until it is opened, for all copies of it at once.
#[derive(Clone, Debug)]
pub(crate) struct Gate(Arc<Inside>);

#[derive(Debug)]
struct Inside {
    open: (Mutex<bool>, Condvar),
    come: Semaphore,
    /// How many have come to it, and how many copies of the state were made.
    came: AtomicUsize,
    copies: AtomicUsize,
    brittle: AtomicBool,
}

impl Default for Gate {
    fn default() -> Self {
        let (come, came, copies) = (Semaphore::new(0), AtomicUsize::new(0), AtomicUsize::new(0));
        let open = (Mutex::new(false), Condvar::new());
        Gate(Arc::new(Inside { open, come, came, copies, brittle: AtomicBool::new(false) }))
    }
}

impl Gate {
    fn pass(&self) {
        self.0.came.fetch_add(1, Ordering::SeqCst);
        self.0.come.add_permits(1);
        let (open, opened) = &self.0.open;
        let open = open.lock().expect("not poisoned");
        let limit = Duration::from_secs(30);
        let waited = opened.wait_timeout_while(open, limit, |open| !*open).expect("fine");
        assert!(!waited.1.timed_out(), "the gate stayed shut");
    }

    /// Until one more query is behind it.
    pub(crate) async fn come(&self) {
        self.0.come.acquire().await.expect("open").forget();
    }

    pub(crate) fn open(&self) {
        *self.0.open.0.lock().expect("not poisoned") = true;
        self.0.open.1.notify_all();
    }

    pub(crate) fn shut(&self) {
        *self.0.open.0.lock().expect("not poisoned") = false;
    }

    pub(crate) fn came(&self) -> usize {
        self.0.came.load(Ordering::SeqCst)
    }

    pub(crate) fn copies(&self) -> usize {
        self.0.copies.load(Ordering::SeqCst)
    }

    /// From now on a state with it cannot be copied.
    pub(crate) fn breaks(&self, breaks: bool) {
        self.0.brittle.store(breaks, Ordering::SeqCst);
    }
}

/// Two sums.
#[replicated]
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    left: u64,
    right: u64,
    #[local]
    gate: Gate,
}

impl Ledger {
    pub(crate) fn behind(gate: &Gate) -> Ledger {
        Ledger { gate: gate.clone(), ..Ledger::default() }
    }
}

impl Clone for Ledger {
    fn clone(&self) -> Self {
        assert!(!self.gate.0.brittle.load(Ordering::SeqCst), "it cannot be copied");
        self.gate.0.copies.fetch_add(1, Ordering::SeqCst);
        Ledger { gate: self.gate.clone(), ..*self }
    }
}

/// The number of a share, and what it shows.
pub(crate) type Share = (usize, (u64, u64));

fn concat(shares: Vec<Vec<Share>>) -> Vec<Share> {
    shares.concat()
}

#[replicated]
impl Ledger {
    /// Adds to both.
    #[update(order = "total")]
    pub(crate) fn add(&mut self, amount: u64) -> u64 {
        self.left += amount;
        self.right += amount;
        self.left
    }

    /// What there is, now.
    #[query]
    pub(crate) fn total(&self) -> u64 {
        self.left
    }

    /// One sum from before the gate, and one from behind it.
    #[query(snapshot)]
    pub(crate) fn report(&self) -> (u64, u64) {
        let left = self.left;
        self.gate.pass();
        (left, self.right)
    }

    /// The same, at all members.
    #[query(snapshot, scatter, gather = concat)]
    pub(crate) fn reports(&self, ctx: &QueryCtx) -> Vec<Share> {
        vec![(ctx.share_index(), self.report())]
    }

    /// The view at the moment that is read.
    #[query(snapshot)]
    pub(crate) fn size(&self, ctx: &QueryCtx) -> usize {
        self.gate.pass();
        ctx.size()
    }

    /// Cannot be answered.
    #[query(snapshot)]
    pub(crate) fn broken(&self) -> u64 {
        panic!("broken, as it should be")
    }
}

/// Members of one group, and their gates.
pub(crate) struct Members {
    pub(crate) cluster: Cluster,
    pub(crate) handles: Vec<LedgerHandle>,
    pub(crate) gates: Vec<Gate>,
}

impl Members {
    /// Of which each sum is 10.
    pub(crate) async fn new(size: usize) -> Members {
        let cluster = Cluster::new(size).await;
        let mut members = Members { cluster, handles: Vec::new(), gates: Vec::new() };
        for index in 0..size {
            members.join(index).await;
        }
        members.handles[0].add(10).await.expect("stable");
        for handle in &members.handles {
            assert_eq!(handle.total().linearizable().await.expect("read"), 10);
        }
        members
    }

    /// One more.
    pub(crate) async fn join(&mut self, index: usize) {
        let gate = Gate::default();
        let group = self.cluster.node(index).group("ledger");
        self.handles.push(group.join_or_create(Ledger::behind(&gate)).await.expect("a member"));
        self.gates.push(gate);
    }

    /// Updates are stable, and other queries answered, at all members.
    pub(crate) async fn goes_on(&self) {
        for handle in &self.handles {
            let before = handle.total().linearizable().await.expect("read");
            for number in 1..=5 {
                assert_eq!(handle.add(1).await.expect("stable"), before + number);
            }
            for other in &self.handles {
                assert_eq!(other.total().linearizable().await.expect("read"), before + 5);
            }
        }
    }

    pub(crate) fn open(&self) {
        self.gates.iter().for_each(Gate::open);
    }
}
