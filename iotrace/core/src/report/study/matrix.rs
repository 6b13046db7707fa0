//! Several measures in one table: a row an arm, a column a measure.

use super::samples::{cell, names, show};
use super::source;
use crate::report::page::Page;
use crate::report::paint::Style;
use crate::report::table::grid::{Column, grid};
use crate::report::units::NONE;
use crate::summary::{Arm, Measure, Study, Table};

/// The table, and what its columns are.
pub fn draw(study: &Study, table: &Table, page: &mut Page) {
    let measures: Vec<&Measure> =
        study.measures.iter().filter(|measure| table.measures.contains(&measure.name)).collect();
    let arms: Vec<&Arm> = study.arms.iter().filter(|arm| table.measures.contains(&arm.measure)).collect();
    page.gap();
    page.wrap(Style::Title, "   ", &table.title);
    let mut columns = vec![Column("", 16, false)];
    columns.extend(measures.iter().map(|_| Column("", 12, true)));
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
