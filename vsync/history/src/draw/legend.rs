//! What stands below the lines: the legend and the list of views.

use super::axis::Axis;
use super::margins::{Layout, ROW};
use super::paint::{COLOURS, class, dot, head, mark};
use super::scene::{Arrow, End, Lane, Scene, View};
use super::svg::{Anchor, PLAIN, Sheet, cut, number, width};
use crate::event::{Class, Level, Reason};

/// At most this many views are listed.
const MOST_VIEWS: usize = 16;

/// The legend and the list of views; returns where they end.
pub(super) fn close(sheet: &mut Sheet, layout: &Layout, scene: &Scene, axis: &Axis) -> f64 {
    let mut pen = Pen { x: 20.0, y: layout.axis + 80.0, right: layout.width - 20.0 };
    legend(sheet, &mut pen, scene, axis);
    let mut y = pen.y + 34.0;
    for (number, view) in scene.views.iter().take(MOST_VIEWS) {
        entry(sheet, scene, (*number, view), y, layout.width - 40.0);
        y += ROW;
    }
    if scene.views.len() > MOST_VIEWS {
        let more = format!("and {} more views", scene.views.len() - MOST_VIEWS);
        sheet.text("plain", (44.0, y), Anchor::Start, &more);
        y += ROW;
    }
    y
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
        let wide = sample + 8.0 + width(text, PLAIN) + 22.0;
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
        let (x1, x2, cy, head) = (number(x), number(x + 34.0), number(y), head(class));
        sheet.element(&format!(
            r#"line class="arrow {class}" x1="{x1}" y1="{cy}" x2="{x2}" y2="{cy}" {head}"#
        ));
        sheet.element(&dot(order, (x, y), 3.4));
    }
    if let Some(arrow) = scene.arrows.iter().find(|arrow| arrow.level == Level::Stable) {
        let (x, y) = pen.entry(sheet, 34.0, "delivered when stable");
        let (x1, x2, y) = (number(x), number(x + 34.0), number(y));
        let class = class(arrow.class);
        sheet.element(&format!(
            r#"line class="arrow {class} stable" x1="{x1}" y1="{y}" x2="{x2}" y2="{y}""#
        ));
    }
    let inside = |arrow: &Arrow| [arrow.from.1, arrow.to.1].iter().all(|t| axis.window.holds(*t));
    let crosses = |arrow: &&Arrow| arrow.from.0 != arrow.to.0 && !inside(arrow);
    if let Some(arrow) = scene.arrows.iter().find(crosses) {
        let (x, y) = pen.entry(sheet, 34.0, "begins or ends outside the window");
        let (class, x1, x2, y) = (class(arrow.class), number(x), number(x + 34.0), number(y));
        sheet.element(&format!(
            r#"line class="arrow {class} part" x1="{x1}" y1="{y}" x2="{x2}" y2="{y}""#
        ));
    }
    let late = |arrow: &&Arrow| {
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
        let head = head("transfer");
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
    let some = |lane: &Lane| lane.bands.iter().any(|band| !band.active);
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
fn entry(sheet: &mut Sheet, scene: &Scene, (of, view): (u64, &View), y: f64, room: f64) {
    let name = |id| scene.names.get(id);
    let (colour, top) = (of % COLOURS, number(y - 11.0));
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
        text.push_str(&format!("\u{a0}\u{a0} + {}", name(id)));
    }
    for (id, reason) in &view.left {
        let reason = match reason {
            Reason::Left => "left",
            Reason::Failed => "failed",
            Reason::Evicted => "evicted",
        };
        text.push_str(&format!("\u{a0}\u{a0} − {} {reason}", name(id)));
    }
    sheet.text("plain", (44.0, y), Anchor::Start, &cut(&text, PLAIN, room - 30.0));
}
