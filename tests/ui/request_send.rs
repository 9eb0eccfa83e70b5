//! A handler moves between threads where it waits.
//! Cure: let go of what is not `Send` before the `.await`, or use `Arc` in place of `Rc`.
#![allow(unused_variables, dead_code)]

use std::rc::Rc;

use vsync::{RequestCtx, replicated};

#[replicated]
#[derive(Default)]
struct Desk {
    sold: u64,
}

#[replicated]
impl Desk {
    #[request]
    async fn holds(ctx: &RequestCtx<Self>) -> u64 {
        let one = Rc::new(1);
        let sold = ctx.read(|desk| desk.sold).await;
        sold + *one
    }
}

fn main() {}
