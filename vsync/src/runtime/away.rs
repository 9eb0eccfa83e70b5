//! Applying away from the driver: what a slow method's range goes through, so that neither
//! heartbeats nor other groups wait for it. Several groups with slow methods use several cores.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;
use vsync_core::engine::Delivery;
use vsync_core::wire::Micros;

use super::callers::{Callers, Takes, Told};
use super::checkpoint::Beside;
use super::inner::Sending;
use super::replica::{Broken, Installed, Loading, Replica, Saving, Taken};
use crate::state::CheckpointError;
use crate::view::View;

/// A range that takes longer than this lets the next one be applied away from the driver.
const SLOW: Duration = Duration::from_millis(1);
/// One that takes less than this there comes back: the way there and back costs some of it.
const QUICK: Duration = Duration::from_micros(250);

/// How long ranges of a group take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Pace {
    /// No longer than the driver can wait.
    #[default]
    Quick,
    Slow,
}

impl Pace {
    /// A range took so long.
    pub(crate) fn took(&mut self, time: Duration) {
        *self = match *self {
            Pace::Quick if time > SLOW => Pace::Slow,
            Pace::Slow if time < QUICK => Pace::Quick,
            same => same,
        };
    }
}

/// A range on its way, with the replica that applies it.
pub(crate) struct Job {
    pub(crate) replica: Box<dyn Replica>,
    /// Nothing: it is only woken.
    pub(crate) range: Option<Delivery>,
    /// Who waits, if it is the node's own.
    pub(crate) results: Option<Results>,
}

/// What came of it.
pub(crate) struct Applied {
    pub(crate) replica: Box<dyn Replica>,
    pub(crate) results: Option<Results>,
    pub(crate) done: Result<(), Broken>,
    pub(crate) time: Duration,
}

impl Job {
    /// Applies the range, wherever this is run.
    pub(crate) fn run(mut self) -> Applied {
        let begun = Instant::now();
        let takes = self.results.as_mut().map(|results| results as &mut dyn Takes);
        let done = match &self.range {
            Some(range) => self.replica.deliver(range, takes),
            None => self.replica.rouse(),
        };
        Applied { replica: self.replica, results: self.results, done, time: begun.elapsed() }
    }
}

/// A view on its way, with the replica that it is installed at.
pub(crate) struct Entering {
    pub(crate) replica: Box<dyn Replica>,
    pub(crate) installed: Installed,
}

/// What came of it.
pub(crate) struct Entered {
    pub(crate) replica: Box<dyn Replica>,
    pub(crate) view: View,
    pub(crate) done: Result<(), Broken>,
    pub(crate) time: Duration,
}

impl Entering {
    /// Installs the view, wherever this is run.
    pub(crate) fn run(mut self) -> Entered {
        let (begun, view) = (Instant::now(), self.installed.view.clone());
        let done = self.replica.install(self.installed);
        Entered { replica: self.replica, view, done, time: begun.elapsed() }
    }
}

/// The results of a range's awaited updates, for when they are back at the driver.
#[derive(Debug)]
pub(crate) struct Results {
    view: u64,
    wanted: VecDeque<u64>,
    told: Vec<(u64, Told)>,
}

impl Results {
    /// For the updates of an own range that somebody awaits.
    pub(crate) fn of(range: &Delivery, callers: &Callers) -> Results {
        let end = range.seq + u64::from(range.count);
        let wanted = callers.all_wanted(range.view, range.seq, end).collect();
        Results { view: range.view, wanted, told: Vec::new() }
    }

    /// Hands them to those who wait.
    pub(crate) fn tell(self, callers: &mut Callers) {
        for (seq, told) in self.told {
            callers.delivered(self.view, seq, told);
        }
        callers.settle();
    }
}

impl Takes for Results {
    fn wanted(&self, _view: u64, seq: u64) -> Option<u64> {
        self.wanted.iter().copied().find(|&next| next >= seq)
    }

    fn delivered(&mut self, _view: u64, seq: u64, answer: Told) {
        if self.wanted.front() == Some(&seq) {
            self.wanted.pop_front();
            self.told.push((seq, answer));
        }
    }
}

/// In the place of a replica that is away: it does nothing, and nothing is asked of it, since the
/// engine's outputs are held.
pub(crate) struct Absent;

impl Absent {
    fn away<T>() -> Result<T, Broken> {
        Err(Broken("the replica is at work elsewhere".to_owned()))
    }
}

impl Replica for Absent {
    fn deliver(&mut self, _: &Delivery, _: Option<&mut dyn Takes>) -> Result<(), Broken> {
        Absent::away()
    }

    fn is_read(&self) -> bool {
        false
    }

    fn compares(&self) -> bool {
        false
    }

    fn differs(&self) -> bool {
        false
    }

    fn is_long(&self, _: &Installed) -> bool {
        false
    }

    fn install(&mut self, _: Installed) -> Result<(), Broken> {
        Absent::away()
    }

    fn save(&self) -> Result<Bytes, CheckpointError> {
        Err(CheckpointError::NoState)
    }

    fn saving(&self) -> Saving {
        Box::new(|_| Taken::Checkpoint(Err(CheckpointError::NoState)))
    }

    fn loading(&mut self) -> Loading {
        Box::new(|_| Err(CheckpointError::NoState))
    }

    fn loaded(&mut self, _: Beside) {}

    fn stabilised(&mut self) {}

    fn due(&self) -> Option<Micros> {
        None
    }

    fn send_due(&mut self, _: Micros) -> Option<Sending> {
        None
    }

    fn wants_view(&mut self) -> bool {
        false
    }

    fn create(&mut self) {}

    fn void(&mut self) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_slow_until_it_is_quick_again() {
        let mut pace = Pace::default();
        pace.took(Duration::from_micros(900));
        assert_eq!(pace, Pace::Quick);
        pace.took(Duration::from_millis(2));
        assert_eq!(pace, Pace::Slow);
        pace.took(Duration::from_micros(900));
        assert_eq!(pace, Pace::Slow, "it does not go to and fro");
        pace.took(Duration::from_micros(100));
        assert_eq!(pace, Pace::Quick);
    }

    #[test]
    fn only_results_that_somebody_waits_for_are_kept() {
        let wanted = VecDeque::from([3, 5]);
        let mut results = Results { view: 1, wanted, told: Vec::new() };
        assert_eq!(results.wanted(1, 0), Some(3));
        results.delivered(1, 3, Ok(Box::new(30)));
        assert_eq!(results.wanted(1, 4), Some(5));
        results.delivered(1, 4, Ok(Box::new(40)));
        results.delivered(1, 5, Ok(Box::new(50)));
        assert_eq!(results.wanted(1, 6), None);
        let kept: Vec<u64> = results.told.iter().map(|(seq, _)| *seq).collect();
        assert_eq!(kept, [3, 5]);
    }
}
