//! Clocks of several machines: no update arrives before it is sent.

use std::collections::BTreeMap;

use super::margins::millis;
use super::scene::{Scene, Time};

/// By how much the clocks of processes were put forward.
#[derive(Debug, Default)]
pub(super) struct Shifts(BTreeMap<String, Time>);

impl Shifts {
    /// Puts clocks forward that say an update arrived before it was sent, by as little as will do.
    pub(super) fn align(&mut self, scene: &mut Scene) {
        for (lane, shift) in shifts(&least(scene)).into_iter().enumerate() {
            if shift > 0 {
                put_forward(scene, lane, shift);
                *self.0.entry(scene.lanes[lane].process.clone()).or_default() += shift;
            }
        }
        date_views(scene);
    }

    /// Lets time begin with the first process again: the one that seemed to be the first may be one
    /// whose clock was years behind.
    pub(super) fn begin(&mut self, scene: &mut Scene) {
        let shift = |process: &str| self.0.get(process).copied().unwrap_or(0);
        let lives = || scene.lanes.iter().filter(|lane| lane.told);
        let before = lives().map(|lane| lane.life.0 - shift(&lane.process)).min();
        let Some(late) = lives().map(|lane| lane.life.0).min().zip(before) else { return };
        let late = late.0 - late.1;
        if late > 0 {
            (0..scene.lanes.len()).for_each(|lane| put_forward(scene, lane, -late));
            date_views(scene);
        }
    }

    /// Says what was done. Microseconds come from reading two clocks one after the other, and are
    /// not worth a word.
    pub(super) fn note(&self, scene: &Scene, notes: &mut Vec<String>) {
        for (process, shift) in self.0.iter().filter(|(_, shift)| **shift >= 1_000) {
            let (name, ms) = (scene.names.get(process), millis(*shift));
            notes.push(format!("{name}'s clock is put forward by {ms} ms, to be after its causes"));
        }
    }
}

/// The shortest way from each lane to each other.
fn least(scene: &Scene) -> Vec<Vec<Option<Time>>> {
    let lanes = scene.lanes.len();
    let mut least: Vec<Vec<Option<Time>>> = vec![vec![None; lanes]; lanes];
    let arrows = scene.arrows.iter().map(|arrow| (arrow.from, arrow.to));
    let transfers = scene.transfers.iter().map(|transfer| (transfer.from, transfer.to));
    for ((from, sent), (to, at)) in arrows.chain(transfers) {
        let delay = &mut least[from][to];
        *delay = Some(delay.map_or(at - sent, |least| least.min(at - sent)));
    }
    least
}

/// The least shifts such that no delay is negative. True time is a solution, so that as many rounds
/// as there are lanes are enough; where clocks drift there may be none, and it ends with these.
fn shifts(least: &[Vec<Option<Time>>]) -> Vec<Time> {
    let mut shifts: Vec<Time> = vec![0; least.len()];
    for _ in least {
        let mut settled = true;
        for (from, row) in least.iter().enumerate() {
            for (to, delay) in row.iter().enumerate() {
                let Some(delay) = delay else { continue };
                if from != to && shifts[to] < shifts[from] - delay {
                    shifts[to] = shifts[from] - delay;
                    settled = false;
                }
            }
        }
        if settled {
            break;
        }
    }
    shifts
}

fn put_forward(scene: &mut Scene, lane: usize, shift: Time) {
    for arrow in &mut scene.arrows {
        for end in [&mut arrow.from, &mut arrow.to] {
            end.1 += if end.0 == lane { shift } else { 0 };
        }
    }
    for transfer in &mut scene.transfers {
        for end in [&mut transfer.from, &mut transfer.to] {
            end.1 += if end.0 == lane { shift } else { 0 };
        }
    }
    let lane = &mut scene.lanes[lane];
    let spans = lane.bands.iter_mut().map(|band| &mut band.span).chain(&mut lane.blocked);
    for span in spans.chain([&mut lane.life]) {
        *span = (span.0 + shift, span.1 + shift);
    }
    lane.sends.iter_mut().for_each(|send| send.0 += shift);
    lane.ends.iter_mut().for_each(|end| end.0 += shift);
}

/// The first install of a view may be another one now.
fn date_views(scene: &mut Scene) {
    for (number, view) in &mut scene.views {
        let bands = scene.lanes.iter().flat_map(|lane| &lane.bands);
        let installs = bands.filter(|band| band.view == *number).map(|band| band.span.0);
        view.first = installs.min().unwrap_or(view.first);
    }
}

#[cfg(test)]
mod tests {
    use super::shifts;

    #[test]
    fn clocks_that_agree_stay() {
        assert_eq!(shifts(&[vec![None, Some(5)], vec![Some(3), None]]), [0, 0]);
    }

    #[test]
    fn a_clock_that_is_behind_is_put_forward_and_takes_others_along() {
        let least = [
            vec![None, Some(-10), None],
            vec![Some(40), None, Some(4)],
            vec![None, Some(100), None],
        ];
        assert_eq!(shifts(&least), [0, 10, 6]);
    }
}
