//! What a request takes and gives travels.
//! Cure: derive serde's `Serialize` and `Deserialize` for what a request takes and gives.
#![allow(unused_variables, dead_code)]

use vsync::{Effect, RequestCtx, replicated};

struct Quote;

struct Answer;

#[replicated]
#[derive(Default)]
struct Desk {
    sold: u64,
}

#[replicated]
impl Desk {
    #[request]
    async fn price(ctx: &RequestCtx<Self>, quote: Quote) -> Answer {
        Answer
    }

    #[request]
    async fn effect(ctx: &RequestCtx<Self>) -> Effect<Answer> {
        Effect::value(Answer)
    }
}

fn main() {}
