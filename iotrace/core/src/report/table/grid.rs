//! Columns without rules.

use comfy_table::{CellAlignment, ColumnConstraint, ContentArrangement, Table, Width};

/// A column: its heading, its least width, so that the tables of a report line up, and whether it holds
/// numbers.
pub struct Column(pub &'static str, pub u16, pub bool);

/// The lines of a table, `gap` spaces between its columns; the first line is the heading.
pub fn grid(columns: &[Column], gap: u16, rows: Vec<Vec<String>>) -> Vec<String> {
    let mut table = Table::new();
    table.load_style(comfy_table::presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(columns.iter().map(|column| column.0));
    table.add_rows(rows);
    for (column, &Column(_, width, number)) in table.column_iter_mut().zip(columns) {
        column
            .set_padding((0, gap))
            .set_constraint(ColumnConstraint::LowerBoundary(Width::Fixed(width + gap)));
        if number {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table.lines().map(|line| line.trim_end().to_owned()).collect()
}
