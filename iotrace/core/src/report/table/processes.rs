//! The processes of a trace: the models that each uses, where its calls spent their time, and which threads woke it.

use super::calls;
use super::time;
use crate::report::facts::named;
use crate::report::page::{Page, clip, columns};
use crate::report::paint::Style;
use crate::report::units::{Unit, count, plural};
use crate::summary::{InFlight, Process};

/// Most calls in flight that are listed for a process.
const IN_FLIGHT: usize = 5;

/// Most rows of calls that are shown of a process.
const ROWS: usize = 60;

/// Every process, and below them the meaning of the words; as a summary only its time and what that means.
pub fn draw(processes: &[Process], unit: Unit, summary: bool, page: &mut Page) {
    for process in processes {
        page.gap();
        head(process, page);
        time::draw(process, unit, page);
        if summary {
            continue;
        }
        for model in &process.models {
            let share = format!("   model: {} {:.0} %: ", model.model, model.share * 100.0);
            page.wrap(Style::Plain, &share, &model.evidence);
        }
        if !process.calls.is_empty() {
            page.gap();
            rows(process, unit, page);
        }
        wakers(process, page);
        in_flight(process, unit, page);
    }
    if !summary && processes.iter().any(|process| !process.calls.is_empty()) {
        legend(page);
    }
}

fn head(process: &Process, page: &mut Page) {
    let who = match process.pid {
        0 if process.others => format!("{} processes of several names", count(process.processes)),
        0 if process.processes == 1 => "one process that ended".to_owned(),
        0 => format!("{} processes that ended", count(process.processes)),
        pid => format!("process {pid}"),
    };
    let mut title = format!("── {} · {who}", clip(named(&process.comm), 32));
    if process.threads > 1 {
        title += &format!(" · {}", plural(process.threads, "thread"));
    }
    title.push(' ');
    let rule = page.width().saturating_sub(columns(&title));
    page.line(Style::Title, title + &"─".repeat(rule));
}

/// The rows of calls, as far as a reader may want to see them, and how many more there are.
fn rows(process: &Process, unit: Unit, page: &mut Page) {
    let shown = process.calls.len().min(ROWS);
    calls::draw(&process.calls[..shown], unit, page);
    let more = (process.calls.len() - shown) as u64;
    if more + process.rows_left_out > 0 {
        let all = plural(more + process.rows_left_out, "more row");
        let how = if more > 0 { "--format json has them all" } else { "--top N shows more" };
        page.line(Style::Dim, format!("   {all} with less time that is not idle: {how}"));
    }
}

fn wakers(process: &Process, page: &mut Page) {
    if process.wakers.is_empty() {
        return;
    }
    let all: Vec<String> = process
        .wakers
        .iter()
        .map(|waker| {
            let who = match (waker.tid, waker.comm.as_str()) {
                (0, "interrupt") => "an interrupt".to_owned(),
                (0, "network") => "the network".to_owned(),
                (0, "disk") => "the disk".to_owned(),
                (0, "timer") => "its timeout".to_owned(),
                (0, "several") => "threads that are not told apart".to_owned(),
                (0, comm) => named(comm).to_owned(),
                (tid, comm) => format!("{} {tid}", named(comm)),
            };
            let how = if waker.by_socket { ", data on a socket" } else { "" };
            format!("{who} ({} in {}{how})", plural(waker.wakes, "time"), waker.syscall)
        })
        .collect();
    page.gap();
    page.wrap(Style::Plain, "   woken by: ", &all.join("; "));
}

fn in_flight(process: &Process, unit: Unit, page: &mut Page) {
    let calls: &[InFlight] = &process.in_flight;
    if calls.is_empty() {
        return;
    }
    let mut all: Vec<String> = calls
        .iter()
        .take(IN_FLIGHT)
        .map(|call| {
            let since = if call.since_before { ", since before tracing began" } else { "" };
            let age = match call.at_least_ns {
                0 => "just entered".to_owned(),
                ns => format!("for at least {}", unit.show(ns)),
            };
            format!("thread {} in {}, {age}{since}", call.tid, call.syscall)
        })
        .collect();
    let more = calls.len().saturating_sub(IN_FLIGHT) as u64 + process.in_flight_left_out;
    if more > 0 {
        all.push(format!("{} more", count(more)));
    }
    page.wrap(Style::Plain, "   still open: ", &all.join("; "));
}

fn legend(page: &mut Page) {
    page.gap();
    page.line(Style::Dim, "How to read this");
    for line in [
        "  wait    asleep until data is there (output: until there is room); phase 1",
        "  runq    woken or preempted, waiting for a CPU      disk  asleep until a disk has the data; phase 1",
        "  lock    asleep for anything else: a lock of the kernel, a page fault",
        "  copy    moving the data; phase 2. No mark: between tracepoints; ~: estimated from its bytes",
        "  work    everything else on the CPU          wait + runq + disk + lock + copy + work = total",
        "  pickup  data was ready on the socket (sk_data_ready), but not yet read",
        "  woken   by the thread that woke, or by the kind of the interrupt that did",
        "  bars    ░ wait   ▒ runq   ▞ disk   ▓ lock   █ copy   ▄ work      -  not measured, never zero",
    ] {
        page.line(Style::Dim, line);
    }
}
