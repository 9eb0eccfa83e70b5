//! Where values lie on an axis, and which of them are written there.

use std::ops::Range;

use plotters::coord::ranged1d::{DefaultFormatting, KeyPointHint, Ranged};

/// What the numbers along an axis are, and how they are written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Unit {
    Number,
    /// Such as `2.5 M`.
    Short,
    /// Such as `64 KiB`.
    Bytes,
    /// Such as `1.5 ms`; the values are microseconds.
    Micros,
    /// Percentiles: on an axis as far from all as there are nines.
    Percent,
    /// Such as `0.5 ×`.
    Factor,
    /// What stands at 0, 1, 2 and so on.
    Names(Vec<String>),
}

impl Unit {
    /// As it is written beside an axis.
    pub(super) fn label(&self, value: f64) -> String {
        match self {
            Unit::Number => value.round().to_string(),
            Unit::Short => short(value),
            Unit::Bytes => bytes(value),
            Unit::Micros => time(value),
            Unit::Percent => format!("{} %", digits(value)),
            // Three digits say enough of how often one is the other.
            Unit::Factor if value >= 100.0 => format!("{value:.0} ×"),
            Unit::Factor if value >= 10.0 => format!("{} ×", (value * 10.0).round() / 10.0),
            Unit::Factor => format!("{} ×", digits(value)),
            Unit::Names(names) => names.get(value.round() as usize).cloned().unwrap_or_default(),
        }
    }
}

/// How far apart values lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Law {
    Linear,
    Logarithmic,
    /// 90, 99 and 99.9 % are as far apart.
    Nines,
}

/// A linear axis from zero, or another one.
#[derive(Clone, Debug)]
pub(super) struct Scale {
    pub(super) law: Law,
    pub(super) from: f64,
    pub(super) to: f64,
    /// Values with a line and a number; as they lie on the axis, like the ends.
    pub(super) ticks: Vec<f64>,
}

/// Largest ÷ smallest beyond which an axis is logarithmic.
const WIDE: f64 = 20.0;
/// About how many ticks.
const TICKS: f64 = 6.0;
/// How close two ticks may be, as a share of the axis.
const APART: f64 = 0.045;
/// Ticks of percentiles, as far as there are values.
const PERCENTILES: [f64; 6] = [0.0, 50.0, 90.0, 99.0, 99.9, 99.99];

impl Scale {
    /// For these values, with round ticks.
    pub(super) fn of(values: impl Iterator<Item = f64>) -> Self {
        let positive = values.filter(|value| *value > 0.0 && value.is_finite());
        let (least, most) = positive.fold((f64::MAX, 0.0), |(least, most): (f64, f64), value| {
            (least.min(value), most.max(value))
        });
        if most == 0.0 {
            let ticks = vec![0.0, 1.0];
            return Scale { law: Law::Linear, from: 0.0, to: 1.0, ticks };
        }
        if most / least > WIDE {
            Self::round_logarithmic(least, most)
        } else {
            Self::round_linear(most)
        }
    }

    fn round_linear(most: f64) -> Self {
        let rough = most / TICKS;
        let power = 10_f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0].map(|digit| digit * power);
        let step = step.into_iter().find(|step| *step >= rough).unwrap_or(rough);
        let last = (most / step).ceil();
        let ticks = (0..=last as u32).map(|number| f64::from(number) * step).collect();
        Scale { law: Law::Linear, from: 0.0, to: last * step, ticks }
    }

    fn round_logarithmic(least: f64, most: f64) -> Self {
        let (first, last) = (least.log10().floor(), most.log10().ceil());
        let decades = || (first as i32..=last as i32).map(f64::from);
        let round = |digits: &'static [f64]| {
            decades().flat_map(move |decade| digits.iter().map(move |d| decade + d.log10()))
        };
        // Down and up to the next round value only, not to the next decade.
        let below = round(&[1.0, 2.0, 5.0]).filter(|place| *place <= least.log10());
        let above = round(&[1.0, 2.0, 5.0]).filter(|place| *place >= most.log10());
        let (from, to) = (below.fold(first, f64::max), above.fold(last, f64::min));
        let digits: &[f64] = if last - first > 3.0 { &[1.0] } else { &[1.0, 2.0, 5.0] };
        let ticks = round(digits).filter(|tick| (from..=to).contains(tick)).collect();
        Scale { law: Law::Logarithmic, from, to, ticks }
    }

    /// For exactly these values, which are the ticks as far as there is room.
    pub(super) fn exact(values: &[f64]) -> Self {
        let (least, most) = (values.first().copied(), values.last().copied());
        let (least, most) = (least.unwrap_or(0.0), most.unwrap_or(1.0));
        let law = match least > 0.0 && most / least > WIDE {
            true => Law::Logarithmic,
            false => Law::Linear,
        };
        let mut scale = Scale { law, from: 0.0, to: 0.0, ticks: Vec::new() };
        let (from, to) = (scale.place(least), scale.place(most));
        let margin = if to > from { (to - from) * 0.04 } else { 1.0 };
        (scale.from, scale.to) = (from - margin, to + margin);
        let apart = APART * (scale.to - scale.from);
        for value in values {
            let place = scale.place(*value);
            if scale.ticks.last().is_none_or(|last| place - last >= apart) {
                scale.ticks.push(place);
            }
        }
        scale
    }

    /// For so many names, with room for a number beside each.
    pub(super) fn names(number: usize) -> Self {
        let ticks: Vec<f64> = (0..number).map(|place| place as f64).collect();
        Scale { law: Law::Linear, from: -0.8, to: number as f64 - 0.4, ticks }
    }

    /// For percentiles up to this one.
    pub(super) fn percentiles(most: f64) -> Self {
        let mut scale = Scale { law: Law::Nines, from: 0.0, to: 0.0, ticks: Vec::new() };
        scale.to = scale.place(most).max(scale.place(90.0)) * 1.02;
        let ticks = PERCENTILES.map(|percent| scale.place(percent));
        scale.ticks = ticks.into_iter().filter(|tick| *tick <= scale.to).collect();
        scale
    }

    /// Where a value lies.
    pub(super) fn place(&self, value: f64) -> f64 {
        match self.law {
            // Below everything that can be shown: zero has no logarithm.
            Law::Logarithmic if value <= 0.0 => self.from,
            Law::Logarithmic => value.log10(),
            Law::Nines => -(1.0 - value / 100.0).log10(),
            Law::Linear => value,
        }
    }

    /// What lies there.
    pub(super) fn value(&self, place: f64) -> f64 {
        match self.law {
            Law::Logarithmic => 10_f64.powf(place),
            Law::Nines => 100.0 * (1.0 - 10_f64.powf(-place)),
            Law::Linear => place,
        }
    }
}

impl Ranged for Scale {
    type FormatOption = DefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, (first, last): (i32, i32)) -> i32 {
        let share = (self.place(*value) - self.from) / (self.to - self.from);
        first + (share * f64::from(last - first)).round() as i32
    }

    fn key_points<H: KeyPointHint>(&self, hint: H) -> Vec<f64> {
        // Asked for lines with numbers first, then for finer ones, of which there are none.
        match hint.weight().allow_light_points() {
            true => Vec::new(),
            false => self.ticks.iter().map(|tick| self.value(*tick)).collect(),
        }
    }

    fn range(&self) -> Range<f64> {
        self.value(self.from)..self.value(self.to)
    }
}

/// Such as `2.5 M`.
fn short(value: f64) -> String {
    let (divisor, unit) = match value {
        value if value >= 1e6 => (1e6, " M"),
        value if value >= 1e3 => (1e3, " k"),
        _ => (1.0, ""),
    };
    format!("{}{unit}", digits(value / divisor))
}

/// Such as `150 µs`, of microseconds.
fn time(micros: f64) -> String {
    let (divisor, unit) = match micros {
        0.0 => return "0".to_owned(),
        micros if micros >= 1e6 => (1e6, "s"),
        micros if micros >= 1e3 => (1e3, "ms"),
        _ => (1.0, "µs"),
    };
    format!("{} {unit}", digits(micros / divisor))
}

/// Such as `64 KiB`.
fn bytes(value: f64) -> String {
    let units = [(f64::from(1 << 30), "GiB"), (f64::from(1 << 20), "MiB"), (1024.0, "KiB")];
    match units.into_iter().find(|(unit, _)| value >= *unit) {
        Some((unit, name)) => format!("{} {name}", digits(value / unit)),
        None => format!("{} B", digits(value)),
    }
}

/// Three digits, without zeros at the end of a fraction.
fn digits(value: f64) -> String {
    let rounded = (value * 100.0).round() / 100.0;
    format!("{rounded}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_values_lie_on_a_linear_axis_from_zero() {
        let scale = Scale::of([0.4e6, 2.3e6].into_iter());
        assert_eq!(scale.law, Law::Linear);
        assert_eq!((scale.from, scale.to, scale.ticks.len()), (0.0, 2.5e6, 6));
    }

    #[test]
    fn values_far_apart_lie_on_a_logarithmic_axis() {
        let scale = Scale::of([90.0, 60_000.0].into_iter());
        assert_eq!(scale.law, Law::Logarithmic);
        let ticks: Vec<f64> = scale.ticks.iter().map(|tick| scale.value(*tick).round()).collect();
        assert_eq!((ticks.first(), ticks.last()), (Some(&100.0), Some(&100_000.0)));
        assert_eq!(scale.value(scale.from).round(), 50.0);
        assert!(scale.place(0.0) <= scale.place(90.0));
    }

    #[test]
    fn percentiles_lie_by_their_nines() {
        let scale = Scale::percentiles(99.0);
        let ticks: Vec<String> =
            scale.ticks.iter().map(|tick| Unit::Percent.label(scale.value(*tick))).collect();
        assert_eq!(ticks, ["0 %", "50 %", "90 %", "99 %"]);
        let apart = |a: f64, b: f64| scale.place(b) - scale.place(a);
        assert!((apart(90.0, 99.0) - apart(99.0, 99.9)).abs() < 1e-9);
        assert!(scale.to >= scale.place(99.0));
    }

    #[test]
    fn units_are_written() {
        assert_eq!(Unit::Bytes.label(100.0), "100 B");
        assert_eq!(Unit::Bytes.label(65_536.0), "64 KiB");
        assert_eq!(Unit::Bytes.label(268_435_456.0), "256 MiB");
        let factors = [0.517, 13.54, 374.28, 100.0].map(|factor| Unit::Factor.label(factor));
        assert_eq!(factors, ["0.52 ×", "13.5 ×", "374 ×", "100 ×"]);
        let names = Unit::Names(vec!["a".to_owned(), "b".to_owned()]);
        assert_eq!([names.label(1.0), names.label(2.0)], ["b", ""]);
    }

    #[test]
    fn numbers_are_short() {
        assert_eq!([short(0.0), short(250_000.0), short(2.5e6)], ["0", "250 k", "2.5 M"]);
        assert_eq!([time(97.0), time(1_500.0), time(2e6)], ["97 µs", "1.5 ms", "2 s"]);
        assert_eq!(time(0.0), "0");
    }
}
