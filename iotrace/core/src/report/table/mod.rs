//! The default report: the calls and the messages of each run, or the calls of each process.

mod calls;
mod checks;
pub(super) mod grid;
mod legend;
mod operations;
mod phases;
mod processes;
mod time;

use super::page::Page;
use super::units::Unit;
use super::{closing, figure, header, study};
use crate::summary::Document;

/// Writes all parts of a document, and explanations for those that need them.
pub fn draw(document: &Document, unit: Unit, page: &mut Page) {
    header::document(document, unit, page);
    for run in &document.runs {
        page.gap();
        header::run(run, page);
        phases::draw(run, unit, page);
        page.gap();
        calls::draw(&run.calls, unit, page);
        page.gap();
        operations::draw(run, unit, page);
    }
    processes::draw(&document.processes, unit, page);
    checks::draw(&document.checks, unit, page);
    if !document.runs.is_empty() {
        legend::draw(page);
    }
    if document.runs.len() > 1 {
        figure::draw(&document.runs, unit, page);
    }
    for one in &document.studies {
        study::draw(one, page);
    }
    closing::draw(document, unit, page);
}
