//! The document of every model on every transport: whole, consistent, and without loss.

use iotrace_core::domain::dist::Dist;
use iotrace_core::domain::model::{Meanwhile, Model, Transport};
use iotrace_core::domain::{Phase1, ThreadRole};
use iotrace_core::summary::{Document, Operations, Run, SCHEMA, Strip};
use serde_json::Value;

use crate::program::{Ran, iotrace};
use crate::{SKIPPED, attempts, spec};

/// `iotrace run` with these arguments, without a disturbance that the kernel may cause at any time: see
/// [`SKIPPED`].
pub fn run_undisturbed(args: &[&str]) -> (Ran, Document) {
    // What every kernel has; the rest is in `kernel_exact`, and takes seconds to attach under emulation.
    let tier: &[&str] = if args.contains(&"--tier") { &[] } else { &["--tier", "tracepoint"] };
    attempts::until(8, SKIPPED, |_| {
        let ran = iotrace(["run", "--format", "json"].iter().chain(args).chain(tier));
        let document: Document =
            serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{args:?}: {error}: {ran:?}"));
        if document.loss.recursion_misses.unwrap_or(0) == 0 {
            return Ok((ran, document));
        }
        assert!(!document.complete, "{args:?}: {document:?}");
        Err(format!("{args:?}: {:?}", document.loss))
    })
}

/// `iotrace run` with these arguments, which must succeed: its document as plain JSON, and read back.
pub fn document(args: &[&str]) -> (Value, Document) {
    let (ran, document) = run_undisturbed(args);
    assert_eq!(ran.code, Some(0), "{args:?}: {ran:?}");
    (serde_json::from_str(&ran.stdout).expect("it was JSON just now"), document)
}

/// How many models a process observes, one after the other: each start of one reads the kernel's types and
/// calibrates, which is most of its time under emulation; and of many models one is disturbed soon.
const TOGETHER: usize = 4;

/// What the threads of models do meanwhile, and the models that can.
fn arguments() -> Vec<(Option<Meanwhile>, Vec<Model>)> {
    let (free, bound): (Vec<_>, Vec<_>) =
        Model::ALL.into_iter().partition(|model| model.leaves_thread_free());
    let all = [(None, bound), (Some(Meanwhile::Compute), free.clone()), (Some(Meanwhile::Wait), free)];
    let together = all.iter().flat_map(|(meanwhile, models)| {
        models.chunks(TOGETHER).map(move |models| (*meanwhile, models.to_vec()))
    });
    together.collect()
}

fn check_on(transport: Transport) {
    let pace = spec(Model::Blocking, transport);
    let (messages, size) = (pace.messages / 2, 700);
    for (meanwhile, models) in arguments() {
        let (n, bytes, interval) =
            (messages.to_string(), size.to_string(), format!("{}us", pace.interval_ns / 2000));
        let names: Vec<&str> = models.iter().map(|model| model.name()).collect();
        let names = names.join(",");
        let mut args = vec!["--model", &names, "--transport", transport.name()];
        args.extend(["--messages", &n, "--size", &bytes, "--interval", &interval]);
        if let Some(meanwhile) = meanwhile {
            args.extend(["--meanwhile", if meanwhile == Meanwhile::Wait { "wait" } else { "compute" }]);
        }
        let (json, document) = document(&args);
        has_fields(&json);
        check_document(&document);
        assert_eq!(document.runs.iter().map(|run| run.model).collect::<Vec<_>>(), models);
        for run in &document.runs {
            assert_eq!((run.transport, run.meanwhile), (transport, meanwhile), "{}", run.model);
            assert_eq!((run.messages, run.size), (messages, size), "{}", run.model);
            assert_eq!((run.operations.count, run.operations.bytes), (messages, messages * size), "{run:?}");
            check_run(run);
            assert!(meanwhile == Some(Meanwhile::Compute) || run.own_work_units == 0, "{run:?}");
            // A reader for which all is there already has no time of its own, nor for anything to be done in it.
            let free = meanwhile == Some(Meanwhile::Compute) && run.operations.phase1.free_ns > 1_000_000;
            assert!(!free || run.own_work_units > 0, "{run:?}");
        }
    }
}

#[test]
#[ignore = "needs root"]
fn every_model_over_udp() {
    check_on(Transport::Udp);
}

#[test]
#[ignore = "needs root"]
fn every_model_over_tcp() {
    check_on(Transport::Tcp);
}

#[test]
#[ignore = "needs root"]
fn every_model_over_unix() {
    check_on(Transport::Unix);
}

#[test]
#[ignore = "needs root"]
fn every_model_over_a_pipe() {
    check_on(Transport::Pipe);
}

/// What does not depend on the model: nothing lost, and nothing said twice or without words.
fn check_document(document: &Document) {
    assert_eq!((document.schema.as_str(), document.command.as_str()), (SCHEMA, "run"));
    assert!(document.complete, "{:?}", document.loss);
    // The whole time of threads is a question of `trace`, whose documents are checked for it.
    assert!(document.time.is_none() && document.processes.is_empty(), "{document:?}");
    assert_eq!(document.loss.records + document.loss.map_full + document.loss.unmatched, 0);
    assert_eq!(document.loss.recursion_misses.unwrap_or(0), 0);
    assert!(document.elapsed_ns >= document.runs.iter().map(|run| run.elapsed_ns).sum());
    assert!(document.overhead.iotrace_cpu_ns.is_some_and(|ns| ns > 0));
    for (index, warning) in document.warnings.iter().enumerate() {
        assert!(!warning.code.is_empty() && warning.text.len() > 20, "{warning:?}");
        assert!(!document.warnings[..index].contains(warning), "twice: {warning:?}");
    }
    let warned = |code: &str| document.warnings.iter().any(|warning| warning.code == code);
    assert_eq!(document.overhead.per_call_ns.is_none(), warned("call_overhead_not_measured"));
    assert_eq!(document.overhead.per_other_call_ns.is_none(), warned("other_call_overhead_not_measured"));
    assert_eq!(document.overhead.per_switch_ns.is_none(), warned("switch_overhead_not_measured"));
    assert_eq!(document.loss.recursion_misses.is_none(), warned("recursion_misses_not_counted"));
}

/// What holds for every run whose messages all came.
pub fn check_run(run: &Run) {
    for row in &run.calls {
        let parts = row.wait_ns + row.disk_ns + row.lock_ns + row.runq_ns + row.copy_ns + row.work_ns;
        assert_eq!(parts, row.total_ns, "{row:?}");
        assert!(row.calls > 0, "{row:?}");
        assert_eq!((row.phase1.count, row.phase1.sum_ns), (row.calls, row.wait_ns + row.runq_ns), "{row:?}");
        assert_eq!((row.latency.count, row.latency.sum_ns), (row.calls, row.total_ns), "{row:?}");
        let copied = row.phase2.as_ref().map_or(0, |phase2| phase2.sum_ns);
        assert_eq!(copied, row.copy_ns, "{row:?}");
        assert!(row.copy_upper_ns.is_none_or(|upper| upper >= row.copy_ns), "{row:?}");
        // Not the other way round: a sleeper that is woken on its way out has slept for no time.
        assert!(row.sleeps > 0 || row.wait_ns == 0, "{row:?}");
        for dist in [Some(&row.phase1), row.phase2.as_ref(), Some(&row.latency)].into_iter().flatten() {
            check_dist(dist);
        }
    }
    let app = run.calls.iter().filter(|row| row.thread_role == ThreadRole::App);
    let per_message = app.map(|row| row.calls).sum::<u64>() as f64 / run.messages as f64;
    assert!((per_message - run.operations.calls_per_message).abs() < 1e-9, "{run:?}");
    check_operations(&run.operations, run);
    check_strip(run.strip.as_ref().expect("messages came, so one can be drawn"));
}

fn check_operations(operations: &Operations, run: &Run) {
    let Operations { pickup, latency, phase1, phase2, .. } = operations;
    let (pickup, latency) = (pickup.as_ref().expect("measured"), latency.as_ref().expect("measured"));
    assert_eq!((pickup.count, latency.count), (run.messages, run.messages));
    assert!(pickup.sum_ns <= latency.sum_ns, "who had it had come before: {operations:?}");
    assert!(phase2.blocked_ns.is_some() && phase2.free_ns.is_some());
    // On one connection the wants do not overlap, so waiting for all takes no longer than the run.
    let Phase1 { blocked_ns, polling_ns, free_ns } = phase1;
    assert!(blocked_ns + polling_ns + free_ns <= run.elapsed_ns, "{run:?}");
    check_dist(pickup);
    check_dist(latency);
    let signals = operations.signals.iter().flat_map(|signals| {
        [&signals.ready_to_generated, &signals.generated_to_delivered, &signals.delivered_to_read]
    });
    let requests = operations.requests.iter().flat_map(|requests| {
        [
            &requests.submit_to_ready,
            &requests.ready_to_copy,
            &requests.copy_to_complete,
            &requests.complete_to_seen,
        ]
    });
    signals.chain(requests).flatten().for_each(check_dist);
}

fn check_dist(dist: &Dist) {
    assert_eq!(dist.buckets.iter().map(|(_, count)| count).sum::<u64>(), dist.count, "{dist:?}");
    assert!(dist.buckets.iter().all(|(_, count)| *count > 0), "{dist:?}");
    assert!(dist.buckets.is_sorted_by(|one, next| one.0 < next.0), "{dist:?}");
    let ranks = [dist.min_ns, dist.p50_ns, dist.p90_ns, dist.p99_ns, dist.max_ns];
    assert!(ranks.is_sorted(), "{dist:?}");
    assert!((dist.min_ns * dist.count..=dist.max_ns * dist.count).contains(&dist.sum_ns), "{dist:?}");
    assert!(dist.buckets.last().is_none_or(|(upper, _)| *upper >= dist.max_ns), "{dist:?}");
    assert!(dist.error > 0.0 && dist.error < 0.05, "{dist:?}");
}

fn check_strip(strip: &Strip) {
    assert!(!strip.lanes.is_empty() && strip.end_ns > 0);
    for lane in &strip.lanes {
        assert!(
            lane.segments.iter().all(|one| one.from_ns < one.to_ns && one.to_ns <= strip.end_ns),
            "{lane:?}"
        );
        assert!(lane.segments.is_sorted_by(|one, next| one.to_ns <= next.from_ns), "overlap: {lane:?}");
    }
    assert!(strip.marks.is_sorted_by_key(|mark| mark.at_ns), "{strip:?}");
    let last = strip.marks.last().expect("marks");
    assert_eq!((last.name.as_str(), last.at_ns), ("seen", strip.end_ns));
}

/// The fields that users of the JSON rely on are there by name, `null` or not.
fn has_fields(json: &Value) {
    let fields = |value: &Value, names: &str| {
        for name in names.split_whitespace() {
            assert!(value.get(name).is_some(), "no {name} in {value}");
        }
    };
    fields(json, "schema command host complete loss overhead elapsed_ns runs warnings");
    fields(&json["host"], "kernel arch cpus lockdown tier");
    fields(&json["loss"], "records map_full recursion_misses unmatched in_flight_start in_flight_stop");
    fields(&json["overhead"], "per_call_ns per_switch_ns iotrace_cpu_ns");
    let dist = "count sum_ns min_ns p50_ns p90_ns p99_ns max_ns error buckets";
    for run in json["runs"].as_array().expect("a list") {
        fields(
            run,
            "model transport messages size interval_ns connections elapsed_ns meanwhile own_work_units",
        );
        fields(run, "app_threads calls operations verdict");
        fields(&run["verdict"], "phase1 phase2 synchronous");
        for call in run["calls"].as_array().expect("a list") {
            fields(
                call,
                "syscall role thread_role fd calls bytes errors timeouts restarts slept_calls total_ns wait_ns disk_ns lock_ns",
            );
            fields(call, "runq_ns copy_ns work_ns copy_source phase1 phase2 latency");
            fields(&call["phase1"], dist);
        }
        let operations = &run["operations"];
        fields(
            operations,
            "count phase1 phase2 pickup latency calls_per_message cpu_ns_per_message signals requests",
        );
        fields(&operations["phase1"], "blocked_ns polling_ns free_ns");
        fields(&operations["phase2"], "blocked_ns free_ns");
        fields(&operations["pickup"], dist);
    }
}
