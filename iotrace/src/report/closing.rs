//! The last lines: what is missing, what observing cost, what to know.

use super::facts::lost;
use super::page::Page;
use super::paint::Style;
use super::units::{Unit, count};
use crate::summary::Document;

/// Completeness, overhead and warnings of a document.
pub fn draw(document: &Document, unit: Unit, page: &mut Page) {
    page.gap();
    let loss = &document.loss;
    let missing = lost(loss);
    let mut said = match (document.complete, missing.is_empty()) {
        (true, true) => "nothing was lost".to_owned(),
        (false, true) => "see the warnings".to_owned(),
        (_, false) => format!("lost {}", missing.join(", ")),
    };
    if loss.in_flight_start > 0 || loss.in_flight_stop > 0 {
        said += &format!(
            "; calls open at the start: {}, at the end: {}",
            count(loss.in_flight_start),
            count(loss.in_flight_stop)
        );
    }
    if loss.recursion_misses.is_none() {
        said += "; skipped probe runs: not measured";
    }
    let (style, answer) = if document.complete { (Style::Plain, "yes") } else { (Style::Alert, "NO") };
    page.wrap(style, "complete: ", &format!("{answer}, {said}"));
    overhead(document, unit, page);
    for warning in &document.warnings {
        page.wrap(Style::Plain, "warning: ", &format!("{} [{}]", warning.text, warning.code));
    }
}

fn overhead(document: &Document, unit: Unit, page: &mut Page) {
    let cost = &document.overhead;
    let added = |ns: Option<u64>| ns.map(|ns| format!("~{}", unit.show(ns)));
    let text = match (added(cost.per_call_ns), added(cost.per_switch_ns)) {
        (None, None) => "what observing added: not measured".to_owned(),
        (Some(call), None) => {
            format!("observing added {call} per traced call (per context switch not measured)")
        }
        (None, Some(switch)) => {
            format!("observing added {switch} per context switch (per traced call not measured)")
        }
        (Some(call), Some(switch)) => {
            format!("observing added {call} per traced call and {switch} per context switch")
        }
    };
    let own = match cost.iotrace_cpu_ns {
        Some(ns) => format!("iotrace used {} of CPU in {}", unit.show(ns), unit.show(document.elapsed_ns)),
        None => "CPU of iotrace: not measured".to_owned(),
    };
    page.wrap(Style::Plain, "overhead: ", &format!("{text}; {own}"));
}
