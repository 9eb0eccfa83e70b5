//! Clients that ask.

use std::future::IntoFuture;

use crate::ledger::{LedgerClient, Members, within};

#[tokio::test]
async fn a_client_s_query_holds_nobody_up() {
    within(async {
        let members = Members::new(2).await;
        let client = members.cluster.client().await.expect("a client");
        let ledger: LedgerClient = client.group("ledger");
        let sum = ledger.add(5).await.expect("carried out");
        let at = tokio::spawn(ledger.report().at(1).into_future());
        members.gates[1].come().await;
        // His own updates and queries, too.
        assert_eq!(ledger.add(5).await.expect("carried out"), sum + 5);
        assert_eq!(ledger.total().await.expect("an answer"), sum + 5);
        members.goes_on().await;
        assert!(!at.is_finished());
        members.open();
        assert_eq!(at.await.expect("runs").expect("an answer"), (sum, sum));
        // Of what he has seen it reads no less.
        let seen = ledger.total().await.expect("an answer");
        assert_eq!(ledger.report().await.expect("an answer"), (seen, seen));
        let latest = members.handles[0].add(1).await.expect("stable");
        let read = ledger.report().linearizable().await.expect("an answer");
        assert_eq!(read, (latest, latest));
    })
    .await;
}

#[tokio::test]
async fn a_gateway_goes_on_while_it_answers() {
    within(async {
        let members = Members::new(2).await;
        let client = members.cluster.client().await.expect("a client");
        let ledger: LedgerClient = client.group("ledger");
        let asking = tokio::spawn(ledger.report().into_future());
        tokio::select! {
            () = members.gates[0].come() => {}
            () = members.gates[1].come() => {}
        }
        members.goes_on().await;
        assert!(!asking.is_finished());
        members.open();
        assert_eq!(asking.await.expect("runs").expect("an answer"), (10, 10));
    })
    .await;
}

#[tokio::test]
async fn a_client_has_shares_done_of_copies() {
    within(async {
        let members = Members::new(2).await;
        let client = members.cluster.client().await.expect("a client");
        let ledger: LedgerClient = client.group("ledger");
        let all = tokio::spawn(ledger.reports().into_future());
        let each = tokio::spawn(ledger.reports().each().into_future());
        for gate in &members.gates {
            gate.come().await;
            gate.come().await;
        }
        members.goes_on().await;
        assert!(!all.is_finished() && !each.is_finished());
        members.open();
        assert_eq!(
            all.await.expect("runs").expect("answers"),
            [0, 1].map(|share| (share, (10, 10)))
        );
        let each = each.await.expect("runs").expect("answers");
        let answers: Vec<_> = each.answers.into_iter().map(|(_, answer)| answer).collect();
        assert_eq!(answers, [0, 1].map(|share| vec![(share, (10, 10))]));
        assert!(each.missing.is_empty());
    })
    .await;
}
