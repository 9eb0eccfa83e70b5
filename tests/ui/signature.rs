//! Arguments and results must travel; methods must be plain.
//! Cure: write plain methods: named arguments of known types, by value, and such a result. Take
//! generic, async and borrowed parts into a helper in another `impl` block.
#![allow(unused_variables, dead_code)]

use vsync::replicated;

#[replicated]
struct Board {
    seen: u64,
}

#[replicated]
impl Board {
    #[update(order = "fifo")]
    fn generic<T>(&mut self, value: T) {}

    #[update(order = "fifo")]
    fn impl_trait(&mut self, value: impl Into<String>) {}

    #[update(order = "fifo")]
    fn text(&mut self, text: &str) {}

    #[update(order = "fifo")]
    fn slice(&mut self, bytes: &[u8]) {}

    #[update(order = "fifo")]
    fn inner(&mut self, texts: Vec<Option<&'static str>>) {}

    #[update(order = "fifo")]
    fn pattern(&mut self, (x, y): (u64, u64)) {}

    #[update(order = "fifo")]
    fn ignored(&mut self, _: u64) {}

    #[update(order = "fifo")]
    async fn later(&mut self) {}

    #[update(order = "fifo")]
    unsafe fn danger(&mut self) {}

    #[update(order = "fifo")]
    fn sometimes(&mut self, #[cfg(unix)] value: u64) {}

    #[query]
    fn borrowed(&self) -> &u64 {
        &self.seen
    }

    #[query]
    fn lazy(&self) -> impl Iterator<Item = u64> {
        std::iter::once(self.seen)
    }

    #[query]
    fn raw(&self, place: *const u8) -> u64 {
        0
    }
}

fn main() {}
