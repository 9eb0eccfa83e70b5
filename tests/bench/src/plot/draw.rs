//! Draws a plot, for light and for dark pages: nothing behind it, and colours that both carry.

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::scale::{Law, Scale};
use super::{Look, Point, Series, Unit, places};

/// All that is drawn.
#[derive(Debug)]
pub(super) struct Plot {
    pub(super) title: String,
    /// What holds for all curves, and what the bars are.
    pub(super) said: String,
    pub(super) x: Side,
    pub(super) y: Side,
    pub(super) series: Vec<Series>,
    /// Where a line is drawn across all.
    pub(super) line: Option<f64>,
}

/// What is along an axis.
#[derive(Debug)]
pub(super) struct Side {
    pub(super) name: &'static str,
    pub(super) unit: Unit,
}

const SIZE: (u32, u32) = (860, 420);
/// Room above for what is shown.
const HEADING: u32 = 34;
/// Text below the title that is not cut.
const HEADING_TEXT: usize = 125;
/// Room at the right for what the curves are.
const LEGEND: u32 = 196;
/// Text of a legend that is not cut.
const LEGEND_TEXT: usize = 24;
const LINE: i32 = 18;
const GREY: RGBColor = RGBColor(0x80, 0x80, 0x80);
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

/// The plots below one another, as a document.
pub(super) fn svg(plots: &[Plot]) -> Result<String, String> {
    let mut svg = String::new();
    {
        let size = (SIZE.0, SIZE.1 * plots.len() as u32);
        let root = SVGBackend::with_string(&mut svg, size).into_drawing_area();
        for (plot, area) in plots.iter().zip(root.split_evenly((plots.len(), 1))) {
            let below = wrapped(&plot.said, HEADING_TEXT);
            let height = HEADING + LINE as u32 * below.len() as u32;
            let (title, rest) = area.split_vertically(height);
            heading(&title, &plot.title, below)?;
            let (left, right) = rest.split_horizontally(SIZE.0 - LEGEND);
            curves(&left, plot)?;
            legend(&right, plot)?;
        }
        root.present().map_err(text)?;
    }
    Ok(svg)
}

fn heading(area: &Area<'_>, title: &str, below: Vec<String>) -> Result<(), String> {
    area.draw(&Text::new(title, (14, 10), font(17))).map_err(text)?;
    for (line, said) in below.into_iter().enumerate() {
        let place = (14, HEADING as i32 + LINE * line as i32);
        area.draw(&Text::new(said, place, font(13))).map_err(text)?;
    }
    Ok(())
}

/// The axes for these curves.
fn scales(plot: &Plot) -> (Scale, Scale) {
    let places = places(&plot.series);
    let x = match &plot.x.unit {
        Unit::Percent => Scale::percentiles(places.last().copied().unwrap_or(0.0)),
        Unit::Names(names) => Scale::names(names.len()),
        _ => Scale::exact(&places),
    };
    let points = plot.series.iter().flat_map(|series| &series.points);
    let y = points.flat_map(|point| [point.low, point.y, point.high]).chain(plot.line);
    (x, Scale::of(y))
}

fn curves(area: &Area<'_>, plot: &Plot) -> Result<(), String> {
    let (x, y) = scales(plot);
    let mut chart = ChartBuilder::on(area)
        .margin_top(10)
        .margin_left(8)
        .margin_right(16)
        .x_label_area_size(46)
        .y_label_area_size(78)
        .build_cartesian_2d(x.clone(), y.clone())
        .map_err(text)?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .bold_line_style(GREY.mix(0.35))
        .light_line_style(TRANSPARENT)
        .axis_style(GREY)
        .label_style(font(13))
        .axis_desc_style(font(14))
        .x_desc(name(&plot.x, &x))
        .y_desc(name(&plot.y, &y))
        .x_label_formatter(&|value| plot.x.unit.label(*value))
        .y_label_formatter(&|value| plot.y.unit.label(*value))
        .draw()
        .map_err(text)?;
    if let Some(line) = plot.line {
        let ends = [(x.value(x.from), line), (x.value(x.to), line)];
        chart.draw_series([PathElement::new(ends, GREY.stroke_width(2))]).map_err(text)?;
    }
    let number = plot.series.len();
    for (index, series) in plot.series.iter().enumerate() {
        let colour = colour(index);
        let step = if matches!(plot.x.unit, Unit::Names(_)) { 0.03 } else { 0.007 };
        // Beside those of the other curves, which they would hide.
        let beside = (index as f64 - (number as f64 - 1.0) / 2.0) * step * (x.to - x.from);
        let beside = if series.look == Look::Curve { 0.0 } else { beside };
        let place = |point: &Point| x.value(x.place(point.x) + beside);
        let middle = || series.points.iter().map(|point| (place(point), point.y));
        if series.look != Look::Dots {
            let line = LineSeries::new(middle(), colour.stroke_width(2));
            chart.draw_series(line).map_err(text)?;
        }
        if series.look == Look::Curve {
            continue;
        }
        let bar = |point: &Point| {
            let ends = [(place(point), point.low), (place(point), point.high)];
            PathElement::new(ends, colour.mix(0.6).stroke_width(2))
        };
        chart.draw_series(series.points.iter().map(bar)).map_err(text)?;
        let dots = PointSeries::<_, _, Circle<_, _>, _>::new(middle(), 4, colour.filled());
        chart.draw_series(dots).map_err(text)?;
        if matches!(plot.x.unit, Unit::Names(_)) {
            // Nobody reads a factor off an axis. Away from the line, which would strike it out.
            // At the side where the next curve's dot is not.
            let (side, beside) =
                if index + 1 < number { (HPos::Right, -7) } else { (HPos::Left, 7) };
            let style = font(12).pos(Pos::new(side, VPos::Center));
            let number = |point: &Point| {
                let below = plot.line.map_or(0, |line| if point.y < line { 9 } else { -9 });
                let label = Text::new(plot.y.unit.label(point.y), (beside, below), style.clone());
                EmptyElement::at((place(point), point.y)) + label
            };
            chart.draw_series(series.points.iter().map(number)).map_err(text)?;
        }
    }
    Ok(())
}

fn name(side: &Side, scale: &Scale) -> String {
    let law = if scale.law == Law::Logarithmic { " (logarithmic)" } else { "" };
    format!("{}{law}", side.name)
}

/// Beside the curves, where it hides none of them.
fn legend(area: &Area<'_>, plot: &Plot) -> Result<(), String> {
    let mut y = 18;
    for (index, series) in plot.series.iter().enumerate() {
        let colour = colour(index);
        if series.look != Look::Dots {
            let sample = PathElement::new([(4, y), (28, y)], colour.stroke_width(2));
            area.draw(&sample).map_err(text)?;
        }
        if series.look != Look::Curve {
            area.draw(&Circle::new((16, y), 4, colour.filled())).map_err(text)?;
        }
        for line in wrapped(&series.label, LEGEND_TEXT) {
            let style = font(13).pos(Pos::new(HPos::Left, VPos::Center));
            area.draw(&Text::new(line, (36, y), style)).map_err(text)?;
            y += LINE;
        }
        y += LINE / 3;
    }
    Ok(())
}

/// In lines of at most so many characters, unless a word has more.
fn wrapped(label: &str, most: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in label.split(' ') {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= most => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}
