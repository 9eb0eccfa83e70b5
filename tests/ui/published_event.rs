//! Events for clients travel, and clients read no others.
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
