//! Simulations and checks of types that use their context: random numbers, timers, events.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use vsync::testing::{self, Check, Dice, Kind, Simulation};
use vsync::{Ctx, TimerError, TimerId, View, replicated};

/// Leases that expire, prizes that are drawn.
#[replicated(event = String)]
#[derive(Default)]
struct Leases {
    held: BTreeMap<u8, TimerId>,
    expired: u64,
    prizes: Vec<u64>,
    views: u64,
    #[local]
    drawn_here: u64,
}

#[replicated]
impl Leases {
    #[update(order = "total")]
    fn renew(&mut self, ctx: &Ctx<Self>, who: u8) -> Result<(), TimerError> {
        if let Some(timer) = self.held.remove(&who) {
            ctx.cancel(timer)?;
        }
        let expire = LeasesUpdate::Expire { who };
        self.held.insert(who, ctx.after(Duration::from_millis(200), expire)?);
        Ok(())
    }
    #[update(order = "total")]
    fn expire(&mut self, ctx: &Ctx<Self>, who: u8) {
        if self.held.remove(&who).is_some() {
            self.expired += 1;
            ctx.emit(format!("{who} is late"));
        }
    }
    #[update(order = "total")]
    fn draw(&mut self, ctx: &Ctx<Self>) {
        self.drawn_here += 1;
        self.prizes.push(ctx.rng().below(1000));
        self.prizes.truncate(20);
    }
    #[on_view]
    fn view(&mut self, ctx: &Ctx<Self>, view: &View) {
        self.views = view.number();
        ctx.emit("a view".to_owned());
    }
}

fn update(dice: &mut Dice) -> LeasesUpdate {
    match dice.below(8) {
        0 => LeasesUpdate::Expire { who: 9 },
        1 | 2 => LeasesUpdate::Draw,
        _ => LeasesUpdate::Renew { who: dice.below(4) as u8 },
    }
}

#[test]
fn a_type_with_timers_events_and_random_numbers_passes() {
    testing::deterministic(Leases::default, update);
    testing::checkpointed(Leases::default, update);
    Check::new(Leases::default, update).wire().expect("survives");
    let most = Rc::new(Cell::new(0));
    let seen = Rc::clone(&most);
    let simulation = Simulation::new(Leases::default, update)
        .seeds(0..20)
        .lasting(Duration::from_secs(3))
        .invariant("four leases", move |leases| {
            seen.set(seen.get().max(leases.expired));
            leases.held.len() <= 4
        });
    let passed = simulation.check().unwrap_or_else(|failure| panic!("{failure}"));
    assert!(passed.loaded > 20, "{passed:?}");
    assert!(most.get() > 3, "timers have fired: {}", most.get());
}

#[test]
fn timers_fire_in_the_histories_of_checks() {
    let renew = |dice: &mut Dice| LeasesUpdate::Renew { who: dice.below(4) as u8 };
    let late = Check::new(Leases::default, renew);
    // A panic of the timer's update shows that it came.
    let failure = Check::new(Bomb::default, |_| BombUpdate::Light)
        .without(["explode"])
        .length(60)
        .deterministic()
        .expect_err("it goes off");
    assert_eq!(failure.kind, Kind::Panicked);
    assert!(failure.report.contains("a timer: an update panicked: bang"), "{failure}");
    late.without(["expire", "draw"]).deterministic().expect("the same every time");
}

#[replicated]
#[derive(Default)]
struct Bomb {
    lit: u64,
}

#[replicated]
impl Bomb {
    #[update(order = "total")]
    fn light(&mut self, ctx: &Ctx<Self>) -> Result<TimerId, TimerError> {
        self.lit += 1;
        ctx.after(Duration::from_millis(50), BombUpdate::Explode)
    }
    #[update(order = "total")]
    fn explode(&mut self) {
        panic!("bang");
    }
}
