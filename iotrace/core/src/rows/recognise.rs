//! Which I/O models a process uses, by what it did, never by its name.
//!
//! The weight of a model is the number of transfers to the process that came by it:
//! - a data call that slept is *blocking* I/O;
//! - a data call that did not sleep, in a process that waits with `select`, `poll` or `epoll_wait`, belongs to
//!   these models, in proportion to the events that each of these calls returned;
//! - many `EAGAIN` returns beyond one for each such event are *nonblocking* polling;
//! - requests count as their submit calls return them.
//!
//! All other transfers found data that was there already.

use crate::domain::Triggers;
use crate::domain::{Direction, Role};
use crate::summary::{Call, ModelUse};

/// A process with more `EAGAIN` returns per read than this polls: it asks again and again.
const POLLS_PER_READ: f64 = 2.0;

/// Counts of a process's calls by their outcome, in calls.
struct Counts {
    reads: f64,
    slept: f64,
    again: f64,
    file_reads: f64,
    readiness: Vec<(&'static str, f64, f64, f64)>,
    submitted: f64,
    aio: f64,
    signals: f64,
    seeks_refused: f64,
}

/// The models of a process, the most used first; empty when no data came in.
pub fn models(calls: &[Call], triggers: Triggers) -> Vec<ModelUse> {
    let counts = Counts::of(calls, triggers);
    let events: f64 = counts.readiness.iter().map(|kind| kind.1).sum();
    let awake = (counts.reads - counts.slept).max(0.0);
    let polling = counts.again > POLLS_PER_READ * counts.reads.max(events).max(1.0);
    let mut models = Vec::new();
    let mut add = |model: &str, weight: f64, evidence: String| {
        if weight > 0.0 {
            models.push((model.to_owned(), weight, evidence));
        }
    };
    if counts.seeks_refused > 0.0 && counts.slept > 0.0 {
        let served = counts.seeks_refused.min(counts.slept);
        add(
            "posix-aio",
            served,
            format!(
                "{served} reads that slept right after a pread64 refused with ESPIPE: glibc's helper threads"
            ),
        );
        add("blocking", counts.slept - served, slept(counts.slept - served, counts.reads));
    } else {
        add("blocking", counts.slept, slept(counts.slept, counts.reads));
    }
    for &(model, returned, empty, waits) in &counts.readiness {
        let share = if events > 0.0 { returned / events } else { 0.0 };
        let mut evidence = format!(
            "{returned} events from {waits} waits, {:.2} reads per event",
            if events > 0.0 { awake / events } else { 0.0 }
        );
        if counts.reads + counts.again > 0.0 {
            evidence += &format!(", {:.0} % EAGAIN", 100.0 * counts.again / (counts.reads + counts.again));
        }
        evidence += &format!(", {:.0} % of waits empty", 100.0 * empty / waits.max(1.0));
        add(model, awake * share, evidence);
    }
    if polling {
        add("nonblocking", awake.max(1.0), format!("{} EAGAIN for {} reads", counts.again, counts.reads));
    } else if events == 0.0 && awake > counts.file_reads {
        add(
            "ready",
            awake - counts.file_reads,
            format!("{} reads found data and did not sleep", awake - counts.file_reads),
        );
    }
    if events == 0.0 {
        add("file", counts.file_reads, format!("{} reads of files", counts.file_reads));
    }
    add("io-uring", counts.submitted, format!("{} requests handed to io_uring_enter", counts.submitted));
    add("linux-aio", counts.aio, format!("{} requests handed to io_submit", counts.aio));
    add("sigio", counts.signals, format!("{} signals taken with rt_sigtimedwait", counts.signals));
    let total: f64 = models.iter().map(|(_, weight, _)| weight).sum();
    models.sort_by(|one, other| other.1.total_cmp(&one.1));
    models
        .into_iter()
        .map(|(model, weight, evidence)| ModelUse { model, share: weight / total, evidence })
        .collect()
}

fn slept(slept: f64, reads: f64) -> String {
    format!("{slept} of {reads} reads slept in the call")
}

impl Counts {
    fn of(calls: &[Call], triggers: Triggers) -> Self {
        let count = |wanted: &dyn Fn(&&Call) -> bool, value: &dyn Fn(&Call) -> u64| {
            calls.iter().filter(wanted).map(value).sum::<u64>() as f64
        };
        let input = |call: &&Call| call.direction == Some(Direction::In);
        let failed = |call: &Call| call.errors.values().sum::<u64>();
        let on_file = |call: &&Call| input(call) && call.fd.as_ref().is_some_and(|fd| fd.kind == "file");
        let readiness = |names: &[&str], model: &'static str| {
            let mine: Vec<&Call> =
                calls.iter().filter(|call| names.contains(&call.syscall.as_str())).collect();
            let waits: u64 = mine.iter().map(|call| call.calls).sum();
            let empty: u64 = mine.iter().map(|call| call.timeouts + call.empty).sum();
            let returned: u64 = mine
                .iter()
                .map(|call| call.calls.saturating_sub(call.timeouts + call.empty + failed(call)))
                .sum();
            (waits > 0).then_some((model, returned as f64, empty as f64, waits as f64))
        };
        let epoll = if triggers.edge > triggers.level { "epoll-et" } else { "epoll" };
        let named = |name: &'static str| move |call: &&Call| call.syscall == name;
        Self {
            reads: count(&input, &|call| call.calls - failed(call).min(call.calls)),
            // A read that slept and failed had its time up, or was interrupted: no data came by it.
            slept: count(&input, &|call| {
                call.sleeps.saturating_sub(call.timeouts).min(call.calls.saturating_sub(failed(call)))
            }),
            again: count(&input, &Call::not_yet),
            file_reads: count(&on_file, &|call| call.calls),
            readiness: [
                readiness(&["select", "pselect6"], "select"),
                readiness(&["poll", "ppoll"], "poll"),
                readiness(&["epoll_wait", "epoll_pwait", "epoll_pwait2"], epoll),
            ]
            .into_iter()
            .flatten()
            .collect(),
            submitted: count(&named("io_uring_enter"), &|call| call.calls),
            aio: count(&named("io_submit"), &|call| call.calls),
            signals: count(
                &|call| call.syscall == "rt_sigtimedwait" && call.role == Role::Completion,
                &|call| call.calls - failed(call).min(call.calls),
            ),
            seeks_refused: count(&named("pread64"), &|call| call.errors.get("ESPIPE").copied().unwrap_or(0)),
        }
    }
}

#[cfg(test)]
#[path = "recognise_tests.rs"]
mod tests;
