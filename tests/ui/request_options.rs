//! The options of a request, and of who coordinates a type's requests.
//! Cure: name one of the policies, or a function of your own: for all requests as `requests = …` on the
//! struct, for one as `policy = …` on its method, which has `key`, `id`, `since` and `until` besides.
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

    #[request(policy = "anybody")]
    async fn by_anybody(ctx: &RequestCtx<Self>) {}

    #[request(policy = 3)]
    async fn by_number(ctx: &RequestCtx<Self>) {}

    #[request(requests = "load")]
    async fn by_the_types_option(ctx: &RequestCtx<Self>) {}

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
