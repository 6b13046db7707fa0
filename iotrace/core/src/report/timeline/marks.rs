//! The marks of a strip: labels above the lanes, each with a line down to its column.

use super::axis::{Axis, write};
use crate::report::units::Unit;
use crate::summary::Strip;

/// Most rows of labels: more would push the lanes out of sight. Labels that do not fit overlap.
const ROWS: usize = 8;

struct Label {
    column: usize,
    row: usize,
    text: String,
}

impl Label {
    fn end(&self) -> usize {
        self.column + self.text.chars().count()
    }
}

/// The rows of labels from the top down, and the row of arrow heads.
pub fn draw(strip: &Strip, axis: &Axis, unit: Unit, width: usize) -> Vec<String> {
    let labels = place(texts(strip, axis, unit));
    let rows = labels.iter().map(|label| label.row + 1).max().unwrap_or(0);
    let mut lines = vec![vec![' '; width]; rows + 1];
    for label in &labels {
        let top = rows - 1 - label.row;
        write(&mut lines[top], label.column, &label.text);
        for line in &mut lines[top + 1..rows] {
            line[label.column] = '│';
        }
        lines[rows][label.column] = '▼';
    }
    lines.into_iter().map(|line| line.into_iter().collect()).collect()
}

/// The labels with their columns: marks in the same column share a label.
fn texts(strip: &Strip, axis: &Axis, unit: Unit) -> Vec<(usize, String)> {
    let wanted = std::iter::once((0, "requested"));
    let given = strip.marks.iter().map(|mark| (mark.at_ns.min(strip.end_ns), label(&mark.name)));
    let had = std::iter::once((strip.end_ns, "delivered"));
    let mut texts: Vec<(usize, String)> = Vec::new();
    let mut moments: Vec<_> = wanted.chain(given).chain(had).collect();
    moments.sort_by_key(|moment| moment.0);
    for (time, name) in moments {
        let column = axis.column(time);
        let text = match axis.zero(time) {
            0 if time == 0 => name.to_owned(),
            0 => format!("{name} {}", unit.show(time)),
            zero if time == zero => format!("{name} {}", unit.show(time)),
            zero if time < zero => format!("{name} -{}", unit.show(zero - time)),
            zero => format!("{name} +{}", unit.show(time - zero)),
        };
        match texts.last_mut() {
            Some((last, shared)) if *last == column => *shared = format!("{shared}, {text}"),
            _ => texts.push((column, text)),
        }
    }
    texts
}

/// The words for a mark: those of a signal must differ from the delivery of the message.
fn label(mark: &str) -> &str {
    match mark {
        "signal" => "signal generated",
        "delivered" => "signal delivered",
        other => other,
    }
}

/// Places the labels, from right to left: each in the lowest row in which it meets no other label and no line.
fn place(texts: Vec<(usize, String)>) -> Vec<Label> {
    let mut placed: Vec<Label> = Vec::new();
    for (column, text) in texts.into_iter().rev() {
        let mut label = Label { column, row: 0, text };
        // A label to the right blocks its own row and all rows below it, through which its line passes.
        while label.row < ROWS
            && placed.iter().any(|other| other.row >= label.row && label.end() >= other.column)
        {
            label.row += 1;
        }
        placed.push(label);
    }
    placed
}
