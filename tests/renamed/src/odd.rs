//! Raw identifiers, names of keywords, an `impl` in another module than its struct, `derive` on
//! either side, types made by a macro.

use isis::replicated;
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, Serialize, Deserialize)]
#[replicated(crate = "isis")]
pub(crate) struct Board {
    pub(crate) r#type: u8,
    #[serde(with = "inverted")]
    pub(crate) score: u8,
}

mod inverted {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[allow(clippy::trivially_copy_pass_by_ref)] // serde's signature
    pub(super) fn serialize<S: Serializer>(value: &u8, to: S) -> Result<S::Ok, S::Error> {
        (!value).serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<u8, D::Error> {
        u8::deserialize(from).map(|value| !value)
    }
}

mod methods {
    use isis::replicated;

    #[replicated(crate = "isis")]
    impl super::Board {
        #[update(order = "fifo")]
        pub(crate) fn r#move(&mut self, r#where: u8, r#in: u8) -> Vec<Self> {
            self.r#type = r#where + r#in;
            vec![self.clone()]
        }

        #[update(order = "fifo")]
        pub(crate) fn self_(&mut self, mut other: Self) {
            other.score += 1;
            *self = other;
        }

        #[update(order = "fifo")]
        pub(crate) fn _1(&mut self) {
            self.score = 1;
        }

        #[query]
        pub(crate) fn r#type(&self) -> u8 {
            self.r#type
        }
    }
}

#[replicated(crate = "isis")]
#[derive(Debug, Serialize, Deserialize)]
struct r#Match {
    r#where: u8,
}

#[replicated(crate = "isis")]
impl r#Match {
    #[query]
    fn read(&self) -> u8 {
        self.r#where
    }
}

macro_rules! counters {
    ($($name:ident: $number:ty => $result:ty,)*) => {$(
        #[replicated(crate = "isis")]
        #[derive(Debug, Default)]
        struct $name {
            value: $number,
        }

        #[replicated(crate = "isis")]
        impl $name {
            #[update(order = "fifo")]
            fn add(&mut self, ctx: &isis::Ctx<Self>, by: $number) -> $result {
                self.value = self.value.checked_add(by).ok_or(ctx.time())?;
                Ok(self.value)
            }
        }
    )*};
}

counters! {
    Small: u8 => Result<u8, u64>,
    Large: u64 => Result<u64, u64>,
}

/// A `Result` stays one on the way through a macro.
fn counts(small: &SmallHandle, large: &LargeHandle) {
    let _: isis::Call<Small, u8, isis::Fallible<u64>> = small.add(1);
    let _: isis::Call<Large, u64, isis::Fallible<u64>> = large.add(1);
}

/// Uses raw names.
pub(crate) fn uses() -> [BoardUpdate; 3] {
    let _ = |handle: &BoardHandle| {
        let _ = handle.r#move(1, 2);
        let _ = handle.r#type();
    };
    let _ = counts;
    let board = Board { r#type: 0, score: 1 };
    [
        BoardUpdate::Move { r#where: 1, r#in: 2 },
        BoardUpdate::Self_ { other: board },
        BoardUpdate::X1,
    ]
}
