//! Members that ask members.

use std::time::Duration;

use vsync::{AskError, ClientError, GroupError, MemberId, Missing, Target};

use crate::archive::{ArchiveClient, Members, merge, tenth, told, within};

#[tokio::test]
async fn each_member_does_its_share_and_the_answers_are_gathered_by_rank() {
    within(async {
        let members = Members::new(3).await;
        for asker in &members.handles {
            assert_eq!(asker.search(10).after_mine().await, Ok(tenth()));
            assert_eq!(members.shares(), [[(0, 3)], [(1, 3)], [(2, 3)]]);
        }
        assert_eq!(
            members.handles[1].search(7).all().after_mine().await.map(|it| it.len()),
            Ok(15)
        );
        let refused = members.handles[2].refused().await.expect("an answer");
        assert_eq!(refused, Err("[Ok(0), Ok(1), Ok(2)]".to_owned()));
    })
    .await;
}

#[tokio::test]
async fn what_cannot_be_asked_is_named() {
    within(async {
        let members = Members::new(3).await;
        let (asker, ids) = (&members.handles[0], members.ids());
        let late = asker.search(10).timeout(Duration::ZERO).await;
        assert_eq!(late, Err(AskError::Timeout(ids.clone())));
        let late = asker.search(10).majority().timeout(Duration::ZERO).await.expect("nobody");
        assert_eq!(told(&late), (vec![], ids.iter().map(|id| (*id, Missing::Late)).collect()));
        let late = asker.who().at(1).timeout(Duration::ZERO).await;
        assert_eq!(late, Err(AskError::Timeout(vec![ids[1]])));

        let client = members.cluster.client().await.expect("a client");
        let archive: ArchiveClient = client.group("archive");
        let late = archive.search(10).timeout(Duration::ZERO).await;
        assert!(matches!(late, Err(ClientError::Timeout { .. })), "{late:?}");
        let limit = 16 << 20;
        let large = archive.bulk(6).await;
        assert!(
            matches!(large, Err(ClientError::TooLarge { size, limit: most })
                if size > limit && most == limit),
            "{large:?}"
        );
        assert_eq!(asker.bulk(6).await.map(|it| it.len()), Ok(18 << 20), "it does not travel");
        let large = asker.bulk(limit + 1).first().await.expect("this member needs no answer");
        assert_eq!((large.answers.len(), large.missing.len()), (0, 3));
        let nobody: ArchiveClient = client.group("nobody");
        let nobody = nobody.search(1).await;
        assert!(matches!(nobody, Err(ClientError::NoSuchGroup { .. })), "{nobody:?}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_a_member_that_fails_only_its_share_is_done_again() {
    within(async {
        let mut members = Members::new(3).await;
        let asker = members.handles[0].clone();
        members.probes[1].shut(true);
        let query = tokio::spawn(async move { asker.search(10).after_mine().await });
        members.probes[1].asked().await;
        members.probes[2].asked().await;
        members.cluster.kill(1);
        assert_eq!(query.await.expect("not cancelled"), Ok(tenth()));
        members.probes[1].shut(false);
        let shares = members.shares();
        assert_eq!(shares[1], [(1, 3)], "it was in the middle of it");
        let mut others = [shares[0].clone(), shares[2].clone()].concat();
        others.sort_unstable();
        assert_eq!(others, [(0, 3), (1, 3), (2, 3)], "each once by those that live");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 16)]
async fn a_missing_answer_has_a_reason() {
    within(async {
        let mut members = Members::new(4).await;
        let ids = members.ids();
        let asker = members.handles[0].clone();
        asker.search(10).after_mine().await.expect("all have the pages");
        members.probes[3].shut(true);
        let majority = asker.search(10).majority().await.expect("three answer");
        let (answered, missing) = told(&majority);
        assert_eq!((answered, missing), (ids[..3].to_vec(), vec![(ids[3], Missing::NotNeeded)]));
        assert_eq!(
            merge(majority.answers.into_iter().map(|(_, found)| found).collect()),
            tenth()[..8]
        );

        let late = asker.search(10).each().timeout(Duration::from_millis(50)).await;
        assert_eq!(told(&late.expect("some answer")).1, [(ids[3], Missing::Late)]);
        let late = asker.search(10).timeout(Duration::from_millis(50)).await;
        assert_eq!(late, Err(AskError::Timeout(vec![ids[3]])));
        let late = asker.who().at(ids[3]).timeout(Duration::from_millis(50)).await;
        assert_eq!(late, Err(AskError::Timeout(vec![ids[3]])));

        let [failing, other] = [asker.clone(), asker.clone()];
        let failing = tokio::spawn(async move { failing.search(10).each().await });
        let one = tokio::spawn(async move { other.who().at(3).await });
        members.probes[3].asked().await;
        tokio::time::sleep(Duration::from_millis(20)).await;
        members.cluster.kill(3);
        let failed = failing.await.expect("not cancelled").expect("three answer");
        let one = one.await.expect("not cancelled");
        members.probes[3].shut(false);
        assert_eq!(told(&failed), (ids[..3].to_vec(), vec![(ids[3], Missing::Failed)]));
        assert_eq!(one, Err(AskError::NoAnswer { member: ids[3], why: Missing::Failed }));

        let first = asker.search(10).first().await.expect("one answers");
        assert_eq!((first.answers.len(), first.missing.len()), (1, 2));
        let more = asker.search(10).count(2).await.expect("two answer");
        assert_eq!((more.answers.len(), more.missing.len()), (2, 1));
        let until = |answers: &[(MemberId, Vec<u64>)]| {
            answers.iter().map(|(_, found)| found.len()).sum::<usize>() == tenth().len()
        };
        let all = asker.search(10).until(until).await.expect("all answer");
        assert_eq!(told(&all), (ids[..3].to_vec(), vec![]));
        let never = asker.search(10).until(|_| false).await.expect("all answer");
        assert_eq!(never.answers, all.answers);
        let refused = asker.search(0).each().await.expect("nobody answers");
        let panicked = Missing::Refused("result of `query`: the query panicked".to_owned());
        assert_eq!(refused.missing.len(), 3);
        assert!(refused.missing.iter().all(|(_, why)| *why == panicked), "{refused:?}");
    })
    .await;
}

#[tokio::test]
async fn one_member_answers_for_itself() {
    within(async {
        let members = Members::new(3).await;
        let ids = members.ids();
        for (rank, &id) in ids.iter().enumerate() {
            let answer = Ok((Some(rank), 3, 0, 6));
            assert_eq!(members.handles[0].who().at(rank).await, answer);
            assert_eq!(members.handles[2].who().at(id).await, answer);
            assert_eq!(members.probes[rank].take(), [(0, 1), (0, 1)]);
        }
        assert_eq!(members.handles[1].who().await, Ok((Some(1), 3, 0, 6)));
        let nobody = members.handles[0].count().at(3).await;
        assert_eq!(nobody, Err(AskError::NoSuchMember(Target::Rank(3))));
        let stranger = MemberId { entry: 99, ..ids[0] };
        let nobody = members.handles[0].count().at(stranger).await;
        assert_eq!(nobody, Err(AskError::NoSuchMember(Target::Member(stranger))));
        let long = members.handles[0].long().at(1).await;
        let why = "the answer has 16777221 bytes, the limit is 16777216".to_owned();
        let refused = AskError::NoAnswer { member: ids[1], why: Missing::Refused(why) };
        assert_eq!(long, Err(refused));
    })
    .await;
}

#[tokio::test]
async fn who_has_left_says_so_and_who_is_no_member_cannot_ask() {
    within(async {
        let members = Members::new(3).await;
        let ids = members.ids();
        members.handles[2].group().leave(Duration::from_secs(5)).await.expect("left");
        members.settle(2).await;
        let left = members.handles[0].count().at(ids[2]).await;
        assert_eq!(left, Err(AskError::NoAnswer { member: ids[2], why: Missing::Left }));
        let outside = members.handles[2].count().at(ids[0]).await;
        assert!(
            matches!(outside, Err(AskError::Membership(GroupError::NotApplied(_)))),
            "{outside:?}"
        );
        let outside = members.handles[2].search(1).await;
        assert!(
            matches!(outside, Err(AskError::Membership(GroupError::NotApplied(_)))),
            "{outside:?}"
        );
    })
    .await;
}

#[tokio::test]
async fn a_question_after_mine_is_answered_with_all_that_was_sent_before() {
    within(async {
        let members = Members::new(3).await;
        let asker = &members.handles[1];
        for round in 1..=20 {
            for page in 0..50 {
                asker.add(page).send().await.expect("accepted");
            }
            asker.fill(vec![1; 50]).send().await.expect("accepted");
            for rank in [0, 2] {
                let count = asker.count().at(rank).after_mine().await;
                assert_eq!(count, Ok(100 + round * 100));
            }
        }
        let found = asker.search(1).after_mine().await.expect("an answer");
        assert_eq!(found.len(), 2100);
    })
    .await;
}
