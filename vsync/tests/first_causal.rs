//! Whether batches carry stamps is a matter of the whole group, from its beginning: a version that
//! brings a type's first causal update, or takes its last one away, is no member of the same group.

mod patience;

use std::time::Duration;

use patience::within;
use vsync::testing::Cluster;
use vsync::{JoinError, Replicated};

/// A program: its version, the one before, and its methods.
macro_rules! program {
    ($module:ident, $version:literal after $before:literal, { $($methods:tt)* }) => {
        mod $module {
            use vsync::replicated;

            /// The state is the same in all versions.
            #[replicated(past, name = "talk", version = $before)]
            pub(super) struct Before {
                said: Vec<String>,
            }

            #[replicated(name = "talk", version = $version, from = Before)]
            #[derive(Clone, Debug, Default)]
            pub(super) struct Talk {
                said: Vec<String>,
            }

            impl From<Before> for Talk {
                fn from(old: Before) -> Talk {
                    Talk { said: old.said }
                }
            }

            impl From<&Talk> for Before {
                fn from(new: &Talk) -> Before {
                    Before { said: new.said.clone() }
                }
            }

            #[replicated]
            impl Talk {
                #[update(order = "total")]
                pub(super) fn say(&mut self, what: String) -> u64 {
                    self.said.push(what);
                    self.said.len() as u64
                }

                $($methods)*
            }
        }
    };
}

program!(silent, 2 after 1, {});
program!(replies, 3 after 2, {
    #[update(order = "causal", since = 3)]
    pub(super) fn reply(&mut self, what: String) {
        self.said.push(what);
    }
});
program!(prepared, 2 after 1, {
    /// Nobody calls it: it is there for those to come.
    #[update(order = "causal")]
    pub(super) fn nothing(&mut self) {}
});
program!(after_prepared, 3 after 2, {
    #[update(order = "causal", until = 3)]
    pub(super) fn nothing(&mut self) {}

    #[update(order = "causal", since = 3)]
    pub(super) fn reply(&mut self, what: String) {
        self.said.push(what);
    }
});
program!(retired, 4 after 3, {
    #[update(order = "causal", since = 3, until = 4)]
    pub(super) fn reply(&mut self, what: String) {
        self.said.push(what);
    }
});
program!(gone, 5 after 4, {});

/// What is said to a program that is not let in.
async fn refused<S: Replicated>(cluster: &Cluster, node: usize, state: S) -> String {
    let joined = cluster.node(node).group("talk").join(state).await;
    let Err(JoinError::Schema { differences, .. }) = joined.map(drop) else {
        panic!("it is let in, or refused for another reason");
    };
    let [said] = &differences[..] else { panic!("{differences:?}") };
    said.clone()
}

#[tokio::test]
async fn the_first_causal_update_is_refused_at_the_door() {
    within(async {
        let cluster = Cluster::new(3).await;
        let made = cluster.node(0).group("talk").create(silent::Talk::default()).await;
        let talk: silent::TalkHandle = made.expect("made");
        let said = refused(&cluster, 1, replies::Talk::default()).await;
        assert!(said.starts_with("the update `reply` "), "{said}");
        assert!(said.contains("is causal here, and without it the type has no causal"), "{said}");
        // The group goes on, and lets in who fits.
        assert_eq!(talk.say("one".to_owned()).await, Ok(1));
        let joined = cluster.node(1).group("talk").join(silent::Talk::default()).await;
        let other: silent::TalkHandle = joined.expect("a member");
        assert_eq!(other.say("two".to_owned()).await, Ok(2));
    })
    .await;
}

#[tokio::test]
async fn the_last_causal_update_is_not_left_out_of_a_later_program() {
    within(async {
        let cluster = Cluster::new(2).await;
        let made = cluster.node(0).group("talk").create(retired::Talk::default()).await;
        let talk: retired::TalkHandle = made.expect("made");
        // Nobody can call it any more, and yet it has to stay in the source.
        assert!(talk.reply("one".to_owned()).await.is_err());
        let said = refused(&cluster, 1, gone::Talk::default()).await;
        assert!(said.starts_with("the update `reply` "), "{said}");
        assert!(said.contains("is causal there"), "{said}");
        assert!(said.contains("nor the last one go"), "{said}");
        assert_eq!(talk.say("two".to_owned()).await, Ok(1));
    })
    .await;
}

#[tokio::test]
async fn a_type_with_a_causal_update_gets_others_while_the_group_goes_on() {
    within(async {
        let cluster = Cluster::new(3).await;
        let made = cluster.node(0).group("talk").create(prepared::Talk::default()).await;
        let old: prepared::TalkHandle = made.expect("made");
        let mut new: Vec<after_prepared::TalkHandle> = Vec::new();
        for node in 1..3 {
            let joined = cluster.node(node).group("talk").join(after_prepared::Talk::default());
            new.push(joined.await.expect("a member"));
        }
        old.nothing().await.expect("stable");
        assert_eq!(old.say("one".to_owned()).await, Ok(1));
        old.group().leave(Duration::from_secs(10)).await.expect("left");
        while new[0].group().view().is_none_or(|view| view.size() > 2) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        new[0].group().activate(3).await.expect("all have it");
        new[0].reply("two".to_owned()).await.expect("stable");
        assert_eq!(new[1].say("three".to_owned()).await, Ok(3));
    })
    .await;
}
