//! The phases of a run, which come first in its report: what the thread did in each.

use crate::domain::Meant;
use crate::report::bar::{DOING, bar};
use crate::report::facts::{
    carriers, copier, copy_source, mark, per_message, phase1_parts, phase2_parts, share, total, word,
};
use crate::report::page::Page;
use crate::report::paint::Style;
use crate::report::units::{NONE, Unit, percent};
use crate::summary::Run;

const BAR: usize = 22;
const MEANT: [Meant; 3] = [Meant::Blocked, Meant::Polling, Meant::Free];

/// Writes the verdict, and a bar for each phase.
pub fn draw(run: &Run, unit: Unit, page: &mut Page) {
    let first = phase1_parts(&run.operations.phase1);
    let second = phase2_parts(&run.operations.phase2);
    let (wait, copy) = (run.verdict.phase1, run.verdict.phase2);
    page.line(
        Style::Words,
        format!(
            "   phase 1: {} {}    phase 2: {} {}    {}",
            word(wait),
            share(wait, first),
            word(copy),
            second.map_or_else(|| "(not timed)".to_owned(), |parts| share(copy, parts)),
            if run.verdict.synchronous { "synchronous" } else { "asynchronous" },
        ),
    );
    page.gap();
    let time = per_message(run, total(first)).map(|ns| unit.cell(ns));
    page.wrap(Style::Doing, &phase("1 wait", first, time), &shares(first, wait, carriers(run, wait)));
    let time = second.and_then(|parts| per_message(run, total(parts)));
    let time = time.map(|ns| format!("{}{}", unit.cell(ns), mark(copy_source(run))));
    let text = match second {
        Some(parts) => shares(parts, copy, copier(run)),
        None => copier(run).map_or_else(|| "not timed".to_owned(), |place| format!("not timed, {place}")),
    };
    page.wrap(Style::Doing, &phase("2 copy", second.unwrap_or_default(), time), &text);
}

fn phase(name: &str, parts: [u64; 3], time: Option<String>) -> String {
    let time = time.map_or_else(|| NONE.to_owned(), |time| format!("{time}/message"));
    format!("   {name}  {}  {time:<17} ", bar(parts, DOING, BAR))
}

/// The parts that are not zero in words, the largest first; `place` says in which calls the part `placed` was spent.
fn shares(parts: [u64; 3], placed: Meant, place: Option<String>) -> String {
    let mut said: Vec<(u64, Meant)> = parts.into_iter().zip(MEANT).filter(|part| part.0 > 0).collect();
    said.sort_by_key(|part| std::cmp::Reverse(part.0));
    let place = place.map(|place| format!(" {place}")).unwrap_or_default();
    let say = |&(part, meant): &(u64, Meant)| {
        let place = if meant == placed { place.as_str() } else { "" };
        format!("{} {}{place}", word(meant), percent(part, total(parts)))
    };
    said.iter().map(say).collect::<Vec<_>>().join(", ")
}
