//! Draws a plot, for light and for dark pages: nothing behind it, and colours that both carry.

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::scale::{Scale, short, time};
use super::{Point, Series};
use crate::options::{Axis, Kind};

/// All that is drawn.
pub(super) struct Plot {
    pub(super) kind: Kind,
    pub(super) x: Axis,
    /// What holds for all curves.
    pub(super) said: String,
    pub(super) series: Vec<Series>,
    /// All x that there are, growing.
    pub(super) places: Vec<f64>,
}

const SIZE: (u32, u32) = (860, 440);
/// Room at the right for what the curves are.
const LEGEND: u32 = 190;
/// Text of a legend that is not cut.
const LEGEND_TEXT: usize = 24;
const LINE: i32 = 18;
const GREY: RGBColor = RGBColor(0x88, 0x88, 0x88);
const COLOURS: [RGBColor; 8] = [
    RGBColor(0x2f, 0x81, 0xf7),
    RGBColor(0xe8, 0x71, 0x0a),
    RGBColor(0x1f, 0xa3, 0x5c),
    RGBColor(0xd6, 0x3f, 0x8c),
    RGBColor(0x8e, 0x5b, 0xe0),
    RGBColor(0x0f, 0xa3, 0xb1),
    RGBColor(0xb0, 0x8a, 0x00),
    RGBColor(0xd1, 0x43, 0x3b),
];

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

fn text(error: impl ToString) -> String {
    error.to_string()
}

fn font(size: u32) -> TextStyle<'static> {
    ("sans-serif", size).into_font().color(&GREY)
}

fn colour(index: usize) -> RGBColor {
    COLOURS[index % COLOURS.len()]
}

/// The plot as a document.
pub(super) fn svg(plot: &Plot) -> Result<String, String> {
    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        let (title, rest) = root.split_vertically(52);
        heading(&title, plot)?;
        let (left, right) = rest.split_horizontally(SIZE.0 - LEGEND);
        curves(&left, plot)?;
        legend(&right, plot)?;
        root.present().map_err(text)?;
    }
    Ok(svg)
}

fn heading(area: &Area<'_>, plot: &Plot) -> Result<(), String> {
    let (what, bars) = match plot.kind {
        Kind::Throughput => ("Updates applied at every member", "median; bars: least and most"),
        Kind::Latency => ("Time of an awaited call", "median; bars: 10th and 99th percentile"),
    };
    let below = format!("{} ({bars})", plot.said);
    area.draw(&Text::new(what, (14, 10), font(17))).map_err(text)?;
    area.draw(&Text::new(below, (14, 33), font(13))).map_err(text)
}

fn curves(area: &Area<'_>, plot: &Plot) -> Result<(), String> {
    let points = || plot.series.iter().flat_map(|series| &series.points);
    let x = Scale::exact(&plot.places);
    let y = Scale::of(points().flat_map(|point| [point.low, point.y, point.high]));
    let mut chart = ChartBuilder::on(area)
        .margin_top(10)
        .margin_left(8)
        .margin_right(16)
        .x_label_area_size(46)
        .y_label_area_size(74)
        .build_cartesian_2d(x.clone(), y.clone())
        .map_err(text)?;
    let x_label = |value: &f64| value.round().to_string();
    let y_label = |value: &f64| match plot.kind {
        Kind::Throughput => short(*value),
        Kind::Latency => time(*value),
    };
    let (x_name, y_name) = (x_name(plot.x, &x), y_name(plot.kind, &y));
    chart
        .configure_mesh()
        .disable_x_mesh()
        .bold_line_style(GREY.mix(0.35))
        .light_line_style(TRANSPARENT)
        .axis_style(GREY)
        .label_style(font(13))
        .axis_desc_style(font(14))
        .x_desc(x_name)
        .y_desc(y_name)
        .x_label_formatter(&x_label)
        .y_label_formatter(&y_label)
        .draw()
        .map_err(text)?;
    for (index, series) in plot.series.iter().enumerate() {
        let colour = colour(index);
        let middle = || series.points.iter().map(|point| (point.x, point.y));
        let line = LineSeries::new(middle(), colour.stroke_width(2));
        chart.draw_series(line).map_err(text)?;
        let bar = |point: &Point| {
            let ends = [(point.x, point.low), (point.x, point.high)];
            PathElement::new(ends, colour.mix(0.6).stroke_width(2))
        };
        chart.draw_series(series.points.iter().map(bar)).map_err(text)?;
        let dots = PointSeries::<_, _, Circle<_, _>, _>::new(middle(), 4, colour.filled());
        chart.draw_series(dots).map_err(text)?;
    }
    Ok(())
}

fn x_name(axis: Axis, scale: &Scale) -> String {
    let name = match axis {
        Axis::Members => "members",
        Axis::Size => "payload of an update, bytes",
        Axis::Senders => "members that send",
    };
    format!("{name}{}", kind_of(scale))
}

fn y_name(kind: Kind, scale: &Scale) -> String {
    let name = match kind {
        Kind::Throughput => "updates per second",
        Kind::Latency => "time",
    };
    format!("{name}{}", kind_of(scale))
}

fn kind_of(scale: &Scale) -> &'static str {
    if scale.logarithmic { " (logarithmic)" } else { "" }
}

/// Beside the curves, where it hides none of them.
fn legend(area: &Area<'_>, plot: &Plot) -> Result<(), String> {
    let mut y = 18;
    for (index, series) in plot.series.iter().enumerate() {
        let colour = colour(index);
        let sample = PathElement::new([(4, y), (28, y)], colour.stroke_width(2));
        area.draw(&sample).map_err(text)?;
        area.draw(&Circle::new((16, y), 4, colour.filled())).map_err(text)?;
        for line in wrapped(&series.label) {
            let style = font(13).pos(Pos::new(HPos::Left, VPos::Center));
            area.draw(&Text::new(line, (36, y), style)).map_err(text)?;
            y += LINE;
        }
        y += LINE / 3;
    }
    Ok(())
}

/// In lines that fit beside the plot.
fn wrapped(label: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in label.split(' ') {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= LEGEND_TEXT => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}
