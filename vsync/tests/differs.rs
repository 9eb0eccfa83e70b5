//! Replicas that are not alike: they are found, named and mended.

use std::time::Duration;

use vsync::testing::Cluster;
use vsync::{GroupEvent, MemberId, Views, replicated};

/// Counts; where something is wrong, wrongly.
#[replicated]
#[derive(Debug, Default)]
struct Totals {
    pad: Vec<u64>,
    count: u64,
    /// What an update must not look at.
    #[local]
    flip: bool,
}

#[replicated]
impl Totals {
    #[update(order = "total")]
    fn fill(&mut self, length: u64) {
        self.pad = vec![7; length as usize];
    }

    #[update(order = "total")]
    fn add(&mut self, amount: u64) -> u64 {
        self.count += amount;
        if self.flip && self.count == 10 {
            self.count ^= 1;
        }
        self.count
    }

    #[query]
    fn count(&self) -> u64 {
        self.count
    }
}

/// The same, but it could be told of in any order.
#[replicated]
#[derive(Debug, Default)]
struct Mixed {
    count: u64,
    #[local]
    flip: bool,
}

#[replicated]
impl Mixed {
    #[update(order = "fifo")]
    fn add(&mut self, amount: u64) {
        self.count += amount;
        if self.flip && self.count == 10 {
            self.count ^= 1;
        }
    }

    #[query]
    fn count(&self) -> u64 {
        self.count
    }
}

/// What is said of differing replicas, until a view without any of them.
async fn differing(views: &mut Views) -> (MemberId, String) {
    loop {
        let event = views.next_event().await.expect("the group goes on");
        if let GroupEvent::Differs(found) = event {
            return (found.member, found.to_string());
        }
    }
}

async fn whole(views: &mut Views, size: usize) {
    while views.next().await.expect("the group goes on").size() != size {}
}

async fn patient<T>(what: &str, wait: impl Future<Output = T>) -> T {
    let waited = tokio::time::timeout(Duration::from_secs(60), wait).await;
    waited.unwrap_or_else(|_| panic!("{what} takes too long"))
}

#[tokio::test]
async fn a_flipped_bit_is_found_between_updates_and_mended() {
    let cluster = Cluster::new(3).await;
    let mut handles = Vec::new();
    for (index, node) in cluster.nodes().enumerate() {
        let state = Totals { flip: index == 2, ..Totals::default() };
        let group = node.group("totals").compare_every(20);
        handles.push(group.join_or_create(state).await.unwrap());
    }
    handles[0].fill(1000).await.unwrap();
    let wrong = handles[2].group().me().unwrap();
    let mut first = handles[0].group().views();
    let mut third = handles[2].group().views();
    for _ in 0..100 {
        handles[1].add(1).await.unwrap();
    }
    let (member, why) = patient("the difference", differing(&mut first)).await;
    assert_eq!(member, wrong);
    // The count comes after a thousand numbers.
    assert!(why.contains("bytes 960 to 1003 of 1003"), "{why}");
    assert_eq!(patient("its own", differing(&mut third)).await.0, wrong);
    patient("the view with it again", async {
        whole(&mut third, 3).await;
        while handles[0].group().view().unwrap().size() < 3 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    assert_ne!(handles[2].group().me().unwrap(), wrong, "it is another member now");
    handles[2].add(1).await.unwrap();
    handles[0].add(1).await.unwrap();
    assert_eq!(handles[0].count().await.unwrap(), 102);
    handles[2].add(1).await.unwrap();
    assert_eq!(handles[2].count().await.unwrap(), 103, "with the donor's state");
    for handle in &handles {
        assert_eq!(handle.group().differences(), 1);
    }
}

/// Its state is right everywhere; what it says is not.
#[replicated]
#[derive(Debug, Default)]
struct Answers {
    count: u64,
    #[local]
    flip: bool,
}

#[replicated]
impl Answers {
    #[update(order = "total")]
    fn next(&mut self) -> u64 {
        self.count += 1;
        self.count + u64::from(self.flip)
    }
}

/// What is recorded for clients is a part of what replicas agree on: whoever is asked again answers
/// with it.
#[tokio::test]
async fn what_is_recorded_for_clients_is_compared() {
    let cluster = Cluster::new(3).await;
    let mut handles: Vec<AnswersHandle> = Vec::new();
    for (index, node) in cluster.nodes().enumerate() {
        let state = Answers { flip: index == 2, ..Answers::default() };
        let group = node.group("answers").compare_every(10);
        handles.push(group.join_or_create(state).await.unwrap());
    }
    // Members' own calls leave no trace.
    for _ in 0..40 {
        handles[1].next().await.unwrap();
    }
    handles[0].group().flush().await.unwrap();
    assert_eq!(handles[0].group().differences(), 0);
    let wrong = handles[2].group().me().unwrap();
    let mut first = handles[0].group().views();
    let client = cluster.client().await.unwrap();
    client.group::<AnswersClient>("answers").next().key("a name").await.unwrap();
    for _ in 0..40 {
        handles[1].next().await.unwrap();
    }
    let (member, why) = patient("the difference", differing(&mut first)).await;
    assert_eq!(member, wrong);
    assert!(why.ends_with("beside its state, of clients' requests or of timers"), "{why}");
}

#[tokio::test]
async fn what_has_no_one_order_is_compared_at_views() {
    let mut cluster = Cluster::new(4).await;
    let mut handles = Vec::new();
    for (index, node) in cluster.nodes().enumerate() {
        let state = Mixed { flip: index == 1, ..Mixed::default() };
        let group = node.group("mixed").compare_every(1);
        handles.push(group.join_or_create(state).await.unwrap());
    }
    let wrong = handles[1].group().me().unwrap();
    let mut first = handles[0].group().views();
    for _ in 0..30 {
        handles[0].add(1).await.unwrap();
    }
    handles[1].group().flush().await.unwrap();
    assert_eq!(handles[0].group().differences(), 0, "there was nothing to compare at");
    cluster.kill(3);
    let (member, why) = patient("the difference", differing(&mut first)).await;
    assert_eq!(member, wrong, "{why}");
    patient("the view with it again", whole(&mut first, 3)).await;
    patient("the state", async {
        while handles[1].count().await.is_err() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    handles[1].group().flush().await.unwrap();
    assert_eq!(handles[1].count().await.unwrap(), 30);
}

#[tokio::test]
async fn nobody_is_compared_who_does_not_ask() {
    let cluster = Cluster::new(2).await;
    let mut handles = Vec::new();
    for (index, node) in cluster.nodes().enumerate() {
        let state = Totals { flip: index == 1, ..Totals::default() };
        handles.push(node.group("totals").join_or_create(state).await.unwrap());
    }
    for _ in 0..50 {
        handles[0].add(1).await.unwrap();
    }
    handles[1].add(0).await.unwrap();
    assert_eq!(handles[1].count().await.unwrap(), 51, "it differs");
    assert_eq!(handles[0].group().differences(), 0);
}

/// Replicas that are alike are left alone, whatever they are compared at.
#[tokio::test]
async fn nobody_is_found_to_differ_who_does_not() {
    let mut cluster = Cluster::new(3).await;
    // They took place: by some updates, and at a view.
    let compared = async |cluster: &Cluster, node: usize| {
        let report = cluster.node(node).report(Duration::from_secs(10)).await.unwrap();
        let group = report.groups.iter().find(|group| group.name == "totals").unwrap();
        group.comparisons
    };
    let mut handles = Vec::new();
    for node in cluster.nodes() {
        let group = node.group("totals").compare_every(5);
        handles.push(group.join_or_create(Totals::default()).await.unwrap());
    }
    for round in 0..50 {
        handles[round % 3].add(1).await.unwrap();
    }
    handles[1].group().flush().await.unwrap();
    let before = compared(&cluster, 1).await;
    assert!(before >= 5, "{before} comparisons in 50 updates");
    cluster.kill(0);
    for _ in 0..50 {
        handles[1].add(1).await.unwrap();
    }
    handles[2].add(0).await.unwrap();
    let after = compared(&cluster, 1).await;
    assert!(after >= before + 5, "{after} comparisons with those before the view");
    assert_eq!(handles[2].count().await.unwrap(), 100);
    for handle in &handles[1..] {
        assert_eq!(handle.group().differences(), 0);
        assert_eq!(handle.group().view().unwrap().size(), 2);
    }
}
