//! What update methods may use besides the state: the same at every replica.

use std::time::Duration;

use vsync::testing::Cluster;
use vsync::{Ctx, View, replicated};

/// Draws, by whom they were made.
#[replicated]
#[derive(Debug, Default)]
pub struct Dice {
    drawn: Vec<u64>,
    views: Vec<(u64, u64)>,
}

#[replicated]
impl Dice {
    /// Draws twice, asking twice for the generator, and some more.
    #[update(order = "total")]
    pub fn roll(&mut self, ctx: &Ctx<Self>) -> Vec<u64> {
        let mut drawn = vec![ctx.rng().u64(), ctx.rng().u64(), ctx.rng().below(6)];
        ctx.rng().shuffle(&mut drawn);
        self.drawn.extend(&drawn);
        drawn
    }

    #[on_view]
    fn view(&mut self, ctx: &Ctx<Self>, view: &View) {
        self.views.push((view.number(), ctx.rng().u64()));
    }

    /// All of it.
    #[query]
    pub fn all(&self) -> (Vec<u64>, Vec<(u64, u64)>) {
        (self.drawn.clone(), self.views.clone())
    }
}

/// Nothing in these tests may take longer.
async fn within<T>(future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(Duration::from_secs(20), future).await {
        Ok(value) => value,
        Err(_) => panic!("not done in time"),
    }
}

#[tokio::test]
async fn all_replicas_draw_the_same_numbers_and_no_update_those_of_another() {
    within(async {
        let cluster = Cluster::new(3).await;
        let mut handles: Vec<DiceHandle> = Vec::new();
        let mut own = Vec::new();
        for node in cluster.nodes() {
            let dice = node.group("dice").join_or_create(Dice::default()).await.expect("a member");
            // Those that follow are sent in one batch.
            for _ in 0..3 {
                dice.roll().send().await.expect("sent");
            }
            own.push(dice.roll().await.expect("stable"));
            handles.push(dice);
        }
        let mut all = Vec::new();
        for handle in &handles {
            handle.group().flush().await.expect("flushed");
            all.push(handle.all().await.expect("a member"));
        }
        let (drawn, views) = all[0].clone();
        assert!(all.iter().all(|other| *other == all[0]), "{all:#?}");
        assert_eq!(drawn.len(), 3 * 4 * 3);
        assert!(own.iter().all(|own| drawn.windows(3).any(|drawn| drawn == own)));
        let mut numbers: Vec<_> = drawn.into_iter().filter(|number| *number > 5).collect();
        numbers.extend(views.iter().map(|(_, number)| number));
        let count = numbers.len();
        assert_eq!(count, 3 * 4 * 2 + views.len());
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(numbers.len(), count, "nothing comes twice");
    })
    .await;
}
