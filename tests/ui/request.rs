//! A request runs beside the group: it is async, has no `self`, and takes its context first.
//! Cure: write `#[request] async fn name(ctx: &RequestCtx<Self>, …)`, with arguments and a result that
//! own what they have; read by `ctx.read(…)`, change by `ctx.update()`. What an update will give is
//! the whole answer, `Effect<Result<T, E>>`, where it is one.
#![allow(unused_variables, dead_code)]

use vsync::{Ctx, Effect, RequestCtx, replicated};

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

    #[request]
    async fn half(ctx: &RequestCtx<Self>) -> Result<Effect<u64>, String> {
        Ok(ctx.update().count(1))
    }

    #[update(order = "total")]
    fn count(&mut self, more: u64) -> u64 {
        self.sold + more
    }

    #[update(order = "total")]
    fn sell(&mut self, ctx: &RequestCtx<Self>) {}

    #[query]
    fn sold(&self, ctx: &RequestCtx<Self>) -> u64 {
        self.sold
    }
}

fn main() {}
