//! [`Rng`]: random numbers that are the same at every replica.

use std::cell::{Cell, OnceCell};
use std::fmt;
use std::ops::Range;

use xxhash_rust::xxh3::xxh3_64;

/// The state of a generator.
type Words = [u64; 4];

/// Where a generator's state is kept: it is made when one is first used.
pub(crate) type Kept = OnceCell<Box<Cell<Words>>>;

/// A generator of random numbers for replicated code, from [`Ctx::rng`](crate::Ctx::rng).
///
/// Every replica that applies an update draws the same numbers for it, since the generator is
/// seeded by the update's identity: the group, the view, the member that sent it and its number
/// there; in an `#[on_view]` method by the group and the view. Later calls of `rng` in the same
/// update go on where the earlier ones stopped.
///
/// The numbers are value-stable: they are part of what a version of this crate promises, and
/// change only where the changelog says so. They are those of **xoshiro256\*\*** (D. Blackman and
/// S. Vigna, *Scrambled Linear Pseudorandom Number Generators*, 2021), whose state is filled by
/// **SplitMix64** as its authors recommend, beginning at the XXH3 hash of the identity. Numbers
/// below a bound are made by Lemire's method (*Fast Random Integer Generation in an Interval*,
/// 2019), permutations by that of Fisher and Yates.
///
/// They are not secret: every member can compute them, and so can whoever knows the identity.
///
/// ```
/// use vsync::{Ctx, replicated};
///
/// #[replicated]
/// #[derive(Default)]
/// struct Lottery {
///     tickets: Vec<String>,
/// }
///
/// #[replicated]
/// impl Lottery {
///     #[update(order = "total")]
///     fn draw(&mut self, ctx: &Ctx<Self>) -> Option<String> {
///         ctx.rng().choose(&self.tickets).cloned() // the same one at every member
///     }
/// }
/// ```
pub struct Rng<'a> {
    kept: &'a Kept,
    begun: &'a Cell<bool>,
    identity: [u64; 5],
}

impl<'a> Rng<'a> {
    /// Goes on from what is `kept`, where it leaves what follows, if it has `begun`; else from the
    /// beginning of this identity's numbers.
    pub(crate) fn new(kept: &'a Kept, begun: &'a Cell<bool>, identity: [u64; 5]) -> Rng<'a> {
        Rng { kept, begun, identity }
    }

    /// Any number of 64 bits.
    pub fn u64(&mut self) -> u64 {
        let kept = self.kept.get_or_init(Box::default);
        let mut words = if self.begun.get() { kept.get() } else { seeded(self.identity) };
        let number = next(&mut words);
        kept.set(words);
        self.begun.set(true);
        number
    }

    /// Any number of 32 bits: the upper half of one of 64.
    pub fn u32(&mut self) -> u32 {
        (self.u64() >> 32) as u32
    }

    /// A number of at least 0 and less than 1: a multiple of 2⁻⁵³.
    pub fn f64(&mut self) -> f64 {
        (self.u64() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// True or false, each as likely.
    pub fn bool(&mut self) -> bool {
        self.u64() >> 63 == 1
    }

    /// True with this probability: never at 0 or below, always at 1 or above.
    pub fn chance(&mut self, probability: f64) -> bool {
        self.f64() < probability
    }

    /// A number below `bound`, each as likely.
    ///
    /// # Panics
    /// If `bound` is 0: there is no such number.
    pub fn below(&mut self, bound: u64) -> u64 {
        assert!(bound > 0, "there is no number below 0");
        loop {
            let product = u128::from(self.u64()) * u128::from(bound);
            // The lowest of the 2^64 places, so many that what is left divides by the bound, would
            // make some numbers more likely. They are few: the division is done when one is met.
            let place = product as u64;
            if place >= bound || place >= bound.wrapping_neg() % bound {
                return (product >> 64) as u64;
            }
        }
    }

    /// A number in the range, each as likely.
    ///
    /// # Panics
    /// If the range is empty.
    pub fn range(&mut self, range: Range<u64>) -> u64 {
        assert!(range.start < range.end, "there is no number in {range:?}");
        range.start + self.below(range.end - range.start)
    }

    /// One of the items, each as likely; none of none.
    pub fn choose<'i, T>(&mut self, items: &'i [T]) -> Option<&'i T> {
        match items.len() {
            0 => None,
            count => items.get(self.below(count as u64) as usize),
        }
    }

    /// Puts the items into any order, each as likely.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last as u64 + 1) as usize);
        }
    }

    /// Fills the bytes with those of numbers of 64 bits, the lowest byte first.
    pub fn fill(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            chunk.copy_from_slice(&self.u64().to_le_bytes()[..chunk.len()]);
        }
    }
}

impl fmt::Debug for Rng<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rng").finish_non_exhaustive()
    }
}

/// The state that the generator of this identity begins with.
fn seeded(identity: [u64; 5]) -> Words {
    let mut bytes = [0; 40];
    for (place, number) in bytes.chunks_exact_mut(8).zip(identity) {
        place.copy_from_slice(&number.to_le_bytes());
    }
    let mut seed = xxh3_64(&bytes);
    std::array::from_fn(|_| split_mix(&mut seed))
}

/// SplitMix64.
fn split_mix(seed: &mut u64) -> u64 {
    *seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut number = *seed;
    number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

/// xoshiro256**.
fn next(words: &mut Words) -> u64 {
    let number = words[1].wrapping_mul(5).rotate_left(7).wrapping_mul(9);
    let shifted = words[1] << 17;
    words[2] ^= words[0];
    words[3] ^= words[1];
    words[1] ^= words[2];
    words[0] ^= words[3];
    words[2] ^= shifted;
    words[3] = words[3].rotate_left(45);
    number
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with<R>(words: Words, draw: impl FnOnce(&mut Rng<'_>) -> R) -> R {
        let kept = OnceCell::from(Box::new(Cell::new(words)));
        draw(&mut Rng::new(&kept, &Cell::new(true), [0; 5]))
    }

    /// The vectors that `rand_xoshiro` publishes, made with the authors' own programs.
    #[test]
    fn the_numbers_are_those_of_xoshiro256_starstar() {
        let expected = [
            11520,
            0,
            1509978240,
            1215971899390074240,
            1216172134540287360,
            607988272756665600,
            16172922978634559625,
            8476171486693032832,
            10595114339597558777,
            2904607092377533576,
        ];
        assert_eq!(with([1, 2, 3, 4], |rng| expected.map(|_| rng.u64())), expected);
    }

    #[test]
    fn the_seeds_are_those_of_split_mix() {
        let mut seed = 1477776061723855037;
        let expected = [
            1985237415132408290,
            2979275885539914483,
            13511426838097143398,
            8488337342461049707,
            15141737807933549159,
        ];
        assert_eq!(expected.map(|_| split_mix(&mut seed)), expected);
    }

    /// Computed by another program, written from the papers.
    #[test]
    fn values_are_stable() {
        let (kept, begun) = (Kept::new(), Cell::new(false));
        let first = |begun| Rng::new(&kept, begun, [1, 2, 3, 4, 5]).u64();
        assert_eq!(first(&begun), 7495030669994567045);
        assert_ne!(first(&begun), 7495030669994567045, "it goes on");
        begun.set(false);
        assert_eq!(first(&begun), 7495030669994567045, "for another update of that identity");
        let mut seed = 42;
        with(std::array::from_fn(|_| split_mix(&mut seed)), |rng| {
            let numbers = [rng.u64(), rng.u32().into(), rng.below(10), rng.range(100..110)];
            assert_eq!(numbers, [1546998764402558742, 1627707782, 6, 109]);
            let mut items = [0, 1, 2, 3, 4, 5, 6, 7];
            rng.shuffle(&mut items);
            assert_eq!(items, [0, 2, 1, 3, 6, 4, 5, 7]);
            assert_eq!(rng.choose(&items), Some(&1));
            assert_eq!(rng.choose::<u8>(&[]), None);
            let mut bytes = [0; 11];
            rng.fill(&mut bytes);
            assert_eq!(bytes, [182, 198, 6, 48, 169, 237, 15, 205, 66, 39, 180]);
            assert_eq!([rng.bool(), rng.bool(), rng.chance(0.5)], [true, true, false]);
            assert_eq!(rng.f64(), 0.8513900835352795);
        });
    }

    #[test]
    fn every_part_of_the_identity_counts() {
        let base = [1, 2, 3, 4, 5];
        for place in 0..base.len() {
            let mut other = base;
            other[place] += 1;
            assert_ne!(seeded(base), seeded(other), "{place}");
        }
    }

    #[test]
    fn bounds_hold_and_all_below_them_come() {
        with(seeded([0; 5]), |rng| {
            let mut seen = [0u32; 6];
            for _ in 0..6000 {
                seen[rng.below(6) as usize] += 1;
            }
            // Six standard deviations.
            assert!(seen.iter().all(|&times| (827..1173).contains(&times)), "{seen:?}");
            // The bound that a plain modulo would serve worst: half of all draws are thrown away.
            let bound = (1 << 63) + 1;
            let low = (0..1000).filter(|_| rng.below(bound) < bound / 2).count();
            assert!((400..600).contains(&low), "{low}");
            assert!((0..1000).all(|_| rng.range(7..9) >= 7 && rng.below(1) == 0));
            assert!((0..1000).all(|_| (0.0..1.0).contains(&rng.f64())));
            assert!((0..1000).all(|_| rng.chance(1.0) && !rng.chance(0.0)));
        });
    }

    #[test]
    #[should_panic(expected = "no number below 0")]
    fn nothing_is_below_zero() {
        with([1, 2, 3, 4], |rng| rng.below(0));
    }

    #[test]
    #[should_panic(expected = "no number in 3..3")]
    fn nothing_is_in_an_empty_range() {
        with([1, 2, 3, 4], |rng| rng.range(3..3));
    }

    #[test]
    fn a_shuffle_loses_nothing() {
        let mut items: Vec<u32> = (0..100).collect();
        with(seeded([9; 5]), |rng| rng.shuffle(&mut items));
        assert_ne!(items, (0..100).collect::<Vec<_>>());
        items.sort_unstable();
        assert_eq!(items, (0..100).collect::<Vec<_>>());
    }
}
