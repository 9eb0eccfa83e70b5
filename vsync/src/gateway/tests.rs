//! Requests as they come over the network: twice, late, wrong, from a client that does not read.

use crate::ask::{Missing, Told};
use crate::asking::line;
use crate::card::Card;
use crate::group::GroupEvent;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use vsync_net::{PeerId, Transport};

use super::*;
use crate::error::ClientError;
use crate::remote_scatter::RemoteScatter;
use crate::runtime::replica::schema;
use crate::runtime::ring::Position;
use crate::runtime::rpc::{Ask, Asked, By, ClientQuery, Contact, LONGEST, Rpc, UNREAD};
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
        let by = By::Any(None);
        let ask = Ask::Query(ClientQuery { group, schema, line, query, seen, by });
        match self.rpc.ask(peer, ask).await {
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

/// A query whose answer is about as long as one may be.
fn longest() -> Ask {
    let mut query = Vec::new();
    let many = CounterQuery::Many { bytes: LONGEST - 64 };
    Counter::encode_query(&many, &mut query).expect("encoded");
    let (group, schema) = ("counter".to_owned(), schema::<Counter>());
    let line = line(&query, |id| Card::of::<Counter>().query(id));
    Ask::Query(ClientQuery { group, schema, line, query, seen: None, by: By::Any(None) })
}

#[tokio::test]
async fn a_client_that_never_reads_holds_a_bounded_number_of_bytes() {
    let (cluster, members) = members(2, NOBODY).await;
    let mute = Raw::new(&cluster, false);
    let peer = mute.connect(&cluster, 0).await;
    mute.rpc.up(peer);
    let ask = longest();
    for _ in 0..8 {
        let (rpc, ask) = (Arc::clone(&mute.rpc), ask.clone());
        tokio::spawn(async move { drop(rpc.ask(peer, ask).await) });
        // One after the other: each would be taken in before the next.
        let other = Raw::new(&cluster, true);
        let here = other.connect(&cluster, 0).await;
        assert_eq!(other.value(here, None).await, 0, "others are served");
    }
    let held = cluster.node(0).backlog(mute.transport.local().id);
    assert!(held > LONGEST && held <= UNREAD, "{held} bytes are held for it");
    assert_eq!(members[1].add(1).await, Ok(1));
}

/// More answers than are ever on their way to a client at one time: the others wait until it has
/// read some.
#[tokio::test]
async fn answers_wait_for_a_client_to_read_those_before() {
    const ANSWERS: usize = 6;
    let (cluster, _members) = members(1, NOBODY).await;
    let raw = Raw::new(&cluster, false);
    let peer = raw.connect(&cluster, 0).await;
    raw.rpc.up(peer);
    let ask = longest();
    let mut asking = tokio::task::JoinSet::new();
    for _ in 0..ANSWERS {
        let (rpc, ask) = (Arc::clone(&raw.rpc), ask.clone());
        asking.spawn(async move {
            let mut answer = rpc.ask(peer, ask).await;
            while let Ok(Answer::Working(number)) = answer {
                answer = rpc.ask(peer, Ask::Again(number)).await;
            }
            answer
        });
    }
    let held = || cluster.node(0).backlog(raw.transport.local().id);
    let other = Raw::new(&cluster, true);
    let here = other.connect(&cluster, 0).await;
    while held() <= LONGEST {
        assert_eq!(other.value(here, None).await, 0, "others are served");
    }
    for _ in 0..20 {
        assert_eq!(other.value(here, None).await, 0, "others are served");
        assert!(held() <= UNREAD, "{} bytes are on their way", held());
    }
    tokio::spawn(crate::client::listen(Arc::clone(&raw.transport), Arc::clone(&raw.rpc)));
    while let Some(answer) = asking.join_next().await {
        let answer = answer.expect("not cancelled");
        assert!(
            matches!(&answer, Ok(Answer::Result { bytes: read, .. }) if read.len() >= LONGEST - 64),
            "it is answered"
        );
        assert!(held() <= UNREAD, "{} bytes are on their way", held());
    }
}

type Bytes = Vec<u8>;

/// Emits many bytes, and gives as many.
#[replicated(crate = "crate", event = Bytes, published)]
#[derive(Debug, Default)]
struct Ticker {}

#[replicated(crate = "crate")]
impl Ticker {
    #[update(order = "total")]
    fn tick(&mut self, ctx: &crate::Ctx<Self>, bytes: usize) -> Vec<u8> {
        ctx.emit(vec![0; bytes]);
        vec![0; bytes]
    }
}

/// Whatever a client asks for, and however often: what it does not read is bounded, and neither
/// the members nor other clients wait for it.
#[tokio::test]
async fn a_client_that_never_reads_costs_little_whatever_it_asks_for() {
    const BYTES: usize = 1 << 19;
    let cluster = Cluster::with(2, |builder| builder.event_buffer(1 << 22)).await;
    let mut tickers: Vec<TickerHandle> = Vec::new();
    for node in cluster.nodes() {
        let joined = node.group("ticker").join_or_create(Ticker::default()).await;
        tickers.push(joined.expect("a member"));
    }
    let client = cluster.client().await.expect("connected");
    let other: TickerClient = client.group("ticker");
    let mut events = other.group().events::<Vec<u8>>(None).await.expect("subscribed");
    let mute = Raw::new(&cluster, false);
    let peer = mute.connect(&cluster, 0).await;
    mute.rpc.up(peer);
    let held = || cluster.node(0).backlog(mute.transport.local().id);
    let card = Card::of::<Ticker>();
    let (group, schema) = ("ticker".to_owned(), schema::<Ticker>());
    let (mut update, mut updates) = (Vec::new(), Vec::new());
    Ticker::encode(&TickerUpdate::Tick { bytes: BYTES }, &mut update).expect("encoded");
    for name in 0..40_u32 {
        let id = RequestId::Key(name.to_le_bytes().to_vec());
        let request = Request::Commit(Commit { id, update: update.clone() });
        let line = line(request.update(), |id| card.update(id));
        updates.push(Ask::Request { group: group.clone(), schema, line, request });
    }
    let line = crate::asking::hash(&card.event().expect("published"));
    // Events that came before any that are kept: there is always an answer.
    let old = Position { next: crate::Cursor { view: 1, index: 0 }, local: (0, 0) };
    let position = Some(old);
    let subscribes = Ask::Events { group: group.clone(), schema, line, position };
    let others = [Ask::Cluster, Ask::View { group, schema, seen: None }];
    let asked = updates.into_iter().chain((0..200).map(|_| subscribes.clone()));
    let mut most = 0;
    let rounds = asked.chain(others.into_iter().cycle().take(500)).collect::<Vec<_>>();
    for asks in rounds.chunks(100) {
        for ask in asks {
            let (rpc, ask) = (Arc::clone(&mute.rpc), ask.clone());
            tokio::spawn(async move { drop(rpc.ask(peer, ask).await) });
        }
        // Nor is it told for ever what is not known there.
        let unknown = [crate::runtime::tag::RPC, 0, 1, 99];
        for _ in 0..1000 {
            mute.transport.send(peer, vsync_net::Class::Control, unknown.to_vec().into());
        }
        // Others are served meanwhile.
        assert_eq!(tickers[1].tick(BYTES).await.map(|it| it.len()), Ok(BYTES));
        assert_eq!(other.tick(3).await.expect("carried out").len(), 3);
        most = most.max(held());
    }
    events.next().await.expect("others have theirs");
    let most = most.max(held());
    let limit = UNREAD - (1 << 20);
    assert!(most > limit, "{most} bytes: it was answered as long as it might have read");
    assert!(most <= UNREAD, "{most} bytes are held for it");
}

/// A client whose gateway knows who the members are, and gives this answer to everything else.
async fn answered(answer: Answer) -> CounterClient {
    asked(move |_| answer.clone()).await
}

/// A client whose gateway, the only member, gives these answers. It is told of questions for the
/// members, too, and answers them by itself.
async fn asked(mut answer: impl FnMut(&Ask) -> Answer + Send + 'static) -> CounterClient {
    let net = vsync_net::MemoryNet::new();
    let gateway: Arc<dyn Transport> = Arc::new(net.endpoint("gateway"));
    let seed = gateway.local().addr.clone();
    let (tell, mut asked) = tokio::sync::mpsc::channel(8);
    let rpc = Arc::new(Rpc::new(Arc::clone(&gateway), Some(tell)));
    let contact = Contact { node: gateway.local().id.0, address: seed.clone() };
    tokio::spawn(crate::client::listen(gateway, Arc::clone(&rpc)));
    tokio::spawn(async move {
        while let Some(Asked { peer, id, ask, .. }) = asked.recv().await {
            let told = answer(&ask);
            let answer = match ask {
                Ask::Request { request: Request::Members, .. } => {
                    Answer::Elsewhere(vec![contact.clone()])
                }
                _ => told,
            };
            rpc.answer(peer, false, id, answer);
        }
    });
    let client = crate::Client::over(Arc::new(net.client("client")), vec![seed]).await;
    client.expect("connected").group("counter")
}

/// A gateway of an earlier release: it does not know the question.
#[tokio::test]
async fn a_gateway_that_does_not_know_the_question_is_named() {
    let counter = answered(Answer::NotUnderstood).await;
    let members = counter.group().asking(None).members::<Counter>(None).await;
    assert!(matches!(members, Err(ClientError::NotUnderstood)), "{members:?}");
}

/// The members are in a view that the client has not seen, which it learns with who they are.
#[tokio::test]
async fn after_a_view_change_members_are_asked_for_once() {
    const MEMBERS: u64 = 7;
    let member = |id| crate::MemberId { node: vsync_core::wire::NodeId(id), entry: 1 };
    let counts = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&counts);
    let mut view = 1;
    let counter = asked(move |ask| {
        if let Ask::Request { request: Request::Members, .. } = ask {
            counted.fetch_add(1, Ordering::SeqCst);
        }
        if let Ask::View { .. } = ask {
            view += 1;
        }
        let seen = Seen::new(1, view, vsync_core::wire::Cut::default());
        match ask {
            Ask::View { .. } => Answer::View { members: (0..MEMBERS).map(member).collect(), seen },
            _ => Answer::Result { bytes: vec![7], seen },
        }
    })
    .await;
    for asked in 1..=3 {
        let group = counter.group().clone();
        let each = RemoteScatter::<Counter, u64>::new(group, Ok(vec![1])).each().await;
        assert_eq!(each.expect("answered").answers.len(), MEMBERS as usize);
        // The first time also because it knew nobody.
        assert_eq!(counts.load(Ordering::SeqCst), 1 + asked);
    }
}

#[tokio::test]
async fn a_gateway_without_room_for_the_answer_says_so() {
    let counter = answered(Answer::unread()).await;
    let value = counter.value().await;
    assert!(matches!(value, Err(ClientError::Unread { limit: UNREAD })), "{value:?}");
    let member = crate::MemberId { node: vsync_core::wire::NodeId(1), entry: 1 };
    let asking = counter.group().asking(None);
    match asking.share::<Counter>(&[1], None, (member, (0, 1))).await {
        Ok(Told::Never(Missing::Refused(why))) => assert!(why.contains("no room"), "{why}"),
        other => panic!("{other:?}"),
    }
    // What an update has become is asked for again: of others, too.
    let limit = Duration::from_millis(300);
    let added = counter.add(1).timeout(limit).await;
    let Err(error) = added else { panic!("{added:?}") };
    assert!(error.to_string().contains("no room for the answer"), "{error}");
}

/// A client that reaches only a member that is cut off.
#[tokio::test]
async fn what_another_client_has_done_is_read_or_waited_for() {
    let (cluster, members) = members(3, NOBODY).await;
    let endpoint = cluster.net().client("lonely");
    for other in [0, 1] {
        cluster.net().cut(endpoint.local().id, cluster.peer(other));
        cluster.cut(other, 2);
    }
    let seed = vec![cluster.node(2).address().to_owned()];
    let client = crate::Client::over(Arc::new(endpoint), seed).await.expect("connected");
    let counter: CounterClient = client.group("counter");
    let other: CounterClient = cluster.client().await.expect("connected").group("counter");
    assert_eq!(members[0].add(1).await, Ok(1));
    assert_eq!(counter.value().await.expect("an answer"), 0, "it has never seen more");
    let limit = Duration::from_millis(300);
    let late = counter.value().linearizable().timeout(limit).await;
    assert!(matches!(late, Err(ClientError::Timeout { .. })), "{late:?}");
    assert_eq!(other.add(1).await.expect("carried out"), 2);
    [0, 1].into_iter().for_each(|other| cluster.heal(other, 2));
    let limit = Duration::from_secs(30);
    let latest = counter.value().linearizable().timeout(limit).await;
    assert_eq!(latest.expect("an answer"), 2);
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
