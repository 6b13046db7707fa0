//! One lane of a picture of text: what a thread did, cell by cell, and the calls that it was in.

use super::axis::{Axis, write};
use crate::domain::ThreadRole;
use crate::report::facts::thread;
use crate::report::page::fit;
use crate::summary::{Lane, Segment, State};

/// The name of the thread in front of its lane, in `width` columns.
pub fn name(lane: &Lane, width: usize) -> String {
    format!(" {} ", fit(&format!("{} {}", thread(lane.thread_role), lane.tid), width - 2))
}

/// Two lines: the states, and the calls below them.
pub fn draw(lane: &Lane, axis: &Axis) -> (String, String) {
    (states(lane, axis), calls(lane, axis))
}

fn glyph(state: State) -> char {
    match state {
        State::Wait => '░',
        State::Lock => '▓',
        State::Runq => '▒',
        State::Copy => '█',
        State::Work => '▄',
        State::Poll => '▚',
    }
}

/// The line of the states.
pub fn states(lane: &Lane, axis: &Axis) -> String {
    // Between calls a thread of the application runs its own code; other threads are idle.
    let idle = if lane.thread_role == ThreadRole::App { '·' } else { ' ' };
    let mut line: Vec<char> = (0..axis.width())
        .map(|column| {
            let span = axis.span(column).unwrap_or_default();
            let longest = lane.segments.iter().max_by_key(|segment| overlap(segment, span));
            match longest {
                // Only if it fills half of the cell; otherwise the gaps around it are longer.
                Some(segment) if 2 * overlap(segment, span) >= (span.1 - span.0).max(1) => {
                    glyph(segment.state)
                }
                _ => polled(lane, span).unwrap_or(idle),
            }
        })
        .collect();
    // A segment that no cell shows gets one. Copies come last, so that no other segment hides them.
    for copy in [false, true] {
        for segment in lane.segments.iter().filter(|segment| (segment.state == State::Copy) == copy) {
            let cells = axis.column(segment.from_ns)..=axis.column(segment.to_ns);
            let shown = cells.clone().any(|column| line[column] == glyph(segment.state));
            if !shown && segment.to_ns > segment.from_ns && segment.state != State::Poll {
                line[*cells.start()] = glyph(segment.state);
            }
        }
    }
    axis.broken(&mut line);
    line.into_iter().collect()
}

fn overlap(segment: &Segment, (from, to): (u64, u64)) -> u64 {
    segment.to_ns.min(to).saturating_sub(segment.from_ns.max(from))
}

/// The sign for polling if polls together fill half of the cell, even though no single poll does.
fn polled(lane: &Lane, span: (u64, u64)) -> Option<char> {
    let polls = lane.segments.iter().filter(|segment| segment.state == State::Poll);
    let together = polls.fold(0, |sum: u64, segment| sum.saturating_add(overlap(segment, span)));
    (together > 0 && 2 * together >= span.1 - span.0).then(|| glyph(State::Poll))
}

/// The line of the calls: brackets with the names of the syscalls, where a name fits.
fn calls(lane: &Lane, axis: &Axis) -> String {
    let mut groups: Vec<(usize, usize, &str)> = Vec::new();
    for segment in &lane.segments {
        let Some(call) = segment.syscall.as_deref() else { continue };
        let (from, to) = (axis.column(segment.from_ns), axis.column(segment.to_ns.max(segment.from_ns)));
        match groups.last_mut() {
            // Calls of the same name that are less than a cell apart share a bracket.
            Some(last) if last.2 == call && from <= last.1 + 1 => last.1 = last.1.max(to),
            _ => groups.push((from, to, call)),
        }
    }
    let mut line = vec![' '; axis.width()];
    let mut free = 0;
    for (index, &(from, to, call)) in groups.iter().enumerate() {
        let next = groups.get(index + 1).map_or(axis.width(), |group| group.0);
        let length = call.chars().count();
        if to - from >= length + 2 {
            line[from..=to].fill('─');
            (line[from], line[to]) = ('└', '┘');
            write(&mut line, from + (to - from).div_ceil(2) - length / 2, call);
            free = to + 1;
        } else if from >= free && from + 1 + length < next {
            line[from] = '└';
            write(&mut line, from + 1, call);
            free = from + 2 + length;
        }
    }
    line.into_iter().collect()
}
