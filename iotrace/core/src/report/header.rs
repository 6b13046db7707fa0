//! The lines that say what was measured, and on which machine.

use super::page::{Page, columns};
use super::paint::Style;
use super::units::{Unit, bytes, plural};
use crate::domain::Tier;
use crate::summary::{Document, Interval, Run};

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
    if let Some(interval) = &document.interval {
        page.line(Style::Title, stamp(interval));
    }
}

/// When an interval was: the time of day at its end, and where it lies in the trace.
fn stamp(interval: &Interval) -> String {
    let seconds = |ns: u64| format!("{:.3} s", ns as f64 / 1e9);
    let stretch = format!("{} to {} of the trace", seconds(interval.from_ns), seconds(interval.to_ns));
    let Some(unix_ns) = interval.ended_unix_ns else { return stretch };
    let local = (unix_ns / 1_000_000_000) as i64 + i64::from(interval.utc_offset_s);
    let second = local.rem_euclid(24 * 60 * 60);
    let (hours, minutes, seconds) = (second / 3600, second / 60 % 60, second % 60);
    format!("{hours:02}:{minutes:02}:{seconds:02} · {stretch}")
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interval_has_its_time() {
        let interval = Interval {
            from_ns: 1_000_000_000,
            to_ns: 2_003_000_000,
            ended_unix_ns: Some(1_764_340_385_000_000_000),
            utc_offset_s: -3600,
        };
        assert_eq!(stamp(&interval), "13:33:05 · 1.000 s to 2.003 s of the trace");
        let unknown = Interval { ended_unix_ns: None, ..interval };
        assert_eq!(stamp(&unknown), "1.000 s to 2.003 s of the trace");
    }
}
