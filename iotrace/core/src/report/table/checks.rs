//! The checks of a self-test: the truth and the figure of iotrace side by side.

use super::grid::{Column, grid};
use crate::report::page::{Page, clip};
use crate::report::paint::Style;
use crate::report::units::{Unit, count, plural};
use crate::summary::Check;

/// Columns of the name of a check: enough for every name.
const NAME: usize = 34;

/// Writes every check, the skipped checks with their reasons, and how many passed.
pub fn draw(checks: &[Check], unit: Unit, page: &mut Page) {
    if checks.is_empty() {
        return;
    }
    page.gap();
    let columns = [
        Column::text("check", NAME as u16),
        Column::number("expected", 9),
        Column::number("measured", 9),
        Column::number("error", 8),
        Column::number("allowed", 8),
        Column::text("unit", 6),
        Column::text("", 4),
    ];
    let made = || checks.iter().filter(|check| check.measured.is_some());
    let rows = made().map(|check| {
        let number = |number| show(number, &check.unit, unit);
        vec![
            clip(&check.name, NAME),
            number(check.expected),
            number(check.measured),
            number(check.error),
            number(check.allowed),
            // Times have their unit at the number.
            if check.unit == "ns" { String::new() } else { clip(&check.unit, 11) },
            if check.failed() { "FAIL".to_owned() } else { "ok".to_owned() },
        ]
    });
    let styles = std::iter::once(Style::Dim)
        .chain(made().map(|check| if check.failed() { Style::Alert } else { Style::Plain }));
    for (style, line) in styles.zip(grid(&columns, 2, rows.collect())) {
        page.line(style, line);
    }
    page.gap();
    for check in checks.iter().filter(|check| check.skipped.is_some()) {
        let (style, word) = if check.failed() { (Style::Alert, "FAIL") } else { (Style::Plain, "skipped") };
        let since = check.since.as_ref().map_or(String::new(), |since| format!(" (Linux {since} or later)"));
        let why = check.skipped.as_deref().unwrap_or_default();
        page.wrap(style, &format!("{word}: "), &format!("{}: {why}{since}", check.name));
    }
    for check in checks.iter().filter(|check| check.failed() && check.measured.is_some()) {
        page.wrap(Style::Alert, "FAIL: ", &format!("{}: expected from {}", check.name, check.oracle));
    }
    let number = |of: fn(&Check) -> bool| checks.iter().filter(|check| of(check)).count() as u64;
    let again = checks.iter().filter(|check| check.attempts > 1 && !check.failed()).count() as u64;
    let mut said = format!(
        "{} passed, {} failed, {} skipped",
        plural(number(|check| check.pass == Some(true)), "check"),
        count(number(Check::failed)),
        count(number(|check| check.pass.is_none()))
    );
    if again > 0 {
        said += &format!("; {} passed only when repeated", plural(again, "check"));
    }
    page.wrap(Style::Title, "selftest: ", &said);
}

/// A number of a check: a time in `unit`, anything else as a count.
fn show(number: Option<i64>, own: &str, unit: Unit) -> String {
    match number {
        None => "-".to_owned(),
        Some(number) if own == "ns" => {
            let sign = if number < 0 { "-" } else { "" };
            format!("{sign}{}", unit.show(number.unsigned_abs()))
        }
        Some(number) if number < 0 => format!("-{}", count(number.unsigned_abs())),
        Some(number) => count(number.unsigned_abs()),
    }
}
