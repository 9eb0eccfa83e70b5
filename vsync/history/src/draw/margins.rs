//! What stands around the lines: title, time, legend, list of views.

use super::axis::Axis;
use super::paint::{class, mark};
use super::scene::{End, Scene, Time, View, name};
use super::svg::{Anchor, Sheet, cut, escape, number, width};
use crate::event::{Class, Level, Reason};

const STYLE: &str = include_str!("style.css");
/// The first line is here.
const TOP: f64 = 98.0;
/// With more arrows than this they are drawn thin, and the lines are further apart.
const DENSE: usize = 200;
/// At most this many views are listed.
const MOST_VIEWS: usize = 16;
const ROW: f64 = 21.0;

/// Where things are.
#[derive(Debug)]
pub(super) struct Layout {
    /// Of the whole picture.
    width: f64,
    height: f64,
    /// The time axis.
    axis: f64,
    /// Distance of the lines.
    step: f64,
}

impl Layout {
    /// Makes room for everything in the scene.
    pub(super) fn new(scene: &Scene, axis: &Axis) -> Layout {
        let lanes = scene.lanes.len().max(1) as f64;
        let step = if is_dense(scene) { 120.0 } else { 78.0 };
        let bottom = TOP + (lanes - 1.0) * step + 42.0;
        let listed = scene.views.len().min(MOST_VIEWS + 1) as f64;
        let height = bottom + 90.0 + ROW * (listed + 2.0);
        Layout { width: axis.span.1 + 28.0, height, axis: bottom, step }
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

/// A size for people.
pub(super) fn bytes(bytes: u64) -> String {
    match bytes {
        0..1_000 => format!("{bytes} B"),
        1_000..1_000_000 => format!("{:.1} kB", bytes as f64 / 1e3),
        _ => format!("{:.1} MB", bytes as f64 / 1e6),
    }
}

/// The beginning of the document.
pub(super) fn open(sheet: &mut Sheet, layout: &Layout, title: &str, scene: &Scene, axis: &Axis) {
    let (w, h) = (number(layout.width), number(layout.height));
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
    sheet.text("title", (20.0, 32.0), Anchor::Start, &cut(title, 17.0, layout.width - 40.0));
    let sends: usize = scene.lanes.iter().map(|lane| lane.sends.len()).sum();
    let facts = format!(
        "{} processes · {} views · {sends} multicasts · {} to {} ms",
        scene.lanes.len(),
        scene.views.len(),
        millis(axis.window.from),
        millis(axis.window.to)
    );
    sheet.text("small", (20.0, 51.0), Anchor::Start, &facts);
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
        sheet.text("small", (middle, bottom + 32.0), Anchor::Middle, &left_out);
    }
    let step = axis.step(84.0);
    let mut free = f64::NEG_INFINITY;
    for t in axis.ticks(step) {
        let (x, text) = (axis.x(t), millis(t));
        let (at, low) = (number(x), number(bottom + 5.0));
        let high = number(top);
        sheet.element(&format!(r#"path class="grid" d="M{at} {high} L{at} {y}""#));
        sheet.element(&format!(r#"path class="axis" d="M{at} {y} L{at} {low}""#));
        let half = width(&text, 10.5) / 2.0;
        if x - half > free {
            sheet.text("small", (x, bottom + 18.0), Anchor::Middle, &text);
            free = x + half + 6.0;
        }
    }
    let at = (axis.span.1, bottom + 48.0);
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

/// The legend, the list of views, and the end of the document.
pub(super) fn close(sheet: &mut Sheet, layout: &Layout, scene: &Scene, axis: &Axis) {
    let mut pen = Pen { x: 20.0, y: layout.axis + 80.0, right: layout.width - 20.0 };
    legend(sheet, &mut pen, scene, axis);
    let mut y = pen.y + 34.0;
    for (number, view) in scene.views.iter().take(MOST_VIEWS) {
        entry(sheet, *number, view, y, layout.width - 40.0);
        y += ROW;
    }
    if scene.views.len() > MOST_VIEWS {
        let more = format!("and {} more views", scene.views.len() - MOST_VIEWS);
        sheet.text("plain", (44.0, y), Anchor::Start, &more);
    }
    sheet.raw("</svg>");
}

/// Where the next entry of the legend goes.
struct Pen {
    x: f64,
    y: f64,
    right: f64,
}

impl Pen {
    /// Room for a sample of this width and its text; returns where it begins.
    fn entry(&mut self, sheet: &mut Sheet, sample: f64, text: &str) -> (f64, f64) {
        let wide = sample + 8.0 + width(text, 12.0) + 22.0;
        if self.x + wide > self.right {
            self.x = 20.0;
            self.y += ROW;
        }
        let at = (self.x, self.y);
        sheet.text("plain", (at.0 + sample + 8.0, at.1), Anchor::Start, text);
        self.x += wide;
        (at.0, at.1 - 4.0)
    }
}

/// Explains what is in the picture, and only that.
fn legend(sheet: &mut Sheet, pen: &mut Pen, scene: &Scene, axis: &Axis) {
    let has = |wanted: Class| scene.arrows.iter().any(|arrow| arrow.class == wanted);
    for order in [Class::Fifo, Class::Causal, Class::Total].into_iter().filter(|c| has(*c)) {
        let class = class(order);
        let (x, y) = pen.entry(sheet, 34.0, &format!("{class} multicast"));
        let (x1, x2, cy) = (number(x), number(x + 34.0), number(y));
        let head = format!(r#"marker-end="url(#{class}-head)""#);
        sheet.element(&format!(
            r#"line class="arrow {class}" x1="{x1}" y1="{cy}" x2="{x2}" y2="{cy}" {head}"#
        ));
        sheet.element(&format!(r#"circle class="{class}-dot" cx="{x1}" cy="{cy}" r="3.2""#));
    }
    if scene.arrows.iter().any(|arrow| arrow.level == Level::Stable) {
        let (x, y) = pen.entry(sheet, 34.0, "delivered when stable");
        let (x1, x2, y) = (number(x), number(x + 34.0), number(y));
        sheet.element(&format!(
            r#"line class="arrow total stable" x1="{x1}" y1="{y}" x2="{x2}" y2="{y}""#
        ));
    }
    let late = |arrow: &&super::scene::Arrow| {
        arrow.from.0 == arrow.to.0 && axis.x(arrow.to.1) - axis.x(arrow.from.1) >= 6.0
    };
    if let Some(arrow) = scene.arrows.iter().find(late) {
        let (x, y) = pen.entry(sheet, 8.0, "the sender's own delivery");
        let (class, x, y) = (class(arrow.class), number(x + 4.0), number(y));
        sheet.element(&format!(r#"circle class="own {class}" cx="{x}" cy="{y}" r="3""#));
    }
    if !scene.transfers.is_empty() {
        let (x, y) = pen.entry(sheet, 40.0, "checkpoint to a joiner");
        let (x1, x2, y) = (number(x), number(x + 40.0), number(y));
        let head = r#"marker-end="url(#transfer-head)""#;
        sheet.element(&format!(
            r#"line class="transfer" x1="{x1}" y1="{y}" x2="{x2}" y2="{y}" {head}"#
        ));
    }
    bands(sheet, pen, scene);
    let ends = [
        (End::Crash, "crash"),
        (End::Excluded, "excluded by the others"),
        (End::Closed, "left in order"),
        (End::Open, "its lines end here"),
    ];
    for (end, text) in ends {
        let mut all = scene.lanes.iter().flat_map(|lane| &lane.ends);
        if all.any(|(_, other)| *other == end) {
            let (x, y) = pen.entry(sheet, 18.0, text);
            mark(sheet, end, (x + 9.0, y));
        }
    }
}

fn bands(sheet: &mut Sheet, pen: &mut Pen, scene: &Scene) {
    let some = |lane: &super::scene::Lane| lane.bands.iter().any(|band| !band.active);
    if scene.lanes.iter().any(some) {
        let (x, y) = pen.entry(sheet, 30.0, "member still joining");
        let (x, y) = (number(x), number(y - 7.0));
        sheet.element(&format!(
            r#"rect class="v0 band joining" x="{x}" y="{y}" width="30" height="14" rx="3""#
        ));
    }
    if scene.lanes.iter().any(|lane| !lane.blocked.is_empty()) {
        let (x, y) = pen.entry(sheet, 30.0, "blocked: no quorum");
        let (x1, x2, y) = (number(x), number(x + 30.0), number(y));
        sheet.element(&format!(r#"line class="blocked" x1="{x1}" y1="{y}" x2="{x2}" y2="{y}""#));
    }
    if scene.lanes.iter().any(|lane| !lane.told) {
        let (x, y) = pen.entry(sheet, 30.0, "left no file, as others tell");
        let (x1, x2, y) = (number(x), number(x + 30.0), number(y));
        sheet
            .element(&format!(r#"line class="life untold" x1="{x1}" y1="{y}" x2="{x2}" y2="{y}""#));
    }
    if scene.views.len() > 1 {
        let (x, y) = pen.entry(sheet, 26.0, "installs of one view");
        let (x1, x2, y) = (number(x), number(x + 26.0), number(y));
        sheet.element(&format!(
            r#"path class="v0 cutline" style="fill:none" d="M{x1} {y} L{x2} {y}""#
        ));
    }
}

/// One view of the list: its members by rank and what has changed.
fn entry(sheet: &mut Sheet, of: u64, view: &View, y: f64, room: f64) {
    let (colour, top) = (of % 6, number(y - 11.0));
    sheet.element(&format!(
        r#"rect class="v{colour} band" x="20" y="{top}" width="16" height="14" rx="3""#
    ));
    let mut members = Vec::new();
    for (rank, (id, active)) in view.members.iter().enumerate() {
        let joining = if *active { "" } else { " (joining)" };
        members.push(format!("{rank} {}{joining}", name(id)));
    }
    let mut text = format!("view {of}: {}", members.join(" · "));
    // Of the first view all are new.
    let new = view.joined.iter().filter(|_| view.joined.len() < view.members.len());
    for id in new {
        text.push_str(&format!("   + {}", name(id)));
    }
    for (id, reason) in &view.left {
        let reason = match reason {
            Reason::Left => "left",
            Reason::Failed => "failed",
            Reason::Evicted => "evicted",
        };
        text.push_str(&format!("   − {} {reason}", name(id)));
    }
    sheet.text("plain", (44.0, y), Anchor::Start, &cut(&text, 12.0, room - 30.0));
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
