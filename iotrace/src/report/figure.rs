//! The classic comparison of the I/O models (Stevens, UNIX Network Programming, fig. 6.6), drawn from
//! measured numbers: one strip a model, phase 1 left, phase 2 right.

use super::bar::{DOING, bar};
use super::facts::{
    carriers, copier, copy_source, mark, per_message, phase1_parts, phase2_parts, total, word,
};
use super::header::load;
use super::page::{Page, clip, fit};
use super::paint::Style;
use super::units::{NONE, Unit, compact, percent, rate};
use crate::summary::{Meant, Run};

const NAME: usize = 15;
const PHASE1: usize = 18;
const PHASE2: usize = 7;

/// One strip a run, and the legend.
pub fn draw(runs: &[Run], unit: Unit, page: &mut Page) {
    page.gap();
    page.line(Style::Title, "The I/O models, measured");
    page.line(Style::Dim, format!("   {}", loads(runs, unit)));
    page.gap();
    for line in heading() {
        page.line(Style::Dim, line);
    }
    for run in runs {
        page.line(Style::Doing, strip(run, unit));
        page.line(Style::Words, caption(run));
    }
    page.gap();
    page.line(Style::Doing, "   the thread is   █ blocked   ▚ polling   · free to run its own code");
    page.wrap(
        Style::Dim,
        "   ",
        "phase 1, copy, calls, CPU, own work: mean per message; pickup, latency: median; copy ~ estimated, \
         = by function hooks. Bars are shares of their phase, not of time: a wait is long, a copy short. \
         Synchronous (POSIX): blocked in a phase.",
    );
}

/// What all runs did, or that they differ.
fn loads(runs: &[Run], unit: Unit) -> String {
    let first = runs.first().map(load).unwrap_or_default();
    let same = runs.iter().all(|run| load(run) == first);
    let mut text = if same { first } else { "the runs differ in load: compare with care".to_owned() };
    if unit != Unit::Auto {
        text += &format!(" · {}", unit.heading());
    }
    text
}

fn heading() -> [String; 2] {
    [
        format!(
            " {:NAME$} {:PHASE1$} {:PHASE2$} {:>8}{:>8}{:>9}{:>8}{:>6}{:>8}{:>7}",
            "", "phase 1:", "phase 2", "phase 1", "pickup", "copy ", "latency", "calls", "CPU", "own"
        ),
        format!(
            " {:NAME$} {:PHASE1$} {:PHASE2$} {:>8}{:>8}{:>9}{:>8}{:>6}{:>8}{:>7}",
            "model", "wait for data", "copy", "time", "", "", "", "", "", "work"
        ),
    ]
}

fn strip(run: &Run, unit: Unit) -> String {
    let operations = &run.operations;
    let first = phase1_parts(&operations.phase1);
    let second = phase2_parts(&operations.phase2);
    let copy = match second.and_then(|parts| per_message(run, total(parts))) {
        Some(ns) => format!("{}{:1}", narrow(unit, Some(ns)), mark(copy_source(run))),
        None => format!("{NONE} "),
    };
    let median = |dist: &Option<crate::dist::Dist>| narrow(unit, dist.as_ref().map(|dist| dist.p50_ns));
    format!(
        " {} {}│{}{:>9}{:>8}{:>9}{:>8}{:>6}{:>8}{:>7}",
        fit(run.model.name(), NAME),
        bar(first, DOING, PHASE1),
        bar(second.unwrap_or_default(), DOING, PHASE2),
        narrow(unit, per_message(run, total(first))),
        median(&operations.pickup),
        copy,
        median(&operations.latency),
        rate(operations.calls_per_message),
        narrow(unit, Some(operations.cpu_ns_per_message)),
        match run.meanwhile {
            Some(_) => compact(run.own_work_units / run.messages.max(1)),
            None => NONE.to_owned(),
        },
    )
}

/// A time in the seven columns there are; a forced unit whose digits do not fit gets an exponent.
fn narrow(unit: Unit, ns: Option<u64>) -> String {
    let cell = unit.cell_or_none(ns);
    match ns {
        Some(ns) if cell.len() > 7 => {
            let length = if unit == Unit::Ms {
                1e6
            } else if unit == Unit::Us {
                1e3
            } else {
                1.0
            };
            format!("{:.1e}", ns as f64 / length)
        }
        _ => cell,
    }
}

/// Under the strip: what carried the phases.
fn caption(run: &Run) -> String {
    let first = phase1_parts(&run.operations.phase1);
    let second = phase2_parts(&run.operations.phase2);
    let kind = if run.verdict.synchronous { "synchronous" } else { "asynchronous" };
    let mut wait = share(run.verdict.phase1, first);
    if let Some(calls) = carriers(run, run.verdict.phase1) {
        wait += &format!(" in {calls}");
    }
    let mut copy =
        second.map_or_else(|| "copy not timed".to_owned(), |parts| share(run.verdict.phase2, parts));
    if let Some(by) = copier(run) {
        copy += &format!(", copied {by}");
    }
    clip(&format!("   {kind:<13} {wait} │ {copy}"), super::MAX_WIDTH)
}

fn share(meant: Meant, parts: [u64; 3]) -> String {
    format!("{} {}", word(meant), percent(parts[meant as usize], total(parts)))
}
