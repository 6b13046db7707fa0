//! What is left when a probe is missing or records are lost: a result that says so, never a wrong one.

use std::sync::{Mutex, PoisonError};

use iotrace::bpf::probes::{Group, PROBES, Probe};
use iotrace::host::check::programs_are_preemptible;
use iotrace_core::domain::model::{Model, Transport};
use iotrace_core::domain::{CopySource, ReadySource, Role};
use iotrace_core::summary::Document;

use crate::document::{check_run, document, run_undisturbed};
use crate::missing;
use crate::program::iotrace;

/// A workload that uses the probes of a group; none does where they serve `trace` alone, and those of the
/// exact tier are in `kernel_exact`.
fn user_of(group: Group) -> Option<(Model, Transport)> {
    Some(match group {
        Group::Follow | Group::Exec => return None,
        Group::ExactSockets | Group::ExactDatagrams | Group::ExactUring => return None,
        Group::Core | Group::Sockets => (Model::Blocking, Transport::Udp),
        Group::Copy => (Model::Blocking, Transport::Tcp),
        Group::CopyUnix => (Model::Blocking, Transport::Unix),
        Group::Signals => (Model::Sigio, Transport::Udp),
        Group::Uring | Group::Submissions => (Model::IoUring, Transport::Tcp),
    })
}

const PACE: [&str; 4] = ["--messages", "20", "--interval", "3ms"];

/// What came of it, and how.
type Line = ((&'static str, Model, Transport), &'static Document);

/// The one run of this workload without that probe, which all tests look at: see
/// [`measured`](crate::recorded::measured).
pub fn without(probe: &'static str, model: Model, transport: Transport) -> &'static Document {
    static RUNS: Mutex<Vec<Line>> = Mutex::new(Vec::new());
    let mut runs = RUNS.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((_, document)) = runs.iter().find(|run| run.0 == (probe, model, transport)) {
        return document;
    }
    let document = Box::leak(Box::new(run_without(probe, model, transport)));
    runs.push(((probe, model, transport), document));
    document
}

fn run_without(probe: &str, model: Model, transport: Transport) -> Document {
    // Function hooks would stand in for it.
    let tier = ["--tier", "tracepoint"];
    let args = ["--model", model.name(), "--transport", transport.name(), "--without", probe];
    let (_, document) = document(&[&args[..], &tier, &PACE].concat());
    let warned = document.warnings.iter().filter(|warning| warning.code == "probe_missing");
    let named = warned.filter(|warning| warning.text.starts_with(&format!("{probe} is not attached: ")));
    assert_eq!(named.count(), 1, "{probe}: {:?}", document.warnings);
    document
}

#[test]
#[ignore = "needs root"]
fn every_optional_probe_can_be_missing() {
    let here = |probe: &&Probe| probe.again_of.is_none() || programs_are_preemptible();
    for probe in PROBES.iter().filter(|probe| !probe.required).filter(here) {
        let user = missing::user_of(probe.id).or_else(|| user_of(probe.group));
        let Some((model, transport)) = user else { continue };
        let document = without(probe.name(), model, transport);
        let [run] = &document.runs[..] else { panic!("one run: {document:?}") };
        let whole = run.operations.count == run.messages;
        let warned = document.warnings.iter().any(|warning| warning.code == "messages_not_joined");
        assert_eq!((document.complete, warned), (whole, !whole), "{}: {document:?}", probe.name());
        for row in &run.calls {
            let parts = row.wait_ns + row.disk_ns + row.lock_ns + row.runq_ns + row.copy_ns + row.work_ns;
            assert_eq!(parts, row.total_ns, "{}: {row:?}", probe.name());
        }
        if whole {
            check_run(run);
        }
    }
}

#[test]
#[ignore = "needs root"]
fn nothing_runs_without_a_required_probe() {
    for probe in PROBES.iter().filter(|probe| probe.required) {
        let ran = iotrace(["run", "--model", "blocking", "--without", probe.name()]);
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(1), ""), "{ran:?}");
        for words in [probe.name(), probe.lost, "--without", "iotrace doctor"] {
            assert!(ran.stderr.contains(words), "no {words}: {ran:?}");
        }
    }
}

#[test]
#[ignore = "needs root"]
fn the_next_best_source_takes_over() {
    let data = |document: &Document| {
        let row = document.runs[0].calls.iter().find(|row| row.role == Role::Data).expect("a data row");
        (row.copy_source, row.copy_upper_ns.is_some())
    };
    let document = without("skb_copy_datagram_iovec", Model::Blocking, Transport::Tcp);
    assert_eq!(data(document), (CopySource::Estimated, true), "{document:?}");
    let document = without("tcp_rcv_space_adjust", Model::Blocking, Transport::Tcp);
    assert_eq!(document.runs[0].operations.count, 20, "{document:?}");

    let document = without("sk_data_ready", Model::Blocking, Transport::Udp);
    let run = &document.runs[0];
    // A reader that came late, on a busy machine, was not woken for that message.
    let always_slept = run.calls[0].sleeps == run.messages;
    let source = if always_slept { ReadySource::WakeUp } else { ReadySource::Peer };
    assert_eq!((run.operations.ready_source, run.operations.count), (source, 20), "{document:?}");
    let warned = document.warnings.iter().any(|warning| warning.code == "ready_from_peer");
    assert_eq!(warned, !always_slept, "{document:?}");
    // Nobody sleeps there, and no other sign is left.
    let document = without("sk_data_ready", Model::Nonblocking, Transport::Udp);
    assert_eq!(document.runs[0].operations.ready_source, ReadySource::Peer, "{document:?}");
    assert!(document.warnings.iter().any(|warning| warning.code == "ready_from_peer"), "{document:?}");
}

#[test]
#[ignore = "needs root"]
fn signals_that_were_not_seen_are_not_made_up() {
    let document = without("signal_deliver", Model::Sigio, Transport::Udp);
    let signals = document.runs[0].operations.signals.as_ref().expect("the model has signals");
    assert!(signals.generated > Some(0) && signals.handler_runs > 0, "{signals:?}");
    assert_eq!(signals.delivered, None, "{signals:?}");
    assert!(signals.generated_to_delivered.is_none() && signals.delivered_to_read.is_none(), "{signals:?}");
}

#[test]
#[ignore = "needs root"]
fn lost_records_are_said_and_strict_fails() {
    // A spinning reader fills a page in less time than the ring is left alone.
    let args = ["run", "--model", "nonblocking", "--buffer", "4KiB", "--format", "json"];
    for (strict, code) in [(None, 0), (Some("--strict"), 3)] {
        let ran = iotrace(args.iter().chain(&PACE).chain(&strict));
        assert_eq!(ran.code, Some(code), "{ran:?}");
        let document: Document =
            serde_json::from_str(&ran.stdout).expect("the result is printed all the same");
        assert!(!document.complete && document.loss.records > 0, "{document:?}");
        assert_eq!(ran.stderr.contains("--strict"), strict.is_some(), "{ran:?}");
    }
    let (ran, _) = run_undisturbed(&[&["--model", "blocking", "--strict"], &PACE[..]].concat());
    assert_eq!(ran.code, Some(0), "nothing is lost here: {ran:?}");
}

#[test]
#[ignore = "needs root"]
fn a_table_of_an_incomplete_result_says_so() {
    let ran = iotrace(["run", "--model", "nonblocking", "--buffer", "4KiB"].iter().chain(&PACE));
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(ran.stdout.contains("complete: NO, lost"), "{}", ran.stdout);
}
