//! What the runtime and the generated code decode survives arbitrary bytes: checkpoints, updates,
//! queries of clients, and frames that a peer sends to a node.
//!
//! A failure of `load` or `apply` is an error of its own kind, never a panic, and leaves the state
//! as it was; what the driver does with it (the membership ends) is tested elsewhere.
//! `PROPTEST_CASES=100000 cargo test -p vsync --test bytes` runs for longer.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;
use serde::{Deserialize, Serialize};
use vsync::__private::ctx;
use vsync::{Ctx, Node, QueryCtx, Replicated, Reply, State, replicated};
use vsync_core::wire::{Member, MemberId, NodeId, View};
use vsync_net::{Class, Quic, QuicConfig, Secret, Transport};

/// A value with some of everything.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Entry {
    /// Nothing.
    Empty,
    /// Text.
    Text(String),
    /// Nested.
    Pair {
        /// One.
        left: Option<Box<Entry>>,
        /// Other.
        right: Vec<u8>,
    },
}

/// A state with some of everything.
#[replicated]
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Shelf {
    entries: BTreeMap<String, Entry>,
    order: Vec<u64>,
    open: bool,
    sum: i128,
    mark: Option<char>,
    #[local]
    seen: u32,
}

#[replicated]
impl Shelf {
    /// Puts an entry.
    #[update(order = "total")]
    pub fn put(&mut self, key: String, entry: Entry) -> usize {
        self.entries.insert(key, entry);
        self.entries.len()
    }

    /// Sets the order.
    #[update(order = "fifo")]
    pub fn sort(&mut self, order: Vec<u64>, mark: Option<char>) {
        (self.order, self.mark) = (order, mark);
    }

    /// Adds.
    #[update(order = "causal")]
    pub fn add(&mut self, ctx: &Ctx<Self>, amount: i64, open: bool) -> Result<i64, String> {
        self.sum += i128::from(amount) + i128::from(ctx.sender_rank() as u64);
        self.open = open;
        Ok(amount)
    }

    /// Looks an entry up.
    #[query]
    pub fn get(&self, key: String) -> Option<Entry> {
        self.entries.get(&key).cloned()
    }

    /// How many of these are there.
    #[query]
    pub fn count(&self, keys: Vec<String>, limit: u8) -> usize {
        keys.iter().filter(|key| self.entries.contains_key(*key)).take(limit.into()).count()
    }
}

fn shelf() -> Shelf {
    let pair = Entry::Pair { left: Some(Box::new(Entry::Empty)), right: vec![1, 2, 3] };
    Shelf {
        entries: BTreeMap::from([
            ("a".to_owned(), Entry::Text("some text".to_owned())),
            ("b".to_owned(), pair),
        ]),
        order: vec![5, 300, u64::MAX],
        open: true,
        sum: -70_000,
        mark: Some('é'),
        seen: 7,
    }
}

fn context() -> Ctx<Shelf> {
    let id = MemberId { node: NodeId(1), entry: 1 };
    let member = Member { id, meta: Bytes::from_static(b"\xff\xff"), nonce: 0, transfer: None };
    ctx(&View { number: 1, members: vec![member], active: 1 }, 0, 5)
}

/// One encoded update of every method.
fn updates() -> Vec<Vec<u8>> {
    let updates = [
        ShelfUpdate::Put { key: "c".to_owned(), entry: Entry::Text("x".repeat(40)) },
        ShelfUpdate::Sort { order: vec![1, 2, 400], mark: Some('z') },
        ShelfUpdate::Add { amount: -9, open: false },
    ];
    let encode = |update: &ShelfUpdate| {
        let mut out = Vec::new();
        Shelf::encode(update, &mut out).expect("encodes");
        out
    };
    updates.iter().map(encode).collect()
}

/// Bytes made from real ones: cut, flipped, with a number that claims too much, or none of it.
fn spoil(real: Vec<Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    let number = prop::sample::select(vec![0u8, 1, 0x7f, 0x80, 0xfe, 0xff]);
    let bytes = prop::collection::vec(any::<u8>(), 0..60);
    let place = any::<prop::sample::Index>();
    let spoiled = (prop::sample::select(real), place, number, 0usize..12, bytes.clone());
    let spoiled = spoiled.prop_map(|(mut real, at, byte, count, more)| {
        if real.is_empty() {
            return more;
        }
        let at = at.index(real.len());
        match count {
            0 => real.truncate(at),
            1 => real.extend(more),
            2 => drop(real.splice(at..=at, more)),
            3 => real[at] ^= 1 << (byte % 8),
            _ => drop(real.splice(at..=at, std::iter::repeat_n(byte, count))),
        }
        real
    });
    prop_oneof![1 => bytes, 4 => spoiled]
}

fn cases() -> ProptestConfig {
    let given = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok());
    let cases = given.unwrap_or(2_000);
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn checkpoints(bytes in spoil(vec![shelf().save().expect("saves")])) {
        let local = Shelf { seen: 7, ..Shelf::default() };
        if let Ok(loaded) = Shelf::load(&bytes, local) {
            // What is taken for a state is one: it has a checkpoint, from which it comes back.
            let saved = loaded.save().expect("saves");
            let again = Shelf::load(&saved, Shelf { seen: 7, ..Shelf::default() });
            prop_assert_eq!(again.as_ref(), Ok(&loaded));
            prop_assert_eq!(loaded.seen, 7);
        }
    }

    #[test]
    fn arbitrary_updates(bytes in spoil(updates())) {
        let mut state = shelf();
        let mut answer = None;
        if state.apply(&context(), &bytes, &mut Reply::slot(&mut answer)).is_err() {
            prop_assert_eq!(state, shelf());
            prop_assert!(answer.is_none());
        } else {
            prop_assert!(answer.is_some());
        }
    }

    #[test]
    fn arbitrary_queries(bytes in spoil(updates())) {
        let mut out = Vec::new();
        let (get, count) = (Shelf::QUERIES[0].0, Shelf::QUERIES[1].0);
        drop(shelf().query(&QueryCtx::default(), &bytes, &mut out));
        for id in [get, count] {
            // The id as a varint, as in front of every query.
            let mut query = Vec::new();
            let mut id = id;
            while id >= 0x80 {
                query.push(id as u8 | 0x80);
                id >>= 7;
            }
            query.push(id as u8);
            query.extend_from_slice(&bytes);
            drop(shelf().query(&QueryCtx::default(), &query, &mut out));
        }
    }
}

/// A length that claims everything reserves next to nothing.
#[test]
fn claims_beyond_the_bytes_are_errors() {
    let mut claim = vec![0xff; 9];
    claim.push(0x01);
    assert!(Shelf::load(&claim, Shelf::default()).is_err());
    for update in updates() {
        for at in 0..update.len() {
            let mut bytes = update[..at].to_vec();
            bytes.extend_from_slice(&claim);
            let mut state = shelf();
            drop(state.apply(&context(), &bytes, &mut Reply::none()));
        }
    }
}

const SECRET: &str = "a secret for tests only";

fn builder(name: &str) -> vsync::NodeBuilder {
    Node::builder().name(name).listen("127.0.0.1:0").secret(SECRET)
}

/// Frames of all tags, from a peer that is let in and talks nonsense.
fn nonsense() -> Vec<(Class, Bytes)> {
    let mut seed = 0x9e37_79b9_7f4a_7c15u64;
    let mut random = move || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed
    };
    let classes = [Class::Control, Class::Updates, Class::Bulk];
    let frame = |index: usize| {
        let length = (random() % 60) as usize;
        let mut bytes: Vec<u8> =
            (0..length).map(|_| (random() % 5 * (random() % 60)) as u8).collect();
        // One in four is for questions; the rest is the engine's or nobody's, as it falls. But not
        // a group's messages (3): whoever holds the secret may tell a member that it is excluded,
        // and is believed. What the engine makes of lies is tested where they can be told one by
        // one.
        match bytes.first_mut() {
            Some(tag) if index % 4 == 1 => *tag = 0xff,
            Some(tag) if *tag == 3 => *tag = 4,
            _ => {}
        }
        (classes[index % 3], Bytes::from(bytes))
    };
    (0..3_000).map(frame).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_serve_on_under_nonsense_from_a_peer() {
    let serve = async {
        let a = builder("a").bootstrap().start().await.expect("started");
        let seeds = [a.address().to_owned()];
        let b = builder("b").seeds(seeds).start().await.expect("started");
        let mut shelves = Vec::new();
        for node in [&a, &b] {
            let joined = node.group("shelf").join_or_create(Shelf::default()).await;
            shelves.push(joined.expect("joined"));
        }
        for role in [0, 1] {
            let secret = Secret::new(SECRET).expect("long enough");
            let mut config =
                QuicConfig::new(format!("rogue{role}"), "127.0.0.1:0".to_owned(), secret);
            config.role = role;
            let rogue = Quic::start(config).await.expect("started");
            for node in [&a, &b] {
                let peer = rogue.connect(node.address()).await.expect("connected").id;
                for (class, frame) in nonsense() {
                    rogue.send(peer, class, frame);
                }
            }
            for index in 0..20 {
                let key = format!("{role}-{index}");
                shelves[index % 2].put(key, Entry::Empty).await.expect("applied");
            }
            rogue.shutdown(Duration::from_secs(2)).await;
        }
        for shelf in &shelves {
            shelf.group().flush().await.expect("flushed");
            assert_eq!(shelf.get("1-19".to_owned()).await, Ok(Some(Entry::Empty)));
        }
        for node in [b, a] {
            node.shutdown(Duration::from_secs(5)).await;
        }
    };
    let done = tokio::time::timeout(Duration::from_secs(40), serve).await;
    assert!(done.is_ok(), "not done in time");
}
