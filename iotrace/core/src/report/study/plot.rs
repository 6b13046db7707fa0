//! The points of a measure as a plot of text.

use super::quantity::{point, quantity};
use super::samples::names;
use crate::report::page::Page;
use crate::report::paint::Style;
use crate::report::scale::Scale;
use crate::summary::{Arm, Measure, Study};

/// Rows of the plot.
const HEIGHT: usize = 14;
/// Columns left of the plot, for the marks of the axis.
const MARGIN: usize = 12;
/// The signs of the arms, in their order.
const SIGNS: [char; 8] = ['●', '○', '■', '□', '▲', '△', '◆', '+'];

/// Writes the plot of one measure, if its arms have points at two or more x.
pub fn draw(study: &Study, measure: &Measure, page: &mut Page) {
    let Some(axis) = &measure.x else { return };
    let arms: Vec<&Arm> = study.arms.iter().filter(|arm| arm.measure == measure.name).collect();
    let points: Vec<(f64, f64, &str)> =
        arms.iter().filter_map(|arm| Some((arm.x?, arm.median?, arm.name.as_str()))).collect();
    if points.iter().all(|point| point.0 == points[0].0) {
        return;
    }
    let x = Scale::of(points.iter().map(|point| point.0), axis.log);
    let y = Scale::of(points.iter().map(|point| point.1), axis.log);
    let Some((x, y)) = x.zip(y) else { return };
    let width = page.width() - MARGIN - 4;
    let names = names(&arms);
    let mut field = vec![vec![' '; width]; HEIGHT];
    let column = |value: f64| Some((x.place(value)? * (width - 1) as f64).round() as usize);
    let row = |value: f64| Some(HEIGHT - 1 - (y.place(value)? * (HEIGHT - 1) as f64).round() as usize);
    // The first arm is drawn last, so that its sign is seen where signs meet.
    for &(at, value, name) in points.iter().rev() {
        let sign = SIGNS[names.iter().position(|&one| one == name).unwrap_or(0) % SIGNS.len()];
        if let (Some(column), Some(row)) = (column(at), row(value)) {
            field[row][column] = sign;
        }
    }
    page.gap();
    for (index, line) in field.iter().enumerate() {
        let mark = y.marks().into_iter().find(|&mark| row(mark) == Some(index));
        let unit = if measure.unit.starts_with("ns") { "ns" } else { "" };
        let label = mark.map_or_else(String::new, |mark| quantity(mark, unit));
        let edge = if mark.is_some() { '┤' } else { '│' };
        page.line(Style::Plain, format!("{label:>MARGIN$} {edge}{}", line.iter().collect::<String>()));
    }
    let (mut edge, mut labels) = (vec!['─'; width], vec![' '; width]);
    for mark in x.marks() {
        let Some(at) = column(mark) else { continue };
        edge[at] = '┴';
        let text: Vec<char> = point(mark).chars().collect();
        let from = at.saturating_sub(text.len() / 2).min(width - text.len().min(width));
        // A label that would touch its neighbour is left out.
        let clear = from.saturating_sub(1)..(from + text.len() + 1).min(labels.len());
        if labels[clear].iter().all(|&c| c == ' ') && from + text.len() <= labels.len() {
            labels[from..from + text.len()].copy_from_slice(&text);
        }
    }
    page.line(Style::Plain, format!("{:MARGIN$} └{}", "", edge.iter().collect::<String>()));
    page.line(Style::Plain, format!("{:MARGIN$}  {}", "", labels.iter().collect::<String>()));
    let legend: Vec<String> =
        names.iter().zip(SIGNS.iter().cycle()).map(|(name, sign)| format!("{sign} {name}")).collect();
    page.wrap(Style::Plain, &format!("{:MARGIN$}  ", ""), &format!("{}: {}", axis.label, legend.join("  ")));
}
