//! All randomness of a run, from one seed.
//!
//! Only integers: a seed means the same run on every machine.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// The dice of one run.
///
/// ```
/// use vsync_sim::Dice;
///
/// let mut dice = Dice::new(7);
/// let (account, amount) = (dice.below(10), dice.between(1, 100));
/// assert!(account < 10 && (1..=100).contains(&amount));
/// assert_eq!(Dice::new(7).below(10), account); // a seed is a sequence
/// ```
#[derive(Clone, Debug)]
pub struct Dice {
    rng: ChaCha8Rng,
}

impl Dice {
    /// The dice that belong to a seed.
    pub fn new(seed: u64) -> Self {
        Dice { rng: ChaCha8Rng::seed_from_u64(seed) }
    }

    /// Any number.
    pub fn word(&mut self) -> u64 {
        self.rng.next_u64()
    }

    /// A number below `bound`; 0 if there is none.
    pub fn below(&mut self, bound: u64) -> u64 {
        if bound == 0 {
            return 0;
        }
        ((u128::from(self.word()) * u128::from(bound)) >> 64) as u64
    }

    /// A number from `low` to `high`, both included.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high.saturating_sub(low) + 1)
    }

    /// True `in_1000` times out of 1000.
    pub fn chance(&mut self, in_1000: u64) -> bool {
        self.below(1000) < in_1000
    }

    /// One of several; there must be one.
    pub fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len() as u64) as usize]
    }

    /// An index, each as likely as its weight.
    pub fn weighted(&mut self, weights: &[u64]) -> usize {
        let mut point = self.below(weights.iter().sum());
        for (index, &weight) in weights.iter().enumerate() {
            if point < weight {
                return index;
            }
            point -= weight;
        }
        0
    }

    /// Roughly exponential, with this mean: mostly small, sometimes several times as long.
    pub fn spread(&mut self, mean: u64) -> u64 {
        let word = self.word();
        let halvings = u64::from(word.leading_zeros().min(12));
        let fraction = word & 0x3ff;
        (mean * (halvings * 1024 + fraction)) / 1536
    }

    /// Shuffles in place.
    pub fn shuffle<T>(&mut self, list: &mut [T]) {
        for last in (1..list.len()).rev() {
            let other = self.below(last as u64 + 1) as usize;
            list.swap(last, other);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Dice;

    #[test]
    fn a_seed_is_a_sequence() {
        let (mut one, mut two) = (Dice::new(5), Dice::new(5));
        assert!((0..100).all(|_| one.word() == two.word()));
    }

    #[test]
    fn the_mean_is_about_right() {
        let mut dice = Dice::new(1);
        let sum: u64 = (0..10_000).map(|_| dice.spread(1000)).sum();
        assert!((800_000..1_200_000).contains(&(sum / 10)), "{sum}");
    }

    #[test]
    fn weights_of_zero_never_come() {
        let mut dice = Dice::new(2);
        assert!((0..1000).all(|_| dice.weighted(&[0, 3, 0]) == 1));
    }
}
