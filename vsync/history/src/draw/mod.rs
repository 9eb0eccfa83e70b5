//! The time-space diagram of a run, as SVG.
//!
//! One horizontal line per process, time to the right. Coloured bands are views, thin arrows are
//! multicasts from their sending to each delivery, heavy arrows are checkpoints, crosses are
//! crashes. Everything is drawn from the lines of the histories: what no line tells is not in the
//! picture.

mod axis;
mod clocks;
mod legend;
mod margins;
mod names;
mod paint;
mod scene;
mod svg;
mod window;

use std::fmt;

use crate::event::Id;
use crate::read::History;
use axis::Axis;
use clocks::Shifts;
use scene::Scene;
use window::Window;

/// More arrows than this cannot be told from each other; a window is chosen then.
const MOST_ARROWS: usize = 800;
/// A window that is chosen here holds about as many.
const CHOSEN_ARROWS: usize = 400;

/// What to draw of a history.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The group, as `name` or `name/generation`; if left out, the one with the most deliveries.
    pub group: Option<String>,
    /// Begin of the window: microseconds since the first process started.
    pub from: Option<u64>,
    /// End of the window.
    pub to: Option<u64>,
    /// Whether long stretches without an event take their full room too.
    pub linear: bool,
    /// The title; if left out, it names the group.
    pub title: Option<String>,
}

/// A drawing, and what there is to say about it.
#[derive(Clone, Debug)]
pub struct Drawing {
    /// The SVG document.
    pub svg: String,
    /// What was chosen or left out.
    pub notes: Vec<String>,
}

/// Why there is nothing to draw.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DrawError {
    /// No group has left a line.
    NoGroup,
    /// The group that was asked for is not in the history.
    UnknownGroup {
        /// What was asked for.
        asked: String,
        /// What there is.
        known: Vec<String>,
    },
    /// The window ends before it begins.
    Backwards,
    /// Nothing happened in the window.
    Outside {
        /// When the group's history begins, in microseconds.
        begin: u64,
        /// When it ends.
        end: u64,
    },
}

impl fmt::Display for DrawError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DrawError::NoGroup => write!(f, "no group has left a line: nothing to draw"),
            DrawError::UnknownGroup { asked, known } => {
                write!(f, "no group {asked:?} in this history; there is {}", known.join(", "))
            }
            DrawError::Backwards => write!(f, "the window must end after it begins"),
            DrawError::Outside { begin, end } => write!(
                f,
                "nothing happened in this window; the group was there from {} to {} ms",
                margins::millis(*begin as i64),
                margins::millis(*end as i64)
            ),
        }
    }
}

impl std::error::Error for DrawError {}

/// Draws one group of a history.
///
/// # Errors
/// [`DrawError`] if there is nothing to draw.
pub fn draw(history: &History, options: &Options) -> Result<Drawing, DrawError> {
    let mut notes = Vec::new();
    let (group, generation) = choose(history, options.group.as_deref(), &mut notes)?;
    let mut scene = Scene::of(history, &group, generation);
    let mut shifts = Shifts::default();
    shifts.align(&mut scene);
    shifts.begin(&mut scene);
    if scene.untold > 0 {
        let untold = scene.untold;
        notes.push(format!("{untold} deliveries have no arrow: their sender's file is not here"));
    }
    let window = Window::choose(&scene, options.from, options.to, &mut notes)?;
    scene.keep(window);
    // Clocks drift: what holds for a run of hours as a whole is not the best for this part of it.
    shifts.align(&mut scene);
    shifts.note(&scene, &mut notes);
    let axis = Axis::new(&scene, window, options.linear);
    let title = options.title.clone().unwrap_or_else(|| format!("Group {group}"));
    Ok(Drawing { svg: paint::paint(&scene, &axis, &title), notes })
}

/// Finds the group and generation that are meant.
fn choose(
    history: &History,
    asked: Option<&str>,
    notes: &mut Vec<String>,
) -> Result<(Id, u32), DrawError> {
    let groups = scene::groups(history);
    let label = |key: &(Id, u32)| format!("{}/{}", key.0, key.1);
    let fits = |key: &(Id, u32)| asked.is_none_or(|asked| *key.0 == *asked || label(key) == asked);
    // The most deliveries; of several generations of a name that was asked for, the last.
    let rank = |(key, deliveries): &(&(Id, u32), &u64)| match asked {
        Some(_) => u64::from(key.1),
        None => **deliveries,
    };
    let fitting: Vec<_> = groups.iter().filter(|(key, _)| fits(key)).collect();
    let Some((key, _)) = fitting.iter().copied().max_by_key(rank) else {
        let known = groups.keys().map(label).collect();
        return Err(match asked {
            Some(asked) if !groups.is_empty() => {
                DrawError::UnknownGroup { asked: asked.to_owned(), known }
            }
            _ => DrawError::NoGroup,
        });
    };
    let others: Vec<String> =
        fitting.iter().filter(|(other, _)| *other != key).map(|(other, _)| label(other)).collect();
    if !others.is_empty() {
        let others = others.join(", ");
        notes.push(format!("group {}; there are also {others} (--group)", label(key)));
    }
    Ok(key.clone())
}

#[cfg(test)]
mod tests;
