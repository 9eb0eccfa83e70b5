//! Kinds of types whose copies are read.

use std::collections::BTreeMap;

use serde::Serialize;
use serde::de::DeserializeOwned;
use vsync::testing::{Check, Cluster, Dice, Faults, Simulation};
use vsync::{Replicated, replicated, sim_test};

use crate::ledger::within;

/// Of any values that can be copied.
#[replicated]
#[derive(Clone, Debug, Default)]
struct Store<V: Clone> {
    all: BTreeMap<u64, V>,
}

#[replicated]
impl<V> Store<V>
where
    V: Clone + Default + Send + Serialize + DeserializeOwned + 'static,
{
    #[update(order = "total")]
    fn put(&mut self, key: u64, value: V) {
        self.all.insert(key, value);
    }

    #[query(snapshot, id = 3)]
    fn all(&self) -> Vec<V> {
        self.all.values().cloned().collect()
    }
}

#[tokio::test]
async fn a_generic_state_is_copied() {
    within(async {
        let cluster = Cluster::new(1).await;
        let store = Store::<String>::default();
        let store: StoreHandle<String> =
            cluster.node(0).group("s").create(store).await.expect("in");
        store.put(1, "one".to_owned()).await.expect("stable");
        assert_eq!(store.all().await.expect("read"), ["one"]);
        assert_eq!(store.all().at(0).await.expect("an answer"), ["one"]);
    })
    .await;
}

/// A query that is not there asks nothing of the type.
#[replicated]
#[derive(Debug, Default)]
struct Plain {
    sum: u64,
}

#[replicated]
impl Plain {
    #[update(order = "total")]
    fn add(&mut self, amount: u64) {
        self.sum += amount;
    }

    #[cfg(any())]
    #[query(snapshot)]
    fn copied(&self) -> u64 {
        self.sum
    }

    #[query]
    fn sum(&self) -> u64 {
        self.sum
    }
}

#[test]
fn only_what_is_there_is_of_a_copy() {
    assert_eq!((Plain::SNAPSHOTS, Store::<u8>::SNAPSHOTS), (&[][..], &[3][..]));
    assert_eq!(Plain::QUERIES.len(), 1);
}

/// Some of each, for what looks at types without a group.
#[replicated]
#[derive(Clone, Debug, Default)]
struct Sums {
    sum: u64,
}

#[replicated]
impl Sums {
    #[update(order = "total")]
    fn add(&mut self, amount: u64) -> u64 {
        self.sum += amount;
        self.sum
    }

    #[query(snapshot)]
    fn above(&self, least: u64) -> bool {
        self.sum > least
    }
}

fn sums(dice: &mut Dice) -> SumsUpdate {
    SumsUpdate::Add { amount: dice.below(100) }
}

#[test]
fn it_is_checked_as_others_are() {
    let check = Check::new(Sums::default, sums);
    let checked = check.queries(|dice| SumsQuery::Above { least: dice.below(100) }).wire();
    assert!(checked.expect("survives").cases > 100);
}

#[sim_test(seeds = 0..5, faults = Faults::all())]
fn it_is_simulated_as_others_are() -> Simulation<Sums> {
    Simulation::new(Sums::default, sums)
}
