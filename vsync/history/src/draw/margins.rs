//! What stands around the lines: title, time, how much room there is.

use super::axis::Axis;
use super::scene::{Scene, Time};
use super::svg::{Anchor, SMALL, Sheet, TITLE, cut, escape, number, width};

const STYLE: &str = include_str!("style.css");
/// The first line is here.
const TOP: f64 = 98.0;
/// With more arrows than this they are drawn thin, and the lines are further apart.
const DENSE: usize = 200;
/// A row of the legend.
pub(super) const ROW: f64 = 22.0;

/// Where things are.
#[derive(Debug)]
pub(super) struct Layout {
    /// Of the whole picture.
    pub(super) width: f64,
    /// The time axis.
    pub(super) axis: f64,
    /// Distance of the lines.
    step: f64,
}

impl Layout {
    /// Makes room for everything in the scene.
    pub(super) fn new(scene: &Scene, axis: &Axis) -> Layout {
        let lanes = scene.lanes.len().max(1) as f64;
        let step = if is_dense(scene) { 120.0 } else { 78.0 };
        let bottom = TOP + (lanes - 1.0) * step + 42.0;
        Layout { width: axis.span.1 + 28.0, axis: bottom, step }
    }

    /// The line of a lane.
    pub(super) fn y(&self, lane: usize) -> f64 {
        TOP + lane as f64 * self.step
    }
}

/// Whether there are so many arrows that they need more room.
pub(super) fn is_dense(scene: &Scene) -> bool {
    scene.arrows.len() > DENSE
}

/// Microseconds as milliseconds, without zeros that say nothing.
pub(super) fn millis(t: Time) -> String {
    let text = format!("{}{}.{:03}", if t < 0 { "-" } else { "" }, t.abs() / 1000, t.abs() % 1000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn counted(count: usize, one: &str, more: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { more })
}

/// A size for people.
pub(super) fn bytes(bytes: u64) -> String {
    match bytes {
        0..1_000 => format!("{bytes} B"),
        1_000..1_000_000 => format!("{:.1} kB", bytes as f64 / 1e3),
        _ => format!("{:.1} MB", bytes as f64 / 1e6),
    }
}

/// The beginning of the document, which ends at `bottom`.
pub(super) fn open(
    layout: &Layout,
    bottom: f64,
    title: &str,
    scene: &Scene,
    axis: &Axis,
) -> String {
    let mut sheet = Sheet::default();
    let (w, h) = (number(layout.width), number(bottom));
    let space = r#"xmlns="http://www.w3.org/2000/svg" role="img""#;
    sheet.raw(&format!(r#"<svg {space} viewBox="0 0 {w} {h}" width="{w}" height="{h}">"#));
    sheet.raw(&format!("<title>{}</title>", escape(title)));
    sheet.raw(&format!("<style>\n{STYLE}</style>"));
    sheet.raw("<defs>");
    for (name, size) in [("fifo", 8), ("causal", 8), ("total", 8), ("transfer", 17)] {
        let at = r#"viewBox="0 0 10 10" refX="9.5" refY="5" markerUnits="userSpaceOnUse""#;
        let shape = format!(r#"<path class="{name}-dot" d="M0 1 L10 5 L0 9 z"/>"#);
        let size = format!(r#"markerWidth="{size}" markerHeight="{size}" orient="auto""#);
        sheet.raw(&format!(r#"<marker id="{name}-head" {at} {size}>{shape}</marker>"#));
    }
    sheet.raw("</defs>");
    sheet.element(&format!(r#"rect class="paper" width="{w}" height="{h}""#));
    sheet.text("title", (20.0, 32.0), Anchor::Start, &cut(title, TITLE, layout.width - 40.0));
    let sends: usize = scene.lanes.iter().map(|lane| lane.sends.len()).sum();
    let facts = format!(
        "{} · {} · {} · {} to {} ms",
        counted(scene.lanes.len(), "process", "processes"),
        counted(scene.views.len(), "view", "views"),
        counted(sends, "multicast", "multicasts"),
        millis(axis.window.from),
        millis(axis.window.to)
    );
    sheet.text("small", (20.0, 52.0), Anchor::Start, &facts);
    sheet.finish()
}

/// The time axis and its grid.
pub(super) fn grid(sheet: &mut Sheet, layout: &Layout, axis: &Axis) {
    let (top, bottom) = (TOP - 30.0, layout.axis);
    for piece in axis.pieces.iter().filter(|piece| piece.broken) {
        let (left, right) = piece.span();
        let (x, y, w) = (number(left + 4.0), number(top), number(right - left - 8.0));
        let h = number(bottom - top);
        sheet.told(
            &format!(r#"rect class="gap" x="{x}" y="{y}" width="{w}" height="{h}""#),
            &format!("{} ms without an event", millis(piece.duration())),
        );
    }
    let y = number(bottom);
    for piece in axis.pieces.iter() {
        let (left, right) = piece.span();
        let (x1, x2) = (number(left), number(right));
        if !piece.broken {
            sheet.element(&format!(r#"path class="axis" d="M{x1} {y} L{x2} {y}""#));
            continue;
        }
        for x in [left + 4.0, right - 4.0] {
            let (a, b) = (number(x - 3.0), number(x + 3.0));
            let (low, high) = (number(bottom + 6.0), number(bottom - 6.0));
            sheet.element(&format!(r#"path class="axis" d="M{a} {low} L{b} {high}""#));
        }
        let middle = left.midpoint(right);
        let left_out = short(piece.duration());
        sheet.text("small", (middle, bottom + 35.0), Anchor::Middle, &left_out);
    }
    let step = axis.step(84.0);
    let mut free = f64::NEG_INFINITY;
    for t in axis.ticks(step) {
        let (x, text) = (axis.x(t), millis(t));
        let (at, low) = (number(x), number(bottom + 5.0));
        let high = number(top);
        sheet.element(&format!(r#"path class="grid" d="M{at} {high} L{at} {y}""#));
        sheet.element(&format!(r#"path class="axis" d="M{at} {y} L{at} {low}""#));
        let half = width(&text, SMALL) / 2.0;
        if x - half > free {
            sheet.text("small", (x, bottom + 20.0), Anchor::Middle, &text);
            free = x + half + 6.0;
        }
    }
    let at = (axis.span.1, bottom + 50.0);
    sheet.text("small", at, Anchor::End, "ms since the first process started");
}

/// A duration in few characters, with its unit.
fn short(t: Time) -> String {
    match t {
        ..1_000 => format!("+{t} µs"),
        1_000..10_000 => format!("+{:.1} ms", t as f64 / 1e3),
        10_000..1_000_000 => format!("+{} ms", t / 1_000),
        _ => format!("+{:.1} s", t as f64 / 1e6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_say_no_more_than_they_have_to() {
        assert_eq!(millis(1_500), "1.5");
        assert_eq!(millis(-20), "-0.02");
        assert_eq!(millis(20_000), "20");
        assert_eq!(millis(0), "0");
        assert_eq!((bytes(9), bytes(87_286)), ("9 B".into(), "87.3 kB".into()));
        assert_eq!(short(312_400), "+312 ms");
    }
}
