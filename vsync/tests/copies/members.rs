//! Members that ask.

use std::future::IntoFuture;
use std::time::Duration;

use tokio::runtime::Builder;

use crate::ledger::{Gate, Ledger, LedgerHandle, Members, within};

async fn a_group_goes_on_while_it_is_read() {
    let members = Members::new(2).await;
    let asking = tokio::spawn(members.handles[0].report().into_future());
    members.gates[0].come().await;
    members.goes_on().await;
    assert!(!asking.is_finished());
    members.open();
    assert_eq!(asking.await.expect("runs").expect("read"), (10, 10), "as it was");
    // The next one is of another copy.
    assert_eq!(members.handles[0].report().await.expect("read"), (20, 20));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn updates_and_queries_go_on_while_one_reads() {
    within(a_group_goes_on_while_it_is_read()).await;
}

/// The only thread there is polls the query, and drives both nodes.
#[tokio::test]
async fn they_go_on_where_there_is_one_thread() {
    within(a_group_goes_on_while_it_is_read()).await;
}

#[tokio::test]
async fn one_member_is_asked() {
    within(async {
        let members = Members::new(2).await;
        let [one, two] = &members.handles[..] else { panic!("two") };
        let there = tokio::spawn(one.report().at(1).into_future());
        let here = tokio::spawn(one.report().at(0).after_mine().into_future());
        members.gates[1].come().await;
        members.gates[0].come().await;
        members.goes_on().await;
        assert!(!there.is_finished() && !here.is_finished());
        members.open();
        assert_eq!(there.await.expect("runs").expect("an answer"), (10, 10));
        assert_eq!(here.await.expect("runs").expect("an answer"), (10, 10));
        assert_eq!(two.report().at(0).linearizable().await.expect("an answer"), (20, 20));
    })
    .await;
}

#[tokio::test]
async fn all_members_are_asked_for_their_shares() {
    within(async {
        let members = Members::new(3).await;
        let asking = tokio::spawn(members.handles[1].reports().into_future());
        for gate in &members.gates {
            gate.come().await;
        }
        members.goes_on().await;
        assert!(!asking.is_finished());
        members.open();
        assert_eq!(
            asking.await.expect("runs").expect("answers"),
            [0, 1, 2].map(|share| (share, (10, 10)))
        );
        let each = members.handles[2].reports().each().after_mine().await.expect("answers");
        let answers: Vec<_> = each.answers.into_iter().map(|(_, answer)| answer).collect();
        assert_eq!(answers, [0, 1, 2].map(|share| vec![(share, (25, 25))]));
    })
    .await;
}

#[tokio::test]
async fn the_latest_is_read() {
    within(async {
        let members = Members::new(2).await;
        let [one, two] = &members.handles[..] else { panic!("two") };
        for amount in 1..=5 {
            let sum = one.add(amount).await.expect("stable");
            let asking = tokio::spawn(two.report().linearizable().into_future());
            members.gates[1].come().await;
            assert_eq!(two.add(1).await.expect("stable"), sum + 1);
            members.gates[1].open();
            assert_eq!(asking.await.expect("runs").expect("read"), (sum, sum));
            members.gates[1].shut();
        }
    })
    .await;
}

/// Where it does not wait, it is computed where it is asked; the state is free all the same.
#[tokio::test]
async fn what_is_read_at_once_holds_nobody_up() {
    within(async {
        let members = Members::new(2).await;
        let one = members.handles[0].clone();
        let reading = tokio::task::spawn_blocking(move || one.report().optimistic());
        members.gates[0].come().await;
        members.goes_on().await;
        assert!(!reading.is_finished());
        members.open();
        let read = reading.await.expect("runs").expect("read");
        assert_eq!(*read.peek(), (10, 10));
        assert_eq!(read.stable().await.expect("long since"), (10, 10));
    })
    .await;
}

/// A query knows the view of what it reads.
#[tokio::test]
async fn its_context_is_that_of_the_copy() {
    within(async {
        let mut members = Members::new(1).await;
        members.cluster.add().await.expect("started");
        let here = tokio::spawn(members.handles[0].size().into_future());
        let asked = tokio::spawn(members.handles[0].size().at(0).into_future());
        members.gates[0].come().await;
        members.gates[0].come().await;
        members.join(1).await;
        members.open();
        assert_eq!(here.await.expect("runs").expect("read"), 1);
        assert_eq!(asked.await.expect("runs").expect("an answer"), 1);
        assert_eq!(members.handles[0].size().await.expect("read"), 2);
    })
    .await;
}

/// Neither tokio's threads nor those of checkpoints are waited for, nor are they held.
#[test]
fn threads_that_others_hold_are_not_needed() {
    let mut builder = Builder::new_multi_thread();
    let runtime = builder.worker_threads(2).max_blocking_threads(1).enable_all().build();
    runtime.expect("a runtime").block_on(within(async {
        let mut members = Members::new(1).await;
        members.cluster.add().await.expect("started");
        let (tell, told) = std::sync::mpsc::channel::<()>();
        let held = tokio::task::spawn_blocking(move || told.recv());
        // More than there are places for.
        let asking: Vec<_> =
            (0..64).map(|_| tokio::spawn(members.handles[0].report().into_future())).collect();
        members.gates[0].come().await;
        members.join(1).await;
        members.goes_on().await;
        members.open();
        for asked in asking {
            let (left, right) = asked.await.expect("runs").expect("read");
            assert!((10..=20).contains(&left) && left == right, "{left}, {right}");
        }
        tell.send(()).expect("held until now");
        held.await.expect("runs").expect("told");
    }));
}

/// Who does not keep his replica up to date applies what he has kept first.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cold_backup_wakes_for_it() {
    within(async {
        let mut members = Members::new(1).await;
        members.cluster.add().await.expect("started");
        let gate = Gate::default();
        gate.open();
        let node = members.cluster.node(1);
        let cold: LedgerHandle =
            node.group("ledger").cold(1 << 20).join(Ledger::behind(&gate)).await.expect("a member");
        loop {
            for _ in 0..20 {
                members.handles[0].add(1).await.expect("stable");
            }
            let report = node.report(Duration::from_secs(5)).await.expect("there");
            if report.groups.iter().any(|group| group.unapplied.is_some()) {
                break;
            }
        }
        let sum = members.handles[0].total().await.expect("read");
        let (left, right) = cold.report().await.expect("read");
        assert!(left == right && left > 10, "{left}, {right}");
        assert_eq!(cold.report().linearizable().await.expect("read"), (sum, sum));
    })
    .await;
}
