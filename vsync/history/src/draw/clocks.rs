//! Clocks of several machines: no update arrives before it is sent.

use super::scene::{Scene, Time, name};

/// Puts clocks forward that say an update arrived before it was sent, by as little as will do.
pub(super) fn align(scene: &mut Scene, notes: &mut Vec<String>) {
    let lanes = scene.lanes.len();
    let mut least: Vec<Vec<Option<Time>>> = vec![vec![None; lanes]; lanes];
    let arrows = scene.arrows.iter().map(|arrow| (arrow.from, arrow.to));
    let transfers = scene.transfers.iter().map(|transfer| (transfer.from, transfer.to));
    for ((from, sent), (to, at)) in arrows.chain(transfers) {
        let delay = &mut least[from][to];
        *delay = Some(delay.map_or(at - sent, |least| least.min(at - sent)));
    }
    let shifts = shifts(&least);
    for (lane, &shift) in shifts.iter().enumerate().filter(|(_, shift)| **shift > 0) {
        put_forward(scene, lane, shift);
        // Microseconds come from reading two clocks one after the other.
        if shift >= 1_000 {
            let ms = super::margins::millis(shift);
            let name = name(&scene.lanes[lane].process);
            notes.push(format!("{name}'s clock is put forward by {ms} ms, to be after its causes"));
        }
    }
}

/// The least shifts such that no delay is negative. True time is a solution, so that as many rounds
/// as there are lanes are enough; histories that have none are left as they are after these.
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
