//! The default report: what each run did, call by call and message by message.

mod calls;
mod checks;
pub(super) mod grid;
mod legend;
mod operations;
mod phases;
mod processes;

use super::page::Page;
use super::units::Unit;
use super::{closing, figure, header, study};
use crate::summary::Document;

/// All runs, how to read them, the figure that compares them, and what to know.
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
