//! From data ready to delivery: every model with its CPU to itself and beside a process that computes on the same
//! CPU, and a nonblocking reader that sleeps between its polls.

use super::bench::{self, Bench};
use super::hog::Hog;
use super::{Experiment, Lab, Outcome, Sheet, time};
use crate::session::error::Failure;
use crate::workload;
use iotrace_core::domain::model::{Meanwhile, Model};
use iotrace_core::domain::spec::{Spec, Tuning};
use iotrace_core::summary::{Axis, Fit, Run, Source, Table};

/// The study `latency`: from data ready to delivery, on an idle and on a busy CPU.
pub const LATENCY: Experiment = Experiment {
    name: "latency",
    question: "How long from data ready to its delivery to the application, on an idle and on a busy CPU?",
    arms: &NAMES,
    connections: None,
    run,
};

/// The arms. `sigio` and `io-uring-busy` compute while they wait; the other models with requests sleep.
const ARMS: [(&str, Model, Option<Meanwhile>); 10] = [
    ("blocking", Model::Blocking, None),
    ("nonblocking", Model::Nonblocking, None),
    ("poll", Model::Poll, None),
    ("epoll", Model::Epoll, None),
    ("sigio", Model::Sigio, Some(Meanwhile::Compute)),
    ("posix-aio", Model::PosixAio, Some(Meanwhile::Wait)),
    ("linux-aio-poll", Model::LinuxAioPoll, Some(Meanwhile::Wait)),
    ("io-uring", Model::IoUring, Some(Meanwhile::Wait)),
    ("io-uring-busy", Model::IoUring, Some(Meanwhile::Compute)),
    ("io-uring-sqpoll", Model::IoUringSqpoll, Some(Meanwhile::Wait)),
];
const NAMES: [&str; 11] = [
    "blocking",
    "nonblocking",
    "poll",
    "epoll",
    "sigio",
    "posix-aio",
    "linux-aio-poll",
    "io-uring",
    "io-uring-busy",
    "io-uring-sqpoll",
    POLLING,
];
/// Arms that `--quick` leaves out.
const NOT_QUICK: [&str; 4] = ["poll", "linux-aio-poll", "io-uring-busy", "io-uring-sqpoll"];
/// The name of the arm that polls at intervals.
const POLLING: &str = "polling";
/// Polling intervals, us, and those of `--quick`.
const INTERVALS_US: (&[u64], &[u64]) = (&[10, 100, 300, 1000], &[100, 1000]);
/// Messages of a repeat, and those of `--quick`.
const MESSAGES: (u64, u64) = (30, 20);
/// Bytes of a message.
const SIZE: u64 = 1024;
/// Time between two messages. It is no multiple of a polling interval, so that arrivals do not keep step with the
/// polls.
const INTERVAL_NS: u64 = 1_030_000;

/// One arm of a round.
#[derive(Clone, Copy)]
struct Step {
    name: &'static str,
    model: Model,
    meanwhile: Option<Meanwhile>,
    /// Whether another process computes on the same CPU.
    hog: bool,
    poll_us: Option<u64>,
}

fn run(lab: &mut Lab) -> Result<Outcome, Failure> {
    let quick = lab.size(false, true);
    let steps = steps(&|name| lab.wants(name), quick);
    let messages = lab.size(MESSAGES.0, MESSAGES.1);
    // The highest CPU: the lower ones get most of the machine's interrupts.
    let cpu = workload::two_cpus(None).map(|(own, other)| other.max(own as u32));
    bench::warn_if_busy(lab);
    if cpu.is_none() {
        lab.warn(
            "one_cpu",
            "this machine has one CPU: sender and reader share it, so the times include \
             waiting for each other"
                .to_owned(),
        );
    }
    let names: Vec<&'static str> = steps.iter().map(|step| step.name).collect();
    let mut bench = Bench::new(&names)?;
    let mut sheet = declared();
    lab.rounds("measuring", &mut sheet, steps.len(), |index, sheet| {
        let step = steps[index];
        let spec = Spec {
            meanwhile: step.meanwhile,
            poll_interval_ns: step.poll_us.unwrap_or(0) * 1000,
            tuning: Tuning { cpu: Some(cpu.unwrap_or(0)), ..Tuning::default() },
            ..bench::spec(step.model, messages, SIZE, INTERVAL_NS)
        };
        let hog = step.hog.then(|| Hog::on(cpu.unwrap_or(0))).transpose()?;
        let run = bench.run(index, &spec)?;
        drop(hog);
        if let Some(run) = run {
            note(&run, step, sheet);
        }
        Ok(())
    })?;
    bench.finish(lab)?;
    Ok(conclude(sheet))
}

fn steps(wanted: &dyn Fn(&str) -> bool, quick: bool) -> Vec<Step> {
    let mut steps = Vec::new();
    let arms = ARMS.into_iter().filter(|arm| wanted(arm.0) && !(quick && NOT_QUICK.contains(&arm.0)));
    for (name, model, meanwhile) in arms {
        steps.extend([false, true].map(|hog| Step { name, model, meanwhile, hog, poll_us: None }));
    }
    let intervals = if quick { INTERVALS_US.1 } else { INTERVALS_US.0 };
    steps.extend(intervals.iter().filter(|_| wanted(POLLING)).map(|&us| Step {
        name: POLLING,
        model: Model::Nonblocking,
        meanwhile: None,
        hog: false,
        poll_us: Some(us),
    }));
    steps
}

fn declared() -> Sheet {
    let mut sheet = Sheet::default();
    sheet.order(&NAMES);
    let mut declare = |name: &str, title: &str| sheet.measure(name, title, "ns", Source::Ebpf, None);
    let mut both = |idle, busy, title: &str| {
        declare(idle, title);
        declare(busy, &format!("{title}, beside a process that computes on the same CPU"));
    };
    both("pickup", "busy pickup", "data ready to read call started, median");
    both("latency", "busy latency", "data ready to delivered to the application, median");
    both("p99", "busy p99", "data ready to delivered to the application, 99th percentile");
    both(
        "run queue",
        "busy queue",
        "time without a CPU in calls, woken or preempted, all threads, per message",
    );
    both("signal", "busy signal", "signal generated to signal delivered, median");
    both("completion", "busy compl.", "request completed to seen by the application, median");
    let axis = || Some(Axis { label: "polling interval, us".to_owned(), per: "us".to_owned(), log: true });
    sheet.measure(
        "polled",
        "nonblocking with a pause between polls: data ready to delivered, mean",
        "ns",
        Source::Ebpf,
        axis(),
    );
    sheet.measure(
        "poll CPU",
        "CPU time of the process at that interval, per message",
        "ns",
        Source::Clock,
        axis(),
    );
    sheet
}

fn note(run: &Run, step: Step, sheet: &mut Sheet) {
    let operations = &run.operations;
    let Some(latency) = &operations.latency else { return };
    if let Some(us) = step.poll_us {
        let mean = latency.sum_ns as f64 / latency.count.max(1) as f64;
        sheet.add("polled", POLLING, Some(us as f64), mean);
        sheet.add("poll CPU", POLLING, Some(us as f64), operations.cpu_ns_per_message as f64);
        return;
    }
    let mut add = |measures: [&str; 2], sample: Option<f64>| {
        if let Some(sample) = sample {
            sheet.add(measures[usize::from(step.hog)], step.name, None, sample);
        }
    };
    let queued: u64 = run.calls.iter().map(|call| call.runq_ns).sum();
    let p50 = |dist: &Option<iotrace_core::domain::dist::Dist>| dist.as_ref().map(|dist| dist.p50_ns as f64);
    add(["pickup", "busy pickup"], p50(&operations.pickup));
    add(["latency", "busy latency"], Some(latency.p50_ns as f64));
    add(["p99", "busy p99"], Some(latency.p99_ns as f64));
    add(["run queue", "busy queue"], Some(queued as f64 / operations.count.max(1) as f64));
    let signals = operations.signals.as_ref();
    add(["signal", "busy signal"], signals.and_then(|chain| p50(&chain.generated_to_delivered)));
    let requests = operations.requests.as_ref();
    add(["completion", "busy compl."], requests.and_then(|lives| p50(&lives.complete_to_seen)));
}

fn conclude(sheet: Sheet) -> Outcome {
    let table = |title: &str, measures: &[&str]| Table {
        title: title.to_owned(),
        measures: measures.iter().map(|&name| name.to_owned()).collect(),
    };
    let tables = vec![
        table(
            "data ready to read call started, and to delivered to the application",
            &["pickup", "latency", "p99"],
        ),
        table(
            "the same, beside a process that computes on the same CPU",
            &["busy pickup", "busy latency", "busy p99"],
        ),
        table("time without a CPU in calls, per message", &["run queue", "busy queue"]),
        table(
            "time until the application is notified",
            &["signal", "busy signal", "completion", "busy compl."],
        ),
    ];
    let fits: Vec<Fit> = sheet.fit("polled", POLLING, f64::INFINITY).into_iter().collect();
    let mut findings: Vec<String> = ARMS.iter().filter_map(|(name, ..)| beside_a_hog(&sheet, name)).collect();
    findings.extend(fits.first().map(by_interval));
    findings.extend(price(&sheet));
    Outcome { sheet, fits, findings, tables, ..Outcome::default() }
}

/// What a process that computes on the same CPU does to the latency of a model, in a sentence.
fn beside_a_hog(sheet: &Sheet, arm: &str) -> Option<String> {
    let (idle, busy) = (sheet.evidence("latency", arm, None), sheet.evidence("busy latency", arm, None));
    let (before, with) = (idle.value?, busy.value?);
    let apart = match (idle.ci95, busy.ci95) {
        (Some(idle), Some(busy)) => idle[1] < busy[0] || busy[1] < idle[0],
        _ => false,
    };
    Some(if apart && before > 0.0 {
        format!(
            "{arm}: latency {} by itself, {} beside a process that computes on the same CPU ({:.1} times).",
            time(before),
            time(with),
            with / before
        )
    } else {
        format!(
            "{arm}: latency {} by itself; a process that computes on the same CPU makes no measurable difference.",
            time(before)
        )
    })
}

/// What a longer pause between polls does to the delay, in a sentence; no effect is claimed where the confidence
/// interval of the slope contains 0.
fn by_interval(fit: &Fit) -> String {
    if fit.ci95.is_some_and(|[low, high]| low <= 0.0 && high >= 0.0) {
        return "The polling interval makes no measurable difference to the delay: the 95 % interval of the slope \
                contains 0."
            .to_owned();
    }
    format!(
        "Each microsecond more between two polls delays the delivery by {:.2} us on average (slope of the line).",
        fit.slope / 1000.0
    )
}

/// What polling more often costs, in a sentence.
fn price(sheet: &Sheet) -> Option<String> {
    let arms = sheet.arms();
    let of = |measure: &str| arms.iter().filter(|arm| arm.measure == measure).collect::<Vec<_>>();
    let (delay, cpu) = (of("polled"), of("poll CPU"));
    let ends =
        |points: &[&iotrace_core::summary::Arm]| Some((points.first()?.median?, points.last()?.median?));
    let ((quick, slow), (dear, cheap)) = (ends(&delay)?, ends(&cpu)?);
    let (least, most) = (delay.first()?.x?, delay.last()?.x?);
    (least < most).then(|| {
        format!(
            "Polling every {least:.0} us delivers the data after {} and takes {} of CPU per message; every {most:.0} \
             us, after {} and {}.",
            time(quick),
            time(dear),
            time(slow),
            time(cheap)
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_are_those_of_the_arms() {
        let mut names = ARMS.map(|arm| arm.0).to_vec();
        names.push(POLLING);
        assert_eq!(names, NAMES);
        assert!(NOT_QUICK.iter().all(|name| NAMES.contains(name)));
        assert_eq!(steps(&|_| true, false).len(), 2 * ARMS.len() + 4);
        assert_eq!(steps(&|name| name == "epoll" || name == "poll", true).len(), 2);
    }

    #[test]
    fn the_conclusion_is_made_from_the_figures() {
        let mut sheet = declared();
        for round in 0..6 {
            sheet.begin(round);
            let noise = round as f64;
            sheet.add("latency", "epoll", None, 5_000.0 + noise);
            sheet.add("busy latency", "epoll", None, 50_000.0 + noise);
            sheet.add("latency", "sigio", None, 5_000.0 + noise);
            sheet.add("busy latency", "sigio", None, 5_001.0 + noise);
            for us in [10.0, 100.0, 1000.0] {
                sheet.add("polled", POLLING, Some(us), 40_000.0 + 500.0 * us);
                sheet.add("poll CPU", POLLING, Some(us), 9e6 / us);
            }
        }
        let Outcome { findings, fits, .. } = conclude(sheet);
        assert!(findings[0].starts_with("epoll: latency 5.00 us by itself, 50.0 us"), "{findings:?}");
        assert!(findings[1].contains("no measurable difference"), "{findings:?}");
        assert!(findings[2].contains("by 0.50 us"), "{findings:?}");
        let fit = Fit { ci95: Some([-1.0, 2.0]), ..fits[0].clone() };
        assert!(by_interval(&fit).contains("contains 0"), "an interval around 0 says nothing");
        assert!(findings[3].contains("every 1000 us, after 540 us and 9.00 us"), "{findings:?}");
    }
}
