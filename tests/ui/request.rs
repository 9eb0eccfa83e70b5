//! A request runs beside the group: it is async, has no `self`, and takes its context first.
//! Cure: write `async fn`, leave `self` out, and take `ctx: &RequestCtx<Self>` first.
#![allow(unused_variables, dead_code)]

use vsync::{Ctx, RequestCtx, replicated};

#[replicated]
struct Desk {
    sold: u64,
}

#[replicated]
impl Desk {
    #[request]
    async fn with_self(&self, ctx: &RequestCtx<Self>) {}

    #[request]
    fn at_once(ctx: &RequestCtx<Self>) {}

    #[request]
    async fn alone(limit: u64) -> u64 {
        limit
    }

    #[request]
    async fn late(limit: u64, ctx: &RequestCtx<Self>) {}

    #[request]
    async fn by_value(ctx: RequestCtx<Self>) {}

    #[request]
    async fn of_an_update(ctx: &Ctx<Self>) {}

    #[request]
    async fn generic<T>(ctx: &RequestCtx<Self>, value: T) {}

    #[request]
    async fn borrows(ctx: &RequestCtx<Self>, name: &str) -> &'static str {
        "name"
    }

    #[update(order = "total")]
    fn sell(&mut self, ctx: &RequestCtx<Self>) {}

    #[query]
    fn sold(&self, ctx: &RequestCtx<Self>) -> u64 {
        self.sold
    }
}

fn main() {}
