//! Methods that take their time: the node goes on while they run.

mod pace;

use std::future::IntoFuture;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use pace::{Quick, Slow, members};
use serde::{Deserialize, Serialize, Serializer};
use vsync::testing::Cluster;
use vsync::{GroupError, GroupEvent, Unknown, View, replicated};

/// What is read at length, and notes which views it has seen.
#[replicated]
#[derive(Debug, Default)]
struct Logbook {
    lines: Vec<String>,
}

#[replicated]
impl Logbook {
    #[update(order = "total")]
    fn line(&mut self, line: String) -> usize {
        self.lines.push(line);
        self.lines.len()
    }

    #[query]
    fn browse(&self, millis: u64) -> usize {
        std::thread::sleep(Duration::from_millis(millis));
        self.lines.len()
    }

    #[query]
    fn lines(&self) -> Vec<String> {
        self.lines.clone()
    }

    #[on_view]
    fn on_view(&mut self, view: &View) {
        self.lines.push(format!("view of {}", view.size()));
    }
}

/// A second of work, with half of that as the longest silence that is borne: whoever did it on the
/// driver would be taken for dead.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_updates_hold_up_neither_heartbeats_nor_other_groups() {
    let silence = Duration::from_millis(500);
    let cluster = Cluster::with(3, move |builder| builder.failure_timeout(silence)).await;
    let (slow, quick) = members(&cluster).await;
    let size = slow[0].group().view().unwrap().size();
    // The first ones show that they are slow.
    for number in 0..2 {
        slow[0].work(number, 5).await.unwrap();
    }
    let calls: Vec<_> =
        (2..52).map(|number| tokio::spawn(slow[0].work(number, 20).into_future())).collect();
    let mut while_working = 0;
    while !calls.iter().all(tokio::task::JoinHandle::is_finished) {
        quick[1].bump().await.unwrap();
        while_working += u64::from(!calls.iter().all(tokio::task::JoinHandle::is_finished));
    }
    assert!(while_working > 20, "the other group waited: {while_working} updates");
    let mut lengths = Vec::new();
    for call in calls {
        lengths.push(call.await.unwrap().unwrap());
    }
    lengths.sort_unstable();
    assert_eq!(lengths, (3..=52).collect::<Vec<_>>(), "every caller has its own result");
    slow[2].group().flush().await.unwrap();
    let order = slow[0].order().await.unwrap();
    assert_eq!(slow[2].order().await.unwrap(), order);
    for handle in &slow {
        let view = handle.group().view().unwrap();
        assert_eq!((view.size(), view.left().len()), (size, 0), "nobody was excluded");
    }
}

/// The same with a query that takes a second: its own group's updates wait for it, and nobody else.
#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_slow_query_holds_up_neither_heartbeats_nor_other_groups() {
    let silence = Duration::from_millis(500);
    let cluster = Cluster::with(3, move |builder| builder.failure_timeout(silence)).await;
    let (slow, quick) = members(&cluster).await;
    let reader = slow[0].clone();
    let browsing =
        tokio::task::spawn_blocking(move || reader.browse(1000).optimistic().map(|v| *v.peek()));
    tokio::time::sleep(Duration::from_millis(100)).await;
    // It is delivered at the reader's, and cannot be applied there yet.
    slow[1].work(1, 0).await.unwrap();
    for _ in 0..20 {
        quick[0].bump().await.unwrap();
    }
    assert!(!browsing.is_finished(), "the other group waited");
    assert_eq!(browsing.await.unwrap().unwrap(), 0, "nothing changes while it is read");
    slow[0].group().flush().await.unwrap();
    assert_eq!(slow[0].order().await.unwrap(), [1]);
    assert_eq!(slow[2].group().view().unwrap().size(), 3, "nobody was excluded");
}

/// Leaving, while the replica is away at work, waits for it.
#[tokio::test]
async fn who_leaves_while_it_works_finishes_first() {
    let mut cluster = Cluster::new(2).await;
    let (slow, _) = members(&cluster).await;
    for number in 0..2 {
        slow[1].work(number, 5).await.unwrap();
    }
    let last = tokio::spawn(slow[1].work(2, 200).into_future());
    tokio::time::sleep(Duration::from_millis(20)).await;
    cluster.take(1).unwrap().shutdown(Duration::from_secs(10)).await;
    assert_eq!(last.await.unwrap().unwrap(), 3);
    assert_eq!(slow[0].order().await.unwrap(), [0, 1, 2]);
}

/// A node that dies while its replica is away is a death like any other.
#[tokio::test]
async fn who_dies_while_it_works_is_missed_by_the_others() {
    let mut cluster = Cluster::new(3).await;
    let (slow, _) = members(&cluster).await;
    for number in 0..2 {
        slow[2].work(number, 5).await.unwrap();
    }
    let lost = tokio::spawn(slow[2].work(2, 200).into_future());
    tokio::time::sleep(Duration::from_millis(20)).await;
    cluster.kill(2);
    assert!(lost.await.unwrap().is_err());
    slow[0].work(3, 0).await.unwrap();
    slow[1].work(4, 0).await.unwrap();
    slow[0].work(5, 0).await.unwrap();
    // The second may not have the last one yet.
    let (first, second) = (slow[0].order().await.unwrap(), slow[1].order().await.unwrap());
    assert_eq!(first[..second.len()], second);
    assert!(second.ends_with(&[3, 4]) || second.ends_with(&[3, 4, 5]), "{second:?}");
}

/// The donor of a state that takes three times the silence to write down stays a member, and so
/// does the group.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_save_gets_nobody_suspected() {
    let silence = Duration::from_millis(500);
    let mut cluster = Cluster::with(2, move |builder| builder.failure_timeout(silence)).await;
    let (slow, _) = members(&cluster).await;
    slow[0].write("at length".to_owned()).await.unwrap();
    let mut events = slow[0].group().views();
    let third = cluster.add().await.unwrap();
    let joined = cluster.node(third).group("slow").join(Slow::default()).await.unwrap();
    assert_eq!(joined.group().view().unwrap().size(), 3);
    loop {
        match events.next_event().await.unwrap() {
            GroupEvent::View(view) if view.left().is_empty() && view.size() == 3 => break,
            GroupEvent::View(view) if view.left().is_empty() => {}
            other => panic!("nobody should be gone: {other:?}"),
        }
    }
}

/// As many queries as the runtime has threads, and more, wait for an update that takes its time:
/// neither the driver nor other groups wait with them, and a query can give up.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn queries_that_wait_for_an_update_hold_up_nobody() {
    let cluster = Cluster::new(2).await;
    let (slow, quick) = members(&cluster).await;
    // The first ones show that they are slow.
    for number in 0..2 {
        slow[0].work(number, 5).await.unwrap();
    }
    let working = tokio::spawn(slow[0].work(2, 1500).into_future());
    tokio::time::sleep(Duration::from_millis(100)).await;
    let mut asking: Vec<_> = (0..4).map(|_| tokio::spawn(slow[0].order().into_future())).collect();
    tokio::time::sleep(Duration::from_millis(100)).await;
    for _ in 0..20 {
        quick[0].bump().await.unwrap();
    }
    // Another member's question waits in the same way.
    let from_outside = slow[1].order().at(slow[0].group().me().unwrap());
    let from_outside = tokio::spawn(from_outside.into_future());
    let limited = slow[0].order().timeout(Duration::from_millis(50)).await;
    assert!(matches!(limited, Err(GroupError::Unknown(Unknown::Timeout))), "{limited:?}");
    for _ in 0..20 {
        quick[1].bump().await.unwrap();
    }
    asking.push(tokio::spawn(slow[0].order().into_future()));
    assert!(!working.is_finished(), "the driver waited");
    assert_eq!(working.await.unwrap().unwrap(), 3);
    for query in asking {
        assert_eq!(query.await.unwrap().unwrap(), [0, 1, 2]);
    }
    assert_eq!(from_outside.await.unwrap().unwrap(), [0, 1, 2]);
}

/// A view is installed while a query reads, which takes twice the silence that is borne.
#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_view_that_begins_while_a_query_reads_holds_up_nobody() {
    let silence = Duration::from_millis(500);
    let cluster = Cluster::with(3, move |builder| builder.failure_timeout(silence)).await;
    let (slow, quick) = members(&cluster).await;
    let mut books = Vec::new();
    for node in cluster.nodes() {
        books.push(node.group("book").join_or_create(Logbook::default()).await.unwrap());
    }
    let (reader, browser) = (slow[0].clone(), books[0].clone());
    let one = move || reader.browse(1000).optimistic().map(|v| *v.peek());
    let other = move || browser.browse(1000).optimistic().map(|v| *v.peek());
    let browsing = [tokio::task::spawn_blocking(one), tokio::task::spawn_blocking(other)];
    tokio::time::sleep(Duration::from_millis(50)).await;
    let leavers = (slow[2].group().clone(), books[2].group().clone());
    let leaving = tokio::spawn(async move {
        let patience = Duration::from_secs(10);
        tokio::join!(leavers.0.leave(patience), leavers.1.leave(patience))
    });
    // In a group without `#[on_view]` the view does not even wait for the query.
    while slow[1].group().view().unwrap().size() != 2
        || books[1].group().view().unwrap().size() != 2
        || slow[0].group().view().unwrap().size() != 2
    {
        quick[0].bump().await.unwrap();
    }
    for _ in 0..20 {
        quick[0].bump().await.unwrap();
    }
    // What comes after the view waits with it.
    let line = tokio::spawn(books[1].line("after".to_owned()).into_future());
    for _ in 0..5 {
        quick[0].bump().await.unwrap();
    }
    assert!(browsing.iter().all(|it| !it.is_finished()), "the driver waited");
    for it in browsing {
        it.await.unwrap().unwrap();
    }
    line.await.unwrap().unwrap();
    assert_eq!(leaving.await.unwrap(), (Ok(()), Ok(())));
    books[0].line("last".to_owned()).await.unwrap();
    let lines = books[0].lines().await.unwrap();
    let end = ["view of 2", "after", "last"].map(str::to_owned);
    assert!(lines.ends_with(&end), "{lines:?}");
    books[1].group().flush().await.unwrap();
    let others = books[1].lines().await.unwrap();
    assert!(lines.starts_with(&others) && others.len() + 1 >= lines.len(), "{others:?}");
    assert_eq!(quick[0].group().view().unwrap().size(), 3, "nobody was excluded");
}

/// How many are being written down that are compared.
static WRITING: AtomicUsize = AtomicUsize::new(0);

/// A text that takes its time to be written down, and says when it is.
#[derive(Debug, Default, Deserialize)]
struct Compared(String);

impl Serialize for Compared {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if !self.0.is_empty() {
            WRITING.fetch_add(1, Ordering::SeqCst);
            std::thread::sleep(Duration::from_millis(1500));
            WRITING.fetch_sub(1, Ordering::SeqCst);
        }
        self.0.serialize(serializer)
    }
}

#[replicated]
#[derive(Debug, Default)]
struct Novel {
    text: Compared,
}

#[replicated]
impl Novel {
    #[update(order = "total")]
    fn write(&mut self, text: String) -> usize {
        self.text = Compared(text);
        self.text.0.len()
    }
}

/// Where replicas are compared, the whole state is written down at each view: away, too, for three
/// times the silence that is borne.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_comparison_at_a_view_holds_up_nobody() {
    let silence = Duration::from_millis(500);
    let cluster = Cluster::with(3, move |builder| builder.failure_timeout(silence)).await;
    let (mut novels, mut quick) = (Vec::new(), Vec::new());
    for node in cluster.nodes() {
        let group = node.group("novel").compare_every(1000);
        novels.push(group.join_or_create(Novel::default()).await.unwrap());
        quick.push(node.group("quick").join_or_create(Quick::default()).await.unwrap());
    }
    novels[0].write("at length".to_owned()).await.unwrap();
    let leaver = novels[2].group().clone();
    let leaving = tokio::spawn(async move { leaver.leave(Duration::from_secs(10)).await });
    // Both that are left write it down.
    while WRITING.load(Ordering::SeqCst) < 2 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    for _ in 0..20 {
        quick[0].bump().await.unwrap();
    }
    assert_eq!(WRITING.load(Ordering::SeqCst), 2, "the driver waited");
    leaving.await.unwrap().unwrap();
    assert_eq!(novels[1].write("brief".to_owned()).await.unwrap(), 5);
    assert_eq!(novels[0].group().view().unwrap().size(), 2);
    assert_eq!(novels[0].group().differences(), 0);
    assert_eq!(quick[0].group().view().unwrap().size(), 3, "nobody was excluded");
}
