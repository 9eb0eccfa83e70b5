//! Replicas that fall behind, and what callers and the others hear of it.

mod pace;

use std::future::IntoFuture;
use std::time::Duration;

use pace::members;
use vsync::CallError;
use vsync::testing::Cluster;

/// What goes out while the replica is away may be applied by the others: whoever called it and
/// loses its node must not hear that it certainly was not.
#[tokio::test]
async fn nobody_is_told_that_what_went_out_was_not_applied() {
    let mut cluster = Cluster::new(3).await;
    let (slow, _quick) = members(&cluster).await;
    // The first ones show that they are slow.
    for number in 0..2 {
        slow[2].work(number, 5).await.unwrap();
    }
    drop(tokio::spawn(slow[2].work(2, 300).into_future()));
    tokio::time::sleep(Duration::from_millis(50)).await;
    let call = tokio::spawn(slow[2].work(9, 0).into_future());
    tokio::time::sleep(Duration::from_millis(50)).await;
    cluster.kill(2);
    let told = call.await.unwrap();
    assert!(matches!(told, Err(CallError::Unknown(_))), "{told:?}");
    slow[0].work(3, 0).await.unwrap();
    assert_eq!(slow[0].order().await.unwrap(), [0, 1, 2, 9, 3], "the others have it");
}

/// A query takes longer than a silence that is borne, and meanwhile more is sent than a node holds
/// for a replica: the sender waits, and nobody else.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn senders_wait_for_a_replica_that_falls_behind_and_other_groups_do_not() {
    const TEXT: usize = 512 * 1024;
    const TEXTS: usize = 180;
    /// What a node holds.
    const LIMIT: usize = 64 * 1024 * 1024;
    let silence = Duration::from_millis(500);
    let cluster = Cluster::with(3, move |builder| builder.failure_timeout(silence)).await;
    let (slow, quick) = members(&cluster).await;
    // All are in it, as active members.
    let before = loop {
        let views: Vec<_> = slow.iter().map(|handle| handle.group().view().unwrap()).collect();
        if views.iter().all(|view| view.size() == 3 && view.number() == views[0].number()) {
            break views[0].number();
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    let reader = slow[2].clone();
    let browsing = tokio::task::spawn_blocking(move || {
        reader.browse(3000).optimistic().map(|bytes| *bytes.peek())
    });
    tokio::time::sleep(Duration::from_millis(100)).await;
    let sender = slow[0].clone();
    let sending = tokio::spawn(async move {
        for _ in 0..TEXTS {
            sender.fill("x".repeat(TEXT)).send().await.unwrap();
        }
    });
    let (mut bumps, mut most) = (0, 0);
    while !browsing.is_finished() {
        quick[1].bump().await.unwrap();
        bumps += 1;
        let report = cluster.node(2).report(Duration::from_secs(1)).await.expect("it is not deaf");
        most = report.groups.iter().map(|group| group.held).fold(most, usize::max);
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(browsing.await.unwrap().unwrap(), 0, "nothing changes while it is read");
    // One or two, if it waited until the replica was back; how many more is the machine's affair.
    assert!(bumps > 5, "the other group waited: {bumps} updates");
    assert!(most > LIMIT, "it did not fall behind: {most} bytes");
    assert!(most < LIMIT + 16 * 1024 * 1024, "nobody waited: {most} bytes");
    sending.await.unwrap();
    slow[0].group().flush().await.unwrap();
    slow[2].group().flush().await.unwrap();
    assert_eq!(slow[2].bytes().await.unwrap(), TEXT * TEXTS);
    for handle in &slow {
        let view = handle.group().view().unwrap();
        assert_eq!((view.size(), view.left().len()), (3, 0), "nobody was excluded");
        assert_eq!(view.number(), before, "nor excluded and let in again");
    }
}
