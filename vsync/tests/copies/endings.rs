//! Copies that come to nothing.

use std::future::IntoFuture;
use std::time::Duration;

use vsync::{AskError, ClientError, GroupError, Missing, Unknown};

use crate::ledger::{LedgerClient, Members, within};

fn text(panic: tokio::task::JoinError) -> String {
    let panic = panic.into_panic();
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default()
}

#[tokio::test]
async fn a_panic_is_the_query_s() {
    within(async {
        let members = Members::new(2).await;
        let [one, two] = &members.handles[..] else { panic!("two") };
        let client = members.cluster.client().await.expect("a client");
        let ledger: LedgerClient = client.group("ledger");
        // More often than there are threads.
        for _ in 0..10 {
            let here = tokio::spawn(one.broken().into_future()).await.expect_err("it panics");
            assert_eq!(text(here), "broken, as it should be");
            let there = two.broken().at(0).await;
            assert!(
                matches!(&there, Err(AskError::NoAnswer { why: Missing::Refused(why), .. })
                    if why.contains("panicked")),
                "{there:?}"
            );
            let asked = ledger.broken().await;
            assert!(
                matches!(&asked, Err(ClientError::Decode(why)) if why.contains("panicked")),
                "{asked:?}"
            );
        }
        members.goes_on().await;
        members.open();
        assert_eq!(one.report().await.expect("read"), (20, 20));
    })
    .await;
}

/// A state that cannot be copied is as it was.
#[tokio::test]
async fn a_panic_of_clone_is_the_query_s() {
    within(async {
        let members = Members::new(2).await;
        let [one, two] = &members.handles[..] else { panic!("two") };
        members.open();
        members.gates[0].breaks(true);
        let here = tokio::spawn(one.report().into_future()).await.expect_err("it panics");
        assert_eq!(text(here), "it cannot be copied");
        let there = two.report().at(0).await;
        assert!(
            matches!(&there, Err(AskError::NoAnswer { why: Missing::Refused(why), .. })
                if why.contains("panicked")),
            "{there:?}"
        );
        members.goes_on().await;
        members.gates[0].breaks(false);
        assert_eq!(one.report().await.expect("read"), (20, 20));
    })
    .await;
}

/// Who is not waited for is not computed, nor is the state copied for him; and what is computed
/// in vain holds nobody up when it is done.
#[tokio::test]
async fn what_nobody_waits_for_is_dropped() {
    within(async {
        let members = Members::new(1).await;
        let (one, gate) = (&members.handles[0], &members.gates[0]);
        let short = Duration::from_millis(100);
        let places = std::thread::available_parallelism().map_or(1, usize::from).max(2);
        let asking: Vec<_> = (0..4 * places)
            .map(|_| tokio::spawn(one.report().timeout(short).into_future()))
            .collect();
        for asked in asking {
            let late = asked.await.expect("runs");
            assert!(matches!(late, Err(GroupError::Unknown(Unknown::Timeout))), "{late:?}");
        }
        let begun = gate.came();
        assert!((1..=places).contains(&begun), "no more than have a place: {begun}");
        gate.open();
        assert_eq!(one.report().await.expect("read"), (10, 10));
        assert_eq!((gate.came(), gate.copies()), (begun + 1, begun + 1));
    })
    .await;
}

/// The others do without him who was asked.
#[tokio::test]
async fn a_member_that_dies_with_it_is_told_of() {
    within(async {
        let mut members = Members::new(3).await;
        let asked = members.handles[2].group().me().expect("a member");
        let there = tokio::spawn(members.handles[0].report().at(2).into_future());
        let shared = tokio::spawn(members.handles[0].reports().into_future());
        members.gates[2].come().await;
        members.gates[2].come().await;
        members.cluster.kill(2);
        let died = there.await.expect("runs");
        assert!(
            matches!(died, Err(AskError::NoAnswer { member, why: Missing::Failed })
                if member == asked),
            "{died:?}"
        );
        // Its share is another's.
        members.open();
        let answers = shared.await.expect("runs").expect("answers");
        assert_eq!(answers, [0, 1, 2].map(|share| (share, (10, 10))));
        members.handles.pop();
        members.goes_on().await;
    })
    .await;
}

/// What was copied was stable before this node was cut off from the others.
#[tokio::test]
async fn who_is_excluded_meanwhile_has_read_what_was_stable() {
    within(async {
        let members = Members::new(3).await;
        let asking = tokio::spawn(members.handles[2].report().into_future());
        members.gates[2].come().await;
        for other in 0..2 {
            members.cluster.cut(other, 2);
        }
        let mut views = members.handles[0].group().views();
        while views.next().await.expect("a view").size() > 2 {}
        let latest = members.handles[0].add(1).await.expect("stable without it");
        assert_eq!(latest, 11);
        members.open();
        assert_eq!(asking.await.expect("runs").expect("read"), (10, 10));
        // It is not asked for more: what it has is no longer the group's.
        let asked = members.handles[2].report().timeout(Duration::from_millis(500)).await;
        assert!(asked.is_err() || asked == Ok((10, 10)), "{asked:?}");
        for other in 0..2 {
            members.cluster.heal(other, 2);
        }
    })
    .await;
}
