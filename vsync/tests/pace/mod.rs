//! A type whose methods take their time, and one whose methods do not.

use std::time::Duration;

use serde::{Deserialize, Serialize, Serializer};
use vsync::replicated;
use vsync::testing::Cluster;

/// A text that takes its time to be written down.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
struct Tedious(String);

impl Serialize for Tedious {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        std::thread::sleep(Duration::from_millis(if self.0.is_empty() { 0 } else { 1500 }));
        self.0.serialize(serializer)
    }
}

/// What takes as long as it is told to.
#[replicated]
#[derive(Debug, Default)]
pub(crate) struct Slow {
    order: Vec<u64>,
    bytes: usize,
    text: Tedious,
}

#[replicated]
impl Slow {
    #[update(order = "total")]
    pub(crate) fn work(&mut self, number: u64, millis: u64) -> usize {
        std::thread::sleep(Duration::from_millis(millis));
        self.order.push(number);
        self.order.len()
    }

    #[update(order = "fifo")]
    pub(crate) fn fill(&mut self, text: String) {
        self.bytes += text.len();
    }

    #[update(order = "total")]
    pub(crate) fn write(&mut self, text: String) {
        self.text = Tedious(text);
    }

    #[query]
    pub(crate) fn browse(&self, millis: u64) -> usize {
        std::thread::sleep(Duration::from_millis(millis));
        self.order.len() + self.bytes
    }

    #[query]
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    #[query]
    pub(crate) fn order(&self) -> Vec<u64> {
        self.order.clone()
    }
}

/// What is in another group, and waits for nobody.
#[replicated]
#[derive(Debug, Default)]
pub(crate) struct Quick {
    count: u64,
}

#[replicated]
impl Quick {
    #[update(order = "total")]
    pub(crate) fn bump(&mut self) -> u64 {
        self.count += 1;
        self.count
    }
}

/// A handle of each at each node.
pub(crate) async fn members(cluster: &Cluster) -> (Vec<SlowHandle>, Vec<QuickHandle>) {
    let (mut slow, mut quick) = (Vec::new(), Vec::new());
    for node in cluster.nodes() {
        slow.push(node.group("slow").join_or_create(Slow::default()).await.unwrap());
        quick.push(node.group("quick").join_or_create(Quick::default()).await.unwrap());
    }
    (slow, quick)
}
