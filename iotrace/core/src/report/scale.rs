//! The scale of an axis: the place of a value, and the values that get a mark.

/// A linear or logarithmic scale from a lowest to a highest value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scale {
    low: f64,
    high: f64,
    log: bool,
}

impl Scale {
    /// A scale for these values, logarithmic with `log`. `None` if no value can be shown: a logarithmic scale shows
    /// positive values only.
    pub fn of(values: impl IntoIterator<Item = f64>, log: bool) -> Option<Self> {
        let shown: Vec<f64> =
            values.into_iter().filter(|value| value.is_finite() && (!log || *value > 0.0)).collect();
        let low = shown.iter().copied().min_by(f64::total_cmp)?;
        let high = shown.iter().copied().max_by(f64::total_cmp)?;
        let (low, high) = match (log, low == high) {
            (true, _) => {
                let low = decade(low, f64::floor);
                (low, decade(high, f64::ceil).max(low * 10.0))
            }
            (false, true) => (low.min(0.0), high.max(low.min(0.0) + 1.0)),
            (false, false) => (low.min(0.0), high),
        };
        Some(Self { low, high, log })
    }

    /// The place of a value, from 0 to 1; `None` if it is outside the scale.
    pub fn place(&self, value: f64) -> Option<f64> {
        let at = if self.log {
            (value.log10() - self.low.log10()) / (self.high.log10() - self.low.log10())
        } else {
            (value - self.low) / (self.high - self.low)
        };
        (at.is_finite() && (-1e-9..=1.0 + 1e-9).contains(&at)).then(|| at.clamp(0.0, 1.0))
    }

    /// The values that get a mark: powers of ten on a logarithmic scale, else about five even steps.
    pub fn marks(&self) -> Vec<f64> {
        if !self.log {
            let step = round_up((self.high - self.low) / 5.0);
            let first = (self.low / step).ceil();
            return (0..12)
                .map(|n| (first + f64::from(n)) * step)
                .filter(|mark| *mark <= self.high)
                .collect();
        }
        let (first, last) = (self.low.log10().round() as i32, self.high.log10().round() as i32);
        (first..=last).map(|power| 10f64.powi(power)).collect()
    }
}

/// The next power of ten below or above a value, as `round` says. A value that is a power of ten but for rounding
/// errors counts as that power.
fn decade(value: f64, round: fn(f64) -> f64) -> f64 {
    let power = value.log10();
    let near = power.round();
    10f64.powf(if (power - near).abs() < 1e-9 { near } else { round(power) })
}

/// The smallest number that is not below the value and is 1, 2 or 5 times a power of ten.
fn round_up(value: f64) -> f64 {
    let power = decade(value, f64::floor);
    [1.0, 2.0, 5.0, 10.0]
        .into_iter()
        .map(|factor| factor * power)
        .find(|step| *step >= value)
        .unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_logarithmic_scale_ends_at_powers_of_ten() {
        let scale = Scale::of([3.0, 20.0, 700.0], true).unwrap();
        assert_eq!(scale.marks(), [1.0, 10.0, 100.0, 1000.0]);
        assert!((scale.place(10.0).unwrap() - 1.0 / 3.0).abs() < 1e-9);
        assert_eq!((scale.place(0.0), scale.place(-1.0), scale.place(1e9)), (None, None, None));
        assert_eq!(Scale::of([1.0, 10_000.0], true).unwrap().marks().last(), Some(&10_000.0));
        let one = Scale::of([10.0], true).unwrap();
        assert!(one.place(10.0).is_some(), "{one:?}");
    }

    #[test]
    fn a_linear_scale_begins_at_zero_and_has_round_marks() {
        let scale = Scale::of([3.0, 24.0], false).unwrap();
        assert_eq!(scale.marks(), [0.0, 5.0, 10.0, 15.0, 20.0]);
        assert_eq!((scale.place(0.0), scale.place(24.0)), (Some(0.0), Some(1.0)));
        assert!(Scale::of([0.0], false).unwrap().place(0.0).is_some());
        assert_eq!(Scale::of([f64::NAN, -1.0, 0.0], true), None);
    }
}
