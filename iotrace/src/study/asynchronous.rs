//! The interfaces that are called asynchronous: which thread waits, which copies, and how many calls a message takes.

use super::bench::{self, Bench};
use super::{Experiment, Lab, Outcome, Sheet, models};
use crate::session::error::Failure;
use iotrace_core::domain::ThreadRole;
use iotrace_core::domain::model::{Model, Transport};
use iotrace_core::domain::spec::{Ring, Spec, Tuning};
use iotrace_core::summary::{Run, Source, Table};

/// The study `async`: the interfaces that are called asynchronous.
pub const ASYNC: Experiment = Experiment {
    name: "async",
    question: "In the interfaces called asynchronous, which thread waits, which copies, and with how many calls?",
    arms: &NAMES,
    connections: None,
    run,
};

/// The arms: an interface, or io_uring with one kind of ring.
const ARMS: [(&str, Model, Ring); 9] = [
    ("posix-aio", Model::PosixAio, Ring::Plain),
    ("linux-aio", Model::LinuxAio, Ring::Plain),
    ("linux-aio-poll", Model::LinuxAioPoll, Ring::Plain),
    ("io-uring", Model::IoUring, Ring::Plain),
    ("uring-coop", Model::IoUring, Ring::Coop),
    ("uring-defer", Model::IoUring, Ring::Defer),
    ("uring-async", Model::IoUring, Ring::Async),
    ("uring-multi", Model::IoUring, Ring::Multishot),
    ("uring-sqpoll", Model::IoUringSqpoll, Ring::Plain),
];
const NAMES: [&str; 9] = [
    "posix-aio",
    "linux-aio",
    "linux-aio-poll",
    "io-uring",
    "uring-coop",
    "uring-defer",
    "uring-async",
    "uring-multi",
    "uring-sqpoll",
];
/// Where a copy may run: the name of the measure, and the words for it.
const PLACES: [(&str, &str); 6] = [
    ("own call", "in the call that submits or waits"),
    ("data call", "in a data call of its own"),
    ("task work", "in task work, at the end of another call or of an interrupt"),
    ("helper", "by a helper thread of the C library"),
    ("worker", "by an io-wq worker of the kernel"),
    ("SQ thread", "by the kernel's SQ thread"),
];
/// Messages of a repeat, and those of `--quick`.
const MESSAGES: (u64, u64) = (50, 20);
/// Bytes of a message.
const SIZE: u64 = 1024;
/// Time between two messages, and that of `--quick`: long enough for slow machines to wait again, too.
const INTERVAL_NS: (u64, u64) = (1_000_000, 3_000_000);

fn run(lab: &mut Lab) -> Result<Outcome, Failure> {
    let arms: Vec<(&'static str, Model, Ring)> = ARMS.into_iter().filter(|arm| lab.wants(arm.0)).collect();
    let names: Vec<&'static str> = arms.iter().map(|arm| arm.0).collect();
    let messages = lab.size(MESSAGES.0, MESSAGES.1);
    let interval_ns = lab.size(INTERVAL_NS.0, INTERVAL_NS.1);
    bench::warn_if_busy(lab);
    let mut bench = Bench::new(&names)?;
    let mut runs: Vec<Vec<Run>> = vec![Vec::new(); arms.len()];
    let mut sheet = declared();
    lab.rounds("measuring", &mut sheet, arms.len(), |index, sheet| {
        let (name, model, ring) = arms[index];
        let spec = Spec {
            // Datagrams, because a multishot receive takes whatever has arrived: on a stream that may be more than
            // one message.
            transport: Transport::Udp,
            tuning: Tuning { ring, ..Tuning::default() },
            ..bench::spec(model, messages, SIZE, interval_ns)
        };
        if let Some(run) = bench.run(index, &spec)? {
            note(&run, name, sheet);
            runs[index].push(run);
        }
        Ok(())
    })?;
    bench.finish(lab)?;
    let mut outcome = conclude(sheet);
    for (name, runs) in names.iter().zip(runs) {
        let Some(run) = bench::middle(runs, interval_ns / 4) else { continue };
        let Some(verdict) = models::verdict(&outcome.sheet, name) else { continue };
        let group = match run.model {
            Model::PosixAio => "POSIX AIO, of the C library",
            Model::LinuxAio | Model::LinuxAioPoll => "native AIO of Linux",
            _ => "io_uring",
        };
        outcome.pictures.extend(models::picture(&run, &verdict, name, group));
    }
    Ok(outcome)
}

fn declared() -> Sheet {
    let mut sheet = Sheet::default();
    sheet.order(&NAMES);
    let mut declare = |name: &str, title: &str, unit, source| sheet.measure(name, title, unit, source, None);
    let wait = "phase 1 in which the thread";
    declare("blocked", &format!("{wait} could not run its own code, mean"), "ns", Source::Ebpf);
    declare("polling", &format!("{wait} polled, mean"), "ns", Source::Ebpf);
    declare("free", &format!("{wait} ran its own code, mean"), "ns", Source::Ebpf);
    declare("copy", "phase 2 on the application's own thread, mean", "ns", Source::Ebpf);
    declare("copy elsewhere", "phase 2 on a thread of the kernel or the C library, mean", "ns", Source::Ebpf);
    for (name, words) in PLACES {
        declare(name, &format!("copied {words}"), "% of the copies", Source::Ebpf);
    }
    declare("app calls", "traced calls of the application's thread", "calls a message", Source::Ebpf);
    declare("other calls", "traced calls of helper threads", "calls a message", Source::Ebpf);
    declare("CPU", "CPU time of the process with its helpers", "ns", Source::Clock);
    declare("own work", "units of own work done meanwhile", "units a message", Source::Count);
    declare("latency", "data ready to delivered to the application, median", "ns", Source::Ebpf);
    sheet
}

fn note(run: &Run, arm: &str, sheet: &mut Sheet) {
    let operations = &run.operations;
    // If no message was seen, the run has no figures.
    let Some(latency) = &operations.latency else { return };
    let mut add = |measure: &str, sample: f64| sheet.add(measure, arm, None, sample);
    let messages = run.messages.max(1) as f64;
    let count = operations.count.max(1) as f64;
    let phase1 = &operations.phase1;
    add("blocked", phase1.blocked_ns as f64 / count);
    add("polling", phase1.polling_ns as f64 / count);
    add("free", phase1.free_ns as f64 / count);
    if let (Some(own), Some(other)) = (operations.phase2.blocked_ns, operations.phase2.free_ns) {
        add("copy", own as f64 / count);
        add("copy elsewhere", other as f64 / count);
    }
    if let Some(requests) = &operations.requests {
        let at = &requests.copied_in;
        let counts = [at.own_call, at.data_call, at.task_work, at.helper, at.worker, at.sqpoll];
        let all: u64 = counts.iter().sum();
        for ((name, _), count) in PLACES.iter().zip(counts).filter(|_| all > 0) {
            add(name, count as f64 / all as f64 * 100.0);
        }
    }
    let others: u64 =
        run.calls.iter().filter(|call| call.thread_role != ThreadRole::App).map(|call| call.calls).sum();
    add("app calls", operations.calls_per_message);
    add("other calls", others as f64 / messages);
    add("CPU", operations.cpu_ns_per_message as f64);
    add("own work", run.own_work_units as f64 / messages);
    add("latency", latency.p50_ns as f64);
}

fn conclude(sheet: Sheet) -> Outcome {
    let table = |title: &str, measures: &[&str]| Table {
        title: title.to_owned(),
        measures: measures.iter().map(|&name| name.to_owned()).collect(),
    };
    let tables = vec![
        table(
            "phase 1 by what the thread did, and the copy by whose thread made it, per message",
            &["blocked", "polling", "free", "copy", "copy elsewhere"],
        ),
        table("where the copies ran, % of the copies", &PLACES.map(|place| place.0)),
        table("cost per message", &["app calls", "other calls", "CPU", "own work", "latency"]),
    ];
    let findings = NAMES.iter().filter_map(|arm| finding(&sheet, arm)).collect();
    Outcome { sheet, findings, tables, ..Outcome::default() }
}

/// What an arm did, in one sentence made from its medians; `None` where one was not measured.
fn finding(sheet: &Sheet, arm: &str) -> Option<String> {
    let median = |measure: &str| sheet.median(measure, arm, None);
    let (blocked, polling, free) = (median("blocked")?, median("polling")?, median("free")?);
    let wait = if free >= blocked && free >= polling {
        "the thread is free while it waits"
    } else if blocked >= polling {
        "the thread is blocked while it waits"
    } else {
        "the thread polls while it waits"
    };
    let shares = PLACES.iter().filter_map(|(name, words)| Some((median(name)?, *words)));
    let copied = match shares.max_by(|one, other| one.0.total_cmp(&other.0)) {
        Some((share, words)) => format!("{share:.0} % of the copies are made {words}"),
        None => "where the copies ran was not measured".to_owned(),
    };
    Some(format!(
        "{arm}: {wait}; {copied}; per message {:.2} calls by the application and {:.2} by helper threads.",
        median("app calls")?,
        median("other calls")?
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_are_those_of_the_arms() {
        assert_eq!(ARMS.map(|arm| arm.0), NAMES);
    }

    #[test]
    fn an_arm_in_a_sentence() {
        let mut sheet = declared();
        let mut run = iotrace_core::report::sample_run();
        run.operations.requests = Some(iotrace_core::summary::Requests {
            copied_in: iotrace_core::summary::CopiedIn { worker: 3, task_work: 1, ..Default::default() },
            submitted: 4,
            completed: 4,
            inline: None,
            polled: None,
            worker: None,
            submit_to_ready: None,
            ready_to_copy: None,
            copy_to_complete: None,
            complete_to_seen: None,
        });
        sheet.begin(0);
        note(&run, "uring-async", &mut sheet);
        let text = finding(&sheet, "uring-async").unwrap();
        assert!(
            text.contains("blocked while it waits; 75 % of the copies are made by an io-wq worker"),
            "{text}"
        );
        assert_eq!(finding(&sheet, "io-uring"), None, "nothing was measured of it");
    }
}
