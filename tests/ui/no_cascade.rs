//! After an error whoever uses the type is not to blame.
//! Cure: mend each error where it points: there are no others behind them.
#![allow(unused_variables, dead_code)]

use vsync::{Ctx, Effect, RequestCtx, View, replicated};

#[replicated]
#[derive(Default)]
struct Board {
    seen: u64,
}

#[replicated]
impl Board {
    #[update(order = "totl")]
    fn wrong(&mut self, ctx: &Ctx<Self>, value: u64) -> Result<u64, String> {
        Ok(value)
    }

    #[update(order = "fifo")]
    fn shared(&self, value: u64) {}

    #[update(order = "fifo")]
    async fn later(&mut self) -> u64 {
        7
    }

    #[update(order = "fifo")]
    fn text(&mut self, text: &str, more: impl Into<String>) -> u64 {
        7
    }

    #[query]
    fn first(&self, (low, high): (u64, u64)) -> Result<u64, String> {
        Ok(low)
    }

    #[query]
    fn count(&self) -> u64 {
        self.seen
    }

    #[request]
    async fn ask(ctx: &RequestCtx<Self>) -> Effect<Result<u64, String>> {
        let _: Effect<u64> = ctx.update().text("a", "b");
        ctx.update().wrong(7)
    }

    #[on_view]
    fn view(&mut self, view: &View) {}
}

async fn uses(handle: BoardHandle, client: BoardClient) {
    let _: Result<u64, vsync::CallError<String>> = handle.wrong(7).await;
    let _ = handle.shared(7).optimistic().await;
    let _ = handle.later().await;
    let _: Result<u64, _> = handle.text("a", "b").await;
    let _ = handle.first((1, 2)).await;
    let _ = handle.ask().await;
    let _ = client.first((1, 2)).await;
    let _ = handle.group().flush().await;
    let _ = client.count().await;
    let _ = BoardUpdate::Wrong { value: 7 };
}

fn main() {}
