//! The law that a curve follows: a power, by least squares on logarithms.

use serde::Serialize;

/// `y = factor * x ^ exponent`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Law {
    /// What stands before the power.
    pub factor: f64,
    /// The power.
    pub exponent: f64,
    /// How much of the curve it explains, up to 1.
    pub fit: f64,
}

/// The power law through some points; `None` where fewer than two differ in `x`, or a value has no
/// logarithm.
pub fn power(points: &[(f64, f64)]) -> Option<Law> {
    if points.iter().any(|&(x, y)| x <= 0.0 || y <= 0.0) {
        return None;
    }
    let logs: Vec<(f64, f64)> = points.iter().map(|&(x, y)| (x.ln(), y.ln())).collect();
    let count = logs.len() as f64;
    let mean = |of: fn(&(f64, f64)) -> f64| logs.iter().map(of).sum::<f64>() / count;
    let (mx, my) = (mean(|point| point.0), mean(|point| point.1));
    let spread: f64 = logs.iter().map(|(x, _)| (x - mx).powi(2)).sum();
    if logs.len() < 2 || spread < 1e-12 {
        return None;
    }
    let exponent = logs.iter().map(|(x, y)| (x - mx) * (y - my)).sum::<f64>() / spread;
    let offset = my - exponent * mx;
    let missed: f64 = logs.iter().map(|(x, y)| (y - offset - exponent * x).powi(2)).sum();
    let all: f64 = logs.iter().map(|(_, y)| (y - my).powi(2)).sum();
    let fit = if all < 1e-12 { 1.0 } else { 1.0 - missed / all };
    Some(Law { factor: offset.exp(), exponent, fit })
}

#[cfg(test)]
mod tests {
    use super::power;

    fn close(one: f64, two: f64) -> bool {
        (one - two).abs() < 1e-9 * two.abs().max(1.0)
    }

    #[test]
    fn a_power_is_found_again() {
        let points: Vec<_> = [2.0, 4.0, 16.0, 100.0].map(|x: f64| (x, 3.0 * x.powf(1.5))).into();
        let law = power(&points).unwrap();
        assert!(close(law.factor, 3.0) && close(law.exponent, 1.5) && close(law.fit, 1.0));
    }

    #[test]
    fn what_does_not_grow_has_the_exponent_zero() {
        let law = power(&[(2.0, 7.0), (8.0, 7.0), (64.0, 7.0)]).unwrap();
        assert!(close(law.factor, 7.0) && close(law.exponent, 0.0));
    }

    /// By hand: ln 1, ln 2, ln 4 against ln 1, ln 4, ln 8 is 0, 1, 2 against 0, 2, 3 in units of
    /// ln 2: slope 1.5, offset 1/6, 1/6 of 14/3 missed.
    #[test]
    fn what_is_no_power_is_met_in_the_middle() {
        let law = power(&[(1.0, 1.0), (2.0, 4.0), (4.0, 8.0)]).unwrap();
        assert!(close(law.exponent, 1.5), "{law:?}");
        assert!(close(law.factor, 2f64.powf(1.0 / 6.0)), "{law:?}");
        assert!(close(law.fit, 1.0 - (1.0 / 6.0) / (14.0 / 3.0)), "{law:?}");
    }

    #[test]
    fn points_without_a_law_have_none() {
        assert_eq!(power(&[]), None);
        assert_eq!(power(&[(2.0, 3.0)]), None);
        assert_eq!(power(&[(2.0, 3.0), (2.0, 4.0)]), None);
        assert_eq!(power(&[(2.0, 3.0), (4.0, 0.0)]), None);
    }
}
