//! The options of a request, and of who coordinates a type's requests.
//! Cure: name an argument as the key, a policy for the struct, and no order: the updates of a request are one.
#![allow(unused_variables, dead_code)]

use vsync::{RequestCtx, replicated};

#[replicated(requests = "anybody")]
struct Desk {
    sold: u64,
}

#[replicated(requests = 3)]
struct Other {}

#[replicated]
impl Other {}

#[replicated(requests = "primary")]
impl Desk {
    #[request(order = "total")]
    async fn ordered(ctx: &RequestCtx<Self>) {}

    #[request(level = "stable")]
    async fn levelled(ctx: &RequestCtx<Self>) {}

    #[request(key = seat)]
    async fn keyless(ctx: &RequestCtx<Self>, room: u64) {}

    #[request(key = "room")]
    async fn quoted(ctx: &RequestCtx<Self>, room: u64) {}

    #[request(retry = 3)]
    async fn retried(ctx: &RequestCtx<Self>) {}

    #[request(since = 3, until = 2)]
    async fn never(ctx: &RequestCtx<Self>) {}

    #[request(id = 4)]
    async fn one(ctx: &RequestCtx<Self>) {}

    #[request(id = 4)]
    async fn two(ctx: &RequestCtx<Self>) {}

    #[update(order = "total")]
    fn same(&mut self) {}

    #[request]
    async fn same(ctx: &RequestCtx<Self>) {}
}

fn main() {}
