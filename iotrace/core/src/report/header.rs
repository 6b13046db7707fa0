//! The lines that say what was measured, and on which machine.

use super::page::{Page, columns};
use super::paint::Style;
use super::units::{Unit, bytes, plural};
use crate::domain::Tier;
use crate::summary::{Document, Run};

/// Writes the line for the document: command, kernel, CPUs, and how copies were timed.
pub fn document(document: &Document, unit: Unit, page: &mut Page) {
    let host = &document.host;
    let tier = match host.tier {
        Tier::Exact => "copies timed by function hooks",
        Tier::Tracepoint => "copies timed by tracepoints",
    };
    let mut parts = vec![
        format!("iotrace {}", document.command),
        format!("Linux {} {}", host.kernel, host.arch),
        plural(u64::from(host.cpus), "CPU"),
        tier.to_owned(),
    ];
    if unit != Unit::Auto {
        parts.push(unit.heading());
    }
    page.line(Style::Dim, parts.join(" · "));
}

/// The load of a run in one phrase, without the name of the model.
pub fn load(run: &Run) -> String {
    let pace = match run.interval_ns {
        0 => "back to back".to_owned(),
        // A setting, not a measurement: always in the unit that fits it.
        interval => format!("one every {}", Unit::Auto.show(interval)),
    };
    format!(
        "{} · {} of {}, {pace} · {}",
        run.transport,
        plural(run.messages, "message"),
        bytes(run.size),
        plural(u64::from(run.connections), "connection"),
    )
}

/// Writes the line above a run: model and load.
pub fn run(run: &Run, page: &mut Page) {
    let text = format!("── {} · {} ", run.model, load(run));
    let rule = "─".repeat(page.width().saturating_sub(columns(&text)));
    page.line(Style::Title, text + &rule);
}
