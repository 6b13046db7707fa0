//! The rows of calls of a run or process: where the calls spent their time.

use super::grid::{Column, grid};
use crate::domain::{CopySource, Direction, Role, WaitsFor};
use crate::report::bar::{PARTS, bar};
use crate::report::facts::{mark, named, role, thread};
use crate::report::page::{Page, clip, fit};
use crate::report::paint::Style;
use crate::report::units::{NONE, Unit, bytes, compact, count, plural};
use crate::summary::Call;

const COLUMNS: [Column; 10] = [
    Column::text("syscall", 15),
    Column::number("calls", 6),
    Column::number("total", 7),
    Column::number("p50/call", 8),
    Column::number("wait", 7),
    Column::number("runq", 7),
    Column::number("disk", 7),
    Column::number("lock", 7),
    Column::number("copy", 8),
    Column::number("work", 7),
];
/// Columns left of a bar, for the purpose of the call and its thread.
const WHO: usize = 22;

/// Writes for each row a line of numbers, a bar, and notes if there are any.
pub fn draw(calls: &[Call], unit: Unit, page: &mut Page) {
    if calls.is_empty() {
        page.line(Style::Plain, "   no traced call returned");
        return;
    }
    // Numbers in a forced unit are wider, so they get less space between them.
    let gap = if unit == Unit::Auto { 2 } else { 1 };
    let lines = grid(&COLUMNS, gap, calls.iter().map(|call| cells(call, unit)).collect());
    for (index, line) in lines.iter().enumerate() {
        let style = if index == 0 { Style::Dim } else { Style::Plain };
        page.line(style, format!("   {line}"));
        if let Some(call) = index.checked_sub(1).and_then(|row| calls.get(row)) {
            let cells = page.width().saturating_sub(WHO + 4);
            page.line(
                Style::Parts,
                format!("     {}{}", fit(&who(call), WHO - 1), bar(parts(call), PARTS, cells)),
            );
            let notes = notes(call, unit);
            if !notes.is_empty() {
                page.wrap(Style::Dim, "     ", &notes.join(", "));
            }
        }
    }
}

fn parts(call: &Call) -> [u64; 6] {
    [call.wait_ns, call.runq_ns, call.disk_ns, call.lock_ns, call.copy_ns, call.work_ns]
}

fn cells(call: &Call, unit: Unit) -> Vec<String> {
    let copy = match call.copy_source {
        CopySource::None => NONE.to_owned(),
        source => format!("{}{}", unit.cell(call.copy_ns), mark(Some(source))),
    };
    vec![
        clip(&call.syscall, 15),
        compact(call.calls),
        unit.cell(call.total_ns),
        if call.latency.count == 0 { NONE.to_owned() } else { unit.cell(call.latency.p50_ns) },
        unit.cell(call.wait_ns),
        unit.cell(call.runq_ns),
        unit.cell(call.disk_ns),
        unit.cell(call.lock_ns),
        copy,
        unit.cell(call.work_ns),
    ]
}

fn who(call: &Call) -> String {
    let whose = call.tid.map_or_else(|| thread(call.thread_role).to_owned(), |tid| tid.to_string());
    match call.direction {
        Some(Direction::Out) => format!("output, {whose}"),
        _ => format!("{}, {whose}", role(call.role)),
    }
}

/// What a call returns a number of, if it is no number of bytes.
fn returns(call: &Call) -> Option<&'static str> {
    Some(match (call.role, call.syscall.as_str()) {
        (Role::Readiness, _) => "event",
        (_, "io_getevents" | "io_pgetevents") => "completion",
        (_, "io_uring_enter" | "io_submit") => "request",
        (_, "rt_sigtimedwait") => "signal",
        (_, "recvmmsg" | "sendmmsg") => "message",
        _ => return None,
    })
}

/// The bytes that calls moved, and how many each of them: those that failed moved none.
fn moved(call: &Call) -> String {
    let all = bytes(call.bytes);
    let done =
        call.calls.saturating_sub(call.errors.values().fold(0, |sum, times| times.saturating_add(sum)));
    match call.bytes.checked_div(done) {
        // One call, or none that ended: the sum says all of it.
        None => all,
        Some(_) if done == 1 => all,
        Some(0) => format!("{all}, less than 1 B a call"),
        Some(each) => format!("{all}, {} a call", bytes(each)),
    }
}

fn notes(call: &Call, unit: Unit) -> Vec<String> {
    let mut notes: Vec<String> =
        call.thread_name.iter().map(|name| format!("thread {}", named(name))).collect();
    notes.extend(call.fd.iter().map(|fd| clip(&format!("{} {}", fd.kind, fd.name), 60)));
    let again = call.errors.get("EAGAIN").copied().unwrap_or(0);
    // One that found its data there, or asks again and again, does not wait.
    match call.waits_for.filter(|_| call.wait_ns > 0 && again <= call.sleeps) {
        Some(WaitsFor::NextRequest) => notes.push("idle: waits for the next request".to_owned()),
        Some(WaitsFor::Reply) => notes.push("waits for a reply".to_owned()),
        None => {}
    }
    notes.extend(call.errors.iter().map(|(error, &times)| format!("{} {error}", count(times))));
    let said = |times: u64, what: &str| (times > 0).then(|| format!("{} {what}", count(times)));
    notes.extend(said(call.open, "still open"));
    notes.extend(said(call.denied, "denied"));
    let counted = [(call.timeouts, "timeout"), (call.restarts, "restart")];
    notes.extend(counted.iter().filter(|(times, _)| *times > 0).map(|(times, noun)| plural(*times, noun)));
    notes.extend(said(call.empty, "returned nothing at once"));
    notes.extend(said(call.slept_calls, "slept"));
    notes.extend(returns(call).filter(|_| call.returned > 0).map(|what| plural(call.returned, what)));
    if call.bytes > 0 {
        notes.push(moved(call));
    }
    if call.peeked_bytes > 0 {
        notes.push(format!("{} peeked", bytes(call.peeked_bytes)));
    }
    if let Some(phase2) = &call.phase2
        && call.copy_source != CopySource::None
    {
        notes.push(format!("copy p50 {}{}", unit.show(phase2.p50_ns), mark(Some(call.copy_source))));
    }
    if let Some(upper) = call.copy_upper_ns {
        notes.push(format!("all copies together at most {}", unit.show(upper)));
    }
    if let Some(pickup) = &call.pickup {
        let (p50, p99) = (unit.show(pickup.p50_ns), unit.show(pickup.p99_ns));
        notes.push(format!("pickup p50 {p50}, p99 {p99} ({} times)", count(pickup.count)));
    }
    if let Some(floor) = call.copy_floor_ns {
        notes.push(format!("floor of {} per copy subtracted", unit.show(floor)));
    }
    notes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;

    #[test]
    fn bytes_are_told_for_each_call_that_moved_some() {
        let of = |calls, bytes, errors: &[(&str, u64)]| {
            let mut call = sample::call("read", Role::Data, 200, [0, 0, 0, 0, 1000], CopySource::None);
            (call.calls, call.bytes) = (calls, bytes);
            call.errors = errors.iter().map(|&(name, times)| (name.to_owned(), times)).collect();
            moved(&call)
        };
        assert_eq!(of(200, 200, &[]), "200 B, 1 B a call");
        assert_eq!(of(300, 4096, &[("EAGAIN", 284), ("EINTR", 14)]), "4.0 KiB, 2.0 KiB a call");
        assert_eq!(of(1, 4096, &[]), "4.0 KiB");
        assert_eq!(of(200, 7, &[]), "7 B, less than 1 B a call", "reads that found an end");
        assert_eq!(of(2, 9, &[("EIO", 5)]), "9 B", "of a damaged recording");
    }
}
