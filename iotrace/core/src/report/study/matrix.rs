//! A table of several measures: one row for each arm, one column for each measure.

use super::samples::{cell, names, show};
use super::source;
use crate::report::page::Page;
use crate::report::paint::Style;
use crate::report::table::grid::{Column, grid};
use crate::report::units::NONE;
use crate::summary::{Arm, Measure, Study, Table};

/// Writes the table, and a line for each column that says what it is.
pub fn draw(study: &Study, table: &Table, page: &mut Page) {
    let measures: Vec<&Measure> =
        study.measures.iter().filter(|measure| table.measures.contains(&measure.name)).collect();
    let arms: Vec<&Arm> = study.arms.iter().filter(|arm| table.measures.contains(&arm.measure)).collect();
    page.gap();
    page.wrap(Style::Title, "   ", &table.title);
    let mut columns = vec![Column::text("", 16)];
    columns.extend(measures.iter().map(|_| Column::number("", 12)));
    let mut heading = vec!["variant".to_owned()];
    heading.extend(measures.iter().map(|measure| measure.name.clone()));
    let mut rows = vec![heading];
    for name in names(&arms) {
        let mut row = vec![name.to_owned()];
        row.extend(measures.iter().map(|measure| {
            arms.iter()
                .find(|arm| arm.name == name && arm.measure == measure.name)
                .map_or_else(|| NONE.to_owned(), |arm| cell(arm))
        }));
        rows.push(row);
    }
    let lines: Vec<String> = grid(&columns, 1, rows).into_iter().skip(1).collect();
    show(&lines, page);
    for measure in measures {
        let unit = if measure.unit == "ns" || measure.title.contains(&measure.unit) {
            String::new()
        } else {
            format!(", {}", measure.unit)
        };
        let text = format!("{}: {}{unit} [{}]", measure.name, measure.title, source(measure.source));
        page.wrap(Style::Dim, "     ", &text);
    }
}
