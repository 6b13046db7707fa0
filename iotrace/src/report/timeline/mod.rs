//! The median message of each run as a picture: one lane a thread, marks above, a time axis below.

mod axis;
mod lanes;
mod marks;

use super::page::Page;
use super::paint::Style;
use super::units::{Unit, count};
use super::{closing, header};
use crate::summary::{Document, Run, State, Strip};
use axis::Axis;

/// Columns left of the lanes: whose thread.
const NAME: usize = 14;
/// Columns right of the lanes, so that the label of the last mark has room.
const MARGIN: usize = 17;

/// All runs, what the signs mean, and what to know.
pub fn draw(document: &Document, unit: Unit, page: &mut Page) {
    header::document(document, unit, page);
    for run in &document.runs {
        page.gap();
        header::run(run, page);
        match &run.strip {
            Some(strip) => picture(strip, unit, page),
            None => none(run, page),
        }
    }
    if document.runs.iter().any(|run| run.strip.is_some()) {
        legend(page);
    }
    closing::draw(document, unit, page);
}

fn none(run: &Run, page: &mut Page) {
    let why = match run.operations.count {
        0 => "no message could be joined: the kernel's records show none arriving at the application"
            .to_owned(),
        seen => format!("{} messages arrived, but none has the records of its whole life", count(seen)),
    };
    page.wrap(Style::Plain, "   no picture: ", &why);
}

fn picture(strip: &Strip, unit: Unit, page: &mut Page) {
    let axis = Axis::new(strip, page.width() - NAME - MARGIN);
    let indent = " ".repeat(NAME);
    page.line(
        Style::Dim,
        format!("   message {} (counted from 0), the one with the median latency", count(strip.message)),
    );
    page.gap();
    for line in marks::draw(strip, &axis, unit, axis.width() + MARGIN) {
        page.line(Style::Plain, format!("{indent}{line}"));
    }
    for lane in &strip.lanes {
        let (states, calls) = lanes::draw(lane, &axis);
        page.line(Style::Parts, format!("{}{states}", lanes::name(lane, NAME)));
        if !calls.trim().is_empty() {
            page.line(Style::Dim, format!("{indent}{calls}"));
        }
    }
    for line in axis.draw(unit) {
        page.line(Style::Dim, format!("{indent}{line}"));
    }
    page.gap();
    page.wrap(Style::Plain, "   ", &summary(strip, unit));
}

/// The picture in numbers.
fn summary(strip: &Strip, unit: Unit) -> String {
    let mut parts = Vec::new();
    let ready = at(strip, "ready");
    if let Some(ready) = ready {
        parts.push(format!("phase 1, want to ready: {}", unit.show(ready)));
    }
    let copies = || {
        let segments = strip.lanes.iter().flat_map(|lane| &lane.segments);
        segments.filter(|segment| segment.state == State::Copy && segment.from_ns >= ready.unwrap_or(0))
    };
    if let Some(first) = copies().map(|copy| copy.from_ns).min() {
        if let Some(ready) = ready {
            parts.push(format!("ready to copy: {}", unit.show(first - ready)));
        }
        let copied =
            copies().fold(0, |sum: u64, copy| sum.saturating_add(copy.to_ns.saturating_sub(copy.from_ns)));
        parts.push(format!("phase 2, copy: {}", unit.show(copied)));
    } else {
        parts.push("phase 2, copy: not timed".to_owned());
    }
    if let Some(ready) = ready {
        parts.push(format!("latency, ready to had: {}", unit.show(strip.end_ns.saturating_sub(ready))));
    }
    parts.join("   ")
}

/// When the mark was, if the strip has it.
fn at(strip: &Strip, name: &str) -> Option<u64> {
    strip.marks.iter().find(|mark| mark.name == name).map(|mark| mark.at_ns)
}

fn legend(page: &mut Page) {
    page.gap();
    page.line(Style::Title, "How to read this");
    page.line(
        Style::Parts,
        "   ░ asleep for data   ▒ runq: woken, no CPU yet   ▓ asleep for a lock   ▚ polling   █ copying",
    );
    page.line(Style::Parts, "   ▄ other work in a call   · the application's own code   (blank: idle)");
    page.wrap(
        Style::Plain,
        "   ",
        "// the axis changes its scale; whatever is shorter than a cell is drawn as one. Left of // times count \
         from wanting the message, right of it from the moment it was ready.",
    );
}
