//! From what was recorded to the result: joins the pure pieces into one [`Run`].

pub mod degraded;
pub mod operation;
pub mod outcome;
pub mod replay;
pub mod requests;
pub mod signals;
pub mod strip;
pub mod transfer;
pub mod verdict;

use crate::domain::dist::Histogram;
use crate::domain::model::Model;
use crate::domain::spec::{Log, Spec};
use crate::domain::traffic::Traffic;
use crate::domain::{CopySource, Fd, ReadySource, ThreadRole};
use crate::messages::operation::{Measured, Operation, Threads};
use crate::messages::requests::requests;
use crate::messages::signals::signals;
use crate::messages::strip::strip;
use crate::messages::verdict::{total_phase1, verdict};
use crate::records::journal::Journal;
use crate::rows::calls::{self, NamedFd, Scope};
use crate::summary::{Operations, Phase2, Run, Warning};

/// The result of one workload, and the warnings its reader must know.
pub fn run(spec: &Spec, log: &Log, journal: &mut Journal) -> (Run, Vec<Warning>) {
    journal.sort();
    let traffic = Traffic::of(spec, log);
    let threads = Threads::of(journal);
    let transfers = transfer::transfers(journal, &traffic);
    let Measured { operations, copies } = operation::operations(journal, &threads, &transfers, &traffic);
    let fds: Vec<NamedFd> = log
        .connections
        .iter()
        .map(|one| NamedFd {
            number: one.fd,
            file: Fd { kind: spec.transport.name().to_owned(), name: one.name.clone() },
        })
        .collect();
    let scope = Scope { measured: traffic.measured, app: traffic.app_threads, fds: &fds, copies: &copies };
    let calls = calls::rows(journal, &scope);
    let app_calls: u64 =
        calls.iter().filter(|row| row.thread_role == ThreadRole::App).map(|row| row.calls).sum();
    let summary = summarise(&operations, spec, log, journal, app_calls, &traffic);
    let warnings = warnings(spec, &summary, &operations);
    let run = Run {
        model: spec.model,
        transport: spec.transport,
        messages: spec.messages,
        size: spec.size,
        interval_ns: spec.interval_ns,
        connections: spec.connections,
        elapsed_ns: traffic.measured.length_ns(),
        meanwhile: spec.meanwhile,
        own_work_units: log.own_work_units,
        app_threads: log.app_threads.clone(),
        calls,
        verdict: verdict(&operations),
        strip: strip(journal, &threads, &operations, &traffic),
        operations: summary,
    };
    (run, warnings)
}

fn summarise(
    operations: &[Operation],
    spec: &Spec,
    log: &Log,
    journal: &Journal,
    app_calls: u64,
    traffic: &Traffic<'_>,
) -> Operations {
    let complete: Vec<&Operation> = operations.iter().filter(|one| one.bytes() == spec.size).collect();
    let dist =
        |time: &dyn Fn(&Operation) -> u64| operations.iter().map(time).collect::<Histogram>().measured();
    let has_readiness = matches!(spec.model, Model::Select | Model::Poll | Model::Epoll | Model::EpollEt);
    let messages = spec.messages.max(1);
    Operations {
        count: complete.len() as u64,
        bytes: operations.iter().map(Operation::bytes).sum(),
        phase1: total_phase1(operations),
        phase2: phase2(operations),
        pickup: dist(&Operation::pickup),
        latency: dist(&Operation::latency),
        ready_source: operations.iter().map(|one| one.ready_source).max().unwrap_or(ReadySource::Peer),
        calls_per_message: app_calls as f64 / messages as f64,
        cpu_ns_per_message: log.cpu_ns / messages,
        joined_to_readiness: has_readiness.then(|| operations.iter().filter(|one| one.joined).count() as u64),
        signals: (spec.model == Model::Sigio).then(|| signals(journal, traffic.measured, &log.counters)),
        requests: requests(journal, operations, traffic, &log.counters),
    }
}

fn phase2(operations: &[Operation]) -> Phase2 {
    let sum = |part: &dyn Fn(&Operation) -> u64| operations.iter().map(part).sum::<u64>();
    // The sum is as certain as its least certain operation.
    let source = operations.iter().map(|one| one.copy_source).max().unwrap_or(CopySource::None);
    let measured = source != CopySource::None;
    Phase2 {
        blocked_ns: measured.then(|| sum(&|one| one.copy_blocked)),
        free_ns: measured.then(|| sum(&|one| one.copy_free)),
        source,
        upper_ns: (source == CopySource::Estimated).then(|| sum(&|one| one.copy_upper)),
    }
}

fn warnings(spec: &Spec, summary: &Operations, operations: &[Operation]) -> Vec<Warning> {
    let mut warnings = Vec::new();
    let mut warn = |code: &str, text: String| {
        warnings.push(Warning { code: code.to_owned(), text: format!("{}: {text}", spec.model) });
    };
    if operations.is_empty() && spec.messages > 0 {
        warn(
            "messages_not_joined",
            format!(
                "the kernel's records show none of {} messages arriving, so neither phase is measured, and the \
                 verdict says nothing",
                spec.messages
            ),
        );
    } else if summary.count < spec.messages {
        warn(
            "messages_not_joined",
            format!(
                "the kernel's records show {} of {} messages arriving whole; the figures describe only these",
                summary.count, spec.messages
            ),
        );
    }
    let by_peer = operations.iter().filter(|one| one.ready_source == ReadySource::Peer).count();
    if by_peer > 0 {
        warn(
            "ready_from_peer",
            format!(
                "for {by_peer} of {} messages the kernel gave no sign of readiness; the sender's clock after \
                 its send call stands in, so phase 1 is at most this much and pickup at least this much",
                operations.len()
            ),
        );
    }
    warnings
}
