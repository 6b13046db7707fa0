//! The median message of each run as a picture of text: one lane for each thread, marks above, an axis of time below.

pub(super) mod axis;
mod calls;
pub(super) mod lanes;
mod marks;

use super::page::Page;
use super::paint::Style;
use super::units::{Unit, count, plural};
use super::{closing, header};
use crate::summary::{Document, Run, State, Strip};
use axis::Axis;

/// Columns left of the lanes, for the thread.
const NAME: usize = 14;
/// Columns right of the lanes, so that the label of the last mark has room.
const MARGIN: usize = 20;

/// Writes the pictures of all runs, the longest calls of all processes, and explanations.
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
    calls::draw(&document.processes, unit, page);
    closing::draw(document, unit, page);
}

fn none(run: &Run, page: &mut Page) {
    let why = match run.operations.count {
        0 => "the kernel's records show no message arriving at the application".to_owned(),
        seen => format!("{} arrived, but some record of each is missing", plural(seen, "message")),
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
    page.line(Style::Plain, format!("{}{}", super::page::fit(" phases", NAME), phases(strip, &axis)));
    for line in axis.draw(unit) {
        page.line(Style::Dim, format!("{indent}{line}"));
    }
    page.gap();
    page.wrap(Style::Plain, "   ", &summary(strip, unit));
}

/// The copies after `ready`: when the first began, when the last ended, and how long they took together, ns.
fn copy(strip: &Strip, ready: u64) -> Option<(u64, u64, u64)> {
    let segments = strip.lanes.iter().flat_map(|lane| &lane.segments);
    let copies = segments.filter(|segment| segment.state == State::Copy && segment.from_ns >= ready);
    copies.fold(None, |sum, copy| {
        let (from, to, took) = sum.unwrap_or((copy.from_ns, copy.to_ns, 0_u64));
        let length = copy.to_ns.saturating_sub(copy.from_ns);
        Some((from.min(copy.from_ns), to.max(copy.to_ns), took.saturating_add(length)))
    })
}

/// The two phases as brackets on the axis.
fn phases(strip: &Strip, axis: &Axis) -> String {
    let mut line = vec![' '; axis.width() + MARGIN];
    let mut bracket = |from: u64, to: u64, names: [&str; 2], outside: &str| {
        let (from, to) = (axis.column(from), axis.column(to.max(from)));
        line[from..=to].fill('─');
        (line[from], line[to]) = ('├', '┤');
        let (first, room) = axis.unbroken(from, to);
        match names.iter().find(|name| name.len() + 4 <= room) {
            Some(name) => axis::write(&mut line, first + (room - name.len() - 2) / 2, &format!(" {name} ")),
            None => axis::write(&mut line, to + 1, outside),
        }
    };
    if let Some(ready) = at(strip, "ready") {
        bracket(0, ready, ["phase 1: wait for data", "phase 1"], "");
        if let Some((from, to, _)) = copy(strip, ready) {
            bracket(from, to, ["phase 2: copy", "phase 2"], " phase 2: copy");
        }
    }
    axis.broken(&mut line);
    line.into_iter().collect()
}

/// The picture in numbers.
fn summary(strip: &Strip, unit: Unit) -> String {
    let Some(ready) = at(strip, "ready") else {
        return format!(
            "request to delivery {} · data was there before it was asked for",
            unit.show(strip.end_ns)
        );
    };
    let copied = match copy(strip, ready) {
        Some((from, _, took)) => {
            format!("ready to copy {} · phase 2 (copy) {}", unit.show(from - ready), unit.show(took))
        }
        None => "phase 2 (copy) not timed".to_owned(),
    };
    let latency = strip.end_ns.saturating_sub(ready);
    format!("phase 1 (wait) {} · {copied} · latency {}", unit.show(ready), unit.show(latency))
}

/// The time of the mark `name`, ns after the request, if the strip has it.
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
        "// the axis changes its scale. What is shorter than a cell gets a whole one. Left of //, times count from \
         the request for the message; right of it, from the moment its data was ready.",
    );
}
