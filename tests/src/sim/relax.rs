//! Nodes that may be late with acknowledgements that nobody waits for, in some runs.
//!
//! With dice of their own, so that the other runs are what they were.

use vsync_core::engine::Input;
use vsync_sim::Dice;

use super::app::mix;
use super::event::Event;
use super::world::{Stage, World};

/// One run of so many has such nodes.
const SOME: u64 = 4;
/// Mean time until the next one is told so, or told otherwise.
const NEXT: u64 = 60_000;

/// The dice of a run that has such nodes.
pub(crate) fn dice(seed: u64) -> Option<Dice> {
    let mut dice = Dice::new(mix(seed ^ 0x4e1a));
    (dice.below(SOME) == 0).then_some(dice)
}

impl World {
    /// Another node may be late from now on, or no longer. Where the run says so from its beginning
    /// on, until all is healed; who is late then, stays so.
    pub(crate) fn relax(&mut self) {
        let Some(mut dice) = self.relaxing.take() else { return };
        let host = dice.below(self.hosts.len() as u64) as usize;
        // More than what is taken: it is bounded there.
        let acks = dice.pick(&[0, 5_000, 30_000, 100_000, 200_000]);
        if !matches!(self.stage, Stage::Healed { .. } | Stage::Over) {
            self.queue.push(self.now + 1 + dice.spread(NEXT), Event::Relax);
            self.totals.relaxed += 1;
            self.note(format_args!("n{host} may acknowledge {acks} later"));
            self.feed(host, Input::Relax { acks });
        }
        self.relaxing = Some(dice);
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn some_runs_have_such_nodes() {
        let runs = (0..1000).filter(|&seed| super::dice(seed).is_some()).count();
        assert!((200..300).contains(&runs), "{runs}");
    }
}
