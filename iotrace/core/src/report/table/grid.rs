//! Tables of aligned columns, without rules.

use comfy_table::{CellAlignment, ColumnConstraint, ContentArrangement, Table, Width};

use crate::domain::name::harmless;

/// A column of a table.
pub struct Column {
    /// The heading; empty where the first row is the heading.
    heading: &'static str,
    /// The least width in columns of the terminal, so that the tables of a report line up.
    width: u16,
    /// Whether it holds numbers, which are aligned at the right.
    is_number: bool,
}

impl Column {
    /// A column of text.
    pub const fn text(heading: &'static str, width: u16) -> Self {
        Self { heading, width, is_number: false }
    }

    /// A column of numbers.
    pub const fn number(heading: &'static str, width: u16) -> Self {
        Self { heading, width, is_number: true }
    }
}

/// The lines of a table, `gap` spaces between its columns; the first line is the heading.
pub fn grid(columns: &[Column], gap: u16, rows: Vec<Vec<String>>) -> Vec<String> {
    let mut table = Table::new();
    table.load_style(comfy_table::presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(columns.iter().map(|column| column.heading));
    // Before the columns are laid out: a name must not break a line, nor be wider than it is thought to be.
    table.add_rows(rows.iter().map(|row| row.iter().map(|cell| harmless(cell))));
    for (column, &Column { width, is_number, .. }) in table.column_iter_mut().zip(columns) {
        column
            .set_padding((0, gap))
            .set_constraint(ColumnConstraint::LowerBoundary(Width::Fixed(width + gap)));
        if is_number {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table.lines().map(|line| line.trim_end().to_owned()).collect()
}
