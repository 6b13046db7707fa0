//! Numbers for people: three significant digits, the unit next to the number, narrow enough for a column.

use clap::ValueEnum;

/// The sign for a figure that was not measured or does not apply.
pub const NONE: &str = "-";

/// Unit of all times of a report.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Unit {
    /// For each time the unit that fits it.
    #[default]
    Auto,
    /// Nanoseconds.
    Ns,
    /// Microseconds.
    Us,
    /// Milliseconds.
    Ms,
}

/// The units: name, length in ns, and the first number that is shown in the next unit.
const LADDER: [(&str, f64, f64); 6] = [
    ("ns", 1.0, 999.5),
    ("us", 1e3, 999.5),
    ("ms", 1e6, 999.5),
    ("s", 1e9, 86_399.5),
    ("d", 86_400e9, 999.5),
    ("y", 365.25 * 86_400e9, f64::INFINITY),
];

/// Columns of the widest [`Unit::cell`]: longer numbers are written with an exponent.
const CELL: usize = 9;

impl Unit {
    /// A time with its unit: `843 ns`, `12.4 us`, `1.02 ms`.
    pub fn show(self, ns: u64) -> String {
        let (_, name) = self.forced().unwrap_or((0.0, ""));
        if name.is_empty() { auto(ns) } else { format!("{} {name}", self.cell(ns)) }
    }

    /// A time for a column of a table: like [`Unit::show`], but without a forced unit, which the heading names.
    pub fn cell(self, ns: u64) -> String {
        match self.forced() {
            _ if ns == 0 => "0".to_owned(),
            None => auto(ns),
            Some((length, _)) => forced(ns, length),
        }
    }

    /// [`Unit::cell`], or `-` if the time was not measured.
    pub fn cell_or_none(self, ns: Option<u64>) -> String {
        ns.map_or_else(|| NONE.to_owned(), |ns| self.cell(ns))
    }

    /// The forced unit in words for a heading: `times in us`; empty if every time has a unit of its own.
    pub fn heading(self) -> String {
        self.forced().map_or_else(String::new, |(_, name)| format!("times in {name}"))
    }

    fn forced(self) -> Option<(f64, &'static str)> {
        match self {
            Unit::Auto => None,
            Unit::Ns => Some((1.0, "ns")),
            Unit::Us => Some((1e3, "us")),
            Unit::Ms => Some((1e6, "ms")),
        }
    }
}

fn auto(ns: u64) -> String {
    for (name, length, limit) in LADDER {
        let value = ns as f64 / length;
        if value < limit {
            let decimals = if name == "ns" { 0 } else { decimals(value) };
            return format!("{value:.decimals$} {name}");
        }
    }
    unreachable!("the last limit is infinite")
}

/// A time in a forced unit with at least three significant digits, so that a short copy in ms is not 0.
fn forced(ns: u64, length: f64) -> String {
    let value = ns as f64 / length;
    // More decimals would be finer than a nanosecond, the precision of the measurement.
    let finest = length.log10() as usize;
    let wanted = if value >= 1.0 { decimals(value) } else { 2 + (-value.log10()).ceil() as usize };
    let text = format!("{value:.*}", wanted.min(finest));
    if text.len() > CELL { format!("{value:.2e}") } else { text }
}

/// Number of decimals that give a value of at least one three significant digits.
fn decimals(value: f64) -> usize {
    match value {
        value if value < 9.995 => 2,
        value if value < 99.95 => 1,
        _ => 0,
    }
}

/// A count with thousands separators: `12,345`.
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A count in at most six columns: `12,345`, then `123k`, `1.23M`.
pub fn compact(number: u64) -> String {
    if number < 100_000 { count(number) } else { scaled(number as f64) }
}

/// A rate in at most five columns: `1.00`, `12.3`, `104`, `1,205`, `12.3k`.
pub fn rate(number: f64) -> String {
    match number {
        number if !number.is_finite() => NONE.to_owned(),
        0.0 => "0".to_owned(),
        number if number < 999.5 => format!("{number:.*}", decimals(number)),
        number if number < 9_999.5 => count(number.round() as u64),
        number => scaled(number),
    }
}

fn scaled(number: f64) -> String {
    let mut value = number;
    for suffix in ["", "k", "M", "G", "T", "P", "E"] {
        if value < 999.5 {
            return format!("{value:.*}{suffix}", decimals(value));
        }
        value /= 1000.0;
    }
    format!("{number:.0e}")
}

/// A number of bytes in the unit that fits it: `512 B`, `1.0 KiB`.
pub fn bytes(number: u64) -> String {
    let mut value = number as f64;
    for unit in ["B", "KiB", "MiB", "GiB", "TiB", "PiB"] {
        if value < 1024.0 {
            return if unit == "B" { format!("{number} B") } else { format!("{value:.1} {unit}") };
        }
        value /= 1024.0;
    }
    format!("{value:.1} EiB")
}

/// The share of `part` in `whole`: `99.3 %`. `0 %` and `100 %` are exact; a share near them is `<0.1 %` or `>99.9 %`.
pub fn percent(part: u64, whole: u64) -> String {
    let share = part as f64 / whole as f64 * 100.0;
    match share {
        _ if whole == 0 => NONE.to_owned(),
        _ if part == 0 => "0 %".to_owned(),
        _ if part == whole => "100 %".to_owned(),
        share if share < 0.05 => "<0.1 %".to_owned(),
        share if share >= 99.95 => ">99.9 %".to_owned(),
        share => format!("{share:.1} %"),
    }
}

/// A count with its noun: `1 message`, `200 messages`.
pub fn plural(number: u64, noun: &str) -> String {
    format!("{} {noun}{}", count(number), if number == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_gets_the_unit_that_fits_it() {
        for (ns, want) in [
            (0, "0 ns"),
            (843, "843 ns"),
            (999, "999 ns"),
            (1_000, "1.00 us"),
            (9_994, "9.99 us"),
            (9_996, "10.0 us"),
            (12_400, "12.4 us"),
            (999_499, "999 us"),
            (999_500, "1.00 ms"),
            (1_020_000, "1.02 ms"),
            (61_000_000_000, "61.0 s"),
            (86_400_000_000_000, "1.00 d"),
            (u64::MAX, "585 y"),
        ] {
            assert_eq!(Unit::Auto.show(ns), want);
            assert!(Unit::Auto.show(ns).len() <= 7);
        }
    }

    #[test]
    fn a_forced_unit_never_rounds_a_time_to_zero() {
        assert_eq!(Unit::Ms.show(412), "0.000412 ms");
        assert_eq!(Unit::Ms.show(82_400), "0.0824 ms");
        assert_eq!(Unit::Ms.cell(1_020_000), "1.02");
        assert_eq!(Unit::Us.cell(7), "0.007");
        assert_eq!(Unit::Us.cell(203_456_789), "203457");
        assert_eq!(Unit::Ns.cell(203_456_789), "203456789");
        assert_eq!(Unit::Ns.cell(u64::MAX), "1.84e19");
        for unit in [Unit::Ns, Unit::Us, Unit::Ms] {
            assert_eq!(unit.cell(0), "0");
            for shift in 0..64 {
                let cell = unit.cell(1 << shift);
                assert!(cell.len() <= CELL, "{cell}");
                assert!(cell.chars().any(|c| ('1'..='9').contains(&c)), "{cell}");
            }
        }
    }

    #[test]
    fn counts_bytes_rates_and_shares() {
        assert_eq!(count(12_345), "12,345");
        assert_eq!(count(u64::MAX), "18,446,744,073,709,551,615");
        assert_eq!([compact(99_999), compact(100_000), compact(u64::MAX)], ["99,999", "100k", "18.4E"]);
        assert_eq!([rate(1.0), rate(104.04), rate(12_345.0), rate(f64::NAN)], ["1.00", "104", "12.3k", "-"]);
        assert_eq!([bytes(512), bytes(1024), bytes(u64::MAX)], ["512 B", "1.0 KiB", "16.0 EiB"]);
        assert_eq!([percent(1, 100_000), percent(99_999, 100_000)], ["<0.1 %", ">99.9 %"]);
        assert_eq!(
            [percent(0, 5), percent(5, 5), percent(993, 1000), percent(0, 0)],
            ["0 %", "100 %", "99.3 %", "-"]
        );
        assert_eq!([plural(1, "call"), plural(0, "call")], ["1 call", "0 calls"]);
    }
}
