//! How a type of one's own is tested: the book's chapter on testing shows this file.

// ANCHOR: type
use std::collections::{BTreeMap, BTreeSet};

use vsync::replicated;
use vsync::testing::{self, Check, Dice, Faults, Simulation};

#[replicated]
#[derive(Default)]
struct Shop {
    stock: BTreeMap<u16, u32>,
    visitors: BTreeSet<u64>,
}

#[replicated]
impl Shop {
    /// Who is last to buy the last one is told so, at every member alike.
    #[update(order = "total")]
    fn buy(&mut self, item: u16, count: u32) -> Result<u32, String> {
        let left = self.stock.get(&item).and_then(|stock| stock.checked_sub(count));
        let left = left.ok_or("sold out")?;
        self.stock.insert(item, left);
        Ok(left)
    }

    #[update(order = "total")]
    fn deliver(&mut self, item: u16, count: u32) {
        *self.stock.entry(item).or_default() += count;
    }

    /// In any order: a set does not mind.
    #[update(order = "fifo")]
    fn visit(&mut self, visitor: u64) {
        self.visitors.insert(visitor);
    }

    #[query]
    fn stock(&self, item: u16) -> u32 {
        self.stock.get(&item).copied().unwrap_or(0)
    }
}

/// Few items, so that calls meet each other.
fn update(dice: &mut Dice) -> ShopUpdate {
    let item = dice.below(4) as u16;
    match dice.below(3) {
        0 => ShopUpdate::Buy { item, count: 1 + dice.below(3) as u32 },
        1 => ShopUpdate::Deliver { item, count: dice.below(5) as u32 },
        _ => ShopUpdate::Visit { visitor: dice.below(20) },
    }
}
// ANCHOR_END: type

// ANCHOR: checks
#[test]
fn concurrent_updates_commute() {
    testing::commute(Shop::default, update);
}

#[test]
fn updates_are_deterministic() {
    testing::deterministic(Shop::default, update);
}

#[test]
fn a_checkpoint_is_the_whole_state() {
    testing::checkpointed(Shop::default, update);
}

#[test]
fn messages_survive_the_wire() {
    let check = Check::new(Shop::default, update);
    check.queries(|dice| ShopQuery::Stock { item: dice.word() as u16 }).wire().unwrap();
}

#[test]
fn the_schema_is_the_released_one() {
    testing::schema_unchanged::<Shop>("tests/shop.schema");
}
// ANCHOR_END: checks

// ANCHOR: simulation
#[test]
fn a_shop_survives_its_members() {
    Simulation::new(Shop::default, update)
        .members(4)
        .seeds(0..50)
        .faults(Faults::all())
        .invariant("few visitors", |shop| shop.visitors.len() <= 20)
        .run();
}
// ANCHOR_END: simulation
