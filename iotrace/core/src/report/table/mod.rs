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

/// Writes all parts of a document, and explanations for those that need them; or, as a summary, only where the time went
/// and what that means.
pub fn draw(document: &Document, unit: Unit, summary: bool, page: &mut Page) {
    header::document(document, unit, page);
    for run in &document.runs {
        page.gap();
        header::run(run, page);
        phases::draw(run, unit, page);
        if summary {
            continue;
        }
        page.gap();
        calls::draw(&run.calls, unit, page);
        page.gap();
        operations::draw(run, unit, page);
    }
    time::of_all(document, unit, page);
    processes::draw(&document.processes, unit, summary, page);
    checks::draw(&document.checks, unit, page);
    if !document.runs.is_empty() && !summary {
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
