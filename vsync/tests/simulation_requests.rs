//! Requests in simulations: handlers run at their coordinators while these fail; right ones pass,
//! and each planted defect is found.

use std::collections::BTreeMap;
use std::future::pending;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use tokio::sync::oneshot;
use vsync::testing::{Check, Dice, Failure, Faults, Kind, Simulation};
use vsync::{Effect, RequestCtx, RequestInfo, View, replicated};

const SEATS: u32 = 30;

/// Right, whatever fails.
#[replicated]
#[derive(Default)]
struct Hall {
    free: u32,
    sold: BTreeMap<u32, u32>,
    notes: u32,
}

impl Hall {
    fn new() -> Hall {
        Hall { free: SEATS, ..Hall::default() }
    }
}

#[replicated]
impl Hall {
    #[update(order = "total")]
    fn take(&mut self, of: u32) -> Option<u32> {
        self.free = self.free.checked_sub(1)?;
        let seat = self.free;
        self.sold.insert(seat, of);
        Some(seat)
    }

    #[update(order = "total")]
    fn give_back(&mut self, seat: u32) {
        self.free += u32::from(self.sold.remove(&seat).is_some_and(|_| seat == self.free));
    }

    #[update(order = "fifo")]
    fn note(&mut self) {
        self.notes += 1;
    }

    /// One update, whose word is the answer.
    #[request(key = of)]
    async fn book(ctx: &RequestCtx<Self>, of: u32) -> Effect<Option<u32>> {
        if ctx.read(|hall| hall.free == 0).await {
            return Effect::value(None);
        }
        ctx.update().take(of)
    }

    /// Several steps, and something that only one attempt finds out.
    #[request]
    async fn two(ctx: &RequestCtx<Self>, of: u32) -> Result<(u32, u32), String> {
        let found = ctx.record(async { 7_u32 }).await;
        let Some(one) = ctx.step(|hall| hall.take(of)).await else {
            return Err(format!("no seat, {found}"));
        };
        let Some(two) = ctx.step(|hall| hall.take(of)).await else {
            ctx.step(|hall| hall.give_back(one)).await;
            return Err("one seat only".to_owned());
        };
        ctx.update().note();
        Ok((one, two))
    }
}

fn update(dice: &mut Dice) -> HallUpdate {
    match dice.below(6) {
        0 => HallUpdate::Take { of: 0 },
        1 => HallUpdate::GiveBack { seat: dice.below(30) as u32 },
        _ => HallUpdate::Note {},
    }
}

fn request(dice: &mut Dice) -> HallRequest {
    match dice.below(3) {
        0 => HallRequest::Two { of: dice.below(9) as u32 },
        _ => HallRequest::Book { of: dice.below(9) as u32 },
    }
}

// ANCHOR: simulation
fn hall() -> Simulation<Hall> {
    Simulation::new(Hall::new, update).requests(request).invariant("each seat once", |hall| {
        let sold = hall.sold.len() as u32;
        hall.free + sold <= SEATS && hall.sold.keys().all(|seat| *seat < SEATS)
    })
}
// ANCHOR_END: simulation

#[test]
fn a_right_type_passes_while_its_coordinators_fail() {
    let seen = hall().seeds(0..30).check().unwrap_or_else(|failure| panic!("{failure}"));
    println!("{seen:?}");
    assert!(seen.requests > 300 && seen.answered > seen.requests * 9 / 10, "{seen:?}");
    assert!(seen.taken_over > 20 && seen.loaded > 30, "{seen:?}");
}

#[test]
fn a_right_type_passes_in_groups_of_every_size_and_without_faults() {
    for members in [2, 3, 5] {
        let seen = hall().members(members).seeds(0..5).faults(Faults::none()).check();
        let seen = seen.unwrap_or_else(|failure| panic!("{members}: {failure}"));
        assert_eq!((seen.answered, seen.taken_over), (seen.requests, 0), "{seen:?}");
    }
}

#[test]
fn a_seed_is_one_run() {
    let run = |seed| hall().check_seed(seed).unwrap_or_else(|failure| panic!("{failure}"));
    assert_eq!(run(5), run(5));
    assert_ne!(run(5), run(6));
}

/// Each request is wrong in a way of its own.
#[replicated]
#[derive(Default)]
struct Wrong {
    free: u32,
    sold: u32,
}

/// What a process has of its own.
static HERE: AtomicUsize = AtomicUsize::new(0);

#[replicated]
impl Wrong {
    #[update(order = "total")]
    fn sell(&mut self, seats: u32) {
        self.free = self.free.wrapping_sub(seats);
        self.sold += seats;
    }

    #[update(order = "total")]
    fn fails(&mut self) {
        panic!("half way");
    }

    /// What was read may not hold any more where the update is applied.
    #[request]
    async fn stale(ctx: &RequestCtx<Self>) -> bool {
        let free = ctx.read(|it| it.free > 0).await;
        if free {
            ctx.update().sell(1);
        }
        free
    }

    /// Another attempt makes another step.
    #[request]
    async fn wanders(ctx: &RequestCtx<Self>) -> u32 {
        let seats = 1 + HERE.fetch_add(1, Ordering::Relaxed) as u32;
        ctx.step(|it| it.sell(seats)).await;
        ctx.step(|it| it.sell(0)).await;
        seats
    }

    #[request]
    async fn sleeps(ctx: &RequestCtx<Self>) {
        let _ = ctx.read(|it| it.free).await;
        tokio::time::sleep(Duration::from_millis(1)).await;
    }

    #[request]
    async fn spawns(_ctx: &RequestCtx<Self>) -> u32 {
        tokio::spawn(async { 7 }).await.unwrap_or_default()
    }

    #[request]
    async fn lets_a_thread_work(_ctx: &RequestCtx<Self>) -> u32 {
        let (tell, listen) = oneshot::channel();
        thread::spawn(move || tell.send(7));
        listen.await.unwrap_or_default()
    }

    #[request]
    async fn never_ends(_ctx: &RequestCtx<Self>) {
        pending().await
    }

    #[request]
    async fn waits_for_its_end(ctx: &RequestCtx<Self>) {
        ctx.cancelled().await;
    }

    #[request]
    async fn panics(_ctx: &RequestCtx<Self>) {
        panic!("no answer to that");
    }

    #[request]
    async fn panics_in_an_update(ctx: &RequestCtx<Self>) {
        ctx.update().fails();
    }
}

fn wrong(draw: fn() -> WrongRequest) -> Failure {
    wrong_in(draw, 0..40).expect_err("it is wrong")
}

fn wrong_in(draw: fn() -> WrongRequest, seeds: Range<u64>) -> Result<(), Failure> {
    let start = || Wrong { free: 9, sold: 0 };
    let drawn = |_: &mut Dice| WrongUpdate::Sell { seats: 0 };
    let simulation = Simulation::new(start, drawn).requests(move |_| draw()).seeds(seeds);
    let sold = simulation.invariant("no seat twice", |it| it.free <= 9);
    sold.check().map(drop)
}

#[test]
fn what_was_read_and_does_not_hold_any_more_is_found() {
    let failure = wrong(|| WrongRequest::Stale {});
    assert_eq!(failure.kind, Kind::Invariant, "{failure}");
    for part in ["\"no seat twice\" is not true", "what comes of stale()"] {
        assert!(failure.report.contains(part), "{part} in: {failure}");
    }
    // Of a long run the report tells the end, so not of each seed how it began.
    let each = (0..40).filter_map(|seed| wrong_in(|| WrongRequest::Stale {}, seed..seed + 1).err());
    let mut reports = each.map(|failure| failure.report);
    assert!(reports.any(|report| report.contains("is asked for stale()")));
}

#[test]
fn an_attempt_that_makes_other_steps_is_found() {
    let failure = wrong(|| WrongRequest::Wanders {});
    // Where it is not found before that it sells more than there is.
    let steps = "its steps are not those of an earlier attempt";
    let oversold = failure.kind == Kind::Invariant;
    assert!(oversold || failure.report.contains(steps), "{failure}");
    let start = || Wrong { free: u32::MAX, sold: 0 };
    let simulation = Simulation::new(start, |_: &mut Dice| WrongUpdate::Sell { seats: 0 });
    let simulation = simulation.requests(|_| WrongRequest::Wanders {}).seeds(0..40);
    let failure = simulation.check().expect_err("it wanders");
    assert_eq!(failure.kind, Kind::Request, "{failure}");
    assert!(failure.report.contains(steps) && failure.report.contains("wanders()"), "{failure}");
}

#[test]
fn what_cannot_be_simulated_is_named() {
    for (draw, name, why) in [
        (
            (|| WrongRequest::Sleeps {}) as fn() -> WrongRequest,
            "sleeps()",
            "it needs tokio's runtime",
        ),
        (|| WrongRequest::Spawns {}, "spawns()", "it needs tokio's runtime"),
        (|| WrongRequest::LetsAThreadWork {}, "lets_a_thread_work()", "something else than"),
        (|| WrongRequest::NeverEnds {}, "never_ends()", "it waits for something else than"),
    ] {
        let failure = wrong(draw);
        assert_eq!(failure.kind, Kind::Outside, "{name}: {failure}");
        let said = format!("the handler of {name} cannot be simulated");
        assert!(failure.report.contains(&said) && failure.report.contains(why), "{failure}");
    }
}

/// In tokio's runtime a timer does not panic; it is found all the same.
#[tokio::test]
async fn a_timer_is_found_in_a_runtime_as_well() {
    let failure = wrong(|| WrongRequest::Sleeps {});
    assert_eq!(failure.kind, Kind::Outside, "{failure}");
}

#[test]
fn a_request_without_an_answer_is_found() {
    let failure = wrong(|| WrongRequest::WaitsForItsEnd {});
    assert_eq!(failure.kind, Kind::Request, "{failure}");
    assert!(failure.report.contains("waits_for_its_end() is not answered"), "{failure}");
    for (draw, why) in [
        ((|| WrongRequest::Panics {}) as fn() -> WrongRequest, "no answer to that"),
        (|| WrongRequest::PanicsInAnUpdate {}, "half way"),
    ] {
        let failure = wrong(draw);
        assert_eq!(failure.kind, Kind::Panicked, "{failure}");
        assert!(failure.report.contains(why), "{failure}");
    }
}

/// Its coordinators are chosen by what only this process knows.
#[replicated(requests = anybody)]
#[derive(Default)]
struct Moody {
    count: u32,
}

fn anybody(_: &RequestInfo<'_>, view: &View) -> usize {
    HERE.fetch_add(1, Ordering::Relaxed) % view.active().len().max(1)
}

#[replicated]
impl Moody {
    #[update(order = "total")]
    fn count(&mut self) {
        self.count += 1;
    }

    #[request]
    async fn ask(ctx: &RequestCtx<Self>) {
        ctx.update().count();
    }
}

#[test]
fn a_policy_that_differs_between_members_is_found() {
    let simulation = Simulation::new(Moody::default, |_: &mut Dice| MoodyUpdate::Count {});
    let failure = simulation.requests(|_| MoodyRequest::Ask {}).check().expect_err("no agreement");
    assert_eq!(failure.kind, Kind::Diverged, "{failure}");
    assert!(failure.report.contains("what they know of requests differs"), "{failure}");
}

#[test]
fn a_request_that_nobody_asks_for_is_told() {
    let some = hall().requests(|_| HallRequest::Book { of: 1 }).seeds(0..3);
    let failure = some.check().expect_err("`two` is missing");
    assert_eq!(failure.kind, Kind::Vacuous);
    assert!(failure.report.contains("nobody called `two`"), "{failure}");
    let some = hall().requests(|_| HallRequest::Book { of: 1 }).without(["two"]).seeds(0..3);
    assert!(some.check().is_ok());
}

/// Half of it gets lost on the way.
#[derive(Debug, serde::Deserialize)]
struct Lossy(u8);

impl serde::Serialize for Lossy {
    fn serialize<T: serde::Serializer>(&self, to: T) -> Result<T::Ok, T::Error> {
        to.serialize_newtype_struct("Lossy", &(self.0 / 2))
    }
}

/// What is asked for, and what is answered, is not what arrives.
#[replicated]
#[derive(Default)]
struct Post {
    sent: u32,
}

#[replicated]
impl Post {
    #[update(order = "total")]
    fn send(&mut self) -> Lossy {
        self.sent += 1;
        Lossy(200)
    }

    #[request]
    async fn takes(_ctx: &RequestCtx<Self>, it: Lossy) -> bool {
        it.0 > 1
    }

    #[request]
    async fn gives(_ctx: &RequestCtx<Self>, most: u8) -> Result<u8, Lossy> {
        if most > 3 { Err(Lossy(most)) } else { Ok(most) }
    }

    #[request]
    async fn gives_what_an_update_gives(ctx: &RequestCtx<Self>, most: u8) -> Effect<Lossy> {
        if most > 200 { Effect::value(Lossy(0)) } else { ctx.update().send() }
    }

    #[request]
    async fn sleeps(_ctx: &RequestCtx<Self>, most: u8) -> u8 {
        tokio::time::sleep(Duration::from_millis(1)).await;
        most
    }
}

fn post(draw: fn(u8) -> PostRequest) -> Check<Post> {
    let check = Check::new(Post::default, |_| PostUpdate::Send {});
    let check = check.requests(move |dice| draw(dice.below(9) as u8));
    check.without(["takes", "gives", "gives_what_an_update_gives", "sleeps"])
}

#[test]
fn requests_and_answers_survive_the_wire() {
    let checked = Check::new(Hall::new, update).requests(request).wire();
    let checked = checked.unwrap_or_else(|failure| panic!("{failure}"));
    println!("{checked:?}");
    assert!(checked.cases > 300, "{checked:?}");
    let failure = Check::new(Hall::new, update).wire().expect_err("no request");
    assert_eq!(failure.kind, Kind::Vacuous);
    assert!(failure.report.contains("no request was drawn of `book`, `two`"), "{failure}");
}

#[test]
fn arguments_and_answers_that_become_others_are_found() {
    let failure = post(|it| PostRequest::Takes { it: Lossy(it) }).wire().expect_err("another");
    assert_eq!(failure.kind, Kind::Wire);
    assert!(failure.report.contains("takes(it: "), "{failure}");
    type Draw = fn(u8) -> PostRequest;
    for (draw, said) in [
        ((|most| PostRequest::Gives { most }) as Draw, "the answer to gives(most: "),
        (
            |most| PostRequest::GivesWhatAnUpdateGives { most },
            "the answer to what comes of gives_what_an_update_gives(most: ",
        ),
    ] {
        let failure = post(draw).wire().expect_err("another answer");
        assert_eq!(failure.kind, Kind::Wire, "{failure}");
        assert!(failure.report.contains(said), "{failure}");
        assert!(failure.report.contains("decodes to something that is encoded as"), "{failure}");
    }
}

#[test]
fn of_a_handler_that_cannot_be_simulated_the_arguments_are_checked() {
    let checked = post(|most| PostRequest::Sleeps { most }).wire();
    assert!(checked.is_ok_and(|checked| checked.cases > 100));
}
