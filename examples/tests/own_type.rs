//! How a type of one's own is tested: the book's tutorial on it shows this file. It has a mistake
//! first, which the simulation finds; what it says is kept in the book.

mod output;

use std::collections::BTreeMap;

use vsync::replicated;
use vsync::testing::{Check, Dice, Faults, Simulation};

// ANCHOR: first
/// A ticket counter with a shortcut.
#[replicated]
#[derive(Default)]
struct HastyTickets {
    sold: BTreeMap<u64, String>,
    /// The next number, so that nobody has to count. No part of the state: it follows from it.
    #[local]
    next: u64,
}

#[replicated]
impl HastyTickets {
    #[update(order = "total")]
    fn buy(&mut self, who: String) -> u64 {
        self.next += 1;
        self.sold.insert(self.next, who);
        self.next
    }

    #[update(order = "total")]
    fn refund(&mut self, number: u64) -> Result<(), String> {
        self.sold.remove(&number).ok_or("no such ticket")?;
        Ok(())
    }
}
// ANCHOR_END: first

// ANCHOR: draw
fn draw(dice: &mut Dice) -> HastyTicketsUpdate {
    match dice.below(3) {
        0 => HastyTicketsUpdate::Refund { number: 1 + dice.below(10) },
        _ => HastyTicketsUpdate::Buy { who: format!("guest {}", dice.below(100)) },
    }
}
// ANCHOR_END: draw

#[test]
fn a_shortcut_goes_astray() {
    // ANCHOR: simulate
    let simulation = Simulation::new(HastyTickets::default, draw)
        .members(3)
        .length(20)
        .seeds(0..50)
        .faults(Faults::all());
    // ANCHOR_END: simulate
    let failure = simulation.check().unwrap_err();
    let found = "have delivered the same updates, but their states differ";
    assert!(failure.report.contains(found), "{failure}");
}

#[test]
fn a_check_finds_it_without_a_simulation() {
    let check = Check::new(HastyTickets::default, draw);
    output::keep("own-type-check.txt", &check.checkpointed().unwrap_err().report);
}

// ANCHOR: second
/// The next number belongs to the state.
#[replicated]
#[derive(Default)]
struct Tickets {
    sold: BTreeMap<u64, String>,
    next: u64,
}
// ANCHOR_END: second

#[replicated]
impl Tickets {
    #[update(order = "total")]
    fn buy(&mut self, who: String) -> u64 {
        self.next += 1;
        self.sold.insert(self.next, who);
        self.next
    }

    #[update(order = "total")]
    fn refund(&mut self, number: u64) -> Result<(), String> {
        self.sold.remove(&number).ok_or("no such ticket")?;
        Ok(())
    }
}

impl Tickets {
    // ANCHOR: sound
    /// No ticket has a number that was not given out.
    fn is_sound(&self) -> bool {
        self.sold.keys().all(|number| *number <= self.next)
    }
    // ANCHOR_END: sound
}

// ANCHOR: passes
#[test]
fn tickets_survive_their_members() {
    let draw = |dice: &mut Dice| match dice.below(3) {
        0 => TicketsUpdate::Refund { number: 1 + dice.below(10) },
        _ => TicketsUpdate::Buy { who: format!("guest {}", dice.below(100)) },
    };
    Simulation::new(Tickets::default, draw)
        .members(3)
        .length(20)
        .seeds(0..50)
        .faults(Faults::all())
        .invariant("numbers that were given out", Tickets::is_sound)
        .run();
}
// ANCHOR_END: passes
