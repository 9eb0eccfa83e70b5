//! Which faults befall a run. Each has a number and dice of its own, so that a run can be repeated
//! without some of them: what is left of a failing run then is what it takes to fail.

use std::collections::BTreeSet;

use vsync_sim::Dice;

use super::app::mix;

/// The number of a fault.
pub(crate) type Number = u32;

/// The doomed minority is the first fault of its run.
const DOOM: Number = 0;
/// Leaders that die while telling are counted from here: they come by what happens, not by plan.
const KILLS: Number = 1_000_000;

/// The faults of one run.
#[derive(Debug)]
pub(crate) struct Fate {
    seed: u64,
    /// Only these happen; all, if it is not said.
    only: Option<BTreeSet<Number>>,
    happened: Vec<Number>,
    planned: Number,
    kills: Number,
    /// The one that befalls now.
    pub(crate) current: Option<Number>,
    /// When the planned ones come.
    pub(crate) times: Dice,
}

impl Fate {
    /// The faults of a seed, or only some of them.
    pub(crate) fn new(seed: u64, only: Option<BTreeSet<Number>>) -> Self {
        let times = Dice::new(mix(seed ^ 0xfa7e));
        Fate { seed, only, happened: Vec::new(), planned: DOOM, kills: KILLS, current: None, times }
    }

    /// The dice of the next planned fault; `None` if it is left out.
    pub(crate) fn next(&mut self) -> Option<Dice> {
        self.planned += 1;
        self.befalls(self.planned)
    }

    /// The dice of the doom; `None` if it is left out.
    pub(crate) fn doom(&mut self) -> Option<Dice> {
        self.befalls(DOOM)
    }

    /// Whether a leader that is about to die while telling does so.
    pub(crate) fn kills(&mut self) -> bool {
        self.kills += 1;
        let dies = self.befalls(self.kills).is_some();
        self.current = None;
        dies
    }

    /// The faults that happened, by number.
    pub(crate) fn happened(&self) -> &[Number] {
        &self.happened
    }

    fn befalls(&mut self, number: Number) -> Option<Dice> {
        if self.only.as_ref().is_some_and(|only| !only.contains(&number)) {
            return None;
        }
        self.happened.push(number);
        self.current = Some(number);
        Some(Dice::new(mix(self.seed) ^ u64::from(number)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_keeps_its_number_and_its_dice_without_others() {
        let mut all = Fate::new(7, None);
        let words: Vec<_> = (0..4).map(|_| all.next().map(|mut dice| dice.word())).collect();
        let mut some = Fate::new(7, Some(BTreeSet::from([2, 4])));
        let left: Vec<_> = (0..4).map(|_| some.next().map(|mut dice| dice.word())).collect();
        assert_eq!(left, [None, words[1], None, words[3]]);
        assert_eq!(some.happened(), [2, 4]);
    }
}
