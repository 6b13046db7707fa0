//! The median messages of the arms in the figure: what their threads did, to scale, all on one axis.

use super::{Drawing, WIDTH};
use crate::domain::ThreadRole;
use crate::report::facts::thread;
use crate::report::page::columns;
use crate::report::scale::Scale;
use crate::report::study::{Common, latency, quantity};
use crate::report::units::Unit;
use crate::summary::{Lane, Picture, State};

const LEFT: f64 = 132.0;
const RIGHT: f64 = WIDTH - 92.0;
/// Width of the axis before its break, in pixels.
const WAIT: f64 = 170.0;
/// Width of the break.
const BREAK: f64 = 14.0;
/// Height of a lane.
const LANE: f64 = 15.0;
/// Height of the names of the calls below a lane.
const NAMES: f64 = 13.0;
/// Width of a character of the names.
const CHARACTER: f64 = 5.6;

/// Blocks of one state that are closer together than this are drawn as one.
const GAP: f64 = 0.5;

/// The axis: two pieces, each linear, that turn times into places.
struct Axis(Common);

impl Axis {
    fn wait_end() -> f64 {
        LEFT + WAIT
    }

    fn tail() -> f64 {
        LEFT + WAIT + BREAK
    }

    /// The place of a moment, which must not lie after the end.
    fn place(&self, time: u64) -> f64 {
        let Common { cut, end, .. } = self.0;
        let share = |time: u64, from: u64, to: u64| time as f64 / (to - from).max(1) as f64;
        if time < cut {
            return LEFT + share(time, 0, cut) * WAIT;
        }
        Self::tail() + share(time.min(end) - cut, cut, end) * (RIGHT - Self::tail())
    }

    /// The places that a stretch of time covers: one, or one on each side of the break.
    fn pieces(&self, from: u64, to: u64) -> Vec<(f64, f64)> {
        let Common { cut, end, .. } = self.0;
        let mut pieces = Vec::new();
        if from < cut {
            let until = if to < cut { self.place(to) } else { Self::wait_end() };
            pieces.push((self.place(from), until));
        }
        if to > cut && from < end {
            pieces.push((self.place(from.max(cut)), self.place(to)));
        }
        pieces
    }
}

/// Draws the pictures below the elements drawn so far.
pub fn draw(pictures: &[Picture], drawing: &mut Drawing) {
    let Some(common) = Common::of(pictures) else { return };
    let axis = Axis(common);
    legend(drawing);
    let top = drawing.height + 6.0;
    drawing.height += 10.0;
    let mut group = "";
    for picture in pictures {
        if picture.group != group {
            group = &picture.group;
            drawing.height += 20.0;
            drawing.text(24.0, drawing.height, r#"font-weight="bold""#, group);
            drawing.height += 6.0;
        }
        strip(picture, &axis, drawing);
    }
    let bottom = drawing.height + 6.0;
    let ready = axis.place(common.ready);
    drawing.line((ready, top + 8.0), (ready, bottom), r##"stroke="#b00020" stroke-dasharray="4 3""##);
    drawing.text(ready, top + 4.0, r##"text-anchor="middle" fill="#b00020" font-size="11.5""##, "data ready");
    let style = r##"text-anchor="end" fill="#555555" font-size="11.5""##;
    drawing.text(WIDTH - 24.0, top + 4.0, style, "latency");
    drawing.text(LEFT - 8.0, top + 4.0, style, "wait / copy");
    rule(&axis, bottom, drawing);
    drawing.height = bottom + 50.0;
}

fn colour(state: State) -> &'static str {
    match state {
        State::Wait => "#b8d4ea",
        State::Runq => "#e69f00",
        State::Lock => "#7a5c00",
        State::Copy => "#c1272d",
        State::Work => "#3b6ea5",
        State::Poll => "#9a6fb0",
    }
}

/// The application's own code.
const OWN: &str = "#5aa469";

fn legend(drawing: &mut Drawing) {
    let states = [
        ("asleep for data", colour(State::Wait)),
        ("woken, no CPU yet", colour(State::Runq)),
        ("asleep for a lock", colour(State::Lock)),
        ("polling", colour(State::Poll)),
        ("copying", colour(State::Copy)),
        ("other work in a call", colour(State::Work)),
        ("own code", OWN),
    ];
    let (mut x, y) = (24.0, drawing.height + 14.0);
    for (text, colour) in states {
        let (top, height) = if colour == OWN { (y - 5.0, 4.0) } else { (y - 9.0, 11.0) };
        block((x, x + 13.0), top, height, colour, drawing);
        drawing.text(x + 18.0, y, r#"font-size="12""#, text);
        x += 34.0 + 6.4 * text.len() as f64;
    }
    drawing.height = y + 16.0;
}

fn block(across: (f64, f64), top: f64, height: f64, colour: &str, drawing: &mut Drawing) {
    // What is shorter than half a pixel would not be seen at all.
    let width = (across.1 - across.0).max(0.8);
    drawing.element(&format!(
        r#"<rect x="{:.2}" y="{top:.1}" width="{width:.2}" height="{height}" fill="{colour}"/>"#,
        across.0
    ));
}

fn strip(picture: &Picture, axis: &Axis, drawing: &mut Drawing) {
    let shift = axis.0.shift(&picture.strip);
    let (want, had) = (shift, picture.strip.end_ns.saturating_add(shift));
    for (index, lane) in picture.strip.lanes.iter().enumerate() {
        let top = drawing.height + 4.0;
        let name = if index == 0 { picture.arm.as_str() } else { thread(lane.thread_role) };
        let style = if index == 0 { r#"text-anchor="end""# } else { r##"text-anchor="end" fill="#555555""## };
        drawing.text(LEFT - 8.0, top + 12.0, style, name);
        if lane.thread_role == ThreadRole::App {
            for piece in axis.pieces(want, had) {
                block(piece, top + 5.5, 4.0, OWN, drawing);
            }
        }
        states(lane, shift, axis, top, drawing);
        if index == 0 {
            end(picture, had, axis, top, drawing);
        }
        let below = top + LANE + 9.5;
        let mut named = calls(lane, shift, axis, below, drawing);
        if index == 0 {
            let style = r##"text-anchor="end" fill="#555555" font-size="10.5""##;
            drawing.text(LEFT - 8.0, below, style, &picture.caption);
            named = NAMES;
        }
        drawing.height = top + LANE + named;
    }
}

fn states(lane: &Lane, shift: u64, axis: &Axis, top: f64, drawing: &mut Drawing) {
    let at = |time: u64| time.saturating_add(shift);
    // The copy is drawn last, so that nothing hides it: it is short, and the reader looks for it.
    for copy in [false, true] {
        let mut blocks: Vec<(State, f64, f64)> = Vec::new();
        for segment in lane.segments.iter().filter(|segment| (segment.state == State::Copy) == copy) {
            for (left, right) in axis.pieces(at(segment.from_ns), at(segment.to_ns)) {
                match blocks.last_mut() {
                    // Many polls with no visible gap between them become one block.
                    Some(last) if last.0 == segment.state && left - last.2 < GAP => last.2 = right,
                    _ => blocks.push((segment.state, left, right)),
                }
            }
        }
        for (state, left, right) in blocks {
            block((left, right), top, LANE, colour(state), drawing);
        }
    }
}

/// The delivery of the message: its latency, or an arrow where the axis ends before it.
fn end(picture: &Picture, had: u64, axis: &Axis, top: f64, drawing: &mut Drawing) {
    if had > axis.0.end {
        drawing.text(RIGHT + 2.0, top + 12.0, r#"font-weight="bold""#, "\u{bb}");
    } else {
        let x = axis.place(had);
        drawing.line((x, top - 2.0), (x, top + LANE + 2.0), r##"stroke="#1a1a1a" stroke-width="1.4""##);
    }
    let style = r#"text-anchor="end" font-weight="bold""#;
    drawing.text(WIDTH - 24.0, top + 12.0, style, &Unit::Auto.show(latency(&picture.strip)));
}

/// Draws the names of calls below the lane, where they have room; returns the height that they take.
fn calls(lane: &Lane, shift: u64, axis: &Axis, y: f64, drawing: &mut Drawing) -> f64 {
    // Calls of the same name share it if the gap between them would hardly be visible.
    let close = (axis.0.end - axis.0.cut) / 150;
    let mut groups: Vec<(u64, u64, &str)> = Vec::new();
    for segment in &lane.segments {
        let Some(name) = segment.syscall.as_deref() else { continue };
        let (from, to) = (segment.from_ns.saturating_add(shift), segment.to_ns.saturating_add(shift));
        match groups.last_mut() {
            Some(last) if last.2 == name && from <= last.1.saturating_add(close) => last.1 = to,
            _ => groups.push((from, to, name)),
        }
    }
    let mut free = 0.0;
    let mut written = false;
    for (from, to, name) in groups {
        let width = CHARACTER * columns(name) as f64;
        for (left, right) in axis.pieces(from, to) {
            // A call shorter than its name may borrow room, as long as no other name has it.
            let middle = ((left + right) / 2.0).clamp(LEFT + width / 2.0, RIGHT - width / 2.0);
            if middle - width / 2.0 < free || right - left < width / 4.0 {
                continue;
            }
            drawing.text(middle, y, r##"text-anchor="middle" font-size="10" fill="#444444""##, name);
            free = middle + width / 2.0 + 6.0;
            written = true;
        }
    }
    if written { NAMES } else { 3.0 }
}

/// Draws the axis, with one scale on each side of the break.
fn rule(axis: &Axis, y: f64, drawing: &mut Drawing) {
    let Common { ready, cut, end } = axis.0;
    let stroke = r##"stroke="#1a1a1a""##;
    drawing.line((LEFT, y), (Axis::wait_end(), y), stroke);
    drawing.line((Axis::tail(), y), (RIGHT, y), stroke);
    for x in [Axis::wait_end(), Axis::tail()] {
        drawing.line((x - 3.0, y + 5.0), (x + 3.0, y - 5.0), stroke);
    }
    let label = |time: f64| match time {
        0.0 => "ready".to_owned(),
        time if time < 0.0 => format!("-{}", quantity(-time, "ns")),
        time => format!("+{}", quantity(time, "ns")),
    };
    let mark = |time: f64, x: f64, drawing: &mut Drawing| {
        drawing.line((x, y), (x, y + 5.0), stroke);
        drawing.text(x, y + 19.0, r#"text-anchor="middle" font-size="11.5""#, &label(time));
    };
    mark(-(ready as f64), LEFT, drawing);
    let (low, high) = (cut as f64 - ready as f64, (end - ready) as f64);
    let Some(scale) = Scale::of([low, high], false) else { return };
    let ticks = scale.marks().into_iter().filter(|&time| time >= low && time <= high);
    for time in ticks {
        let x = Axis::tail() + (time - low) / (high - low) * (RIGHT - Axis::tail());
        mark(time, x, drawing);
    }
    let style = r##"text-anchor="middle" fill="#555555" font-size="11.5""##;
    drawing.text(LEFT + WAIT / 2.0, y + 36.0, style, "the wait, shortened");
    let text = "time since data was ready, on one scale for all";
    drawing.text((Axis::tail() + RIGHT) / 2.0, y + 36.0, style, text);
}
