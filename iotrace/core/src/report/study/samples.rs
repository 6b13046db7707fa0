//! The medians of a measure as a table: by arm, or by point and arm.

use super::quantity::{point, quantity};
use crate::report::page::Page;
use crate::report::paint::Style;
use crate::report::table::grid::{Column, grid};
use crate::report::units::{NONE, count};
use crate::summary::{Arm, Measure, Study};

/// Most arms that fit on the page side by side.
const BESIDE: usize = 6;

/// Writes the table of one measure.
pub fn draw(study: &Study, measure: &Measure, page: &mut Page) {
    let arms: Vec<&Arm> = study.arms.iter().filter(|arm| arm.measure == measure.name).collect();
    match &measure.x {
        None => show(&by_arm(&arms), page),
        Some(axis) => {
            let names = names(&arms);
            for names in names.chunks(BESIDE) {
                show(&by_point(&arms, names, &axis.label), page);
            }
        }
    }
}

/// Writes the lines of a table, of which the first is the heading.
pub fn show(lines: &[String], page: &mut Page) {
    for (index, line) in lines.iter().enumerate() {
        page.line(if index == 0 { Style::Dim } else { Style::Plain }, format!("   {line}"));
    }
}

/// The names of the arms, each once, in their order.
pub fn names<'a>(arms: &[&'a Arm]) -> Vec<&'a str> {
    let mut names: Vec<&str> = Vec::new();
    for arm in arms {
        if !names.contains(&arm.name.as_str()) {
            names.push(&arm.name);
        }
    }
    names
}

fn by_arm(arms: &[&Arm]) -> Vec<String> {
    let columns = [
        Column::text("variant", 30),
        Column::number("median", 12),
        Column::number("95 % interval", 24),
        Column::number("rounds", 6),
    ];
    let rows = arms.iter().map(|arm| {
        let show = |value: f64| quantity(value, short(&arm.unit));
        let interval = arm.ci95.map(|[low, high]| format!("{} .. {}", show(low), show(high)));
        vec![
            arm.name.clone(),
            arm.median.map_or_else(|| NONE.to_owned(), show),
            interval.unwrap_or_else(|| NONE.to_owned()),
            count(u64::from(arm.repeats)),
        ]
    });
    grid(&columns, 2, rows.collect())
}

/// The unit to show with each figure: only times have one, other units stand in the heading.
fn short(unit: &str) -> &str {
    if unit.starts_with("ns") { "ns" } else { "" }
}

fn by_point(arms: &[&Arm], names: &[&str], label: &str) -> Vec<String> {
    let mut columns = vec![Column::number("", 9)];
    columns.extend(names.iter().map(|_| Column::number("", 12)));
    let mut points: Vec<f64> = arms.iter().filter_map(|arm| arm.x).collect();
    points.sort_by(f64::total_cmp);
    points.dedup();
    let mut heading = vec![label.to_owned()];
    heading.extend(names.iter().map(|&name| name.to_owned()));
    let mut rows = vec![heading];
    for x in points {
        let mut row = vec![point(x)];
        row.extend(names.iter().map(|&name| {
            arms.iter()
                .find(|arm| arm.name == name && arm.x == Some(x))
                .map_or_else(|| NONE.to_owned(), |arm| cell(arm))
        }));
        rows.push(row);
    }
    grid(&columns, 1, rows).into_iter().skip(1).collect()
}

/// The median of an arm, and the distance of the farther end of its 95 % interval in percent: `28.4 ns ±3%`.
pub fn cell(arm: &Arm) -> String {
    let Some(median) = arm.median else { return NONE.to_owned() };
    let text = quantity(median, short(&arm.unit));
    match arm.ci95 {
        Some([low, high]) if median > 0.0 => {
            let off = (high - median).max(median - low) / median * 100.0;
            if off < 999.5 { format!("{text} ±{off:.0}%") } else { text }
        }
        _ => text,
    }
}
