//! What is said of a trace in words: warnings, and why nothing was seen.

use crate::domain::name::harmless;
use crate::rows::batch::{Counts, ThreadName};
use crate::rows::names::THREADS;
use crate::rows::opening::Opening;
use crate::rows::others::{PROCESSES, ROWS};
use crate::rows::processes::InFlightCalls;
use crate::rows::retired::ROWS as ENDED;
use crate::summary::{Document, Warning};

/// Processes that are named in a sentence; more are counted.
const LISTED: usize = 5;

/// Processes in a sentence, by name and number.
pub fn listed(processes: &[ThreadName]) -> String {
    let named =
        processes.iter().take(LISTED).map(|process| format!("{} ({})", harmless(&process.name), process.pid));
    let mut words: Vec<String> = named.collect();
    if processes.len() > LISTED {
        words.push(format!("{} more", processes.len() - LISTED));
    }
    words.join(", ")
}

/// What is said of processes that a command has started and left behind.
pub fn left_behind(processes: &[ThreadName]) -> String {
    format!(
        "the command has ended, and processes that it started still run: {}. They are not traced any longer; \
         --wait-all waits for them, -p PID traces them",
        listed(processes)
    )
}

/// One switch of so many may be unseen without a warning: a thousandth is less than the run queue's own spread.
const SWITCHES_FOR_ONE_UNSEEN: u64 = 1000;

/// What a result must say beside its figures. `switches` is how often threads left the CPU in the calls of all rows.
pub fn warnings(
    document: &Document,
    counts: &Counts,
    switches: u64,
    left: &[ThreadName],
    names_full: bool,
) -> Vec<Warning> {
    let mut warnings = Vec::new();
    let mut warn = |code: &str, text: String| warnings.push(Warning { code: code.to_owned(), text });
    if counts.rows_full > 0 {
        warn("rows_full", "calls found no row to be counted in: give more with --rows".to_owned());
    }
    if counts.threads_full > 0 {
        warn(
            "threads_full",
            "more threads at once than there is room for (about 36,000): the calls of some are not counted"
                .to_owned(),
        );
    }
    let unseen = document.loss.switches_unseen;
    if unseen > switches / SWITCHES_FOR_ONE_UNSEEN {
        warn(
            "switches_unseen",
            format!(
                "the kernel did not show {unseen} switches to traced threads, {switches} are in the rows: runq is too \
                 long by their work"
            ),
        );
    }
    if names_full {
        warn(
            "names_full",
            format!(
                "more than {THREADS} threads had names at once: some threads and processes are shown by number"
            ),
        );
    }
    if let Some(others) = document.processes.iter().find(|process| process.others) {
        let text = format!(
            "{} processes with the least time in calls are one entry, others: a result lists at most {PROCESSES} \
             processes, or {ROWS} rows of several, and of processes that have ended {ENDED} rows",
            others.processes
        );
        warn("processes_merged", text);
    }
    if document.loss.not_decoded > 0 {
        warn(
            "not_decoded",
            format!(
                "{} calls are in no row, or in one without their descriptor and flags: they were made by the x32 ABI, \
                 whose calls are not traced, or kept their arguments where they could not be read",
                document.loss.not_decoded
            ),
        );
    }
    if !left.is_empty() {
        warn("left_behind", left_behind(left));
    }
    if document.loss.recursion_misses.is_none() {
        warn(
            "recursion_misses_not_counted",
            "this kernel does not count skipped probe runs (since 5.12)".to_owned(),
        );
    }
    let cost = &document.overhead;
    if [cost.per_call_ns, cost.per_switch_ns, cost.per_other_call_ns].contains(&None) {
        warn("overhead_not_measured", "the cost of observing could not be measured here".to_owned());
    }
    warnings
}

/// Why no row is in a result.
pub fn why_nothing(opening: &Opening, open: &InFlightCalls) -> String {
    let waiting = open.before.len();
    if waiting > 0 {
        let who = match waiting {
            1 => "1 thread has been in one since before tracing began and still is".to_owned(),
            _ => format!("{waiting} threads have been in one since before tracing began and still are"),
        };
        return format!("no traced call returned: {who} (see in_flight)");
    }
    if !open.open.is_empty() {
        return "no traced call returned: those that began have not ended (see in_flight)".to_owned();
    }
    if opening.initial.is_empty() && !opening.with_command {
        return "no thread matched the target while it was traced".to_owned();
    }
    if opening.selective {
        return "no call passed -e and --min".to_owned();
    }
    "the target entered no traced call (it computes, sleeps, or waits on a lock)".to_owned()
}
