//! Methods whose `impl` block is not annotated.
//! Cure: put `#[replicated]` on the `impl` block and on the struct: `update`, `query` and `on_view`
//! mean something only there.
#![allow(unused_variables, dead_code)]

struct Board {
    seen: u64,
}

impl Board {
    #[update(order = "fifo")]
    fn count(&mut self) {}
}

fn main() {}
