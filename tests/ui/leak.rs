//! An optimistic value shown to the world.
//! Cure: wait until it is stable (`.stable().await`), or say that it need not be: `peek` shows it,
//! `into_unstable("why")` lets it out.

use vsync::replicated;

#[replicated]
#[derive(Default)]
struct Orders {
    taken: Vec<String>,
}

#[replicated]
impl Orders {
    #[update(order = "total")]
    fn take(&mut self, what: String) -> usize {
        self.taken.push(what);
        self.taken.len()
    }
}

async fn serve(orders: OrdersHandle) -> Result<String, Box<dyn std::error::Error>> {
    let number = orders.take("a coffee".into()).optimistic().await?;
    Ok(format!("your order has the number {number}"))
}

fn main() {}
