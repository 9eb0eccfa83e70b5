//! The page "Coordinator and cohort" of the book, as it runs.

use std::time::Duration;

use vsync::testing::Cluster;
use vsync::{ClientCallError, Effect, RequestCtx, replicated};

/// What a seat costs: it takes long to find.
async fn quote(sold: u32) -> u64 {
    tokio::time::sleep(Duration::from_millis(1)).await;
    100 + u64::from(sold) / 10
}

/// Charges a card, once per `id`, however often it is asked to.
async fn charge(id: String, price: u64) -> String {
    format!("{price} for {id}")
}

// ANCHOR: type
#[replicated(requests = "load")]
#[derive(Debug, Default)]
pub(crate) struct Desk {
    sold: u32,
    takings: u64,
}

#[replicated]
impl Desk {
    #[update(order = "total")]
    fn sell(&mut self) -> Result<u32, String> {
        if self.sold == 100 {
            return Err("sold out".to_owned());
        }
        self.sold += 1;
        Ok(self.sold)
    }

    #[update(order = "total")]
    fn take(&mut self, price: u64) {
        self.takings += price;
    }

    #[query]
    pub(crate) fn takings(&self) -> u64 {
        self.takings
    }

    /// The price that was paid, if it is no more than `limit`.
    #[request]
    pub(crate) async fn buy(ctx: &RequestCtx<Self>, limit: u64) -> Result<u64, String> {
        let sold = ctx.read(|desk| desk.sold).await;
        let price = quote(sold).await;
        if price > limit {
            return Err(format!("it costs {price}"));
        }
        ctx.update().take(price);
        Ok(price)
    }
}
// ANCHOR_END: type

/// More of the same.
#[replicated]
#[derive(Debug, Default)]
pub(crate) struct Hall {
    free: u32,
    receipts: Vec<String>,
}

#[replicated]
impl Hall {
    #[update(order = "total")]
    fn open(&mut self, seats: u32) {
        self.free += seats;
    }

    #[update(order = "total")]
    fn reserve(&mut self) -> Result<u32, String> {
        self.free = self.free.checked_sub(1).ok_or("sold out")?;
        Ok(self.free)
    }

    #[update(order = "total")]
    fn file(&mut self, receipt: String) {
        self.receipts.push(receipt);
    }

    #[query]
    pub(crate) fn receipts(&self) -> Vec<String> {
        self.receipts.clone()
    }

    // ANCHOR: effect
    /// The seat, if there is one when this is applied.
    #[request]
    pub(crate) async fn book(ctx: &RequestCtx<Self>) -> Effect<Result<u32, String>> {
        if ctx.read(|hall| hall.free == 0).await {
            return Effect::value(Err("sold out".to_owned()));
        }
        ctx.update().reserve()
    }
    // ANCHOR_END: effect

    // ANCHOR: step
    #[request]
    pub(crate) async fn buy(ctx: &RequestCtx<Self>, price: u64) -> Result<String, String> {
        let seat = ctx.step(|hall| hall.reserve()).await?; // made now, and once
        let receipt = ctx.record(charge(ctx.id(), price)).await; // once, once it is known
        ctx.update().file(format!("seat {seat}: {receipt}"));
        Ok(receipt)
    }
    // ANCHOR_END: step
}

#[tokio::test]
async fn the_book_is_right() {
    let cluster = Cluster::new(3).await;
    let mut members = Vec::new();
    for node in cluster.nodes() {
        let desk = node.group("desk").join_or_create(Desk::default()).await;
        members.push(desk.expect("a member"));
    }
    let client = cluster.client().await.expect("connected");
    let desk: DeskClient = client.group("desk");
    // ANCHOR: call
    let paid = desk.buy(150).key("order 17").timeout(Duration::from_secs(30)).await;
    assert_eq!(paid.expect("answered"), 100);

    let refused = members[0].buy(50).await; // a member's handle asks in the same way
    assert!(matches!(refused, Err(ClientCallError::Refused(why)) if why == "it costs 100"));
    // ANCHOR_END: call
    assert_eq!(desk.takings().await.expect("an answer"), 100);

    let hall = cluster.node(0).group("hall").create(Hall::default()).await.expect("a member");
    hall.open(2).await.expect("stable");
    assert_eq!(hall.book().await.expect("booked"), 1);
    let receipt = hall.buy(7).await.expect("bought");
    assert!(receipt.starts_with("7 for "), "{receipt}");
    assert!(matches!(hall.book().await, Err(ClientCallError::Refused(_))));
    assert!(matches!(hall.buy(7).await, Err(ClientCallError::Refused(_))));
    assert_eq!(hall.receipts().await.expect("a state"), [format!("seat 0: {receipt}")]);
}
