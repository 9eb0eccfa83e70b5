//! Where values lie on an axis, and which of them are written there.

use std::ops::Range;

use plotters::coord::ranged1d::{DefaultFormatting, KeyPointHint, Ranged};

/// A linear axis from zero, or a logarithmic one.
#[derive(Clone, Debug)]
pub(super) struct Scale {
    pub(super) logarithmic: bool,
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
const APART: f64 = 0.03;

impl Scale {
    /// For these values, with round ticks.
    pub(super) fn of(values: impl Iterator<Item = f64>) -> Self {
        let positive = values.filter(|value| *value > 0.0 && value.is_finite());
        let (least, most) = positive.fold((f64::MAX, 0.0), |(least, most): (f64, f64), value| {
            (least.min(value), most.max(value))
        });
        if most == 0.0 {
            return Scale { logarithmic: false, from: 0.0, to: 1.0, ticks: vec![0.0, 1.0] };
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
        Scale { logarithmic: false, from: 0.0, to: last * step, ticks }
    }

    fn round_logarithmic(least: f64, most: f64) -> Self {
        let (from, to) = (least.log10().floor(), most.log10().ceil());
        let digits: &[f64] = if to - from > 3.0 { &[1.0] } else { &[1.0, 2.0, 5.0] };
        let decades = (from as i32..=to as i32).map(f64::from);
        let ticks = decades.flat_map(|decade| digits.iter().map(move |d| decade + d.log10()));
        // Down and up to the next tick only, not to the next decade.
        let ticks: Vec<f64> = ticks.collect();
        let below = ticks.iter().copied().filter(|tick| *tick <= least.log10());
        let above = ticks.iter().copied().filter(|tick| *tick >= most.log10());
        let (from, to) = (below.fold(from, f64::max), above.fold(to, f64::min));
        let ticks = ticks.into_iter().filter(|tick| (from..=to).contains(tick)).collect();
        Scale { logarithmic: true, from, to, ticks }
    }

    /// For exactly these values, which are the ticks as far as there is room.
    pub(super) fn exact(values: &[f64]) -> Self {
        let (least, most) = (values.first().copied(), values.last().copied());
        let (least, most) = (least.unwrap_or(0.0), most.unwrap_or(1.0));
        let mut scale = Scale {
            logarithmic: least > 0.0 && most / least > WIDE,
            from: 0.0,
            to: 0.0,
            ticks: Vec::new(),
        };
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

    /// Where a value lies.
    pub(super) fn place(&self, value: f64) -> f64 {
        match self.logarithmic {
            // Below everything that can be shown: zero has no logarithm.
            true if value <= 0.0 => self.from,
            true => value.log10(),
            false => value,
        }
    }

    /// What lies there.
    pub(super) fn value(&self, place: f64) -> f64 {
        if self.logarithmic { 10_f64.powf(place) } else { place }
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
pub(super) fn short(value: f64) -> String {
    let (divisor, unit) = match value {
        value if value >= 1e6 => (1e6, " M"),
        value if value >= 1e3 => (1e3, " k"),
        _ => (1.0, ""),
    };
    format!("{}{unit}", digits(value / divisor))
}

/// Such as `150 µs`, of microseconds.
pub(super) fn time(micros: f64) -> String {
    let (divisor, unit) = match micros {
        micros if micros >= 1e6 => (1e6, "s"),
        micros if micros >= 1e3 => (1e3, "ms"),
        _ => (1.0, "µs"),
    };
    format!("{} {unit}", digits(micros / divisor))
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
        assert!(!scale.logarithmic);
        assert_eq!((scale.from, scale.to, scale.ticks.len()), (0.0, 2.5e6, 6));
    }

    #[test]
    fn values_far_apart_lie_on_a_logarithmic_axis() {
        let scale = Scale::of([90.0, 60_000.0].into_iter());
        assert!(scale.logarithmic);
        let ticks: Vec<f64> = scale.ticks.iter().map(|tick| scale.value(*tick).round()).collect();
        assert_eq!((ticks.first(), ticks.last()), (Some(&10.0), Some(&100_000.0)));
        assert!(scale.place(0.0) <= scale.place(90.0));
    }

    #[test]
    fn numbers_are_short() {
        assert_eq!([short(0.0), short(250_000.0), short(2.5e6)], ["0", "250 k", "2.5 M"]);
        assert_eq!([time(97.0), time(1_500.0), time(2e6)], ["97 µs", "1.5 ms", "2 s"]);
    }
}
