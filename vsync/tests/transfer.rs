//! Checkpoints that are larger than what is under way at once, and what becomes of those that do
//! not come to their end.

mod patience;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex};
use std::time::Duration;

use patience::within;
use serde::de::Error as _;
use serde::ser::{Error as _, SerializeSeq};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use tokio::sync::Semaphore;
use vsync::testing::Cluster;
use vsync::{CheckpointError, GroupEvent, JoinError, replicated};

/// Texts of a kilobyte, so many that a checkpoint has dozens of pieces.
const MANY: u32 = 12_000;

fn text(number: u32) -> String {
    format!("{number:08} ").repeat(110 + number as usize % 7)
}

/// A state that cannot be copied.
#[replicated]
#[derive(Debug, Default)]
struct Shelf {
    texts: BTreeMap<u32, String>,
    #[local]
    place: &'static str,
}

#[replicated]
impl Shelf {
    /// Fills it.
    #[update(order = "total")]
    fn fill(&mut self, count: u32) {
        self.texts = (0..count).map(|number| (number, text(number))).collect();
    }

    #[update(order = "total")]
    fn put(&mut self, number: u32, text: String) {
        self.texts.insert(number, text);
    }

    #[query]
    fn all(&self) -> (BTreeMap<u32, String>, String) {
        (self.texts.clone(), self.place.to_owned())
    }
}

/// The same, which can.
#[replicated]
#[derive(Clone, Debug, Default)]
struct Copied {
    texts: BTreeMap<u32, String>,
}

#[replicated]
impl Copied {
    /// Fills it.
    #[update(order = "total")]
    fn fill(&mut self, count: u32) {
        self.texts = (0..count).map(|number| (number, text(number))).collect();
    }

    #[update(order = "total")]
    fn put(&mut self, number: u32, text: String) {
        self.texts.insert(number, text);
    }

    #[query]
    fn all(&self) -> BTreeMap<u32, String> {
        self.texts.clone()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_state_comes_to_several_joiners_at_once() {
    within(async {
        let cluster = Cluster::new(3).await;
        let group = |index| cluster.node(index).group("shelf").timeout(Duration::from_secs(50));
        let one: ShelfHandle = group(0).create(Shelf::default()).await.expect("made");
        one.fill(MANY).await.expect("stable");
        let local = |place| Shelf { place, ..Shelf::default() };
        let (two, three, ()) =
            tokio::join!(group(1).join(local("2")), group(2).join(local("3")), async {
                for number in 0..200 {
                    one.put(number * 50, number.to_string()).await.expect("stable");
                }
            });
        let (two, three): (ShelfHandle, ShelfHandle) = (two.expect("in"), three.expect("in"));
        one.group().flush().await.expect("flushed");
        let all = one.all().await.expect("read").0;
        assert_eq!(all.len(), MANY as usize);
        for (joiner, place) in [(two, "2"), (three, "3")] {
            joiner.group().flush().await.expect("flushed");
            assert_eq!(joiner.all().await.expect("read"), (all.clone(), place.to_owned()));
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_is_sent_while_updates_go_on() {
    within(async {
        let cluster = Cluster::new(2).await;
        let group = |index| cluster.node(index).group("copied").timeout(Duration::from_secs(50));
        let one: CopiedHandle = group(0).create(Copied::default()).await.expect("made");
        one.fill(MANY).await.expect("stable");
        let (two, ()) = tokio::join!(group(1).join(Copied::default()), async {
            for number in 0..200 {
                one.put(number * 50, number.to_string()).await.expect("stable");
            }
        });
        let two: CopiedHandle = two.expect("in");
        two.put(1, "last".to_owned()).await.expect("stable");
        let all = two.all().await.expect("read");
        one.group().flush().await.expect("flushed");
        assert_eq!(one.all().await.expect("read"), all);
        assert_eq!(all[&1], "last");
    })
    .await;
}

/// Texts, of which the second half cannot be written at the second attempt.
#[derive(Debug, Default)]
struct Half(Vec<String>);

/// How often a second half was begun.
static TRIED: AtomicUsize = AtomicUsize::new(0);

impl Serialize for Half {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut all = serializer.serialize_seq(Some(self.0.len()))?;
        for (at, text) in self.0.iter().enumerate() {
            if at == self.0.len() / 2 && TRIED.fetch_add(1, Ordering::SeqCst) == 1 {
                return Err(S::Error::custom("enough"));
            }
            all.serialize_element(text)?;
        }
        all.end()
    }
}

impl<'de> Deserialize<'de> for Half {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Vec::deserialize(deserializer).map(Half)
    }
}

#[replicated]
#[derive(Debug, Default)]
struct Fragile {
    texts: Half,
}

#[replicated]
impl Fragile {
    #[update(order = "total")]
    fn fill(&mut self, count: u32) {
        self.texts.0 = (0..count).map(text).collect();
    }

    #[query]
    fn all(&self) -> Vec<String> {
        self.texts.0.clone()
    }
}

/// The joiner has got half of the state when the donor's membership ends, and gets another.
#[tokio::test(flavor = "multi_thread")]
async fn where_a_donor_cannot_go_on_another_one_begins_anew() {
    within(async {
        let cluster = Cluster::new(3).await;
        let group = |index| cluster.node(index).group("fragile").timeout(Duration::from_secs(50));
        let one: FragileHandle = group(0).create(Fragile::default()).await.expect("made");
        one.fill(MANY).await.expect("stable");
        let two: FragileHandle = group(1).join(Fragile::default()).await.expect("in");
        assert_eq!(TRIED.load(Ordering::SeqCst), 1);
        let mut events = two.group().views();
        let (three, why) = tokio::join!(group(2).join(Fragile::default()), async {
            loop {
                match events.next_event().await {
                    Some(GroupEvent::Closed { why }) => return why,
                    Some(_) => {}
                    None => panic!("the donor goes on"),
                }
            }
        });
        assert!(why.contains("saving field `texts`"), "{why}");
        assert_eq!(TRIED.load(Ordering::SeqCst), 3);
        let three: FragileHandle = three.expect("in");
        assert_eq!(three.all().await.expect("read"), one.all().await.expect("read"));
    })
    .await;
}

/// Numbers; seven of them are not read while that is not allowed.
#[derive(Debug, Default)]
struct Unread(Vec<u64>);

static READABLE: AtomicBool = AtomicBool::new(false);

impl Serialize for Unread {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Unread {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let numbers = Vec::deserialize(deserializer)?;
        match numbers.len() == 7 && !READABLE.load(Ordering::SeqCst) {
            true => Err(D::Error::custom("not now")),
            false => Ok(Unread(numbers)),
        }
    }
}

#[replicated]
#[derive(Debug, Default)]
struct Sealed {
    before: Unread,
    texts: BTreeMap<u32, String>,
}

#[replicated]
impl Sealed {
    #[update(order = "total")]
    fn fill(&mut self, count: u32) {
        self.texts = (0..count).map(|number| (number, text(number))).collect();
    }

    #[query]
    fn size(&self) -> usize {
        self.texts.len()
    }
}

/// Most of the checkpoint has not come when it turns out that it cannot be read.
#[tokio::test(flavor = "multi_thread")]
async fn a_joiner_that_cannot_read_its_state_is_told_so_and_may_try_again() {
    within(async {
        let cluster = Cluster::new(2).await;
        let full = Sealed { before: Unread(vec![1; 7]), ..Sealed::default() };
        let group = |index| cluster.node(index).group("sealed").timeout(Duration::from_secs(50));
        let one: SealedHandle = group(0).create(full).await.expect("made");
        one.fill(MANY).await.expect("stable");
        let refused: Result<SealedHandle, JoinError> = group(1).join(Sealed::default()).await;
        match refused.expect_err("not read") {
            JoinError::Checkpoint {
                error: CheckpointError::Load { field: "before", .. }, ..
            } => {}
            other => panic!("{other}"),
        }
        READABLE.store(true, Ordering::SeqCst);
        let two: SealedHandle = group(1).join(Sealed::default()).await.expect("in");
        assert_eq!(two.size().await.expect("read"), MANY as usize);
    })
    .await;
}

/// Texts that can be copied, of which the second half is not written while that is not allowed.
#[derive(Clone, Debug, Default)]
struct Gated(Vec<String>);

static OPEN: (Mutex<bool>, Condvar) = (Mutex::new(false), Condvar::new());
/// A permit for each first half that was written.
static HALFWAY: Semaphore = Semaphore::const_new(0);

impl Serialize for Gated {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut all = serializer.serialize_seq(Some(self.0.len()))?;
        for (at, text) in self.0.iter().enumerate() {
            if at == self.0.len() / 2 && at > 0 {
                HALFWAY.add_permits(1);
                let (open, opened) = &OPEN;
                drop(opened.wait_while(open.lock().expect("fine"), |open| !*open));
            }
            all.serialize_element(text)?;
        }
        all.end()
    }
}

impl<'de> Deserialize<'de> for Gated {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Vec::deserialize(deserializer).map(Gated)
    }
}

#[replicated]
#[derive(Clone, Debug, Default)]
struct Slow {
    texts: Gated,
}

#[replicated]
impl Slow {
    #[update(order = "total")]
    fn fill(&mut self, count: u32) {
        self.texts.0 = (0..count).map(text).collect();
    }

    #[query]
    fn size(&self) -> usize {
        self.texts.0.len()
    }
}

async fn has_members(handle: &SlowHandle, count: usize) {
    let mut views = handle.group().views();
    while views.next().await.expect("a view").members().len() != count {}
}

/// Half of the checkpoint has come when the joiner is cut off, and the donor makes no more of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_joiner_that_is_excluded_amid_its_transfer_joins_again() {
    within(async {
        let cluster = Cluster::new(3).await;
        let group = |index| cluster.node(index).group("slow").timeout(Duration::from_secs(50));
        let one: SlowHandle = group(0).create(Slow::default()).await.expect("made");
        let _two: SlowHandle = group(1).join(Slow::default()).await.expect("in");
        one.fill(MANY / 4).await.expect("stable");
        let (three, ()) = tokio::join!(group(2).join(Slow::default()), async {
            HALFWAY.acquire().await.expect("written").forget();
            has_members(&one, 3).await;
            cluster.cut(0, 2);
            cluster.cut(1, 2);
            has_members(&one, 2).await;
            cluster.heal(0, 2);
            cluster.heal(1, 2);
            // It is let in again while the first checkpoint is still not made.
            has_members(&one, 3).await;
            HALFWAY.acquire().await.expect("from the beginning").forget();
            *OPEN.0.lock().expect("fine") = true;
            OPEN.1.notify_all();
        });
        let three: SlowHandle = three.expect("in");
        assert_eq!(three.size().await.expect("read"), (MANY / 4) as usize);
    })
    .await;
}
