//! Histories of calls that members and clients make at the same time while links break: are there
//! moments, each between a call's beginning and its end, at which one register would have given
//! the same answers?

use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use stateright::semantics::register::{Register, RegisterOp, RegisterRet};
use stateright::semantics::{ConsistencyTester, LinearizabilityTester};
use vsync::replicated;
use vsync::testing::Cluster;

/// Two registers: all write the one; the first member writes the other, by fifo updates.
#[replicated]
#[derive(Debug, Default)]
struct Registers {
    total: u64,
    fifo: u64,
}

#[replicated]
impl Registers {
    #[update(order = "total")]
    fn set(&mut self, value: u64) {
        self.total = value;
    }

    #[update(order = "fifo")]
    fn put(&mut self, value: u64) {
        self.fifo = value;
    }

    #[query]
    fn total(&self) -> u64 {
        self.total
    }

    #[query]
    fn fifo(&self) -> u64 {
        self.fifo
    }
}

type Tester = LinearizabilityTester<u64, Register<u64>>;

/// What was called and what came of it, of one register.
#[derive(Clone)]
struct History(Arc<Mutex<Tester>>);

impl History {
    fn new(initial: u64) -> History {
        History(Arc::new(Mutex::new(Tester::new(Register(initial)))))
    }

    /// One call; `false` where nobody knows what came of it. It may take effect at any time then.
    async fn call(
        &self,
        caller: u64,
        op: RegisterOp<u64>,
        done: impl Future<Output = Option<RegisterRet<u64>>>,
    ) -> bool {
        self.0.lock().expect("not poisoned").on_invoke(caller, op).expect("one at a time");
        let Some(ret) = done.await else { return false };
        self.0.lock().expect("not poisoned").on_return(caller, ret).expect("it was called");
        true
    }

    async fn write(&self, caller: u64, value: u64, done: impl Future<Output = bool>) -> bool {
        let done = async { done.await.then_some(RegisterRet::WriteOk) };
        self.call(caller, RegisterOp::Write(value), done).await
    }

    async fn read(&self, caller: u64, done: impl Future<Output = Option<u64>>) -> bool {
        let done = async { done.await.map(RegisterRet::ReadOk) };
        self.call(caller, RegisterOp::Read, done).await
    }

    fn judge(&self) -> Result<(), String> {
        let tester = self.0.lock().expect("not poisoned");
        match tester.is_consistent() {
            true => Ok(()),
            false => Err(format!("no register gives this: {tester:?}")),
        }
    }
}

/// A stream of numbers that follows from its first.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 33) % limit
    }
}

const LIMIT: Duration = Duration::from_secs(20);
const CALLS: u64 = 4;
const ROUNDS: u64 = 100;

/// What one caller does in a round: its number is that of no other caller of the round.
async fn member(member: RegistersHandle, first: u64, mut dice: Dice, both: (History, History)) {
    let mut caller = first;
    for call in 0..CALLS {
        let value = 1 + first * 1000 + call;
        let (total, fifo) = &both;
        let is_first = first == 0;
        let known = match dice.below(4) {
            0 if is_first => {
                let put = member.put(value).timeout(LIMIT);
                fifo.write(caller, value, async { put.await.is_ok() }).await
            }
            0 | 1 => {
                let set = member.set(value).timeout(LIMIT);
                total.write(caller, value, async { set.await.is_ok() }).await
            }
            2 => {
                let read = member.total().linearizable().timeout(LIMIT);
                total.read(caller, async { read.await.ok() }).await
            }
            _ => {
                let read = member.fifo().linearizable().timeout(LIMIT);
                fifo.read(caller, async { read.await.ok() }).await
            }
        };
        // A call of which nothing is known never ends: whoever goes on is somebody else.
        caller += if known { 0 } else { 100 };
    }
}

/// The same for a client.
async fn client(client: RegistersClient, first: u64, mut dice: Dice, both: (History, History)) {
    let mut caller = first;
    for call in 0..CALLS {
        let value = 1 + first * 1000 + call;
        let (total, fifo) = &both;
        let known = match dice.below(3) {
            0 => {
                let set = client.set(value).timeout(LIMIT);
                total.write(caller, value, async { set.await.is_ok() }).await
            }
            1 => {
                let read = client.total().linearizable().timeout(LIMIT);
                total.read(caller, async { read.await.ok() }).await
            }
            _ => {
                let read = client.fifo().linearizable().timeout(LIMIT);
                fifo.read(caller, async { read.await.ok() }).await
            }
        };
        caller += if known { 0 } else { 100 };
    }
}

async fn members(cluster: &Cluster) -> Vec<RegistersHandle> {
    let mut handles: Vec<RegistersHandle> = Vec::new();
    for node in cluster.nodes() {
        let member = node.group("registers").join_or_create(Registers::default()).await;
        handles.push(member.expect("a member"));
    }
    let mut views = handles[0].group().views();
    while views.next().await.expect("a view").size() != handles.len() {}
    handles
}

/// What is there when nobody calls, and all are members again.
async fn initial(handles: &[RegistersHandle]) -> (u64, u64) {
    let mut views = handles[0].group().views();
    loop {
        let view = views.next().await.expect("a view");
        if view.size() == handles.len() {
            break;
        }
    }
    loop {
        let read = handles[0].total().linearizable().await;
        if let (Ok(total), Ok(fifo)) = (read, handles[0].fifo().linearizable().await) {
            return (total, fifo);
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// A link between two members breaks now and then, for a while.
async fn break_links(cluster: &Cluster, mut dice: Dice) {
    loop {
        let (one, other) = [(0, 1), (0, 2), (1, 2)][dice.below(3) as usize];
        tokio::time::sleep(Duration::from_millis(dice.below(30))).await;
        cluster.cut(one, other);
        tokio::time::sleep(Duration::from_millis(dice.below(30))).await;
        cluster.heal(one, other);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_that_are_made_at_once_are_those_of_one_register() {
    let cluster = Cluster::new(3).await;
    let handles = members(&cluster).await;
    let connected = cluster.client().await.expect("connected");
    let work = async {
        for round in 0..ROUNDS {
            let (total, fifo) = initial(&handles).await;
            let both = (History::new(total), History::new(fifo));
            let mut working = tokio::task::JoinSet::new();
            for (first, handle) in handles.iter().enumerate() {
                let dice = Dice(round * 10 + first as u64);
                working.spawn(member(handle.clone(), first as u64, dice, both.clone()));
            }
            for first in 3..5 {
                let group = connected.group("registers");
                working.spawn(client(group, first, Dice(round * 10 + first), both.clone()));
            }
            let faults = break_links(&cluster, Dice(round));
            tokio::select! {
                _ = working.join_all() => {}
                () = faults => unreachable!("links break without end"),
            }
            for (one, other) in [(0, 1), (0, 2), (1, 2)] {
                cluster.heal(one, other);
            }
            assert_eq!(both.0.judge(), Ok(()), "total, round {round}");
            assert_eq!(both.1.judge(), Ok(()), "fifo, round {round}");
        }
    };
    tokio::time::timeout(Duration::from_secs(120), work).await.expect("done in time");
}

/// The judge says no to what plain queries may answer, and yes to the same with other queries.
#[tokio::test]
async fn a_plain_query_may_be_refuted() {
    for linearizable in [false, true] {
        let cluster = Cluster::new(3).await;
        let handles = members(&cluster).await;
        cluster.cut(0, 2);
        cluster.cut(1, 2);
        let history = History::new(0);
        let set = async { handles[0].set(1).await.is_ok() };
        assert!(history.write(0, 1, set).await);
        let known = match linearizable {
            false => history.read(2, async { handles[2].total().await.ok() }).await,
            true => {
                let read = handles[2].total().linearizable().timeout(Duration::from_millis(200));
                history.read(2, async { read.await.ok() }).await
            }
        };
        assert_eq!(known, !linearizable, "who cannot know does not say");
        assert_eq!(history.judge().is_ok(), linearizable);
    }
}
