//! Requests as they come over the network: twice, late, wrong, from a client that does not read.

use crate::asking::line;
use crate::card::Card;
use crate::group::GroupEvent;
use std::sync::Arc;
use std::time::Duration;

use vsync_net::{PeerId, Transport};

use super::*;
use crate::runtime::replica::schema;
use crate::runtime::rpc::{Ask, LONGEST, Rpc};
use crate::runtime::sessions::{Refusal, RequestId, SessionId};
use crate::testing::Cluster;
use crate::{Replicated, replicated};

/// A number; where it is slow each update takes its time.
#[replicated(crate = "crate")]
#[derive(Debug, Default)]
struct Counter {
    value: u64,
    #[local]
    slow: bool,
}

#[replicated(crate = "crate")]
impl Counter {
    /// Adds.
    #[update(order = "total")]
    fn add(&mut self, amount: u64) -> u64 {
        if self.slow {
            std::thread::sleep(Duration::from_millis(60));
        }
        self.value += amount;
        self.value
    }

    /// The number.
    #[query]
    fn value(&self) -> u64 {
        self.value
    }

    /// Many bytes.
    #[query]
    fn many(&self, bytes: usize) -> Vec<u8> {
        vec![0; bytes]
    }
}

/// A client's end without its logic.
struct Raw {
    transport: Arc<dyn Transport>,
    rpc: Arc<Rpc>,
}

impl Raw {
    /// `reads`: whether it ever takes in what comes.
    fn new(cluster: &Cluster, reads: bool) -> Raw {
        let transport: Arc<dyn Transport> = Arc::new(cluster.net().client("raw"));
        let rpc = Arc::new(Rpc::new(Arc::clone(&transport), None));
        if reads {
            tokio::spawn(crate::client::listen(Arc::clone(&transport), Arc::clone(&rpc)));
        }
        Raw { transport, rpc }
    }

    async fn connect(&self, cluster: &Cluster, node: usize) -> PeerId {
        let address = cluster.node(node).address().to_owned();
        self.transport.connect(&address).await.expect("connected").id
    }

    async fn request(&self, peer: PeerId, request: Request) -> Answer {
        let group = "counter".to_owned();
        let line = line(request.update(), |id| Card::of::<Counter>().update(id));
        let ask = Ask::Request { group, schema: schema::<Counter>(), line, request };
        self.rpc.ask(peer, ask).await.expect("an answer")
    }

    async fn open(&self, peer: PeerId, lease: u64) -> SessionId {
        match self.request(peer, Request::Open(lease)).await {
            Answer::Committed { committed: Committed::Opened(session), .. } => session,
            other => panic!("{other:?}"),
        }
    }

    /// An update that adds so much, under this name.
    async fn add(&self, peer: PeerId, amount: u64, id: RequestId) -> (Committed, Seen) {
        let mut update = Vec::new();
        Counter::encode(&CounterUpdate::Add { amount }, &mut update).expect("encoded");
        match self.request(peer, Request::Commit(Commit { id, update })).await {
            Answer::Committed { committed, seen } => (committed, seen),
            other => panic!("{other:?}"),
        }
    }

    async fn value(&self, peer: PeerId, seen: Option<Seen>) -> u64 {
        let mut query = Vec::new();
        Counter::encode_query(&CounterQuery::Value {}, &mut query).expect("encoded");
        let (group, schema) = ("counter".to_owned(), schema::<Counter>());
        let line = line(&query, |id| Card::of::<Counter>().query(id));
        match self.rpc.ask(peer, Ask::Query { group, schema, line, query, seen, at: None }).await {
            Ok(Answer::Result { bytes, .. }) => postcard::from_bytes(&bytes).expect("a number"),
            other => panic!("{other:?}"),
        }
    }
}

async fn members(size: usize, slow: usize) -> (Cluster, Vec<CounterHandle>) {
    let cluster = Cluster::new(size).await;
    let mut members = Vec::new();
    for index in 0..size {
        let initial = Counter { value: 0, slow: index == slow };
        let joined = cluster.node(index).group("counter").join_or_create(initial).await;
        members.push(joined.expect("a member"));
    }
    (cluster, members)
}

fn numbered(session: SessionId, number: u64, acknowledged: u64) -> RequestId {
    RequestId::Numbered { session, number, acknowledged }
}

fn result(value: u8) -> Committed {
    Committed::Recorded(Recorded::Result(vec![value]))
}

const NOBODY: usize = usize::MAX;

#[tokio::test]
async fn whichever_member_is_asked_again_the_reply_is_the_recorded_one() {
    let (cluster, members) = members(3, NOBODY).await;
    let raw = Raw::new(&cluster, true);
    let (a, b) = (raw.connect(&cluster, 0).await, raw.connect(&cluster, 1).await);
    let session = raw.open(a, 1_000_000_000).await;
    assert_eq!(raw.add(a, 5, numbered(session, 1, 0)).await.0, result(5));
    assert_eq!(raw.add(b, 5, numbered(session, 1, 0)).await.0, result(5));
    // Both at once: one is the first.
    let (one, two) = tokio::join!(
        raw.add(a, 2, numbered(session, 2, 0)),
        raw.add(b, 2, numbered(session, 2, 0)),
    );
    assert_eq!((one.0, two.0), (result(7), result(7)));
    let other = raw.add(b, 6, numbered(session, 1, 0)).await.0;
    assert_eq!(other, Committed::Refused(Refusal::OtherContent));
    assert_eq!(raw.add(a, 1, numbered(session, 3, 2)).await.0, result(8));
    let late = raw.add(b, 5, numbered(session, 1, 0)).await.0;
    assert_eq!(late, Committed::Refused(Refusal::Acknowledged));
    let foreign = SessionId { group: session.group + 1, ..session };
    let unknown = raw.add(b, 5, numbered(foreign, 1, 0)).await.0;
    assert_eq!(unknown, Committed::Refused(Refusal::Expired));
    assert_eq!(members[2].value().await, Ok(8));
}

#[tokio::test]
async fn what_comes_after_the_lease_is_refused_and_never_carried_out() {
    let (cluster, members) = members(2, NOBODY).await;
    let raw = Raw::new(&cluster, true);
    let peer = raw.connect(&cluster, 1).await;
    let session = raw.open(peer, 20_000).await;
    assert_eq!(raw.add(peer, 5, numbered(session, 1, 0)).await.0, result(5));
    // Asking renews the lease, so it has to be left alone.
    let mut pause = Duration::from_millis(100);
    loop {
        tokio::time::sleep(pause).await;
        match raw.add(peer, 5, numbered(session, 1, 0)).await.0 {
            Committed::Refused(Refusal::Expired) => break,
            known => assert_eq!(known, result(5)),
        }
        pause *= 2;
    }
    assert_eq!(members[0].value().await, Ok(5));
}

#[tokio::test]
async fn what_members_cannot_carry_out_is_not_ordered() {
    let (cluster, members) = members(1, NOBODY).await;
    let raw = Raw::new(&cluster, true);
    let peer = raw.connect(&cluster, 0).await;
    let commit = |update| Request::Commit(Commit { id: RequestId::Key(vec![1]), update });
    assert_eq!(raw.request(peer, commit(vec![5])).await, Answer::UnknownQuery { id: 5 });
    let mut cut = Vec::new();
    Counter::encode(&CounterUpdate::Add { amount: 300 }, &mut cut).expect("encoded");
    cut.pop();
    for wrong in [cut, Vec::new(), vec![0xff; 9]] {
        let answer = raw.request(peer, commit(wrong)).await;
        assert!(matches!(answer, Answer::BadQuery(_)), "{answer:?}");
    }
    // None of them has taken the name.
    assert_eq!(raw.add(peer, 3, RequestId::Key(vec![1])).await.0, result(3));
    assert_eq!(members[0].group().failures(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_lags_answers_when_it_has_seen_what_its_client_has() {
    let (cluster, _members) = members(3, 2).await;
    let raw = Raw::new(&cluster, true);
    let (quick, slow) = (raw.connect(&cluster, 0).await, raw.connect(&cluster, 2).await);
    let session = raw.open(quick, 1_000_000_000).await;
    let mut last = Seen::default();
    for number in 1..=5 {
        let (committed, seen) = raw.add(quick, 1, numbered(session, number, 0)).await;
        assert_eq!(committed, result(number as u8));
        assert!(seen.covers(&last));
        last = seen;
    }
    assert_eq!(raw.value(slow, Some(last.clone())).await, 5);
    assert_eq!(raw.value(slow, None).await, 5, "and never goes back");
}

#[tokio::test]
async fn a_client_that_never_reads_holds_a_bounded_number_of_bytes() {
    let (cluster, members) = members(2, NOBODY).await;
    let mute = Raw::new(&cluster, false);
    let peer = mute.connect(&cluster, 0).await;
    mute.rpc.up(peer);
    let bytes = LONGEST - 64;
    let mut query = Vec::new();
    Counter::encode_query(&CounterQuery::Many { bytes }, &mut query).expect("encoded");
    let (group, schema) = ("counter".to_owned(), schema::<Counter>());
    let line = line(&query, |id| Card::of::<Counter>().query(id));
    let ask = Ask::Query { group, schema, line, query, seen: None, at: None };
    for _ in 0..8 {
        let (rpc, ask) = (Arc::clone(&mute.rpc), ask.clone());
        tokio::spawn(async move { drop(rpc.ask(peer, ask).await) });
        // One after the other: each would be taken in before the next.
        let other = Raw::new(&cluster, true);
        let here = other.connect(&cluster, 0).await;
        assert_eq!(other.value(here, None).await, 0, "others are served");
    }
    let held = cluster.node(0).backlog(mute.transport.local().id);
    assert!(held > LONGEST && held < 5 * LONGEST, "{held} bytes are held for it");
    assert_eq!(members[1].add(1).await, Ok(1));
}

#[tokio::test]
async fn one_member_that_is_reached_is_enough() {
    let (cluster, _members) = members(3, NOBODY).await;
    for reached in 0..3 {
        let endpoint = cluster.net().client("lonely");
        for other in (0..3).filter(|other| *other != reached) {
            cluster.net().cut(endpoint.local().id, cluster.peer(other));
        }
        let seeds = cluster.nodes().map(|node| node.address().to_owned()).collect();
        let client = crate::Client::over(Arc::new(endpoint), seeds).await.expect("connected");
        let counter: CounterClient = client.group("counter");
        let value = counter.add(1).await.expect("carried out");
        assert_eq!(counter.value().await.expect("an answer"), value);
    }
}

#[tokio::test]
async fn a_member_without_a_quorum_says_so() {
    let (mut cluster, counters) = members(3, 3).await;
    let raw = Raw::new(&cluster, true);
    let peer = raw.connect(&cluster, 2).await;
    let mut events = counters[2].group().views();
    cluster.kill(0);
    cluster.kill(1);
    while events.next_event().await.expect("an event") != GroupEvent::Blocked {}
    match raw.request(peer, Request::Open(60)).await {
        Answer::UnderWay(why) => assert!(why.contains("has no quorum (1 of 3 active"), "{why}"),
        other => panic!("{other:?}"),
    }
}
