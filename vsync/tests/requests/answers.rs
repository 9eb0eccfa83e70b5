//! What requests answer, and how they end without an answer.

use std::collections::BTreeSet;
use std::time::Duration;

use vsync::{Card, ClientCallError, ClientError};

use crate::desk::{Desk, SoldOut, Stage, ask, desk, members, value, within};

#[tokio::test]
async fn clients_and_members_are_answered() {
    within(async {
        let (cluster, members) = members(3, &Stage::new(false)).await;
        let client = desk(&cluster).await;
        assert_eq!(client.bump(2).await.expect("answered"), 2);
        assert_eq!(members[1].bump(3).await.expect("answered"), 5);
        assert_eq!(client.value().await.expect("an answer"), 5, "its own writes");
        assert_eq!(client.twice().await.expect("answered"), 1, "the first attempt");
        assert_eq!(client.updates().await.expect("an answer"), 4);
        let (rank, cohort, size) = members[0].place().await.expect("answered");
        assert!(rank.is_some_and(|rank| rank < 3) && (cohort, size) == (2, 3));
        for member in &members {
            assert_eq!(value(member).await, 7);
            assert_eq!(member.group().load().pending, 0);
        }
    })
    .await;
}

#[test]
fn a_card_says_what_is_asked_for_and_who_answers() {
    let card = Card::of::<Desk>();
    let text = card.to_string();
    assert!(text.contains("\nrequest twice id 5 by rendezvous\n  -> u32 #"), "{text}");
    assert_eq!(text.parse(), Ok(card));
}

#[tokio::test]
async fn a_no_of_the_handler_or_of_an_update_is_an_answer() {
    within(async {
        let (cluster, members) = members(2, &Stage::new(false)).await;
        let client = desk(&cluster).await;
        for sold in 1..=3 {
            assert_eq!(client.order().await.expect("sold"), sold);
        }
        let refused = client.order().await;
        assert!(matches!(refused, Err(ClientCallError::Refused(SoldOut))), "{refused:?}");
        let refused = members[0].refuse().await;
        assert!(matches!(refused, Err(ClientCallError::Refused(SoldOut))), "{refused:?}");
        assert_eq!(value(&members[0]).await, 3, "who says no changes nothing");
    })
    .await;
}

#[tokio::test]
async fn one_name_is_one_request() {
    within(async {
        let stage = Stage::new(true);
        let (cluster, members) = members(3, &stage).await;
        let (one, two) = (desk(&cluster).await, desk(&cluster).await);
        let first = ask(one.bump(1).key("k"));
        stage.begun(1).await;
        let second = ask(two.bump(1).key("k"));
        let third = ask(members[0].bump(1).key("k"));
        let is_other = |error: Option<ClientCallError<_>>| {
            let expected =
                ClientCallError::<std::convert::Infallible>::NotApplied(ClientError::OtherContent);
            assert_eq!(format!("{error:?}"), format!("{:?}", Some(expected)));
        };
        is_other(two.bump(2).key("k").await.err());
        is_other(two.add(1).key("k").await.err());
        stage.release();
        for asked in [first, second, third] {
            assert_eq!(asked.await.expect("no panic").expect("answered"), 1);
        }
        is_other(two.bump(2).key("k").await.err());
        is_other(members[1].twice().key("k").await.map(u64::from).err());
        assert_eq!(stage.begun(1).await.len(), 1);
        assert_eq!(value(&members[0]).await, 1);
        let long = one.bump(1).key([0; 257]).await;
        assert!(
            matches!(
                long,
                Err(ClientCallError::NotApplied(ClientError::KeyTooLong { size: 257, .. }))
            ),
            "{long:?}"
        );
    })
    .await;
}

#[tokio::test]
async fn past_its_deadline_a_request_has_no_effect() {
    within(async {
        let stage = Stage::new(true);
        let (cluster, members) = members(3, &stage).await;
        let client = desk(&cluster).await;
        for late in [
            client.bump(1).timeout(Duration::ZERO).await,
            members[0].bump(1).timeout(Duration::ZERO).await,
            client.bump(1).timeout(Duration::from_millis(300)).await,
            members[0].bump(1).timeout(Duration::from_millis(300)).await,
        ] {
            assert!(
                matches!(late, Err(ClientCallError::NotApplied(ClientError::Deadline))),
                "{late:?}"
            );
        }
        stage.release();
        assert_eq!(stage.begun(2).await.len(), 2, "the first two were not even asked for");
        assert_eq!(client.bump(1).await.expect("answered"), 1, "the others had no effect");
        assert_eq!(members[0].group().load().pending, 0);
    })
    .await;
}

#[tokio::test]
async fn a_panic_of_the_handler_is_the_answer() {
    within(async {
        let stage = Stage::new(false);
        let (cluster, members) = members(3, &stage).await;
        for _ in 0..2 {
            let panicked = desk(&cluster).await.panic().key("boom").await;
            let Err(ClientCallError::NotApplied(ClientError::HandlerPanicked(why))) = panicked
            else {
                panic!("{panicked:?}");
            };
            assert_eq!(why, "attempt 1");
        }
        assert_eq!(stage.begun(1).await.len(), 1, "it is not tried again");
        assert_eq!(value(&members[0]).await, 0);
        assert_eq!(members[0].group().failures(), 0, "no update has failed");
    })
    .await;
}

#[tokio::test]
async fn a_panic_of_an_update_is_everybodys() {
    within(async {
        let (cluster, members) = members(3, &Stage::new(false)).await;
        let panicked = desk(&cluster).await.stumble().await;
        let Err(ClientCallError::Panicked(why)) = panicked else { panic!("{panicked:?}") };
        assert_eq!(why, "at 11");
        for member in &members {
            assert_eq!(value(member).await, 11, "what came before stays, what follows is left");
            assert_eq!(member.group().failures(), 1);
        }
        assert_eq!(desk(&cluster).await.bump(1).await.expect("answered"), 12);
    })
    .await;
}

#[tokio::test]
async fn what_is_too_large_is_named() {
    within(async {
        let (cluster, members) = members(2, &Stage::new(false)).await;
        let client = desk(&cluster).await;
        let large = client.large(2 << 20, true).await;
        let Err(ClientCallError::NotApplied(ClientError::Commit(why))) = large else {
            panic!("{large:?}");
        };
        assert!(why.contains("limit"), "{why}");
        assert_eq!(value(&members[0]).await, 0, "known before, so without effect");
        let large = client.large(2 << 20, false).await;
        let Err(ClientCallError::NoResult(why)) = large else { panic!("{large:?}") };
        assert!(why.contains("limit"), "{why}");
        assert_eq!(value(&members[0]).await, 1, "known when it is applied");
        let fits = client.large(1 << 19, true).await.expect("answered");
        assert_eq!(fits.len(), 1 << 19);
        for size in [2 << 20, 17 << 20] {
            let taken = client.take(vec![0; size]).await;
            assert!(
                matches!(taken, Err(ClientCallError::NotApplied(ClientError::TooLarge { .. }))),
                "{taken:?}"
            );
        }
        let taken = members[0].take(vec![0; 2 << 20]).await;
        assert!(
            matches!(taken, Err(ClientCallError::NotApplied(ClientError::TooLarge { .. }))),
            "{taken:?}"
        );
        assert_eq!(client.take(vec![0; 1 << 19]).await.expect("answered"), 1 << 19);
    })
    .await;
}

#[tokio::test]
async fn a_request_can_be_cancelled_until_it_is_answered() {
    within(async {
        let stage = Stage::new(true);
        let (cluster, members) = members(3, &stage).await;
        let (one, two) = (desk(&cluster).await, desk(&cluster).await);
        let asked = ask(one.watched().key("k"));
        stage.begun(1).await;
        assert!(two.group().cancel_request("k").await.expect("an answer"));
        let cancelled = asked.await.expect("no panic");
        assert!(
            matches!(cancelled, Err(ClientCallError::NotApplied(ClientError::Cancelled))),
            "{cancelled:?}"
        );
        while stage.notes().is_empty() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(stage.notes(), ["over: true"]);
        assert!(!two.group().cancel_request("k").await.expect("an answer"), "it is over");
        let again = two.watched().key("k").await;
        assert!(
            matches!(again, Err(ClientCallError::NotApplied(ClientError::Cancelled))),
            "{again:?}"
        );
        let asked = ask(members[1].bump(1).key("another"));
        stage.begun(2).await;
        assert_eq!(members[2].group().cancel_request("another").await, Ok(true));
        let cancelled = asked.await.expect("no panic");
        assert!(
            matches!(cancelled, Err(ClientCallError::NotApplied(ClientError::Cancelled))),
            "{cancelled:?}"
        );
        assert_eq!(members[0].group().cancel_request("unknown").await, Ok(false));
        assert_eq!(value(&members[0]).await, 0);
    })
    .await;
}

#[tokio::test]
async fn a_key_keeps_requests_together() {
    within(async {
        let (cluster, _members) = members(4, &Stage::new(false)).await;
        let client = desk(&cluster).await;
        let mut rooms = BTreeSet::new();
        for room in 0..12 {
            let mut nodes = BTreeSet::new();
            for guest in 0..4 {
                nodes.insert(client.keyed(format!("room {room}"), guest).await.expect("answered"));
            }
            assert_eq!(nodes.len(), 1, "one room, one coordinator");
            rooms.extend(nodes);
        }
        assert!(rooms.len() > 1, "rooms spread");
    })
    .await;
}

#[tokio::test]
async fn the_load_is_known_to_all() {
    within(async {
        let stage = Stage::new(true);
        let (cluster, members) = members(3, &stage).await;
        let client = desk(&cluster).await;
        let asked: Vec<_> = (0..60).map(|_| ask(client.spread())).collect();
        stage.begun(60).await;
        for member in &members {
            member.group().flush().await.expect("stable");
            let load = member.group().load();
            assert_eq!((load.pending, load.members.values().sum::<usize>()), (60, 60));
            assert_eq!(load, members[0].group().load());
            assert!(load.members.len() == 3, "{load:?}");
        }
        stage.release();
        for asked in asked {
            asked.await.expect("no panic").expect("answered");
        }
        // An answer is stable before it goes out, which need not be applied everywhere by then.
        while members[0].group().load().pending > 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
}
