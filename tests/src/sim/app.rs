//! The replicated application of the simulator: a state that shows every mistake.
//!
//! Totals are chained in order, all others enter a sum that does not depend on order: members with
//! the same deliveries have the same state, whatever the order of concurrent updates. A checkpoint
//! is the whole state, with a filling that follows from it, so that a chunk that is lost or mixed
//! up cannot go unseen.

use bytes::Bytes;
use vsync_core::engine::{Class, Delivery};
use xxhash_rust::xxh3::xxh3_64;

/// The state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct App {
    /// Hash over the totals, in order.
    chain: u64,
    /// Sum over all other updates.
    sum: u64,
    /// How many updates were applied.
    count: u64,
}

const HEAD: usize = 24;

impl App {
    /// Applies one update of a delivery.
    pub(crate) fn apply(&mut self, delivery: &Delivery, seq: u64, body: &[u8]) {
        let sender = delivery.sender;
        let name = [delivery.view, sender.node.0, sender.entry, seq, xxh3_64(body)];
        let update = name.iter().fold(0, |hash, &word| mix(hash ^ word));
        match delivery.class {
            Class::Total => self.chain = mix(self.chain ^ update),
            Class::Fifo | Class::Causal => self.sum = self.sum.wrapping_add(update),
        }
        self.count += 1;
    }

    /// Digest of the state.
    pub(crate) fn digest(&self) -> u64 {
        mix(mix(self.chain) ^ self.sum) ^ self.count
    }

    /// The checkpoint.
    pub(crate) fn save(&self) -> Bytes {
        let mut bytes = Vec::with_capacity(HEAD + self.filling());
        for word in [self.chain, self.sum, self.count] {
            bytes.extend_from_slice(&word.to_le_bytes());
        }
        let mut word = self.digest();
        for _ in 0..self.filling() {
            word = mix(word);
            bytes.push(word as u8);
        }
        Bytes::from(bytes)
    }

    /// The state of a checkpoint, if it is one.
    pub(crate) fn load(bytes: &[u8]) -> Option<App> {
        let word = |at: usize| -> Option<u64> {
            Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
        };
        let app = App { chain: word(0)?, sum: word(8)?, count: word(16)? };
        (app.save() == bytes).then_some(app)
    }

    fn filling(&self) -> usize {
        (self.digest() % 700) as usize
    }
}

/// A cheap mixing function.
pub(crate) fn mix(word: u64) -> u64 {
    let mut word = word.wrapping_add(0x9e37_79b9_7f4a_7c15);
    word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

/// Splits a body into its updates; `None` if it is not one.
pub(crate) fn updates(body: &[u8]) -> Option<Vec<&[u8]>> {
    let mut list = Vec::new();
    let mut rest = body;
    while let Some((length, tail)) = rest.split_first_chunk::<4>() {
        let length = u32::from_le_bytes(*length) as usize;
        list.push(tail.get(..length)?);
        rest = &tail[length..];
    }
    rest.is_empty().then_some(list)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checkpoint_is_the_state() {
        let app = App { chain: 3, sum: 4, count: 5 };
        let bytes = app.save();
        assert_eq!(App::load(&bytes), Some(app));
        let mut broken = bytes.to_vec();
        broken[HEAD - 1] ^= 1;
        assert_eq!(App::load(&broken), None);
        assert_eq!(App::load(&bytes[..10]), None);
    }

    #[test]
    fn bodies_are_split() {
        assert_eq!(updates(&[1, 0, 0, 0, 7, 0, 0, 0, 0]), Some(vec![&[7][..], &[][..]]));
        assert_eq!(updates(&[2, 0, 0, 0, 7]), None);
        assert_eq!(updates(&[2, 0]), None);
    }
}
