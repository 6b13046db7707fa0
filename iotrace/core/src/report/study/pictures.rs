//! The median messages of the arms as text: one lane for each thread, all on one axis.

use super::common::{Common, latency};
use crate::domain::ThreadRole;
use crate::report::facts::thread;
use crate::report::page::{Page, fit};
use crate::report::paint::Style;
use crate::report::timeline::axis::Axis;
use crate::report::timeline::lanes;
use crate::report::units::Unit;
use crate::summary::{Lane, Picture};

/// Columns left of the lanes, for the names.
const NAME: usize = 17;
/// Columns right of the lanes, for the latency.
const RIGHT: usize = 10;

/// Writes all pictures; nothing if there are none.
pub fn draw(pictures: &[Picture], page: &mut Page) {
    let Some(common) = Common::of(pictures) else { return };
    let width = page.width() - NAME - RIGHT;
    let axis =
        Axis::cut(&[0, common.cut, common.end], &[22, 78], common.ready, width).told_from(common.ready);
    page.gap();
    page.wrap(Style::Title, "   ", "The median message of each variant, from request to delivery");
    let ready = axis.column(common.ready);
    let right = width + RIGHT - ready - "▼ data ready".chars().count();
    page.line(Style::Dim, format!("{:NAME$}{:ready$}▼ data ready{:>right$}", "", "", "latency"));
    let mut group = "";
    for picture in pictures {
        if picture.group != group {
            group = &picture.group;
            page.line(Style::Dim, format!(" {group}"));
        }
        for (index, lane) in picture.strip.lanes.iter().enumerate() {
            let name =
                if index == 0 { picture.arm.clone() } else { format!("  {}", thread(lane.thread_role)) };
            let states = states(picture, lane, &common, &axis);
            let end = if index == 0 { Unit::Auto.show(latency(&picture.strip)) } else { String::new() };
            page.line(Style::Parts, format!(" {} {states}{end:>RIGHT$}", fit(&name, NAME - 2)));
        }
    }
    for line in axis.draw(Unit::Auto) {
        page.line(Style::Dim, format!("{:NAME$}{line}", ""));
    }
    page.line(
        Style::Parts,
        "   ░ asleep for data   ▒ woken, no CPU yet   ▓ asleep for a lock   ▚ polling   █ copying",
    );
    page.line(Style::Parts, "   ▄ other work in a call   · the application's own code   » goes on longer");
    page.wrap(
        Style::Dim,
        "   ",
        "One axis for all; // changes its scale. Latency: data ready to delivered to the application. What is \
         shorter than a cell gets a whole one.",
    );
}

/// The states of a lane, blank before the request and after the end.
fn states(picture: &Picture, lane: &Lane, common: &Common, axis: &Axis) -> String {
    let shift = common.shift(&picture.strip);
    let mut lane = lane.clone();
    lane.segments.retain(|segment| segment.from_ns.saturating_add(shift) < common.end);
    for segment in &mut lane.segments {
        segment.from_ns = segment.from_ns.saturating_add(shift);
        segment.to_ns = segment.to_ns.saturating_add(shift).min(common.end);
    }
    let end = picture.strip.end_ns.saturating_add(shift);
    let (first, last) = (axis.column(shift), axis.column(end.min(common.end)));
    let mut line: Vec<char> = lanes::states(&lane, axis).chars().collect();
    for (column, sign) in line.iter_mut().enumerate() {
        if column < first || column > last {
            *sign = ' ';
        }
    }
    if end > common.end && lane.thread_role == ThreadRole::App {
        line[last] = '»';
    }
    line.into_iter().collect()
}
