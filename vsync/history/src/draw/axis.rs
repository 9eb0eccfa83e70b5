//! From time to the horizontal: linear, but for long stretches in which nothing happens.

use super::names::parts;
use super::scene::{Scene, Time};
use super::svg::{NAME, width};
use super::window::Window;

/// A break takes this much room.
const BREAK: f64 = 40.0;
/// More breaks than this tear the picture apart.
const MOST_BREAKS: usize = 12;

/// The time axis.
#[derive(Debug)]
pub(super) struct Axis {
    /// The window.
    pub(super) window: Window,
    /// Where it begins and ends, in pixels.
    pub(super) span: (f64, f64),
    /// Stretches of one scale, in order.
    pub(super) pieces: Vec<Piece>,
    /// Microseconds per pixel within the stretches.
    scale: f64,
}

/// A stretch of the axis.
#[derive(Clone, Copy, Debug)]
pub(super) struct Piece {
    from: Time,
    to: Time,
    left: f64,
    right: f64,
    /// Whether it is a break.
    pub(super) broken: bool,
}

impl Piece {
    /// Where it is, in pixels.
    pub(super) fn span(&self) -> (f64, f64) {
        (self.left, self.right)
    }

    /// How long it is.
    pub(super) fn duration(&self) -> Time {
        self.to - self.from
    }
}

impl Axis {
    /// The axis for what happens in the window.
    pub(super) fn new(scene: &Scene, window: Window, linear: bool) -> Axis {
        let arrows = scene.arrows.len() as f64;
        let names = scene.lanes.iter().map(|lane| width(parts(&lane.process).0, NAME));
        let left = 46.0 + names.map(|name| name.min(180.0)).fold(66.0, f64::max);
        let width = (740.0 + 1.5 * arrows).min(2200.0);
        let moments = if linear { Vec::new() } else { moments(scene, window) };
        Axis::over(&moments, window, (left, left + width))
    }

    fn over(moments: &[Time], window: Window, span: (f64, f64)) -> Axis {
        let breaks = breaks(moments);
        let broken: Time = breaks.iter().map(|(from, to)| to - from).sum();
        let room = span.1 - span.0 - BREAK * breaks.len() as f64;
        let scale = ((window.to - window.from - broken).max(1)) as f64 / room;
        let mut axis = Axis { window, span, pieces: Vec::new(), scale };
        let (mut t, mut x) = (window.from, span.0);
        for (from, to) in breaks {
            x = axis.piece(t, from, x, false);
            x = axis.piece(from, to, x, true);
            t = to;
        }
        axis.piece(t, window.to, x, false);
        axis
    }

    fn piece(&mut self, from: Time, to: Time, left: f64, broken: bool) -> f64 {
        let width = if broken { BREAK } else { (to - from) as f64 / self.scale };
        let right = left + width;
        self.pieces.push(Piece { from, to, left, right, broken });
        right
    }

    /// Where a moment is. Moments outside of the window are at its edge.
    pub(super) fn x(&self, t: Time) -> f64 {
        let t = t.clamp(self.window.from, self.window.to);
        let at = self.pieces.partition_point(|piece| piece.to < t);
        let Some(piece) = self.pieces.get(at) else {
            return self.span.1;
        };
        let share = (t - piece.from) as f64 / piece.duration().max(1) as f64;
        piece.left + share * (piece.right - piece.left)
    }

    /// The step between ticks: 1, 2 or 5 times a power of ten, at least `room` pixels.
    pub(super) fn step(&self, room: f64) -> Time {
        let least = self.scale * room;
        let mut power: Time = 1;
        loop {
            for step in [power, 2 * power, 5 * power] {
                if step as f64 >= least {
                    return step;
                }
            }
            power = power.saturating_mul(10);
        }
    }

    /// The moments that get a tick.
    pub(super) fn ticks(&self, step: Time) -> Vec<Time> {
        let mut ticks = Vec::new();
        for piece in self.pieces.iter().filter(|piece| !piece.broken) {
            let first = piece.from.div_euclid(step) + Time::from(piece.from.rem_euclid(step) != 0);
            let last = piece.to.div_euclid(step);
            ticks.extend((first..=last).map(|count| count * step));
        }
        ticks.dedup();
        ticks
    }
}

/// When something happens.
fn moments(scene: &Scene, window: Window) -> Vec<Time> {
    let mut moments = vec![window.from, window.to];
    moments.extend(scene.arrows.iter().flat_map(|arrow| [arrow.from.1, arrow.to.1]));
    let transfers = scene.transfers.iter();
    moments.extend(transfers.flat_map(|transfer| [transfer.from.1, transfer.to.1]));
    for lane in &scene.lanes {
        moments.extend(lane.bands.iter().flat_map(|band| [band.span.0, band.span.1]));
        moments.extend(lane.sends.iter().map(|send| send.0));
        moments.extend(lane.ends.iter().map(|end| end.0));
        moments.extend(lane.blocked.iter().flat_map(|span| [span.0, span.1]));
    }
    moments.retain(|&t| window.holds(t));
    moments.sort_unstable();
    moments.dedup();
    moments
}

/// Stretches without any event that are so long that the rest could not be read beside them.
fn breaks(moments: &[Time]) -> Vec<(Time, Time)> {
    let mut gaps: Vec<(Time, Time)> = moments.windows(2).map(|pair| (pair[0], pair[1])).collect();
    gaps.sort_by_key(|(from, to)| std::cmp::Reverse(to - from));
    let Some(median) = gaps.get(gaps.len() / 2).map(|(from, to)| to - from) else {
        return Vec::new();
    };
    let mut rest: Time = gaps.iter().map(|(from, to)| to - from).sum();
    let mut breaks = Vec::new();
    for (from, to) in gaps.into_iter().take(MOST_BREAKS) {
        let length = to - from;
        if length * 8 < rest || length < 12 * median {
            break;
        }
        // A little of it stays on both sides, as far as it does not count.
        let edge = ((rest - length) / 50).min(length / 4);
        rest -= length - 2 * edge;
        breaks.push((from + edge, to - edge));
    }
    breaks.sort_unstable();
    breaks
}

#[cfg(test)]
mod tests {
    use super::*;

    fn axis(moments: &[Time]) -> Axis {
        let window = Window { from: moments[0], to: moments[moments.len() - 1] };
        Axis::over(moments, window, (100.0, 1100.0))
    }

    #[test]
    fn an_even_run_has_a_linear_axis() {
        let axis = axis(&[0, 100, 230, 300, 420, 500]);
        assert_eq!(axis.pieces.len(), 1);
        assert_eq!(axis.x(0), 100.0);
        assert_eq!(axis.x(250), 600.0);
        assert_eq!(axis.x(900), 1100.0);
    }

    #[test]
    fn a_long_idle_stretch_is_broken() {
        let mut moments: Vec<Time> = (0..50).map(|i| i * 10).collect();
        moments.extend((0..50).map(|i| 1_000_000 + i * 10));
        let axis = axis(&moments);
        assert_eq!(axis.pieces.iter().filter(|piece| piece.broken).count(), 1);
        assert!(axis.x(490) > 500.0 && axis.x(1_000_000) < 700.0);
        let xs: Vec<f64> = moments.iter().map(|&t| axis.x(t)).collect();
        assert!(xs.is_sorted());
    }

    #[test]
    fn ticks_are_round_and_not_in_breaks() {
        let axis = axis(&[3, 250, 500, 703]);
        assert_eq!(axis.step(100.0), 100);
        assert_eq!(axis.ticks(100), [100, 200, 300, 400, 500, 600, 700]);
    }

    #[test]
    fn one_moment_is_enough() {
        let axis = axis(&[5]);
        assert!(axis.x(5).is_finite());
        assert!(!axis.ticks(axis.step(90.0)).is_empty());
    }
}
