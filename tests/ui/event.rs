//! What a type emits, and what it cannot.
//! Cure: name one type with `event = MyType` on the struct, and emit values of it: an enum, if
//! there are several sorts.
#![allow(unused_variables, dead_code)]

use vsync::{Ctx, replicated};

#[derive(Clone)]
enum Sale {
    SoldOut,
}

#[replicated(event = Sale)]
struct Shop {
    left: u64,
}

#[replicated]
impl Shop {
    #[update(order = "total")]
    fn buy(&mut self, ctx: &Ctx<Self>) {
        ctx.emit(Sale::SoldOut);
        ctx.emit("sold out");
    }
}

#[replicated(event = "Sale")]
struct Quoted {
    left: u64,
}

#[replicated]
impl Quoted {
    #[update(order = "total")]
    fn buy(&mut self) {}
}

#[replicated]
struct Silent {
    left: u64,
}

#[replicated]
impl Silent {
    #[update(order = "total")]
    fn buy(&mut self, ctx: &Ctx<Self>) {
        ctx.emit(7);
    }
}

fn main() {}
