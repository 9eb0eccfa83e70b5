//! Events for clients travel, and clients read no others.
//! Cure: derive serde's `Serialize` and `Deserialize` for the event; subscribe with the type that the
//! state names in `event = …`, and publish it there.
#![allow(dead_code)]

use serde::{Deserialize, Serialize};
use vsync::{Client, replicated};

#[derive(Clone)]
pub enum Kept {
    Here,
}

#[replicated(event = Kept, published)]
pub struct Shop {
    left: u64,
}

#[replicated]
impl Shop {}

#[derive(Clone, Serialize, Deserialize)]
pub enum Shown {
    There,
}

#[replicated(event = Shown)]
pub struct Board {
    left: u64,
}

#[replicated]
impl Board {}

fn read(client: Client) {
    let board: BoardClient = client.group("board");
    drop(board.group().events::<Shown>(None));
}

fn main() {}
