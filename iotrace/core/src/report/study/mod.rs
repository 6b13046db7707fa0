//! A study as text: conditions, pictures, tables, plots, lines and verdicts.

mod claims;
mod common;
mod matrix;
mod pictures;
mod plot;
mod quantity;
mod samples;

use super::page::{Page, columns};
use super::paint::Style;
use super::units::{count, plural};
use crate::summary::{Environment, Measure, Source, Study};

pub use common::{Common, latency};
pub use quantity::{point, quantity};
pub use samples::names as arm_names;

/// Writes a whole study.
pub fn draw(study: &Study, page: &mut Page) {
    page.gap();
    let text = format!("── {} ", study.name);
    let rule = "─".repeat(page.width().saturating_sub(columns(&text)));
    page.line(Style::Title, text + &rule);
    page.wrap(Style::Plain, "   ", &study.question);
    page.wrap(Style::Dim, "   ", &conditions(&study.environment));
    pictures::draw(&study.pictures, page);
    for table in &study.tables {
        matrix::draw(study, table, page);
    }
    for measure in study.measures.iter().filter(|measure| !is_in_table(study, measure)) {
        page.gap();
        page.wrap(Style::Title, "   ", &heading(measure));
        samples::draw(study, measure, page);
        plot::draw(study, measure, page);
        lines(study, measure, page);
    }
    claims::draw(&study.claims, page);
    if !study.findings.is_empty() {
        page.gap();
    }
    for finding in &study.findings {
        page.wrap(Style::Plain, "   - ", finding);
    }
}

/// Whether a measure is a column of a table.
pub fn is_in_table(study: &Study, measure: &Measure) -> bool {
    study.tables.iter().any(|table| table.measures.contains(&measure.name))
}

fn heading(measure: &Measure) -> String {
    format!("{}: {} [{}]", measure.name, measure.title, source(measure.source))
}

/// The words for the source of figures.
pub fn source(source: Source) -> &'static str {
    match source {
        Source::Clock => "timed by the study",
        Source::Ebpf => "eBPF",
        Source::Count => "counted",
    }
}

/// The conditions of a study in one sentence.
pub fn conditions(environment: &Environment) -> String {
    let mut text = format!(
        "Median of {} after {} of warm-up, variants in turn, 95 % interval from order statistics",
        plural(u64::from(environment.repeats), "round"),
        environment.warmup
    );
    if environment.quick {
        text += ", reduced size (--quick)";
    }
    for (name, value) in [("CPU", &environment.cpu), ("clock", &environment.clocksource)] {
        if let Some(value) = value {
            text += &format!("; {name} {value}");
        }
    }
    if let Some(load) = environment.load {
        text += &format!("; load average {load:.2}");
    }
    text + &format!("; descriptor limit {}", count(environment.descriptors))
}

/// Writes the slopes and the crossings of a measure.
fn lines(study: &Study, measure: &Measure, page: &mut Page) {
    for fit in study.fits.iter().filter(|fit| fit.measure == measure.name) {
        let mut text = format!("{}: {}", fit.arm, quantity(fit.slope, &fit.unit));
        if let Some([low, high]) = fit.ci95 {
            let short = fit.unit.split(' ').next().unwrap_or_default();
            text += &format!(" (95 % interval {} to {})", quantity(low, short), quantity(high, short));
        }
        let end = point(fit.range[1]);
        text +=
            &format!(", plus {} at 0; from the points up to {end}", quantity(fit.intercept, &measure.unit));
        page.wrap(Style::Plain, "   slope  ", &text);
    }
    for one in study.crossovers.iter().filter(|one| one.measure == measure.name) {
        let Some(x) = one.x else { continue };
        let mut text =
            format!("{} costs more than {} from {} {} on", one.arm, one.other, point(x.round()), one.unit);
        if let Some([low, high]) = one.ci95 {
            text += &format!(" (95 % interval {} to {})", point(low.round()), point(high.round()));
        }
        page.wrap(Style::Plain, "   cross  ", &text);
    }
}
