//! Updates that come by the clock: once, at the same point everywhere, whoever fails.

mod patience;

use std::time::Duration;

use patience::within;
use vsync::testing::Cluster;
use vsync::testing::history::{History, check};
use vsync::{Ctx, Emitted, Events, NodeBuilder, Time, TimerError, TimerId, View, replicated};

/// Notes what has fired, and when.
#[replicated(event = u64)]
#[derive(Debug, Default)]
pub struct Clock {
    fired: Vec<(u64, Time)>,
    set: Vec<TimerId>,
    welcome: bool,
}

#[replicated]
impl Clock {
    /// Lets a number come after some milliseconds.
    #[update(order = "total")]
    pub fn set(&mut self, ctx: &Ctx<Self>, number: u64, delay: u64) -> Result<Time, TimerError> {
        let delay = Duration::from_millis(delay);
        self.set.push(ctx.after(delay, ClockUpdate::Fire { number })?);
        Ok(ctx.time())
    }

    /// The same, applied when stable, and so is what comes.
    #[update(order = "total", level = "stable")]
    pub fn set_stable(&mut self, ctx: &Ctx<Self>, number: u64) -> Result<(), TimerError> {
        let fire = ClockUpdate::FireStable { number };
        self.set.push(ctx.after(Duration::from_millis(20), fire)?);
        Ok(())
    }

    /// Lets a number come, every so many milliseconds, until it is zero.
    #[update(order = "total")]
    pub fn count_down(&mut self, ctx: &Ctx<Self>, number: u64) -> Result<(), TimerError> {
        self.note(ctx, number);
        if number > 0 {
            let next = ClockUpdate::CountDown { number: number - 1 };
            ctx.after(Duration::from_millis(2), next)?;
        }
        Ok(())
    }

    /// Takes the timer back that was set as this one; whether it was there.
    #[update(order = "total")]
    pub fn cancel(&mut self, ctx: &Ctx<Self>, index: usize) -> Result<bool, TimerError> {
        ctx.cancel(self.set[index])
    }

    /// Cannot set timers.
    #[update(order = "fifo")]
    pub fn fifo(&mut self, ctx: &Ctx<Self>) -> Vec<TimerError> {
        let fire = ClockUpdate::Fire { number: 1 };
        let set = ctx.after(Duration::ZERO, fire).map(drop);
        let cancelled = ctx.cancel(self.set[0]).map(drop);
        [set, cancelled].into_iter().filter_map(Result::err).collect()
    }

    /// What a timer calls.
    #[update(order = "fifo")]
    pub fn fire(&mut self, ctx: &Ctx<Self>, number: u64) {
        self.note(ctx, number);
    }

    /// What another one calls.
    #[update(order = "total", level = "stable")]
    pub fn fire_stable(&mut self, ctx: &Ctx<Self>, number: u64) {
        self.note(ctx, number);
    }

    /// Lets a number come after the next view.
    #[update(order = "total")]
    pub fn welcome(&mut self) {
        self.welcome = true;
    }

    #[on_view]
    fn view(&mut self, ctx: &Ctx<Self>, view: &View) {
        if std::mem::take(&mut self.welcome) {
            let number = 1000 + view.number();
            let set = ctx.after(Duration::from_millis(20), ClockUpdate::Fire { number });
            self.set.extend(set);
        }
    }

    /// What has fired.
    #[query]
    pub fn fired(&self) -> Vec<(u64, Time)> {
        self.fired.clone()
    }

    fn note(&mut self, ctx: &Ctx<Self>, number: u64) {
        self.fired.push((number, ctx.time()));
        ctx.emit(number);
    }
}

/// A member, and what it hears.
struct Heard {
    clock: ClockHandle,
    events: Events<u64>,
}

impl Heard {
    async fn join(cluster: &Cluster, index: usize) -> Heard {
        let group = cluster.node(index).group("clock");
        let clock = group.join_or_create(Clock::default()).await.expect("a member");
        let events = clock.group().events();
        Heard { clock, events }
    }

    async fn all(cluster: &Cluster, size: usize) -> Vec<Heard> {
        let mut all = Vec::new();
        for index in 0..size {
            all.push(Heard::join(cluster, index).await);
        }
        for heard in &all {
            heard.settle(size).await;
        }
        all
    }

    async fn settle(&self, size: usize) {
        let mut views = self.clock.group().views();
        loop {
            let view = views.next().await.expect("a view");
            if view.size() == size && view.members().len() == size {
                break;
            }
        }
    }

    /// Waits until this number has fired.
    async fn hear(&mut self, number: u64) {
        loop {
            match self.events.next().await {
                Some(Emitted::Event { event, .. }) if event == number => return,
                Some(_) => {}
                None => panic!("the membership is over"),
            }
        }
    }

    /// What has fired, as it is known when all that was sent so far is applied.
    async fn fired(&self) -> Vec<(u64, Time)> {
        self.clock.group().flush().await.expect("flushed");
        self.clock.fired().await.expect("a member")
    }
}

fn numbers(fired: &[(u64, Time)]) -> Vec<u64> {
    fired.iter().map(|(number, _)| *number).collect()
}

#[tokio::test]
async fn a_timer_fires_once_at_all_at_the_same_point() {
    within(async {
        let cluster = Cluster::new(3).await;
        let mut all = Heard::all(&cluster, 3).await;
        let set = all[2].clock.set(1, 30).await.expect("set");
        all[1].clock.set(2, 10).await.expect("set");
        all[1].clock.set_stable(3).await.expect("set");
        let errors = all[0].clock.fifo().await.expect("stable");
        assert_eq!(errors, [TimerError::NotTotal, TimerError::NotTotal]);
        for heard in &mut all {
            heard.hear(1).await;
        }
        // Whatever was sent twice would be there now.
        all[0].clock.set(4, 0).await.expect("set");
        for heard in &mut all {
            heard.hear(4).await;
        }
        let fired = all[0].fired().await;
        let mut sorted = numbers(&fired);
        sorted.sort_unstable();
        assert_eq!(sorted, [1, 2, 3, 4], "{fired:?}");
        let first = fired.iter().find(|(number, _)| *number == 1).expect("fired");
        assert!(first.1 >= set + 30_000, "not before its time: {set} {first:?}");
        for heard in &all {
            assert_eq!(heard.fired().await, fired);
        }
    })
    .await;
}

#[tokio::test]
async fn a_cancelled_timer_does_not_fire() {
    within(async {
        let cluster = Cluster::new(2).await;
        let mut all = Heard::all(&cluster, 2).await;
        all[0].clock.set(1, 3_600_000).await.expect("set");
        all[0].clock.set(2, 0).await.expect("set");
        assert_eq!(all[1].clock.cancel(0).await, Ok(true));
        assert_eq!(all[0].clock.cancel(0).await, Ok(false), "twice");
        all[1].hear(2).await;
        assert_eq!(all[1].clock.cancel(1).await, Ok(false), "it has fired");
        assert_eq!(numbers(&all[0].fired().await), [2]);
        // Whether the timer or the one who takes it back is first, all decide alike.
        for round in 2..50 {
            all[0].clock.set(99, 0).send().await.expect("sent");
            all[0].clock.cancel(round).send().await.expect("sent");
        }
        all[0].clock.set(3, 0).await.expect("set");
        all[1].hear(3).await;
        let fired = all[1].fired().await;
        assert_eq!(all[0].fired().await, fired);
    })
    .await;
}

#[tokio::test]
async fn timers_survive_the_coordinator_and_go_to_joiners() {
    within(async {
        let mut cluster = Cluster::new(3).await;
        let mut all = Heard::all(&cluster, 3).await;
        all[1].clock.count_down(300).await.expect("set");
        all[1].clock.set(1000, 1).await.expect("set");
        all[1].clock.set(2000, 700).await.expect("set");
        assert_eq!(all[0].clock.group().rank(), Some(0));
        cluster.kill(0);
        all.remove(0);
        for heard in &mut all {
            heard.settle(2).await;
            heard.hear(2000).await;
        }
        // The youngest gets the timers with the state, and is in the end the only one.
        all[0].clock.set(3000, 800).await.expect("set");
        let index = cluster.add().await.expect("started");
        all.push(Heard::join(&cluster, index).await);
        for heard in &mut all {
            heard.settle(3).await;
        }
        for _ in 0..2 {
            let heard = all.remove(0);
            heard.clock.group().leave(Duration::from_secs(10)).await.expect("left");
        }
        let last = &mut all[0];
        last.settle(1).await;
        assert_eq!(last.clock.group().rank(), Some(0));
        last.hear(3000).await;
        let fired = numbers(&last.fired().await);
        let down: Vec<_> = fired.iter().copied().filter(|number| *number <= 300).collect();
        assert!(down.is_sorted_by(|one, other| one == &(other + 1)), "{down:?}");
        for number in [1000, 2000, 3000] {
            assert_eq!(fired.iter().filter(|fired| **fired == number).count(), 1, "{number}");
        }
        if down.last() != Some(&0) {
            last.hear(0).await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_view_may_set_timers() {
    within(async {
        let mut cluster = Cluster::new(3).await;
        let mut all = Heard::all(&cluster, 3).await;
        all[0].clock.welcome().await.expect("stable");
        cluster.kill(0);
        all.remove(0);
        all[0].settle(2).await;
        let number = 1000 + all[0].clock.group().view().expect("a view").number();
        for heard in &mut all {
            heard.hear(number).await;
        }
        assert_eq!(all[0].fired().await, all[1].fired().await);
        assert_eq!(numbers(&all[0].fired().await), [number]);
    })
    .await;
}

#[tokio::test]
async fn many_timers_fire_once_each_and_the_histories_are_good() {
    let dir = std::env::temp_dir().join(format!("vsync-timers-{}", std::process::id()));
    let record = dir.clone();
    within(async move {
        let configure = move |builder: NodeBuilder| builder.history(record.clone());
        let cluster = Cluster::with(2, configure).await;
        let mut all = Heard::all(&cluster, 2).await;
        let count = 3000;
        for number in 0..count {
            all[number as usize % 2].clock.set(number, number % 7).send().await.expect("sent");
        }
        for heard in &all {
            heard.clock.group().flush().await.expect("flushed");
        }
        all[0].clock.set(count, 300).await.expect("set");
        for heard in &mut all {
            heard.hear(count).await;
        }
        let fired = all[0].fired().await;
        assert_eq!(all[1].fired().await, fired);
        let mut sorted = numbers(&fired);
        sorted.sort_unstable();
        assert_eq!(sorted, (0..=count).collect::<Vec<_>>());
        // Who leaves writes down its state: timers that are set are a part of it.
        all[1].clock.set(count, 3_600_000).await.expect("set");
        drop(all);
        cluster.shutdown(Duration::from_secs(5)).await;
    })
    .await;
    let history = History::read_dir(&dir).expect("readable histories");
    let violations = check(&history);
    assert!(violations.is_empty(), "{violations:#?} in {dir:?}");
    std::fs::remove_dir_all(&dir).expect("removed");
}
