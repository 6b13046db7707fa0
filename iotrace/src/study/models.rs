//! All I/O models side by side under the same load: the measurements of `iotrace run --model all`, repeated with
//! the models in turn, and the median message of each model as a picture.

use super::bench::{self, Bench};
use super::{Experiment, Lab, Outcome, Sheet, time};
use crate::session::error::Failure;
use iotrace_core::domain::Meant;
use iotrace_core::domain::model::Model;
use iotrace_core::summary::{Picture, Run, Source, Table, Verdict};

/// The study `models`: every model side by side under the same load.
pub const MODELS: Experiment = Experiment {
    name: "models",
    question: "What does a thread do in each phase, model by model, under the same load?",
    arms: &NAMES,
    connections: None,
    run,
};

const NAMES: [&str; 12] = [
    "blocking",
    "nonblocking",
    "select",
    "poll",
    "epoll",
    "epoll-et",
    "sigio",
    "posix-aio",
    "linux-aio",
    "linux-aio-poll",
    "io-uring",
    "io-uring-sqpoll",
];
/// Messages of a repeat, and those of `--quick`.
const MESSAGES: (u64, u64) = (60, 20);
/// Bytes of a message: enough for a copy that a picture can show.
const SIZE: u64 = 16 * 1024;
/// Time between two messages, and that of `--quick`: long enough for every model to wait again before the next
/// message, with `--quick` on slow machines, too.
const INTERVAL_NS: (u64, u64) = (1_000_000, 3_000_000);

fn run(lab: &mut Lab) -> Result<Outcome, Failure> {
    let models: Vec<Model> = Model::ALL.into_iter().filter(|model| lab.wants(model.name())).collect();
    let names: Vec<&'static str> = models.iter().map(|model| model.name()).collect();
    let messages = lab.size(MESSAGES.0, MESSAGES.1);
    let interval_ns = lab.size(INTERVAL_NS.0, INTERVAL_NS.1);
    bench::warn_if_busy(lab);
    let mut bench = Bench::new(&names)?;
    let mut runs: Vec<Vec<Run>> = vec![Vec::new(); models.len()];
    let mut sheet = declared();
    lab.rounds("measuring", &mut sheet, models.len(), |index, sheet| {
        let spec = bench::spec(models[index], messages, SIZE, interval_ns);
        if let Some(run) = bench.run(index, &spec)? {
            note(&run, names[index], sheet);
            runs[index].push(run);
        }
        Ok(())
    })?;
    bench.finish(lab)?;
    let middle = runs.into_iter().map(|runs| bench::middle(runs, interval_ns / 4)).collect::<Vec<_>>();
    Ok(conclude(sheet, &models, &middle))
}

fn declared() -> Sheet {
    let mut sheet = Sheet::default();
    sheet.order(&NAMES);
    let mut declare = |name, title, unit, source| sheet.measure(name, title, unit, source, None);
    declare("blocked", "phase 1 in which the thread could not run its own code, mean", "ns", Source::Ebpf);
    declare("polling", "phase 1 in which the thread polled, mean", "ns", Source::Ebpf);
    declare(
        "free",
        "phase 1 in which the thread ran its own code or waited for something else, mean",
        "ns",
        Source::Ebpf,
    );
    declare("pickup", "data ready to read call started, median", "ns", Source::Ebpf);
    declare("copy", "phase 2 on the application's own thread, mean", "ns", Source::Ebpf);
    declare("copy elsewhere", "phase 2 on a thread of the kernel or the C library, mean", "ns", Source::Ebpf);
    declare("latency", "data ready to delivered to the application, median", "ns", Source::Ebpf);
    declare("p99", "data ready to delivered to the application, 99th percentile", "ns", Source::Ebpf);
    declare("calls", "traced calls of the application's threads", "calls a message", Source::Ebpf);
    declare("CPU", "CPU time of the process with its helpers", "ns", Source::Clock);
    declare("own work", "units of own work done meanwhile", "units a message", Source::Count);
    sheet
}

/// Puts the figures of a run on the sheet. Measures that do not apply to it get no sample.
fn note(run: &Run, arm: &str, sheet: &mut Sheet) {
    let operations = &run.operations;
    let mut add = |measure: &str, sample: Option<f64>| {
        if let Some(sample) = sample {
            sheet.add(measure, arm, None, sample);
        }
    };
    let each = |sum: u64| (operations.count > 0).then(|| sum as f64 / operations.count as f64);
    add("blocked", each(operations.phase1.blocked_ns));
    add("polling", each(operations.phase1.polling_ns));
    add("free", each(operations.phase1.free_ns));
    add("pickup", operations.pickup.as_ref().map(|dist| dist.p50_ns as f64));
    add("copy", operations.phase2.blocked_ns.and_then(each));
    add("copy elsewhere", operations.phase2.free_ns.and_then(each));
    add("latency", operations.latency.as_ref().map(|dist| dist.p50_ns as f64));
    add("p99", operations.latency.as_ref().map(|dist| dist.p99_ns as f64));
    add("calls", Some(operations.calls_per_message));
    add("CPU", Some(operations.cpu_ns_per_message as f64));
    let units = run.own_work_units as f64 / run.messages.max(1) as f64;
    add("own work", run.meanwhile.is_some().then_some(units));
}

fn conclude(sheet: Sheet, models: &[Model], middle: &[Option<Run>]) -> Outcome {
    let table = |title: &str, measures: &[&str]| Table {
        title: title.to_owned(),
        measures: measures.iter().map(|&name| name.to_owned()).collect(),
    };
    let tables = vec![
        table("phase 1 per message, by what the thread did", &["blocked", "polling", "free", "own work"]),
        table("from data ready on", &["pickup", "copy", "copy elsewhere", "latency", "p99"]),
        table("cost per message", &["calls", "CPU"]),
    ];
    let verdicts: Vec<(&str, Verdict)> =
        models.iter().filter_map(|model| Some((model.name(), verdict(&sheet, model.name())?))).collect();
    let mut findings = by_verdict(&verdicts);
    let names: Vec<&str> = verdicts.iter().map(|(name, _)| *name).collect();
    findings.extend(extremes(&sheet, &names, "latency", ["Shortest latency", "longest"]));
    findings.extend(extremes(&sheet, &names, "CPU", ["Least CPU time per message", "most"]));
    let mut pictures = Vec::new();
    for (name, verdict) in &verdicts {
        let run = middle.iter().flatten().find(|run| run.model.name() == *name);
        match run.and_then(|run| picture(run, verdict, name, group(run.model))) {
            Some(picture) => pictures.push(picture),
            None => findings.push(format!(
                "No picture of {name}: the median message of each repeat was ready before it was requested."
            )),
        }
    }
    Outcome { sheet, findings, tables, pictures, ..Outcome::default() }
}

/// The verdict on an arm, from the medians of the repeats: the largest part of phase 1, and the larger of the two
/// parts of phase 2. `None` if no repeat gave a result.
pub(super) fn verdict(sheet: &Sheet, arm: &str) -> Option<Verdict> {
    let median = |measure: &str| sheet.median(measure, arm, None);
    let parts = [("blocked", Meant::Blocked), ("polling", Meant::Polling), ("free", Meant::Free)];
    let timed = parts.into_iter().filter_map(|(measure, meant)| Some((median(measure)?, meant)));
    let phase1 = timed.max_by(|one, other| one.0.total_cmp(&other.0))?.1;
    let phase2 = if median("copy elsewhere")? > median("copy")? { Meant::Free } else { Meant::Blocked };
    let synchronous = phase1 == Meant::Blocked || phase2 == Meant::Blocked;
    Some(Verdict { phase1, phase2, synchronous })
}

/// Which models did what, a sentence for each verdict that any model has.
fn by_verdict(verdicts: &[(&str, Verdict)]) -> Vec<String> {
    let said = |text: &str, holds: &dyn Fn(&Verdict) -> bool| {
        let those: Vec<&str> =
            verdicts.iter().filter(|(_, verdict)| holds(verdict)).map(|(name, _)| *name).collect();
        (!those.is_empty()).then(|| format!("{text}: {}.", those.join(", ")))
    };
    [
        said("Phase 1 blocked the thread", &|verdict| verdict.phase1 == Meant::Blocked),
        said("In phase 1 the thread polled", &|verdict| verdict.phase1 == Meant::Polling),
        said("Phase 1 left the thread free", &|verdict| verdict.phase1 == Meant::Free),
        said("In phase 2 the thread copied on its own time", &|verdict| verdict.phase2 == Meant::Blocked),
        said("In phase 2 another thread copied, of the kernel or the C library", &|verdict| {
            verdict.phase2 == Meant::Free
        }),
        said("Blocked in neither phase, so asynchronous in the sense of POSIX", &|verdict| {
            !verdict.synchronous
        }),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// The arms with the least and the most of a time, each with the arms that cannot be told from it because their
/// 95 % intervals overlap. `None` where an arm would be in both lists. `words` are for the least and the most.
fn extremes(sheet: &Sheet, arms: &[&str], measure: &str, words: [&str; 2]) -> Option<String> {
    let mut known: Vec<(f64, [f64; 2], &str)> = arms
        .iter()
        .filter_map(|arm| {
            let one = sheet.evidence(measure, arm, None);
            Some((one.value?, one.ci95.unwrap_or([one.value?; 2]), *arm))
        })
        .collect();
    known.sort_by(|one, other| one.0.total_cmp(&other.0));
    let (first, last) = (known.first()?, known.last()?);
    let low: Vec<&str> = known.iter().filter(|one| one.1[0] <= first.1[1]).map(|one| one.2).collect();
    let high: Vec<&str> = known.iter().filter(|one| one.1[1] >= last.1[0]).map(|one| one.2).collect();
    if low.iter().any(|name| high.contains(name)) {
        return None;
    }
    let [least, most] = words;
    let named = |names: &[&str], ns: f64| {
        let one = if names.len() == 1 { "" } else { "median from " };
        format!("{} ({one}{})", names.join(", "), time(ns))
    };
    let low = named(&low, first.0);
    let high = named(&high, last.0).replace("median from", "median up to");
    Some(format!("{least}: {low}; {most}: {high}."))
}

/// The picture of an arm, from its middle run.
pub(super) fn picture(run: &Run, verdict: &Verdict, arm: &str, group: &str) -> Option<Picture> {
    let word = |meant: Meant| match meant {
        Meant::Blocked => "blocked",
        Meant::Polling => "polling",
        Meant::Free => "free",
    };
    Some(Picture {
        arm: arm.to_owned(),
        group: group.to_owned(),
        caption: format!("{} / {}", word(verdict.phase1), word(verdict.phase2)),
        strip: run.strip.clone()?,
    })
}

/// The one of Stevens' five models (UNIX Network Programming, chapter 6) that a model is usually counted among. The
/// measurement may say otherwise: that is the verdict.
fn group(model: Model) -> &'static str {
    match model {
        Model::Blocking => "blocking I/O",
        Model::Nonblocking => "nonblocking I/O",
        Model::Select | Model::Poll | Model::Epoll | Model::EpollEt => "I/O multiplexing",
        Model::Sigio => "signal-driven I/O",
        Model::PosixAio | Model::LinuxAio | Model::LinuxAioPoll => "asynchronous I/O",
        Model::IoUring | Model::IoUringSqpoll => "asynchronous I/O",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arms_are_the_models() {
        assert_eq!(NAMES.to_vec(), Model::ALL.map(Model::name).to_vec());
    }

    fn sheet() -> Sheet {
        let mut sheet = declared();
        for round in 0..6 {
            sheet.begin(round);
            for (arm, blocked, copy, latency) in
                [("poll", 900.0, 50.0, 5_000.0), ("sigio", 3.0, 0.0, 9_000.0)]
            {
                sheet.add("blocked", arm, None, blocked);
                sheet.add("free", arm, None, 500.0);
                sheet.add("copy", arm, None, copy);
                sheet.add("copy elsewhere", arm, None, 10.0);
                sheet.add("latency", arm, None, latency + round as f64);
                sheet.add("CPU", arm, None, 100.0 + round as f64);
            }
        }
        sheet
    }

    #[test]
    fn extremes_are_told_only_where_they_are_apart() {
        let text = extremes(&sheet(), &["poll", "sigio"], "latency", ["Shortest", "longest"]).unwrap();
        assert_eq!(text, "Shortest: poll (5.00 us); longest: sigio (9.00 us).");
        assert_eq!(extremes(&sheet(), &["poll", "sigio"], "CPU", ["Least", "most"]), None);
    }

    #[test]
    fn what_is_said_of_a_model_follows_from_its_medians() {
        let run = Run { model: Model::Poll, ..iotrace_core::report::sample_run() };
        let outcome = conclude(sheet(), &[Model::Poll, Model::Sigio, Model::Epoll], &[Some(run), None, None]);
        let says =
            |text: &str| assert!(outcome.findings.contains(&text.to_owned()), "{:?}", outcome.findings);
        says("Phase 1 blocked the thread: poll.");
        says("Phase 1 left the thread free: sigio.");
        says("In phase 2 another thread copied, of the kernel or the C library: sigio.");
        says("Blocked in neither phase, so asynchronous in the sense of POSIX: sigio.");
        assert!(outcome.findings.iter().any(|text| text.starts_with("No picture of sigio")));
        assert!(!outcome.findings.iter().any(|text| text.contains("epoll")), "it gave nothing");
        assert_eq!(outcome.pictures[0].caption, "blocked / blocked");
    }
}
