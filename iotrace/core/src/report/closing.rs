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
    let costs = [
        (cost.per_call_ns, "per traced call"),
        (cost.per_other_call_ns, "per call of others"),
        (cost.per_switch_ns, "per context switch"),
    ];
    let known: Vec<String> =
        costs.iter().filter_map(|(ns, what)| Some(format!("~{} {what}", unit.show((*ns)?)))).collect();
    let unknown: Vec<&str> = costs.iter().filter(|(ns, _)| ns.is_none()).map(|(_, what)| *what).collect();
    let mut text = match known.len() {
        0 => "what observing added: not measured".to_owned(),
        _ => format!("observing added {}", known.join(", ")),
    };
    if !known.is_empty() && !unknown.is_empty() {
        text += &format!(" ({}: not measured)", unknown.join(", "));
    }
    if let Some(floors) = &cost.copy_floors_ns {
        let show = |floor: Option<u64>| floor.map_or("-".to_owned(), |ns| unit.show(ns));
        text += &format!(
            "; subtracted from each marked copy: {} (TCP), {} (AF_UNIX), {} (others)",
            show(floors.tcp),
            show(floors.buffer),
            show(floors.receive)
        );
    }
    let own = match cost.iotrace_cpu_ns {
        Some(ns) => format!("iotrace used {} of CPU in {}", unit.show(ns), unit.show(document.elapsed_ns)),
        None => "CPU of iotrace: not measured".to_owned(),
    };
    page.wrap(Style::Plain, "overhead: ", &format!("{text}; {own}"));
}
