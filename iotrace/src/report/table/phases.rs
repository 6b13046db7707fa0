//! The answer first: what the thread did in each phase.

use crate::report::bar::{DOING, bar};
use crate::report::facts::{
    carriers, copier, copy_source, mark, per_message, phase1_parts, phase2_parts, total, word,
};
use crate::report::page::Page;
use crate::report::paint::Style;
use crate::report::units::{NONE, Unit, percent};
use crate::summary::{Meant, Run};

const BAR: usize = 24;
const MEANT: [Meant; 3] = [Meant::Blocked, Meant::Polling, Meant::Free];

/// The verdict and a bar a phase.
pub fn draw(run: &Run, unit: Unit, page: &mut Page) {
    let first = phase1_parts(&run.operations.phase1);
    let second = phase2_parts(&run.operations.phase2);
    let said = |meant: Meant, parts: Option<[u64; 3]>| match parts {
        Some(parts) => format!("{} {}", word(meant), percent(parts[meant as usize], total(parts))),
        None => "copy not timed".to_owned(),
    };
    page.line(
        Style::Words,
        format!(
            "   phase 1: {}    phase 2: {}    {}",
            said(run.verdict.phase1, Some(first)),
            said(run.verdict.phase2, second),
            if run.verdict.synchronous { "synchronous" } else { "asynchronous" },
        ),
    );
    page.gap();
    let time = unit.cell_or_none(per_message(run, total(first)));
    page.line(Style::Doing, phase("wait for data", first, &time, "", &waited(run, first)));
    let time = second.and_then(|parts| per_message(run, total(parts)));
    let mark = if time.is_some() { mark(copy_source(run)) } else { "" };
    let text = match (second, copier(run)) {
        (None, _) => "not measured".to_owned(),
        (Some(parts), by) => {
            let shares = shares(parts);
            by.map_or_else(|| shares.clone(), |by| format!("{shares}, {by}"))
        }
    };
    let parts = second.unwrap_or_default();
    page.line(Style::Doing, phase("copy", parts, &unit.cell_or_none(time), mark, &text));
}

fn phase(name: &str, parts: [u64; 3], time: &str, mark: &str, text: &str) -> String {
    let time = if time == NONE { time.to_owned() } else { format!("{time}{mark} / message") };
    let number = if name == "copy" { 2 } else { 1 };
    format!("   {number} {name:<14}{}  {time:<20}{text}", bar(parts, DOING, BAR))
}

fn waited(run: &Run, parts: [u64; 3]) -> String {
    match carriers(run, run.verdict.phase1) {
        Some(calls) => format!("{} in {calls}", shares(parts)),
        None => shares(parts),
    }
}

/// Every part that is not zero, the largest first.
fn shares(parts: [u64; 3]) -> String {
    let mut said: Vec<(u64, Meant)> = parts.into_iter().zip(MEANT).filter(|part| part.0 > 0).collect();
    said.sort_by_key(|part| std::cmp::Reverse(part.0));
    let said: Vec<_> = said
        .iter()
        .map(|&(part, meant)| format!("{} {}", word(meant), percent(part, total(parts))))
        .collect();
    said.join(", ")
}
