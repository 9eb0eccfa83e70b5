//! Whole nodes over QUIC on loopback, and the clear errors of a cluster that is set up wrongly.

mod patience;

use std::net::{TcpListener, UdpSocket};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use patience::within;
use vsync::report::Standing;
use vsync::{Client, ClientError, Node, NodeBuilder, StartError, replicated};

const SECRET: &str = "a secret for tests only";

/// A number.
#[replicated]
#[derive(Debug, Default)]
pub struct Counter {
    value: u64,
}

#[replicated]
impl Counter {
    /// Adds.
    #[update(order = "total")]
    pub fn add(&mut self, amount: u64) -> u64 {
        self.value += amount;
        self.value
    }

    /// The number.
    #[query]
    pub fn value(&self) -> u64 {
        self.value
    }
}

/// Much.
#[replicated]
#[derive(Debug, Default)]
pub struct Store {
    parts: Vec<String>,
}

#[replicated]
impl Store {
    /// Adds a part.
    #[update(order = "total")]
    pub fn put(&mut self, part: String) {
        self.parts.push(part);
    }

    /// How many bytes.
    #[query]
    pub fn size(&self) -> usize {
        self.parts.iter().map(String::len).sum()
    }
}

fn builder(name: &str) -> NodeBuilder {
    Node::builder().name(name).listen("127.0.0.1:0").secret(SECRET)
}

async fn first() -> Node {
    builder("a").bootstrap().start().await.expect("started")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_lives_through_a_crash() {
    within(async {
        let a = first().await;
        let seeds = [a.address().to_owned()];
        let b = builder("b").seeds(seeds.clone()).start().await.expect("started");
        let c = builder("c").seeds(seeds.clone()).start().await.expect("started");
        let mut counters = Vec::new();
        for node in [&a, &b, &c] {
            let joined = node.group("counter").join_or_create(Counter::default()).await;
            counters.push(joined.expect("a member"));
        }
        for counter in &counters {
            counter.add(1).await.expect("stable");
        }
        drop(c);
        counters.truncate(2);
        assert_eq!(counters[1].add(1).await, Ok(4));
        let d = builder("d").seeds(seeds.clone()).start().await.expect("started");
        let joined = d.group("counter").join(Counter::default()).await.expect("a member");
        assert_eq!(joined.value().await, Ok(4));

        let client = Client::connect(seeds, SECRET).await.expect("connected");
        let remote: CounterClient = client.group("counter");
        assert_eq!(remote.value().await.expect("an answer"), 4);
        assert_eq!(remote.add(1).await.expect("carried out"), 5);
        assert_eq!(remote.value().await.expect("an answer"), 5, "its own write");
        // Its connection to whoever answered may be gone: another member does.
        drop(d);
        assert_eq!(remote.add(1).key("six").await.expect("carried out"), 6);
        assert_eq!(remote.add(1).key("six").await.expect("recorded"), 6);

        for node in [b, a] {
            node.shutdown(Duration::from_secs(5)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_wrong_secret_is_named() {
    within(async {
        let a = first().await;
        let seeds = [a.address().to_owned()];
        let wrong = builder("b").secret("quite another secret").seeds(seeds.clone()).start().await;
        let Err(StartError::Unreachable { seeds: why }) = wrong else { panic!("{wrong:?}") };
        assert!(why[0].1.contains("another secret"), "{why:?}");
        // Whatever it expects: nobody else would change that.
        let wrong = builder("b").secret("quite another secret").seeds(seeds.clone()).expect(2);
        let Err(error @ StartError::Unreachable { .. }) = wrong.start().await else {
            panic!("it has another secret")
        };
        let said = format!("no seed let this node in; {} belongs to a cluster with", seeds[0]);
        assert!(error.to_string().starts_with(&said), "{error}");
        let client = Client::connect(seeds, "quite another secret").await;
        assert!(matches!(client, Err(ClientError::Unreachable { .. })), "{client:?}");
        let short = builder("c").secret("short").bootstrap().start().await;
        let Err(StartError::Secret(why)) = short else { panic!("{short:?}") };
        assert!(why.contains("16"), "{why}");
    })
    .await;
}

#[tokio::test]
async fn a_port_that_is_taken_is_named() {
    within(async {
        let taken = UdpSocket::bind("127.0.0.1:0").expect("a port");
        let address = taken.local_addr().expect("its address").to_string();
        let start = builder("a").listen(address.clone()).bootstrap().start().await;
        let Err(error @ StartError::Network(_)) = start else { panic!("{start:?}") };
        assert!(error.to_string().contains("in use"), "{error}");
    })
    .await;
}

#[tokio::test]
async fn seeds_that_do_not_answer_are_named() {
    within(async {
        let free = UdpSocket::bind("127.0.0.1:0").expect("a port");
        let address = free.local_addr().expect("its address").to_string();
        drop(free);
        let patience = Duration::from_millis(500);
        let start = builder("a").seeds([address.clone()]).patience(patience).start().await;
        let Err(StartError::Unreachable { seeds }) = start else { panic!("{start:?}") };
        assert_eq!(seeds[0].0, address);
        let nobody: [&str; 0] = [];
        let start = builder("a").seeds(nobody).start().await;
        assert!(matches!(start, Err(StartError::NoSeeds)), "{start:?}");
    })
    .await;
}

/// A port that is free and stays so: below those that are given to whoever asks for any, since the
/// tests beside this one do. Two processes begin to look at different ones.
fn free() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    loop {
        let next = std::process::id() * 64 + NEXT.fetch_add(1, Ordering::Relaxed);
        let address = format!("127.0.0.1:{}", 10_000 + next % 20_000);
        if UdpSocket::bind(&address).is_ok() && TcpListener::bind(&address).is_ok() {
            return address;
        }
    }
}

#[tokio::test]
async fn who_was_there_and_who_was_not_is_named_where_a_cluster_is_not_formed() {
    within(async {
        // Each time other ports: a node's sockets close a moment after it has ended.
        let all = || [free(), free(), free()];
        let node = |all: &[String; 3], at: usize, expect: usize, patience: u64| {
            let node = builder(["a", "b", "c"][at]).listen(all[at].clone());
            let node = node.seeds(all.clone()).expect(expect);
            node.patience(Duration::from_millis(patience)).start()
        };
        let ports = all();
        let alone = node(&ports, 0, 2, 300).await;
        let Err(StartError::NotFormed { expected, waiting, missing }) = alone else {
            panic!("{alone:?}")
        };
        assert_eq!((expected, waiting), (2, vec![]));
        let missing: Vec<_> = missing.into_iter().map(|it| it.0).collect();
        let mut others = [ports[1].clone(), ports[2].clone()];
        others.sort();
        assert_eq!(missing, others);

        // The second stays until the first gives up.
        let ports = all();
        let (first, _) = tokio::join!(node(&ports, 0, 3, 3_000), node(&ports, 1, 3, 6_000));
        let Err(error @ StartError::NotFormed { .. }) = first else { panic!("{first:?}") };
        let text = error.to_string();
        let said = format!("of the 3 nodes expected 2 were there, this one and {}; ", ports[1]);
        assert!(text.contains(&said), "{text}");
        assert!(text.contains(&format!("; {}: ", ports[2])), "{text}");
        assert!(text.contains("start the others while this one waits"), "{text}");
    })
    .await;
}

#[tokio::test]
async fn a_second_bootstrap_finds_the_first() {
    within(async {
        let a = first().await;
        let second = builder("b").seeds([a.address()]).bootstrap().start().await;
        assert!(matches!(second, Err(StartError::ClusterExists { .. })), "{second:?}");
    })
    .await;
}

#[tokio::test]
async fn a_number_of_seeds_that_could_form_two_clusters_is_refused() {
    let few = builder("a").seeds(["127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3"]).expect(2);
    let started = within(few.start()).await;
    assert!(matches!(started, Err(StartError::Config(_))), "{started:?}");
}

#[tokio::test]
async fn seeds_in_two_clusters_are_named() {
    within(async {
        let (a, b) = (first().await, first().await);
        let both = [a.address(), b.address()];
        let third = builder("c").seeds(both).start().await;
        let Err(error @ StartError::SeveralClusters { .. }) = third else { panic!("{third:?}") };
        let text = error.to_string();
        let first = "the seeds are in different clusters of the same secret; 127.0.0.1:";
        assert!(text.starts_with(first), "{text}");
        assert!(both.iter().all(|seed| text.contains(&format!("{seed}: in one of 1 node"))));
        assert!(text.contains("without `.bootstrap()`"), "{text}");
        // Where only one of them is asked, there is nothing to choose.
        builder("d").seeds([a.address()]).start().await.expect("a member");
    })
    .await;
}

/// The one that is left of two can let nobody in; its cluster is another all the same.
#[tokio::test]
async fn a_cluster_without_a_quorum_is_one_of_several() {
    within(async {
        let (a, other) = (first().await, first().await);
        let b = builder("b").seeds([a.address()]).start().await.expect("started");
        drop(a);
        let patience = Duration::from_secs(10);
        while b.report(patience).await.expect("alive").groups[0].standing != Standing::Blocked {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let third = builder("c").seeds([b.address(), other.address()]).start().await;
        let Err(StartError::SeveralClusters { mut seeds }) = third else { panic!("{third:?}") };
        let mut both = [(b.address().to_owned(), 2), (other.address().to_owned(), 1)];
        both.sort();
        seeds.sort();
        assert_eq!(seeds, both);
        let alone = builder("d").seeds([b.address()]).patience(Duration::from_secs(1)).start();
        let Err(StartError::NoQuorum { seeds }) = alone.await else { panic!("it has let it in") };
        assert_eq!(seeds, [b.address()]);
    })
    .await;
}

/// What the builder says to a configuration that makes no sense.
async fn nonsense(builder: NodeBuilder) -> String {
    // At once: not when its patience is over, which is longer than this test's.
    match within(builder.patience(Duration::from_secs(3600)).start()).await {
        Err(StartError::Config(why)) => why,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_node_that_is_its_only_seed_is_told_so() {
    // Each time another port: a node's sockets close a moment after it has ended.
    let alone = || {
        let free = UdpSocket::bind("127.0.0.1:0").expect("a port");
        let address = free.local_addr().expect("its address").to_string();
        (builder("a").listen(address.clone()).seeds([address.clone()]), address)
    };
    for expect in [None, Some(3)] {
        let (alone, address) = alone();
        let said = nonsense(expect.into_iter().fold(alone, NodeBuilder::expect)).await;
        let why = format!(
            "the only seed, {address}, is this node itself: name the other nodes, or say \
             `.bootstrap()` if this one forms the cluster"
        );
        assert_eq!(said, why);
    }
    // By another name it shows when it is dialled.
    let (alias, address) = alone();
    let port = address.rsplit_once(':').expect("a port").1;
    let alias = alias.seeds([format!("localhost:{port}")]).patience(Duration::from_secs(3600));
    let start = within(alias.start()).await;
    let Err(StartError::Unreachable { seeds }) = start else { panic!("{start:?}") };
    assert!(seeds[0].1.contains("this process itself"), "{seeds:?}");
    // A cluster of one is one.
    within(alone().0.expect(1).start()).await.expect("started");
}

#[tokio::test]
async fn ways_into_a_cluster_that_exclude_each_other_are_named() {
    let both = builder("a").seeds(["127.0.0.1:1", "127.0.0.1:2"]).expect(3).bootstrap();
    let said = nonsense(both).await;
    assert!(said.starts_with("`bootstrap` and expect(3) exclude each other: "), "{said}");
    let said = nonsense(builder("a").expect(3)).await;
    assert!(said.starts_with("expect(3) without seeds: say `.seeds([...])`"), "{said}");
    let said = nonsense(builder("a").expect(3).bootstrap()).await;
    assert!(said.contains("exclude each other"), "{said}");
}

#[tokio::test]
async fn a_failure_timeout_that_nothing_can_keep_is_refused() {
    let with = |silence| nonsense(builder("a").bootstrap().failure_timeout(silence));
    let short = |said: &str| {
        format!(
            "failure_timeout({said}) is too short: five heartbeats are sent in that time, so it \
             takes 10ms or more"
        )
    };
    assert_eq!(with(Duration::ZERO).await, short("0ns"));
    assert_eq!(with(Duration::from_micros(9_999)).await, short("9.999ms"));
    let long = "is too long: nobody who vanishes would be missed before; it takes 3600s or less";
    assert_eq!(
        with(Duration::from_millis(3_600_001)).await,
        format!("failure_timeout(3600.001s) {long}")
    );
    assert!(with(Duration::MAX).await.ends_with(long));
    for bound in [Duration::from_millis(10), Duration::from_secs(3600)] {
        let node = within(builder("a").bootstrap().failure_timeout(bound).start()).await;
        assert!(node.is_ok(), "{bound:?}: {node:?}");
    }
}

#[tokio::test]
async fn addresses_that_are_none_are_quoted() {
    let form = "is not an address: expected host:port, as in 10.0.0.1:7400";
    let said = nonsense(builder("a").seeds(["127.0.0.1:1", "10.0.0.7"])).await;
    assert_eq!(said, format!("\"10.0.0.7\" {form}"));
    let said = nonsense(builder("a").advertise("10.0.0.7:0").bootstrap()).await;
    assert_eq!(said, format!("\"10.0.0.7:0\" {form}: nobody is reached at port 0"));
    let start = builder("a").listen("10.0.0.7:http").bootstrap().start().await;
    let Err(error @ StartError::Network(_)) = start else { panic!("{start:?}") };
    let form = "cannot listen on \"10.0.0.7:http\": expected host:port, as in 10.0.0.1:7400";
    assert!(error.to_string().contains(form), "{error}");
    let client = Client::connect(["nowhere"], SECRET).await;
    let Err(error @ ClientError::Unreachable { .. }) = client else { panic!("{client:?}") };
    assert!(error.to_string().contains("\"nowhere\" is not an address: expected"), "{error}");
}

#[tokio::test]
async fn an_address_that_nobody_can_reach_is_refused() {
    let all = within(builder("a").listen("0.0.0.0:0").bootstrap().start()).await;
    let Err(StartError::Config(why)) = all else { panic!("{all:?}") };
    assert!(why.contains("advertise"), "{why}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_updates_and_a_large_state_arrive() {
    within(async {
        // Encrypting megabytes without optimisation takes all that a busy machine has: nobody is to
        // be taken for dead by that.
        let builder = |name| builder(name).failure_timeout(Duration::from_secs(10));
        let a = builder("a").bootstrap().start().await.expect("started");
        let seeds = [a.address().to_owned()];
        let b = builder("b").seeds(seeds.clone()).start().await.expect("started");
        let one = a.group("store").create(Store::default()).await.expect("made");
        let two = b.group("store").join(Store::default()).await.expect("a member");
        let part = "x".repeat(1 << 19);
        for _ in 0..32 {
            one.put(part.clone()).send().await.expect("sent");
            two.put(part.clone()).send().await.expect("sent");
        }
        one.group().flush().await.expect("flushed");
        two.group().flush().await.expect("flushed");
        let c = builder("c").seeds(seeds).start().await.expect("started");
        let three = c.group("store").join(Store::default()).await.expect("a member");
        for store in [one, two, three] {
            store.group().flush().await.expect("flushed");
            assert_eq!(store.size().await, Ok(64 << 19));
        }
    })
    .await;
}
