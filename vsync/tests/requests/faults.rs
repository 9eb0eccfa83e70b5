//! Members that fail, join and are cut off while a request is under way.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use vsync::{ClientCallError, ClientError};

use crate::desk::{Stage, ask, desk, join, members, value, view_of, within};

#[tokio::test]
async fn a_coordinator_that_is_killed_before_its_commit_is_succeeded() {
    within(async {
        let stage = Stage::new(true);
        let (mut cluster, members) = members(4, &stage).await;
        let asked = ask(desk(&cluster).await.bump(1).timeout(Duration::from_secs(50)));
        let mut killed = BTreeSet::new();
        for attempt in 1..=2 {
            let begun = stage.begun(attempt).await.pop().expect("an attempt");
            assert_eq!(begun.attempt as usize, attempt);
            assert!(killed.insert(begun.node), "who is gone does not come again");
            cluster.kill(begun.node);
            let left = (0..4).find(|node| !killed.contains(node)).expect("a survivor");
            view_of(&members[left], 4 - attempt).await;
        }
        let begun = stage.begun(3).await;
        stage.release();
        assert_eq!(asked.await.expect("no panic").expect("answered"), 1);
        assert!(begun.iter().all(|attempt| attempt.id == begun[0].id), "one request");
        let left = (0..4).filter(|node| !killed.contains(node));
        for node in left {
            assert_eq!(value(&members[node]).await, 1, "once");
            assert_eq!(members[node].updates().await, Ok(1));
        }
        assert_eq!(stage.begun(3).await.len(), 3, "no more attempts than failures");
    })
    .await;
}

#[tokio::test]
async fn a_coordinator_that_is_killed_amid_its_commit_is_succeeded() {
    within(async {
        let stage = Stage::new(true);
        let (mut cluster, members) = members(4, &stage).await;
        let asked = ask(desk(&cluster).await.bump(1).timeout(Duration::from_secs(50)));
        let first = stage.begun(1).await.pop().expect("an attempt").node;
        // It answers, but nobody hears of it.
        let others: Vec<usize> = (0..4).filter(|node| *node != first).collect();
        others.iter().for_each(|other| cluster.cut(first, *other));
        stage.release();
        let begun = stage.begun(2).await.pop().expect("an attempt");
        assert_eq!(begun.attempt, 2);
        assert_eq!(asked.await.expect("no panic").expect("answered"), 1);
        cluster.kill(first);
        for node in others {
            assert_eq!(value(&members[node]).await, 1, "once");
        }
    })
    .await;
}

#[tokio::test]
async fn a_coordinator_that_is_killed_after_its_commit_has_answered() {
    within(async {
        let stage = Stage::new(true);
        let (mut cluster, members) = members(4, &stage).await;
        let call = desk(&cluster).await.bump(1).key("k").timeout(Duration::from_secs(50));
        let asked = ask(call);
        let first = stage.begun(1).await.pop().expect("an attempt").node;
        stage.release();
        let other = &members[(first + 1) % 4];
        while other.value().await.expect("a state") == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        cluster.kill(first);
        assert_eq!(asked.await.expect("no panic").expect("answered"), 1);
        let again = desk(&cluster).await.bump(1).key("k").await;
        assert_eq!(again.expect("recorded"), 1, "the same answer to another client");
        assert_eq!(value(other).await, 1);
        assert_eq!(stage.begun(1).await.len(), 1, "one attempt");
    })
    .await;
}

#[tokio::test]
async fn a_joiner_is_given_what_is_pending() {
    within(async {
        let stage = Stage::new(true);
        let (mut cluster, mut members) = members(2, &stage).await;
        let first = ask(desk(&cluster).await.bump(1).key("k").timeout(Duration::from_secs(50)));
        stage.begun(1).await;
        for _ in 0..2 {
            let joiner = cluster.add().await.expect("started");
            members.push(join(&cluster, joiner, &stage).await);
        }
        view_of(&members[0], 4).await;
        assert_eq!(stage.begun(1).await.len(), 1, "who joins takes nothing away");
        for (old, left) in [(0, 3), (1, 2)] {
            cluster.kill(old);
            view_of(&members[3], left).await;
        }
        // All that its client knew are gone; another one asks the joiners.
        first.abort();
        let asked = ask(desk(&cluster).await.bump(1).key("k"));
        let mut begun = stage.begun(2).await;
        stage.release();
        assert_eq!(asked.await.expect("no panic").expect("answered"), 1);
        begun.retain(|attempt| attempt.node >= 2);
        assert!(!begun.is_empty() && begun[0].attempt >= 2, "{begun:?}");
        assert_eq!((value(&members[2]).await, value(&members[3]).await), (1, 1));
    })
    .await;
}

#[tokio::test]
async fn clients_ask_other_members_when_theirs_fails() {
    within(async {
        let stage = Stage::new(true);
        let (mut cluster, members) = members(5, &stage).await;
        let mut asked = Vec::new();
        for _ in 0..8 {
            let client = desk(&cluster).await;
            asked.push(ask(client.bump(1).timeout(Duration::from_secs(50))));
        }
        stage.begun(8).await;
        for (victim, left) in [(0, 4), (1, 3)] {
            cluster.kill(victim);
            view_of(&members[4], left).await;
        }
        stage.release();
        let mut values = BTreeSet::new();
        for asked in asked {
            values.insert(asked.await.expect("no panic").expect("answered"));
        }
        assert_eq!(values, (1..=8).collect(), "each once");
        assert_eq!(value(&members[4]).await, 8);
    })
    .await;
}

#[tokio::test]
async fn without_a_quorum_the_outcome_is_not_guessed() {
    within(async {
        let stage = Stage::new(true);
        let (mut cluster, members) = members(3, &stage).await;
        let client = desk(&cluster).await;
        let asked = ask(client.bump(1).timeout(Duration::from_millis(1500)));
        stage.begun(1).await;
        cluster.kill(0);
        cluster.kill(1);
        let lost = asked.await.expect("no panic");
        assert!(
            matches!(lost, Err(ClientCallError::Unknown(ClientError::Timeout { .. }))),
            "{lost:?}"
        );
        drop(members);
    })
    .await;
}

#[tokio::test]
async fn a_member_that_is_excluded_is_answered_when_it_is_one_again() {
    within(async {
        let stage = Stage::new(true);
        let (cluster, members) = members(4, &stage).await;
        let asked = ask(members[0].bump(1).timeout(Duration::from_secs(50)));
        stage.begun(1).await;
        (1..4).for_each(|other| cluster.cut(0, other));
        view_of(&members[1], 3).await;
        (1..4).for_each(|other| cluster.heal(0, other));
        view_of(&members[1], 4).await;
        stage.release();
        assert_eq!(asked.await.expect("no panic").expect("answered"), 1);
        for member in &members {
            assert_eq!(value(member).await, 1, "once");
        }
    })
    .await;
}

#[tokio::test]
async fn a_coordinator_that_leaves_hands_over() {
    within(async {
        let stage = Stage::new(true);
        let (mut cluster, members) = members(4, &stage).await;
        let asked = ask(desk(&cluster).await.bump(1).timeout(Duration::from_secs(50)));
        let first = stage.begun(1).await.pop().expect("an attempt").node;
        let leaving = cluster.take(first).expect("it runs");
        leaving.shutdown(Duration::from_secs(20)).await;
        assert_eq!(stage.begun(2).await[1].attempt, 2);
        stage.release();
        assert_eq!(asked.await.expect("no panic").expect("answered"), 1);
        let asked = members[first].bump(1).await;
        assert!(
            matches!(asked, Err(ClientCallError::NotApplied(ClientError::Closed))),
            "{asked:?}"
        );
        assert_eq!(value(&members[(first + 1) % 4]).await, 1);
    })
    .await;
}

#[tokio::test]
async fn who_waits_for_long_asks_again_and_again() {
    within(async {
        let stage = Stage::new(true);
        let (cluster, members) = members(3, &stage).await;
        let call = desk(&cluster).await.bump(1).timeout(Duration::from_secs(50));
        let (far, near) = (ask(call), ask(members[0].bump(1).timeout(Duration::from_secs(50))));
        stage.begun(2).await;
        // Longer than a question waits for its answer.
        tokio::time::sleep(Duration::from_millis(4500)).await;
        assert!(!far.is_finished() && !near.is_finished());
        stage.release();
        let mut values = BTreeSet::new();
        for asked in [far, near] {
            values.insert(asked.await.expect("no panic").expect("answered"));
        }
        assert_eq!(values, [1, 2].into());
        assert_eq!(stage.begun(2).await.len(), 2, "each has begun once");
    })
    .await;
}

#[tokio::test]
async fn steps_are_made_once() {
    within(async {
        let stage = Stage::new(true);
        let (mut cluster, members) = members(4, &stage).await;
        let asked = ask(desk(&cluster).await.steps().timeout(Duration::from_secs(50)));
        let first = stage.begun(1).await.pop().expect("an attempt").node;
        let other = &members[(first + 1) % 4];
        assert_eq!(value(other).await, 1, "in the midst of the request");
        cluster.kill(first);
        stage.begun(2).await;
        stage.release();
        let answer = asked.await.expect("no panic").expect("answered");
        assert_eq!(answer, (1, first as u64, 2), "as the first attempt has seen it");
        assert_eq!(value(other).await, 2);
    })
    .await;
}

#[tokio::test]
async fn other_steps_than_before_are_an_error() {
    within(async {
        let stage = Stage::new(true);
        let (mut cluster, members) = members(4, &stage).await;
        let asked = ask(desk(&cluster).await.fickle().timeout(Duration::from_secs(50)));
        let first = stage.begun(1).await.pop().expect("an attempt").node;
        cluster.kill(first);
        let lost = asked.await.expect("no panic");
        let Err(ClientCallError::NotApplied(ClientError::Commit(why))) = lost else {
            panic!("{lost:?}");
        };
        assert!(why.contains("steps"), "{why}");
        assert_eq!(value(&members[(first + 1) % 4]).await, 1, "the step itself stays made");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whichever_coordinators_are_killed_each_is_answered_once() {
    within(async {
        let stage = Stage::new(false);
        let (mut cluster, mut members) = members(4, &stage).await;
        let over = Arc::new(watch::Sender::new(false));
        let mut working = tokio::task::JoinSet::new();
        for _ in 0..6 {
            let (client, over) = (desk(&cluster).await, over.subscribe());
            working.spawn(async move {
                let mut values = Vec::new();
                while !*over.borrow() {
                    let call = client.bump(1).timeout(Duration::from_secs(50));
                    values.push(call.await.expect("answered"));
                }
                values
            });
        }
        for victim in 0..4 {
            let begun = stage.begun.borrow().len();
            stage.begun(begun + 80).await;
            cluster.kill(victim);
            members.remove(0);
            let joiner = cluster.add().await.expect("started");
            members.push(join(&cluster, joiner, &stage).await);
        }
        over.send_replace(true);
        let histories = working.join_all().await;
        for values in &histories {
            assert!(values.is_sorted_by(|one, two| one < two), "each client's in its order");
        }
        let values: Vec<u64> = histories.concat();
        let distinct: BTreeSet<u64> = values.iter().copied().collect();
        assert_eq!(distinct.len(), values.len(), "none twice");
        assert_eq!(distinct, (1..=values.len() as u64).collect(), "none lost");
        for member in &members {
            assert_eq!(value(member).await, values.len() as u64);
        }
    })
    .await;
}
