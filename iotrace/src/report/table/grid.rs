//! Columns without rules.

use comfy_table::{CellAlignment, ContentArrangement, Table};

/// Lines of a table whose columns are as wide as their widest cell; `right` tells which are numbers.
pub fn grid(heading: &[&str], right: &[bool], rows: Vec<Vec<String>>) -> Vec<String> {
    let mut table = Table::new();
    table.load_style(comfy_table::presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    if !heading.is_empty() {
        table.set_header(heading.to_vec());
    }
    table.add_rows(rows);
    for (column, &right) in table.column_iter_mut().zip(right) {
        column.set_padding((0, 1));
        if right {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table.lines().map(|line| line.trim_end().to_owned()).collect()
}
