//! Which part of a run is drawn.

use super::margins::millis;
use super::scene::{End, Scene, Time};
use super::{CHOSEN_ARROWS, DrawError, MOST_ARROWS};

/// A part of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Window {
    /// Its begin.
    pub(super) from: Time,
    /// Its end.
    pub(super) to: Time,
}

impl Window {
    /// As asked for; otherwise all of it, or what can be read around the first failure.
    pub(super) fn choose(
        scene: &Scene,
        from: Option<u64>,
        to: Option<u64>,
        notes: &mut Vec<String>,
    ) -> Result<Window, DrawError> {
        let (begin, end) = scene.span();
        // Too big a number means no limit.
        let limit = |asked: u64| Time::try_from(asked).unwrap_or(Time::MAX);
        let window = Window {
            from: from.map_or(begin, limit).max(begin),
            to: to.map_or(end, limit).min(end),
        };
        if from.zip(to).is_some_and(|(from, to)| from >= to) {
            return Err(DrawError::Backwards);
        }
        if window.from > window.to {
            let (begin, end) = (begin.max(0) as u64, end.max(0) as u64);
            return Err(DrawError::Outside { begin, end });
        }
        let count = window.arrows(scene);
        if count <= MOST_ARROWS {
            return Ok(window);
        }
        if from.is_some() || to.is_some() {
            notes.push(format!("{count} arrows are many: a shorter window is easier to read"));
            return Ok(window);
        }
        let (centre, what) = centre(scene, window);
        let chosen = window.around(scene, centre);
        notes.push(format!(
            "drawn: {} to {} ms, around {what}, of {} to {} ms ({count} arrows); \
             --from and --to choose otherwise",
            millis(chosen.from),
            millis(chosen.to),
            millis(begin),
            millis(end)
        ));
        Ok(chosen)
    }

    /// Whether this moment is in it.
    pub(super) fn holds(self, t: Time) -> bool {
        (self.from..=self.to).contains(&t)
    }

    /// Whether a part of this span is in it.
    pub(super) fn meets(self, from: Time, to: Time) -> bool {
        from <= self.to && to >= self.from
    }

    fn arrows(self, scene: &Scene) -> usize {
        let between = |arrow: &&super::scene::Arrow| arrow.from.0 != arrow.to.0;
        let arrows = scene.arrows.iter().filter(between);
        arrows.filter(|arrow| self.meets(arrow.from.1, arrow.to.1)).count()
    }

    /// The widest window around `centre` that does not hold too many arrows.
    fn around(self, scene: &Scene, centre: Time) -> Window {
        let at = |half: Time| Window {
            from: (centre - half).max(self.from),
            to: (centre + half).min(self.to),
        };
        let (mut good, mut bad) = (1, (self.to - self.from).max(2));
        while good + 1 < bad {
            let half = good.midpoint(bad);
            match at(half).arrows(scene) <= CHOSEN_ARROWS {
                true => good = half,
                false => bad = half,
            }
        }
        at(good)
    }
}

/// What a window is chosen around.
fn centre(scene: &Scene, window: Window) -> (Time, &'static str) {
    let ends = scene.lanes.iter().flat_map(|lane| &lane.ends);
    let crashes = ends.filter(|(_, end)| matches!(end, End::Crash | End::Excluded));
    if let Some(crash) = crashes.map(|(t, _)| *t).min() {
        // Half way to the view in which the others know.
        let next = scene.views.values().find(|view| !view.left.is_empty() && view.first >= crash);
        return (next.map_or(crash, |view| crash.midpoint(view.first)), "the first failure");
    }
    let first = scene.arrows.iter().map(|arrow| arrow.from.1).min().unwrap_or(window.from);
    match scene.views.values().find(|view| view.first > first) {
        Some(view) => (view.first, "the first view change under load"),
        None => (first, "the first multicast"),
    }
}
