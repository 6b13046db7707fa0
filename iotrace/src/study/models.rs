//! All I/O models side by side under the same load: what `iotrace run --model all` measures, repeated with
//! the models in turn, and the median message of each as a picture.

use super::bench::{self, Bench};
use super::{Experiment, Lab, Outcome, Sheet};
use crate::session::error::Failure;
use iotrace_core::domain::Meant;
use iotrace_core::domain::model::Model;
use iotrace_core::summary::{Picture, Run, Source, Table, Verdict};

/// The study.
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
/// Messages of a repeat, and with `--quick`.
const MESSAGES: (u64, u64) = (60, 20);
/// Large enough for a copy that a picture can show.
const SIZE: u64 = 16 * 1024;
/// Long enough for every model to wait again before the next message; with `--quick` on slow machines, too.
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
    declare("polling", "phase 1 in which it asked again and again, mean", "ns", Source::Ebpf);
    declare(
        "free",
        "phase 1 in which it ran its own code or waited for something else, mean",
        "ns",
        Source::Ebpf,
    );
    declare("pickup", "ready until somebody comes for it, median", "ns", Source::Ebpf);
    declare("copy", "phase 2 on the application's own thread, mean", "ns", Source::Ebpf);
    declare("copy elsewhere", "phase 2 on somebody else's thread, mean", "ns", Source::Ebpf);
    declare("latency", "ready until the application has it, median", "ns", Source::Ebpf);
    declare("p99", "the same, 99th percentile", "ns", Source::Ebpf);
    declare("calls", "traced calls of the application's threads", "calls a message", Source::Ebpf);
    declare("CPU", "CPU time of the process with its helpers", "ns", Source::Clock);
    declare("own work", "units of own work done meanwhile", "units a message", Source::Count);
    sheet
}

/// Puts a run on the sheet. Measures that do not apply get no sample.
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
        table("phase 1, a message, by what the thread did", &["blocked", "polling", "free", "own work"]),
        table("from ready on", &["pickup", "copy", "copy elsewhere", "latency", "p99"]),
        table("what it took, a message", &["calls", "CPU"]),
    ];
    let verdicts: Vec<(&str, Verdict)> =
        models.iter().filter_map(|model| Some((model.name(), verdict(&sheet, model.name())?))).collect();
    let mut findings = by_verdict(&verdicts);
    let names: Vec<&str> = verdicts.iter().map(|(name, _)| *name).collect();
    findings.extend(extremes(&sheet, &names, "latency", "soonest after it was ready", "latest"));
    findings.extend(extremes(&sheet, &names, "CPU", "least CPU time a message", "most"));
    let mut pictures = Vec::new();
    for (name, verdict) in &verdicts {
        let run = middle.iter().flatten().find(|run| run.model.name() == *name);
        match run.and_then(|run| picture(run, verdict, name, group(run.model))) {
            Some(picture) => pictures.push(picture),
            None => findings.push(format!(
                "No picture of {name}: the median message of each repeat was there before it was wanted."
            )),
        }
    }
    Outcome { sheet, findings, tables, pictures, ..Outcome::default() }
}

/// What a model did, from the medians of the repeats: the largest part of phase 1, the larger of phase 2.
pub(super) fn verdict(sheet: &Sheet, arm: &str) -> Option<Verdict> {
    let median = |measure: &str| sheet.median(measure, arm, None);
    let parts = [("blocked", Meant::Blocked), ("polling", Meant::Polling), ("free", Meant::Free)];
    let timed = parts.into_iter().filter_map(|(measure, meant)| Some((median(measure)?, meant)));
    let phase1 = timed.max_by(|one, other| one.0.total_cmp(&other.0))?.1;
    let phase2 = if median("copy elsewhere")? > median("copy")? { Meant::Free } else { Meant::Blocked };
    let synchronous = phase1 == Meant::Blocked || phase2 == Meant::Blocked;
    Some(Verdict { phase1, phase2, synchronous })
}

/// Which models did what.
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
        said("Phase 2 was on the thread's own time", &|verdict| verdict.phase2 == Meant::Blocked),
        said("Somebody else copied", &|verdict| verdict.phase2 == Meant::Free),
        said("Blocked in neither phase, so asynchronous in the sense of POSIX", &|verdict| {
            !verdict.synchronous
        }),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// The arms with the least and the most of a time, with all whose interval reaches into theirs. Nothing
/// where that is the same arm.
fn extremes(sheet: &Sheet, arms: &[&str], measure: &str, least: &str, most: &str) -> Option<String> {
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
    let us = |ns: f64| format!("{:.1} us", ns / 1e3);
    Some(format!(
        "The {least}: {} (least {}); the {most}: {} (most {}).",
        low.join(", "),
        us(first.0),
        high.join(", "),
        us(last.0)
    ))
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

/// The five models of Stevens (UNIX Network Programming, chapter 6), as each is usually counted among
/// them; what the measurement says of it is in the verdict.
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
        let text = extremes(&sheet(), &["poll", "sigio"], "latency", "soonest", "latest").unwrap();
        assert_eq!(text, "The soonest: poll (least 5.0 us); the latest: sigio (most 9.0 us).");
        assert_eq!(extremes(&sheet(), &["poll", "sigio"], "CPU", "least", "most"), None);
    }

    #[test]
    fn what_is_said_of_a_model_follows_from_its_medians() {
        let run = Run { model: Model::Poll, ..iotrace_core::report::sample_run() };
        let outcome = conclude(sheet(), &[Model::Poll, Model::Sigio, Model::Epoll], &[Some(run), None, None]);
        let says =
            |text: &str| assert!(outcome.findings.contains(&text.to_owned()), "{:?}", outcome.findings);
        says("Phase 1 blocked the thread: poll.");
        says("Phase 1 left the thread free: sigio.");
        says("Somebody else copied: sigio.");
        says("Blocked in neither phase, so asynchronous in the sense of POSIX: sigio.");
        assert!(outcome.findings.iter().any(|text| text.starts_with("No picture of sigio")));
        assert!(!outcome.findings.iter().any(|text| text.contains("epoll")), "it gave nothing");
        assert_eq!(outcome.pictures[0].caption, "blocked / blocked");
    }
}
