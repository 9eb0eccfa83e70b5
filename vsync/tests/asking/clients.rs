//! Clients that ask members.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use vsync::testing::Cluster;
use vsync::{ClientError, MemberId, Missing, Target, replicated};

use crate::archive::{ArchiveClient, Members, merge, tenth, told, within};

#[tokio::test]
async fn a_client_has_the_members_divide_the_work() {
    within(async {
        let members = Members::new(3).await;
        let archive: ArchiveClient =
            members.cluster.client().await.expect("a client").group("archive");
        // Every share is of a state that has the client's own updates in it.
        let mut expected = tenth();
        for page in [100, 110, 120] {
            archive.add(page).await.expect("carried out");
            expected.push(page);
            assert_eq!(archive.search(10).await.expect("an answer"), expected);
            assert_eq!(members.shares(), [[(0, 3)], [(1, 3)], [(2, 3)]]);
        }
        assert_eq!(
            archive.refused().await.expect("an answer"),
            Err("[Ok(0), Ok(1), Ok(2)]".to_owned())
        );
        let fails = archive.search(0).await;
        assert!(
            matches!(&fails, Err(ClientError::NoAnswer { why: Missing::Refused(why), .. })
                if why.contains("panicked")),
            "{fails:?}"
        );
    })
    .await;
}

#[tokio::test]
async fn a_client_asks_one_member() {
    within(async {
        let mut members = Members::new(3).await;
        let ids = members.ids();
        let archive: ArchiveClient =
            members.cluster.client().await.expect("a client").group("archive");
        members.shares();
        for (rank, &id) in ids.iter().enumerate() {
            // Whoever it is has the client's updates.
            archive.add(7).await.expect("carried out");
            assert_eq!(archive.count().at(rank).await.expect("an answer"), 101 + rank);
            for target in [Target::Rank(rank), Target::Member(id)] {
                let who = archive.who().at(target).await.expect("an answer");
                assert_eq!(who, (Some(rank), 3, 0, 6));
            }
            let asked = members.shares();
            assert!(asked.iter().map(Vec::len).eq((0..3).map(|it| 2 * usize::from(it == rank))));
        }
        assert_eq!(archive.search(10).at(1).await.expect("an answer"), tenth(), "all of it");
        let stranger = MemberId { entry: 99, ..ids[0] };
        for target in [Target::Rank(3), Target::Member(stranger)] {
            let nobody = archive.count().at(target).await;
            assert!(
                matches!(nobody, Err(ClientError::NoSuchMember(it)) if it == target),
                "{nobody:?}"
            );
        }
        let long = archive.long().at(2).await;
        assert!(
            matches!(&long, Err(ClientError::NoAnswer { member, why: Missing::Refused(why) })
                if *member == ids[2] && why.contains("the limit is 16777216")),
            "{long:?}"
        );
        members.handles[2].group().leave(Duration::from_secs(5)).await.expect("left");
        members.settle(2).await;
        let left = archive.count().at(ids[2]).await;
        assert!(
            matches!(left, Err(ClientError::NoAnswer { member, why: Missing::Left })
                if member == ids[2]),
            "{left:?}"
        );
        members.cluster.kill(1);
        let failed = archive.count().at(ids[1]).await;
        assert!(
            matches!(failed, Err(ClientError::NoAnswer { member, why: Missing::Failed })
                if member == ids[1]),
            "{failed:?}"
        );
    })
    .await;
}

#[tokio::test]
async fn what_shares_have_shown_a_client_it_never_loses_again() {
    within(async {
        let members = Members::new(3).await;
        let writer = members.handles[2].clone();
        let writing = tokio::spawn(async move {
            for page in 0..300 {
                writer.add(page).await.expect("stable");
            }
        });
        let archive: ArchiveClient =
            members.cluster.client().await.expect("a client").group("archive");
        let mut last = 0;
        while last < 400 {
            let longest = archive.longest().await.expect("an answer");
            let count = archive.count().await.expect("an answer");
            assert!(last <= longest && longest <= count, "{last}, then {longest}, then {count}");
            last = count;
        }
        writing.await.expect("written");
    })
    .await;
}

#[tokio::test]
async fn a_client_has_the_answers_of_members_by_themselves() {
    within(async {
        let members = Members::new(3).await;
        let ids = members.ids();
        let archive: ArchiveClient =
            members.cluster.client().await.expect("a client").group("archive");
        let mut expected = tenth();
        // Every share is of a state that has the client's own updates in it.
        for page in [100, 110, 120] {
            archive.add(page).await.expect("carried out");
            expected.push(page);
            members.shares();
            let each = archive.search(10).each().await.expect("all answer");
            assert_eq!(members.shares(), [[(0, 3)], [(1, 3)], [(2, 3)]]);
            assert_eq!(told(&each), (ids.clone(), vec![]));
            let found = each.answers.into_iter().map(|(_, found)| found).collect();
            assert_eq!(merge(found), expected);
        }
        let gathered = archive.search(10).all().timeout(Duration::from_secs(20)).await;
        assert_eq!(gathered.expect("an answer"), expected);
        let count = archive.search(10).count(2).await.expect("two answer");
        assert_eq!((count.answers.len(), count.missing.len()), (2, 1));
        assert_eq!(count.missing[0].1, Missing::NotNeeded);
        let more = archive.search(10).count(9).await.expect("all answer");
        assert_eq!(told(&more), (ids.clone(), vec![]), "all there are");
        // What they had seen holds for what the client asks later.
        let seen = archive.group().seen();
        let other: ArchiveClient =
            members.cluster.client().await.expect("a client").group("archive");
        let least = other.longest().each().at_least(&seen).await.expect("all answer");
        assert!(least.answers.iter().all(|(_, pages)| *pages == 103), "{least:?}");
        let local = other.longest().first().local().await.expect("one answers");
        assert_eq!(local.answers.len(), 1);
        assert!(other.group().seen().covers(&seen));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 16)]
async fn a_client_learns_why_an_answer_is_missing() {
    within(async {
        let mut members = Members::new(4).await;
        let ids = members.ids();
        let archive: ArchiveClient =
            members.cluster.client().await.expect("a client").group("archive");
        archive.add(100).await.expect("carried out");
        members.probes[3].shut(true);
        let majority = archive.search(10).majority().await.expect("three answer");
        assert_eq!(told(&majority), (ids[..3].to_vec(), vec![(ids[3], Missing::NotNeeded)]));

        // It is asked whenever an answer comes: the one that never does is not waited for.
        let calls = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&calls);
        let two = archive.search(10).until(move |answers| {
            counted.fetch_add(1, Ordering::Relaxed);
            answers.len() == 2
        });
        let two = two.await.expect("two answer");
        assert_eq!((two.answers.len(), two.missing.len()), (2, 2));
        assert!(two.missing.contains(&(ids[3], Missing::NotNeeded)), "{two:?}");
        assert_eq!(calls.load(Ordering::Relaxed), 3, "none, one and two answers");

        let limit = Duration::from_millis(400);
        let late = archive.search(10).each().timeout(limit).await.expect("three answer");
        assert_eq!(told(&late), (ids[..3].to_vec(), vec![(ids[3], Missing::Late)]));
        let whole = archive.search(10).timeout(limit).await;
        assert!(matches!(whole, Err(ClientError::Timeout { .. })), "{whole:?}");

        members.probes[3].shut(false);
        let all = archive.search(10).each().await.expect("all answer");
        assert_eq!(told(&all), (ids.clone(), vec![]));
        members.probes[3].take();
        members.probes[3].shut(true);
        let asking = archive.clone();
        let failing = tokio::spawn(async move { asking.search(10).each().await });
        members.probes[3].asked().await;
        members.cluster.kill(3);
        let failed = failing.await.expect("not cancelled").expect("three answer");
        members.probes[3].shut(false);
        assert_eq!(told(&failed), (ids[..3].to_vec(), vec![(ids[3], Missing::Failed)]));
        let refused = archive.search(0).each().await.expect("nobody answers");
        let panicked = Missing::Refused("result of `query`: the query panicked".to_owned());
        assert_eq!(refused.missing.len(), 3);
        assert!(refused.missing.iter().all(|(_, why)| *why == panicked), "{refused:?}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 16)]
async fn the_gateway_may_fail_while_its_client_waits_for_shares() {
    within(async {
        let mut members = Members::new(5).await;
        let ids = members.ids();
        let archive: ArchiveClient =
            members.cluster.client().await.expect("a client").group("archive");
        archive.search(10).await.expect("an answer");
        members.shares();
        // Nobody answers, so the client waits for all.
        members.probes.iter().for_each(|probe| probe.shut(true));
        let asking = archive.clone();
        let limit = Duration::from_secs(25);
        let each = tokio::spawn(async move { asking.search(10).each().timeout(limit).await });
        for probe in &members.probes {
            probe.asked().await;
        }
        let mut views = members.handles[4].group().views();
        for gone in 0..3 {
            members.cluster.kill(gone);
            while views.next().await.expect("a view").size() != 4 - gone {}
        }
        members.probes.iter().for_each(|probe| probe.shut(false));
        let each = each.await.expect("not cancelled").expect("two answer");
        let (answered, missing) = told(&each);
        assert_eq!(answered, ids[3..]);
        assert!(missing.iter().map(|(id, _)| *id).eq(ids[..3].iter().copied()), "{missing:?}");
        // Who was gone before the present gateway's view is gone for a reason that it may not know.
        let known = |why: &Missing| matches!(why, Missing::Failed | Missing::Gone);
        assert!(missing.iter().all(|(_, why)| known(why)), "{missing:?}");
    })
    .await;
}

/// The same archive as a program has it that knows of no shares.
mod whole {
    use vsync::{QueryCtx, replicated};

    fn merge(shares: Vec<u64>) -> u64 {
        shares.into_iter().sum()
    }

    /// Its query is scattered.
    #[replicated(name = "tally")]
    #[derive(Debug, Default)]
    pub(crate) struct Divided {
        count: u64,
    }

    #[replicated]
    impl Divided {
        #[query(id = 9, scatter, gather = merge)]
        pub(crate) fn sum(&self, ctx: &QueryCtx) -> u64 {
            ctx.share(0..self.count as usize).len() as u64
        }

        #[query(id = 10, scatter, gather = merge)]
        pub(crate) fn more(&self, _ctx: &QueryCtx) -> u64 {
            self.count
        }
    }
}

/// Its query is not.
#[replicated(name = "tally")]
#[derive(Debug, Default)]
pub(crate) struct Tally {
    count: u64,
}

#[replicated]
impl Tally {
    #[query(id = 9)]
    pub(crate) fn sum(&self) -> u64 {
        self.count
    }
}

#[tokio::test]
async fn what_a_client_cannot_have_of_shares_is_named() {
    within(async {
        let members = Members::new(3).await;
        let ids = members.ids();
        let client = members.cluster.client().await.expect("a client");
        let archive: ArchiveClient = client.group("archive");
        let limit = 16 << 20;
        let large = archive.bulk(limit + 1).each().await.expect("nobody answers");
        let too_large = |why: &Missing| {
            matches!(why, Missing::Refused(why) if why.contains("the limit is 16777216"))
        };
        assert_eq!(large.answers.len(), 0);
        assert!(large.missing.iter().all(|(_, why)| too_large(why)), "{large:?}");
        // Together they may be longer than one answer.
        let large = archive.bulk(limit - 64).each().await.expect("all answer");
        assert_eq!(told(&large), (ids.clone(), vec![]));
        let late = archive.search(10).first().timeout(Duration::ZERO).await;
        assert!(matches!(late, Err(ClientError::Timeout { .. })), "{late:?}");
        let nobody: ArchiveClient = client.group("nobody");
        let none = nobody.search(1).count(0).await.expect("nothing is asked");
        assert_eq!(told(&none), (vec![], vec![]));
        let nobody = nobody.search(1).each().await;
        assert!(matches!(nobody, Err(ClientError::NoSuchGroup { .. })), "{nobody:?}");
        let wrong: TallyClient = client.group("archive");
        let wrong = wrong.sum().await;
        assert!(matches!(wrong, Err(ClientError::Type { .. })), "{wrong:?}");
    })
    .await;
}

#[tokio::test]
async fn a_query_that_the_members_do_not_divide_has_no_separate_answers() {
    within(async {
        let cluster = Cluster::new(1).await;
        let tally = cluster.node(0).group("tally").create(Tally { count: 3 }).await;
        let tally: TallyHandle = tally.expect("created");
        let client = cluster.client().await.expect("a client");
        let divided: whole::DividedClient = client.group("tally");
        assert_eq!(divided.sum().await.expect("an answer"), 3, "to a client it is all one");
        let Err(ClientError::Type { here, there, .. }) = divided.sum().each().await else {
            panic!("there are no shares of it");
        };
        assert!(here.ends_with(" scatter") && here.starts_with("query sum"), "{here}");
        assert!(there.starts_with("query sum") && !there.ends_with(" scatter"), "{there}");
        let unknown = divided.more().each().await.expect("nobody answers");
        let why = Missing::Refused("it knows no query 0xa".to_owned());
        let member: MemberId = tally.group().me().expect("a member");
        assert_eq!(told(&unknown), (vec![], vec![(member, why)]));
        let at = divided.sum().at(Target::Rank(0)).await;
        assert_eq!(at.expect("an answer"), 3);
    })
    .await;
}

/// What takes a member longer than a client waits for one answer is done once: the client stays
/// with its gateway, and has the answer when it is there.
#[tokio::test(flavor = "multi_thread", worker_threads = 16)]
async fn a_member_at_work_is_waited_for_and_asked_once() {
    within(async {
        let members = Members::new(3).await;
        let ids = members.ids();
        let archive: ArchiveClient =
            members.cluster.client().await.expect("a client").group("archive");
        archive.count().await.expect("an answer");
        members.shares();
        members.probes.iter().for_each(|probe| probe.shut(true));
        let limit = Duration::from_secs(25);
        let asking = tokio::join!(
            archive.search(10).each().timeout(limit),
            archive.search(10).timeout(limit),
            archive.search(10).at(1).timeout(limit),
            archive.who().at(2).timeout(limit),
            archive.who().linearizable().timeout(limit),
            async {
                // Twice as long as it waits for a member that says nothing.
                tokio::time::sleep(Duration::from_secs(6)).await;
                members.probes.iter().for_each(|probe| probe.shut(false));
            },
        );
        let (each, whole, one, who, latest, ()) = asking;
        assert_eq!(told(&each.expect("all answer")), (ids, vec![]));
        assert_eq!(whole.expect("an answer"), tenth());
        assert_eq!(one.expect("an answer"), tenth());
        assert_eq!(who.expect("an answer").0, Some(2));
        assert_eq!(latest.expect("an answer").1, 3);
        let mut asked = members.shares().concat();
        asked.sort_unstable();
        let shares = [(0, 3), (0, 3), (1, 3), (1, 3), (2, 3), (2, 3)];
        let mut expected = [vec![(0, 1); 3], shares.to_vec()].concat();
        expected.sort_unstable();
        assert_eq!(asked, expected, "each of them once");
    })
    .await;
}
