//! A node that finds a cluster which cannot let it in is told so.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use vsync::StartError;
use vsync::testing::Cluster;

#[tokio::test]
async fn a_cluster_without_a_quorum_is_named() {
    // Patience of the nodes to come, in milliseconds.
    static PATIENCE: AtomicU64 = AtomicU64::new(30_000);
    let patience = || Duration::from_millis(PATIENCE.load(Ordering::Relaxed));
    let mut cluster = Cluster::with(3, move |builder| builder.patience(patience())).await;
    cluster.kill(0);
    cluster.kill(1);
    // Until the last one knows that it is alone the answer may be another.
    PATIENCE.store(2_000, Ordering::Relaxed);
    for _ in 0..10 {
        match cluster.add().await {
            Err(StartError::NoQuorum { seeds }) => {
                assert_eq!(seeds, ["node2"]);
                let text = StartError::NoQuorum { seeds }.to_string();
                assert!(text.starts_with("the cluster that node2 is in has no quorum"), "{text}");
                return;
            }
            Err(StartError::Unreachable { seeds }) => {
                assert!(seeds[0].1.contains("not let this node in"), "{seeds:?}");
            }
            other => panic!("{other:?}"),
        }
    }
    panic!("nobody says that there is no quorum");
}
