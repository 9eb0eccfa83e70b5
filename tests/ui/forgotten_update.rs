//! A method without an attribute is a helper: handles and clients do not have it.
//! Cure: write `#[update(order = …)]`, `#[query]` or `#[request]` on the method, if others are to call it.
#![allow(dead_code)]

use vsync::replicated;

#[replicated]
struct Board {
    seen: u64,
}

#[replicated]
impl Board {
    fn see(&mut self) {
        self.seen += 1;
    }

    #[query]
    fn seen(&self) -> u64 {
        self.seen
    }
}

async fn uses(handle: BoardHandle) {
    let _ = handle.see().await;
}

fn main() {}
