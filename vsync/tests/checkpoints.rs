//! What goes on while a donor saves its state for a joiner.

mod patience;

use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use patience::within;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use vsync::replicated;
use vsync::testing::Cluster;

/// What stops whoever saves a [`Slow`], and what was saved.
#[derive(Default)]
struct Gate {
    state: Mutex<(bool, Vec<usize>)>,
    turned: Condvar,
}

static GATE: Gate = Gate { state: Mutex::new((false, Vec::new())), turned: Condvar::new() };

impl Gate {
    /// Somebody begins to save `count` numbers, and waits.
    fn pass(&self, count: usize) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.1.push(count);
        while !state.0 {
            state = self.turned.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn open(&self) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).0 = true;
        self.turned.notify_all();
    }

    fn saved(&self) -> Vec<usize> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).1.clone()
    }
}

/// Numbers that take as long to save as the gate is closed.
#[derive(Clone, Debug, Default)]
struct Slow(Vec<u64>);

impl Serialize for Slow {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        GATE.pass(self.0.len());
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Slow {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Vec::deserialize(deserializer).map(Slow)
    }
}

#[replicated]
#[derive(Clone, Debug, Default)]
struct Journal {
    numbers: Slow,
}

#[replicated]
impl Journal {
    /// Adds a number.
    #[update(order = "total")]
    fn add(&mut self, number: u64) {
        self.numbers.0.push(number);
    }

    #[query]
    fn all(&self) -> Vec<u64> {
        self.numbers.0.clone()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn updates_and_queries_go_on_while_a_copy_is_saved() {
    let done = within(async {
        let cluster = Cluster::new(2).await;
        let group = |index| cluster.node(index).group("journal");
        let donor: JournalHandle = group(0).create(Journal::default()).await.expect("made");
        for number in 0..10 {
            donor.add(number).await.expect("stable");
        }
        let joining = group(1).timeout(Duration::from_secs(20)).join(Journal::default());
        let work = async {
            while GATE.saved().is_empty() {
                tokio::task::yield_now().await;
            }
            // The donor is at it, and all goes on.
            for number in 10..20 {
                donor.add(number).await.expect("stable");
            }
            assert_eq!(donor.all().await.expect("read").len(), 20);
            GATE.open();
        };
        let (joined, ()) = tokio::join!(joining, work);
        let joiner: JournalHandle = joined.expect("a member");
        assert_eq!(GATE.saved()[0], 10, "the checkpoint is that of the install");
        joiner.add(20).await.expect("stable");
        donor.group().flush().await.expect("flushed");
        let expected: Vec<u64> = (0..=20).collect();
        assert_eq!(joiner.all().await.expect("read"), expected);
        assert_eq!(donor.all().await.expect("read"), expected);
    });
    // Whatever comes, nobody waits behind the gate for ever.
    let done = tokio::spawn(done).await;
    GATE.open();
    done.expect("done");
}
