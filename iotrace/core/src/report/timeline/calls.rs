//! The longest calls of a trace, in order of time, each with a bar of its parts.

use crate::report::bar::{PARTS, bar};
use crate::report::page::{Page, clip, fit};
use crate::report::paint::Style;
use crate::report::units::{Unit, count};
use crate::summary::{LongCall, Process};

/// Columns of the bar of a call.
const BAR: usize = 29;

/// Writes the longest calls of each process that has any.
pub fn draw(processes: &[Process], unit: Unit, page: &mut Page) {
    let with_calls: Vec<&Process> = processes.iter().filter(|process| !process.longest.is_empty()).collect();
    for process in &with_calls {
        page.gap();
        page.line(Style::Title, format!("── {} · process {}", clip(&process.comm, 40), process.pid));
        page.line(
            Style::Dim,
            format!("   {:>11}  {:>7}  {:30}  {:>9}", "began at", "thread", "call", "took"),
        );
        for call in &process.longest {
            page.line(Style::Parts, line(call, unit));
        }
    }
    if !with_calls.is_empty() {
        page.gap();
        page.line(
            Style::Dim,
            "The longest calls of the trace, in order of time, counted from its beginning; without those that mostly",
        );
        page.line(
            Style::Dim,
            "wait for the next event or request.   * waited for a CPU while iotrace itself was at work",
        );
        page.line(
            Style::Dim,
            "░ wait   ▒ runq   ▞ disk   ▓ lock   █ copy between tracepoints   ▄ work, and copies without marks",
        );
    }
}

fn line(call: &LongCall, unit: Unit) -> String {
    let fd = call.fd.map_or(String::new(), |fd| fd.to_string());
    let returned = call.error.clone().unwrap_or_else(|| call.returned.to_string());
    let times = if call.calls > 1 { format!(" x {}", count(call.calls)) } else { String::new() };
    let what = fit(&format!("{}({fd}) = {returned}{times}", call.syscall), 30);
    let parts = [call.wait_ns, call.runq_ns, call.disk_ns, call.lock_ns, call.copy_ns, call.work_ns];
    let at = format!("{:.6} s", call.at_ns as f64 / 1e9);
    let own = if call.beside_iotrace { '*' } else { ' ' };
    format!(
        "  {own}{at:>11}  {:>7}  {what}  {:>9}  {}",
        call.tid,
        unit.show(call.total_ns),
        bar(parts, PARTS, BAR)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::page::columns;

    #[test]
    fn a_line_fits_whatever_is_in_it() {
        let call = LongCall {
            at_ns: 99_999_000_000_000,
            tid: 4_194_304,
            syscall: "io_uring_enter".to_owned(),
            fd: Some(i32::MAX),
            calls: u64::MAX,
            returned: i64::MIN,
            error: None,
            total_ns: 86_400_000_000_000,
            wait_ns: 1,
            disk_ns: 1,
            lock_ns: 1,
            runq_ns: 1,
            copy_ns: 1,
            work_ns: 1,
            woken_by: None,
            beside_iotrace: true,
        };
        assert!(columns(&line(&call, Unit::Auto)) <= 100, "{}", line(&call, Unit::Auto));
    }
}
