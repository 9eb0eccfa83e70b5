//! Members and clients of several versions of a type ask each other for what they know by the same
//! name.

mod patience;

use std::time::Duration;

use patience::within;
use vsync::testing::Cluster;
use vsync::{AskError, ClientError, Emitted, Missing, Subscription};

/// The first program: a count that is read whole, and events that are numbers.
mod one {
    use vsync::{Ctx, replicated};

    #[replicated(name = "tally", event = u64, published)]
    #[derive(Clone, Debug, Default)]
    pub(super) struct Tally {
        count: u64,
    }

    #[replicated]
    impl Tally {
        /// Counts.
        #[update(order = "total")]
        pub(super) fn count(&mut self, ctx: &Ctx<Self>) {
            self.count += 1;
            ctx.emit(self.count);
        }

        #[query(id = 9)]
        pub(super) fn sum(&self) -> u64 {
            self.count
        }
    }
}

/// The second: members divide the sum, there is another query, and events have words.
mod two {
    use vsync::{Ctx, QueryCtx, replicated};

    #[replicated(past, name = "tally", version = 1)]
    pub(super) struct TallyV1 {
        count: u64,
    }

    #[replicated(name = "tally", version = 2, from = TallyV1, event = String, published)]
    #[derive(Clone, Debug, Default)]
    pub(super) struct Tally {
        count: u64,
    }

    impl From<TallyV1> for Tally {
        fn from(old: TallyV1) -> Tally {
            Tally { count: old.count }
        }
    }

    impl From<&Tally> for TallyV1 {
        fn from(new: &Tally) -> TallyV1 {
            TallyV1 { count: new.count }
        }
    }

    fn add(shares: Vec<u64>) -> u64 {
        shares.into_iter().sum()
    }

    #[replicated]
    impl Tally {
        /// Counts.
        #[update(order = "total")]
        pub(super) fn count(&mut self, ctx: &Ctx<Self>) {
            self.count += 1;
            ctx.emit(self.count.to_string());
        }

        #[query(id = 9, scatter, gather = add)]
        pub(super) fn sum(&self, ctx: &QueryCtx) -> u64 {
            ctx.share(0..self.count as usize).len() as u64
        }

        #[query(id = 10)]
        pub(super) fn words(&self) -> String {
            self.count.to_string()
        }
    }
}

/// A member of each version; the second one is there when both are active.
async fn members(cluster: &Cluster) -> (one::TallyHandle, two::TallyHandle) {
    let old = cluster.node(0).group("tally").create(one::Tally::default()).await;
    let old: one::TallyHandle = old.expect("created");
    let new = cluster.node(1).group("tally").join(two::Tally::default()).await;
    (old, new.expect("a member"))
}

#[tokio::test]
async fn a_member_does_no_share_of_what_it_knows_as_a_whole() {
    within(async {
        let cluster = Cluster::new(2).await;
        let (old, new) = members(&cluster).await;
        old.count().await.expect("stable");
        let view = new.group().view().expect("a view");
        let (first, second) = (view.active()[0].id, view.active()[1].id);
        let refused = |why: &str| Missing::Refused(why.to_owned());
        let sum = new.sum().after_mine().each().await.expect("one answers");
        let [(missing, Missing::Refused(why))] = &sum.missing[..] else { panic!("{sum:?}") };
        assert!(*missing == first && why.starts_with("what it has is `query sum id 9"), "{why}");
        assert_eq!(sum.answers, [(second, 1)]);
        let whole = new.sum().await;
        assert!(
            matches!(whole, Err(AskError::NoAnswer { member, why: Missing::Refused(_) })
                if member == first),
            "{whole:?}"
        );
        let words = new.words().at(first).await;
        let why = refused("it knows no query 0xa");
        assert_eq!(words, Err(AskError::NoAnswer { member: first, why }));
        // The other way round, too: the whole is not one share.
        let whole = old.sum().at(second).await;
        assert!(
            matches!(whole, Err(AskError::NoAnswer { member, why: Missing::Refused(_) })
                if member == second),
            "{whole:?}"
        );
        old.group().leave(Duration::from_secs(5)).await.expect("left");
        let mut views = new.group().views();
        while views.next().await.expect("a view").size() != 1 {}
        assert_eq!(new.sum().await, Ok(1));
        // Whether members divide the work is nothing to a client.
        let client = cluster.client().await.expect("a client");
        let tally: one::TallyClient = client.group("tally");
        assert_eq!(tally.sum().await.expect("an answer"), 1);
    })
    .await;
}

#[tokio::test]
async fn a_client_reads_no_events_of_another_kind() {
    within(async {
        let cluster = Cluster::new(2).await;
        let (old, new) = members(&cluster).await;
        old.group().leave(Duration::from_secs(5)).await.expect("left");
        let client = cluster.client().await.expect("a client");
        let tally: one::TallyClient = client.group("tally");
        let Err(ClientError::Type { here, there, .. }) = tally.group().events::<u64>(None).await
        else {
            panic!("events of another type");
        };
        assert!(here.starts_with("event u64 #") && there.starts_with("event String #"));
        let tally: two::TallyClient = client.group("tally");
        let events = tally.group().events::<String>(None).await;
        let mut events: Subscription<two::Tally, String> = events.expect("subscribed");
        new.count().await.expect("stable");
        let event = events.next().await.expect("an answer");
        assert!(matches!(&event, Emitted::Event { event, .. } if event == "1"), "{event:?}");
    })
    .await;
}
