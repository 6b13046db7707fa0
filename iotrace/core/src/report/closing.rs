//! The last lines of a report: whether anything is missing, what observing cost, and the warnings.

use super::facts::lost;
use super::page::Page;
use super::paint::Style;
use super::units::{Unit, count};
use crate::summary::Document;

/// Writes the completeness, the overhead and the warnings of a document.
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
        (cost.per_call_ns, "traced calls"),
        (cost.per_other_call_ns, "calls of processes not traced"),
        (cost.per_switch_ns, "context switches of traced threads"),
    ];
    let known: Vec<String> = costs
        .iter()
        .filter_map(|&(ns, what)| Some(format!("{what}: ~{} slower each", unit.show(ns?))))
        .collect();
    let unknown = costs.iter().filter(|(ns, _)| ns.is_none());
    let mut text = match known.len() {
        0 => "what observing added: not measured".to_owned(),
        _ => {
            let unknown: String = unknown.map(|(_, what)| format!("; {what}: not measured")).collect();
            format!("{} (timed in this run){unknown}", known.join(", "))
        }
    };
    if let Some(floors) = &cost.copy_floors_ns {
        let show = |floor: Option<u64>| floor.map_or("-".to_owned(), |ns| unit.show(ns));
        text += &format!(
            "; subtracted from each marked copy: {} (TCP), {} (AF_UNIX), {} (others)",
            show(floors.tcp),
            show(floors.buffer),
            show(floors.receive)
        );
    }
    let observed = unit.show(document.elapsed_ns);
    let own = match (cost.iotrace_cpu_ns, cost.iotrace_loading_cpu_ns) {
        (Some(ns), Some(loading)) => format!(
            "iotrace itself: {} of CPU while it observed for {observed}, and {} before, to load",
            unit.show(ns),
            unit.show(loading)
        ),
        (Some(ns), None) => {
            format!("iotrace itself: {} of CPU, loading included; observed for {observed}", unit.show(ns))
        }
        (None, _) => "CPU of iotrace itself: not measured".to_owned(),
    };
    page.wrap(Style::Plain, "overhead: ", &format!("{text}; {own}"));
}
