//! What the checks of replicated types take for an effect, and which methods they ask for: an event
//! is one, and of a method that has ended nothing is asked.

use vsync::testing::{self, Check, Dice, Kind, Simulation};
use vsync::{Ctx, replicated};

/// Its one method is an announcement: the state stays as it is.
#[replicated(event = String)]
#[derive(Default)]
struct Bell {
    rings: u64,
}

#[replicated]
impl Bell {
    #[update(order = "fifo")]
    fn ring(&mut self, ctx: &Ctx<Self>, loud: bool) {
        if loud {
            ctx.emit("ding".to_owned());
        }
    }
}

fn bell(dice: &mut Dice) -> BellUpdate {
    BellUpdate::Ring { loud: dice.chance(500) }
}

#[test]
fn an_event_is_an_effect() {
    testing::commute(Bell::default, bell);
    testing::deterministic(Bell::default, bell);
    testing::checkpointed(Bell::default, bell);
    let silent = || Check::new(Bell::default, |_| BellUpdate::Ring { loud: false });
    for failure in [silent().commute(), silent().deterministic(), silent().checkpointed()] {
        assert_eq!(failure.expect_err("no event, no change").kind, Kind::Vacuous);
    }
}

/// One method has ended with this version.
#[replicated(version = 2)]
#[derive(Default)]
struct Count {
    count: u64,
}

#[replicated]
impl Count {
    #[update(order = "fifo")]
    fn add(&mut self, by: u64) {
        self.count += by;
    }
    #[update(order = "fifo", until = 2)]
    fn set(&mut self, to: u64) {
        self.count = to;
    }
    #[update(order = "fifo", until = 3)]
    fn double(&mut self) {
        self.count *= 2;
    }
}

fn adds(dice: &mut Dice) -> CountUpdate {
    CountUpdate::Add { by: 1 + dice.below(9) }
}

/// Also what cannot be sent any more.
fn all(dice: &mut Dice) -> CountUpdate {
    if dice.chance(300) { CountUpdate::Set { to: dice.below(9) } } else { adds(dice) }
}

#[test]
fn a_method_that_has_ended_is_not_asked_for() {
    // Whether or not the generator still makes it; `set` and `add` would not commute.
    for draw in [adds, all] {
        let check = || Check::new(Count::default, draw).without(["double"]);
        check().commute().expect("nothing but `add`");
        check().deterministic().expect("nothing but `add`");
        check().checkpointed().expect("nothing but `add`");
        check().wire().expect("nothing but `add`");
        let simulation = Simulation::new(Count::default, draw).seeds(0..4).without(["double"]);
        let seen = simulation.check().unwrap_or_else(|failure| panic!("{failure}"));
        assert!(seen.applied > 0);
    }
}

#[test]
fn a_method_that_ends_later_is() {
    let failure = Check::new(Count::default, adds).commute().expect_err("`double` is not drawn");
    assert_eq!(failure.kind, Kind::Vacuous);
    let how = "leave them out with `Check::new(start, updates).without([\"double\"])`";
    assert!(failure.report.contains("of `double` of `Count`"), "{failure}");
    assert!(failure.report.contains(how), "{failure}");
    let draw = |dice: &mut Dice| if dice.chance(500) { CountUpdate::Double } else { adds(dice) };
    let failure = Check::new(Count::default, draw).commute().expect_err("they do not commute");
    assert_eq!(failure.kind, Kind::Order);
}
