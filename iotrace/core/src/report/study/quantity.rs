//! The figures of a study in text, with their units.

use crate::report::units::{NONE, Unit, count, rate};

/// A figure with its unit: `28.4 ns per fd`, `1.02 ms`, `3.00 returns`.
pub fn quantity(value: f64, unit: &str) -> String {
    if !value.is_finite() {
        return NONE.to_owned();
    }
    let sign = if value < 0.0 { "-" } else { "" };
    let size = value.abs();
    let (number, rest) = match unit.strip_prefix("ns") {
        Some(rest) if rest.is_empty() || rest.starts_with(' ') => (time(size), rest.to_owned()),
        _ => (rate(size), format!(" {unit}")),
    };
    format!("{sign}{number}{}", rest.trim_end())
}

fn time(ns: f64) -> String {
    match ns {
        0.0 => "0 ns".to_owned(),
        ns if ns < 0.995 => format!("{ns:.3} ns"),
        ns if ns < 9.995 => format!("{ns:.2} ns"),
        ns if ns < 99.95 => format!("{ns:.1} ns"),
        ns => Unit::Auto.show(ns.round() as u64),
    }
}

/// A place on an axis, without a unit: `10,000`.
pub fn point(x: f64) -> String {
    if x.fract() == 0.0 && (0.0..9e15).contains(&x) { count(x as u64) } else { rate(x) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_have_three_digits_and_their_unit() {
        for (value, unit, want) in [
            (28.44, "ns per fd", "28.4 ns per fd"),
            (0.123, "ns per byte", "0.123 ns per byte"),
            (-1.5, "ns", "-1.50 ns"),
            (0.0, "ns", "0 ns"),
            (1_020_000.0, "ns", "1.02 ms"),
            (3.0, "returns", "3.00 returns"),
            (f64::NAN, "ns", "-"),
            (5.0, "nsomething", "5.00 nsomething"),
        ] {
            assert_eq!(quantity(value, unit), want);
        }
        assert_eq!((point(10_000.0), point(2.5)), ("10,000".to_owned(), "2.50".to_owned()));
    }
}
