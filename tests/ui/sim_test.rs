//! What `#[sim_test]` goes on, and with what options.
//! Cure: write `#[sim_test(seeds = 0..50)] fn name() -> Simulation<MyType> { … }`: a plain function
//! that takes nothing and gives back what is to be simulated.
#![allow(unused_variables, dead_code)]

use vsync::testing::Simulation;
use vsync::{replicated, sim_test};

#[replicated]
#[derive(Default)]
struct Board {
    seen: u64,
}

#[replicated]
impl Board {
    #[update(order = "total")]
    fn add(&mut self) {
        self.seen += 1;
    }
}

fn simulation() -> Simulation<Board> {
    Simulation::new(Board::default, |_| BoardUpdate::Add)
}

#[sim_test]
struct NoFunction;

#[sim_test]
async fn later() -> Simulation<Board> {
    simulation()
}

#[sim_test]
fn takes<T>(simulation: Simulation<Board>) {}

#[sim_test]
#[test]
fn twice() -> Simulation<Board> {
    simulation()
}

#[sim_test(seeds, faults, speed = 3, members = 3, members = 4)]
fn options() -> Simulation<Board> {
    simulation()
}

#[sim_test(crate = "not a path")]
fn elsewhere() -> Simulation<Board> {
    simulation()
}

fn main() {}
