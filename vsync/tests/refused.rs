//! Values that travel badly: refused where they come from, with an error that names them, and
//! nobody else suffers. Encodings that do not decode again, values without end, answers too large.

mod patience;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use patience::within;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use vsync::__private::ctx;
use vsync::testing::Cluster;
use vsync::{
    ApplyError, CallError, CheckpointError, ClientError, GroupError, NotApplied, QueryCtx,
    QueryError, Replicated, Reply, State, replicated,
};
use vsync_core::wire::{Member, MemberId, NodeId, View};

/// Written whatever it is; read only if it has one digit. Panics at 99.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Digit(pub u8);

impl Serialize for Digit {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_u8(self.0)
    }
}

impl<'de> Deserialize<'de> for Digit {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let digit = u8::deserialize(from)?;
        assert_ne!(digit, 99, "not this one");
        match digit {
            0..=9 => Ok(Digit(digit)),
            _ => Err(serde::de::Error::custom("two digits")),
        }
    }
}

/// A value with as many levels as one likes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Chain {
    next: Option<Box<Chain>>,
}

impl Chain {
    fn of(links: usize) -> Chain {
        (0..links).fold(Chain::default(), |chain, _| Chain { next: Some(Box::new(chain)) })
    }

    fn links(&self) -> usize {
        std::iter::successors(self.next.as_deref(), |chain| chain.next.as_deref()).count()
    }
}

/// Link by link: the test is about other stacks.
impl Drop for Chain {
    fn drop(&mut self) {
        let mut rest = self.next.take();
        while let Some(mut chain) = rest {
            rest = chain.next.take();
        }
    }
}

/// Holds what it is given.
#[replicated]
#[derive(Debug, Default)]
pub struct Shop {
    digits: Vec<u8>,
    chain: Chain,
}

#[replicated]
impl Shop {
    /// Keeps a digit.
    #[update(order = "total")]
    pub fn keep(&mut self, label: String, digit: Digit) -> usize {
        drop(label);
        self.digits.push(digit.0);
        self.digits.len()
    }

    /// Hangs up a chain.
    #[update(order = "fifo", id = 1)]
    pub fn hang(&mut self, chain: Chain) -> usize {
        self.chain = chain;
        self.chain.links()
    }

    /// Makes the chain longer by one link.
    #[update(order = "fifo")]
    pub fn lengthen(&mut self, links: usize) {
        for _ in 0..links {
            let next = Some(Box::new(std::mem::take(&mut self.chain)));
            self.chain = Chain { next };
        }
    }

    /// What was kept.
    #[query]
    pub fn digits(&self) -> Vec<u8> {
        self.digits.clone()
    }

    /// The length of a chain.
    #[query(id = 2)]
    pub fn measure(&self, chain: Chain) -> usize {
        chain.links()
    }

    /// A text of so many bytes.
    #[query]
    pub fn text(&self, bytes: usize) -> String {
        "x".repeat(bytes)
    }

    /// The length of a text.
    #[query]
    pub fn length(&self, text: String) -> usize {
        text.len()
    }
}

async fn shops(nodes: usize) -> (Cluster, Vec<ShopHandle>) {
    let cluster = Cluster::new(nodes).await;
    let mut shops: Vec<ShopHandle> = Vec::new();
    for node in cluster.nodes() {
        shops.push(node.group("shop").join_or_create(Shop::default()).await.expect("a member"));
    }
    (cluster, shops)
}

#[tokio::test]
async fn what_does_not_decode_again_is_refused_where_it_is_sent() {
    within(async {
        let (cluster, shops) = shops(3).await;
        let keep = |digit: u8| shops[1].keep("a".to_owned(), Digit(digit));
        assert_eq!(keep(3).await, Ok(1));
        let why = "argument `digit` of `keep`: Serde Deserialization Error".to_owned();
        let why = NotApplied::Decode(why);
        assert_eq!(keep(10).await, Err(CallError::NotApplied(why.clone())));
        assert_eq!(keep(11).send().await, Err(GroupError::NotApplied(why.clone())));
        let optimistic = keep(12).optimistic().await.map(drop);
        assert_eq!(optimistic, Err(GroupError::NotApplied(why)));
        // Nobody's membership ended, and nothing of it came through.
        assert_eq!(keep(4).await, Ok(2));
        for shop in &shops {
            shop.group().flush().await.expect("flushed");
            assert_eq!(shop.digits().await, Ok(vec![3, 4]));
            assert_eq!(shop.group().view().map(|view| view.size()), Some(3));
        }
        cluster.shutdown(Duration::from_secs(5)).await;
    })
    .await;
}

#[tokio::test]
async fn a_deserializer_that_panics_does_so_where_it_is_sent() {
    within(async {
        let (cluster, shops) = shops(2).await;
        let mut call = shops[0].keep(String::new(), Digit(99)).send();
        let mut cx = Context::from_waker(Waker::noop());
        let polled = catch_unwind(AssertUnwindSafe(|| Pin::new(&mut call).poll(&mut cx)));
        assert!(polled.is_err());
        drop(call);
        let mut fine = shops[0].keep(String::new(), Digit(9)).send();
        assert_eq!(Pin::new(&mut fine).poll(&mut cx), Poll::Ready(Ok(())));
        for shop in &shops {
            shops[0].group().flush().await.expect("flushed");
            assert_eq!(shop.digits().await, Ok(vec![9]));
        }
        cluster.shutdown(Duration::from_secs(5)).await;
    })
    .await;
}

/// How many links are certainly fine, also where the compiler does not optimise.
const LINKS: usize = 100;

#[tokio::test]
async fn a_value_without_end_is_refused_where_it_is_sent() {
    within(async {
        let (cluster, shops) = shops(2).await;
        assert_eq!(shops[0].hang(Chain::of(LINKS)).await, Ok(LINKS));
        let error = shops[0].hang(Chain::of(100_000)).await.expect_err("refused");
        let why = "argument `chain` of `hang`: nested too deeply".to_owned();
        assert_eq!(error, CallError::NotApplied(NotApplied::Encode(why.clone())));
        let client = cluster.client().await.expect("connected");
        let remote: ShopClient = client.group("shop");
        assert_eq!(remote.measure(Chain::of(LINKS)).await.expect("measured"), LINKS);
        let error = remote.measure(Chain::of(100_000)).await.expect_err("refused");
        assert!(matches!(&error, ClientError::Encode(text) if text.ends_with("too deeply")));
        assert_eq!(shops[1].hang(Chain::of(1)).await, Ok(1));
        cluster.shutdown(Duration::from_secs(5)).await;
    })
    .await;
}

/// As many levels as there are bytes, from a peer that does not ask its own encoder.
#[test]
fn bytes_that_are_all_levels_are_an_error() {
    let id = MemberId { node: NodeId(1), entry: 1 };
    let member = Member { id, meta: bytes::Bytes::new(), nonce: 0, transfer: None };
    let ctx = ctx(&View { number: 1, members: vec![member], active: 1 }, 0, 5);
    let mut bytes = vec![1; 1 << 20];
    let mut shop = Shop::default();
    let error = shop.apply(&ctx, &bytes, &mut Reply::none());
    let why = "nested too deeply".to_owned();
    let expected = ApplyError::Argument { method: "hang", argument: "chain", why: why.clone() };
    assert_eq!(error, Err(expected));
    bytes[0] = 2;
    let error = shop.query(&QueryCtx::default(), &bytes, &mut Vec::new());
    let expected = ApplyError::Argument { method: "measure", argument: "chain", why: why.clone() };
    assert_eq!(error, Err(QueryError::Decode(expected)));
    bytes[0] = 0;
    let error = Shop::load(&bytes, Shop::default()).expect_err("no state");
    assert_eq!(error, CheckpointError::Load { field: "chain", why });
}

/// A state that has grown too deep in small steps has no checkpoint, and says so.
#[test]
fn a_state_without_end_has_no_checkpoint() {
    let mut shop = Shop::default();
    shop.lengthen(LINKS);
    let saved = shop.save().expect("saved");
    assert_eq!(Shop::load(&saved, Shop::default()).expect("loaded").chain, shop.chain);
    shop.lengthen(100_000);
    let why = "nested too deeply".to_owned();
    assert_eq!(shop.save(), Err(CheckpointError::Save { field: "chain", why }));
}

#[tokio::test]
async fn queries_and_answers_too_large_have_an_error() {
    const LIMIT: usize = 16 << 20;
    within(async {
        let (cluster, _shops) = shops(1).await;
        let client = cluster.client().await.expect("connected");
        let remote: ShopClient = client.group("shop");
        // The length takes four bytes.
        let text = remote.text(LIMIT - 4).await.expect("just fits");
        assert_eq!(text.len(), LIMIT - 4);
        let error = remote.text(LIMIT - 3).await.expect_err("one too many");
        assert!(matches!(error, ClientError::TooLarge { size, limit: LIMIT } if size == LIMIT + 1));
        let error = remote.length(text).await.expect_err("the method's id is one too many");
        assert!(matches!(error, ClientError::TooLarge { limit: LIMIT, .. }), "{error}");
        assert_eq!(remote.length("four".to_owned()).await.expect("an answer"), 4);
        cluster.shutdown(Duration::from_secs(5)).await;
    })
    .await;
}
