//! The classic comparison of the I/O models (Stevens, UNIX Network Programming, fig. 6.6), drawn from measured numbers:
//! one strip for each model, with phase 1 on the left and phase 2 on the right.

use super::bar::{DOING, bar};
use super::facts::{
    carriers, copier, copy_source, mark, per_message, phase1_parts, phase2_parts, share, total, word,
};
use super::header::load;
use super::page::{Page, clip, fit};
use super::paint::Style;
use super::units::{NONE, Unit, compact, rate};
use crate::domain::Meant;
use crate::summary::Run;

const NAME: usize = 15;
const PHASE1: usize = 18;
const PHASE2: usize = 7;

/// Writes one strip for each run, and the legend.
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
        "Each bar shows the shares of its own phase: phases are not on one scale of time. \
         Pickup: data ready, but not yet read. Latency: data ready to delivered to the application. \
         Copy: ~ estimated, = by function hooks. Own work: units per message, see above. \
         Synchronous (POSIX): the thread is blocked in a phase.",
    );
}

/// The load of the runs in words, or that the loads differ.
fn loads(runs: &[Run], unit: Unit) -> String {
    let first = runs.first().map(load).unwrap_or_default();
    let same = runs.iter().all(|run| load(run) == first);
    let mut text = if same { first } else { "the runs had different loads: compare with care".to_owned() };
    if unit != Unit::Auto {
        text += &format!(" · {}", unit.heading());
    }
    text
}

fn heading() -> [String; 2] {
    let line = |cells: [&str; 10]| {
        let [name, wait, copy, numbers @ ..] = cells;
        let [time, pickup, copied, latency, calls, cpu, own] = numbers;
        format!(
            " {name:NAME$} {wait:PHASE1$} {copy:PHASE2$}{time:>9}{pickup:>8}{copied:>8} {latency:>8}{calls:>6}{cpu:>8}{own:>7}"
        )
    };
    [
        line(["", "phase 1:", "phase 2", "phase 1", "pickup", "copy", "latency", "calls", "CPU", "own"]),
        line(["model", "wait for data", "copy", "mean", "p50", "mean", "p50", "/msg", "/msg", "work"]),
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
    let median =
        |dist: &Option<crate::domain::dist::Dist>| narrow(unit, dist.as_ref().map(|dist| dist.p50_ns));
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

/// A time in at most seven columns; in a forced unit, a number with more digits gets an exponent.
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

/// The line under a strip: the calls in which the phases were spent.
fn caption(run: &Run) -> String {
    let kind = if run.verdict.synchronous { "synchronous" } else { "asynchronous" };
    let (wait, copy) = (run.verdict.phase1, run.verdict.phase2);
    let wait = said(wait, Some(phase1_parts(&run.operations.phase1)), carriers(run, wait));
    let copy = said(copy, phase2_parts(&run.operations.phase2), copier(run));
    // Two spaces at least between the phases, also where a long name moves the second.
    clip(&format!("   {kind:<13} {wait:<38}  {copy}"), super::MAX_WIDTH)
}

fn said(meant: Meant, parts: Option<[u64; 3]>, place: Option<String>) -> String {
    let share = parts.map_or_else(|| "(not timed)".to_owned(), |parts| share(meant, parts));
    let place = place.map(|place| format!(" {place}")).unwrap_or_default();
    format!("{} {share}{place}", word(meant))
}
