//! The lines of the processes and what is on them.

use super::axis::Axis;
use super::legend;
use super::margins::{self, Layout, millis};
use super::names::parts;
use super::scene::{Arrow, Band, End, Lane, Scene, Time};
use super::svg::{Anchor, NAME, SMALL, Sheet, cut, number, width};
use crate::event::{Class, Level};

/// So many colours tell views apart; neighbours differ in lightness too.
pub(super) const COLOURS: u64 = 8;
/// What is as near as this cannot be told apart.
const NEAR: f64 = 1.5;
/// How far it is put aside.
const ASIDE: f64 = 3.0;
/// Half of the height of a band.
const HALF: f64 = 9.0;

/// Draws everything.
pub(super) fn paint(scene: &Scene, axis: &Axis, title: &str) -> String {
    let layout = Layout::new(scene, axis);
    let mut sheet = Sheet::default();
    margins::grid(&mut sheet, &layout, axis);
    cuts(&mut sheet, scene, axis, &layout);
    for (at, lane) in scene.lanes.iter().enumerate() {
        line(&mut sheet, lane, axis, layout.y(at));
    }
    let dense = margins::is_dense(scene);
    sheet.raw(if dense { r#"<g class="dense">"# } else { "<g>" });
    for arrow in scene.arrows.iter().filter(|arrow| arrow.from.0 != arrow.to.0) {
        multicast(&mut sheet, scene, arrow, axis, &layout);
    }
    sheet.raw("</g>");
    for arrow in scene.arrows.iter().filter(|arrow| arrow.from.0 == arrow.to.0) {
        own(&mut sheet, scene, arrow, axis, &layout);
    }
    transfers(&mut sheet, scene, axis, &layout);
    for (at, lane) in scene.lanes.iter().enumerate() {
        points(&mut sheet, lane, axis, layout.y(at), dense);
        for band in &lane.bands {
            label(&mut sheet, band, axis, layout.y(at));
        }
    }
    sizes(&mut sheet, scene, axis, &layout);
    let bottom = legend::close(&mut sheet, &layout, scene, axis);
    let head = margins::open(&layout, bottom, title, scene, axis);
    format!("{head}{}</svg>\n", sheet.finish())
}

/// The name of a class, as histories and styles have it.
pub(super) fn class(class: Class) -> &'static str {
    match class {
        Class::Fifo => "fifo",
        Class::Causal => "causal",
        Class::Total => "total",
    }
}

/// Connects the installs of each view: the cut through the run that it makes.
fn cuts(sheet: &mut Sheet, scene: &Scene, axis: &Axis, layout: &Layout) {
    for number in scene.views.keys() {
        let mut points = Vec::new();
        for (at, lane) in scene.lanes.iter().enumerate() {
            let band = lane.bands.iter().find(|band| band.view == *number && lane.told);
            if let Some(band) = band.filter(|band| axis.window.holds(band.span.0)) {
                points.push((axis.x(band.span.0), layout.y(at)));
            }
        }
        let path = path(&points);
        if points.len() > 1 {
            let colour = number % COLOURS;
            sheet.element(&format!(
                r#"path class="v{colour} cutline" style="fill:none" d="{path}""#
            ));
        }
    }
}

fn path(points: &[(f64, f64)]) -> String {
    let mut path = String::new();
    for (at, (x, y)) in points.iter().enumerate() {
        path.push_str(if at == 0 { "M" } else { " L" });
        path.push_str(&format!("{} {}", number(*x), number(*y)));
    }
    path
}

/// The line of a process, with its views.
fn line(sheet: &mut Sheet, lane: &Lane, axis: &Axis, y: f64) {
    let names = axis.span.0 - 16.0;
    let (name, incarnation) = parts(&lane.process);
    let text = cut(name, NAME, names - 12.0);
    sheet.text("name", (names, y + 1.0), Anchor::End, &text);
    let short = cut(&format!("#{incarnation}"), SMALL, 66.0_f64.min(names));
    sheet.text("small", (names, y + 15.0), Anchor::End, &short);
    let kind = if lane.told { "life" } else { "life untold" };
    let (x1, x2) = (axis.x(lane.life.0), axis.x(lane.life.1));
    let stroke = |sheet: &mut Sheet, x1: f64, x2: f64| {
        let (x1, x2, y) = (number(x1), number(x2), number(y));
        sheet.element(&format!(r#"line class="{kind}" x1="{x1}" y1="{y}" x2="{x2}" y2="{y}""#));
    };
    if lane.told && axis.window.meets(lane.life.0, lane.life.1) {
        stroke(sheet, x1, x2);
    }
    for band in &lane.bands {
        view(sheet, band, axis, y);
    }
    let (first, last) = lane
        .bands
        .first()
        .zip(lane.bands.last())
        .map_or((x1, x2), |(a, b)| (axis.x(a.span.0).max(x1), axis.x(b.span.1).min(x2)));
    // Once more, above the bands.
    stroke(sheet, first, last);
    let y = number(y);
    for (since, until) in &lane.blocked {
        let (x1, x2) = (number(axis.x(*since)), number(axis.x(*until)));
        let element = format!(r#"line class="blocked" x1="{x1}" y1="{y}" x2="{x2}" y2="{y}""#);
        sheet.told(&element, "blocked: no quorum");
    }
}

fn view(sheet: &mut Sheet, band: &Band, axis: &Axis, y: f64) {
    let (left, right) = (axis.x(band.span.0), axis.x(band.span.1));
    let wide = (right - left).max(1.0);
    let joining = if band.active { "" } else { " joining" };
    let class = format!("v{} band{joining}", band.view % COLOURS);
    let (x, top) = (number(left), number(y - HALF));
    let (w, h) = (number(wide), number(2.0 * HALF));
    let (number, rank) = (band.view, band.rank);
    let state = if band.active { "" } else { ", joining" };
    sheet.told(
        &format!(r#"rect class="{class}" x="{x}" y="{top}" width="{w}" height="{h}" rx="3""#),
        &format!("view {number}, rank {rank}{state}: {} ms", span(band.span)),
    );
}

/// The name of a view, above its band, where there is room.
fn label(sheet: &mut Sheet, band: &Band, axis: &Axis, y: f64) {
    let (left, right) = (axis.x(band.span.0), axis.x(band.span.1));
    let (number, rank) = (band.view, band.rank);
    let texts = [format!("view {number} · rank {rank}"), format!("v{number}·{rank}")];
    if let Some(text) = texts.iter().find(|text| width(text, SMALL) + 6.0 < right - left) {
        sheet.text("mark", (left + 3.0, y - HALF - 4.0), Anchor::Start, text);
    }
}

fn span((from, to): (Time, Time)) -> String {
    format!("{} to {}", millis(from), millis(to))
}

/// What a tooltip says of a delivery.
fn story(scene: &Scene, arrow: &Arrow) -> String {
    let (seq, count) = arrow.range;
    let updates = match count {
        1 => format!("update {seq}"),
        _ => format!("{count} updates from {seq}"),
    };
    let position = arrow.position.map_or(String::new(), |at| format!(", position {at}"));
    let level = if arrow.level == Level::Stable { ", when stable" } else { "" };
    format!(
        "{} → {}: view {}, {} {updates}{position}{level}; {} ms",
        scene.who(arrow.from.0),
        scene.who(arrow.to.0),
        arrow.view,
        class(arrow.class),
        span((arrow.from.1, arrow.to.1)),
    )
}

fn multicast(sheet: &mut Sheet, scene: &Scene, arrow: &Arrow, axis: &Axis, layout: &Layout) {
    let class = class(arrow.class);
    let stable = if arrow.level == Level::Stable { " stable" } else { "" };
    let Some(ends) = ends(arrow.from, arrow.to, axis, layout) else { return };
    let aside = aside(&scene.lanes[arrow.from.0], axis, arrow.from.1, arrow.class);
    let [x1, y1, x2, y2] = [ends[0] + aside, ends[1], ends[2] + aside, ends[3]].map(number);
    let (part, head) = match axis.window.holds(arrow.to.1) {
        true if axis.window.holds(arrow.from.1) => ("", format!(r#" {}"#, head(class))),
        true => (" part", format!(r#" {}"#, head(class))),
        false => (" part", String::new()),
    };
    let element = format!(
        r#"line class="arrow {class}{stable}{part}" x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}"{head}"#
    );
    sheet.told(&element, &story(scene, arrow));
}

/// Updates of several classes often leave and arrive together: their arrows are drawn side by side,
/// as otherwise only the last could be seen.
fn aside(lane: &Lane, axis: &Axis, t: Time, order: Class) -> f64 {
    let x = axis.x(t);
    let first = lane.sends.partition_point(|send| axis.x(send.0) < x - NEAR);
    let near = || lane.sends[first..].iter().take_while(|send| axis.x(send.0) <= x + NEAR);
    let classes = [Class::Fifo, Class::Causal, Class::Total].into_iter();
    let before = classes.filter(|class| *class < order && near().any(|send| send.1 == *class));
    ASIDE * before.count() as f64
}

/// The ends of an arrow, cut off at the edges of the window.
fn ends(from: (usize, Time), to: (usize, Time), axis: &Axis, layout: &Layout) -> Option<[f64; 4]> {
    let (y1, y2) = (layout.y(from.0), layout.y(to.0));
    let length = (to.1 - from.1).max(1) as f64;
    let at = |t: Time| {
        let inside = t.clamp(axis.window.from, axis.window.to);
        (axis.x(inside), y1 + (y2 - y1) * (inside - from.1) as f64 / length)
    };
    let (x1, start) = at(from.1);
    // What took no time at all is drawn upright, not as a point.
    let (x2, end) = if to.1 > from.1 { at(to.1) } else { (axis.x(to.1), y2) };
    (x1.is_finite() && x2.is_finite()).then_some([x1, start, x2, end])
}

/// A sender's own delivery, where it is not at the time of its sending.
fn own(sheet: &mut Sheet, scene: &Scene, arrow: &Arrow, axis: &Axis, layout: &Layout) {
    let (x, start) = (axis.x(arrow.to.1), axis.x(arrow.from.1));
    if x - start < 6.0 || !axis.window.holds(arrow.to.1) {
        return;
    }
    let (class, x, y) = (class(arrow.class), number(x), number(layout.y(arrow.to.0)));
    let element = format!(r#"circle class="own {class}" cx="{x}" cy="{y}" r="3""#);
    sheet.told(&element, &story(scene, arrow));
}

fn transfers(sheet: &mut Sheet, scene: &Scene, axis: &Axis, layout: &Layout) {
    for transfer in &scene.transfers {
        let Some(ends) = ends(transfer.from, transfer.to, axis, layout) else { continue };
        let [x1, y1, x2, y2] = ends.map(number);
        let size = margins::bytes(transfer.bytes);
        let (donor, joiner) = (scene.who(transfer.from.0), scene.who(transfer.to.0));
        let (view, span) = (transfer.view, span((transfer.from.1, transfer.to.1)));
        let head = r#"marker-end="url(#transfer-head)""#;
        sheet.told(
            &format!(r#"line class="transfer" x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}" {head}"#),
            &format!("{donor} → {joiner}: checkpoint of view {view}, {size}; {span} ms"),
        );
    }
}

/// How big the checkpoints are, beside their arrow heads.
fn sizes(sheet: &mut Sheet, scene: &Scene, axis: &Axis, layout: &Layout) {
    for transfer in scene.transfers.iter().filter(|transfer| axis.window.holds(transfer.to.1)) {
        let at = (axis.x(transfer.to.1) + 5.0, layout.y(transfer.to.0) + 21.0);
        sheet.text("mark", at, Anchor::Start, &margins::bytes(transfer.bytes));
    }
}

/// Sendings and ends: on top of all.
fn points(sheet: &mut Sheet, lane: &Lane, axis: &Axis, y: f64, dense: bool) {
    let radius = if dense { 2.2 } else { 3.4 };
    for (t, sent, count) in &lane.sends {
        let element = dot(*sent, (axis.x(*t) + aside(lane, axis, *t, *sent), y), radius);
        let class = class(*sent);
        sheet.told(&element, &format!("sends {count} {class}, {} ms", millis(*t)));
    }
    for (t, end) in &lane.ends {
        mark(sheet, *end, (axis.x(*t), y));
    }
}

/// The head of an arrow of this class.
pub(super) fn head(class: &str) -> String {
    format!(r#"marker-end="url(#{class}-head)""#)
}

/// A sending. Its shape tells the order to those who cannot go by the colour.
pub(super) fn dot(order: Class, (x, y): (f64, f64), radius: f64) -> String {
    let (class, r) = (class(order), radius);
    let corners = match order {
        Class::Fifo => {
            let (x, y) = (number(x), number(y));
            return format!(r#"circle class="{class}-dot" cx="{x}" cy="{y}" r="{r}""#);
        }
        Class::Causal => {
            let r = r * 1.35;
            [(x, y - r), (x + r, y), (x, y + r), (x - r, y)]
        }
        Class::Total => {
            let r = r * 0.9;
            [(x - r, y - r), (x + r, y - r), (x + r, y + r), (x - r, y + r)]
        }
    };
    format!(r#"path class="{class}-dot" d="{} Z""#, path(&corners))
}

/// The mark of an end.
pub(super) fn mark(sheet: &mut Sheet, end: End, (x, y): (f64, f64)) {
    let n = number;
    let cross = |half: f64| {
        let (left, right, top, bottom) = (n(x - half), n(x + half), n(y - half), n(y + half));
        format!("M{left} {top} L{right} {bottom} M{left} {bottom} L{right} {top}")
    };
    match end {
        End::Crash => sheet.element(&format!(r#"path class="crash" d="{}""#, cross(9.0))),
        End::Open => sheet.element(&format!(r#"path class="open" d="{}""#, cross(5.5))),
        End::Closed => {
            let (x, top, bottom) = (n(x), n(y - 12.0), n(y + 12.0));
            sheet.element(&format!(r#"path class="closed" d="M{x} {top} L{x} {bottom}""#));
        }
        End::Excluded => {
            let points = [(x, y - 8.0), (x + 8.0, y), (x, y + 8.0), (x - 8.0, y)];
            sheet.element(&format!(r#"path class="excluded" d="{} Z""#, path(&points)));
        }
    }
}
