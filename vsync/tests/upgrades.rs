//! Programs of several versions of a type in one group.

mod patience;

use std::time::Duration;

use patience::within;
use vsync::testing::Cluster;
use vsync::{ActivateError, CallError, ClientError, JoinError, NotApplied, TimerError};

/// The first program.
mod one {
    use vsync::{TimerError, replicated};

    #[replicated(name = "board")]
    #[derive(Clone, Debug, Default)]
    pub(super) struct Board {
        pub(super) names: Vec<String>,
        #[local]
        pub(super) adds: u64,
    }

    #[replicated]
    impl Board {
        /// Adds a name.
        #[update(order = "total")]
        pub(super) fn add(&mut self, name: String) -> u64 {
            self.adds += 1;
            self.names.push(name);
            self.names.len() as u64
        }

        /// Takes the last one away.
        #[update(order = "total")]
        pub(super) fn pop(&mut self) -> Option<String> {
            self.names.pop()
        }

        /// Sets timers, in the second version.
        #[update(order = "total")]
        pub(super) fn later(&mut self) -> Vec<TimerError> {
            vec![TimerError::NotYetActive { since: 2, active: 1 }]
        }

        #[query]
        pub(super) fn all(&self) -> String {
            self.names.join(" ")
        }

        #[query]
        pub(super) fn first(&self) -> Option<String> {
            self.names.first().cloned()
        }
    }
}

/// The second, which can go back.
mod two {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use vsync::{Ctx, TimerError, View, replicated};

    #[replicated(past, name = "board", version = 1)]
    pub(super) struct BoardV1 {
        names: Vec<String>,
    }

    #[replicated(name = "board", version = 2, from = BoardV1)]
    #[derive(Debug, Default)]
    pub(super) struct Board {
        pub(super) names: BTreeMap<u64, String>,
        pub(super) closed: bool,
        pub(super) begun: Vec<u32>,
        #[local]
        pub(super) reads: u64,
    }

    impl From<BoardV1> for Board {
        fn from(old: BoardV1) -> Board {
            Board { names: (1..).zip(old.names).collect(), ..Board::default() }
        }
    }

    impl From<&Board> for BoardV1 {
        fn from(new: &Board) -> BoardV1 {
            BoardV1 { names: new.names.values().cloned().collect() }
        }
    }

    #[replicated]
    impl Board {
        /// Adds a name.
        #[update(order = "total")]
        pub(super) fn add(&mut self, ctx: &Ctx<Self>, name: String) -> u64 {
            let number = self.names.last_key_value().map_or(0, |(last, _)| *last) + 1;
            // What the first version would have done, until this one is active.
            let name = if ctx.version() >= 2 { name.to_uppercase() } else { name };
            self.names.insert(number, name);
            self.names.len() as u64
        }

        /// Takes the last one away.
        #[update(order = "total", until = 2)]
        pub(super) fn pop(&mut self) -> Option<String> {
            self.names.pop_last().map(|(_, name)| name)
        }

        /// Adds a name by timers, in both ways.
        #[update(order = "total")]
        pub(super) fn later(&mut self, ctx: &Ctx<Self>) -> Vec<TimerError> {
            let close = ctx.after(Duration::ZERO, BoardUpdate::Close {});
            let pop = ctx.after(Duration::from_secs(3600), BoardUpdate::Pop {});
            [close, pop].into_iter().filter_map(Result::err).collect()
        }

        /// No more names.
        #[update(order = "fifo", since = 2)]
        pub(super) fn close(&mut self) {
            self.closed = true;
        }

        #[on_view]
        fn view(&mut self, ctx: &Ctx<Self>, _: &View) {
            if ctx.version() >= 2 {
                self.begun.push(ctx.version());
            }
        }

        #[query]
        pub(super) fn all(&self) -> String {
            let names: Vec<_> = self.names.values().cloned().collect();
            names.join(" ")
        }

        #[query]
        pub(super) fn first(&self) -> Option<(u64, String)> {
            self.names.iter().next().map(|(number, name)| (*number, name.clone()))
        }

        #[query]
        pub(super) fn begun(&self) -> Vec<u32> {
            self.begun.clone()
        }

        #[query]
        pub(super) fn is_closed(&self) -> bool {
            self.closed
        }
    }
}

/// Another second version, from which there is no way back.
mod one_way {
    use vsync::{TimerError, replicated};

    #[replicated(past, name = "board", version = 1)]
    pub(super) struct BoardV1 {
        names: Vec<String>,
    }

    #[replicated(name = "board", version = 2, from = BoardV1)]
    #[derive(Debug, Default)]
    pub(super) struct Board {
        names: Vec<String>,
    }

    impl From<BoardV1> for Board {
        fn from(old: BoardV1) -> Board {
            Board { names: old.names }
        }
    }

    #[replicated]
    impl Board {
        /// Adds a name.
        #[update(order = "total")]
        pub(super) fn add(&mut self, name: String) -> u64 {
            self.names.push(name);
            self.names.len() as u64
        }

        /// Takes the last one away.
        #[update(order = "total")]
        pub(super) fn pop(&mut self) -> Option<String> {
            self.names.pop()
        }

        /// Sets no timers.
        #[update(order = "total")]
        pub(super) fn later(&mut self) -> Vec<TimerError> {
            Vec::new()
        }
    }
}

/// A first version that is not the same.
mod other {
    use vsync::{TimerError, replicated};

    #[replicated(name = "board")]
    #[derive(Debug, Default)]
    pub(super) struct Board {
        names: Vec<char>,
    }

    #[replicated]
    impl Board {
        /// Adds a name.
        #[update(order = "fifo")]
        pub(super) fn add(&mut self, name: Vec<u8>) -> u64 {
            self.names.extend(name.into_iter().map(char::from));
            self.names.len() as u64
        }

        /// Sets no timers.
        #[update(order = "total")]
        pub(super) fn later(&mut self) -> Vec<TimerError> {
            Vec::new()
        }

        /// The last one again.
        #[update(order = "total")]
        pub(super) fn repeat(&mut self) {
            self.names.extend(self.names.last().copied());
        }
    }
}

#[tokio::test]
async fn old_and_new_programs_are_members_of_one_group() {
    within(async {
        let cluster = Cluster::new(3).await;

        let old = one::Board { names: vec!["ada".into()], adds: 1 };
        let old: one::BoardHandle =
            cluster.node(0).group("board").compare_every(1).create(old).await.expect("made");
        let new = two::Board { reads: 5, ..two::Board::default() };
        let new: two::BoardHandle =
            cluster.node(1).group("board").compare_every(1).join(new).await.expect("a member");
        assert_eq!(old.add("grace".into()).await, Ok(2));
        assert_eq!(new.add("barbara".into()).await, Ok(3));
        assert_eq!(new.pop().await, Ok(Some("barbara".into())));
        old.group().flush().await.expect("flushed");
        assert_eq!(old.all().await.expect("read"), "ada grace");
        assert_eq!(new.all().await.expect("read"), "ada grace");
        let versions = |view: vsync::View| {
            view.members().iter().map(|member| member.version).collect::<Vec<_>>()
        };
        assert_eq!(versions(new.group().view().expect("a view")), [1, 2]);
        // Compared after each update, they do not differ.
        settle(old.group(), 2).await;
        let before = old.group().view().expect("a view").number();
        for number in 0..20 {
            assert_eq!(new.add(format!("n{number}")).await, Ok(3));
            assert_eq!(old.pop().await, Ok(Some(format!("n{number}"))));
        }
        assert_eq!(new.group().view().expect("a view").number(), before);

        // What the first version does not know is not sent.
        let early = NotApplied::NotYetActive { method: "close", since: 2, active: 1 };
        assert_eq!(new.close().await, Err(CallError::NotApplied(early)));

        // Back: the new program is the donor of an old one.
        old.group().leave(Duration::from_secs(10)).await.expect("left");
        let back: one::BoardHandle =
            cluster.node(2).group("board").join(one::Board::default()).await.expect("a member");
        assert_eq!(back.add("emmy".into()).await, Ok(3));
        assert_eq!(back.all().await.expect("read"), "ada grace emmy");
    })
    .await;
}

#[tokio::test]
async fn without_a_way_back_an_old_program_is_told_so() {
    within(async {
        let cluster = Cluster::new(3).await;
        let made = cluster.node(0).group("board").create(one::Board::default()).await;
        let old: one::BoardHandle = made.expect("made");
        old.add("ada".into()).await.expect("stable");
        let new = cluster.node(1).group("board").join(one_way::Board::default()).await;
        let new: one_way::BoardHandle = new.expect("a member");
        old.group().leave(Duration::from_secs(10)).await.expect("left");
        let back = cluster.node(2).group("board").join(one::Board::default()).await;
        let error = back.expect_err("refused");
        assert_eq!(
            error.to_string(),
            "no membership in \"board\": the checkpoint is of version 2, which has no way back to \
             1: this node's program is too old"
        );
        assert_eq!(new.add("grace".into()).await, Ok(2));
    })
    .await;
}

#[tokio::test]
async fn a_version_that_is_not_active_any_more_is_refused() {
    within(async {
        let cluster = Cluster::new(2).await;
        let made = cluster.node(0).group("board").create(two::Board::default()).await;
        let new: two::BoardHandle = made.expect("made");
        let joined = cluster.node(1).group("board").join(one::Board::default()).await;
        let refused = JoinError::Version { name: "board".into(), here: 1, active: 2 };
        assert_eq!(joined.err(), Some(refused));
        let retired = NotApplied::Retired { method: "pop", until: 2, active: 2 };
        assert_eq!(new.pop().await, Err(CallError::NotApplied(retired)));
        new.close().await.expect("stable");
    })
    .await;
}

#[tokio::test]
async fn what_differs_is_said_in_words() {
    within(async {
        let cluster = Cluster::new(2).await;
        let made = cluster.node(0).group("board").create(one::Board::default()).await;
        let _old: one::BoardHandle = made.expect("made");
        let joined = cluster.node(1).group("board").join(other::Board::default()).await;
        let Err(JoinError::Schema { name, differences }) = joined else { panic!("{joined:?}") };
        assert_eq!(name, "board");
        assert_eq!(
            differences,
            [
                "field `names` of version 1 is `Vec<char>` here, `Vec<String>` there",
                "the update `add` (id 1703796) has the order fifo here, total there",
                "argument `name` of the update `add` (id 1703796) is `Vec<u8>` here, `String` \
                 there",
                "the update `repeat` (id 2035370) is here, not there",
                "the update `pop` (id 1352912) is there, not here",
            ]
        );
    })
    .await;
}

#[tokio::test]
async fn a_client_asks_what_it_knows() {
    within(async {
        let cluster = Cluster::new(1).await;
        let board = one::Board { names: vec!["ada".into()], adds: 0 };
        let made = cluster.node(0).group("board").create(board).await;
        let _old: one::BoardHandle = made.expect("made");
        let client = cluster.client().await.expect("connected");
        let board = client.group::<two::BoardClient>("board");
        assert_eq!(board.all().await.expect("the same in both versions"), "ada");
        let unknown = board.is_closed().await;
        assert!(matches!(unknown, Err(ClientError::UnknownQuery { .. })), "{unknown:?}");
        let other = board.first().await;
        let Err(ClientError::Type { here, there, .. }) = other else { panic!("{other:?}") };
        assert!(here.contains("Option<(u64, String)>") && there.contains("Option<String>"));
    })
    .await;
}

/// Waits for a view of so many active members.
async fn settle<S: vsync::Replicated>(group: &vsync::Group<S>, size: usize) {
    let mut views = group.views();
    while views.next().await.expect("a view").size() != size {}
}

#[tokio::test]
async fn a_version_is_activated_when_all_have_it() {
    within(async {
        let cluster = Cluster::new(4).await;
        let made = cluster.node(0).group("board").create(one::Board::default()).await;
        let old: one::BoardHandle = made.expect("made");
        let mut new: Vec<two::BoardHandle> = Vec::new();
        for index in 1..3 {
            let joined = cluster.node(index).group("board").join(two::Board::default()).await;
            new.push(joined.expect("a member"));
        }
        new[0].add("ada".into()).await.expect("stable");
        let early = vec![TimerError::NotYetActive { since: 2, active: 1 }];
        assert_eq!(new[0].later().await, Ok(early));
        let refused = new[0].group().activate(2).await;
        let lacking = ActivateError::Lacking(vec!["node0 (version 1)".into()]);
        assert_eq!(refused, Err(lacking));
        let unknown = ActivateError::Unknown { version: 3, here: 2 };
        assert_eq!(new[0].group().activate(3).await, Err(unknown));
        assert_eq!(old.group().activate(1).await, Ok(()), "it is");

        old.group().leave(Duration::from_secs(10)).await.expect("left");
        settle(new[0].group(), 2).await;
        let before = new[0].group().view().expect("a view").number();
        // Whoever asks: neither knows whether the other has.
        let (one, other) = tokio::join!(new[0].group().activate(2), new[1].group().activate(2));
        assert_eq!((one, other), (Ok(()), Ok(())));
        for board in &new {
            assert_eq!(board.group().version(), Some(2));
            board.close().await.expect("stable");
            let retired = NotApplied::Retired { method: "pop", until: 2, active: 2 };
            assert_eq!(board.pop().await, Err(CallError::NotApplied(retired)));
        }
        let retired = vec![TimerError::Retired { until: 2, active: 2 }];
        assert_eq!(new[0].later().await, Ok(retired));
        assert_eq!(new[1].add("grace".into()).await, Ok(2));
        assert_eq!(new[1].all().await.expect("read"), "ada GRACE");
        assert_eq!(new[1].begun().await.expect("read")[0], 2, "on_view knows of it");
        assert!(new[1].group().view().expect("a view").number() > before);

        let late = cluster.node(3).group("board").join(one::Board::default()).await;
        let refused = JoinError::Version { name: "board".into(), here: 1, active: 2 };
        assert_eq!(late.err(), Some(refused));
        let late = cluster.node(3).group("board").join(two::Board::default()).await;
        let late: two::BoardHandle = late.expect("a member");
        assert_eq!((late.all().await, late.group().version()), (Ok("ada GRACE".into()), Some(2)));
        assert!(late.is_closed().await.expect("read"));
        late.close().await.expect("it is active here, too");
        let begun = new[0].begun().await.expect("read");
        new[0].group().flush().await.expect("flushed");
        assert_eq!(late.begun().await.expect("read"), begun);
    })
    .await;
}

#[tokio::test]
async fn updates_of_all_orders_meet_one_version_in_a_view() {
    within(async {
        let cluster = Cluster::new(3).await;
        let mut boards: Vec<two::BoardHandle> = Vec::new();
        let old = {
            let made = cluster.node(0).group("board").create(one::Board::default()).await;
            let old: one::BoardHandle = made.expect("made");
            for index in 1..3 {
                let joined = cluster.node(index).group("board").join(two::Board::default()).await;
                boards.push(joined.expect("a member"));
            }
            old
        };
        old.group().leave(Duration::from_secs(10)).await.expect("left");
        settle(boards[0].group(), 2).await;
        let (first, second) = (&boards[0], &boards[1]);
        let load = async {
            let mut outcomes = Vec::new();
            for _ in 0..200 {
                outcomes.push(first.add("a".into()).optimistic().await.is_ok());
                // The fifo update goes out as soon as this member knows of the version.
                drop(second.close().await);
                let stable = second.pop().await;
                assert!(
                    matches!(
                        stable,
                        Ok(_) | Err(CallError::NotApplied(NotApplied::Retired { .. }))
                    ),
                    "{stable:?}"
                );
            }
            outcomes
        };
        let (outcomes, activated) = tokio::join!(load, first.group().activate(2));
        activated.expect("activated");
        assert!(outcomes.into_iter().all(|applied| applied));
        for board in &boards {
            board.group().flush().await.expect("flushed");
        }
        for board in &boards {
            board.group().flush().await.expect("flushed");
        }
        let all: Vec<_> = [first.all().await, second.all().await].into();
        assert_eq!(all[0], all[1]);
        assert!(first.is_closed().await.expect("read") && second.is_closed().await.expect("read"));
    })
    .await;
}
