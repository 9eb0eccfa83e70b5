//! The same history, again: on another thread, and from a checkpoint on.

use std::thread;

use super::history::{Author, Step, at, lines, shrink};
use super::pool::Pool;
use super::{Check, Checked, Failure, Kind};
use crate::Replicated;
use crate::testing::stage::{Said, Snapshot, Stage, load, snapshot};

/// What a replica shows after each step, beginning with its first view.
type Path = Vec<(Said, Snapshot)>;

/// The same for a replica that was not there from the beginning.
type Partial = Vec<Option<(Said, Snapshot)>>;

/// Where two replicas part: the step (0 is the beginning), and how they differ.
struct Parting {
    step: usize,
    how: String,
}

/// Which replicas are compared with the first.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Other {
    /// One on another thread.
    Twin,
    /// One that is loaded from a checkpoint after so many steps.
    Loaded(usize),
}

impl<S: Replicated> Check<S> {
    /// As [`deterministic`](super::deterministic), with a failure to look at.
    ///
    /// # Errors
    /// [`Kind::Determinism`] if two copies differ, [`Kind::Vacuous`] if no history changed the
    /// state, and what keeps it from checking at all.
    pub fn deterministic(&self) -> Result<Checked, Failure> {
        self.histories("deterministic", |history, place| {
            self.compare(history, Other::Twin)?;
            self.compare(history, Other::Loaded(place))
        })
    }

    /// As [`checkpointed`](super::checkpointed), with a failure to look at.
    ///
    /// # Errors
    /// [`Kind::Checkpoint`] if a checkpoint is not the whole state, [`Kind::Vacuous`] if no history
    /// changed the state, and what keeps it from checking at all.
    pub fn checkpointed(&self) -> Result<Checked, Failure> {
        self.histories("checkpointed", |history, place| {
            self.identity(history)?;
            self.compare(history, Other::Loaded(place))
        })
    }

    /// Tries so many histories, each with a place in it.
    fn histories(
        &self,
        what: &str,
        mut case: impl FnMut(&[Step], usize) -> Result<(), Failure>,
    ) -> Result<Checked, Failure> {
        let mut dice = self.dice();
        let pool = Pool::new(self, &mut dice)?;
        let mut checked = Checked { cases: 0, telling: 0 };
        for _ in 0..self.cases {
            let mut author = Author::new(&pool, &mut dice);
            let length = 1 + author.dice.below(self.length as u64) as usize;
            let history = author.history(length);
            let place = dice.below(length as u64) as usize;
            case(&history, place)?;
            let path = self.path(&history)?;
            checked.cases += 1;
            let (start, rest) = (&path[0].1, &path[1..]);
            checked.telling += usize::from(rest.iter().any(|(_, after)| after.tells(start)));
        }
        if checked.telling == 0 {
            let report =
                format!("`{what}` has checked nothing of `{}`: no update changed it", S::NAME);
            return Err(Failure::new(Kind::Vacuous, report));
        }
        Ok(checked)
    }

    /// Compares a replica with another one, and says where they part.
    fn compare(&self, history: &[Step], other: Other) -> Result<(), Failure> {
        if self.parting(history, other)?.is_none() {
            return Ok(());
        }
        // Not the checkpoint is to blame if a twin goes another way as well.
        let twin = |history: &[Step]| self.parting(history, Other::Twin);
        if other != Other::Twin
            && let Ok(Some(_)) = twin(history)
        {
            return self.compare(history, Other::Twin);
        }
        let anywhere = |shorter: &[Step]| match other {
            Other::Twin => [Other::Twin].into_iter().find_map(|it| self.parts(shorter, it)),
            Other::Loaded(_) => {
                (0..shorter.len()).find_map(|place| self.parts(shorter, Other::Loaded(place)))
            }
        };
        let shortest = shrink(history.to_vec(), |shorter| anywhere(shorter).is_some());
        let Some((other, parting)) = anywhere(&shortest).or_else(|| self.parts(history, other))
        else {
            // It depends on chance. That it parted once is what counts.
            let report = format!(
                "the same history gave `{}` two states once, and then one; it was:\n{}",
                S::NAME,
                lines(history)
            );
            return Err(Failure::new(Kind::Determinism, report));
        };
        Err(report::<S>(&shortest, other, &parting))
    }

    fn parts(&self, history: &[Step], other: Other) -> Option<(Other, Parting)> {
        Some((other, self.parting(history, other).ok()??))
    }

    fn parting(&self, history: &[Step], other: Other) -> Result<Option<Parting>, Failure> {
        let first = self.path(history)?;
        let (second, names) = match other {
            Other::Twin => (twin(&*self.start, history)?, ["once", "again"]),
            Other::Loaded(place) => (self.loaded(history, place)?, ["not loaded", "loaded"]),
        };
        for (step, (one, other)) in first.iter().zip(&second).enumerate() {
            let Some(other) = other else { continue };
            if one.1.bytes != other.1.bytes {
                return Ok(Some(Parting { step, how: one.1.differences(&other.1, names) }));
            }
            if one.0 != other.0 {
                let words = |said: &Said| said.as_ref().map_or("-".into(), |it| it.1.clone());
                let (one, other) = (words(&one.0), words(&other.0));
                let how = format!("  it says {one} ({}), {other} ({})\n", names[0], names[1]);
                return Ok(Some(Parting { step, how }));
            }
        }
        Ok(None)
    }

    fn path(&self, history: &[Step]) -> Result<Path, Failure> {
        path(&*self.start, history)
    }

    /// The path of a replica that joined after so many steps.
    fn loaded(&self, history: &[Step], place: usize) -> Result<Partial, Failure> {
        let mut donor = Stage::new((self.start)())?;
        let mut path: Partial = vec![None];
        let place = place.min(history.len());
        for step in &history[..place] {
            donor.step(step)?;
            path.push(None);
        }
        let bytes = donor.snapshot()?.state;
        let mut joiner = Stage::beside(load((self.start)(), &bytes)?, &donor);
        for (index, step) in history.iter().enumerate().skip(place) {
            let said = joiner.step(step).map_err(|failure| at(failure, &history[..=index]))?;
            path.push(Some((said, joiner.snapshot()?)));
        }
        Ok(path)
    }

    /// Saved, loaded and saved again it is the same, after every step.
    fn identity(&self, history: &[Step]) -> Result<(), Failure> {
        let broken = |stage: &Stage<S>| -> Result<Option<String>, Failure> {
            let saved = stage.snapshot()?;
            let again = snapshot(&load((self.start)(), &saved.state)?)?;
            let same = again.state == saved.state;
            Ok((!same).then(|| saved.differences(&again, ["saved", "loaded, saved"])))
        };
        let last = |shorter: &[Step]| {
            // What fails on the way has its history told there.
            let stage = super::history::after(self, shorter)?;
            broken(&stage).map_err(|failure| at(failure, shorter))
        };
        for steps in 0..=history.len() {
            let part = &history[..steps];
            if last(part)?.is_none() {
                continue;
            }
            let shortest = shrink(part.to_vec(), |it| matches!(last(it), Ok(Some(_))));
            let how = last(&shortest)?.unwrap_or_default();
            let report = format!(
                "a checkpoint of `{}`, loaded and saved again, is another one:\n{how}\nafter this \
                 history:\n{}",
                S::NAME,
                lines(&shortest)
            );
            return Err(Failure::new(Kind::Checkpoint, report));
        }
        Ok(())
    }
}

/// A new state, always the same.
type Start<S> = dyn Fn() -> S + Send + Sync;

/// What a replica shows on the way.
fn path<S: Replicated>(start: &Start<S>, history: &[Step]) -> Result<Path, Failure> {
    let mut stage = Stage::new(start())?;
    let mut path = vec![(None, stage.snapshot()?)];
    for (index, step) in history.iter().enumerate() {
        let said = stage.step(step).map_err(|failure| at(failure, &history[..=index]))?;
        path.push((said, stage.snapshot()?));
    }
    Ok(path)
}

/// The same, on another thread.
fn twin<S: Replicated>(start: &Start<S>, history: &[Step]) -> Result<Partial, Failure> {
    // Otherwise an allocator might give the same addresses.
    let noise: Vec<Vec<u8>> = (0..16).map(|index| vec![0; 24 << (index % 4)]).collect();
    let ended = thread::scope(|scope| scope.spawn(|| path(start, history)).join());
    drop(noise);
    let gone = |_| Err(Failure::new(Kind::Panicked, "a copy of the state panicked"));
    Ok(ended.unwrap_or_else(gone)?.into_iter().map(Some).collect())
}

fn report<S: Replicated>(history: &[Step], other: Other, parting: &Parting) -> Failure {
    let name = S::NAME;
    let (kind, what, advice) = match other {
        Other::Twin => (
            Kind::Determinism,
            format!("the same history gives two copies of `{name}` different states or results"),
            "A replica depends on something that is not in the state and not in the update: a \
             clock, random numbers, addresses, the order of a hash map, a static, the thread.",
        ),
        Other::Loaded(place) => (
            Kind::Checkpoint,
            format!(
                "a `{name}` that was loaded from a checkpoint after {place} steps goes another way"
            ),
            "An update depends on something that no checkpoint holds: a `#[local]` field, or what \
             `serde` skips.",
        ),
    };
    let place = match parting.step {
        0 => "in its first view".to_owned(),
        step => format!("after step {step}"),
    };
    let (how, lines) = (&parting.how, lines(history));
    let report = format!("{what}, {place}:\n{how}\nin this history:\n{lines}\n{advice}\n");
    Failure::new(kind, report)
}
